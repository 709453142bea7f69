"""Hostile files, part 4: graphs that run in circles, refer to nothing, or are large in some way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hostile_case import Attacks, with_config
from samples import call, called, functional, graph, node, nodes, tensor

Config = dict[str, Any]
END = [["x", 0, 0]]
ELLIPSIS = {"class_name": "__ellipsis__", "config": {"stop": "9"}}


def drawn(*layers: Config, outputs: Any = END) -> Config:
    """A graph of an input ``in`` and these layers."""
    return functional([called(nodes()[0]), *layers], [["in", 0, 0]], outputs)


def layer(name: str, *sources: Any, kind: str = "Dropout", **config: Any) -> Config:
    """A layer that is called once on each of these: a layer's name, or the call."""
    config = config or ({"rate": 0.1} if kind == "Dropout" else {})
    calls = [call(tensor(source)) if isinstance(source, str) else source for source in sources]
    return called(node(kind, name=name, **config), *calls)


def operation(kind: str, name: str, *args: Any, module: str = "keras.src.ops.numpy", **config: Any) -> Config:
    kept = {"module": module, "class_name": kind, "config": {"name": name, **config}, "registered_name": kind}
    return called(kept, call(*args))


def cases() -> Attacks:
    for make in (_circles, _references, _calls, _ends, _large, _operations):
        for name, config in make():
            yield "graph", name, with_config(config)


def _circles() -> Iterator[tuple[str, Config]]:
    yield "calls-itself", drawn(layer("x", "x"))
    yield "calls-itself-later", drawn(layer("x", "in", call(tensor("x", 2)), call(tensor("x", 1))))
    yield "two-in-a-circle", drawn(layer("x", "y"), layer("y", "x"))
    ring = [layer(f"r{i}", f"r{(i + 1) % 500}") for i in range(500)]
    yield "five-hundred-in-a-circle", drawn(*ring, layer("x", "r0"))
    yield "circle-beside-the-outputs", drawn(layer("x", "in"), layer("y", "z"), layer("z", "y"))
    yield "circle-through-keywords", drawn(layer("x", call(tensor("in"), mask=tensor("x"))))
    joined = layer("x", call([tensor("in"), tensor("x")]), kind="Add")
    yield "circle-in-a-list", drawn(joined)
    root = graph()
    inner = {**graph(), "name": "x", "inbound_nodes": [call(tensor("x"))]}
    yield "model-calls-itself", {**root, "config": {**root["config"], "layers": [called(nodes()[0]), inner]}}


def _references() -> Iterator[tuple[str, Config]]:
    histories: dict[str, Any] = {
        "layer-missing": ["nobody", 0, 0],
        "call-missing": ["in", 7, 0],
        "call-negative": ["in", -1, 0],
        "call-huge": ["in", 2**62, 0],
        "output-missing": ["in", 0, 5],
        "output-negative": ["in", 0, -1],
        "output-huge": ["in", 0, 2**62],
        "call-text": ["in", "0", 0],
        "call-float": ["in", 0.0, 0],
        "call-true": ["in", True, 0],
        "layer-number": [0, 0, 0],
        "layer-list": [["in"], 0, 0],
        "layer-null": [None, 0, 0],
        "short": ["in", 0],
        "long": ["in", 0, 0, 0],
        "empty": [],
        "null": None,
        "text": "in",
        "object": {"in": 0},
    }
    for name, history in histories.items():
        leaf = {"class_name": "__keras_tensor__", "config": {"keras_history": history}}
        yield f"history-{name}", drawn(layer("x", call(leaf)))
        yield f"keyword-history-{name}", drawn(layer("x", call(tensor("in"), mask=leaf)))
        yield f"output-{name}", drawn(layer("x", "in"), outputs=history)
        yield f"input-{name}", functional([called(nodes()[0]), layer("x", "in")], [history], END)
    for i, config in enumerate((None, [], "x", 3, {"keras_history": {}})):
        leaf = {"class_name": "__keras_tensor__", "config": config}
        yield f"tensor-config-{i}", drawn(layer("x", call(leaf)))


