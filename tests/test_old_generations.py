"""Models of all Kerases: those that people published, and files of Keras 1 written by hand, against NumPy."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import h5py
import numpy as np
import pytest
from reference import lstm

import fastlstm
from fastlstm import ModelFileError, UnsupportedLayerError, load_model

MODELS = pathlib.Path(os.environ.get("FASTLSTM_MODELS", pathlib.Path(__file__).parents[2] / "shared" / "models"))
FILES = [file for file in sorted(MODELS.glob("*.*")) if file.suffix in (".h5", ".keras")] if MODELS.is_dir() else []
OTHERS = [file for file in sorted(MODELS.glob("*.*")) if file.suffix in (".onnx", ".tflite", ".pth")]
STORED = [file for file in FILES if (MODELS / "expected" / f"{file.name}.npz").is_file()]
CUSTOM = [file for file in FILES if file not in STORED and ".weights" not in file.name]
BOUND = 1e-5  # promised against Keras: relative to max(1, |value|)


def assert_close(found, wanted):
    assert found.shape == wanted.shape and found.dtype == np.float32
    assert (np.abs(found - wanted) <= BOUND * np.maximum(1, np.abs(wanted))).all(), np.abs(found - wanted).max()


# -- files that people made ---------------------------------------------------------------------------


def names(files):
    return {"ids": [file.name.split("__")[1] + file.suffix for file in files]}


@pytest.mark.parametrize("file", STORED, **names(STORED))
def test_published_models_compute_what_they_did(file):
    architecture = file.with_suffix(".json")
    model = load_model(architecture, weights=file) if architecture.is_file() else load_model(file)
    with np.load(MODELS / "expected" / f"{file.name}.npz") as arrays:
        inputs = [arrays[name] for name in sorted(arrays.files) if name.startswith("in")]
        wanted = [arrays[name] for name in sorted(arrays.files) if name.startswith("out")]
    found = model.predict(inputs if len(inputs) > 1 else inputs[0])
    found = found if isinstance(found, list | tuple) else [found]
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("file", CUSTOM, **names(CUSTOM))
def test_a_published_models_own_layer_is_refused_by_name(file):
    with pytest.raises(UnsupportedLayerError, match=r"AttentionLayer.*custom_layers"):
        load_model(file)


@pytest.mark.parametrize("file", OTHERS, **names(OTHERS))
def test_published_files_of_other_systems_are_refused(file):
    with pytest.raises(ModelFileError, match=file.suffix):
        load_model(file)


def test_published_weights_alone_go_into_a_model_built_in_code():
    (file,) = [file for file in FILES if ".weights.h5" in file.name] or pytest.skip("the models are not here")
    model = fastlstm.Sequential(
        [fastlstm.Input((20, 2)), fastlstm.LSTM(50, activation="relu"), fastlstm.layers.Dense(1)]
    )
    model.load_weights(file)
    with h5py.File(file) as stored:
        kernel, recurrent, bias = (stored[f"layers/lstm/cell/vars/{i}"][()] for i in range(3))
        dense, offset = (stored[f"layers/dense/vars/{i}"][()] for i in range(2))
    x = np.random.default_rng(0).normal(size=(4, 20, 2)).astype(np.float32)
    _, last, _, _ = lstm(x, kernel, recurrent, bias, activation=lambda z: np.maximum(z, 0))
    assert_close(model(x), last @ dense + offset)


# -- files of Keras 1, written here -------------------------------------------------------------------


def hard_sigmoid(z):
    return np.clip(0.2 * z + 0.5, 0, 1)


def gru(x, kernel, recurrent, bias):
    """Outputs of every step in float64, with gates z, r, h and the reset before the product."""
    h = np.zeros((len(x), len(recurrent)))
    units, outputs = len(recurrent), []
    for t in range(x.shape[1]):
        z, r, c = np.split(x[:, t] @ kernel + bias, 3, axis=-1)
        z = hard_sigmoid(z + h @ recurrent[:, :units])
        r = hard_sigmoid(r + h @ recurrent[:, units : 2 * units])
        h = z * h + (1 - z) * np.tanh(c + (r * h) @ recurrent[:, 2 * units :])
        outputs.append(h)
    return np.stack(outputs, axis=1)


def old_lstm(x, weights, mask=None):
    return lstm(x, *weights, mask=mask, recurrent_activation=hard_sigmoid)


class Keras1:
    """A file in Keras 1's layout, layer by layer, with random weights."""

    def __init__(self, version):
        self.version, self.rng = version, np.random.default_rng(5)
        self.nodes: list[dict[str, Any]] = []
        self.stored: list[tuple[str, list[tuple[str, Any]]]] = []

    def arrays(self, *shapes):
        return [self.rng.normal(0, 0.7, shape).astype(np.float32) for shape in shapes]

    def add(self, class_name, arrays=(), inbound=None, **config):
        """A layer with its named arrays; ``inbound`` are the names of those it reads in a graph."""
        name = f"{class_name.lower()}_{len(self.nodes) + 1}"
        node = {"class_name": class_name, "config": {"name": name, "trainable": True, **config}}
        if inbound is not None:
            node |= {"name": name, "inbound_nodes": [[[source, 0, 0] for source in inbound]] if inbound else []}
        self.nodes.append(node)
        self.stored.append((name, [(f"{name}_{suffix}", array) for suffix, array in arrays]))
        return name

    def write(self, path, ends=None):
        """As a Sequential, or as a Model with these names of inputs and outputs."""
        config: Any = self.nodes
        if ends is not None:
            starts, outputs = ([[name, 0, 0] for name in end] for end in ends)
            config = {"name": "model_1", "layers": self.nodes, "input_layers": starts, "output_layers": outputs}
        with h5py.File(path, "w") as file:
            root = {"class_name": "Sequential" if ends is None else "Model", "config": config}
            file.attrs["model_config"] = json.dumps(root).encode()
            if self.version is not None:
                file.attrs["keras_version"] = self.version.encode()
            group = file.create_group("model_weights")
            group.attrs["layer_names"] = [name.encode() for name, _ in self.stored]
            for name, arrays in self.stored:
                layer = group.create_group(name)
                layer.attrs["weight_names"] = [inner.encode() for inner, _ in arrays]
                for inner, array in arrays:
                    layer[inner] = array
        return path

    # -- layers with weights: each gives the weights as Keras 3 has them -----------------------------

    def gated(self, class_name, features, units, consume_less="cpu", prefix="", backwards=False):
        """Arrays by their names in Keras 1, configuration, and kernel, recurrent kernel and bias of today."""
        gates = {"LSTM": "icfo", "GRU": "zrh"}[class_name]
        today = {"LSTM": "ifco", "GRU": "zrh"}[class_name]
        parts = {gate: self.arrays((features, units), (units, units), (units,)) for gate in gates}
        weights = [np.concatenate([parts[gate][i] for gate in today], axis=-1) for i in range(3)]
        if consume_less == "gpu":
            named = list(zip((f"{prefix}W", f"{prefix}U", f"{prefix}b"), weights, strict=True))
        else:
            named = [
                (f"{prefix}{kind}_{gate}", part)
                for gate in gates
                for kind, part in zip("WUb", parts[gate], strict=True)
            ]
        config = {
            "output_dim": units, "init": "glorot_uniform", "inner_init": "orthogonal", "activation": "tanh",
            "inner_activation": "hard_sigmoid", "W_regularizer": None, "U_regularizer": None, "b_regularizer": None,
            "dropout_W": 0.1, "dropout_U": 0.0, "return_sequences": True, "go_backwards": backwards,
            "stateful": False, "unroll": False, "consume_less": consume_less, "input_dim": features,
            "input_length": None,
        }  # fmt: skip
        if class_name == "LSTM":
            config["forget_bias_init"] = "one"
        return named, config, weights

    def dense(self, features, units, class_name="Dense", activation="linear", **more):
        w, b = self.arrays((features, units), (units,))
        self.add(
            class_name, [("W", w), ("b", b)], output_dim=units, init="glorot_uniform", activation=activation,
            W_regularizer=None, b_regularizer=None, activity_regularizer=None, W_constraint=None,
            b_constraint=None, bias=True, input_dim=features, **more,
        )  # fmt: skip
        return w, b


