"""Rows of different lengths: each gives, bit for bit, what it gives alone, in layers, in models, on any threads."""

from __future__ import annotations

import random
import threading
import warnings

import clib
import numpy as np
import programs
import pytest
import recurrent
from conftest import SEED
from test_keras import assert_same

from fastlstm import FastLSTMError, Input, Model, Sequential, UnsupportedLayerError, layers, prediction

LENGTHS = [7, 0, 12, 1, 12, 3, 5, 70]


def rows_of(rng, *rest, lengths=LENGTHS, dtype="float32"):
    return [rng.standard_normal((n, *rest)).astype(dtype) for n in lengths]


def ids_of(rng, lengths=LENGTHS):
    return [rng.integers(0, 20, n) for n in lengths]


def drawn(rng, runs, shape):
    """A layer or model built for inputs of this shape, its weights drawn."""
    if not runs.built:
        runs.build(shape)
    runs.set_weights([rng.uniform(-1, 1, w.shape) / max(1, w.shape[0]) ** 0.5 for w in runs.get_weights()])
    return runs


def assert_each_alone(found, alone, count):
    """Row i of every leaf, of an array as of a list, is the only row of the i-th result by itself."""
    if isinstance(alone[0], np.ndarray):
        assert len(found) == count
        for i, (own, single) in enumerate(zip(found, alone, strict=True)):
            assert own.shape == single.shape[1:] and own.dtype == single.dtype, i
            assert np.array_equal(own, single[0], equal_nan=True), i
        return
    keys = alone[0] if isinstance(alone[0], dict) else range(len(alone[0]))
    assert type(found) is type(alone[0]) and len(found) == len(alone[0])
    for key in keys:
        assert_each_alone(found[key], [single[key] for single in alone], count)


# -- layers -----------------------------------------------------------------------------------------

