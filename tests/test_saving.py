"""Models written as .keras are Keras 3's own files, and compute there what they compute here, old ones as well."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest

from fastlstm import FastLSTMError, Functional, Input, Sequential, UnsupportedLayerError, load_model
from fastlstm import layers as F
from fastlstm.sampling import sample_inputs, uses
from fastlstm.structure import flatten

# TensorFlow's own tensors provoke it in NumPy 2; Keras says where masks end.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* does not support masking:UserWarning"),
]
KERAS_BOUND = 1e-5  # promised for float32 against Keras, in units of max(1, |v|)
OLD = "hard_sigmoid_keras2"


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.max(np.abs(a - b) / np.maximum(1, np.abs(b)), initial=0) <= KERAS_BOUND


def of_keras_2(model, tmp_path, version="2.15.0"):
    """The model as a file of Keras 2 would have it; our own files remember who wrote the first one."""
    model.written_by = version
    model.save(tmp_path / "old.npz")
    old = load_model(tmp_path / "old.npz")
    os.remove(tmp_path / "old.npz")
    return old


def run(model, inputs):
    return [np.asarray(y) for y in flatten(model.predict(inputs, verbose=0))]


def groups(path):
    """Everything in the HDF5 file: groups with their attributes, arrays with their bytes."""
    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(
            lambda name, item: found.setdefault(
                name, item[()].tobytes() if isinstance(item, h5py.Dataset) else dict(item.attrs)
            )
        )
    return found


# -- models of Keras 3 ------------------------------------------------------------------------------


def stack(k, L):
    return k.Sequential(
        [
            k.Input((7,)), L.Embedding(5, 3), L.Bidirectional(L.LSTM(2, return_sequences=True, dropout=0.2)),
            L.GRU(3, return_sequences=True), L.BatchNormalization(), L.TimeDistributed(L.Dense(2)),
            L.RNN([L.LSTMCell(2), L.GRUCell(3)]), L.Dropout(0.2), L.Dense(1), L.Activation("relu"),
        ],
        name="stack",
    )  # fmt: skip


def encoder_decoder(k, L):
    ids = k.Input((5,))
    embedded = L.Embedding(5, 3, mask_zero=True)(ids)
    _, h, c = L.LSTM(4, return_state=True)(embedded)
    return k.Model(ids, L.Dense(2)(L.LSTM(4, return_sequences=True)(embedded, initial_state=[h, c])))


def nested(k, L):
    inputs = k.Input((None, 4), name="q")
    shared = L.Dense(3)
    y = L.LayerNormalization()(shared(shared(L.LSTM(3, return_sequences=True)(inputs))))
    y = L.Conv1D(4, 3, padding="causal")(y)
    inside = k.Input((None, 4))
    inner = k.Model(inside, L.Bidirectional(L.GRU(2))(inside), name="inner")
    return k.Model({"q": inputs}, {"a": inner(y), "b": y[:, -1]})


def attention(k, L):
    a, b = k.Input((7, 3), name="a"), k.Input((4, 3), name="b")
    both = L.MultiHeadAttention(2, 3)(a, b)
    return k.Model([a, b], [L.LSTM(3)(both), L.LSTM(2)(L.Attention()([a, b]))])


MODELS = [stack, encoder_decoder, nested, attention]


@pytest.mark.parametrize("make", MODELS)
def test_a_file_is_the_one_that_keras_writes(keras, tmp_path, make):
    keras.utils.set_random_seed(7)
    theirs = make(keras, keras.layers)
    theirs.save(tmp_path / "theirs.keras")
    ours = load_model(tmp_path / "theirs.keras")
    ours.save(tmp_path / "ours.keras")
    written, wanted = groups(tmp_path / "ours.keras"), groups(tmp_path / "theirs.keras")
    arrays = {name: array for name, array in wanted.items() if isinstance(array, bytes)}
    assert {name: written[name] for name in arrays} == arrays
    assert set(written) <= set(wanted)
    assert all(written[name] == wanted[name] for name in written if "multi_head" not in name)
    again = keras.models.load_model(tmp_path / "ours.keras")
    inputs = sample_inputs(ours)
    for a, b in zip(keras.tree.flatten(again.predict(inputs, verbose=0)), run(theirs, inputs), strict=True):
        assert a.tobytes() == b.tobytes()
    assert_close(run(load_model(tmp_path / "ours.keras"), inputs), run(theirs, inputs))


def test_members_are_stored_and_say_who_wrote_them(tmp_path):
    model = Sequential([F.InputLayer((4, 2)), F.LSTM(3)])
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        metadata = json.loads(archive.read("metadata.json"))
    assert set(metadata) == {"keras_version", "date_saved"}
    assert load_model(tmp_path / "m.keras").written_by == metadata["keras_version"] == "3.15.1"
    assert os.listdir(tmp_path) == ["m.keras"]


def test_weights_come_back_bit_for_bit(tmp_path):
    model = Sequential([F.InputLayer((4, 2)), F.LSTM(3, dtype="float64"), F.Dense(2)])
    weights = model.get_weights()
    weights[0][0, 0], weights[1][0, 0], weights[2][0] = np.nan, -0.0, np.inf
    model.set_weights(weights)
    model.save(tmp_path / "m.keras")
    for a, b in zip(load_model(tmp_path / "m.keras").get_weights(), weights, strict=True):
        assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "m.keras").write_text("old")
    with pytest.raises(FastLSTMError, match=r'pip install "fastlstm\[keras\]", or write \.npz'):
        Sequential([F.InputLayer((4, 2)), F.LSTM(3)]).save(tmp_path / "m.keras")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m.keras", "old")]


def test_a_class_that_keras_lacks_is_refused(tmp_path):
    class Twice(F.Layer):
        def call(self, inputs, *, mask=None):
            return 2 * inputs

    with pytest.raises(UnsupportedLayerError, match=r"Twice 'twice.*': Keras 3 has no layer of this class"):
        Sequential([F.InputLayer((4,)), Twice(), F.Dense(2)]).save(tmp_path / "m.keras")
    assert os.listdir(tmp_path) == []


def test_the_endings_are_npz_and_keras(tmp_path):
    model = Sequential([F.InputLayer((4, 2)), F.LSTM(3)])
    for name in ("m.h5", "m", "m.keras.zip"):
        with pytest.raises(FastLSTMError, match=r"does not end in \.npz or \.keras"):
            model.save(tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("old", [False, True])
def test_a_custom_layer_is_written_as_it_was_read(keras, tmp_path, old):
    @keras.saving.register_keras_serializable("tests")
    class Halved(keras.layers.Layer):
        def call(self, x):
            return x / 2

    theirs = keras.Sequential([keras.Input((4, 2)), Halved(name="half"), keras.layers.LSTM(3, name="last")])
    theirs.save(tmp_path / "theirs.keras")
    custom = {"tests>Halved": lambda x: x / 2}
    ours = load_model(tmp_path / "theirs.keras", custom_layers=custom)
    if old:  # which has the model made anew
        (lstm,) = (layer for layer in ours.layers if layer.name == "last")
        lstm.recurrent_activation = F.LSTM(1, recurrent_activation=OLD).recurrent_activation
        lstm._weights_changed()
    ours.save(tmp_path / "ours.keras")
    with zipfile.ZipFile(tmp_path / "ours.keras") as archive:
        node = json.loads(archive.read("config.json"))["config"]["layers"][1]
    assert (node["class_name"], node["registered_name"], node["config"]["name"]) == ("Halved", "tests>Halved", "half")
    inputs = sample_inputs(ours)
    assert_close(run(keras.models.load_model(tmp_path / "ours.keras"), inputs), run(ours, inputs))


# -- what older Kerases computed otherwise ----------------------------------------------------------


def both(units=4):
    return {"units": units, "recurrent_activation": OLD, "return_sequences": True}


def hard_graph():
    inputs = Input((5, 3))
    gate = F.Activation(OLD, name="gate")
    y = F.Concatenate()([gate(inputs), gate(F.Dense(3)(inputs))])
    inside = Input((None, 6))
    inner = Functional(inside, F.Activation(OLD)(F.LSTM(**both())(inside)), name="inner")
    return Functional(inputs, F.TimeDistributed(F.Dense(2, OLD))(inner(y)))


def of(*layers):
    return lambda: Sequential([F.InputLayer((5, 3)), *(cls(*args, **kwargs) for cls, args, kwargs in layers)])


HARD = {
    "LSTM": of((F.LSTM, (), both())),
    "without bias": of((F.LSTM, (), both() | {"use_bias": False})),
    "Bidirectional": lambda: Sequential([F.InputLayer((5, 3)), F.Bidirectional(F.LSTM(**both()))]),
    "GRU": of((F.GRU, (), both()), (F.GRU, (), both() | {"reset_after": False}), (F.GRU, (4, OLD, OLD), {})),
    "GRU's own": of((F.GRU, (4, OLD), {"reset_after": False})),
    "SimpleRNN": of((F.SimpleRNN, (4, OLD), {})),
    "cells": lambda: Sequential(
        [F.InputLayer((5, 3)), F.RNN([F.LSTMCell(3, recurrent_activation=OLD), F.GRUCell(2, recurrent_activation=OLD)])]
    ),
    "Dense": of((F.Dense, (4, OLD), {}), (F.Dense, (2, OLD), {"use_bias": False})),
    "convolutions": of(
        (F.Conv1D, (4, 2), {"activation": OLD}),
        (F.SeparableConv1D, (3, 2), {"activation": OLD}),
        (F.DepthwiseConv1D, (2,), {"activation": OLD}),
    ),
    "Activation": of((F.Dense, (4,), {}), (F.Activation, (OLD,), {}), (F.Dense, (2,), {})),
    "Activation first": of((F.Activation, (OLD,), {})),
    "float64": of((F.LSTM, (), both() | {"dtype": "float64"})),
    "graph": hard_graph,
}


@pytest.mark.parametrize("name", HARD)
def test_the_old_hard_sigmoid_is_made_of_the_new_one(keras, tmp_path, name):
    model = HARD[name]()
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    before = [w.tobytes() for w in model.get_weights()]
    inputs = 3 * sample_inputs(model)
    expected = run(model, inputs)
    model.save(tmp_path / "m.keras")
    assert OLD.encode() not in (tmp_path / "m.keras").read_bytes()
    assert_close(run(keras.models.load_model(tmp_path / "m.keras"), inputs), expected)
    assert_close(run(load_model(tmp_path / "m.keras"), inputs), expected)
    assert [w.tobytes() for w in model.get_weights()] == before  # the model itself is as it was
    assert [y.tobytes() for y in run(model, inputs)] == [y.tobytes() for y in expected]


@pytest.mark.parametrize(
    ("layer", "pattern"),
    [
        (lambda: F.LSTM(4, OLD, name="x"), "LSTM 'x' has the hard_sigmoid of Keras before 3 as its activation"),
        (lambda: F.Bidirectional(F.LSTM(4, OLD, name="x")), "LSTM 'forward_x' has the hard_sigmoid"),
        (lambda: F.TimeDistributed(F.Activation(OLD, name="x")), "Activation 'x' has the .* inside another layer"),
    ],
)
def test_an_old_hard_sigmoid_that_no_weights_make_up_for_is_refused(tmp_path, layer, pattern):
    model = Sequential([F.InputLayer((5, 3)), layer()])
    with pytest.raises(UnsupportedLayerError, match=pattern):
        model.save(tmp_path / "m.keras")
    assert os.listdir(tmp_path) == []
    model.save(tmp_path / "m.npz")


def decoder(two_vocabularies=True):
    """An encoder and a decoder; the mask reaches the decoder beside the encoder's state."""
    ids, words = Input((6,), name="ids"), Input((4,), name="words")
    _, h, c = F.LSTM(4, return_state=True)(F.Embedding(7, 3, mask_zero=True)(ids))
    embedded = F.Dropout(0.2)(F.Embedding(7, 3, mask_zero=True)(words))
    y, *_ = F.LSTM(4, return_sequences=True, return_state=True)(embedded, initial_state=[h, c])
    return Functional([ids, words], F.LSTM(2)(F.Dense(3)(y)))


