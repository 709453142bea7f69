"""Changes to valid configurations and files that keep most of what makes them valid."""

from __future__ import annotations

import copy
import json
import struct
from random import Random
from typing import Any

from hostile_gadgets import GADGETS, IMPORTS, LAMBDAS
from hostile_legacy import KEYS, OLD, TF
from hostile_values import CELL, NAMES, VALUES, arguments, minimal
from samples import architecture, call, called, functional, graph, legacy, node, nodes, tensor, with_operations

from fastlstm.layers.op_table import TABLE
from fastlstm.layers.serialization import LAYERS

Node = dict[str, Any]

#: Keys of layers' configurations, with those of Keras 1 and 2.
ARGUMENTS = sorted({name for cls in LAYERS.values() for name in arguments(cls)} | set(KEYS))
CLASSES = [*LAYERS, *TABLE, "Model", "TFOpLambda", "Merge", "CuDNNLSTM", "Convolution1D", "Lambda", "StringLookup"]
MODULES = (None, "keras", "keras.layers", "keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.core", "os")
#: Arguments of Keras 1 and 2 with values that they had, as JSON.
OPTIONS = {
    "W_regularizer": '{"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1}', "alpha": "0.3", "border_mode": '"same"',
    "causal": "false", "consume_less": '"cpu"', "dim_ordering": '"th"', "dropout_W": "0.1", "forget_bias_init": '"one"',
    "init": '"glorot_uniform"', "inner_activation": '"hard_sigmoid"', "input_dtype": '"float32"', "input_length": "4",
    "kernel_initializer": '{"class_name": "VarianceScaling", "config": {"distribution": "normal", "dtype": "float32"}}',
    "kernel_regularizer": '{"class_name": "L2", "config": {"l2": 0.1}}', "nb_row": "2", "subsample_length": "1",
    "dtype": '{"class_name": "Policy", "config": {"name": "float32"}}', "activation": '"hard_sigmoid"',
}  # fmt: skip
TAKEN = {"Convolution1D": ("filters", "kernel_size"), "CuDNNLSTM": ("units",), "LSTM": ("units",), "Merge": (),
         "Embedding": ("input_dim", "output_dim"), "BatchNormalization": ()}  # fmt: skip
