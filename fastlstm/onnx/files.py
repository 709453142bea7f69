"""What fastlstm.onnx needs of ONNX's files: the LSTM nodes of a graph, their attributes, the constants they read."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlstm.arrays import as_array
from fastlstm.errors import FastLSTMError, ModelFileError
from fastlstm.loading.protobuf import Messages, Value, floats, integer, integers, text, whole
from fastlstm.loading.tensors import SIZES, numbers

MAX_BYTES = 2**31 - 1  # that a message of Protocol Buffers may have

_DOMAINS = ("", "ai.onnx")  # ONNX's own operators
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_WEIGHTS = ("W", "R", "B", "P")
#: The attributes of all versions: the field of an AttributeProto that holds each, and its number among the types.
_ATTRIBUTES = {
    "activation_alpha": ("floats", 6), "activation_beta": ("floats", 6), "activations": ("strings", 8),
    "clip": ("f", 1), "direction": ("s", 3), "hidden_size": ("i", 2), "input_forget": ("i", 2), "layout": ("i", 2),
    "output_sequence": ("i", 2),
}  # fmt: skip
#: By a tensor's data_type: what it is a tensor of, and the field that holds its numbers where raw_data does not; there
#: those of 16 bits stand as integers.
_TENSORS = {
    1: ("float32", "float_data"), 6: ("int32", "int32_data"), 7: ("int64", "int64_data"), 10: ("float16", "int32_data"),
    11: ("float64", "double_data"), 16: ("bfloat16", "int32_data"),
}  # fmt: skip
_EXTERNAL = 1
_MOST_AXES = 8


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Whatever a damaged file provokes within becomes a ModelFileError that begins with the path."""
    try:
        yield
    except Exception as error:
        text = str(error)[:1000] if isinstance(error, FastLSTMError) else f"cannot be read: {error}"[:1000]
        text = "".join(c if c.isprintable() else "?" for c in text)  # it may repeat something out of the file
        raise ModelFileError(f"{path!r}: {text}") from error


@contextmanager
def named_node(node: Any) -> Iterator[None]:
    """Errors within begin with the node, which must be one."""
    if not all(hasattr(node, field) for field in ("op_type", "input", "attribute")):
        found = type(node).__name__
        raise FastLSTMError(f"onnx.LSTM: got {found}; expected a node, with op_type, input and attribute")
    try:
        yield
    except FastLSTMError as error:
        raise type(error)(f"node {label(node)!r}: {error}") from None


def as_path(path: Any, who: str) -> str:
    """A path as a str; a number, which would be an open file's, and anything else is refused."""
    found = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else "\0"
    if "\0" in found:
        raise FastLSTMError(f"{who}: path is {path!r}; expected a str, bytes or path-like, without null characters")
    return found


def label(node: Any) -> str:
    """A node's name; of one without, its first output's."""
    return str(getattr(node, "name", "") or next(filter(None, getattr(node, "output", ())), ""))


def find_node(path: str, name: str | None) -> tuple[Any, dict[str, Any]]:
    """An LSTM node of a file's graph, and the constants of the graph by their names.

    Parameters
    ----------
    path : str
    name : str, optional
        The node's, or one of its outputs'; may be left out where there is one LSTM alone.
    """
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_BYTES:
        raise ModelFileError(f"is no file of at most {MAX_BYTES} bytes")
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES)
    messages = Messages()
    graph = messages.fields(whole(messages.fields(memoryview(data)).get(7, ())))
    every = [_node(messages, value) for value in graph.get(1, ())]
    nodes = [node for node in every if node.op_type == "LSTM" and node.domain in _DOMAINS]
    named = [node for node in nodes if name is None or name == node.name or name in node.output]
    if len(named) != 1:
        known = ", ".join(repr(label(node)) for node in nodes[:20]) or "none"
        asked = "" if name is None else f" named {name!r}"
        raise ModelFileError(f"its graph has {len(named)} LSTM nodes{asked}; say which one by name=, of these: {known}")
    constants = {tensor.name: tensor for tensor in (_tensor(messages, value) for value in graph.get(5, ()))}
    for node in every:
        if node.op_type == "Constant":
            constants |= {name: part.t for part in node.attribute for name in node.output if part.name == "value"}
        elif node.op_type == "Identity" and node.input[:1] and node.input[0] in constants:
            constants |= dict.fromkeys(node.output, constants[node.input[0]])  # PyTorch keeps equal weights once
    return named[0], constants


def _node(messages: Messages, message: Value) -> Any:
    """A NodeProto; the attributes of nodes that do not matter are left out."""
    get = messages.fields(message).get
    kind = text(get(4, ()))
    attributes = [_attribute(messages, value) for value in get(5, ()) if kind in ("LSTM", "Constant")]
    return SimpleNamespace(
        input=[text([value]) for value in get(1, ())], output=[text([value]) for value in get(2, ())],
        name=text(get(3, ())), op_type=kind, attribute=attributes, domain=text(get(7, ())),
    )  # fmt: skip


