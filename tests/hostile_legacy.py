"""Hostile files, part 6: configurations of Keras 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostile_case import Attacks, with_config
from samples import legacy

Config = dict[str, Any]
ODD: list[Any] = [None, True, -1, 2**62, 1e308, "x", "a\0b", [], [[]], {}, {"a": 1}, [1, "x"], [None], [2**62] * 9]
OLD = ("LSTM", "Convolution1D", "Merge", "CuDNNLSTM", "Embedding", "TimeDistributedDense", "BatchNormalization")
GONE = ("Highway", "MaxoutDense", "SReLU", "ParametricSoftplus", "Merge", "LocallyConnected1D", "ConvLSTM2D")
TF = ("math.add", "reshape", "tile", "split", "unstack", "__operators__.getitem", "concat", "pad", "gather", "cast")
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


def _configs() -> Iterator[tuple[str, Config]]:
    """A harmful value for each key, beside a layer that makes the model one to refuse."""
    for kind in OLD:
        for key in KEYS:
            layers = [{"class_name": kind, "config": {"name": "x", "output_dim": 3, key: value}} for value in ODD]
            wrapped = [{"class_name": "Bidirectional", "config": {"name": "b", "layer": layer}} for layer in layers[:3]]
            root = legacy()
            root["config"]["layers"][1:] = [*layers, *wrapped]
            yield f"{kind}-{key}", root
            yield f"{kind}-{key}-of-keras-1", {"class_name": "Sequential", "config": layers, "keras_version": "1.2.2"}
    for name in GONE:
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
    configs = [{"name": name, "units": 0, "batch_input_shape": [None, 3]} for name in names]
    layers = [{"class_name": "Dense", "config": config} for config in configs]
    yield "names-that-the-input-would-take", {"class_name": "Sequential", "config": layers}


def _calls() -> Iterator[tuple[str, Config]]:
    """Every broken form of ``inbound_nodes`` as Keras 2 wrote them."""
    values: list[Any] = [3, "x", {}, [3], ["in"], [[3]], [["in"]], [[["in"]]], [[["in", 0]]], [[]], [[None]], [[[]]],
                         {"in": 0}, [{"a": ["in", 0, 0]}]]  # fmt: skip
    tensors: list[Any] = [["in", 0, 0, 0], ["in", 0, 0, {}, 1], ["nobody", 0, 0, {}], ["in", 9, 0, {}],
                          ["in", -1, 0, {}], ["in", 0, -1, {}], ["in", 0, 9, {}], ["in", 2**62, 0, {}],
                          ["in", 0, 2**62, {}], ["in", "0", 0, {}], ["in", None, 0, {}], ["in", True, 0, {}],
                          ["lstm", 0, 0, {}], ["dense", 0, 0, {}], ["in", 0, 0, {"mask": ["nobody", 0, 0]}],
                          ["in", 0, 0, {"initial_state": ["lstm", 0, 0]}], ["in", 0, 0, {"constants": 3}],
                          ["in", 0, 0, {"x": "y"}], ["in", 0, 0, {"mask": {"class_name": "system"}}],
                          ["_CONSTANT_VALUE", -1, "x", {}],
                          ["_CONSTANT_VALUE", -1, ["a" * 10**6] + [1] * 900, {}]]  # fmt: skip
    for i, value in enumerate([*values, *[[[tensor]] for tensor in tensors]]):
        root = legacy(sequential=False)
        root["config"]["layers"][1]["inbound_nodes"] = value
        yield f"inbound-{i}", root
    ends = [*ODD, [["in"]], [["nobody", 0, 0]], ["dense", 9, 0], [["dense", -1, 0]], [["dense", 0, 5]]]
    for key in ("input_layers", "output_layers"):
        for i, value in enumerate(ends):
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
    merge = {"class_name": "Merge", "config": {"layers": [legacy()]}}
    yield "merge-of-models", {"class_name": "Sequential", "config": [merge]}
    tf = {"class_name": "TFOpLambda", "config": {"name": "x", "function": "io.read_file"}, "name": "x"}
    yield "tf-read-file", of([{**tf, "inbound_nodes": [["in", 0, 0, {"filename": "/etc/passwd"}]]}], "x")
    for name in TF:
        for i, value in enumerate(ODD[name == "concat" :]):
            node = {**tf, "config": {"name": "x", "function": name}}
            keywords = dict.fromkeys(("y", "shape", "multiples", "num_or_size_splits", "slice_spec", "axis"), value)
            yield f"tf-{name}-{i}", of([{**node, "inbound_nodes": [["in", 0, 0, keywords]]}], "x")
    node = {**tf, "config": {"name": "x", "function": "split"}}
    sections = [["in", 0, 0, {"num_or_size_splits": 10**6, "axis": 0}]]
    yield "tf-split-in-a-million", of([{**node, "inbound_nodes": sections}], "x")
