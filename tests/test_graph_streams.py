"""The stream of any causal graph gives, step by step, what the whole graph gives on the steps so far."""

import io

import numpy as np
import pytest
from graphs import (
    EXACT,
    MODELS,
    STEPS,
    at,
    drawn,
    flat,
    inputs,
    masked_branches,
    nest,
    prefix,
    random_graph,
    stateful,
    with_features,
)
from test_keras import assert_same
from test_reproducible import AT_ONCE, interrupted

import fastlstm
from fastlstm import LSTM, FastLSTMError, Input, Model, Sequential, UnsupportedLayerError
from fastlstm.layers import Activation, Bidirectional, Dense, Dropout, Embedding
from fastlstm.layers.activation import PReLU, Softmax
from fastlstm.layers.convolutional import Conv1D
from fastlstm.layers.gru import GRU
from fastlstm.layers.masking import Masking
from fastlstm.layers.merging import Add, Concatenate, Dot
from fastlstm.layers.normalization import BatchNormalization
from fastlstm.layers.ops import Operation
from fastlstm.layers.pooling import GlobalAveragePooling1D, MaxPooling1D
from fastlstm.layers.reshaping import Flatten, Permute, RepeatVector, Reshape


def assert_like(found, wanted, exact):
    """The same bits, or what sums in another order may differ by."""
    if exact or wanted.dtype.kind != "f":
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    else:
        assert_same(found, wanted, wanted.dtype)


def check(model, batch, rng, exact):
    """Every step against the whole model, blocks of any length against steps, and the states at the end."""
    arrays = inputs(model, batch, STEPS, rng)
    stream, blocks = model.stream(batch), model.stream(batch)
    steps = [flat(stream.step(nest(model, at(arrays, t)))) for t in range(STEPS)]
    for t, found in enumerate(steps):
        for ours, wanted in zip(found, prefix(model, stream, arrays, t + 1), strict=True):
            assert_like(ours, wanted, exact)
    start = 0
    while start < STEPS:
        stop = min(STEPS, start + int(rng.integers(0, 5)))
        found = flat(blocks.run(nest(model, at(arrays, slice(start, stop)))))
        for i, part in enumerate(found):
            assert part.shape == (batch, stop - start, *steps[0][i].shape[1:]) and part.dtype == steps[0][i].dtype
            for t in range(start, stop):
                assert_like(part[:, t - start], steps[t][i], exact)
        start = stop
    for ours, wanted in zip(arrays_of(blocks.state), arrays_of(stream.state), strict=True):
        assert_like(ours, wanted, exact)


def arrays_of(state):
    return [array for arrays in state for array in arrays]


# -- the promise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("maker", MODELS, ids=lambda maker: maker.__name__)
def test_every_prefix_of_a_graph(maker, batch, rng):
    check(drawn(maker, rng), 2 if maker is stateful else batch, rng, maker in EXACT)


@pytest.mark.parametrize("seed", range(25))
def test_every_prefix_of_a_random_graph(seed):
    rng = np.random.default_rng(seed)
    check(drawn(lambda: random_graph(rng), rng), int(rng.integers(1, 4)), rng, exact=False)


def test_a_chain_is_one_call_a_step_however_it_was_drawn(rng):
    x = Input((None, 3))
    y = LSTM(4, return_sequences=True)(LSTM(5, return_sequences=True)(x))
    inner = Sequential([Input((4,)), Dense(3), Dropout(0.1)])
    model = drawn(lambda: Model(x, Dense(2)(inner(GRU(4, return_sequences=True)(y)[:, -1]))), rng)
    stream = model.stream(2)
    assert stream._chain is not None and stream.copy()._chain is not None
    check(model, 2, rng, exact=True)