def _attribute(messages: Messages, message: Value) -> Any:
    """An AttributeProto."""
    get = messages.fields(message).get
    f = floats(get(2, ()))
    return SimpleNamespace(
        name=text(get(1, ())), f=float(f[-1]) if f.size else 0.0, i=integer(get(3, ())),
        s=text(get(4, ())), t=_tensor(messages, whole(get(5, ()))), floats=floats(get(7, ())).tolist(),
        strings=[text([value]) for value in get(9, ())], type=integer(get(20, ())), ref_attr_name=text(get(21, ())),
    )  # fmt: skip


def _tensor(messages: Messages, message: Value) -> Any:
    """A TensorProto."""
    get = messages.fields(message).get
    return SimpleNamespace(
        dims=integers(get(1, ())), data_type=integer(get(2, ())), float_data=floats(get(4, ())),
        int32_data=integers(get(5, ())), int64_data=integers(get(7, ())), name=text(get(8, ())),
        raw_data=whole(get(9, ())), double_data=floats(get(10, ()), "<f8"), external_data=get(13, ()),
        data_location=integer(get(14, ())),
    )  # fmt: skip


def node_arguments(node: Any, initializers: Mapping[str, Any] | Iterable[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``fastlstm.onnx.LSTM`` is made with for a node, and what the graph has of its calls' arguments."""
    if node.op_type != "LSTM":
        raise FastLSTMError(f"is of type {node.op_type!r}; expected LSTM")
    domain = getattr(node, "domain", "")
    if domain not in _DOMAINS:
        raise FastLSTMError(f"is of domain {domain!r}; expected the LSTM of ONNX itself")
    known = _by_name(initializers)
    names = dict(zip(_INPUTS, node.input, strict=False))
    if len(node.input) > len(_INPUTS) or not names.get("W") or not names.get("R"):
        raise FastLSTMError(f"has {len(node.input)} inputs; expected W and R among {', '.join(_INPUTS)}")
    found: dict[str, Any] = {}
    for slot, name in names.items():
        if name and name in known and slot != "X":
            found[slot] = constant(known[name], f"{slot}, {name!r},")
        elif name and slot in _WEIGHTS:
            raise ModelFileError(f"{slot}, {name!r}, is not among the initializers and constants; fold the graph first")
    arguments = attributes(node) | {slot: found.pop(slot) for slot in _WEIGHTS if slot in found}
    return arguments, found


def _by_name(tensors: Any) -> Mapping[str, Any]:
    """Initializers by their names."""
    if isinstance(tensors, Mapping):
        return tensors
    try:
        listed = list(tensors)
    except TypeError:
        listed = [None]
    if not all(hasattr(tensor, "name") and hasattr(tensor, "data_type") for tensor in listed):
        found = type(tensors).__name__
        raise FastLSTMError(f"initializers is {found}; expected arrays by their names, or TensorProtos")
    return {tensor.name: tensor for tensor in listed}


def attributes(node: Any) -> dict[str, Any]:
    """The attributes of an LSTM node as Python values."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        field, kind = _ATTRIBUTES.get(attribute.name, ("", None))
        if kind is None:
            raise FastLSTMError(f"attribute {attribute.name!r} is none of LSTM's: {', '.join(_ATTRIBUTES)}")
        if attribute.type not in (0, kind) or attribute.ref_attr_name:  # the first files said no type
            raise FastLSTMError(f"attribute {attribute.name!r} is of type {attribute.type}; expected {kind}")
        value = getattr(attribute, field)
        if field in ("floats", "strings"):
            value = [_decoded(part) for part in value]
        found[attribute.name] = _decoded(value)
    found.pop("output_sequence", None)  # of version 1: whether Y is wanted
    return found


def _decoded(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def constant(value: Any, what: str) -> NDArray[Any]:
    """An initializer as an array: a TensorProto, or what NumPy takes for an array."""
    if not hasattr(value, "data_type"):
        return as_array(value, what.removesuffix(","))
    if value.data_location == _EXTERNAL or len(value.external_data):
        raise ModelFileError(f"{what} lies in another file (external data), which is never opened: save it in one file")
    if value.data_type not in _TENSORS:
        raise ModelFileError(f"{what} has data_type {value.data_type}; expected one of {', '.join(map(str, _TENSORS))}")
    dtype, field = _TENSORS[value.data_type]
    shape, data = tuple(value.dims[:_MOST_AXES]), value.raw_data
    if not len(data):
        stored = "<u2" if SIZES[dtype] == 2 else np.dtype(dtype).newbyteorder("<")
        data = np.asarray(getattr(value, field)).astype(stored).tobytes()
    if len(value.dims) > len(shape) or min(shape, default=0) < 0 or math.prod(shape) * SIZES[dtype] != len(data):
        raise ModelFileError(f"{what} has shape {shape} and {len(data)} bytes of {dtype}, which do not go together")
    return numbers(data, dtype).reshape(shape)
