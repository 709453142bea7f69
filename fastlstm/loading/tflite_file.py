"""Reading a TensorFlow Lite (LiteRT) file that nobody vouches for: its LSTM operators, and constants as float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastlstm.errors import ModelFileError, UnsupportedLayerError
from fastlstm.layers.base import Array
from fastlstm.loading.flatbuffer import Record, Schema, root
from fastlstm.loading.jsonrules import shown

MAX_OPERATORS = 2**14  # in all subgraphs, and kinds of them
MAX_LSTMS = 256
MAX_AXES = 8

ONE_WAY, BOTH_WAYS = "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"

#: What is read of TensorFlow's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
SCHEMA: Schema = {
    "Model": {
        "version": (0, "uint32", 0),
        "operator_codes": (1, "OperatorCode[]", None),
        "subgraphs": (2, "SubGraph[]", None),
        "buffers": (4, "Buffer[]", None),
    },
    "OperatorCode": {"deprecated_code": (0, "int8", 0), "code": (3, "int32", 0)},
    "SubGraph": {"tensors": (0, "Tensor[]", None), "operators": (3, "Operator[]", None)},
    "Buffer": {"data": (0, "uint8[]", None), "offset": (1, "uint64", 0), "size": (2, "uint64", 0)},
    "Tensor": {
        "shape": (0, "int32[]", None),
        "type": (1, "int8", 0),
        "buffer": (2, "uint32", 0),
        "name": (3, "uint8[]", None),
        "quantization": (4, "Quantization", None),
        "sparsity": (6, "Sparsity", None),
        "external_buffer": (10, "uint32", 0),
    },
    "Quantization": {"scale": (2, "float32[]", None), "zero_point": (3, "int64[]", None), "axis": (6, "int32", 0)},
    "Sparsity": {},
    "Operator": {
        "code_index": (0, "uint32", 0),
        "inputs": (1, "int32[]", None),
        "outputs": (2, "int32[]", None),
        "options_type": (3, "uint8", 0),
        ONE_WAY: (4, ONE_WAY, None),  # one field, which holds one of many tables: options_type says which
        BOTH_WAYS: (4, BOTH_WAYS, None),
    },
    ONE_WAY: {
        "activation": (0, "int8", 0),
        "cell_clip": (1, "float32", 0.0),
        "proj_clip": (2, "float32", 0.0),
        "time_major": (3, "bool", False),
        "diagonal_recurrent_tensors": (5, "bool", False),
    },
    BOTH_WAYS: {
        "activation": (0, "int8", 0),
        "cell_clip": (1, "float32", 0.0),
        "proj_clip": (2, "float32", 0.0),
        "merge_outputs": (3, "bool", False),
        "time_major": (4, "bool", True),
    },
}
_DEQUANTIZE = 6
_LSTMS = {44: ONE_WAY, 52: BOTH_WAYS}  # operators by their codes
_OPTIONS_TYPES = {ONE_WAY: 71, BOTH_WAYS: 69}

_TYPES = "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64".split()
_STORED = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1"}


class File:
    """A ``.tflite`` file in memory.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    ModelFileError
        Here and below: the file is damaged, or made to do harm.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model = root(data, b"TFL3", "Model", SCHEMA)
        if self._model["version"] != 3:
            raise ModelFileError(f"has version {self._model['version']} of the schema; expected 3")
        self._buffers = self._model["buffers"]
        self._unread = 4 * len(data)  # numbers: operators that share their weights cannot flood the memory

    def lstms(self) -> Iterator[Operator]:
        """The fused sequence LSTMs of all subgraphs, in the order in which they run."""
        graphs, kinds = self._model["subgraphs"], self._model["operator_codes"]
        _check_count(len(kinds), MAX_OPERATORS, "kinds of operators")
        codes = [max(kind["deprecated_code"], kind["code"]) for kind in kinds]
        operators, found = len(graphs), 0
        for graph in graphs:
            operators += len(graph["operators"])
            _check_count(operators, MAX_OPERATORS, "operators")
            unpacked: dict[int, int] = {}  # what an operator before makes float32 of: its output, its input
            for record in graph["operators"]:
                index = record["code_index"]
                if index >= len(codes):
                    raise ModelFileError(f"an operator has code {index}; the file has {len(codes)}")
                if codes[index] == _DEQUANTIZE:
                    unpacked.update(zip(record["outputs"][:1].tolist(), record["inputs"][:1].tolist(), strict=False))
                elif codes[index] in _LSTMS:
                    found += 1
                    _check_count(found, MAX_LSTMS, "LSTMs")
                    yield Operator(self, _LSTMS[codes[index]], record, graph["tensors"], unpacked)

    def stored(self, tensor: Record, dtype: str, who: str) -> Array:
        """The numbers of a constant, as they are in the file."""
        shape = shape_of(tensor)
        buffer = self._buffers[tensor["buffer"]]
        data: Array = buffer["data"]
        if buffer["offset"] > 1:  # behind the tables, as in files of more than 2 GB
            data = np.frombuffer(self._data, np.uint8)[buffer["offset"] :][: buffer["size"]]
        count = math.prod(shape)
        if min(shape, default=1) < 1 or count * np.dtype(dtype).itemsize != len(data):
            raise ModelFileError(f"{who} has shape {shown(shape)} of {np.dtype(dtype).name}, in {len(data)} bytes")
        self._unread -= count
        if self._unread < 0:
            raise ModelFileError(f"{who} lies where too many other weights do")
        return data.view(dtype).reshape(shape)


