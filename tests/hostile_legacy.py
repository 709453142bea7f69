"""Hostile files, part 6: configurations and layouts of Keras 1 and 2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from hostile_case import Attacks, with_config, with_legacy
from samples import legacy, numbers

Config = dict[str, Any]
ODD: tuple[Any, ...] = (None, True, -1, 2**62, 1e308, "x", "a\0b", [], [[]], {}, {"a": 1}, [1, "x"], [None], [2**62] * 9)
#: Every key that the conversion of an old configuration looks at.
KEYS = (
    "W_regularizer", "activation", "alpha", "axis", "b_constraint", "batch_input_shape", "border_mode", "causal",
    "concat_axis", "consume_less", "data_format", "dim_ordering", "dot_axes", "dropout_U", "dropout_W", "dtype",
    "forget_bias_init", "implementation", "init", "inner_activation", "inner_init", "input_dim", "input_dtype",
    "input_length", "input_shape", "kernel_initializer", "layer", "mode", "mode_type", "name", "nb_filter", "nb_row",
    "num_constants", "output_dim", "p", "ragged", "recurrent_activation", "return_sequences", "sigma", "stride",
    "time_major", "trainable", "units", "use_bias",
)  # fmt: skip
CONFIGS = ("h5", "json")  # what an old Keras wrote


def cases() -> Attacks:
    for name, config in [*_configs(), *_calls(), *_graphs()]:
        yield "legacy", name, with_config(config, CONFIGS)
    for name, change in _layouts():
        yield "layout", name, with_legacy(change)
    for name, change in _attributes():
        yield "attributes", name, with_legacy(change)
    for name, options in (("newer-format", {"libver": "latest"}), ("user-block", {"userblock_size": 512})):
        yield "layout", name, with_legacy(lambda file, group: None, **options)


def _configs() -> Iterator[tuple[str, Config]]:
    """A harmful value for each key, beside a layer that makes the model one to refuse."""
    for kind in ("LSTM", "Convolution1D", "Merge", "CuDNNLSTM", "Embedding", "TimeDistributedDense", "BatchNormalization"):
        for key in KEYS:
            layers = [{"class_name": kind, "config": {"name": "x", "output_dim": 3, key: value}} for value in ODD]
            wrapped = [{"class_name": "Bidirectional", "config": {"name": "b", "layer": layer}} for layer in layers[:3]]
            root = legacy()
            root["config"]["layers"][1:] = [*layers, *wrapped]
            yield f"{kind}-{key}", root
            yield f"{kind}-{key}-of-keras-1", {"class_name": "Sequential", "config": layers, "keras_version": "1.2.2"}
    for name in ("Highway", "MaxoutDense", "SReLU", "ParametricSoftplus", "Merge", "LocallyConnected1D", "ConvLSTM2D"):
        yield f"gone-{name}", {"class_name": "Sequential", "config": [{"class_name": name, "config": {"name": "x"}}]}
    for i, version in enumerate(("", "x", "-1", "2.", "9" * 5000, "2" + ".0" * 100_000, ["2"], 2, None, {})):
        root = legacy()
        root["config"]["layers"][0]["config"]["units"] = 0
        yield f"version-{i}", {**root, "keras_version": version}
    for i, value in enumerate(ODD):
        yield f"sequential-{i}", {"class_name": "Sequential", "config": value}
        yield f"graph-{i}", {"class_name": "Model", "config": value}
        yield f"layers-{i}", {"class_name": "Model", "config": {"layers": value}}
        yield f"class-{i}", {"class_name": value, "config": []}
    inner: Any = [{"class_name": "Dense", "config": {"name": "d", "output_dim": 1, "input_dim": 1}}]
    for _ in range(14):
        inner = [{"class_name": "Sequential", "config": inner}]
    yield "sequentials-in-each-other", {"class_name": "Sequential", "config": inner, "keras_version": "1.2.2"}
    names = ["in" + "_input" * bool(i) + "_" * max(0, i - 1) for i in range(900)]
    layers = [{"class_name": "Dense", "config": {"name": name, "units": 0, "batch_input_shape": [None, 3]}} for name in names]
    yield "names-that-the-input-would-take", {"class_name": "Sequential", "config": layers}


def _calls() -> Iterator[tuple[str, Config]]:
    """Every broken form of ``inbound_nodes`` as Keras 2 wrote them."""
    values: list[Any] = [3, "x", {}, [3], ["in"], [[3]], [["in"]], [[["in"]]], [[["in", 0]]], [[["in", 0, 0, 0]]],
                         [[["in", 0, 0, {}, 1]]], [[["nobody", 0, 0, {}]]], [[["in", 9, 0, {}]]], [[["in", -1, 0, {}]]],
                         [[["in", 0, -1, {}]]], [[["in", 0, 9, {}]]], [[["in", 2**62, 0, {}]]], [[["in", 0, 2**62, {}]]],
                         [[["in", "0", 0, {}]]], [[["in", None, 0, {}]]], [[["in", True, 0, {}]]], [[["lstm", 0, 0, {}]]],
                         [[["dense", 0, 0, {}]]], [[["in", 0, 0, {"mask": ["nobody", 0, 0]}]]], [[[]]], [[]], [[None]],
                         [[["in", 0, 0, {"initial_state": ["lstm", 0, 0]}]]], [[["in", 0, 0, {"constants": 3}]]],
                         [[["_CONSTANT_VALUE", -1, "x", {}]]], [[["_CONSTANT_VALUE", -1, [["a" * 10**6] + [1] * 900], {}]]],
                         [[["in", 0, 0, {"x": "y"}]]], [[["in", 0, 0, {"mask": {"class_name": "system"}}]]],
                         {"in": 0}, [{"a": ["in", 0, 0]}], [[[["in", 0, 0]]]]]  # fmt: skip
    for i, value in enumerate(values):
        root = legacy(sequential=False)
        root["config"]["layers"][1]["inbound_nodes"] = value
        if value == [[["in", 0, 0, {}]]]:
            continue
        yield f"inbound-{i}", root
    for key in ("input_layers", "output_layers"):
        for i, value in enumerate((*ODD, [["in"]], [["nobody", 0, 0]], ["dense", 9, 0], [["dense", -1, 0]], [["dense", 0, 5]])):
            root = legacy(sequential=False)
            root["config"][key] = value
            yield f"{key}-{i}", root
    for i, name in enumerate((None, 3, ["lstm"], {}, "dense", "in")):
        root = legacy(sequential=False)
        root["config"]["layers"][1]["name"] = name
        yield f"graph-name-{i}", root


def _graphs() -> Iterator[tuple[str, Config]]:
    def of(layers: list[Any], end: str) -> Config:
        root = legacy(sequential=False)
        root["config"]["layers"] = root["config"]["layers"][:1] + layers
        root["config"]["output_layers"] = [[end, 0, 0]]
        return root

    def layer(name: str, *sources: Any, kind: str = "Dropout", **config: Any) -> Config:
        config = config or {"rate": 0.1}
        calls = [[[source, 0, 0, {}]] if isinstance(source, str) else source for source in sources]
        return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": calls}

    yield "circle", of([layer("a", "b"), layer("b", "a")], "a")
    yield "itself", of([layer("a", "a")], "a")
    ring = [layer(f"r{i}", f"r{(i + 1) % 800}") for i in range(800)]
    yield "ring", of(ring, "r0")
    yield "many-calls", of([layer("a", *["in"] * 12_000)], "a")
    yield "many-inputs", of([layer("a", *[[["in", 0, 0, {}]] * 200] * 100, kind="Add", axis=1)], "a")
    yield "many-layers", of([layer(f"a{i}", "in") for i in range(1200)], "a0")
    repeated = {"a" * i: i for i in range(1, 1500)}
    yield "many-keywords", of([layer("a", [["in", 0, 0, repeated]])], "a")
    yield "merge-of-models", {"class_name": "Sequential", "config": [{"class_name": "Merge", "config": {"layers": [legacy()]}}]}
    tf = {"class_name": "TFOpLambda", "config": {"name": "x", "function": "io.read_file"}, "name": "x"}
    yield "tf-read-file", of([{**tf, "inbound_nodes": [["in", 0, 0, {"filename": "/etc/passwd"}]]}], "x")
    for name in ("math.add", "reshape", "tile", "split", "unstack", "__operators__.getitem", "concat", "pad", "gather", "cast"):
        for i, value in enumerate(ODD):
            node = {**tf, "config": {"name": "x", "function": name}}
            keywords = dict.fromkeys(("y", "shape", "multiples", "num_or_size_splits", "num", "slice_spec", "axis"), value)
            yield f"tf-{name}-{i}", of([{**node, "inbound_nodes": [["in", 0, 0, keywords]]}], "x")
    node = {**tf, "config": {"name": "x", "function": "split"}}
    sections = [["in", 0, 0, {"num_or_size_splits": 10**6, "axis": 0}]]
    yield "tf-split-in-a-million", of([{**node, "inbound_nodes": sections}], "x")


# -- what the attributes say --------------------------------------------------------------------------


Change = Callable[[h5py.File, Any], Any]


def _layouts() -> Iterator[tuple[str, Change]]:
    def names(*given: Any) -> Change:
        return lambda file, group: group.attrs.__setitem__("layer_names", list(given))

    def weights_of(*given: Any) -> Change:
        return lambda file, group: group["dense"].attrs.__setitem__("weight_names", list(given))

    def replaced(make: Callable[[Any], Any], path: str = "dense/dense/kernel:0") -> Change:
        def change(file: h5py.File, group: Any) -> None:
            del group[path]
            made = make(group)
            if made is not None:
                group[path] = made

        return change

    paths = ("..", "../dense", "/etc/passwd", "/model_weights/dense", "dense/../dense", ".", "", "dense//", "a\\b", "dense/x")
    for i, path in enumerate(paths):
        yield f"layer-name-{i}", names("lstm", path)
        yield f"weight-name-{i}", weights_of(path, "dense/bias:0")
        yield f"weight-in-{i}", weights_of(f"{path}/kernel:0", "dense/bias:0")
    yield "layer-missing", lambda file, group: group.pop("dense")
    yield "layer-names-missing", lambda file, group: group.attrs.__delitem__("layer_names")
    yield "weight-names-missing", lambda file, group: group["dense"].attrs.__delitem__("weight_names")
    yield "layer-twice", names("dense", "dense")
    yield "layer-too-many", names("lstm", "dense", "dense")
    yield "layer-too-few", names("lstm")
    yield "layers-swapped", lambda file, group: (group.move("dense", "x"), group.move("lstm", "dense"), group.move("x", "lstm"))
    yield "layers-none", names()
    yield "layers-two-thousand", names(*["dense"] * 2000)
    yield "layers-one-a-thousand-times", names(*["dense"] * 1000)
    yield "weight-twice", weights_of("dense/kernel:0", "dense/kernel:0")
    yield "weight-of-another-layer", weights_of("lstm/kernel:0", "lstm/bias:0")
    yield "weights-too-many", weights_of("dense/kernel:0", "dense/bias:0", "dense/bias:0")
    yield "weights-too-few", weights_of("dense/kernel:0")
    yield "weights-none", weights_of()
    yield "weights-swapped", weights_of("dense/bias:0", "dense/kernel:0")
    yield "weights-four-thousand", weights_of(*["dense/kernel:0"] * 4000)
    yield "names-deep", names("lstm", "dense/" * 3000)
    yield "names-long", names("lstm", "d" * 60_000)
    yield "soft-link", replaced(lambda group: h5py.SoftLink("/lstm"), "dense")
    yield "soft-link-array", replaced(lambda group: h5py.SoftLink("../bias:0"))
    yield "external-link", replaced(lambda group: h5py.ExternalLink("/etc/passwd", "/"), "dense")
    yield "external-link-array", replaced(lambda group: h5py.ExternalLink("other.h5", "/x"))
    yield "hard-link-circle", replaced(lambda group: group, "dense/dense")
    yield "same-numbers-twice", replaced(lambda group: group["dense/dense/bias:0"])
    yield "array-a-group", replaced(lambda group: group.create_group("dense/dense/kernel:0") and None)
    yield "layer-an-array", replaced(lambda group: numbers((3, 1)), "dense")
    kinds: dict[str, dict[str, Any]] = {
        "external-storage": {"shape": (3, 1), "dtype": "f4", "external": [("/etc/passwd", 0, 12)]},
        "chunked": {"data": numbers((3, 1)), "chunks": (1, 1)},
        "gzip": {"data": numbers((3, 1)), "compression": "gzip"},
        "lzf": {"data": numbers((3, 1)), "compression": "lzf"},
        "fletcher32": {"data": numbers((3, 1)), "fletcher32": True},
        "scale-offset": {"data": numbers((3, 1)).astype(int), "scaleoffset": 0},
        "unlimited": {"data": numbers((3, 1)), "maxshape": (None, 1)},
        "never-written": {"shape": (3, 1), "dtype": "f4"},
        "of-pebibytes": {"shape": (2**25, 2**25), "dtype": "f4", "chunks": (64, 64)},
        "other-shape": {"data": numbers((1, 3))},
        "null": {"data": h5py.Empty("f4")},
        "text": {"shape": (3, 1), "dtype": h5py.string_dtype()},
        "ragged": {"shape": (3, 1), "dtype": h5py.vlen_dtype("f4")},
        "reference": {"shape": (3, 1), "dtype": h5py.ref_dtype},
        "enum": {"data": np.zeros((3, 1), "i1"), "dtype": h5py.enum_dtype({"a": 0}, "i1")},
        "compound": {"data": numbers((3, 1)).view([("a", "f4")])},
        "bool": {"data": np.zeros((3, 1), bool)},
        "complex": {"data": np.zeros((3, 1), "c8")},
        "short": {"data": np.zeros((3, 1), "i2")},
    }
    for name, arguments in kinds.items():
        yield name, replaced(lambda group, a=arguments: group.create_dataset("dense/dense/kernel:0", **a) and None)


def _attributes() -> Iterator[tuple[str, Change]]:
    values: dict[str, Any] = {
        "number": 3,
        "float": 2.5,
        "true": True,
        "numbers": np.zeros(5),
        "matrix-of-text": np.array([[b"a"], [b"b"]]),
        "not-utf8": np.bytes_(b"\xff\xfe"),
        "null": h5py.Empty("S4"),
        "opaque": np.void(b"lstm"),
        "compound": np.zeros(2, [("a", "S4")]),
        "reference": "itself",
        "enum": np.array([0], h5py.enum_dtype({"a": 0}, "i1")),
        "long": ["x" * 2_000_000] * 9,
        "many": [""] * 4000,
        "controls": ["a\x1b[2J\n"],
        "code": ["__import__('os').system('true')"],
    }
    for name, value in values.items():
        for key, path in (("layer_names", ""), ("weight_names", "dense"), ("keras_version", ""), ("backend", "")):
            if name in ("controls", "code") and key in ("keras_version", "backend"):
                continue  # text, if odd

            def change(file: h5py.File, group: Any, key: str = key, path: str = path, value: Any = value) -> None:
                place = group[path] if path else group
                if isinstance(value, str):
                    place.attrs.create(key, place.ref, dtype=h5py.ref_dtype)
                else:
                    place.attrs[key] = value
                if key == "keras_version" and file is not group:
                    file.attrs[key] = place.attrs.get(key) if not isinstance(value, str) else 3

            yield f"{key}-{name}", change
    for key in ("layer_names", "weight_names"):
        for count in (65, 200):

            def split(file: h5py.File, group: Any, key: str = key, count: int = count) -> None:
                place = group if key == "layer_names" else group["dense"]
                del place.attrs[key]
                for i in range(count):
                    place.attrs[f"{key}{i}"] = [b"dense"] * 3

            yield f"{key}-in-{count}-parts", split
    yield "many-on-a-group", lambda file, group: [group.attrs.__setitem__(f"a{i}", i) for i in range(5000)]


def model_config_cases() -> Attacks:
    """The attribute that holds a whole model's architecture."""
    values: dict[str, Any] = {
        "number": 3,
        "numbers": np.zeros(5),
        "list": [json.dumps(legacy())] * 2,
        "empty": "",
        "null": h5py.Empty("S4"),
        "not-utf8": np.bytes_(b"\xff{}"),
        "opaque": np.void(b"{}"),
        "huge": "{" + " " * 5_000_000 + "}",
        "huge-list": [json.dumps(legacy())] * 3000,
        "quoted": json.dumps(json.dumps(legacy())),
    }

    def put(value: Any) -> Change:
        return lambda file, group: file.attrs.__setitem__("model_config", value)

    for name, value in values.items():
        yield "attributes", f"model_config-{name}", {"h5": with_legacy(put(value))["h5"]}

    def reference(file: h5py.File, group: Any) -> None:
        file.attrs.create("model_config", file.ref, dtype=h5py.ref_dtype)

    yield "attributes", "model_config-reference", {"h5": with_legacy(reference)["h5"]}
    yield "attributes", "model_config-missing", {"h5": with_legacy(lambda f, g: f.attrs.__delitem__("model_config"))["h5"]}
