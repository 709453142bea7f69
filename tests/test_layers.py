"""Dense, Embedding, Activation, Dropout and InputLayer compute what Keras's do."""

from __future__ import annotations

import numpy as np
import pytest

from fastlstm import FastLSTMError, UnsupportedLayerError
from fastlstm.layers import Activation, Dense, Dropout, Embedding, InputLayer

EPS = np.finfo(np.float32).eps


def rng():
    return np.random.default_rng(7)


def close(found, expected, terms):
    """Equal within the rounding of a float32 sum of so many terms of about one."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * terms * EPS)


# -- Dense ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (4, 7, 3), (2, 5, 7, 3), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_contracts_the_last_axis_whatever_the_rank(shape, use_bias):
    layer = Dense(5, activation="tanh", use_bias=use_bias)
    weights = [rng().normal(size=(3, 5)), rng().normal(size=5)][: 1 + use_bias]
    layer.set_weights(weights)
    x = rng().normal(size=shape).astype("float32")
    expected = np.tanh(x.astype(float) @ weights[0] + (weights[1] if use_bias else 0))
    found = layer(x)
    assert found.dtype == np.float32
    assert layer.compute_output_shape(shape) == expected.shape
    close(found, expected, terms=4)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", ">f4", "float16"])
def test_dense_takes_any_number_type_and_leaves_it_as_it_was(dtype):
    layer = Dense(2)
    layer.set_weights([np.eye(3, 2), np.zeros(2)])
    x = np.array([[1, 0, 1], [0, 1, 1]], dtype)
    kept = x.copy()
    found = layer(x)
    assert found.dtype == np.float32
    assert np.array_equal(found, kept.astype("float32")[:, :2])
    assert np.array_equal(x, kept)


def test_dense_needs_two_axes_and_a_known_width():
    for shape in ((3,), (None, None)):
        with pytest.raises(FastLSTMError, match="expected two axes or more, the last of known size"):
            Dense(2).build(shape)


def test_dense_of_float64_computes_in_float64():
    layer = Dense(2, dtype="float64")
    kernel = rng().normal(size=(3, 2))
    layer.set_weights([kernel, np.zeros(2)])
    x = rng().normal(size=(4, 3))
    assert layer(x).dtype == np.float64
    np.testing.assert_allclose(layer(x), x @ kernel, rtol=0, atol=32 * np.finfo(float).eps)


def test_dense_passes_infinities_and_nan_on_without_warning():
    layer = Dense(1)
    layer.set_weights([np.ones((2, 1)), [-np.inf]])
    assert np.isnan(layer(np.array([[np.inf, 1.0], [np.nan, 1.0]]))).all()
    assert np.isnan(layer(np.array([[1e300, 1.0]]))).all()  # inf in float32, less inf


@pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 5, 2)])
def test_dense_names_the_shape_that_does_not_fit(shape):
    layer = Dense(5, name="head")
    layer.build((None, 3))
    with pytest.raises(FastLSTMError, match=r"Dense 'head': input has shape .*expected .*3"):
        layer(np.zeros(shape))


@pytest.mark.parametrize("units", [0, -1, 2.0, "3", None, True])
def test_dense_refuses_units_that_are_no_positive_integer(units):
    with pytest.raises(FastLSTMError, match=r"units is .*expected a positive integer"):
        Dense(units)


@pytest.mark.parametrize("option", [{"lora_rank": 2}, {"quantization_config": {"mode": "int8"}}])
@pytest.mark.parametrize("layer", [Dense, Embedding])
def test_weights_that_are_no_plain_matrix_are_refused(layer, option):
    with pytest.raises(UnsupportedLayerError, match=next(iter(option))):
        layer(3, **({} if layer is Dense else {"output_dim": 2}), **option)


# -- Embedding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "float64"])
def test_embedding_looks_up_ids_of_any_rank_and_type(shape, dtype):
    table = rng().normal(size=(6, 3)).astype("float32")
    layer = Embedding(6, 3, weights=table)
    ids = rng().integers(0, 6, shape)
    found = layer((ids + (0.7 if "float" in dtype else 0)).astype(dtype))
    assert np.array_equal(found, table[ids])


def test_embedding_counts_negative_ids_from_the_end_as_keras_does():
    layer = Embedding(4, 2, weights=[np.arange(8.0).reshape(4, 2)])
    assert np.array_equal(layer(np.array([-1, -4])), [[6, 7], [0, 1]])


@pytest.mark.parametrize("bad", [4, -5, 2**31 - 1, -(2**31), np.nan, np.inf, 1e10])
def test_embedding_names_an_id_outside_its_vocabulary(bad):
    layer = Embedding(4, 2, name="words")
    layer.build()
    with pytest.raises(FastLSTMError, match=r"Embedding 'words': id -?\d+ is not in its vocabulary of 4"):
        layer(np.array([0, bad]))


def test_embedding_masks_zero_only_when_told_to():
    ids = np.array([[0, 2, 0], [1, 0, 3]])
    assert np.array_equal(Embedding(4, 2, mask_zero=True).compute_mask(ids), ids != 0)
    assert Embedding(4, 2).compute_mask(ids) is None


# -- Activation, Dropout, InputLayer ----------------------------------------------------------------


def test_activation_applies_over_the_last_axis():
    x = rng().normal(size=(2, 3, 4)).astype("float32")
    e = np.exp(x.astype(float))
    close(Activation("softmax")(x), e / e.sum(-1, keepdims=True), terms=4)
    assert np.array_equal(Activation("relu")(x), np.maximum(x, 0))
    assert np.array_equal(Activation(None)(x), x)


def test_dropout_gives_its_input_back():
    x = rng().normal(size=(2, 3)).astype("float32")
    assert Dropout(0.9, noise_shape=(None, 1), seed=3)(x) is x


@pytest.mark.parametrize(
    "arguments",
    [{"rate": 1.5}, {"rate": "x"}, {"rate": 0.5, "noise_shape": (0,)}, {"rate": 0.5, "noise_shape": 3}],
)
def test_dropout_refuses_what_keras_refuses(arguments):
    with pytest.raises(FastLSTMError, match="expected"):
        Dropout(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"shape": (3,), "batch_shape": (None, 3)},
        {"batch_size": 2, "batch_shape": (None, 3)},
        {"shape": 3},
        {"shape": (-1,)},
        {"shape": (3,), "dtype": "string"},
        {"shape": (3,), "ragged": True},
        {"shape": (3,), "input_tensor": 1},
        {"shape": (3,), "surprise": 1},
    ],
)
def test_input_layer_refuses_what_makes_no_input(arguments):
    with pytest.raises(FastLSTMError, match="InputLayer"):
        InputLayer(**arguments)


def test_an_unknown_argument_is_named():
    for layer, arguments in ((Dense, (3,)), (Embedding, (3, 2)), (Activation, ("relu",)), (Dropout, (0.1,))):
        with pytest.raises(FastLSTMError, match="surprise"):
            layer(*arguments, surprise=1)
        config = {**layer(*arguments).get_config(), "surprise": 1}
        with pytest.raises(FastLSTMError, match="surprise"):
            layer.from_config(config)


def test_a_configuration_of_an_older_keras_is_taken():
    old = {**Embedding(5, 3).get_config(), "input_length": 7, "dtype": None}
    assert Embedding.from_config(old).output_dim == 3
    assert InputLayer(batch_input_shape=(None, 3)).batch_shape == (None, 3)


def test_a_live_regularizer_is_kept_as_its_configuration():
    class L2:
        def get_config(self):
            return {"l2": 0.5}

    config = Dense(2, kernel_regularizer=L2()).get_config()
    assert config["kernel_regularizer"] == {"class_name": "L2", "config": {"l2": 0.5}}


def test_layers_come_back_from_their_configuration():
    layers = [
        InputLayer(batch_shape=(None, 4, 2), name="in"),
        Embedding(5, 3, mask_zero=True),
        Dense(4, "relu", use_bias=False, kernel_regularizer="l2"),
        Dropout(0.25, noise_shape=(None, 2), seed=1),
        Activation("softplus", dtype="float64", trainable=False),
    ]
    for layer in layers:
        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config


def test_dropout_refuses_the_training_it_cannot_do():
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(Dropout(0.0)(x, training=True), x)
    assert np.array_equal(Dropout(0.5)(x), x)
    with pytest.raises(FastLSTMError, match="training must be False"):
        Dropout(0.5)(x, training=True)