VERSIONS = pytest.mark.parametrize("version", ["1.2.2", "1.0.3", None])


@VERSIONS
@pytest.mark.parametrize("consume_less", ["cpu", "mem", "gpu"])
def test_lstm_of_keras_1(tmp_path, version, consume_less):
    file = Keras1(version)
    named, config, weights = file.gated("LSTM", 3, 5, consume_less)
    file.add("LSTM", named, batch_input_shape=[None, None, 3], **config)
    file.add("Dropout", p=0.4)
    w, b = file.dense(5, 2, "TimeDistributedDense")
    file.add("Activation", activation="softmax")
    model = load_model(file.write(tmp_path / "m.h5"))
    x = file.rng.normal(size=(4, 7, 3)).astype(np.float32)
    z = np.exp(old_lstm(x, weights)[0] @ w + b)
    assert_close(model(x), z / z.sum(-1, keepdims=True))


@VERSIONS
@pytest.mark.parametrize("consume_less", ["cpu", "gpu"])
def test_gru_of_keras_1(tmp_path, version, consume_less):
    file = Keras1(version)
    named, config, weights = file.gated("GRU", 3, 4, consume_less)
    file.add("GRU", named, batch_input_shape=[None, 6, 3], **config)
    model = load_model(file.write(tmp_path / "m.h5"))
    x = file.rng.normal(size=(4, 6, 3)).astype(np.float32)
    assert_close(model(x), gru(x, *weights))


