"""Hostile files, part 3: configurations that Keras would never write: structure, arguments, limits, nesting."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hostile_case import Attacks, with_config
from samples import architecture, called, functional, node, nodes, tensor
from samples import call as call_of

Config = dict[str, Any]


def changed(change: Callable[[Config, list[Config]], Any]) -> Config:
    """The architecture after a change to it, given the root and its layers."""
    root = architecture()
    change(root, root["config"]["layers"])
    return root


def cases() -> Attacks:
    groups = {
        "structure": _structure,
        "arguments": _arguments,
        "path": _paths,
        "limits": _limits,
        "nesting": _nesting,
        "shape-bomb": _shape_bombs,
    }
    for threat, make in groups.items():
        for name, config in make():
            yield threat, name, with_config(config)


def _structure() -> Iterator[tuple[str, Config]]:
    for name, key, values in (
        ("model-class", "class_name", ["Functional", "Model", "Lambda", None, ["Sequential"], {"a": 1}, 3]),
        ("model-config", "config", [None, [], "x", {}, {"name": "m"}, {"name": "m", "layers": []}]),
    ):
        for i, value in enumerate(values):
            yield f"{name}-{i}", changed(lambda root, _, k=key, v=value: root.update({k: v}))
    values = [None, 5, "x", {}, [None], [[]], [{}], ["LSTM"], [node("InputLayer", name="in")]]
    for i, value in enumerate(values):
        yield f"layers-{i}", changed(lambda root, _, v=value: root["config"].update(layers=v))
    inner = node("LSTM", name="inner", units=3)
    for i, change in enumerate(
        (
            {"class_name": "Dense"}, {"class_name": "Lambda"}, {"module": "os"}, {"registered_name": "mine>LSTM"},
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
    for kind, key in (("TimeDistributed", "layer"), ("RNN", "cell"), ("StackedRNNCells", "cells")):
        for i, value in enumerate((None, 3, "LSTM", [], {}, [3], {"class_name": "Dense"}, node("InputLayer"), inner)):
            wrapped = node(kind, name="w", **{key: value})
            yield f"{kind}-{i}", changed(lambda _, ls, w=wrapped: ls.insert(1, w))
    for i, name in enumerate(("os.system", "__import__", "builtins.eval", "", "LSTM\0", ["LSTM"], None, True)):
        yield f"layer-class-{i}", changed(lambda _, ls, n=name: ls[1].update(class_name=n))
    for name in ("GRU", "TimeDistributed", "RNN", "Sequential", "Functional", "Layer", "ConvLSTM2D", "lstm"):
        yield f"layer-class-{name}", changed(lambda _, ls, n=name: ls[1].update(class_name=n))
    yield "nested-model", changed(lambda root, ls: ls.insert(2, copy.deepcopy(root)))
    for i, value in enumerate(("os", "builtins", "my.own.layers", ["keras"], "keras_nlp.layers", 7, "kerasx")):
        yield f"module-{i}", changed(lambda _, ls, v=value: ls[2].update(module=v))
    for i, value in enumerate(("mine>Dense", "os>system", 1, ["Dense"])):
        yield f"registered-{i}", changed(lambda _, ls, v=value: ls[2].update(registered_name=v))
    yield "trainable-as-text", changed(lambda root, _: root["config"].update(trainable="yes"))
    yield "no-layer-but-the-input", changed(lambda _, ls: ls.__delitem__(slice(1, None)))
    yield "units-missing", changed(lambda _, ls: ls[2]["config"].pop("units"))
    yield "config-missing", changed(lambda _, ls: ls[2].pop("config"))
    yield "two-inputs", changed(lambda _, ls: ls.append(copy.deepcopy(ls[0])))
    yield "no-input-shape", changed(lambda root, ls: (ls.pop(0), root["config"].pop("build_input_shape")))


def _arguments() -> Iterator[tuple[str, Config]]:
    """Of layer 0, the input, 1, the LSTM, and 2, the Dense layer."""
    configs: dict[str, tuple[int, Config]] = {
        "activation-unknown": (1, {"activation": "rm -rf"}),
        "activation-list": (1, {"recurrent_activation": ["tanh"]}),
        "activation-number": (2, {"activation": 3}),
        "initializer-class": (1, {"kernel_initializer": {"class_name": "Pickle", "config": {}}}),
        "initializer-number": (1, {"bias_initializer": 3}),
        "initializer-arguments": (2, {"kernel_initializer": node("Constant", value="a" * 10**6)}),
        "initializer-of-text": (2, {"kernel_initializer": node("Constant", value=["a" * 10**6] + [0] * 900)}),
        "dtype-quantized": (2, {"dtype": {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}}),
        "dtype-mixed": (2, {"dtype": "mixed_float16"}),
        "dtype-without-name": (2, {"dtype": {"class_name": "DTypePolicy", "config": {}}}),
        "dtype-list": (2, {"dtype": ["float32"]}),
        "dtype-map": (2, {"dtype": {"class_name": "DTypePolicyMap", "config": {"policy_map": {}}}}),
        "input-ragged": (0, {"ragged": True}),
        "lora": (2, {"lora_rank": 4}),
        "quantized": (2, {"quantization_config": {"mode": "int8"}}),
        "unknown-key": (2, {"surprise": 1}),
        "python-key": (2, {"self": 1}),
        "dunder-key": (2, {"__class__": "x"}),
        "many-keys": (2, {f"k{i}": i for i in range(50_000)}),
        "flag-as-text": (1, {"return_sequences": "false"}),
        "flag-as-number": (1, {"stateful": 1}),
        "flag-null": (1, {"use_bias": None}),
        "dropout-as-text": (1, {"dropout": "0.5"}),
        "dropout-beyond-floats": (1, {"dropout": [1e308]}),
        "return-state-in-the-middle": (1, {"return_state": True}),
        "name-repeated": (2, {"name": "lstm"}),
        "name-escape-codes": (2, {"name": "a\x1b[2J"}),
        "name-right-to-left": (2, {"name": "a\u202eb"}),
        "name-newline": (2, {"name": "a\nb"}),
        "name-long": (2, {"name": "a" * 100_000}),
        "name-empty": (2, {"name": ""}),
        "name-number": (2, {"name": 3}),
        "name-null": (2, {"name": None}),
        "isa-unknown": (1, {"isa": "z80"}),
        "isa-chosen": (1, {"isa": "scalar"}),
        "threads-chosen": (1, {"threads": 10**6}),
        "reproducible-chosen": (1, {"reproducible": True}),
    }
    for i, value in enumerate((-1, 0, True, 1.0, "3", None, [3], 65537, 2**31, 2**62)):
        configs[f"units-{i}"] = (1 + i % 2, {"units": value})
    dtypes = ["string", "object", "(1,1)f4", "i4,i4", "f4," * 1000, "(" * 50, "M8[ns]", "f4\0", "a", 7, {"names": 0}]
    for i, dtype in enumerate(dtypes):
        configs[f"input-dtype-{i}"] = (0, {"dtype": dtype})
    policy = {"class_name": "DTypePolicy", "config": {"name": "float32"}, "names": ["a"], "formats": ["(1,1)f4"]}
    configs["input-dtype-of-fields"] = (0, {"dtype": policy})
    shapes = [[], [None], None, "x", [None, -4, 2], [None, 0, 2], [None, 4, True], [None, 4, 2.0], [None, 4, None]]
    for i, shape in enumerate([*shapes, [None] * 100, [None, 4, 2**40], [None, 4, "2"], [None, [4], 2], [4, 2]]):
        configs[f"input-shape-{i}"] = (0, {"batch_shape": shape})
    for name, (index, config) in configs.items():
        yield name, changed(lambda _, ls, i=index, c=config: ls[i]["config"].update(c))


def _paths() -> Iterator[tuple[str, Config]]:
    for i, name in enumerate(("..", "../../x", "a/../b", "/etc/passwd", "./x")):
        yield f"layer-name-{i}", changed(lambda _, ls, n=name: ls[2]["config"].update(name=n))
        yield f"model-name-{i}", changed(lambda root, _, n=name: root["config"].update(name=n))


def _limits() -> Iterator[tuple[str, Config]]:
    def more(*layers: Config) -> Config:
        return changed(lambda _, ls: ls.extend(layers))

    yield "layers-two-thousand", more(*[node("Dropout", name=f"d{i}", rate=0.1) for i in range(2000)])
    yield "layers-of-one-name", more(*[node("Dropout", name="d", rate=0.1)] * 900)
    cell = node("LSTMCell", name="c", units=2)
    yield "cells-two-thousand", more(node("RNN", name="r", cell=node("StackedRNNCells", cells=[cell] * 2000)))
    yield "cells-in-a-list", more(node("RNN", name="r", cell=[cell] * 2000))
    wide = [node("Dense", name=f"d{i}", units=65536) for i in range(2)]
    yield "too-many-weights", more(*wide)
    yield "weights-beyond-64-bits", more(node("RepeatVector", name="r", n=2**31 - 1), node("Flatten", name="f"), *wide)
    yield "many-layers-of-many-weights", more(*[node("Dense", name=f"d{i}", units=4000) for i in range(900)])
    table = node("Embedding", name="e", input_dim=2**31 - 1, output_dim=65536)
    yield "embedding-of-2-to-the-47", changed(lambda _, ls: ls.insert(1, table))
    beyond = {**table, "config": {**table["config"], "input_dim": 2**40}}
    yield "embedding-beyond-int32", changed(lambda _, ls: ls.insert(1, beyond))


def _shape_bombs() -> Iterator[tuple[str, Config]]:
    """Layers whose arguments make shapes, or weights, of any size."""
    sizes = {
        "RepeatVector": {"n": 2**31 - 1},
        "Reshape": {"target_shape": [2**31 - 1, 2**31 - 1]},
        "UpSampling1D": {"size": 2**31 - 1},
        "ZeroPadding1D": {"padding": 2**31 - 1},
        "Cropping1D": {"cropping": [2**31 - 1, 2**31 - 1]},
        "Permute": {"dims": list(range(1, 5000))},
        "Conv1D": {"filters": 65536, "kernel_size": 2**31 - 1, "padding": "same"},
        "SeparableConv1D": {"filters": 65536, "kernel_size": 2**31 - 1, "padding": "same", "depth_multiplier": 99999},
        "DepthwiseConv1D": {"kernel_size": 2**31 - 1, "padding": "same", "depth_multiplier": 2**31 - 1},
        "MaxPooling1D": {"pool_size": 2**31 - 1, "strides": 2**31 - 1},
        "MultiHeadAttention": {"num_heads": 2**31 - 1, "key_dim": 2**31 - 1},
        "Normalization": {"mean": [0.0] * 50_000, "variance": [1.0] * 50_000},
        "Rescaling": {"scale": ["1" * 10**6] + [1] * 900},
        "Embedding": {"input_dim": 2**31 - 1, "output_dim": 2**31 - 1},
        "LSTM": {"units": 65536},
        "GRU": {"units": 2**62},
    }
    for kind, arguments in sizes.items():
        key = next(iter(arguments))
        constant = kind in ("Normalization", "Rescaling", "ZeroPadding1D", "Cropping1D")  # which 0 does no harm to
        for i, value in enumerate(() if constant else (0, -1, 10**18, [10**18] * 8, [[1] * 1000] * 50)):
            bad = node(kind, name="bomb", **{**arguments, key: value})
            yield f"{kind}-{i}", changed(lambda _, ls, b=bad: ls.insert(1, b))
        layer = node(kind, name="bomb", **arguments)
        yield kind, changed(lambda _, ls, b=layer: ls.insert(1, b))
    grown = [node("UpSampling1D", name=f"u{i}", size=2**31 - 1) for i in range(900)]
    yield "grown-in-900-layers", changed(lambda _, ls: ls.__setitem__(slice(1, 1), grown))


def _nesting() -> Iterator[tuple[str, Config]]:
    """Models and wrappers in each other: deep, or so that few words are many calls."""
    wrapped = node("Dense", name="d", units=2)
    for _ in range(20):
        wrapped = node("TimeDistributed", name="t", layer=wrapped)
    yield "wrappers", changed(lambda _, ls: ls.insert(1, wrapped))
    both = node("LSTM", name="l", units=2)
    for _ in range(20):
        both = node("Bidirectional", name="b", layer=both, backward_layer=both)
        if len(str(both)) > 10**6:
            break
    yield "both-ways", changed(lambda _, ls: ls.insert(1, both))
    sequence = node("Dense", name="d", units=2)
    for _ in range(14):
        sequence = {**architecture(), "config": {"name": "m", "layers": [sequence]}}
    yield "sequentials", changed(lambda _, ls: ls.insert(1, sequence))
    cells = node("LSTMCell", name="c", units=2)
    for _ in range(12):
        cells = node("StackedRNNCells", name="s", cells=[cells])
    yield "cells", changed(lambda _, ls: ls.insert(1, node("RNN", name="r", cell=cells)))
    for depth, calls in ((14, 1), (10, 2), (6, 5), (4, 20), (2, 200)):
        yield f"calls-{calls}-each-of-{depth}", _repeated(depth, calls)


def _repeated(depth: int, calls: int) -> Config:
    """Each model calls the one inside it so many times, one after the other."""
    first = called(nodes()[0])
    layer = node("Dropout", name="m", rate=0.1)
    inner = functional([first, called(layer, call_of(tensor("in")))], ["in", 0, 0], ["m", 0, 0])
    for _ in range(depth):
        sources = ["in", *["m"] * (calls - 1)]
        own = [call_of(tensor(name, max(0, i - 1))) for i, name in enumerate(sources)]
        inner = functional([first, called({**inner, "config": {**inner["config"], "name": "m"}}, *own)], ["in", 0, 0],
                           ["m", calls, 0])  # fmt: skip
    return inner
