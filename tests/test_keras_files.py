"""Files that Keras wrote compute what Keras computes, and describe themselves as Keras's do."""

from __future__ import annotations

import io
import json
import warnings
import zipfile

import numpy as np
import pytest

from fastlstm import FastLSTMError, ModelFileError, Sequential, UnsupportedLayerError
from fastlstm.layers import Embedding
from fastlstm.loading import load_model

# TensorFlow's own tensors provoke it in NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KERAS_BOUND = 1e-5  # promised for float32 against Keras, whatever the model


def rng():
    return np.random.default_rng(11)


MODELS = {
    "one-lstm": lambda k, L: [k.Input((7, 3)), L.LSTM(5), L.Dense(2)],
    "any-length": lambda k, L: [k.Input((None, 3)), L.LSTM(5, return_sequences=True), L.Dense(2, "tanh")],
    "stack": lambda k, L: [
        k.Input((7, 3)),
        L.LSTM(8, return_sequences=True, dropout=0.2, recurrent_dropout=0.1),
        L.Dropout(0.3),
        L.LSTM(4, return_sequences=True),
        L.LSTM(6),
        L.Dense(5, activation="relu", kernel_regularizer="l2"),
        L.Dropout(0.5, noise_shape=(None, 5)),
        L.Dense(3, activation="softmax", kernel_constraint="non_neg"),
    ],
    "words-masked": lambda k, L: [
        k.Input((9,), dtype="int32"),
        L.Embedding(20, 6, mask_zero=True),
        L.LSTM(5, return_sequences=True),
        L.LSTM(4),
        L.Dense(1, activation="sigmoid"),
    ],
    "words-floats": lambda k, L: [k.Input((9,)), L.Embedding(20, 6), L.LSTM(5), L.Dense(1)],
    "words-unsized": lambda k, L: [L.Embedding(20, 6, mask_zero=True), L.LSTM(5)],
    "options": lambda k, L: [
        k.Input((7, 3)),
        L.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False, go_backwards=True),
        L.Activation("softplus"),
    ],
    "zero-output": lambda k, L: [
        k.Input((9,), dtype="int64"),
        L.Embedding(20, 6, mask_zero=True),
        L.LSTM(5, return_sequences=True, zero_output_for_mask=True, unit_forget_bias=False),
        L.Dense(2),
    ],
    "states": lambda k, L: [k.Input((7, 3)), L.LSTM(5, return_state=True, unroll=True)],
    "doubles": lambda k, L: [k.Input((7, 3)), L.LSTM(5, dtype="float64"), L.Dense(2, dtype="float64")],
    "initializers": lambda k, L: [
        k.Input((7, 3), name="x"),
        L.LSTM(5, kernel_initializer="he_normal", recurrent_initializer="identity", bias_initializer="ones"),
        L.Dense(2, kernel_initializer=k.initializers.RandomNormal(stddev=2.0), name="out.put-1"),
    ],
    "frozen": lambda k, L: [k.Input((7, 3)), L.LSTM(5, trainable=False), L.Dense(2)],
    "both-ways": lambda k, L: [
        k.Input((9,), dtype="int32"),
        L.Embedding(20, 6, mask_zero=True),
        L.Bidirectional(L.LSTM(5, return_sequences=True, dropout=0.2), merge_mode="ave"),
        L.Bidirectional(L.LSTM(4, use_bias=False), backward_layer=L.LSTM(4, activation="relu", go_backwards=True)),
        L.Dense(2),
    ],
    "dense-only": lambda k, L: [k.Input((3,)), L.Dense(4, "elu"), L.Dense(2)],
    "layers-as-activations": lambda k, L: [
        k.Input((7, 3)),
        L.Conv1D(4, 3, activation=L.LeakyReLU(0.1)),
        L.LSTM(5),
        L.Dense(4, activation=L.ReLU(6.0, 0.2, 0.1)),
        L.Activation(L.ELU(0.5)),
    ],
    "large": lambda k, L: [k.Input((4, 3)), L.LSTM(300), L.Dense(2)],
}


def keras_model(keras, name):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(MODELS[name](keras, keras.layers), name=name.replace("-", "_"))
    if not model.built:
        model.build((None, 9))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)  # a trained model's file holds its optimizer's arrays
    model.set_weights([w * 3 for w in model.get_weights()])
    return model


def inputs(model, rows=5):
    shape = [rows, *(size or 6 for size in model.input_shape[1:])]
    if any(layer.__class__.__name__ == "Embedding" for layer in model.layers):
        return rng().integers(0, 20, shape)
    return rng().normal(size=shape).astype("float32")


def as_list(outputs):
    return [np.asarray(o) for o in (outputs if isinstance(outputs, list | tuple) else [outputs])]


@pytest.mark.parametrize("name", MODELS)
def test_a_file_from_keras_computes_what_keras_computes(keras, tmp_path, name):
    theirs = keras_model(keras, name)
    theirs.save(tmp_path / "m.keras")
    ours = load_model(tmp_path / "m.keras")
    ours.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz")
    x = inputs(theirs, rows=40)
    expected = as_list(theirs.predict(x, verbose=0))
    for model in (ours, again):
        found = as_list(model.predict(x))
        for a, b in zip(expected, found, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(b, a, rtol=0, atol=KERAS_BOUND * max(1.0, np.abs(a).max()))
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    assert ours.count_params() == theirs.count_params()
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]


