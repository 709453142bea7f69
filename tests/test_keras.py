"""LSTM and LSTMCell equal live Keras on TensorFlow's CPU backend, option by option and drawn together."""

import importlib.util
import sys
import unittest

import numpy as np
import pytest
from conftest import RUNNABLE

import fastlstm
from fastlstm import _core

ACTIVATIONS = [name for name in _core.activation_names() if name != "hard_sigmoid_keras2"]
TOLERANCE = 64  # eps of the dtype, relative to max(1, |value|)


def pair(keras, features, batch=None, isa=None, **options):
    """Keras's layer with fresh weights, the same at every run of the tests, and ours with them."""
    keras.utils.set_random_seed(options["units"])
    theirs = keras.layers.LSTM(**options)
    theirs.build((batch, None, features))
    rng = np.random.default_rng(theirs.units)
    weights = [w + 0.1 * rng.standard_normal(w.shape) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours = fastlstm.LSTM(isa=isa, **options)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def as_list(result):
    return [np.asarray(r) for r in (result if isinstance(result, tuple | list) else [result])]


def assert_same(found, wanted, dtype="float32", amplified=0.0):
    """Equal to a few dozen roundings, or to ``amplified`` of them where the activations blow them up."""
    found, wanted = as_list(found), as_list(wanted)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.dtype(dtype)
        bound = np.finfo(dtype).eps * np.maximum(TOLERANCE * np.maximum(1, np.abs(theirs)), amplified)
        with np.errstate(invalid="ignore"):
            close = (np.abs(ours - theirs) <= bound) | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        assert close.all(), (ours[~close][:3], theirs[~close][:3])


def roundings_lost(keras, layer, x, arguments):
    """What Keras's own float32 loses against its float64 on this case, in float32 roundings."""
    results = []
    for dtype in ("float32", "float64"):
        twin = keras.layers.LSTM.from_config({**layer.get_config(), "dtype": dtype})
        twin.build((None, None, x.shape[-1]))
        twin.set_weights(layer.get_weights())
        results.append(as_list(twin(x.astype(dtype), **arguments)))
    if not all(np.abs(r).max(initial=0) < 1e6 for r in results[1]):
        return np.inf
    return max(float(np.abs(a - b).max(initial=0)) for a, b in zip(*results, strict=True)) / np.finfo("float32").eps


def drawn_options(rng):
    choose = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    plain = rng.random() < 0.6
    return {
        "units": int(rng.integers(2, 40)),  # Keras warns of a softmax over one unit
        "activation": "tanh" if plain else choose(*ACTIVATIONS),
        "recurrent_activation": "sigmoid" if plain else choose(*ACTIVATIONS),
        "use_bias": choose(True, True, False),
        "unit_forget_bias": choose(True, False),
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


@pytest.mark.parametrize("block", range(10))
def test_four_hundred_drawn_layers(keras, block):
    rng = np.random.default_rng(1000 + block)
    number = 0
    while number < 40:
        options = drawn_options(rng)
        batch, steps, features = (int(n) for n in (rng.integers(1, 9), rng.integers(1, 8), rng.integers(1, 20)))
        theirs, ours = pair(keras, features, isa=RUNNABLE[number % len(RUNNABLE)], **options)
        dtype = options["dtype"]
        x = rng.standard_normal((batch, steps, features)).astype(dtype)
        arguments = {}
        if rng.random() < 0.5:
            arguments["mask"] = rng.random((batch, steps)) < rng.choice([0.2, 0.5, 0.8])
        if rng.random() < 0.5:
            units = options["units"]
            arguments["initial_state"] = [rng.standard_normal((batch, units)).astype(dtype) for _ in range(2)]
        bounded = options["activation"] == "tanh" and options["recurrent_activation"] == "sigmoid"
        amplified = 0.0 if bounded else 8 * roundings_lost(keras, theirs, x, arguments)
        if np.isinf(amplified):
            continue  # an unbounded activation ran away: draw another layer
        number += 1
        try:
            assert_same(ours(x, **arguments), theirs(x, **arguments), dtype, amplified)
        except AssertionError as error:
            raise AssertionError(f"{options} {sorted(arguments)} {x.shape}: {error}") from error


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_both_places(keras, name):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 3, 4)).astype(np.float32) / 2
    for options in ({"activation": name}, {"recurrent_activation": name}):
        theirs, ours = pair(keras, 4, units=9, return_sequences=True, **options)
        assert_same(ours(x), theirs(x), amplified=8 * roundings_lost(keras, theirs, x, {}))


def test_every_mask_pattern_of_four_steps(keras):
    patterns = np.array([[(n >> t) & 1 for t in range(4)] for n in range(16)], bool)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((16, 4, 3)).astype(np.float32)
    state = [rng.standard_normal((16, 5)).astype(np.float32) for _ in range(2)]
    for number in range(64):
        names = ("return_sequences", "return_state", "go_backwards", "unroll", "zero_output_for_mask")
        options = {name: bool(number >> k & 1) for k, name in enumerate(names)}
        theirs, ours = pair(keras, 3, units=5, **options)
        initial = state if number >> 5 else None
        assert_same(ours(x, mask=patterns, initial_state=initial), theirs(x, mask=patterns, initial_state=initial))


