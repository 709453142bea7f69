"""Layers that only move numbers equal live Keras: values, types, shapes, masks, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from twins import FLOATS, NO_SIZE, check_hostile, check_json, check_signature, compare

from fastlstm import FastLSTMError
from fastlstm.layers import reshaping

#: Each layer with arguments, and shapes that it takes.
CASES = [
    (reshaping.RepeatVector, {"n": 1}, [(3, 4), (0, 4), (3, 0)]),
    (reshaping.RepeatVector, {"n": 5}, [(3, 4), (1, 1)]),
    (reshaping.Flatten, {}, [(3,), (3, 4), (3, 4, 5), (2, 3, 4, 5), (0, 3, 4), (3, 0, 4)]),
    (reshaping.Flatten, {"data_format": "channels_first"}, [(3,), (3, 4), (3, 4, 5), (2, 3, 4, 5), (0, 3, 4)]),
    (reshaping.Reshape, {"target_shape": (6,)}, [(2, 6), (2, 3, 2), (0, 6), (2, 1, 6, 1)]),
    (reshaping.Reshape, {"target_shape": (2, -1)}, [(2, 6), (2, 3, 4), (0, 6), (5, 0)]),
    (reshaping.Reshape, {"target_shape": [-1, 3, 2]}, [(2, 6), (2, 3, 4)]),
    (reshaping.Reshape, {"target_shape": (None, 3)}, [(2, 6), (2, 3, 4)]),
    (reshaping.Reshape, {"target_shape": (-1,)}, [(2,), (2, 6), (2, 3, 4)]),
    (reshaping.Reshape, {"target_shape": (0, 3)}, [(2, 0), (2, 0, 5)]),
    (reshaping.Reshape, {"target_shape": ()}, [(2,), (2, 1), (2, 1, 1)]),
    (reshaping.Permute, {"dims": (1,)}, [(2, 3)]),
    (reshaping.Permute, {"dims": (2, 1)}, [(2, 3, 4), (0, 3, 4)]),
    (reshaping.Permute, {"dims": [3, 1, 2]}, [(2, 3, 4, 5)]),
    (reshaping.Permute, {"dims": ()}, [(2,)]),
    (reshaping.Cropping1D, {}, [(2, 3, 4), (2, 9, 1), (0, 3, 4)]),
    (reshaping.Cropping1D, {"cropping": 0}, [(2, 3, 4)]),
    (reshaping.Cropping1D, {"cropping": (0, 3)}, [(2, 4, 3)]),
    (reshaping.Cropping1D, {"cropping": [2, 0]}, [(2, 3, 3)]),
    (reshaping.ZeroPadding1D, {}, [(2, 3, 4), (2, 0, 4), (0, 3, 4)]),
    (reshaping.ZeroPadding1D, {"padding": (0, 3)}, [(2, 3, 4)]),
    (reshaping.ZeroPadding1D, {"padding": [2, 1], "data_format": "channels_first"}, [(2, 3, 4)]),
    (reshaping.UpSampling1D, {}, [(2, 3, 4), (2, 0, 4), (0, 3, 4)]),
    (reshaping.UpSampling1D, {"size": 3}, [(2, 3, 4)]),
]
LAYERS = list(dict.fromkeys(layer for layer, _, _ in CASES))
GOOD = {reshaping.RepeatVector: {"n": 2}, reshaping.Reshape: {"target_shape": (2,)}, reshaping.Permute: {"dims": (1,)}}


@pytest.mark.parametrize("layer", LAYERS)
def test_arguments_are_those_of_keras(keras, layer):
    check_signature(keras, layer)


@pytest.mark.parametrize("layer", LAYERS)
def test_no_json_breaks_a_layer(layer):
    check_json(layer, GOOD.get(layer, {}))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("layer", "options", "shapes"), CASES)
def test_numbers_go_where_keras_puts_them(keras, rng, layer, options, shapes, dtype):
    for shape in shapes:
        x = rng.standard_normal(shape).astype(dtype)
        _, found = compare(keras, layer, x, dtype=dtype, **options)
        assert np.isin(found, [*x.ravel(), 0]).all()


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8"])
@pytest.mark.parametrize(("layer", "options", "shapes"), CASES)
def test_integers_and_booleans_stay_what_they_are(keras, rng, layer, options, shapes, dtype):
    """Ids are moved as ids: an Embedding may follow."""
    compare(keras, layer, rng.integers(0, 2, shapes[0]).astype(dtype), **options)


@pytest.mark.parametrize("layer", LAYERS)
def test_other_floats_become_the_layers_own(rng, layer):
    shape = next(shapes[0] for case, options, shapes in CASES if case is layer)
    options = next(options for case, options, _ in CASES if case is layer)
    x = rng.standard_normal(shape)
    for given in (x, x.astype(">f4"), x.astype("float16"), np.asfortranarray(x)):
        found = layer(**options)(given)
        assert found.dtype == np.float32
        assert np.array_equal(found, layer(**options)(given.astype("float32")))
    with pytest.raises(FastLSTMError, match="expected numbers"):
        layer(**options)(np.full(shape, "a"))


def test_masks_end_here(keras, rng):
    x, mask = rng.standard_normal((2, 4, 6)).astype("float32"), rng.random((2, 4)) < 0.5
    for layer, options in [
        (reshaping.Flatten, {}),
        (reshaping.Reshape, {"target_shape": (6, 4)}),
        (reshaping.Permute, {"dims": (2, 1)}),
        (reshaping.Cropping1D, {}),
        (reshaping.ZeroPadding1D, {}),
        (reshaping.UpSampling1D, {}),
    ]:
        compare(keras, layer, x, mask=mask, **options)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_result_is_contiguous_or_a_view_of_the_input(rng, layer):
    shape = next(shapes[0] for case, _, shapes in CASES if case is layer)
    options = next(options for case, options, _ in CASES if case is layer)
    x = rng.standard_normal(shape).astype("float32")
    y = layer(**options)(x)
    assert y.flags.c_contiguous or np.shares_memory(x, y)


@pytest.mark.parametrize("layer", LAYERS)
def test_hostile_arguments_are_refused(layer):
    good = GOOD.get(layer, {})
    pairs = [v for v in NO_SIZE if v != 0] + [None, [1], [1, 2.0], [1, True], [1, -1]]
    hostile = {
        "n": [*NO_SIZE, None, [1]],
        "size": [*NO_SIZE, None, [1]],
        "cropping": pairs,
        "padding": pairs,
        "dims": [None, 1, True, "12", {}, [0], [2], [1, 1], [1.0], [True], [[1]], [-1], [1, "2"]],
        "target_shape": [None, 6, True, "6", {}, [-2], [-1, -1], [None, -1], [2.5], [True], [[2]], ["2"], [2**31]],
        "data_format": [0, "", "NHWC", [], {}, True],
    }
    for argument in set(hostile) & set(layer(**good).get_config()):
        check_hostile(layer, good, argument, hostile[argument])
    with pytest.raises(FastLSTMError, match="surprise"):
        layer(**good, surprise=1)


@pytest.mark.parametrize(
    ("layer", "options", "shape"),
    [
        (reshaping.RepeatVector, {"n": 2}, (3, 4, 5)),
        (reshaping.RepeatVector, {"n": 2}, (3,)),
        (reshaping.Flatten, {}, ()),
        (reshaping.Reshape, {"target_shape": (5,)}, (2, 6)),
        (reshaping.Reshape, {"target_shape": (4, -1)}, (2, 6)),
        (reshaping.Reshape, {"target_shape": (0, -1)}, (2, 0)),
        (reshaping.Reshape, {"target_shape": (2,)}, ()),
        (reshaping.Permute, {"dims": (2, 1)}, (2, 3)),
        (reshaping.Permute, {"dims": (2, 1)}, (2, 3, 4, 5)),
        (reshaping.Cropping1D, {}, (2, 2, 3)),
        (reshaping.Cropping1D, {}, (2, 3)),
        (reshaping.ZeroPadding1D, {}, (2, 3)),
        (reshaping.UpSampling1D, {}, (2, 3, 4, 5)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, options, shape):
    made = layer(name="r", **options)
    for refused in (made, lambda x: made.compute_output_shape(x.shape)):
        with pytest.raises(FastLSTMError, match=rf"{layer.__name__} 'r': input has shape .*; expected"):
            refused(np.zeros(shape, "float32"))


def test_unknown_sizes_stay_unknown_where_they_matter():
    assert reshaping.Reshape((3, 4)).compute_output_shape((None, None)) == (None, 3, 4)
    assert reshaping.Reshape((3, -1)).compute_output_shape((None, 5, None)) == (None, 3, None)
    assert reshaping.Flatten().compute_output_shape((None, None, 4)) == (None, None)
    assert reshaping.Cropping1D(3).compute_output_shape((None, None, 4)) == (None, None, 4)
    assert reshaping.UpSampling1D(2**31 - 1).compute_output_shape((None, 2**31, 4)) == (None, 2**62 - 2**31, 4)