@pytest.mark.parametrize("name", MODELS)
def test_the_hdf5_reader_agrees_with_h5py(keras, tmp_path, name):
    h5py = pytest.importorskip("h5py")
    keras_model(keras, name).save(tmp_path / "m.keras")
    ours = load_model(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    stored = []

    def collect(path, item):
        if isinstance(item, h5py.Dataset) and "seed_generator" not in path:
            stored.append(item[()].tobytes())

    file["layers"].visititems(collect)
    assert sorted(stored) == sorted(w.tobytes() for w in ours.get_weights())


@pytest.mark.parametrize("name", MODELS)
def test_configurations_pass_both_ways(keras, name):
    theirs = keras_model(keras, name)
    ours = Sequential.from_config(json.loads(json.dumps(theirs.get_config())))
    ours.set_weights(theirs.get_weights())
    back = keras.Sequential.from_config(json.loads(json.dumps(ours.get_config())))
    back.set_weights(ours.get_weights())
    x = inputs(theirs)
    for other in (ours.predict(x), back.predict(x, verbose=0)):
        for a, b in zip(as_list(theirs.predict(x, verbose=0)), as_list(other), strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=KERAS_BOUND * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("length", [60, 76, 88, 101, 120])
@pytest.mark.parametrize("name", ["stack", "words-masked", "states", "frozen", "initializers", "doubles"])
def test_summary_reads_as_in_keras(keras, tmp_path, monkeypatch, name, length):
    monkeypatch.setenv("COLUMNS", "200")
    theirs = keras_model(keras, name)
    theirs.save(tmp_path / "m.keras")
    expected, found = [], []
    theirs.summary(line_length=length, print_fn=expected.append)
    load_model(tmp_path / "m.keras").summary(line_length=length, print_fn=found.append)
    without_optimizer = expected[0].split("\n Trainable")[1].split("\n Optimizer")[0].rstrip()
    assert found[0].split("\n Trainable")[1].rstrip() == without_optimizer
    assert found[0].split("\n Total")[0] == expected[0].split("\n Total")[0]


@pytest.mark.parametrize("ids", [[0, 3, 4], [-1, -5, 2], [5, 0, 0], [0, -6, 0], [2.9, 0.5, -0.5]])
def test_embedding_treats_odd_ids_as_keras_does(keras, ids):
    theirs = keras.layers.Embedding(5, 2, mask_zero=True)
    theirs.build()
    ours = Embedding(5, 2, mask_zero=True, weights=theirs.get_weights())
    x = np.array([ids])
    assert np.array_equal(theirs.compute_mask(x), ours.compute_mask(x))
    try:
        expected = np.asarray(theirs(x))
    except Exception:  # TensorFlow's own, of several kinds
        with pytest.raises(FastLSTMError, match="vocabulary of 5"):
            ours(x)
    else:
        assert np.array_equal(ours(x), expected)


@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 9, 3), (2, 7, 3, 1), (2, 7, 4), (7, 3), (2, 7)])
def test_predict_takes_the_shapes_that_keras_takes(keras, shape):
    theirs = keras_model(keras, "one-lstm")
    ours = Sequential.from_config(theirs.get_config())
    ours.set_weights(theirs.get_weights())
    x = rng().normal(size=shape).astype("float32")
    try:
        expected = np.asarray(theirs(x))
    except Exception:
        with pytest.raises(FastLSTMError, match="input has shape"):
            ours.predict(x)
    else:
        np.testing.assert_allclose(ours.predict(x), expected, rtol=0, atol=KERAS_BOUND)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda k, L: k.Sequential([k.Input((4, 5, 5, 3)), L.ConvLSTM2D(2, 3)]), "ConvLSTM2D"),
        (lambda k, L: k.Model(x := k.Input((4, 3)), L.Lambda(lambda y: y)(x)), "Lambda"),
        (lambda k, L: k.Sequential([k.Input((4, 3)), L.LSTM(2, dtype="mixed_float16")]), "mixed_float16"),
        (lambda k, L: k.Sequential([k.Input((4, 3)), L.LSTM(2, activation=L.LeakyReLU())]), "LeakyReLU"),
        (lambda k, L: k.Sequential([k.Input((3,)), L.Dense(2, lora_rank=1)]), "lora_rank"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(keras, tmp_path, make, message):
    make(keras, keras.layers).save(tmp_path / "m.keras")
    with pytest.raises(FastLSTMError, match=message):
        load_model(tmp_path / "m.keras")


def test_an_unbuilt_keras_model_is_refused(keras, tmp_path):
    model = keras.Sequential([keras.layers.Dense(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "m.keras")
    with pytest.raises(ModelFileError, match="build it before saving"):
        load_model(tmp_path / "m.keras")


def test_an_unsupported_layer_is_told_apart_from_a_damaged_file(keras, tmp_path):
    model = keras.Sequential([keras.Input((4, 5, 5, 3)), keras.layers.ConvLSTM2D(2, 3, name="memory")])
    model.save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedLayerError, match=r"m\.keras.*layer 'memory' is a 'ConvLSTM2D'"):
        load_model(tmp_path / "m.keras")
