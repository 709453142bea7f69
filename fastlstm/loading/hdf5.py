"""Reading HDF5 that nobody vouches for: groups, attributes that are strings, arrays of numbers.

Only what h5py writes for Keras is accepted: version 0 of the format, groups of hard links, strings in
attributes, and contiguous arrays of numbers inside the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, BinaryIO

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading.hdf5_attributes import GlobalHeap, attribute_name, strings_of
from fastlstm.loading.hdf5_headers import Skeleton
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.source import Source

MAX_LAYERS = 1000
MAX_PARTS = 64  # that a list of strings too long for one attribute is split into

# Types of header messages (HDF5 file format, IV.A.2).
_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _LINKS = 0x01, 0x03, 0x08, 0x0C, 0x11
_HARMLESS = {0x00, 0x04, 0x05, 0x0D, 0x0E, 0x10, 0x12, 0x16}  # padding, fill values, comments, times, counts
_ALLOWED = _HARMLESS | {_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _LINKS}
_REFUSED = {
    0x02: "a group in the newer HDF5 format",
    0x06: "a group in the newer HDF5 format",
    0x07: "numbers in another file",
    0x0B: "compressed or filtered numbers",
}
_SHARED = 0x02  # message flag: the message is elsewhere in the file
_NULL = 2  # a dataspace of no elements

#: The exact datatype messages of IEEE floats: sign, exponent and mantissa at their standard places.
_FLOATS = {
    struct.pack(
        "<4BI2H4BI", 0x11, 0x20 | big, sign, 0, size, 0, 8 * size, mantissa, exponent, 0, mantissa, bias
    ): np.dtype(f"{'<>'[big]}f{size}")
    for size, sign, exponent, mantissa, bias in (
        (2, 15, 5, 10, 15), (4, 31, 8, 23, 127), (8, 63, 11, 52, 1023)
    )
    for big in (0, 1)
}  # fmt: skip
#: Those of whole numbers, which Keras counts with.
_INTEGERS = {
    struct.pack("<4BI2H", 0x10, 8 * signed | big, 0, 0, size, 0, 8 * size): np.dtype(f"{'<>'[big]}{'ui'[signed]}{size}")
    for size in (4, 8)
    for signed in (0, 1)
    for big in (0, 1)
}


class File:
    """An HDF5 file, open or in memory.

    Parameters
    ----------
    data : bytes or binary file
        A file must stay open as long as arrays are read.
    n_layers : int
        The headers may be as large as a model of so many layers needs.

    Attributes
    ----------
    root : Group

    Raises
    ------
    ModelFileError
        Everything here and below raises this alone: the file is damaged, made to do harm, or holds
        what no Keras writes where it is asked for. The message names the object by its path.
    """

    def __init__(self, data: bytes | BinaryIO, n_layers: int = MAX_LAYERS) -> None:
        self.source = Source(data)
        self.heap = GlobalHeap(self.source)
        self.skeleton = Skeleton(self.source, n_layers)
        self._unread = self.source.size
        with _damage("the superblock"):
            address = self.skeleton.root()
        self.root = Group(self, address, "")

    def header(self, address: int, path: str) -> dict[int, list[bytes]]:
        """The messages of an object by type; each is of a type that Keras's files have."""
        found: dict[int, list[bytes]] = {}
        with _damage(path):
            for message in self.skeleton.messages(address, path):
                if message.type not in _ALLOWED:
                    what = _REFUSED.get(message.type, f"a message of type {message.type:#04x}")
                    raise ModelFileError(f"HDF5: {path} has {what}, which Keras does not write")
                if message.flags & _SHARED:
                    raise ModelFileError(f"HDF5: {path} shares a header message, which Keras does not write")
                found.setdefault(message.type, []).append(message.data)
        return found

    def numbers(self, address: int, count: int, dtype: np.dtype[Any], who: str) -> Array:
        """The numbers at an address; all that are read come to no more bytes than the file has."""
        self._unread -= count * dtype.itemsize
        if self._unread < 0:
            raise ModelFileError(f"HDF5: {who} lies where other numbers do, which Keras does not write")
        with _damage(who):
            return self.source.array(address, count, dtype)