def _calls() -> Iterator[tuple[str, Config]]:
    """Every broken form of ``inbound_nodes``, and of arguments in it."""
    values: list[Any] = [3, "x", {"a": 1}, [3], ["x"], [[]], [{}], [None], [True], [{"args": []}], [{"kwargs": {}}],
                         [{"args": {}, "kwargs": {}}], [{"args": [], "kwargs": []}], [[["in", 0, 0, {}]]],
                         [call(), call()], [call(None)], [call(3)], [call("in")], [call([])], [call({})], [call([[]])],
                         [call(tensor("in"), tensor("in"))], [call(tensor("in"), surprise=1)],
                         [call([tensor("in"), None])]]  # fmt: skip
    for i, value in enumerate(values):
        yield f"inbound-{i}", drawn({**layer("x"), "inbound_nodes": value})
    kinds = ("__lambda__", "__numpy__", "__tensor__", "__typespec__", "__bytes__", "system", "function", None, 3, ["a"])
    for i, kind in enumerate(kinds):
        leaf = {"class_name": kind, "module": "os", "config": {"value": "true"}}
        yield f"argument-class-{i}", drawn(layer("x", call(leaf)))
        yield f"keyword-class-{i}", drawn(layer("x", call(tensor("in"), mask=leaf)))
        yield f"index-class-{i}", drawn(operation("GetItem", "x", tensor("in"), leaf))
    for i, items in enumerate((None, 3, "x", {}, [{"class_name": "__lambda__"}])):
        leaf = {"class_name": "__tuple__", "items": items}
        yield f"argument-tuple-{i}", drawn(layer("x", call(leaf)))
    for i, name in enumerate(("__class__", "self", "inputs", "training", "mask", "")):
        config = {"rate": 0.1} if name != "training" else {"rate": 0.5}
        yield f"keyword-{i}", drawn(layer("x", call(tensor("in"), **{name: [[["y"]]]}), **config))


def _ends() -> Iterator[tuple[str, Config]]:
    ends: list[Any] = [None, 3, "x", [], {}, [[]], [["x"]], [["x", 0]], [[None, 0, 0]], {"a": 3}, ["xyz"], [[[]]] * 9]
    good = [called(nodes()[0]), layer("x", "in")]
    for i, end in enumerate(ends):
        yield f"outputs-{i}", functional(good, [["in", 0, 0]], end)
        yield f"inputs-{i}", functional(good, end, END)
    other = called({**nodes()[0], "config": {**nodes()[0]["config"], "name": "b"}})
    yield "output-of-no-input", functional([*good, other, layer("y", "b")], [["in", 0, 0]], [["y", 0, 0]])
    yield "two-layers-of-one-name", functional([*good, layer("x", "in")], [["in", 0, 0]], END)
    yield "two-names-of-one-layer", functional([*good, {**layer("x", "in"), "name": "z"}], [["in", 0, 0]],
                                               [["x", 0, 0], ["z", 0, 0]])  # fmt: skip
    yield "name-no-text", functional([good[0], {**good[1], "name": ["x"]}], [["in", 0, 0]], END)
    yield "name-too-many", functional([good[0], {**good[1], "name": {"x": 1}}], [["in", 0, 0]], END)


def _large() -> Iterator[tuple[str, Config]]:
    many = [call([tensor("in")] * 130)] * 130
    yield "calls-that-read-many", drawn(layer("x", *many, kind="Add"), outputs=[["x", 200, 0]])
    parts = operation("Split", "s", tensor("in"), indices_or_sections=4096, axis=0)
    often = layer("x", call([tensor("s", 0, i % 4096) for i in range(9000)]), kind="Add")
    yield "parts-that-are-read-often", drawn(parts, often, outputs=[["nobody", 0, 0]])
    yield "calls-in-a-row", drawn(layer("x", "in", *[call(tensor("x", i)) for i in range(4900)]), outputs=[["y", 0, 0]])
    sums = [called(nodes()[0]), layer("x", call([tensor("in")] * 4000), kind="Add")]
    wide = functional(sums, ["in", 0, 0], ["x", 0, 0], name="m")
    yield "a-wide-model-called-often", drawn(called(wide, *[call(tensor("in"))] * 3000), outputs=[["y", 0, 0]])
    repeated = [layer(f"a{i}", call([tensor("in")] * 17), kind="Concatenate", axis=2) for i in range(999)]
    yield "a-thousand-that-read-many", drawn(*repeated)
    yield "calls-beyond-the-limit", drawn(layer("x", *["in"] * 15_000))
    yield "layers-beyond-the-limit", drawn(*[layer(f"d{i}", "in") for i in range(1100)], layer("x", "in"))
    chain = [layer("d0", "in")] + [layer(f"d{i}", f"d{i - 1}") for i in range(1, 990)]
    yield "deep-chain-to-nowhere", drawn(*reversed(chain), layer("x", "d990"))
    grown = [layer("d0", call([tensor("in"), tensor("in")]), kind="Concatenate", axis=1)]
    grown += [layer(f"d{i}", call([tensor(f"d{i - 1}")] * 2), kind="Concatenate", axis=1) for i in range(1, 900)]
    flat = [layer("f", "d899", kind="Flatten"), layer("x", "f", kind="Dense", units=9)]
    yield "doubled-in-900-layers", drawn(*grown, *flat)
    shared = layer("x", "in", call(tensor("y")), kind="Dense", units=3)
    yield "shared-layer-of-two-shapes", drawn(layer("y", "in", kind="Dense", units=7), shared, outputs=[["x", 1, 0]])
    both = drawn(layer("x", "in", kind="LSTM", units=3))
    both["config"]["layers"].append(called(node("InputLayer", name="b", batch_shape=[None, 4, 9])))
    both["config"]["layers"][1]["inbound_nodes"].append(call(tensor("b")))
    both["config"]["input_layers"].append(["b", 0, 0])
    yield "shared-lstm-of-two-shapes", both


