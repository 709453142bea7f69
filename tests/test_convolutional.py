"""Convolutions equal live Keras: values, shapes, masks, configurations, and what they refuse."""

from __future__ import annotations

import copy
import inspect
import pickle
import tracemalloc

import numpy as np
import pytest
from test_keras import assert_same
from twins import FLOATS, NO_SIZE, check_configs, check_hostile, check_json, check_signature, compare, twins

from fastlstm import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.convolutional import Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D])
def test_no_json_breaks_a_layer(layer):
    check_json(layer, {"kernel_size": 2} if layer is DepthwiseConv1D else {"filters": 4, "kernel_size": 2})


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D])
def test_arguments_are_those_of_keras(keras, layer):
    check_signature(keras, layer)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("steps", [{}, {"strides": 2}, {"strides": 3}, {"dilation_rate": 2}, {"dilation_rate": (3,)}])
def test_conv1d(keras, rng, padding, steps, dtype):
    for kernel_size, length, channels in [(1, 5, 3), (2, 7, 1), (3, 8, 2), (4, 13, 5), ([5], 16, 3)]:
        x = rng.standard_normal((3, length, channels)).astype(dtype)
        compare(keras, Conv1D, x, filters=4, kernel_size=kernel_size, padding=padding, dtype=dtype, **steps)


@pytest.mark.parametrize("layer", [Conv1D, DepthwiseConv1D, SeparableConv1D])
@pytest.mark.parametrize("steps", [{}, {"strides": 2}, {"dilation_rate": 2}])
def test_channels_first_is_the_same_turned(keras, rng, layer, steps):
    x = rng.standard_normal((2, 3, 9)).astype("float32")
    options = {} if layer is DepthwiseConv1D else {"filters": 6}
    for padding in ("valid", "same", *(["causal"] if layer is Conv1D else [])):
        # softmax takes the last axis, whatever it is
        options.update(kernel_size=3, padding=padding, data_format="channels_first", activation="softmax", **steps)
        ours, found = compare(keras, layer, x, **options)
        last = layer(**{**options, "data_format": "channels_last", "activation": None})
        last.set_weights(ours.get_weights())
        assert_same(ours.activation(np.moveaxis(last(np.moveaxis(x, 1, 2)), 1, 2)), found)


@pytest.mark.parametrize("size", [4, None])
@pytest.mark.parametrize("layer", [Conv1D, DepthwiseConv1D, SeparableConv1D, Conv2D])
def test_the_bias_goes_where_keras_puts_it_when_channels_and_steps_are_as_many(keras, rng, layer, size):
    """Channels first, three of them out and three steps: a model's predict decides, for layers alone differ."""
    options = {"kernel_size": 2, "data_format": "channels_first"}
    options.update({} if layer is DepthwiseConv1D else {"filters": 3})
    theirs, ours = twins(keras, layer, (None, 3, *(size,) * layer.rank), **options)
    inputs = keras.Input((3, *(size,) * layer.rank))
    x = rng.standard_normal((2, 3, *(4,) * layer.rank)).astype("float32")
    assert_same(ours(x), keras.Model(inputs, theirs(inputs)).predict(x, verbose=0))


def test_groups(keras, rng):
    for groups, data_format, padding in [(2, None, "same"), (3, None, "causal"), (6, "channels_first", "valid")]:
        x = rng.standard_normal((2, 6, 6)).astype("float32")
        options = {"padding": padding, "data_format": data_format, "groups": groups}
        compare(keras, Conv1D, x, filters=12, kernel_size=3, **options)
    compare(keras, Conv2D, rng.standard_normal((2, 5, 6, 4)).astype("float32"), filters=6, kernel_size=2, groups=2)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layer", [DepthwiseConv1D, SeparableConv1D])
def test_each_channel_by_itself(keras, rng, layer, dtype):
    for steps in ({}, {"strides": 2}, {"dilation_rate": 3}, {"strides": 3, "dilation_rate": 2}):
        for padding, kernel_size, multiplier in [("valid", 2, 1), ("same", 3, 2), ("same", 4, 3), ("SAME", 1, 1)]:
            options = {} if layer is DepthwiseConv1D else {"filters": 4}
            options.update(kernel_size=kernel_size, padding=padding, depth_multiplier=multiplier, **steps)
            compare(keras, layer, rng.standard_normal((2, 11, 3)).astype(dtype), dtype=dtype, **options)


