"""Hostile files, part 2: configurations that Keras would never write."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from samples import GADGET, architecture, keras_file, node


def architecture_cases() -> Iterator[tuple[str, bytes]]:
    def changed(change: Callable[[dict[str, Any], list[dict[str, Any]]], Any]) -> bytes:
        root = architecture()
        change(root, root["config"]["layers"])
        return keras_file(root)

    for name, key, values in (
        ("model-class", "class_name", ["Functional", "Model", "Lambda", None, ["Sequential"], {"a": 1}, 3]),
        ("model-config", "config", [None, [], "x", {}, {"name": "m"}, {"name": "m", "layers": []}]),
    ):
        for i, value in enumerate(values):
            yield f"{name}-{i}", changed(lambda root, _, k=key, v=value: root.update({k: v}))
    for i, value in enumerate(
        [None, 5, "x", {}, [None], [[]], [{}], ["LSTM"], [node("InputLayer", name="in")]]
    ):
        yield f"layers-{i}", changed(lambda root, _, v=value: root["config"].update(layers=v))
    yield (
        "layers-two-thousand",
        changed(lambda _, ls: ls.extend([node("Dropout", name="d", rate=0.1)] * 2000)),
    )
    for name in (
        "GRU",
        "TimeDistributed",
        "Lambda",
        "TFSMLayer",
        "TorchModuleWrapper",
        "RNN",
    ):
        yield f"layer-class-{name}", changed(lambda _, ls, n=name: ls[1].update(class_name=n))
    inner = node("LSTM", name="inner", units=3)
    for i, change in enumerate(
        (
            {"class_name": "GRU"}, {"class_name": "Lambda"}, {"module": "os"}, {"registered_name": "mine>LSTM"},
            {"config": None}, {"config": {"units": 2**40}}, {"config": {"units": True}},
            {"config": {"units": 3, "x": 1}},
            {"class_name": "Bidirectional", "config": {"name": "b", "layer": inner}},
        )
    ):  # fmt: skip
        wrapped = node("Bidirectional", name="b", layer={**inner, **change})
        yield f"bidirectional-inner-{i}", changed(lambda _, ls, w=wrapped: ls.insert(1, w))
    for i, change in enumerate(({"layer": None}, {"layer": 3}, {}, {"layer": inner, "merge_mode": "max"})):
        wrapped = node("Bidirectional", name="b", **change)
        yield f"bidirectional-{i}", changed(lambda _, ls, w=wrapped: ls.insert(1, w))
    for i, name in enumerate(
        ("os.system", "__import__", "builtins.eval", "", "LSTM\0", ["LSTM"], None, True)
    ):
        yield f"layer-class-odd-{i}", changed(lambda _, ls, n=name: ls[1].update(class_name=n))
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
    yield "lambda-layer", changed(lambda _, ls: ls.insert(2, node("Lambda", name="l", function=code)))
    yield "nested-model", changed(lambda root, ls: ls.insert(2, copy.deepcopy(root)))
    for i, value in enumerate(("os", "builtins", "my.own.layers", ["keras"], "keras_nlp.layers", 7)):
        yield f"module-{i}", changed(lambda _, ls, v=value: ls[2].update(module=v))
    for i, value in enumerate(("mine>Dense", "os>system", 1, ["Dense"])):
        yield f"registered-{i}", changed(lambda _, ls, v=value: ls[2].update(registered_name=v))
    layer_configs: dict[str, tuple[int, dict[str, Any]]] = {
        "activation-gadget": (2, {"activation": GADGET}),
        "activation-lambda": (2, {"activation": code}),
        "activation-unknown": (1, {"activation": "rm -rf"}),
        "activation-list": (1, {"recurrent_activation": ["tanh"]}),
        "initializer-gadget": (2, {"kernel_initializer": GADGET}),
        "initializer-class": (1, {"kernel_initializer": {"class_name": "Pickle", "config": {}}}),
        "initializer-number": (1, {"bias_initializer": 3}),
        "dtype-quantized": (2, {"dtype": {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}}),
        "dtype-mixed": (2, {"dtype": "mixed_float16"}),
        "dtype-without-name": (2, {"dtype": {"class_name": "DTypePolicy", "config": {}}}),
        "dtype-list": (2, {"dtype": ["float32"]}),
        "dtype-gadget": (2, {"dtype": GADGET}),
        "input-dtype-string": (0, {"dtype": "string"}),
        "input-dtype-object": (0, {"dtype": "object"}),
        "input-ragged": (0, {"ragged": True}),
        "lora": (2, {"lora_rank": 4}),
        "quantized": (2, {"quantization_config": {"mode": "int8"}}),
        "unknown-key": (2, {"surprise": 1}),
        "python-key": (2, {"self": 1}),
        "dunder-key": (2, {"__class__": "x"}),
        "flag-as-text": (1, {"return_sequences": "false"}),
        "flag-as-number": (1, {"stateful": 1}),
        "flag-null": (1, {"use_bias": None}),
        "dropout-as-text": (1, {"dropout": "0.5"}),
        "return-state-in-the-middle": (1, {"return_state": True}),
        "name-repeated": (2, {"name": "lstm"}),
        "name-escape-codes": (2, {"name": "a\x1b[2J"}),
        "name-newline": (2, {"name": "a\nb"}),
        "name-long": (2, {"name": "a" * 100_000}),
        "name-empty": (2, {"name": ""}),
        "name-number": (2, {"name": 3}),
        "isa-unknown": (1, {"isa": "z80"}),
    }
    for i, value in enumerate((-1, 0, True, 1.0, "3", None, [3], 65537, 2**31, 2**62)):
        layer_configs[f"units-{i}"] = (1 + i % 2, {"units": value})
    shapes = (
        [],
        [None],
        None,
        "x",
        [None, -4, 2],
        [None, 0, 2],
        [None, 4, True],
        [None, 4, 2.0],
        [None, 4, None],
    )
    for i, shape in enumerate(
        (*shapes, [None] * 100, [None, 4, 2**40], [None, 4, "2"], [None, [4], 2], [4, 2])
    ):
        layer_configs[f"input-shape-{i}"] = (0, {"batch_shape": shape})
    for name, (index, config) in layer_configs.items():
        yield name, changed(lambda _, ls, i=index, c=config: ls[i]["config"].update(c))
    yield "trainable-as-text", changed(lambda root, _: root["config"].update(trainable="yes"))
    yield "no-layer-but-the-input", changed(lambda _, ls: ls.__delitem__(slice(1, None)))
    yield "units-missing", changed(lambda _, ls: ls[2]["config"].pop("units"))
    yield "config-missing", changed(lambda _, ls: ls[2].pop("config"))
    yield "two-inputs", changed(lambda _, ls: ls.append(copy.deepcopy(ls[0])))
    yield "no-input-shape", changed(lambda root, ls: (ls.pop(0), root["config"].pop("build_input_shape")))
    wide = [node("Dense", name=f"d{i}", units=65536) for i in range(2)]
    yield "too-many-weights", changed(lambda _, ls: ls.extend(wide))
    table = node("Embedding", name="e", input_dim=2**31 - 1, output_dim=65536)
    yield "embedding-of-2-to-the-47", changed(lambda _, ls: ls.insert(1, table))
    yield (
        "embedding-beyond-int32",
        changed(lambda _, ls: ls.insert(1, {**table, "config": {**table["config"], "input_dim": 2**40}})),
    )
