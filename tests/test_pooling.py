"""Pooling equals live Keras: values, shapes, masks, configurations, and what it refuses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from twins import FLOATS, NO_SIZE, check_hostile, check_json, check_signature, compare, twins

from fastlstm import FastLSTMError
from fastlstm.layers import pooling

WINDOWED = [pooling.MaxPooling1D, pooling.MaxPooling2D, pooling.AveragePooling1D, pooling.AveragePooling2D]
MAXIMA = [pooling.GlobalMaxPooling1D, pooling.GlobalMaxPooling2D]
MEANS = [pooling.GlobalAveragePooling1D, pooling.GlobalAveragePooling2D]
ONE_AXIS = [layer for layer in WINDOWED if layer.rank == 1]


def drawn(rng, layer, *sizes, data_format=None, dtype="float32"):
    """An input (batch, cells, channels), or with the channels first."""
    cells, channels = sizes[: layer.rank], sizes[-1]
    inner = (channels, *cells) if data_format == "channels_first" else (*cells, channels)
    return rng.standard_normal((3, *inner)).astype(dtype)


@pytest.mark.parametrize("layer", [*WINDOWED, *MAXIMA, *MEANS])
def test_arguments_are_those_of_keras(keras, layer):
    check_signature(keras, layer)


@pytest.mark.parametrize("layer", [*WINDOWED, *MAXIMA, *MEANS])
def test_no_json_breaks_a_layer(layer):
    check_json(layer, {"pool_size": 2} if layer in WINDOWED else {})


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("layer", WINDOWED)
def test_windows(keras, rng, layer, padding, dtype):
    for pool_size, strides in [(1, 1), (1, 3), (2, None), (3, 1), (3, 2), (4, 3), (5, 5), ((2,) * layer.rank, 4)]:
        options = {"pool_size": pool_size, "strides": strides, "padding": padding, "dtype": dtype}
        for length in (5, 8, 13):
            compare(keras, layer, drawn(rng, layer, length, 7, 4, dtype=dtype), **options)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("layer", WINDOWED)
def test_channels_first(keras, rng, layer, padding):
    x = drawn(rng, layer, 8, 7, 3, data_format="channels_first")
    _, y = compare(keras, layer, x, pool_size=3, strides=2, padding=padding, data_format="channels_first")
    assert y.flags.c_contiguous


@pytest.mark.parametrize("layer", [pooling.MaxPooling2D, pooling.AveragePooling2D])
def test_unlike_sizes_of_rows_and_columns(keras, rng, layer):
    x = rng.standard_normal((2, 7, 9, 3)).astype("float32")
    for pool_size, strides in [((3, 2), None), ((1, 4), (2, 3)), ([2, 5], [3, 1])]:
        for padding in ("valid", "same"):
            compare(keras, layer, x, pool_size=pool_size, strides=strides, padding=padding)


def test_windows_longer_than_the_input(keras, rng):
    for layer in ONE_AXIS:
        for pool_size in (6, 7, 11, 12, 40):
            for strides in (1, 2, 50):
                compare(keras, layer, drawn(rng, layer, 6, 2), pool_size=pool_size, strides=strides, padding="same")
        huge = layer(2**31 - 1, strides=1, padding="same")
        tracemalloc.start()
        y = huge(drawn(rng, layer, 50, 2))
        assert y.shape == (3, 50, 2) and tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 4, 7, 16, 33])
def test_not_a_number_and_infinities_count_as_in_tensorflow(keras, rng, channels, dtype):
    x = rng.standard_normal((2, 13, channels)).astype(dtype)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[rng.random(x.shape) < 0.3] = -np.inf
    x[rng.random(x.shape) < 0.1] = np.inf
    for pool_size, strides, padding in [(1, 1, "valid"), (2, 2, "valid"), (3, 1, "same"), (5, 3, "same")]:
        options = {"pool_size": pool_size, "strides": strides, "padding": padding, "dtype": dtype}
        theirs, ours = twins(keras, pooling.MaxPooling1D, x.shape, **options)
        assert np.array_equal(ours(x), theirs(x), equal_nan=True)
        compare(keras, pooling.AveragePooling1D, x, **options)
    compare(keras, pooling.GlobalMaxPooling1D, x, dtype=dtype)
    compare(keras, pooling.GlobalAveragePooling1D, x, dtype=dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("layer", [*MAXIMA, *MEANS])
def test_all_cells(keras, rng, layer, keepdims, data_format, dtype):
    x = drawn(rng, layer, 9, 4, 5, data_format=data_format, dtype=dtype)
    compare(keras, layer, x, keepdims=keepdims, data_format=data_format, dtype=dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_mask_weighs_the_mean_over_steps(keras, rng, data_format, keepdims, dtype):
    layer = pooling.GlobalAveragePooling1D
    x = drawn(rng, layer, 6, 4, data_format=data_format, dtype=dtype)
    x[0].flat[3] = np.nan  # which a mask can hide
    options = {"data_format": data_format, "keepdims": keepdims, "dtype": dtype}
    for mask in (rng.random((3, 6)) < 0.5, np.ones((3, 6), bool), np.zeros((3, 6), bool), np.ones((1, 6), bool)):
        compare(keras, layer, x, mask=mask, **options)
    ours, y = compare(keras, layer, x, mask=np.eye(3, 6) > 0, **options)
    assert np.array_equal(ours(x, mask=np.eye(3, 6)), y, equal_nan=True)


def test_masks_end_at_pooling(keras, rng):
    for layer in (pooling.MaxPooling1D, pooling.AveragePooling1D, pooling.GlobalMaxPooling1D):
        options = {"pool_size": 2} if layer in WINDOWED else {}
        compare(keras, layer, drawn(rng, layer, 6, 2), mask=rng.random((3, 6)) < 0.5, **options)


@pytest.mark.parametrize("layer", WINDOWED)
def test_nothing_in_gives_nothing_out(keras, layer):
    for shape in [(0, 6, 6, 2), (3, 6, 6, 0), (0, 0, 6, 2)]:
        x = np.zeros((shape[0], *shape[-1 - layer.rank :]), "float32")
        if x.shape[1]:
            compare(keras, layer, x, pool_size=2)
        compare(keras, layer, x, pool_size=2, padding="same")


def test_the_mean_of_no_steps_is_not_a_number_and_there_is_no_largest(keras):
    x = np.zeros((2, 0, 3), "float32")
    compare(keras, pooling.GlobalAveragePooling1D, x)
    for layer in (pooling.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling1D):
        with pytest.raises(ValueError if layer in MAXIMA else Exception, match=r"largest|empty"):
            layer()(x)
    for layer in (*MAXIMA, *MEANS):
        y = layer()(np.zeros((0, *(4,) * layer.rank, 3)))
        assert y.shape == (0, 3)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float16", ">f8"])
@pytest.mark.parametrize("layer", [*ONE_AXIS, MAXIMA[0], MEANS[0]])
def test_inputs_of_any_type_are_read_as_floats(rng, layer, dtype):
    x = rng.integers(0, 9, (2, 6, 3)).astype(dtype)
    made = layer(2) if layer in WINDOWED else layer()
    assert made(x).dtype == np.float32
    assert np.array_equal(made(x), made(np.asfortranarray(x.astype("float32"))))


@pytest.mark.parametrize("layer", WINDOWED)
def test_arguments_that_are_no_sizes_are_refused(layer):
    check_hostile(layer, {"pool_size": 2}, "pool_size", [*NO_SIZE, None])
    check_hostile(layer, {"pool_size": 2}, "strides", NO_SIZE)
    check_hostile(layer, {"pool_size": 2}, "padding", [0, None, True, "causal", "full", [], {}, ["same"]])
    with pytest.raises(FastLSTMError, match="surprise"):
        layer(pool_size=2, surprise=1)


@pytest.mark.parametrize("layer", [*WINDOWED, *MAXIMA, *MEANS])
def test_data_formats_that_are_none_are_refused(layer):
    check_hostile(layer, {"pool_size": 2} if layer in WINDOWED else {}, "data_format", [0, "", "NHWC", [], {}, True])


@pytest.mark.parametrize("layer", [*WINDOWED, *MAXIMA, *MEANS])
def test_inputs_that_do_not_fit_are_refused(layer):
    made = layer(name="p", **({"pool_size": 3} if layer in WINDOWED else {}))
    shapes = [(3,), (2, 3), (2, *(5,) * (2 * layer.rank), 3), (2, 5, 5, 5, 3)]
    if layer in WINDOWED:
        shapes.append((2, 2, *(5,) * layer.rank))
    for shape in {s for s in shapes if len(s) != layer.rank + 2 or s[1] == 2}:
        with pytest.raises(FastLSTMError, match=rf"{layer.__name__} 'p': input has shape .*; expected"):
            made(np.zeros(shape))
        with pytest.raises(FastLSTMError, match="expected"):
            made.compute_output_shape(shape)


@pytest.mark.parametrize("shape", [(3, 5), (2, 6), (3, 6, 1), (3,), (3, 6, 4)])
def test_masks_that_do_not_fit_are_refused(shape):
    layer = pooling.GlobalAveragePooling1D(name="p")
    with pytest.raises(FastLSTMError, match=r"GlobalAveragePooling1D 'p': mask has shape .*; expected \(3, 6\)"):
        layer(np.zeros((3, 6, 4)), mask=np.ones(shape, bool))