# -- state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MODELS, ids=lambda maker: maker.__name__)
def test_states_are_saved_restored_copied_and_reset_row_by_row(maker, rng):
    model = drawn(maker, rng)
    arrays = inputs(model, 2, STEPS, rng)
    stream = model.stream(2)
    stream.run(nest(model, at(arrays, slice(0, 4))))
    file = io.BytesIO()
    np.savez(file, *arrays_of(stream.state))
    twin, restored = stream.copy(), model.stream(2)
    rest = nest(model, at(arrays, slice(4, STEPS)))
    wanted = flat(stream.run(rest))
    file.seek(0)
    with np.load(file) as saved:
        left = iter(saved.values())
        restored.state = [[next(left) for _ in arrays] for arrays in restored.state]
    for other in (twin, restored):
        for ours, theirs in zip(flat(other.run(rest)), wanted, strict=True):
            assert np.array_equal(ours, theirs)
    stream.reset(rows=[1])
    fresh = flat(model.stream(2).run(rest))
    for ours, theirs, new in zip(flat(stream.run(rest)), flat(twin.run(rest)), fresh, strict=True):
        assert_like(ours[0], theirs[0], exact=True)
        assert_like(ours[1], new[1], exact=True)
    stream.reset()
    for ours, new in zip(flat(stream.run(rest)), fresh, strict=True):
        assert np.array_equal(ours, new)


def test_wrong_states_and_rows_change_nothing(rng):
    x = Input((None, 3))
    y = LSTM(3, name="above")(Masking()(Conv1D(3, 3, padding="causal", name="wide")(x)))
    stream = Model(x, y).stream(2)
    stream.run(rng.standard_normal((2, 5, 3)))
    before = stream.state
    assert [[a.shape for a in arrays] for arrays in before] == [[(2, 2, 3)], [(2, 3)] * 3]
    window, (h, c, last) = before[0][0], before[1]
    for state, message in (
        (3, "a list of lists"),
        ([before[0]], "1 entries; expected 2"),
        ([[window], [h, c]], "h|c"),
        ([[window], [h]], "LSTM 'above' has 1 arrays"),
        ([[window], [h, c, last[:, :2]]], r"LSTM 'above' has shape \(2, 2\)"),
        ([[], before[1]], "Conv1D 'wide' has 0 arrays"),
        ([[window[:1]], before[1]], r"Conv1D 'wide' has shape \(1, 2, 3\)"),
        ([["a"], before[1]], "Conv1D 'wide' has dtype"),
        ([[window + 1], [h, c, "a"]], "LSTM 'above' has dtype"),
    ):
        with pytest.raises(FastLSTMError, match=f"stream: state.*({message})"):
            stream.state = state
    for rows in (2, [0, 5], [True], "all", 0.5):
        with pytest.raises(FastLSTMError, match="reset: rows is"):
            stream.reset(rows)
    for found, wanted in zip(arrays_of(stream.state), arrays_of(before), strict=True):
        assert np.array_equal(found, wanted)


def test_an_error_in_a_late_layer_leaves_the_early_ones_where_they_were(rng):
    x, words = Input((None, 3), name="x"), Input((None,), dtype="int32", name="words")
    y = Concatenate()([LSTM(4, return_sequences=True)(x), Embedding(5, 2)(words)])
    stream = Model([x, words], LSTM(3)(y)).stream()
    stream.step([np.ones(3), 1])
    before = stream.state
    for call in (lambda: stream.step([np.ones(3), 9]), lambda: stream.run([np.ones((2, 3)), [1, 9]])):
        with pytest.raises(FastLSTMError, match="id 9 is not in its vocabulary"):
            call()
        for found, wanted in zip(arrays_of(stream.state), arrays_of(before), strict=True):
            assert np.array_equal(found, wanted)


def test_ctrl_c_in_a_masked_block_leaves_all_layers_where_they_were(rng):
    model = drawn(masked_branches, rng)
    x = rng.integers(0, 3, (1, 6))
    stream, twin = model.stream(), model.stream()
    stream.run(x), twin.run(x)
    assert interrupted(lambda: stream.run(np.tile(x, 50_000))) < AT_ONCE
    for ours, theirs in zip(stream.run(x), twin.run(x), strict=True):
        assert np.array_equal(ours, theirs)


