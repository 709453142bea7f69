"""Models keep their recurrent weights as they were told to, wherever in them these are."""

from __future__ import annotations

import copy
import json
import pickle
import threading

import numpy as np
import pytest
from precise import INSIDE, everything, inputs, told
from recurrent import layer_of

import fastlstm
from fastlstm import FastLSTMError, Input, Sequential
from fastlstm.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
)  # fmt: skip
from fastlstm.precision import PRECISIONS, recurrent_layers

NARROW = PRECISIONS[1:]


# ---- who is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_loaded_model_has_all_its_recurrent_weights_so(saved, precision, rng):
    model, plain = fastlstm.load_model(saved, precision=precision), fastlstm.load_model(saved)
    assert told(model) == [precision] * INSIDE and told(plain) == ["float32"] * INSIDE
    x = inputs(rng)
    difference = np.abs(model.predict(x, verbose=0) - plain.predict(x, verbose=0)).max()
    assert (difference == 0) == (precision == "float32") and difference < 0.1
    for inner in recurrent_layers(plain):
        inner.precision = precision
    assert np.array_equal(plain(x), model(x))


@pytest.mark.parametrize("ending", ["m.keras", "m.npz"])
def test_files_and_configurations_say_nothing_of_it(tmp_path, saved, ending, rng):
    pytest.importorskip("h5py")
    model = fastlstm.load_model(saved, precision="int8")
    model.save(tmp_path / ending)
    again = fastlstm.load_model(tmp_path / ending)
    assert told(again) == ["float32"] * INSIDE and "precision" not in json.dumps(model.get_config())
    x = inputs(rng)
    assert np.array_equal(again(x), fastlstm.load_model(saved)(x))


def test_copies_and_pickles_keep_it(saved, rng):
    model, x = fastlstm.load_model(saved, precision="float16"), inputs(rng)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert told(other) == told(model)
        assert np.array_equal(other(x), model(x))


@pytest.mark.parametrize("precision", NARROW)
def test_wrappers_and_cells_hand_it_on(precision, rng):
    x = rng.standard_normal((3, 6, 4)).astype(np.float32)
    wrapped = [
        Bidirectional(LSTM(5, precision=precision)),
        Bidirectional(GRU(5, precision=precision), backward_layer=GRU(5, go_backwards=True, precision=precision)),
        Bidirectional(RNN([LSTMCell(5, precision=precision), GRUCell(4, precision=precision)])),
        RNN(LSTMCell(5, precision=precision)),
        RNN(StackedRNNCells([SimpleRNNCell(3, precision=precision), LSTMCell(5, precision=precision)])),
    ]
    for layer in wrapped:
        layer.build((None, None, 4))
        assert set(told(layer)) == {precision}
        narrow = layer(x)
        for inner in recurrent_layers(layer):
            inner.precision = "float32"
        assert not np.array_equal(layer(x), narrow)
        for inner in recurrent_layers(layer):
            inner.precision = precision
        assert np.array_equal(layer(x), narrow)


def test_a_wrapped_rnn_runs_as_its_cells_are_told_to():
    cell = LSTMCell(5, isa="scalar_fma", reproducible=True, threads=1, precision="int8")
    for side in Bidirectional(RNN(cell)).sublayers().values():
        (made,), (runs,) = side.cells, side._layers
        assert made.how_to_run == runs.how_to_run == cell.how_to_run


def test_layers_of_unlike_precisions_go_together(rng):
    """A stack, and two directions, are run as one call of the library."""
    x = rng.standard_normal((3, 20, 4)).astype(np.float32)
    layers = [layer_of(rng, "lstm", f, 12, return_sequences=True, precision=p)
              for f, p in zip((4, 12, 12, 12), PRECISIONS, strict=True)]  # fmt: skip
    wanted = x
    for layer in layers:
        wanted = layer(wanted)
    assert np.array_equal(Sequential([Input((None, 4)), *layers])(x), wanted)
    both = Bidirectional(LSTM(6, precision="int8", return_sequences=True),
                         backward_layer=LSTM(6, return_sequences=True, go_backwards=True))  # fmt: skip
    both.build((None, None, 4))
    sides = both.forward_layer(x), both.backward_layer(x)[:, ::-1]
    assert np.array_equal(both(x), np.concatenate(sides, axis=-1))


def test_a_model_s_stream_has_it_and_keeps_it(rng):
    model = Sequential([Input((None, 4)), LSTM(12, return_sequences=True, precision="int8"), LSTM(9), Dense(2)])
    x = rng.standard_normal((1, 7, 4)).astype(np.float32)
    whole, stream = model(x), model.stream()
    model.layers[0].precision = "float32"
    assert np.array_equal([stream.step(x[:, t]) for t in range(7)][-1], whole)
    assert not np.array_equal(model(x), whole)


