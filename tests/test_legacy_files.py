"""Models that older Kerases wrote compute the same in Keras 3, once configuration and weights are made modern."""

from __future__ import annotations

import json
import pathlib
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest
from legacy_oracle import rebuilt

from fastlstm.errors import ModelFileError
from fastlstm.loading import jsonrules
from fastlstm.loading.hdf5 import File
from fastlstm.loading.legacy import modernize, writer_of
from fastlstm.loading.legacy_h5 import legacy_layout
from fastlstm.loading.legacy_weights import Leaf, arrange

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Keras, about what the models here do
MODELS = pathlib.Path("/work/shared/models")
FILES = sorted(MODELS.glob("*.h5")) if MODELS.is_dir() else []
WITH_MODEL = [file for file in FILES if ".weights" not in file.name]
TOLERANCE = 1e-5  # of the stored outputs: relative to max(1, |value|)


def leaves(keras: Any, layer: Any) -> list[tuple[Any, Leaf]]:
    """The layers inside one that hold weights, each with its form of today."""
    if isinstance(layer, keras.Model):
        return [leaf for inner in layer.layers for leaf in leaves(keras, inner)]
    if not layer.weights:
        return []
    config = json.loads(json.dumps(keras.layers.serialize(layer)))["config"]
    return [(layer, Leaf(layer.name, type(layer).__name__, config, [tuple(w.shape) for w in layer.weights]))]


def filled(keras: Any, model: Any, data: bytes) -> Any:
    """The model with the weights of an .h5 file."""
    root = File(data).root
    group = root.group("model_weights") if "model_weights" in root else root
    version, backend = group.string("keras_version") or "1", group.string("backend")
    groups = [datasets for _, datasets in legacy_layout(root) if datasets]
    holders = [found for found in (leaves(keras, layer) for layer in model.layers) if found]
    for pairs, datasets in zip(holders, groups, strict=True):
        shapes = [dataset.shape for _, dataset in datasets]
        places = arrange([leaf for _, leaf in pairs], shapes, writer_of(None, version), backend)
        for (layer, _), (indices, form) in zip(pairs, places, strict=True):
            used = indices[: len(indices) - form.skipped]
            layer.set_weights(form.convert([datasets[i][1].array(shapes[i], "float32") for i in used]))
    return model


def configuration(file: pathlib.Path) -> Any:
    text = File(file.read_bytes()).root.string("model_config")
    if text is None:
        return json.loads(file.with_suffix(".json").read_text())
    return jsonrules.parse(text.encode(), "model_config")


def version_of(file: pathlib.Path) -> str | None:
    return File(file.read_bytes()).root.string("keras_version")


# -- files that people made ---------------------------------------------------------------------------


@pytest.mark.parametrize("file", WITH_MODEL, ids=lambda file: file.stem[:40])
def test_real_models_compute_what_they_did(keras, file):
    model = rebuilt(keras, modernize(configuration(file), version_of(file)))
    filled(keras, model, file.read_bytes())
    with np.load(MODELS / "expected" / f"{file.name}.npz") as arrays:
        inputs = [arrays[f"in{i}"] for i in range(len(model.inputs))]
        expected = [arrays[name] for name in sorted(arrays.files) if name.startswith("out")]
    found = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    found = found if isinstance(found, list) else [found]
    rows = np.ones(len(inputs[0]), bool)
    if "EnglishToKatakana" in file.name:  # Keras 3 drops the mask of a layer that is given a state as well
        rows = (inputs[1] != 0).all(axis=1)
        assert rows.any()
    for a, b in zip(expected, found, strict=True):
        assert np.max(np.abs(a - b)[rows] / np.maximum(1, np.abs(a[rows]))) < TOLERANCE


@pytest.mark.parametrize("file", WITH_MODEL, ids=lambda file: file.stem[:40])
def test_the_writer_can_be_told_without_being_named(file):
    named = configuration(file)
    named.pop("keras_version", None)
    version = version_of(file)
    assert modernize(named, None) == modernize(named, version)


# -- files that tf_keras makes now --------------------------------------------------------------------


@pytest.fixture(scope="module")
def tf_keras(keras):
    pytest.importorskip("tf_keras")
    import tf_keras

    return tf_keras


