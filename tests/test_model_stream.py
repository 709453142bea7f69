"""A model's stream gives, step by step, what the whole model gives on the steps so far."""

import numpy as np
import pytest
from test_reproducible import AT_ONCE, interrupted

import fastlstm
from fastlstm import FastLSTMError, Sequential, UnsupportedLayerError
from fastlstm.layers import Activation, Bidirectional, Dense, Dropout, Embedding, InputLayer


def numbers(*layers):
    return Sequential([InputLayer(shape=(None, 3)), *layers])


def words(mask_zero, *layers):
    return Sequential([InputLayer(shape=(None,), dtype="int32"), Embedding(9, 4, mask_zero=mask_zero), *layers])


MODELS = {
    "last": lambda: numbers(fastlstm.LSTM(5)),
    "sequence": lambda: numbers(fastlstm.LSTM(5, return_sequences=True)),
    "stack": lambda: numbers(
        fastlstm.LSTM(8, return_sequences=True), Dropout(0.5), fastlstm.LSTM(6), Dense(4, "relu"), Dense(2)
    ),
    "head": lambda: numbers(fastlstm.LSTM(7, return_sequences=True), Dense(3), Activation("softmax")),
    "words": lambda: words(False, fastlstm.LSTM(5), Dense(2)),
    "masked": lambda: words(True, fastlstm.LSTM(5, return_sequences=True), fastlstm.LSTM(4), Dense(2)),
    "masked sequence": lambda: words(True, fastlstm.LSTM(5, return_sequences=True), Dense(2)),
    "masked zeros": lambda: words(True, fastlstm.LSTM(5, return_sequences=True, zero_output_for_mask=True)),
    "float64": lambda: Sequential([InputLayer(shape=(None, 3), dtype="float64"), fastlstm.LSTM(5, dtype="float64")]),
}


def inputs(model, batch, steps, rng):
    if len(model.input_shape) == 2:
        return rng.integers(0, 3, (batch, steps))  # a third of it zeros, which mask_zero masks
    return rng.standard_normal((batch, steps, 3)).astype(np.float32)


def prefix(model, x, steps):
    y = model.predict(x[:, :steps], verbose=0)
    sequence = any(getattr(layer, "return_sequences", False) for layer in model.layers)
    return y[:, -1] if sequence and y.ndim == 3 else y


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_every_prefix(name, batch, rng):
    model = MODELS[name]()
    x = inputs(model, batch, 12, rng)
    stream, block = model.stream(batch), model.stream(batch).run(x)
    for t in range(12):
        wanted = prefix(model, x, t + 1)
        assert np.array_equal(stream.step(x[:, t]), wanted)  # bit for bit
        assert np.array_equal(block[:, t], wanted)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("below", "above"), [(1, 5), (3, 20), (20, 118), (650, 5)])
def test_every_prefix_of_a_stack_on_any_threads(below, above, threads, rng):
    model = numbers(
        fastlstm.LSTM(below, return_sequences=True, threads=threads), fastlstm.LSTM(above, threads=threads), Dense(3)
    )
    x = inputs(model, 2, 40, rng)
    stream, at = model.stream(2), 0
    for t in range(0, 40, 2):
        assert np.array_equal(stream.step(x[:, t]), prefix(model, x, t + 1))
        stream.step(x[:, t + 1])
    stream.reset()
    while at < 40:
        length = int(rng.integers(1, 20))
        block = stream.run(x[:, at : at + length])
        at = min(at + length, 40)
        assert np.array_equal(block[:, -1], prefix(model, x, at))


def test_ctrl_c_leaves_all_layers_where_they_were(rng):
    model = numbers(fastlstm.LSTM(4, return_sequences=True), fastlstm.LSTM(512))  # the second has all the work
    x = inputs(model, 1, 5, rng)
    stream, twin = model.stream(), model.stream()
    assert np.array_equal(stream.run(x), twin.run(x))
    assert interrupted(lambda: stream.run(np.zeros((1, 200_000, 3), np.float32))) < AT_ONCE
    assert np.array_equal(stream.run(x), twin.run(x))