def test_a_live_model_and_a_live_layer_are_taken_over_so(keras, rng):
    layers = keras.layers
    theirs = keras.Sequential([keras.Input((9, 4)), layers.Bidirectional(layers.LSTM(5)), layers.Dense(2)])
    ours = fastlstm.from_keras(theirs, precision="bfloat16")
    assert told(ours) == ["bfloat16"] * 2
    x = inputs(rng)
    assert 0 < np.abs(ours(x) - theirs(x).numpy()).max() < 0.05
    assert told(fastlstm.from_keras(theirs.layers[0], precision="int8")) == ["int8"] * 2
    with pytest.raises(FastLSTMError, match=r"Dense 'dense.*': precision is 'int8'.*no"):
        fastlstm.from_keras(theirs.layers[1], precision="int8")
    with pytest.raises(FastLSTMError, match=r"from_keras: precision is 'int4'"):
        fastlstm.from_keras(theirs, precision="int4")


def test_other_threads_may_call_a_layer_that_is_told_something_else(rng):
    layer = layer_of(rng, "lstm", 8, 40)
    x, results, over = rng.standard_normal((2, 5, 8)).astype(np.float32), set(), threading.Event()
    wanted = {}
    for precision in PRECISIONS:
        layer.precision = precision
        wanted[precision] = layer(x).tobytes()

    def work():
        while not over.is_set():
            results.add(layer(x).tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        for precision in PRECISIONS:
            layer.precision = precision
            assert layer(x).tobytes() == wanted[precision]
    over.set()
    for thread in threads:
        thread.join()
    assert results <= set(wanted.values())


# ---- what is refused ------------------------------------------------------------------------------

WRONG = ["fp16", "", "INT8", "float64", None, 8, True, ["int8"], np.float16]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_wrong_name_is_refused(wrong, saved):
    expected = r"precision is .*; expected one of float32, bfloat16, float16, int8"
    layer = SimpleRNN(3)
    for make in (
        lambda: LSTM(3, precision=wrong),
        lambda: GRUCell(3, precision=wrong),
        lambda: setattr(layer, "precision", wrong),
        lambda: fastlstm.load_model(saved, precision=wrong),
    ):
        with pytest.raises(FastLSTMError, match=expected):
            make()
    assert layer.precision == "float32"


@pytest.mark.parametrize("precision", NARROW)
def test_a_layer_of_float64_is_refused_by_name(precision, tmp_path):
    with pytest.raises(FastLSTMError, match=rf"LSTM 'a': precision='{precision}' needs dtype float32.*is float64"):
        LSTM(3, dtype="float64", precision=precision, name="a")
    everything("float64").save(tmp_path / "m.npz")
    with pytest.raises(FastLSTMError, match=r"m.npz.*: LSTMCell '.*': precision=.* needs dtype float32"):
        fastlstm.load_model(tmp_path / "m.npz", precision=precision)


@pytest.mark.parametrize("precision", NARROW)
def test_a_model_without_recurrent_layers_is_refused(precision, tmp_path):
    Sequential([Input((4,)), Dense(2)], name="flat").save(tmp_path / "m.npz")
    assert fastlstm.load_model(tmp_path / "m.npz", precision="float32").layers
    with pytest.raises(FastLSTMError, match=rf"m.npz.*'flat': precision is '{precision}'.*there are none"):
        fastlstm.load_model(tmp_path / "m.npz", precision=precision)


def test_a_configuration_may_not_say_it():
    for cls in (LSTM, GRUCell):
        with pytest.raises(FastLSTMError, match=r"\['precision'\] say how to run"):
            cls.from_config({"units": 3, "precision": "int8"})


@pytest.mark.parametrize(("precision", "value"), [("float16", 1e5), ("bfloat16", np.inf), ("int8", np.nan)])
def test_weights_beyond_its_numbers_are_refused_with_the_layer_s_name(precision, value, rng):
    layer = layer_of(rng, "lstm", 3, 5, name="a")
    weights = layer.get_weights()
    weights[1][2, 3] = value
    layer.set_weights(weights)
    layer(np.zeros((1, 2, 3)))
    layer.precision = precision
    for call in (lambda: layer(np.zeros((1, 2, 3))), layer.stream, lambda: layer.precision_report(np.zeros((1, 2, 3)))):
        with pytest.raises(FastLSTMError, match=r"LSTM 'a': precision: a weight is not finite, or beyond .*'float32'"):
            call()
    layer.precision = "float32"
    layer(np.zeros((1, 2, 3)))