@VERSIONS
def test_words_with_a_mask_of_keras_1(tmp_path, version):
    file = Keras1(version)
    (table,) = file.arrays((9, 3))
    file.add(
        "Embedding", [("W", table)], input_dim=9, output_dim=3, init="uniform", input_length=6, mask_zero=True,
        W_regularizer=None, activity_regularizer=None, W_constraint=None, dropout=0.2,
        batch_input_shape=[None, 6], input_dtype="int32",
    )  # fmt: skip
    named, config, weights = file.gated("LSTM", 3, 4)
    file.add("LSTM", named, **config | {"return_sequences": False})
    w, b = file.dense(4, 1, activation="hard_sigmoid")
    model = load_model(file.write(tmp_path / "m.h5"))
    ids = np.array([[1, 2, 3, 0, 0, 0], [0, 8, 0, 7, 6, 0], [0] * 6, [1, 2, 3, 4, 5, 6]])
    _, last, _, _ = old_lstm(table[ids], weights, ids != 0)
    assert_close(model(ids), hard_sigmoid(last @ w + b))


@VERSIONS
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_bidirectional_of_keras_1(tmp_path, version, merge, kind):
    file = Keras1(version)
    there, config, forward = file.gated(kind, 3, 4, prefix="forward_")
    back, _, backward = file.gated(kind, 3, 4, prefix="backward_")
    inner = {"class_name": kind, "config": {"name": f"{kind.lower()}_1", "trainable": True, **config}}
    file.add("Bidirectional", there + back, layer=inner, merge_mode=merge, batch_input_shape=[None, 5, 3])
    model = load_model(file.write(tmp_path / "m.h5"))
    x = file.rng.normal(size=(4, 5, 3)).astype(np.float32)
    run = (lambda x, w: old_lstm(x, w)[0]) if kind == "LSTM" else (lambda x, w: gru(x, *w))
    one, other = run(x, forward), run(x[:, ::-1], backward)[:, ::-1]
    merged = {
        "concat": np.concatenate([one, other], -1), "sum": one + other, "mul": one * other, "ave": (one + other) / 2,
    }  # fmt: skip
    assert_close(model(x), merged[merge])