def _operations() -> Iterator[tuple[str, Config]]:
    """Arguments of operations that would be large in memory, or take long."""
    x = tensor("in")
    operations: dict[str, Callable[[], Config]] = {
        "split-in-a-million": lambda: operation("Split", "x", x, indices_or_sections=10**6, axis=0),
        "split-in-negative": lambda: operation("Split", "x", x, indices_or_sections=-1, axis=0),
        "unstack-a-million": lambda: operation("Unstack", "x", x, module="keras.src.ops.core", num=10**6, axis=0),
        "reshape-to-many-axes": lambda: operation("Reshape", "x", x, newshape=[-1] + [1] * 50_000),
        "reshape-to-many-numbers": lambda: operation("Reshape", "x", x, newshape=[2**31 - 1] * 30),
        "reshape-to-text": lambda: operation("Reshape", "x", x, newshape=["4", "2"]),
        "tile-many-axes": lambda: operation("Tile", "x", x, repeats=[1] * 50_000),
        "tile-often": lambda: operation("Tile", "x", x, repeats=[1, 2**31 - 1, 2**31 - 1]),
        "repeat-often": lambda: operation("Repeat", "x", x, repeats=2**31 - 1, axis=1),
        "pad-widely": lambda: operation("Pad", "x", x, pad_width=[[0, 0], [2**31 - 1, 0], [2**31 - 1, 0]]),
        "expand-many-axes": lambda: operation("ExpandDims", "x", x, axis=list(range(50_000))),
        "broadcast-widely": lambda: operation("BroadcastTo", "x", x, shape=[2**31 - 1, 2**31 - 1, 4, 2]),
        "one-hot-widely": lambda: operation("OneHot", "x", x, module="keras.src.ops.nn", num_classes=2**31 - 1),
        "index-of-many-parts": lambda: operation("GetItem", "x", x, [None] * 50_000),
        "index-beyond": lambda: operation("GetItem", "x", x, [0, 99]),
        "index-of-text": lambda: operation("GetItem", "x", x, "a"),
        "index-step-zero": lambda: operation("GetItem", "x", x, {"class_name": "__slice__", "config": {"step": 0}}),
        "index-of-a-text-slice": lambda: operation("GetItem", "x", x, {**ELLIPSIS, "class_name": "__slice__"}),
        "constant-of-text": lambda: operation("Add", "x", x, _constant(["a" * 10**6] + [1] * 900)),
        "constant-of-objects": lambda: operation("Add", "x", x, _constant([{}] * 9)),
        "constant-ragged": lambda: operation("Add", "x", x, _constant([[1], [1, 2]])),
        "constant-of-evil-type": lambda: operation("Add", "x", x, _constant([1, 2], "(9,9)f4")),
        "constant-of-a-pickle": lambda: operation("Add", "x", x, _constant("gASVAAAA", "object")),
        "constant-too-wide": lambda: operation("Add", "x", x, _constant([1] * 50_000)),
        "einsum-of-nothing": lambda: operation("Einsum", "x", x, subscripts="->"),
        "einsum-of-many": lambda: operation("Einsum", "x", *[x] * 500, subscripts=",".join(["abc"] * 500) + "->abc"),
        "einsum-long": lambda: operation("Einsum", "x", x, subscripts="a" * 10**6),
        "unknown": lambda: operation("System", "x", x),
        "map": lambda: operation("Map", "x", {"class_name": "function", "config": "system"}, x),
        "vectorized-map": lambda: operation("VectorizedMap", "x", x, module="keras.src.ops.core", function="eval"),
        "module-of-files": lambda: operation("Add", "x", x, x, module="keras.src.utils.file_utils"),
        "operation-of-an-unknown-argument": lambda: operation("Add", "x", x, x, surprise=1),
        "operation-without-arguments": lambda: operation("Add", "x"),
        "operation-of-many-arguments": lambda: operation("Add", "x", *[x] * 900),
        "operation-named-oddly": lambda: operation("Add", "a\x1b[2J", x, x),
    }  # fmt: skip
    for name, make in operations.items():
        yield name, drawn(make())
    chain = [operation("ExpandDims", "e0", x, axis=0)]
    chain += [operation("ExpandDims", f"e{i}", tensor(f"e{i - 1}"), axis=0) for i in range(1, 300)]
    yield "axis-upon-axis", drawn(*chain, layer("x", "e299"))
    names = ["os.system", "math.add", "io.read_file", "py_function", "raw_ops.ReadFile", "__class__", 3]
    for i, name in enumerate(names):
        kept = {"module": "keras.layers", "class_name": "TFOpLambda", "config": {"name": "x", "function": name}}
        arguments = call("in" if name == "math.add" else tensor("in"), y={"a": 1})
        yield f"tf-function-{i}", drawn(called({**kept, "registered_name": None}, arguments))


def _constant(value: Any, dtype: str = "float32") -> Config:
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}}
