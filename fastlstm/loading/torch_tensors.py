"""Tensors as the pickles of PyTorch describe them: checked against the storages that they lie in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import shown

_MAX_AXES = 32
_MAX_COUNT = 2**48
_MAX_EMPTY = 2**31  # the product of the other sizes of a tensor without numbers, which NumPy works out

_TYPES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A name in a module, of those below; it stands for itself."""

    module: str
    name: str


STORAGES = {("torch", f"{name}Storage"): dtype for name, dtype in _TYPES.items()}
DICT = ("collections", "OrderedDict")
TENSOR_1, TENSOR_2 = ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2")
PARAMETER = ("torch._utils", "_rebuild_parameter")
KNOWN = {DICT, TENSOR_1, TENSOR_2, PARAMETER, *STORAGES}


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Numbers in a row that tensors share.

    Attributes
    ----------
    key : str
        Its name in the file.
    dtype : str
    count : int
    """

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A part of a storage that has been checked to lie in it; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    """A tensor of these sizes, checked to lie in its storage and to have no more numbers than that has."""
    storage, start = as_kind(storage, Storage), as_size(offset, "a tensor's offset")
    sizes = tuple(as_size(n, "a tensor's size") for n in as_kind(shape, tuple))
    steps = tuple(as_size(n, "a tensor's stride") for n in as_kind(strides, tuple))
    if len(sizes) != len(steps) or len(sizes) > _MAX_AXES:
        raise ModelFileError(f"its pickle holds a tensor of {len(sizes)} sizes and {len(steps)} strides")
    if math.prod(sizes) > storage.count or (0 in sizes and math.prod(max(n, 1) for n in sizes) > _MAX_EMPTY):
        raise ModelFileError(f"its pickle holds a tensor of shape {shown(sizes)} in {storage.count} numbers")
    last = start + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    if 0 not in sizes and last >= storage.count:
        raise ModelFileError(
            f"its pickle holds a tensor of shape {shown(sizes)}, strides {shown(steps)} and offset {start}, "
            f"which reaches beyond the {storage.count} numbers of its storage"
        )
    # A stride that nothing is counted by may be anything; NumPy multiplies it all the same.
    used = tuple(step if n > 1 else 1 for n, step in zip(sizes, steps, strict=True))
    return Tensor(storage, 0 if 0 in sizes else start, sizes, (1,) * len(sizes) if 0 in sizes else used)


def as_kind(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ModelFileError(f"its pickle has {type(value).__name__} where {kind.__name__} was expected")
    return value


def as_size(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:
        found = value if type(value) is int else type(value).__name__
        raise ModelFileError(f"its pickle has {found} for {what}; expected an integer from 0 to 2**48")
    return value
