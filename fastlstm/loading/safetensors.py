"""Reading .safetensors: the length of a JSON text, the text with a place for each tensor, then the numbers."""

from __future__ import annotations

import math
import os
from functools import partial
from typing import Any, BinaryIO

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading import jsonrules
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.tensors import SIZES, Stored, numbers

_TYPES = {
    "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16", "BOOL": "bool",
    **{f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_MAX_AXES = 32


def tensors_of(file: BinaryIO) -> dict[str, Stored]:
    """The tensors of an open file, by name, in the order of their numbers.

    Raises
    ------
    ModelFileError
        A text that is no decent JSON, a type that NumPy has none for, sizes that do not make up the place that a
        tensor is given, numbers that overlap, are missing, or belong to no tensor.
    """
    whole = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(jsonrules.MAX_BYTES, whole - 8):
        raise ModelFileError(f"has a header of {length} bytes in {whole}; at most {jsonrules.MAX_BYTES} are read")
    header = jsonrules.parse(file.read(length), "its header")
    if not isinstance(header, dict):
        raise ModelFileError("its header is no object of tensors by name")
    header.pop("__metadata__", None)
    places = {name: _place(name, entry) for name, entry in header.items()}
    start = end = 8 + length
    found = {}
    for name, (dtype, shape, begin, size) in sorted(places.items(), key=lambda item: (item[1][2], item[1][3])):
        if start + begin != end:
            raise ModelFileError(f"tensor {shown(name)} begins at byte {begin} of the numbers; expected {end - start}")
        end += size
        found[name] = Stored(shape, partial(_read, file, start + begin, size, dtype, shape))
    if end != whole:
        raise ModelFileError(f"has {whole} bytes; its header and tensors make up {end}")
    return found


def _place(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, first byte and number of bytes of a tensor."""
    who = f"tensor {shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{who} is described by {shown(entry)}; expected dtype, shape and data_offsets")
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    if not _are_sizes(shape) or len(shape) > _MAX_AXES:
        raise ModelFileError(f"{who} has shape {shown(shape)}; expected a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[1] < offsets[0]:
        raise ModelFileError(f"{who} has data_offsets {shown(offsets)}; expected its first byte and the one behind it")
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise ModelFileError(f"{who} is of type {shown(dtype)}; read are {', '.join(_TYPES)}")
    size = math.prod(shape) * SIZES[_TYPES[dtype]]
    if size != offsets[1] - offsets[0] or (not size and math.prod(n or 1 for n in shape) > 2**31):
        raise ModelFileError(
            f"{who} has {offsets[1] - offsets[0]} bytes; its shape {shown(shape)} of {dtype} needs {size}"
        )
    return _TYPES[dtype], tuple(shape), offsets[0], size


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _read(file: BinaryIO, at: int, size: int, dtype: str, shape: tuple[int, ...]) -> Array:
    file.seek(at)
    array = numbers(file.read(size), dtype).reshape(shape)
    array.flags.writeable = False
    return array