def twice():
    """One layer that runs once with a state and once without, in a model inside a model."""
    inside = Input((6,))
    embedded = F.Embedding(7, 3, mask_zero=True)(inside)
    gru = F.GRU(4, return_sequences=True, return_state=True)
    y, h = gru(embedded)
    z, _ = gru(embedded, initial_state=h)
    inner = Functional(inside, F.Concatenate()([y, z]), name="inner")
    ids = Input((6,))
    return Functional(ids, F.LSTM(3)(inner(ids)))


def residual():
    ids = Input((6,))
    embedded = F.Embedding(7, 3, mask_zero=True)(ids)
    y = F.Add()([embedded, F.LSTM(3, return_sequences=True)(embedded)])
    return Functional(ids, F.LSTM(3)(F.Concatenate()([y, embedded])))


@pytest.mark.parametrize("make", [decoder, twice, residual])
def test_masks_flow_in_keras_3_as_they_did(keras, tmp_path, make):
    model = make()
    as_it_is = run(model, sample_inputs(model))
    model = of_keras_2(model, tmp_path)
    inputs = sample_inputs(model)
    expected = run(model, inputs)
    assert make is residual or not np.allclose(expected[0], as_it_is[0])  # which the test would otherwise not see
    model.save(tmp_path / "m.keras")
    assert_close(run(keras.models.load_model(tmp_path / "m.keras"), inputs), expected)
    assert_close(run(load_model(tmp_path / "m.keras"), inputs), expected)