def test_one_row_may_leave_out_the_batch_axis(rng):
    model = MODELS["stack"]()
    x = inputs(model, 1, 6, rng)
    a, b = model.stream(), model.stream()
    assert np.array_equal(a.step(x[0, 0]), b.step(x[:, 0])[0])
    assert np.array_equal(a.run(x[0, 1:]), b.run(x[:, 1:])[0])
    assert MODELS["words"]().stream().step(4).shape == (2,)


@pytest.mark.parametrize("name", ["stack", "masked"])
def test_state_copy_reset_and_out(name, rng):
    model = MODELS[name]()
    x = inputs(model, 2, 10, rng)
    stream = model.stream(2)
    whole = stream.run(x)
    stream.reset()
    stream.run(x[:, :4])
    twin, saved = stream.copy(), stream.state
    assert [len(arrays) for arrays in saved] == ([3, 3] if name == "masked" else [2, 2])  # [h, c], and what masks need
    rest = stream.run(x[:, 4:])
    assert np.array_equal(rest, whole[:, 4:])
    assert np.array_equal(twin.run(x[:, 4:]), rest)
    twin.state = saved
    out = np.empty_like(rest[:, 0])
    assert twin.step(x[:, 4], out) is out and np.array_equal(out, rest[:, 0])


def test_what_cannot_stream_is_refused_by_name(rng):
    for layers, message in (
        ([Bidirectional(fastlstm.LSTM(3), name="both")], "Bidirectional 'both' cannot stream: it reads the end"),
        ([fastlstm.LSTM(3, go_backwards=True, name="back")], "LSTM 'back' cannot stream: .*go_backwards=True"),
        ([fastlstm.LSTM(3, return_state=True, name="states")], "LSTM 'states' cannot stream: it returns its states"),
    ):
        with pytest.raises(UnsupportedLayerError, match=message):
            numbers(*layers).stream()
    with pytest.raises(FastLSTMError, match="no input with steps"):
        Sequential([InputLayer(shape=(3,)), Dense(3)]).stream()
    with pytest.raises(FastLSTMError, match="build the model first"):
        Sequential([fastlstm.LSTM(3)]).stream()
    for wrong in (0, 1.5, True):
        with pytest.raises(FastLSTMError, match="batch_size"):
            MODELS["last"]().stream(wrong)


def test_wrong_input_and_state_change_nothing(rng):
    model = MODELS["stack"]()
    stream = model.stream(2)
    stream.step(np.ones((2, 3)))
    before = stream.state
    for x in (np.ones(3), np.ones((3, 3)), np.ones((2, 4)), np.ones((2, 1, 3)), "text", None):
        with pytest.raises(FastLSTMError, match="stream: x"):
            stream.step(x)
    for state in ([], [before[0]], [before[0], [before[1][0]]], [before[1], before[0]]):
        with pytest.raises(FastLSTMError, match="stream: state"):
            stream.state = state
    for out in (np.empty((2, 5), np.float32), np.empty((2, 2)), [0.0]):
        with pytest.raises(FastLSTMError, match=r"stream: out is .* float32 array \(2, 2\)"):
            stream.step(np.ones((2, 3)), out)
        with pytest.raises(FastLSTMError, match=r"stream: out is .* float32 array \(2, 4, 2\)"):
            stream.run(np.ones((2, 4, 3)), out)
    for (h, c), (h0, c0) in zip(stream.state, before, strict=True):
        assert np.array_equal(h, h0) and np.array_equal(c, c0)


def test_a_stream_of_a_loaded_model(tmp_path, rng):
    model = MODELS["stack"]()
    model.save(tmp_path / "m.npz")
    x = inputs(model, 1, 5, rng)
    loaded = fastlstm.load_model(tmp_path / "m.npz")
    assert np.array_equal(loaded.stream().run(x)[:, -1], model.predict(x, verbose=0))