@pytest.mark.parametrize("dtype", FLOATS)
def test_conv2d(keras, rng, dtype):
    for steps in ({}, {"strides": 2}, {"strides": (1, 3)}, {"dilation_rate": 2}, {"dilation_rate": (1, 3)}):
        for padding, kernel_size in [("valid", 1), ("valid", (3, 2)), ("same", (2, 4)), ("same", 3)]:
            x = rng.standard_normal((2, 7, 9, 3)).astype(dtype)
            compare(keras, Conv2D, x, filters=4, kernel_size=kernel_size, padding=padding, dtype=dtype, **steps)
    x = rng.standard_normal((2, 3, 7, 9)).astype("float32")  # TensorFlow has this order in float32 only
    compare(keras, Conv2D, x, filters=4, kernel_size=3, padding="same", data_format="channels_first", activation="relu")


@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax", "gelu", "linear", None])
@pytest.mark.parametrize("layer", [Conv1D, DepthwiseConv1D, SeparableConv1D])
def test_activation_and_bias(keras, rng, layer, activation):
    options = {} if layer is DepthwiseConv1D else {"filters": 3}
    for use_bias in (True, False):
        x = rng.standard_normal((2, 6, 3)).astype("float32")
        compare(keras, layer, x, kernel_size=2, activation=activation, use_bias=use_bias, **options)


def test_masks_end_at_a_convolution(keras, rng):
    x = rng.standard_normal((2, 6, 3)).astype("float32")
    compare(keras, Conv1D, x, mask=rng.random((2, 6)) < 0.5, filters=2, kernel_size=3, padding="causal")


def test_configurations_keep_what_only_training_needs(keras):
    options = {"kernel_regularizer": "l2", "bias_constraint": "non_neg", "kernel_initializer": "he_normal"}
    theirs, ours = twins(keras, Conv1D, (None, 6, 3), filters=4, kernel_size=2, activity_regularizer="l1", **options)
    check_configs(keras, theirs, ours)
    assert keras.layers.Conv1D.from_config(ours.get_config()).activity_regularizer is not None
    assert (ours.kernel_size, ours.strides, ours.dilation_rate, ours.padding) == ((2,), (1,), (1,), "valid")


@pytest.mark.parametrize("padding", ["same", "causal"])
def test_taps_far_outside_the_input_cost_nothing(keras, rng, padding):
    """A dilation that reaches past the input on all sides is neither padded for nor wrong."""
    x = rng.standard_normal((2, 6, 3)).astype("float32")
    for kernel_size in (2, 3, 5):
        for dilation_rate in (5, 7, 100):
            options = {"kernel_size": kernel_size, "dilation_rate": dilation_rate, "padding": padding}
            compare(keras, Conv1D, x, filters=2, **options)
            if padding == "same":
                compare(keras, DepthwiseConv1D, x, **options)
    layer = Conv1D(2, 3, dilation_rate=2**30, padding=padding)
    layer.build(x.shape)
    tracemalloc.start()
    layer(x)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_long_sequences_need_little_memory(rng):
    """All patches at once would take 64 MiB; a block of them takes 1."""
    layer = Conv1D(1, 64, padding="causal")
    layer.set_weights([rng.standard_normal((64, 1, 1)), [0.5]])
    x = rng.standard_normal((1, 2**18, 1)).astype("float32")
    layer(x[:, :100])
    tracemalloc.start()
    y = layer(x)
    assert tracemalloc.get_traced_memory()[1] < 3 * x.nbytes + 2**23
    tracemalloc.stop()
    kernel = layer.get_weights()[0][::-1, 0, 0].astype(float)
    wanted = np.convolve(x[0, :, 0].astype(float), kernel)[: x.shape[1]] + 0.5
    np.testing.assert_allclose(y[0, :, 0], wanted, rtol=0, atol=64 * 8 * np.finfo("float32").eps)


def test_blocks_of_samples_and_of_rows_meet(keras, rng):
    for shape in [(700, 20, 8), (3, 9000, 8), (2, 40, 300, 2)]:
        layer = Conv1D if len(shape) == 3 else Conv2D
        compare(keras, layer, rng.standard_normal(shape).astype("float32"), filters=3, kernel_size=5, padding="same")


@pytest.mark.parametrize("layer", [Conv1D, DepthwiseConv1D, SeparableConv1D])
def test_nothing_in_gives_nothing_out(layer):
    """Keras itself returns its input, or fails, for an empty batch; the shapes are those it computes."""
    made = layer(**({} if layer is DepthwiseConv1D else {"filters": 5}), kernel_size=3, padding="same", strides=2)
    made.build((None, None, 2))
    for shape in [(0, 6, 2), (3, 0, 2)]:
        assert made(np.zeros(shape)).shape == made.compute_output_shape(shape)
    valid = Conv1D(5, 3)
    assert valid(np.zeros((0, 6, 2))).shape == (0, 4, 5)


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8", "float16", ">f4", "float64"])
def test_inputs_of_any_type_are_read_as_floats(rng, dtype):
    layer = Conv1D(2, 3)
    layer.build((None, None, 3))
    x = rng.integers(0, 2, (2, 7, 3)).astype(dtype)
    found = layer(x)
    assert found.dtype == np.float32
    assert np.array_equal(found, layer(x.astype("float32")))
    assert np.array_equal(found, layer(np.asfortranarray(x)))
    with pytest.raises(FastLSTMError, match="expected numbers"):
        layer(np.full((2, 7, 3), "a"))