def merged(layer, alike=False):
    a, b = Input((6,)), Input((6,))
    embedded = F.Embedding(7, 3, mask_zero=True, name="words")
    parts = [embedded(a), F.LSTM(3, return_sequences=True)(embedded(a)) if alike else embedded(b)]
    return Functional([a, b], F.LSTM(3)(layer(parts)))


def masked_decoder():
    x = F.Masking()(Input((6, 3), name="x"))
    _, h, c = F.LSTM(4, return_state=True)(x)
    return Functional(x.layer._nodes[0].args[0], F.LSTM(4, name="late")(x, initial_state=[h, c]))


def inside_steps():
    inside = Input((6,))
    embedded = F.Embedding(7, 3, mask_zero=True)(inside)
    _, h, c = F.LSTM(4, return_state=True)(embedded)
    inner = Functional(inside, F.LSTM(4, name="late")(embedded, initial_state=[h, c]))
    return Sequential([F.InputLayer((2, 6)), F.TimeDistributed(inner)])


def both_ways():
    sides = F.Bidirectional(F.LSTM(3, return_sequences=True), name="b")
    return Sequential([F.InputLayer((6,)), F.Embedding(7, 3, mask_zero=True), sides])


def words_of_sentences():
    inner = F.TimeDistributed(F.Bidirectional(F.LSTM(3, return_sequences=True), name="b"))
    return Sequential([F.InputLayer((2, 6)), F.Embedding(7, 3, mask_zero=True), inner])