LEAVES = [text for value in VALUES if len(text := json.dumps(value)) < 2000]  # most, and those quickly copied
SIZES = (0, 1, -1, 2, 3, 4, 5, 7, 8, 64, 1000, 65536, 2**24, 2**31 - 1, 2**31, 2**62)
WORDS = (0, 1, 2, 3, 7, 8, 64, 96, 255, 256, 4096, 65535, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


# -- what is changed ----------------------------------------------------------------------------------


def layer_node(chance: Random, name: str) -> Node:
    """A layer of any class, or an operation, with the least that it needs."""
    if chance.random() < 0.2:
        function = chance.choice(sorted(TABLE))
        kept = {"module": TABLE[function].module, "class_name": function, "registered_name": function}
        return {**kept, "config": {"name": name}}
    kind = chance.choice(NAMES)
    return node(kind, **{**copy.deepcopy(minimal(kind)), "name": name})


def seed(chance: Random) -> Node:
    """A configuration that is valid, or not far from it, of any generation and kind."""
    kind = chance.randrange(10)
    if kind == 0:
        return architecture()
    if kind == 1:
        return graph()
    if kind == 2:
        return with_operations()[chance.randrange(2)]
    if kind == 3:
        return legacy(chance.random() < 0.5)
    if kind == 4:
        old = legacy()
        return {**old, "config": old["config"]["layers"], "keras_version": chance.choice(("1.2.2", "2.1.0"))}
    if kind == 5:
        return _old(chance)
    if kind < 7:
        root = architecture()
        root["config"]["layers"][1:1] = [layer_node(chance, f"x{i}") for i in range(chance.randrange(1, 4))]
        return root
    return _drawn(chance, chance.randrange(1, 8) if chance.random() < 0.99 else 300)


def _old(chance: Random) -> Node:
    """Layers of any class as Keras 1 or 2 named them, with some of the arguments that these had."""
    layers = []
    for i in range(chance.randrange(1, 4)):
        kind = chance.choice((*OLD, *OLD, *NAMES))
        config = {"name": f"x{i}", "units": 3, "filters": 2, "kernel_size": 2, "input_dim": 9, "output_dim": 2}
        config |= {name: json.loads(text) for name, text in OPTIONS.items() if chance.random() < 0.1}
        needed = minimal(kind) if kind in LAYERS else {name: config[name] for name in TAKEN.get(kind, ("output_dim",))}
        kept = {name: value for name, value in config.items() if name in OPTIONS or name == "name"}
        made = {"class_name": kind, "config": {**copy.deepcopy(needed), **kept}}
        wrapped = {"class_name": "Bidirectional", "config": {"name": f"b{i}", "layer": made}}
        layers.append(wrapped if chance.random() < 0.15 else made)
    layers[0]["config"]["batch_input_shape"] = chance.choice(([None, 4, 2], [None, 4], [None, 6, 6, 3]))
    version = chance.choice(("1.0.0", "1.2.2", "2.1.5", "2.2.4-tf", "2.11.0"))
    config = layers if chance.random() < 0.5 else {"name": "old", "layers": layers}
    return {"class_name": "Sequential", "config": config, "keras_version": version}


def _drawn(chance: Random, count: int) -> Node:
    """A graph of layers that read what came before them, one or several, some of them twice."""
    first, lstm, dense = nodes()
    lstm["config"]["return_sequences"] = True
    layers = [called(first), called(lstm, call(tensor("in")))]
    names = ["in", "lstm"]
    for i in range(count):
        made = layer_node(chance, f"x{i}") if chance.random() < 0.9 else _drawn(chance, 1)
        if made["class_name"] == "Functional":
            made["config"]["name"] = f"x{i}"
        calls = []
        for _ in range(chance.choice((1, 1, 1, 2))):
            some = [tensor(chance.choice(names)) for _ in range(chance.choice((1, 1, 2, 2, 3)))]
            calls.append(chance.choice((call(some[0]), call(some), call(*some), call(some[0], mask=some[-1]))))
        layers.append(called(made, *calls))
        names.append(f"x{i}")
    layers.append(called(dense, call(tensor(chance.choice(names)))))
    return functional(layers, ["in", 0, 0], [["dense", 0, 0]])


# -- changes to configurations ------------------------------------------------------------------------


def changed(root: Any, chance: Random) -> Any:
    """A copy of the configuration after a few changes, each at a random place."""
    root = json.loads(json.dumps(root))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        holder, key = _place(root, chance)
        if holder is None:
            return root
        chance.choice(_CHANGES)(holder, key, chance, root)
    return root


def _place(root: Any, chance: Random) -> tuple[Any, Any]:
    """A dictionary or a list and a key in it; deeper ones are as likely as those above."""
    holder: Any = None
    key: Any = None
    value = root
    while isinstance(value, dict | list) and value and (holder is None or chance.random() < 0.85):
        holder, key = value, chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        value = holder[key]
    return holder, key


def _any_value(chance: Random) -> Any:
    return json.loads(chance.choice(LEAVES)) if chance.random() < 0.98 else copy.deepcopy(chance.choice(VALUES))


def _replace(holder: Any, key: Any, chance: Random, root: Any) -> None:
    holder[key] = _any_value(chance)


def _resize(holder: Any, key: Any, chance: Random, root: Any) -> None:
    value = holder[key]
    near = [value - 1, value + 1, value * 2, -value] if isinstance(value, int) else []
    holder[key] = chance.choice([*near, *SIZES])


def _delete(holder: Any, key: Any, chance: Random, root: Any) -> None:
    del holder[key]


def _repeat(holder: Any, key: Any, chance: Random, root: Any) -> None:
    count = chance.choice((1, 1, 2, 5, 40))
    size = 200 if count < 40 else 2000
    if isinstance(holder, list) and len(holder) < size:
        holder[key:key] = [copy.deepcopy(holder[key]) for _ in range(count)]
    elif isinstance(holder, dict):
        holder[f"{key}{chance.choice(('', '_1', '0'))}"] = copy.deepcopy(holder[key])


def _flood(holder: Any, key: Any, chance: Random, root: Any) -> None:
    """Something small very often; seldom, since what has become large is slow to write."""
    if chance.random() < 0.05 and len(json.dumps(holder[key])) < 60:
        if isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(holder[key]) for _ in range(chance.choice((3000, 20_000)))]
        else:
            holder |= {f"{key}{i}": copy.deepcopy(holder[key]) for i in range(chance.choice((3000, 20_000)))}


