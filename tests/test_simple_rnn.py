"""SimpleRNN and SimpleRNNCell equal live Keras on TensorFlow's CPU backend, option by option and drawn together."""

import numpy as np
import pytest
from conftest import RUNNABLE
from keras_pairs import (
    BOUNDED,
    assert_cell_is_kerass,
    assert_drawn_layers_are_kerass,
    assert_mask_patterns_are_kerass,
    assert_signatures_are_kerass,
    assert_stateful_is_kerass,
    pair,
    roundings_lost,
)
from test_keras import ACTIVATIONS, assert_same

from fastlstm import FastLSTMError
from fastlstm.layers.simple_rnn import SimpleRNN, SimpleRNNCell


def drawn_options(rng):
    choose = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    return {
        "units": int(rng.integers(2, 70)),
        "activation": choose("tanh", "tanh", "relu", *BOUNDED),
        "use_bias": choose(True, True, False),
        "return_sequences": choose(True, False),
        "return_state": choose(True, False),
        "go_backwards": choose(True, False),
        "unroll": choose(True, False),
        "zero_output_for_mask": choose(True, False),
        "dropout": choose(0.0, 0.3),
        "recurrent_dropout": choose(0.0, 0.2),
        "dtype": choose("float32", "float32", "float64"),
    }


@pytest.mark.parametrize("block", range(2))
def test_eighty_drawn_layers(keras, block):
    assert_drawn_layers_are_kerass(keras, "SimpleRNN", SimpleRNN, drawn_options, 40, 3000 + block, RUNNABLE)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(keras, name):
    x = np.random.default_rng(3).standard_normal((3, 3, 4)).astype(np.float32) / 2
    theirs, ours = pair(keras, "SimpleRNN", SimpleRNN, 4, units=9, return_sequences=True, activation=name)
    assert_same(ours(x), theirs(x), amplified=8 * roundings_lost(keras, theirs, x, {}))


@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_every_mask_pattern_of_four_steps(keras, activation):
    assert_mask_patterns_are_kerass(keras, "SimpleRNN", SimpleRNN, activation=activation)


def test_stateful_layers_keep_and_reset_their_state(keras):
    assert_stateful_is_kerass(keras, "SimpleRNN", SimpleRNN)


def test_cell(keras):
    assert_cell_is_kerass(keras, "SimpleRNNCell", SimpleRNNCell)


def test_configurations_go_both_ways(keras):
    options = {
        "activation": "relu", "use_bias": False, "dropout": 0.25, "kernel_initializer": "he_normal",
        "return_sequences": True, "go_backwards": True, "unroll": True, "zero_output_for_mask": True,
        "dtype": "float64",
    }  # fmt: skip
    theirs = keras.layers.SimpleRNN(5, **options)
    ours = SimpleRNN.from_config(theirs.get_config())
    assert ours.get_config().keys() == theirs.get_config().keys()
    assert keras.layers.SimpleRNN.from_config(ours.get_config()).get_config() == theirs.get_config()
    assert SimpleRNN.from_config(ours.get_config()).get_config() == ours.get_config()


def test_constructor_and_call_have_keras_arguments(keras):
    assert_signatures_are_kerass(keras, {"SimpleRNN": SimpleRNN, "SimpleRNNCell": SimpleRNNCell})


def test_a_relu_of_the_kernels_is_that_of_the_other_activations(isa, rng):
    """NaN stays NaN, and what is not positive becomes zero."""
    layer = SimpleRNN(33, activation="relu", isa=isa, return_sequences=True)
    bias = rng.standard_normal(33)
    bias[:3] = np.nan, np.inf, -np.inf
    layer.set_weights([np.zeros((1, 33)), np.zeros((33, 33)), bias])
    found = layer(np.zeros((2, 1, 1)))[:, 0]
    np.testing.assert_array_equal(found, np.broadcast_to(np.where(bias < 0, 0, bias).astype(np.float32), (2, 33)))


WRONG = [
    ("units", -1), ("units", 2.5), ("activation", "sofmax"), ("use_bias", "yes"), ("dropout", []),
    ("return_state", None), ("unroll", "a"), ("bias_initializer", {"class_name": 3}), ("reproducible_", True),
    ("recurrent_activation", "sigmoid"), ("implementation", 1), ("use_cudnn", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_wrong_arguments_are_refused_by_name(name, value):
    with pytest.raises(FastLSTMError, match=name):
        SimpleRNN(**{"units": 4, name: value})


@pytest.mark.parametrize("states", [None, [], [np.zeros((2, 4))] * 2, np.zeros((3, 4)), "a"])
def test_wrong_states_of_a_cell_are_refused(states):
    with pytest.raises(FastLSTMError, match=r"SimpleRNNCell .*states"):
        SimpleRNNCell(4)(np.zeros((2, 3)), states)