def rescaled():
    layers = [F.Embedding(7, 3, mask_zero=True), F.Rescaling(2.0, name="r"), F.LSTM(3)]
    return Sequential([F.InputLayer((6,)), *layers])


@pytest.mark.parametrize(
    ("make", "version", "pattern"),
    [
        (lambda: merged(F.Add(name="m")), "2.3.0", "Add 'm' counts the steps that all masks count, which in"),
        (lambda: merged(F.Concatenate(name="m")), "1.2.2", "Concatenate 'm' counts the steps that all masks count"),
        (lambda: merged(F.Multiply(name="m"), alike=True), "2.9.0", "Multiply 'm' counts the steps that all masks"),
        (masked_decoder, "2.9.0", "LSTM 'late' takes a mask beside an initial state unasked, and not right from"),
        (inside_steps, "2.9.0", "LSTM 'late' takes a mask beside an initial state unasked, in a model inside another"),
        (both_ways, "2.3.0", "Bidirectional 'b' holds its output at masked steps"),
        (words_of_sentences, "2.3.0", "Bidirectional 'b' holds its output at masked steps"),
        (rescaled, "2.9.0", "Rescaling 'r' drops its mask"),
    ],
)
def test_masks_that_keras_3_cannot_be_told_of_are_refused(tmp_path, make, version, pattern):
    model = of_keras_2(make(), tmp_path, version)
    with pytest.raises(UnsupportedLayerError, match=pattern):
        model.save(tmp_path / "m.keras")
    assert os.listdir(tmp_path) == []


def test_a_stateful_model_keeps_its_state(keras, tmp_path):
    layers = [F.Embedding(7, 3, mask_zero=True), F.LSTM(3, recurrent_activation=OLD, stateful=True)]
    model = of_keras_2(Sequential([F.InputLayer(batch_shape=(2, 6)), *layers]), tmp_path)
    inputs = sample_inputs(model)
    run(model, inputs)
    expected = run(model, inputs)
    model.reset_states()
    run(model, inputs)
    model.save(tmp_path / "m.keras")
    assert [y.tobytes() for y in run(model, inputs)] == [y.tobytes() for y in expected]
    theirs = keras.models.load_model(tmp_path / "m.keras")
    theirs.predict(inputs, verbose=0)
    assert_close([theirs.predict(inputs, verbose=0)], expected)