def _move(holder: Any, key: Any, chance: Random, root: Any) -> None:
    """Something from elsewhere takes its place."""
    other, place = _place(root, chance)
    if other is not None and len(text := json.dumps(other[place])) < 20_000:
        holder[key] = json.loads(text)


def _swap(holder: Any, key: Any, chance: Random, root: Any) -> None:
    other = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    holder[key], holder[other] = holder[other], holder[key]


def _argument(holder: Any, key: Any, chance: Random, root: Any) -> None:
    if isinstance(holder, dict):
        inside = holder["config"] if isinstance(holder.get("config"), dict) else holder
        inside[chance.choice(ARGUMENTS)] = _any_value(chance)


def _classify(holder: Any, key: Any, chance: Random, root: Any) -> None:
    if isinstance(holder, dict):
        what = chance.choice(("class_name", "class_name", "module", "registered_name"))
        holder[what] = chance.choice(MODULES if what == "module" else CLASSES)


def _insert(holder: Any, key: Any, chance: Random, root: Any) -> None:
    """A layer, a wrapper around what is there, or a gadget."""
    gadgets = [*IMPORTS.values(), *GADGETS.values(), *LAMBDAS.values()]
    inner = holder[key]
    made = chance.choice((
        layer_node(chance, "new"), copy.deepcopy(chance.choice(gadgets)), copy.deepcopy(CELL),
        node("TimeDistributed", name="new", layer=inner), node("Bidirectional", name="new", layer=inner),
        node("RNN", name="new", cell=inner),
        {**architecture(), "config": {"name": "new", "layers": [*nodes()[:1], inner]}},
    ))  # fmt: skip
    if isinstance(holder, list) and chance.random() < 0.5:
        holder.insert(key, made)
    else:
        holder[key] = made


def _refer(holder: Any, key: Any, chance: Random, root: Any) -> None:
    """A tensor of any layer, in one of the forms."""
    name = chance.choice(("in", "lstm", "dense", "x0", "x1", "x2", "x"))
    at = chance.choice((0, 0, 0, 1, 2, -1))
    holder[key] = chance.choice((tensor(name, at), [name, at, 0], [name, at, 0, {}], call(tensor(name, at))))


def _function(holder: Any, key: Any, chance: Random, root: Any) -> None:
    if isinstance(holder, dict):
        holder["function"] = chance.choice(TF)


_CHANGES = (_replace, _replace, _resize, _resize, _delete, _repeat, _move, _move, _swap, _argument, _argument,
            _classify, _insert, _refer, _refer, _function, _flood)  # fmt: skip


# -- changes to text and bytes ------------------------------------------------------------------------


def garbled(data: bytes, chance: Random) -> bytes:
    """The bytes after a few changes: bits, words of any width, parts cut out, moved, repeated."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4, 8))):
        if not made:
            break
        at, kind = chance.randrange(len(made)), chance.randrange(10)
        if kind < 3:
            made[at] ^= 1 << chance.randrange(8)
        elif kind < 6:
            _put(made, at, chance)
        elif kind == 6:
            made[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, *b'"{}[],:\\'))
        elif kind == 7:
            del made[at : at + chance.choice((1, 2, 8, 16, 100, len(made)))]
        else:
            start = chance.randrange(len(made))
            part = made[start : start + chance.choice((1, 8, 16, 24, 40, 100, 500))]
            made[at : at + (len(part) if kind == 8 else 0)] = part
    return bytes(made)


def _put(data: bytearray, at: int, chance: Random) -> None:
    """A number in place of another; often where one is, and often one that is somewhere else or a place."""
    width = chance.choice((1, 2, 4, 8, 8, 8))
    at -= at % width
    if at + width > len(data):
        return
    places = (len(data), chance.randrange(len(data)), _landmark(data, chance), _landmark(data, chance))
    value = chance.choice((*WORDS, *places))
    if chance.random() < 0.3:
        (old,) = struct.unpack_from(f"<{dict(zip((1, 2, 4, 8), 'BHIQ', strict=True))[width]}", data, at)
        value = old + chance.choice((-1, 1, 8, -8, 256))
    data[at : at + width] = (value % 256**width).to_bytes(width, "little")


def _landmark(data: bytearray, chance: Random) -> int:
    """Where a part of an HDF5 or zip file begins."""
    found = data.find(chance.choice((b"SNOD", b"TREE", b"HEAP", b"GCOL", b"PK\1\2", b"PK\3\4", b"PK\5\6")))
    return max(0, found)