KINDS = {
    **{name: lambda kind=kind, **options: kind(9, **options) for name, kind in recurrent.KINDS.items()},
    "cells": lambda **options: layers.RNN([layers.LSTMCell(6), layers.GRUCell(9)], **options),
    "directions": lambda go_backwards=False, **options: layers.Bidirectional(
        layers.LSTM(9, go_backwards=go_backwards, **options),
        backward_layer=layers.GRU(9, go_backwards=not go_backwards, **options),
    ),
    "both directions": lambda go_backwards=False, **options: layers.Bidirectional(
        layers.LSTM(9, go_backwards=go_backwards, **options),
        merge_mode=None,
        backward_layer=layers.LSTM(9, go_backwards=not go_backwards, **options),
    ),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_a_layer_is_what_it_is_alone(rng, kind, sequences, states, backwards):
    options = {"return_sequences": sequences, "return_state": states, "go_backwards": backwards}
    layer, rows = drawn(rng, KINDS[kind](**options), (None, None, 5)), rows_of(rng, 5)
    for given in (rows, tuple(rows), [row.tolist() or row for row in rows]):
        assert_each_alone(layer(given), [layer(row[None]) for row in rows], len(rows))


def test_a_list_of_arrays_comes_for_a_sequence_alone(rng):
    layer, rows = drawn(rng, layers.LSTM(4, return_sequences=True, return_state=True), (None, None, 5)), rows_of(rng, 5)
    y, h, c = layer(rows)
    assert isinstance(y, list) and [len(row) for row in y] == LENGTHS
    assert h.shape == c.shape == (len(rows), 4)
    assert isinstance(layer(rows[2:5:2])[0], np.ndarray)  # of one length: one array, as ever


@pytest.mark.parametrize("kind", ["lstm", "gru", "directions"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_row_begins_with_its_own_state(rng, kind, dtype):
    layer = drawn(rng, KINDS[kind](return_sequences=True, return_state=True, dtype=dtype), (None, None, 5))
    rows, count = rows_of(rng, 5, dtype=dtype), {"lstm": 2, "gru": 1, "directions": 3}[kind]
    states = [rng.standard_normal((len(rows), 9)).astype(dtype) for _ in range(count)]
    alone = [layer(row[None], [s[i : i + 1] for s in states]) for i, row in enumerate(rows)]
    assert_each_alone(layer(rows, initial_state=states), alone, len(rows))


def test_a_stateful_layer_goes_on_where_each_row_ended(rng):
    layer, plain = (drawn(rng, layers.LSTM(4, stateful=on), (None, None, 5)) for on in (True, False))
    plain.set_weights(layer.get_weights())
    first, second = rows_of(rng, 5), rows_of(rng, 5, lengths=LENGTHS[::-1])
    layer(first)
    whole = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    found, wanted = layer(second), plain(whole)
    some = [i for i, row in enumerate(second) if len(row)]  # of no steps there is no output
    assert np.array_equal(found[some], wanted[some])


@pytest.mark.parametrize("kind", KINDS)
def test_an_unbuilt_layer_is_built_for_its_rows(rng, kind):
    layer, rows = KINDS[kind](), rows_of(rng, 5)
    assert_each_alone(layer(rows), [layer(row[None]) for row in rows], len(rows))
    assert layer.built


@pytest.mark.parametrize("kind", ["lstm", "gru", "cells", "directions"])
@pytest.mark.parametrize("sequences", [False, True])
def test_layers_are_keras_s_on_padded_rows_with_their_mask(keras, rng, kind, sequences):
    layer, rows = drawn(rng, KINDS[kind](return_sequences=sequences), (None, None, 5)), rows_of(rng, 5)
    theirs = type(layer).__name__
    theirs = getattr(keras.layers, theirs).from_config(layer.get_config())
    theirs.build((None, None, 5))
    theirs.set_weights(layer.get_weights())
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    x = np.zeros((*mask.shape, 5), "float32")
    x[mask] = np.concatenate(rows)
    wanted = np.asarray(theirs(x, mask=mask))
    for i, row in enumerate(layer(rows)):
        assert_same(row, wanted[i, : LENGTHS[i]] if sequences else wanted[i])


# -- masks and threads, which lists of arrays stand on ----------------------------------------------------


def masks_of(rng, batch, steps):
    """Masks of many kinds, by name."""
    lengths = rng.integers(0, steps + 1, batch)
    right = np.arange(steps) < lengths[:, None]
    yield "right", right
    yield "sorted", np.arange(steps) < -np.sort(-lengths)[:, None]
    yield "left", right[:, ::-1]
    yield "any", rng.random((batch, steps)) < 0.5
    yield "islands", (np.arange(steps) // rng.integers(1, steps, (batch, 1)) + rng.integers(0, 2, (batch, 1))) % 2 == 0
    yield "nearly all", rng.random((batch, steps)) < 0.99
    yield "all", np.ones((batch, steps), bool)
    yield "none", np.zeros((batch, steps), bool)


@pytest.mark.parametrize("batch", [1, 4, 7, 40])
@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_a_masked_row_is_what_its_unmasked_steps_are_alone(isa, rng, kind, batch):
    for units, features, activation in ((5, 3, "tanh"), (20, 9, "tanh"), (7, 9, "relu6")):  # no kernel holds the last
        layer = recurrent.layer_of(
            rng, kind, features, units, return_sequences=True, return_state=True, isa=isa, activation=activation
        )
        x = rng.standard_normal((batch, 150, features)).astype("float32")
        for name, mask in masks_of(rng, batch, 150):
            y, *states = layer(x, mask=mask)
            for r in rng.choice(batch, min(batch, 5), replace=False):
                alone, *ends = layer(x[r : r + 1, mask[r]])
                held = np.concatenate([np.zeros((1, units), "float32"), alone[0]])[np.cumsum(mask[r])]
                assert np.array_equal(y[r], held), (name, r)  # a held step repeats the one before
                for state, end in zip(states, ends, strict=True):
                    assert np.array_equal(state[r], end[0]), (name, r)


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_layers_that_run_side_by_side_are_masked_alike(rng, batch):
    below, above = (layers.LSTM(6, return_sequences=True, zero_output_for_mask=zero) for zero in (True, False))
    model = drawn(rng, Sequential([Input((None, 4)), below, above]), None)
    both = drawn(rng, layers.Bidirectional(layers.GRU(6)), (None, None, 4))
    x = rng.standard_normal((batch, 150, 4)).astype("float32")
    for name, mask in masks_of(rng, batch, 150):
        assert np.array_equal(model(x, mask=mask), above(below(x, mask=mask), mask=mask)), name
        sides = (both.forward_layer(x, mask=mask), both.backward_layer(x, mask=mask))
        assert np.array_equal(both(x, mask=mask), np.concatenate(sides, axis=-1)), name


def test_no_bit_depends_on_how_threads_share_rows_of_unlike_lengths(isa):
    library = clib.load(clib.plenty())
    r, rng = random.Random(SEED), np.random.default_rng(SEED)
    kinds = set()
    for number in range(16):
        made = programs.draw(r, most_layers=3)
        program = programs.Program(
            made.dtype, r.choice([30, 70, 130]), 41, made.features,
            tuple(programs.replace(layer, mask=True) for layer in made.layers), made.stacked,
        )  # fmt: skip
        data = programs.fill(program, rng)
        lengths = rng.integers(0, 42, program.batch) if number % 4 else np.zeros(program.batch, int)
        lengths[number % program.batch] = 41  # of all rows but one none may have a step
        for arrays in data:
            arrays["mask"][...] = np.arange(41) < (-np.sort(-lengths) if number % 2 else lengths)[:, None]
        wanted = programs.one_by_one(library, isa, program, data)
        for threads in (1, 2, r.randint(3, 9)):
            prepared = programs.Prepared(library, isa, program, data, threads)
            shares = (clib.ctypes.c_int * 3)()
            library.plenty_kinds(clib.ctypes.byref(prepared.call), shares)
            kinds.add(bool(shares[0]))
            programs.assert_same_bits(prepared.run(), wanted, f"{threads} threads: {program}")
    assert kinds == {False, True}


# -- models ------------------------------------------------------------------------------------------


def graph(make, *shape, dtype="float32"):
    x = Input(shape, dtype=dtype)
    return Model(x, make(x))


def lstm(units=6, **options):
    return layers.LSTM(units, return_sequences=True, **options)


def inner():
    return Sequential([Input((None, 4)), layers.LayerNormalization(), lstm(), layers.Dense(4, "relu")])


def between(x):
    """Elementwise layers and operations."""
    y = layers.Concatenate()([lstm()(x), layers.Dropout(0.5)(layers.Dense(3)(x))])
    return layers.Add()([y * 2.0 - 1.0, y[:, :, ::-1]])


def two_masks(x):
    """Masks of two kinds that meet, beside a sequence without one."""
    a, b = layers.Embedding(20, 4, mask_zero=True)(x), layers.Embedding(20, 4)(x)
    return {
        "a": layers.LSTM(3)(layers.Add()([a, b])),
        "b": lstm(3)(layers.Multiply()([layers.Masking(0.5)(a), a])),
        "c": layers.GRU(3)(layers.Maximum()([a, layers.Dense(4)(b)])),
    }


FLOATS = {
    "stack": lambda: Sequential([Input((None, 4)), lstm(), layers.GRU(5, return_sequences=True), layers.SimpleRNN(3)]),
    "sequence": lambda: Sequential([Input((None, 4)), lstm(), layers.Dense(5, "tanh"), lstm(), layers.Dense(2)]),
    "directions": lambda: Sequential(
        [Input((None, 4)), layers.Bidirectional(lstm()), layers.TimeDistributed(layers.Dense(3, "softmax"))]
    ),
    "masking": lambda: Sequential([Input((None, 4)), layers.Masking(), layers.LSTM(3)]),
    "masking of another value": lambda: Sequential([Input((None, 4)), layers.Masking(-1.0), lstm(3)]),
    "norms": lambda: Sequential(
        [Input((None, 4)), layers.BatchNormalization(), lstm(), layers.LayerNormalization(), layers.LSTM(3)]
    ),
    "elements": lambda: graph(between, None, 4),
    "states": lambda: graph(lambda x: list(layers.LSTM(5, return_sequences=True, return_state=True)(x)), None, 4),
    "two lists": lambda: graph(layers.Bidirectional(lstm(), merge_mode=None), None, 4),
    "models inside": lambda: graph(lambda x: [layers.LSTM(3)(inner()(inner()(x)))], None, 4),
    "input alone": lambda: graph(lambda x: (x, layers.Identity()(x)), None, 4),
    "backwards": lambda: Sequential([Input((None, 4)), lstm(), layers.LSTM(3, go_backwards=True)]),
    "a new sequence": lambda: Sequential(
        [Input((None, 4)), layers.LSTM(3), layers.RepeatVector(5), lstm(), layers.Flatten()]
    ),
    "images": lambda: Sequential(
        [Input((None, 4, 4, 1)), layers.TimeDistributed(layers.Flatten()), layers.GRU(3), layers.Dense(1)]
    ),
    "fixed steps": lambda: Sequential([Input((70, 4)), lstm(), layers.LSTM(3)]),
    "stateless": lambda: Sequential([Input((None, 4)), layers.Dense(3), layers.Rescaling(2.0), layers.ReLU()]),
    "float64": lambda: Sequential([Input((None, 4), dtype="float64"), lstm(dtype="float64")]),
}  # fmt: skip
IDS = {
    "ids": lambda: Sequential([Input((None,), dtype="int32"), layers.Embedding(20, 4), layers.LSTM(3)]),
    "masked ids": lambda: Sequential([Input((None,)), layers.Embedding(20, 4, mask_zero=True), lstm(), layers.GRU(3)]),
    "two masks": lambda: graph(two_masks, None),
    "ids of a model inside": lambda: graph(
        Sequential([Input((None,)), layers.Embedding(20, 4, mask_zero=True), layers.Dense(3), layers.LSTM(3)]), None
    ),
}


def model_and_rows(rng, name):
    model = drawn(rng, (FLOATS | IDS)[name](), None)
    return model, ids_of(rng) if name in IDS else rows_of(rng, *model.input_shape[2:])


@pytest.mark.parametrize("name", FLOATS | IDS)
def test_every_row_of_a_model_is_what_it_is_alone(rng, name):
    model, rows = model_and_rows(rng, name)
    for _ in range(2):  # the second time from what the first kept
        assert_each_alone(model(rows), [model(row[None]) for row in rows], len(rows))


@pytest.mark.parametrize("name", FLOATS | IDS)
@pytest.mark.parametrize("batch_size", [None, 1, 3, 1000])
def test_predict_gives_each_row_in_its_place(rng, name, batch_size):
    model, rows = model_and_rows(rng, name)
    alone = [model(row[None]) for row in rows]
    assert_each_alone(model.predict(rows, batch_size=batch_size, verbose=0), alone, len(rows))
    assert_each_alone(model.predict(tuple(rows), batch_size, steps=1), alone[:batch_size], len(alone[:batch_size]))


def test_predict_puts_rows_of_like_lengths_together(rng, monkeypatch):
    model, seen, outputs = drawn(rng, FLOATS["sequence"](), None), [], []

    def spy(model, rows):
        seen.append([len(row) for row in rows])
        return run(model, rows)

    run = prediction.run_prepared
    monkeypatch.setattr(prediction, "run_prepared", spy)

    class Listener:
        def on_predict_batch_end(self, number, logs):
            outputs.append((number, [len(row) for row in logs["outputs"]]))

    rows = rows_of(rng, 4)
    model.predict(rows, batch_size=3, callbacks=[Listener()])
    assert seen == [[70, 12, 12], [7, 5, 3], [1, 0]]
    assert outputs == list(enumerate(seen))


def test_a_row_of_a_stateful_model_keeps_its_place(rng):
    x = Input(batch_shape=(2, None, 4))
    model = drawn(rng, Model(x, layers.LSTM(3, stateful=True)(x)), None)
    rows = rows_of(rng, 4, lengths=[2, 5, 7, 3])
    found = model.predict(rows, batch_size=2)
    model.reset_states()
    assert np.array_equal(found, np.concatenate([model(rows[:2]), model(rows[2:])]))


@pytest.mark.parametrize("name", ["stack", "directions", "masking", "masked ids"])
def test_models_are_keras_s_on_padded_rows_with_their_mask(keras, rng, name):
    model, rows = model_and_rows(rng, name)
    theirs = (keras.Sequential if type(model) is Sequential else keras.Model).from_config(model.get_config())
    theirs.set_weights(model.get_weights())
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    x = np.zeros((*mask.shape, *rows[0].shape[1:]), rows[0].dtype)
    x[mask] = np.concatenate(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says that the mask ends with the model
        found, wanted = model(rows), theirs(x, mask=keras.ops.convert_to_tensor(mask))
    for own, padded, n in zip(found, np.asarray(wanted), lengths, strict=True):
        assert_same(own, padded[:n] if isinstance(found, list) else padded)


def test_an_average_over_steps_is_one_over_the_row_s_own(rng):
    model = drawn(rng, Sequential([Input((None, 4)), lstm(), layers.GlobalAveragePooling1D(), layers.Dense(2)]), None)
    rows = rows_of(rng, 4)
    alone = np.concatenate([model(row[None]) for row in rows])
    np.testing.assert_allclose(model(rows), alone, rtol=0, atol=4 * max(LENGTHS) * np.finfo(np.float32).eps)


def test_a_last_axis_of_one_may_be_left_out_or_put_in(rng):
    model = drawn(rng, Sequential([Input((None, 1)), layers.LSTM(3)]), None)
    rows = rows_of(rng, 1)
    assert np.array_equal(model([row[:, 0] for row in rows]), model(rows))
    model, ids = drawn(rng, IDS["ids"](), None), ids_of(rng)
    assert np.array_equal(model([row[:, None] for row in ids]), model([row.tolist() for row in ids]))


def test_a_list_of_one_row_is_a_batch_of_one(rng):
    for name in ("stack", "ids"):
        model, rows = model_and_rows(rng, name)
        assert np.array_equal(model([rows[0]]), model(rows[0][None]))
        assert np.array_equal(model.predict([rows[0]]), model([rows[0][None]]))  # as ever, the input itself


def test_an_unbuilt_model_takes_rows_of_any_length(rng):
    model = Sequential([lstm(), layers.Dense(2)])
    rows = rows_of(rng, 4)
    found = model.predict(rows, verbose=0)
    assert model.input_shape == (None, None, 4)
    assert_each_alone(found, [model(row[None]) for row in rows], len(rows))


def test_one_input_may_come_by_its_name(rng):
    x = Input((None, 4), name="x")
    model, rows = drawn(rng, Model({"x": x}, lstm()(x)), None), rows_of(rng, 4)
    for by_name, row in zip(model({"x": rows}), model(rows), strict=True):
        assert np.array_equal(by_name, row)


def test_one_model_serves_many_threads(rng):
    model, rows = drawn(rng, FLOATS["elements"](), None), rows_of(rng, 4)
    wanted, found = [model(row[None])[0] for row in rows], {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: model(rows)})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for n in range(4) for a, b in zip(found[n], wanted, strict=True))


# -- what is refused -----------------------------------------------------------------------------------


class Own(layers.Layer):
    def call(self, inputs, *, mask=None):
        return inputs


class Derived(layers.LSTM):
    pass


def attention(x):
    return layers.Attention()([x, x])


def with_states(x):
    return layers.LSTM(4)(x, initial_state=[layers.LSTM(4)(x)] * 2)


BLIND = {
    "Conv1D": layers.Conv1D(2, 3),
    "DepthwiseConv1D": layers.DepthwiseConv1D(1),
    "MaxPooling1D": layers.MaxPooling1D(),
    "GlobalMaxPooling1D": layers.GlobalMaxPooling1D(),
    "GlobalAveragePooling1D": layers.GlobalAveragePooling1D("channels_first"),
    "Permute": layers.Permute((2, 1)),
    "Reshape": layers.Reshape((-1, 2)),
    "UpSampling1D": layers.UpSampling1D(),
    "ZeroPadding1D": layers.ZeroPadding1D(),
    "Cropping1D": layers.Cropping1D(),
    "GroupNormalization": layers.GroupNormalization(2),
    "Softmax": layers.Softmax(),
    "Own": Own(),
    "Derived": Derived(3),
    "Attention": attention,
    "Dot": lambda x: layers.Dot(1)([x, x]),
    "Concatenate": lambda x: layers.Concatenate(axis=1)([x, x]),
    "GetItem": lambda x: x[:, -1],
    "Add": lambda x: layers.Add()([x, layers.LSTM(4)(x)]),
    "LSTM": with_states,
    "GRU": layers.GRU(3, return_sequences=True, go_backwards=True),
    "SimpleRNN": layers.SimpleRNN(3, zero_output_for_mask=True),
    "Bidirectional": layers.Bidirectional(layers.LSTM(3, return_sequences=True, unroll=True)),
}


@pytest.mark.parametrize("name", BLIND)
@pytest.mark.parametrize("nested", [False, True])
def test_a_layer_that_would_see_padding_is_refused_by_name(rng, name, nested):
    blind = graph(BLIND[name], None, 4)
    model = graph(lambda x: blind(layers.Dense(4)(x)), None, 4) if nested else blind
    x = rng.standard_normal((2, 6, 4)).astype("float32")
    with pytest.raises(UnsupportedLayerError, match=rf"{name} '.*' would see the padding of arrays of different len"):
        model([x[0], x[1, :4]])
    with pytest.raises(UnsupportedLayerError, match=name):
        model.predict([x[0], x[1, :4]])
    wanted, found = model(x), model(list(x))  # of one length there is no padding
    assert np.array_equal(found, wanted)


def test_steps_that_a_layer_needs_to_know_are_no_rows_of_any_length():
    model = Sequential([Input((6, 4)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(FastLSTMError, match="Flatten"):
        model([np.zeros((6, 4)), np.zeros((4, 4))])
    with pytest.raises(FastLSTMError, match=r"expected one input with steps, not \(None, 6\)"):
        Sequential([Input((6,)), layers.Dense(2)])([np.zeros(6), np.zeros(4)])


def test_what_a_layer_would_blank_is_refused():
    rows = [np.ones((2, 3)), np.ones((4, 3))]
    for layer in (
        layers.LSTM(2, zero_output_for_mask=True),
        layers.GRU(2, zero_output_for_mask=True, unroll=True, go_backwards=True, return_sequences=True),
        layers.RNN(layers.LSTMCell(2), zero_output_for_mask=True),
        layers.Bidirectional(layers.LSTM(2, unroll=True, return_sequences=True)),
    ):
        with pytest.raises(FastLSTMError, match=f"{type(layer).__name__}.*zero_output_for_mask"):
            layer(rows)


WRONG = [
    ([np.ones((2, 3)), np.ones((4, 2))], r"row 1 has shape \(4, 2\); expected \(steps, 3\)"),
    ([np.ones((2, 3)), np.ones((2, 2))], r"row 1 has shape \(2, 2\); expected \(steps, 3\)"),
    ([np.ones((2, 3)), np.ones(4)], r"row 1 has shape \(4,\); expected \(steps, 3\)"),
    ([np.ones((2, 3)), np.ones((2, 3, 1))], r"row 1 has shape \(2, 3, 1\); expected \(steps, 3\)"),
    ([np.ones((2, 3)), None], "row 1 is NoneType of dtype object; expected an array of numbers"),
    ([np.ones((2, 3)), "abc", 3], "row 1 is str of dtype <U3; expected an array of numbers"),
    ([np.ones((2, 3)), {}], "row 1 is dict of dtype object"),
    ([3, np.ones((2, 3))], r"row 0 has shape \(\)"),
    ([[[1.0, 2, 3], [4, 5]], np.ones((4, 3))], "row 0 is not an array"),
    ([np.ones((2, 3)), np.ones((4, 3), complex)], "row 1 is ndarray of dtype complex128"),
    ([np.ones((2, 3)), []], r"row 1 has shape \(0,\); expected \(steps, 3\)"),
    ([], "shape"),
]


@pytest.mark.parametrize(("rows", "message"), WRONG)
@pytest.mark.parametrize("built", [False, True])
def test_wrong_rows_are_refused_by_their_place(rng, rows, message, built):
    shape = (None, None, 3)
    model = Sequential([layers.LSTM(2)])
    for runs in (layers.LSTM(2), layers.RNN(layers.GRUCell(2)), layers.Bidirectional(layers.GRU(2)), model):
        if built:
            runs.build(shape)
        if not rows and not built:
            continue
        with pytest.raises(FastLSTMError, match=message):
            runs(rows)
    if rows:
        with pytest.raises(FastLSTMError, match=message):
            model.predict(rows)


def test_a_mask_beside_rows_is_refused(rng):
    rows, mask = rows_of(rng, 3), np.ones((len(LENGTHS), 70), bool)
    model = Sequential([Input((None, 3)), layers.LSTM(2)], name="m")
    for runs in (layers.LSTM(2), layers.Bidirectional(layers.LSTM(2)), layers.RNN(layers.LSTMCell(2)), model):
        with pytest.raises(FastLSTMError, match=r"leave the mask out"):
            runs(rows, mask=mask)


def test_a_list_for_several_inputs_is_the_inputs(rng):
    a, b = Input((None, 3)), Input((None, 3))
    model = drawn(rng, Model([a, b], layers.Concatenate()([layers.LSTM(2)(a), layers.LSTM(2)(b)])), None)
    x = [rng.standard_normal((4, n, 3)).astype("float32") for n in (5, 7)]
    assert model(x).shape == model.predict(x).shape == (4, 4)
    with pytest.raises(FastLSTMError, match="input is not an array"):
        model([rows_of(rng, 3), rows_of(rng, 3)])


def test_an_iterator_of_rows_is_refused(rng):
    model = Sequential([Input((None, 3)), layers.LSTM(2)], name="m")
    with pytest.raises(FastLSTMError, match=r"Sequential 'm': predict: the iterator gave arrays of different lengths"):
        model.predict(iter([rows_of(rng, 3)]))