def shared_and_nested(K):
    L = K.layers
    x = K.Input((5, 3), name="x")
    y = K.Input((5, 3), name="y")
    inner_in = K.Input((5, 3))
    inner = K.Model(inner_in, [L.Dense(4)(inner_in), L.BatchNormalization()(inner_in)], name="inner")
    stack = K.Sequential([L.LSTM(4, return_sequences=True, input_shape=(5, 3)), L.Dense(4)], name="stack")
    dense = L.Dense(4, activation="hard_sigmoid", name="shared")
    a, b = inner(x), inner(y)
    c, d = stack(x), stack(y)
    merged = L.Add()([a[0], c, dense(x)])
    return K.Model([x, y], [L.Concatenate(axis=-1)([merged, d]), b[1], dense(y), d])


def attention(K):
    L = K.layers
    x, y = K.Input((5, 4)), K.Input((6, 4))
    a = L.MultiHeadAttention(2, 3)(x, value=y, key=y)
    b = L.Attention(use_scale=True)([x, y])
    return K.Model([x, y], L.Subtract()([a, b]))


def wrappers(K):
    L = K.layers
    return K.Sequential(
        [
            L.TimeDistributed(L.Conv1D(3, 2, activation=L.LeakyReLU(0.3)), input_shape=(4, 6, 2)),
            L.TimeDistributed(L.BatchNormalization()),
            L.TimeDistributed(L.Flatten()),
            L.Bidirectional(L.LSTM(3, return_sequences=True), backward_layer=L.GRU(3, "relu", go_backwards=True,
                            return_sequences=True)),
            L.RNN([L.LSTMCell(3), L.GRUCell(2, reset_after=False)], return_sequences=True),
            L.SimpleRNN(2, kernel_regularizer="l2", kernel_constraint="non_neg"),
        ]
    )  # fmt: skip


def plain(K):
    L = K.layers
    return K.Sequential(
        [
            L.Masking(0.5, input_shape=(None, 4)),
            L.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True),
            L.GRU(3, reset_after=False, return_sequences=True),
            L.LayerNormalization(),
            L.ReLU(6.0, 0.1, 0.2),
            L.PReLU(shared_axes=[1]),
            L.SpatialDropout1D(0.3),
            L.MaxPooling1D(padding="same"),
            L.ELU(0.5),
            L.GlobalAveragePooling1D(),
            L.Dense(2, activation="softmax"),
        ]
    )


def frozen(K):
    L = K.layers
    fixed = L.Dense(2, trainable=False)
    inner = K.Sequential([L.Dense(4, input_shape=(3,)), L.BatchNormalization(), fixed, L.Dense(2)])
    x = K.Input((3,))
    outer = K.Model(x, L.BatchNormalization(trainable=False)(inner(x)))
    return K.Sequential([outer, L.Dense(2)])


BUILDERS = [shared_and_nested, attention, wrappers, plain, frozen]


def randomised(model, rng):
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("form", ["h5", "json"])
@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_models_of_tf_keras_compute_what_they_did(keras, tf_keras, tmp_path, rng, build, form):
    check_against_tf_keras(keras, randomised(build(tf_keras), rng), tmp_path, rng, form)


def test_initial_states_of_tf_keras_are_found_among_the_inputs(keras, tf_keras, tmp_path, rng):
    L, K = tf_keras.layers, tf_keras
    x, h, c = K.Input((5, 3)), K.Input((4,)), K.Input((4,))
    out, h1, c1 = L.LSTM(4, return_sequences=True, return_state=True)(x, initial_state=[h, c])
    two = L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode="sum")(out, initial_state=[h, c, h1, c1])
    check_against_tf_keras(keras, randomised(K.Model([x, h, c], [two, h1, c1]), rng), tmp_path, rng, "h5")


def check_against_tf_keras(keras, model, tmp_path, rng, form):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "m.h5")
    root = File((tmp_path / "m.h5").read_bytes()).root
    text = root.string("model_config") if form == "h5" else model.to_json()
    version = root.string("keras_version") if form == "h5" else None
    again = rebuilt(keras, modernize(jsonrules.parse(text.encode(), "x"), version))
    filled(keras, again, (tmp_path / "m.h5").read_bytes())
    inputs = [rng.normal(size=[2 if n is None else n for n in t.shape]).astype("float32") for t in model.inputs]
    expected, found = model(inputs if len(inputs) > 1 else inputs[0]), again(inputs if len(inputs) > 1 else inputs[0])
    expected, found = ([v.numpy() for v in (o if isinstance(o, list | tuple) else [o])] for o in (expected, found))
    for a, b in zip(expected, found, strict=True):
        assert np.max(np.abs(a - b) / np.maximum(1, np.abs(a))) < TOLERANCE


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_the_keras_format_of_tf_keras_too(keras, tf_keras, tmp_path, build):
    model = build(tf_keras)
    model.save(tmp_path / "m.keras")
    text = zipfile.ZipFile(tmp_path / "m.keras").read("config.json")
    again = rebuilt(keras, modernize(jsonrules.parse(text, "config.json"), tf_keras.__version__))
    assert again.count_params() == model.count_params()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "Conv1D", "Bidirectional"])