def test_one_step_beside_sequences_is_not_broadcast():
    one, many = Input((1, 3)), Input((None, 3))
    with pytest.raises(UnsupportedLayerError, match=r"Add 'a' .*joins sequences of shapes"):
        Model([one, many], Add(name="a")([one, many])).stream()


# -- inputs, outputs --------------------------------------------------------------------------------


def test_inputs_and_outputs_are_nests_like_the_models(rng):
    model = drawn(with_features, rng)
    arrays = inputs(model, 1, 4, rng)
    stream, twin, flat_stream = model.stream(), model.stream(), model.stream()
    wanted = stream.run(nest(model, arrays))
    assert set(wanted) == {"y", "s"} and wanted["y"].shape == (1, 4, 2)
    out = {"y": np.empty((1, 2), np.float32), "s": np.empty((1, 5), np.float32)}
    for t in range(4):
        found = twin.step(nest(model, at(arrays, t)), out)
        alone = flat_stream.step(nest(model, [x[0, t] for x in arrays]))  # without the batch axis
        for key in wanted:
            assert found[key] is out[key] and alone[key].shape == found[key].shape[1:]
            assert np.array_equal(out[key], wanted[key][:, t]) and np.array_equal(alone[key], out[key][0])


def test_wrong_inputs_and_outs_change_nothing(rng):
    model = drawn(with_features, rng)
    stream = model.stream(2)
    good = {"x": np.ones((2, 3)), "features": np.ones((2, 4)), "store": np.ones((2, 1))}
    stream.step(good)
    before = arrays_of(stream.state)
    for key, value, message in (
        ("x", np.ones((2, 4)), r"input 'x'.*shape \(2, 4\); expected numbers of shape \(2, 3\)"),
        ("features", np.ones((3, 4)), "input 'features'"),
        ("features", np.ones(4), "input 'features'"),
        ("store", "text", "input 'store'"),
        ("x", [[1, 2], [3]], "input 'x', is not an array"),
    ):
        with pytest.raises(FastLSTMError, match=message):
            stream.step({**good, key: value})
    with pytest.raises(FastLSTMError, match="unlike numbers of steps"):
        stream.run({"x": np.ones((2, 5, 3)), "features": np.ones((2, 4, 4)), "store": np.ones((2, 5, 1))})
    with pytest.raises(FastLSTMError, match="expected 3 inputs"):
        stream.step([np.ones((2, 3))])
    for out in ([np.empty((2, 2), np.float32)], {"y": np.empty((2, 2), np.float32)}, np.empty((2, 2)), 3):
        with pytest.raises(FastLSTMError, match="out is"):
            stream.step(good, out)
    for found, wanted in zip(arrays_of(stream.state), before, strict=True):
        assert np.array_equal(found, wanted)


# -- refusals ---------------------------------------------------------------------------------------


def refused(draw, shape=(None, 4)):
    x = Input(shape)
    model = Model(x, draw(x))
    model.fill()
    return model