class Operator:
    """An LSTM operator: its options, and its inputs by their numbers.

    Attributes
    ----------
    both_ways : bool
        Whether it is of two directions.
    name : str
        Of its first output.
    who : str
        Names it in errors.
    options : Record
    """

    def __init__(self, file: File, kind: str, record: Record, tensors: Any, unpacked: dict[int, int]) -> None:
        self.both_ways = kind == BOTH_WAYS
        self._file, self._tensors, self._unpacked = file, tensors, unpacked
        self._inputs, outputs = record["inputs"], record["outputs"]
        self.name = tensors[int(outputs[0])].text("name") if len(outputs) else ""
        self.who = f"{kind} {shown(self.name)}"
        self.options: Record = record[kind]
        if record["options_type"] != _OPTIONS_TYPES[kind] or self.options is None:
            raise ModelFileError(f"{self.who} has no options of its own kind")

    def has(self, index: int) -> bool:
        """Whether it has this input; optional ones are -1, or not in the list."""
        return index < len(self._inputs) and int(self._inputs[index]) != -1

    def sizes(self, index: int) -> tuple[int, int]:
        """Of a matrix."""
        shape = shape_of(self._tensors[self._at(index)])
        if len(shape) != 2:
            raise ModelFileError(f"{self.who}: input {index} has shape {shown(shape)}; expected a matrix")
        return shape[0], shape[1]

    def type_of(self, index: int) -> str:
        return _type(self._tensors[self._at(index)])

    def constant(self, index: int, shape: tuple[int, ...]) -> Array:
        """An input of this shape that is in the file, in float32.

        Bytes are taken times their scales: one for all, or one for each place along an axis.
        """
        at, who = self._at(index), f"{self.who}: input {index}"
        if shape_of(self._tensors[at]) != shape:
            raise ModelFileError(f"{who} has shape {shown(shape_of(self._tensors[at]))}; expected {shape}")
        through = at in self._unpacked
        tensor = self._tensors[self._unpacked.get(at, at)]
        kind = _type(tensor)
        sparse, elsewhere = tensor["sparsity"] is not None, tensor["external_buffer"]
        if sparse or elsewhere or kind not in _STORED:
            found = "sparse" if sparse else "in another file" if elsewhere else kind
            raise UnsupportedLayerError(
                f"{who} is {found}; expected dense weights in float32, float16 or int8 in the file itself"
            )
        # Weights that old converters wrote as uint8 are signed bytes; only outside of LSTMs are they not.
        numbers = self._file.stored(tensor, "i1" if kind == "uint8" and not through else _STORED[kind], who)
        if numbers.shape != shape:
            raise ModelFileError(f"{who} is unpacked from shape {numbers.shape}; expected {shape}")
        if kind in ("float32", "float16"):
            return numbers.astype(np.float32)
        return _scaled(numbers, tensor["quantization"], through, who)

    def _at(self, index: int) -> int:
        if not self.has(index):
            raise ModelFileError(f"{self.who} has no input {index}")
        return int(self._inputs[index])


def shape_of(tensor: Record) -> tuple[int, ...]:
    shape: Array = tensor["shape"]
    _check_count(len(shape), MAX_AXES, "axes in a tensor")
    return tuple(shape.tolist())


def _check_count(count: int, most: int, what: str) -> None:
    if count > most:
        raise ModelFileError(f"has more than {most} {what}")


def _type(tensor: Record) -> str:
    number = tensor["type"]
    return _TYPES[number] if 0 <= number < len(_TYPES) else f"type {number}"


def _scaled(numbers: Array, quantization: Record | None, shifted: bool, who: str) -> Array:
    """Bytes times their scales; only where they are ``shifted`` may a zero be another number than 0."""
    scale, zeros = (quantization[key] if quantization else np.zeros(0) for key in ("scale", "zero_point"))
    axis = quantization["axis"] if quantization and len(scale) > 1 else 0
    if not 0 <= axis < numbers.ndim or len(scale) not in (1, numbers.shape[axis]) or len(zeros) > len(scale):
        raise ModelFileError(f"{who} has {len(scale)} scales and {len(zeros)} zeros; expected one, or one a row")
    if not shifted and np.any(zeros):
        raise UnsupportedLayerError(f"{who} is quantized around another number than 0, which no LSTM computes with")
    along = [1] * numbers.ndim
    along[axis] = -1
    with np.errstate(over="ignore", invalid="ignore"):
        if len(zeros):
            numbers = numbers - zeros.reshape(along if len(zeros) > 1 else (1,) * numbers.ndim)
        return np.asarray(numbers.astype(np.float32) * scale.astype(np.float32).reshape(along))
