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
from fastlstm import LSTM, FastLSTMError, Input, Model, Sequential
from fastlstm.layers import Dense, Dropout, Embedding
from fastlstm.layers.convolutional import Conv1D
from fastlstm.layers.gru import GRU
from fastlstm.layers.masking import Masking
from fastlstm.layers.merging import Concatenate


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


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras's own
def test_a_file_of_keras_with_masks_streams_as_keras_computes_prefixes(keras, tmp_path, rng):
    layers = keras.layers
    words, features = keras.Input((None,), dtype="int32"), keras.Input((4,))
    x = layers.Embedding(9, 5, mask_zero=True)(words)
    x = layers.LSTM(6, return_sequences=True)(layers.Dropout(0.2)(x, training=False))
    encoder = keras.Sequential([keras.Input((None, 6)), layers.Dense(4), layers.LSTM(4, return_sequences=True)])
    y = encoder(x)
    z = layers.GRU(3)(layers.Concatenate()([layers.TimeDistributed(layers.Dense(3))(x), y]))
    theirs = keras.Model([words, features], [layers.Dense(2)(layers.Concatenate()([y[:, -1], z, features])), y * 2.0])
    theirs.save(tmp_path / "masks.keras")
    stream = fastlstm.load_model(tmp_path / "masks.keras").stream(2)
    ids, said = rng.integers(0, 3, (2, STEPS)), rng.standard_normal((2, 4)).astype("float32")
    for t in range(STEPS):
        end, sequence = theirs([ids[:, : t + 1], said])
        assert_same(stream.step([ids[:, t], said]), [np.asarray(end), np.asarray(sequence)[:, -1]])


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
