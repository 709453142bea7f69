"""What a file of named tensors is to its readers: each tensor described, and read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array

#: Of the types that files of tensors have, those that NumPy has too, and bfloat16.
SIZES = {
    **{f"float{bits}": bits // 8 for bits in (16, 32, 64)},
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bfloat16": 2,
    "bool": 1,
}


class Stored(NamedTuple):
    """A tensor in an open file.

    Attributes
    ----------
    shape : tuple of int
    read : callable
        Gives the array, read-only; bfloat16 as float32.
    """

    shape: tuple[int, ...]
    read: Callable[[], Array]


def numbers(data: bytes, dtype: str, order: Literal["<", ">"] = "<") -> Array:
    """Bytes as a row of numbers of one of the types of ``SIZES``, of which there must be whole ones.

    Parameters
    ----------
    data : bytes
    dtype : str
    order : {"<", ">"}
        That of the bytes in a number.
    """
    if dtype == "bfloat16":  # the upper half of a float32
        halves = np.frombuffer(data, np.dtype("u2").newbyteorder(order))
        wide = halves.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if dtype == "bool" and data.strip(b"\0\1"):  # which NumPy would take as they are
        raise ModelFileError("holds booleans that are neither 0 nor 1")
    found = np.frombuffer(data, np.dtype(dtype).newbyteorder(order))
    return found.astype(found.dtype.newbyteorder("="), copy=False)