def test_no_masks_no_refusal(keras, tmp_path):
    a, b = Input((6, 3)), Input((6, 3))
    _, h, c = F.LSTM(4, return_state=True)(a)
    model = Functional([a, b], F.LSTM(4)(F.Multiply()([a, b]), initial_state=[h, c]))
    model = of_keras_2(model, tmp_path)
    model.save(tmp_path / "m.keras")
    inputs = sample_inputs(model)
    assert_close(run(keras.models.load_model(tmp_path / "m.keras"), inputs), run(model, inputs))


def test_masks_that_stop_as_from_3_16_on_are_refused(tmp_path):
    layers = [F.Embedding(7, 3, mask_zero=True), F.LSTM(3, return_sequences=True), F.LSTM(2)]
    model = Sequential([F.InputLayer((6,)), *layers])
    model.save(tmp_path / "m.keras")
    load_model(tmp_path / "m.keras").save(tmp_path / "again.keras")
    with pytest.raises(UnsupportedLayerError, match=r"LSTM 'lstm.*' drops its mask"):
        load_model(tmp_path / "m.keras", mask_propagation="3.16").save(tmp_path / "m2.keras")


@pytest.mark.parametrize("case", ["gates", "decoder", "Activation"])
def test_a_file_of_keras_2_computes_in_keras_3_what_it_did(keras, tmp_path, case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf_keras = pytest.importorskip("tf_keras")
    L = tf_keras.layers
    if case == "decoder":
        a, b = tf_keras.Input((6,)), tf_keras.Input((4,))
        _, h, c = L.LSTM(4, return_state=True)(L.Embedding(7, 3, mask_zero=True)(a))
        y = L.LSTM(4, return_sequences=True)(L.Embedding(7, 3, mask_zero=True)(b), initial_state=[h, c])
        theirs = tf_keras.Model([a, b], L.Dense(3)(y))
    elif case == "gates":
        gates = {"recurrent_activation": "hard_sigmoid", "return_sequences": True}
        theirs = tf_keras.Sequential([tf_keras.Input((5, 3)), L.GRU(4, **gates), L.Bidirectional(L.LSTM(4, **gates))])
    else:
        theirs = tf_keras.Sequential([tf_keras.Input((5, 3)), L.Conv1D(4, 2), L.Activation("hard_sigmoid")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras 2 about its own format
        theirs.save(tmp_path / "old.h5")
    ours = load_model(tmp_path / "old.h5")
    inputs = sample_inputs(ours)
    expected = run(theirs, inputs)
    assert_close(run(ours, inputs), expected)
    ours.save(tmp_path / "new.keras")
    assert_close(run(keras.models.load_model(tmp_path / "new.keras"), inputs), expected)


# -- made-up inputs ---------------------------------------------------------------------------------


def test_made_up_inputs_are_what_the_layers_read():
    ids, words, x = Input((6,)), Input((2, 3), dtype="int32"), Input((None, 3))
    small = F.Embedding(4, 3, mask_zero=True)(F.Reshape((6,))(words))
    y = [F.LSTM(3)(part) for part in (F.Embedding(9, 3)(ids), small, F.Masking(-1.0)(F.Dropout(0.1)(x)))]
    model = Functional([ids, words, x], F.Dense(1)(F.Concatenate()(y)))
    assert [tuple(use) for use in uses(model)] == [(9, None), (4, 0), (None, -1.0)]
    a, b, c = sample_inputs(model, rows=40)
    assert (a.dtype, b.dtype, c.shape) == ("float32", "int32", (40, 6, 3))
    assert set(np.unique(a)) == set(range(9)) and set(np.unique(b)) == set(range(4))
    assert np.all(c[1, -1] == -1) and not np.any(c[0] == -1)
    for p, q in zip(sample_inputs(model), sample_inputs(model), strict=True):
        assert p.tobytes() == q.tobytes()


def test_free_sizes_suit_the_layers():
    model = Sequential([F.InputLayer((None, 2)), F.Conv1D(3, 11), F.Conv1D(3, 11), F.LSTM(2)])
    assert sample_inputs(model).shape == (5, 25, 2)
    assert sample_inputs(Sequential([F.InputLayer(batch_shape=(3, 4, 2)), F.LSTM(2, stateful=True)])).shape == (3, 4, 2)


def test_inputs_too_large_to_try_are_refused():
    model = Sequential([F.InputLayer((100_000, 10_000)), F.LSTM(2)])
    with pytest.raises(FastLSTMError, match="has an array of 5000000000 numbers"):
        sample_inputs(model)
