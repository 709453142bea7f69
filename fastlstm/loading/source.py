"""A file's bytes at any place, read when they are asked for: it costs what is read, not what it is large."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array


class Source:
    """A binary file, open or in memory.

    Parameters
    ----------
    file : bytes or binary file
        A file must be able to seek, and stay open.

    Attributes
    ----------
    size : int
        In bytes.
    """

    def __init__(self, file: bytes | BinaryIO) -> None:
        self._file = io.BytesIO(file) if isinstance(file, bytes) else file
        self.size = self._file.seek(0, os.SEEK_END)

    def read(self, at: int, size: int) -> bytes:
        """So many bytes from a place on, all of which must be in the file."""
        self._find(at, size)
        data = self._file.read(size)
        if len(data) != size:
            raise ModelFileError("HDF5: the file changed while it was read")
        return data

    def array(self, at: int, count: int, dtype: np.dtype[np.generic]) -> Array:
        """So many numbers from a place on, all of which must be in the file."""
        self._find(at, count * dtype.itemsize)
        numbers = np.empty(count, dtype)
        if self._file.readinto(numbers.view(np.uint8)) != numbers.nbytes:  # type: ignore[attr-defined]
            raise ModelFileError("HDF5: the file changed while it was read")
        return numbers

    def _find(self, at: int, size: int) -> None:
        if not 0 <= at <= at + size <= self.size:
            raise ModelFileError("HDF5: the file is cut short, or refers to what is not in it")
        self._file.seek(at)