@pytest.mark.parametrize("version", ["1", "2.2.4"])
@pytest.mark.parametrize("backend", ["tensorflow", "theano", None])
def test_arrays_become_what_keras_makes_of_them(tf_keras, rng, kind, version, backend):
    from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

    L, U, F = tf_keras.layers, 3, 4
    made = {
        "LSTM": L.LSTM(U),
        "GRU": L.GRU(U, reset_after=version != "1"),
        "Conv1D": L.Conv1D(U, 2),
        "Bidirectional": L.Bidirectional(L.LSTM(U)),
    }[kind]
    made.build((None, 5, F))
    shapes = {
        "LSTM": [(F, U), (U, U), (U,)] * 4 if version == "1" else [(F, 4 * U), (U, 4 * U), (8 * U,)],
        "GRU": [(F, U), (U, U), (U,)] * 3 if version == "1" else [(F, 3 * U), (U, 3 * U), (6 * U,)],
        "Conv1D": [(2, 1, F, U) if version == "1" else (2, F, U), (U,)],
    }
    shapes["Bidirectional"] = shapes["LSTM"] * 2
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes[kind]]
    expected = preprocess_weights_for_loading(made, [a.copy() for a in arrays], version, backend)
    node = tf_keras.layers.serialize(made)
    modern = modernize({"class_name": "Sequential", "config": [node]}, "2.15.0")["config"]["layers"][-1]
    leaf = Leaf("it", kind, modern["config"], [tuple(w.shape) for w in made.weights])
    (place,) = arrange([leaf], shapes[kind], writer_of(None, version), backend)
    found = place.form.convert([arrays[i] for i in place.indices])
    for a, b in zip(expected, found, strict=True):
        turned = kind == "Conv1D" and backend == "theano" and a.ndim == 3  # tf_keras forgot; Keras 2.3.1 did not
        assert np.array_equal(a[::-1] if turned else a, b)


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        ([(4, 9), (3, 12), (12,)], "shapes"),
        ([(4, 12), (3, 12)], "shapes"),
        ([(4, 12), (3, 12), (12,), (1,)], "4 arrays"),
    ],
)
def test_arrays_that_fit_no_form_are_refused(stored, word):
    leaf = Leaf("layer 'x'", "LSTM", {}, [(4, 12), (3, 12), (12,)])
    with pytest.raises(ModelFileError, match=word):
        arrange([leaf], stored, writer_of(None, "2.2.4"), None)


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_what_cudnn_keeps_is_turned_back(rng, kind, gates):
    features, units = 5, 3
    kernel, recurrent = (rng.normal(size=(n, gates * units)) for n in (features, units))
    biases = rng.normal(size=(2, gates * units))

    def per_gate(array, change):
        return np.concatenate([change(part) for part in np.split(array, gates, axis=1)], axis=1)

    stored = [
        per_gate(kernel, lambda k: np.ravel(k.T).reshape(k.shape)),  # (units, features), as CuDNN has it, in one row
        per_gate(recurrent, np.transpose),
        biases.ravel(),
    ]
    modern = [kernel, recurrent, biases.sum(axis=0) if kind == "LSTM" else biases]
    leaf = Leaf("it", kind, {}, [array.shape for array in modern])
    (place,) = arrange([leaf], [array.shape for array in stored], writer_of(None, "2.2.4"), "tensorflow")
    for a, b in zip(modern, place.form.convert(stored), strict=True):
        assert np.array_equal(a, b)


def test_the_gates_of_keras_1_are_put_side_by_side(rng):
    features, units = 5, 3
    old = {gate: [rng.normal(size=s) for s in ((features, units), (units, units), (units,))] for gate in "icfo"}
    arrays = [array for gate in "icfo" for array in old[gate]]
    leaf = Leaf("it", "LSTM", {}, [(features, 4 * units), (units, 4 * units), (4 * units,)])
    (place,) = arrange([leaf], [array.shape for array in arrays], writer_of(None, "1"), None)
    for kind, found in enumerate(place.form.convert(arrays)):
        assert np.array_equal(found, np.concatenate([old[gate][kind] for gate in "ifco"], axis=-1))