class Group:
    """A group in a file; made by :class:`File` and by its own methods.

    Attributes
    ----------
    path : str
        From the root, without a slash in front; names the group in errors.
    """

    def __init__(self, file: File, address: int, path: str) -> None:
        self.path = path or "the root"
        self._file, self._prefix = file, f"{path}/" if path else ""
        found = file.header(address, self.path)
        tables = found.get(_LINKS, [])
        if len(tables) != 1:
            raise ModelFileError(f"HDF5: {self.path} is not a group")
        with _damage(self.path):
            self._tree, self._heap = struct.unpack_from("<2Q", tables[0])
        self._attributes = found.get(_ATTRIBUTE, [])
        self._named: dict[bytes, bytes] | None = None
        self._links: dict[str, int] | None = None

    @property
    def names(self) -> list[str]:
        """Of the members."""
        return list(self._members())

    def __contains__(self, name: str) -> bool:
        return name in self._members()

    def group(self, name: str) -> Group:
        """The member of that name, which must be a group."""
        return Group(self._file, self._address(name), self._prefix + name)

    def dataset(self, name: str) -> Dataset:
        """The member of that name; whether it is an array is found when it is read."""
        return Dataset(self._file, self._address(name), self._prefix + name)

    def strings(self, name: str) -> list[str] | None:
        """The strings in an attribute, or in ``name0``, ``name1``, ... that Keras splits a long list into.

        A single string is a list of one; None if there is no such attribute.
        """
        found = self._strings(name)
        if found is None:
            for part in range(MAX_PARTS):
                more = self._strings(f"{name}{part}")
                if more is None:
                    break
                found = (found or []) + more
        return found

    def string(self, name: str) -> str | None:
        """The one string in an attribute; None if there is no such attribute."""
        found = self._strings(name)
        if found is not None and len(found) != 1:
            raise ModelFileError(f"HDF5: {self.path}: attribute {name} is {len(found)} strings; expected one")
        return None if found is None else found[0]

    def _strings(self, name: str) -> list[str] | None:
        with _damage(f"{self.path}: attribute {name}"):
            if self._named is None:
                self._named = {attribute_name(message): message for message in self._attributes}
                if len(self._named) < len(self._attributes):
                    raise ModelFileError(f"HDF5: {self.path} has two attributes of one name")
            message = self._named.get(name.encode())
            return None if message is None else strings_of(message, self._file.heap, f"{self.path}: attribute {name}")

    def _members(self) -> dict[str, int]:
        if self._links is None:
            with _damage(self.path):
                self._links = self._file.skeleton.links(self._tree, self._heap, self.path)
        return self._links

    def _address(self, name: str) -> int:
        address = self._members().get(name)
        if address is None:
            raise ModelFileError(f"HDF5: {self._prefix}{shown(name)[1:-1]} is missing")
        return address


class Dataset:
    """An array in a file, of which nothing has been read yet."""

    def __init__(self, file: File, address: int, path: str) -> None:
        self.path = path
        self._file, self._address = file, address

    @property
    def shape(self) -> tuple[int, ...]:
        """Read from its header; the numbers are not touched."""
        return self._described(self.path)[0]

    def array(self, shape: tuple[int, ...], dtype: str, who: str = "") -> Array:
        """Its numbers in another dtype; ``shape`` must be its own. ``who`` names it in errors."""
        who = who or self.path
        found, stored, address, size = self._described(who)
        if found != shape:
            raise ModelFileError(f"HDF5: {who} has shape {shown(found)}; expected {shape}")
        if stored is None:
            raise ModelFileError(f"HDF5: {who} is not of type float16, float32, float64 or an integer of 32 or 64 bits")
        count = prod(shape)
        if size != count * stored.itemsize or address + size > self._file.source.size:
            raise ModelFileError(f"HDF5: {who} is cut short: its {count} numbers are not all in the file")
        numbers = self._file.numbers(address, count, stored, who).reshape(shape)
        with np.errstate(over="ignore"):  # beyond float32 is inf, as in Keras
            return numbers.astype(dtype, order="C", copy=False)

    def _described(self, who: str) -> tuple[tuple[int, ...], np.dtype[Any] | None, int, int]:
        """Shape, type if it is a float's, address and number of bytes."""
        found = self._file.header(self._address, who)
        messages = [found.get(kind, []) for kind in (_SPACE, _TYPE, _LAYOUT, _LINKS)]
        if [len(some) for some in messages] != [1, 1, 1, 0]:
            raise ModelFileError(f"HDF5: {who} is not an array")
        (space,), (kind,), (layout,), _ = messages
        with _damage(who):
            shape = _shape(space)
            version, where, address, size = struct.unpack_from("<2B2Q", layout)
        if shape is None:
            raise ModelFileError(f"HDF5: {who} holds no numbers")
        if version not in (3, 4) or where != 1:
            raise ModelFileError(f"HDF5: {who} is not stored in one piece in this file, as Keras does")
        return shape, _FLOATS.get(kind[:20]) or _INTEGERS.get(kind[:12]), address, size


def _shape(space: bytes) -> tuple[int, ...] | None:
    """The sizes in a dataspace message; None for one of no elements."""
    version, rank, _, kind = struct.unpack_from("<4B", space)
    if version not in (1, 2) or (version == 2 and kind == _NULL):
        return None
    return struct.unpack_from(f"<{rank}Q", space, 8 if version == 1 else 4)


@contextmanager
def _damage(who: str) -> Iterator[None]:
    """Whatever cannot be unpacked is damage."""
    try:
        yield
    except ModelFileError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise ModelFileError(f"HDF5: the file is damaged or cut short at {who} ({kind})") from error