@VERSIONS
def test_convolution_pooling_and_flatten_of_keras_1(tmp_path, version):
    file = Keras1(version)
    w, b = file.arrays((3, 1, 2, 4), (4,))
    file.add(
        "Convolution1D", [("W", w), ("b", b)], nb_filter=4, filter_length=3, init="glorot_uniform",
        activation="relu", border_mode="same", subsample_length=1, W_regularizer=None, b_regularizer=None,
        activity_regularizer=None, W_constraint=None, b_constraint=None, bias=True, input_dim=2, input_length=8,
        batch_input_shape=[None, 8, 2],
    )  # fmt: skip
    file.add("MaxPooling1D", pool_length=2, stride=2, border_mode="valid")
    named, config, weights = file.gated("LSTM", 4, 3)
    file.add("LSTM", named, **config)
    file.add("Flatten")
    dense, offset = file.dense(12, 2)
    model = load_model(file.write(tmp_path / "m.h5"))
    x = file.rng.normal(size=(4, 8, 2)).astype(np.float32)
    padded = np.pad(x.astype(float), ((0, 0), (1, 1), (0, 0)))
    filtered = np.maximum(sum(padded[:, i : i + 8] @ w[i, 0] for i in range(3)) + b, 0)
    pooled = np.maximum(filtered[:, ::2], filtered[:, 1::2])
    assert_close(model(x), old_lstm(pooled, weights)[0].reshape(4, 12) @ dense + offset)


MERGES = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "max": np.maximum,
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
}


@VERSIONS
@pytest.mark.parametrize("mode", MERGES)
def test_a_graph_with_a_merge_of_keras_1(tmp_path, version, mode):
    file = Keras1(version)
    sources = [
        file.add(
            "InputLayer", inbound=[], batch_input_shape=[None, 5, 3], input_dtype="float32", sparse=False
        )
        for _ in range(2)
    ]
    weights, read = [], []
    for source in sources:
        named, config, arrays = file.gated("LSTM", 3, 4)
        read.append(file.add("LSTM", named, inbound=[source], **config))
        weights.append(arrays)
    merged = file.add(
        "Merge", inbound=read, mode=mode, mode_type="raw", concat_axis=-1, dot_axes=-1, output_shape=None,
        output_shape_type="raw", output_mask=None, output_mask_type="raw", arguments={},
    )  # fmt: skip
    model = load_model(file.write(tmp_path / "m.h5", (sources, [merged])))
    inputs = [file.rng.normal(size=(4, 5, 3)).astype(np.float32) for _ in sources]
    wanted = MERGES[mode](*(old_lstm(x, w)[0] for x, w in zip(inputs, weights, strict=True)))
    assert_close(model(inputs), wanted)


@VERSIONS
def test_batch_normalization_of_keras_1(tmp_path, version):
    file = Keras1(version)
    named, config, weights = file.gated("LSTM", 3, 4)
    file.add("LSTM", named, batch_input_shape=[None, 5, 3], **config)
    gamma, beta, mean = file.arrays((4,), (4,), (4,))
    variance = file.rng.uniform(0.5, 2, 4).astype(np.float32)
    kept = [("gamma", gamma), ("beta", beta), ("running_mean", mean), ("running_std", variance)]
    file.add(
        "BatchNormalization", kept, epsilon=0.001, mode=0, axis=-1, momentum=0.99, beta_init="zero",
        gamma_init="one", gamma_regularizer=None, beta_regularizer=None,
    )  # fmt: skip
    model = load_model(file.write(tmp_path / "m.h5"))
    x = file.rng.normal(size=(4, 5, 3)).astype(np.float32)
    assert_close(model(x), (old_lstm(x, weights)[0] - mean) / np.sqrt(variance + 0.001) * gamma + beta)


def test_a_file_of_keras_1_with_a_wrong_number_of_arrays_is_refused(tmp_path):
    file = Keras1("1.2.2")
    named, config, _ = file.gated("LSTM", 3, 4)
    file.add("LSTM", named[:-1], batch_input_shape=[None, 5, 3], **config)
    with pytest.raises(ModelFileError, match=r"lstm_1.*expected"):
        load_model(file.write(tmp_path / "m.h5"))
