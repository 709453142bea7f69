"""GRU and GRUCell equal live Keras on TensorFlow's CPU backend, option by option and drawn together."""

import itertools

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
from recurrent import layer_of
from test_keras import ACTIVATIONS, assert_same

from fastlstm import FastLSTMError
from fastlstm._core import ChainCore
from fastlstm.layers.gru import GRU, GRUCell
from fastlstm.layers.stack import goes_on, run_stack


def drawn_options(rng):
    choose = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    plain = rng.random() < 0.6
    return {
        "units": int(rng.integers(2, 40)),
        "activation": "tanh" if plain else choose(*ACTIVATIONS),
        "recurrent_activation": "sigmoid" if plain else choose(*BOUNDED),
        "use_bias": choose(True, True, False),
        "reset_after": choose(True, False),
        "return_sequences": choose(True, False),
        "return_state": choose(True, False),
        "go_backwards": choose(True, False),
        "unroll": choose(True, False),
        "zero_output_for_mask": choose(True, False),
        "implementation": choose(1, 2),
        "dropout": choose(0.0, 0.3),
        "recurrent_dropout": choose(0.0, 0.2),
        "dtype": choose("float32", "float32", "float64"),
    }


@pytest.mark.parametrize("block", range(3))
def test_a_hundred_and_twenty_drawn_layers(keras, block):
    assert_drawn_layers_are_kerass(keras, "GRU", GRU, drawn_options, 40, 2000 + block, RUNNABLE)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_both_places(keras, name, reset_after):
    x = np.random.default_rng(3).standard_normal((3, 3, 4)).astype(np.float32) / 2
    for place in ("activation", "recurrent_activation"):
        options = {"units": 9, "return_sequences": True, "reset_after": reset_after, place: name}
        theirs, ours = pair(keras, "GRU", GRU, 4, **options)
        assert_same(ours(x), theirs(x), amplified=8 * roundings_lost(keras, theirs, x, {}))


@pytest.mark.parametrize("reset_after", [True, False])
def test_every_mask_pattern_of_four_steps(keras, reset_after):
    assert_mask_patterns_are_kerass(keras, "GRU", GRU, reset_after=reset_after)


@pytest.mark.parametrize("reset_after", [True, False])
def test_stateful_layers_keep_and_reset_their_state(keras, reset_after):
    assert_stateful_is_kerass(keras, "GRU", GRU, reset_after=reset_after)


@pytest.mark.parametrize("reset_after", [True, False])
def test_cell(keras, reset_after):
    assert_cell_is_kerass(keras, "GRUCell", GRUCell, reset_after=reset_after)


def test_configurations_go_both_ways(keras):
    options = {
        "activation": "relu", "recurrent_activation": "hard_sigmoid", "use_bias": False, "dropout": 0.25,
        "kernel_initializer": "he_normal", "return_sequences": True, "go_backwards": True, "seed": 3,
        "unroll": True, "zero_output_for_mask": True, "dtype": "float64", "reset_after": False,
    }  # fmt: skip
    theirs = keras.layers.GRU(5, **options)
    ours = GRU.from_config(theirs.get_config())
    assert ours.get_config().keys() == theirs.get_config().keys()
    back = keras.layers.GRU.from_config(ours.get_config()).get_config()
    assert back == theirs.get_config()
    assert GRU.from_config(ours.get_config()).get_config() == ours.get_config()


def test_constructor_and_call_have_keras_arguments(keras):
    assert_signatures_are_kerass(keras, {"GRU": GRU, "GRUCell": GRUCell})


@pytest.mark.parametrize(("reset_after", "bias"), [(True, (2, 15)), (False, (15,))])
def test_weights_have_kerass_shapes(keras, reset_after, bias):
    layer = GRU(5, reset_after=reset_after)
    layer.build((None, None, 3))
    assert [w.shape for w in layer.get_weights()] == [(3, 15), (5, 15), bias]
    with pytest.raises(FastLSTMError, match="bias"):
        layer.set_weights([*layer.get_weights()[:2], np.zeros((3, 5))])


WRONG = [
    ("units", 0), ("units", True), ("units", "8"), ("units", [4]), ("activation", 3),
    ("recurrent_activation", "sofmax"), ("reset_after", "yes"), ("reset_after", None), ("use_bias", []),
    ("dropout", "a"), ("dropout", float("nan")),
    ("recurrent_dropout", None), ("return_sequences", {}), ("go_backwards", 2), ("stateful", "no"), ("unroll", [1]),
    ("zero_output_for_mask", 0.5), ("use_cudnn", "yes"), ("use_cudnn", [1]), ("kernel_initializer", 3),
    ("threads", 0), ("isa", "sse9"), ("unknown", 1), ("unit_forget_bias", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_wrong_arguments_are_refused_by_name(name, value):
    with pytest.raises(FastLSTMError, match=name):
        GRU(**{"units": 4, name: value})


def test_wrong_calls_are_refused(rng):
    layer, x = GRU(4, return_state=True, stateful=True), np.zeros((2, 3, 5), np.float32)
    layer(x)
    before = layer.states
    for wrong in (np.zeros((2, 3)), np.zeros((2, 3, 4)), [["a"]], None):
        with pytest.raises(FastLSTMError, match="sequences"):
            layer(wrong)
    for wrong in (np.zeros((2, 5)), [np.zeros((2, 4))] * 2, [None], [], 3):
        with pytest.raises(FastLSTMError, match="initial_state"):
            layer(x, initial_state=wrong)
    with pytest.raises(FastLSTMError, match="mask"):
        layer(x, mask=np.ones((2, 4), bool))
    assert np.array_equal(layer.states, before)


UNLIKE = [
    ("lstm", "gru", "simple"), ("gru_before", "gru_before"), ("simple", "gru_before", "lstm", "gru"), ("gru", "gru"),
]  # fmt: skip


@pytest.mark.parametrize("kinds", UNLIKE, ids="-".join)
@pytest.mark.parametrize("masked", [False, True])
def test_a_stack_of_any_cells_gives_the_bits_of_its_layers(isa, rng, kinds, masked):
    widths = [6, 12, 5, 33, 20]
    layers = [
        layer_of(rng, kind, widths[n], widths[n + 1], isa=isa, return_sequences=True) for n, kind in enumerate(kinds)
    ]
    assert all(goes_on(below, above) for below, above in itertools.pairwise(layers))
    x = rng.standard_normal((2, 40, 6)).astype(np.float32)
    mask = rng.random((2, 40)) < 0.6 if masked else None
    found, _ = run_stack(layers, x, mask)
    for layer in layers:
        x = layer(x, mask=mask)
    assert np.array_equal(found, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kinds", UNLIKE, ids="-".join)
def test_a_chain_of_streams_gives_the_bits_of_its_layers(isa, rng, kinds, dtype):
    widths = [6, 12, 5, 33, 20]
    layers = [
        layer_of(rng, kind, widths[n], widths[n + 1], isa=isa, dtype=dtype, return_sequences=True)
        for n, kind in enumerate(kinds)
    ]
    chain = ChainCore([layer.stream(2) for layer in layers], 2)
    x = rng.standard_normal((2, 15, 6)).astype(dtype)
    found = [chain.step(np.ascontiguousarray(x[:, t]), None) for t in range(15)]
    for layer in layers:
        x = layer(x)
    assert np.array_equal(np.stack(found, axis=1), x)