def test_not_a_number_stays_where_its_windows_are(keras, rng):
    x = rng.standard_normal((1, 12, 2)).astype("float32")
    x[0, 3, 0], x[0, 8, 1] = np.nan, np.inf
    for layer, options in ((Conv1D, {"filters": 3}), (DepthwiseConv1D, {})):
        theirs, ours = twins(keras, layer, x.shape, kernel_size=2, padding="same", **options)
        assert np.array_equal(np.isfinite(ours(x)), np.isfinite(np.asarray(theirs(x))))


def test_copies_compute_the_same(rng):
    layer = Conv1D(2, 3, groups=2)
    x = rng.standard_normal((2, 7, 4))
    y = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(other(x), y)
    layer.set_weights([2 * w for w in layer.get_weights()])
    assert np.array_equal(layer(x), 2 * y)


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D])
def test_weights_build_a_layer(keras, layer):
    shape = (None, *(6,) * (layer.rank + 1))
    options = {"kernel_size": 2, **({} if layer is DepthwiseConv1D else {"filters": 4})}
    for options["data_format"] in ("channels_last", "channels_first"):
        theirs, ours = twins(keras, layer, shape, **options)
        fresh = layer(**options)
        fresh.set_weights(theirs.get_weights())
        for a, b in zip(fresh.get_weights(), ours.get_weights(), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D])
def test_arguments_that_are_no_sizes_are_refused(layer):
    good = {"kernel_size": 2} if layer is DepthwiseConv1D else {"filters": 4, "kernel_size": 2}
    for argument in ("kernel_size", "strides", "dilation_rate"):
        check_hostile(layer, good, argument, [*NO_SIZE, None])
    for argument in {"filters", "groups", "depth_multiplier"} & set(inspect.signature(layer).parameters):
        check_hostile(layer, good, argument, [*NO_SIZE, None, [1]])
    nothing = [0, True, "side", [], {}, ["same"], 3.0]
    check_hostile(layer, good, "padding", [*nothing, None, *([] if layer is Conv1D else ["causal"])])
    check_hostile(layer, good, "data_format", nothing)
    check_hostile(layer, good, "activation", [0, True, [], {}, "no such", {"config": []}])
    with pytest.raises(FastLSTMError, match="surprise"):
        layer(**good, surprise=1)


def test_what_keras_cannot_convolve_is_refused(keras):
    for arguments in [{"filters": 5, "groups": 2}, {"filters": 4, "strides": 2, "dilation_rate": 2}]:
        for layer in (Conv1D, keras.layers.Conv1D):
            with pytest.raises(ValueError, match=r"Conv1D|groups|strides"):
                layer(kernel_size=2, **arguments)
    for options, shape in [
        ({}, (None, 6)),
        ({}, (None, 6, 6, 3)),
        ({}, (None, 6, None)),
        ({}, (None, 2, 3)),
        ({"dilation_rate": 3}, (None, 6, 3)),
        ({"groups": 2}, (None, 6, 3)),
        ({"data_format": "channels_first"}, (None, 3, 2)),
    ]:
        with pytest.raises(FastLSTMError, match=r"Conv1D 'c': input has shape .*; expected"):
            Conv1D(4, 3, name="c", **options).build(shape)
        with pytest.raises((TypeError, ValueError)):
            keras.layers.Conv1D(4, 3, **options).build(shape)
    with pytest.raises(UnsupportedLayerError, match="lora_rank"):
        Conv1D(4, 3, lora_rank=2)


@pytest.mark.parametrize("shape", [(6, 3), (2, 6, 4), (2, 2, 3), (2, 6, 3, 1)])
@pytest.mark.parametrize("layer", [Conv1D, DepthwiseConv1D, SeparableConv1D])
def test_inputs_that_do_not_fit_are_refused(layer, shape):
    made = layer(**({} if layer is DepthwiseConv1D else {"filters": 2}), kernel_size=3, name="c")
    made.build((None, None, 3))
    with pytest.raises(FastLSTMError, match=rf"{layer.__name__} 'c': input has shape .*; expected"):
        made(np.zeros(shape))


def test_a_huge_layer_of_a_hostile_file_allocates_nothing():
    layer = Conv1D(2**31 - 1, 2**31 - 1, padding="same")
    assert layer.weight_shapes((None, None, 2**31 - 1))["kernel"] == (2**31 - 1,) * 3
    assert layer.compute_output_shape((None, 7, 3)) == (None, 7, 2**31 - 1)