REFUSED = (
    (lambda x: Bidirectional(LSTM(2), name="a")(x), "Bidirectional 'a' cannot stream: it reads the end"),
    (lambda x: LSTM(2, go_backwards=True, name="a")(x), "LSTM 'a' .*go_backwards=True"),
    (lambda x: GRU(2, return_state=True, name="a")(x)[0], "GRU 'a' .*return_state=True"),
    (lambda x: LSTM(4, name="a")(x, initial_state=[LSTM(4)(x), LSTM(4)(x)]), "LSTM 'a' "),
    (lambda x: Conv1D(2, 3, name="a")(x), "Conv1D 'a' .*padding='valid'"),
    (lambda x: Conv1D(2, 3, padding="same", name="a")(x), "Conv1D 'a' .*padding='same'"),
    (lambda x: Conv1D(2, 3, strides=2, padding="causal", name="a")(x), "Conv1D 'a' .*strides=2"),
    (lambda x: Conv1D(2, 1, strides=2, name="a")(x), "Conv1D 'a' .*strides=2"),
    (lambda x: MaxPooling1D(2, name="a")(x), "MaxPooling1D 'a' .*more than one step"),
    (lambda x: GlobalAveragePooling1D(name="a")(x), "GlobalAveragePooling1D 'a'"),
    (lambda x: Dot(2, name="a")([x, x]), "Dot 'a'"),
    (lambda x: Concatenate(axis=1, name="a")([x, x]), "Concatenate 'a' .*along the axis of steps"),
    (lambda x: Softmax(axis=1, name="a")(x), "Softmax 'a' .*along the axis of steps"),
    (lambda x: Softmax(name="a")(Masking()(x)), "Softmax 'a' .*gets a mask"),
    (lambda x: x[:, -2], "GetItem .*other steps"),
    (lambda x: x[:, 1:], "GetItem .*other steps"),
    (lambda x: x[0], "GetItem .*other steps"),
    (lambda x: Add(name="a")([x, LSTM(4)(x)]), "Add 'a' .*joins a sequence"),
    (lambda x: Add(name="a")([x, x[:, :, 0]]), "Add 'a' .*joins sequences of shapes"),
    (lambda x: Operation("Cumsum", axis=1)(x), "Cumsum .*more than one step"),
    (lambda x: Operation("Mean")(x), "Mean .*along the axis of steps"),
    (lambda x: Operation("ExpandDims", axis=1)(x), "ExpandDims .*along the axis of steps"),
    (lambda x: x + np.ones((5, 4), np.float32), "Add .*gets an array for some number of steps"),
    (lambda x: LSTM(2, name="a")(x, mask=np.ones((1, 5), bool)), "LSTM 'a' .*gets an array for some number of steps"),
    (lambda x: Conv1D(2, 2, padding="causal", dilation_rate=2**30, name="a")(x), "Conv1D 'a' .*would keep"),
    (lambda x: Add(name="a")([x, x[:, -1:]]), "Add 'a' .*joins a sequence"),
    (lambda x: Activation("softmax", name="a")(x[:, :, 0]), "Activation 'a' .*along the axis of steps"),
    (lambda x: LSTM(3, stateful=True, name="a")(RepeatVector(2)(LSTM(3)(x))), "LSTM 'a' .*stateful"),
    (lambda x: Sequential([Input((None, 4)), Permute((2, 1), name="a")])(x), "Permute 'a'"),
)


@pytest.mark.parametrize("draw, message", REFUSED, ids=[message for _, message in REFUSED])
def test_what_needs_other_steps_is_refused_by_name(draw, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        refused(draw, (8, 4) if "Permute" in message else (5, 4) if "array" in message else (None, 4)).stream()


@pytest.mark.parametrize(
    "layer", [Flatten(name="a"), Reshape((8, 4), name="a"), PReLU(name="a"), BatchNormalization(1, name="a")]
)
def test_what_is_built_for_a_number_of_steps_is_refused(layer):
    with pytest.raises(UnsupportedLayerError, match=f"{type(layer).__name__} 'a' cannot stream"):
        refused(layer, (8, 4)).stream()


def test_a_layer_of_the_callers_own_is_refused():
    class Shift(fastlstm.layers.Layer):
        def call(self, inputs, *, mask=None):
            return np.roll(inputs, 1, axis=1)

    with pytest.raises(UnsupportedLayerError, match="Shift 'a' cannot stream: it is not one of fastlstm's own"):
        refused(Shift(name="a")).stream()


def test_a_model_without_sequences_is_refused():
    with pytest.raises(FastLSTMError, match="no input with steps"):
        refused(Dense(2), (4,)).stream()