def test_stateful_layers_keep_and_reset_their_state(keras):
    rng = np.random.default_rng(5)
    theirs, ours = pair(keras, 3, batch=4, units=6, stateful=True, return_state=True)
    blocks = rng.standard_normal((4, 4, 5, 3)).astype(np.float32)
    assert_same(ours(blocks[0]), theirs(blocks[0]))
    assert_same(ours(blocks[1]), theirs(blocks[1]))
    given = [rng.standard_normal((4, 6)).astype(np.float32) for _ in range(2)]
    assert_same(ours(blocks[2], initial_state=given), theirs(blocks[2], initial_state=given))
    assert_same(ours(blocks[3]), theirs(blocks[3]))  # goes on from what the given state led to
    ours.reset_state()
    theirs.reset_state()
    assert_same(ours(blocks[0]), theirs(blocks[0]))
    with pytest.raises(fastlstm.FastLSTMError, match="stateful: sequences has batch 3; expected 4"):
        ours(blocks[0][:3])
    assert_same(ours(blocks[1]), theirs(blocks[1]))  # the refused call changed nothing


def test_one_row_of_state_or_mask_serves_all_rows(keras):
    theirs, ours = pair(keras, 3, units=4)
    x = np.random.default_rng(6).standard_normal((3, 4, 3)).astype(np.float32)
    state, mask = [np.full((1, 4), 0.5, np.float32)] * 2, np.array([[True, False, True, True]])
    assert_same(ours(x, initial_state=state, mask=mask), theirs(x, initial_state=state, mask=mask))


def test_cell(keras):
    rng = np.random.default_rng(7)
    theirs = keras.layers.LSTMCell(7, activation="relu")
    theirs.build((None, 4))
    ours = fastlstm.LSTMCell(7, activation="relu")
    ours.set_weights(theirs.get_weights())
    x = rng.standard_normal((3, 4)).astype(np.float32)
    states = [rng.standard_normal((3, 7)).astype(np.float32) for _ in range(2)]
    output, new = ours(x, states)
    wanted, wanted_new = theirs(x, states)
    assert_same([output, *new], [wanted, *wanted_new])
    assert ours.state_size == theirs.state_size and ours.output_size == theirs.output_size


def test_configurations_go_both_ways(keras):
    options = {
        "activation": "relu", "recurrent_activation": "hard_sigmoid", "use_bias": False, "dropout": 0.25,
        "kernel_initializer": "he_normal", "return_sequences": True, "go_backwards": True, "seed": 3,
        "kernel_regularizer": "l2", "unroll": True, "zero_output_for_mask": True, "dtype": "float64",
    }  # fmt: skip
    theirs = keras.layers.LSTM(5, **options)
    ours = fastlstm.LSTM.from_config(theirs.get_config())
    back = keras.layers.LSTM.from_config(ours.get_config())
    for key, value in theirs.get_config().items():
        assert back.get_config()[key] == value, key
    again = fastlstm.LSTM.from_config(ours.get_config())
    assert again.get_config() == ours.get_config()


def test_constructor_and_call_have_keras_arguments(keras):
    import inspect

    for name in ("LSTM", "LSTMCell"):
        theirs = inspect.signature(getattr(keras.layers, name).__init__).parameters
        ours = inspect.signature(getattr(fastlstm, name).__init__).parameters
        shared = [p for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert [p.name for p in shared] == [p.name for p in ours.values()][: len(shared)]
        assert all(p.default == ours[p.name].default for p in shared)
    for name, method in (("LSTM", "call"), ("LSTMCell", "call")):
        theirs = list(inspect.signature(getattr(getattr(keras.layers, name), method)).parameters)
        ours = inspect.signature(getattr(fastlstm, name).__call__).parameters.values()
        assert [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD] == theirs  # beyond them by keyword alone


def test_live_keras_initializers_are_taken(keras):
    layer = fastlstm.LSTM(4, kernel_initializer=keras.initializers.Constant(0.5), bias_initializer="ones")
    layer.build((None, None, 3))
    assert (layer.kernel == 0.5).all()
    np.testing.assert_array_equal(layer.bias, np.ones(16))
    layer = fastlstm.LSTM(4, kernel_initializer=lambda shape, dtype: np.full(shape, 2.0, dtype))
    layer.build((None, None, 3))
    assert (layer.kernel == 2).all() and (layer.bias == np.repeat([0, 1, 0, 0], 4)).all()


def test_kerass_own_lstm_tests_pass_with_our_class(keras):
    """Keras's lstm_test.py, with our LSTM where it says layers.LSTM. Left out: test_basics, which wants
    Keras's own Layer (symbolic calls, saving, training)."""
    spec = importlib.util.find_spec("keras.src.layers.rnn.lstm_test")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)

    class Layers:
        LSTM = fastlstm.LSTM

    module.layers = Layers
    case = module.LSTMTest
    names = [n for n in unittest.TestLoader().getTestCaseNames(case) if n not in ("test_basics", "test_session")]
    assert len(names) >= 5
    result = unittest.TestResult()
    unittest.TestSuite(case(name) for name in names).run(result)
    assert result.testsRun == len(names) and not result.skipped
    assert not result.failures and not result.errors, (result.failures + result.errors)[0][1]
