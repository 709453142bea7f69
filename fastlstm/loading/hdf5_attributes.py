"""Attributes of HDF5 objects that are strings, from the bytes of their header messages."""

from __future__ import annotations

import struct
from math import prod

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import MAX_BYTES, shown
from fastlstm.loading.source import Source

_V1, _V3 = struct.Struct("<BxHHH"), struct.Struct("<BBHHHx")  # versions of the attribute message
_COLLECTION = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<H6xQ")
_POINTER = struct.Struct("<IQI")
_FLOAT, _STRING, _VARIABLE = 1, 3, 9  # classes of datatypes
_NULL = 2  # a dataspace of no elements
_OVERHEAD = 128  # what an object takes in memory, beside its bytes


class GlobalHeap:
    """Where a file keeps strings of no fixed length: collections of numbered objects.

    The text in a file's attributes, there or elsewhere, is bounded in all: one configuration of the largest
    size, and names.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 4 * MAX_BYTES
        self._collections: dict[int, dict[int, tuple[int, int]]] = {}

    def string(self, address: int, number: int, size: int, who: str) -> bytes:
        """So many bytes of an object in the collection at an address."""
        if size == 0:
            return b""
        if address not in self._collections:
            self._collections[address] = self._objects(address, who)
        start, stored = self._collections[address].get(number, (0, 0))
        if size > stored:
            raise ModelFileError(f"HDF5: {who}: its text is not in the file")
        self.spend(size, who)
        return self._source.read(start, size)

    def _objects(self, address: int, who: str) -> dict[int, tuple[int, int]]:
        """Place and size of every object in a collection."""
        signature, version, size = _COLLECTION.unpack(self._source.read(address, _COLLECTION.size))
        if signature != b"GCOL" or version != 1:
            raise ModelFileError(f"HDF5: {who}: its text is not in the file")
        self.spend(size, who)
        data = self._source.read(address, size)
        found, at = {}, _COLLECTION.size
        while at + _OBJECT.size <= size:
            number, length = _OBJECT.unpack_from(data, at)
            at += _OBJECT.size
            if number == 0:  # what is free, at the end
                break
            if length > size - at:
                raise ModelFileError(f"HDF5: {who}: its text is not in the file")
            self.spend(_OVERHEAD, who)
            found[number] = address + at, length
            at += -(-length // 8) * 8
        return found

    def spend(self, size: int, who: str) -> None:
        """Count so many bytes more; raise ModelFileError when they are too many."""
        self._left -= size
        if self._left < 0:
            raise ModelFileError(f"HDF5: {who}: the file has more text than any model's")


def attribute_name(message: bytes) -> bytes:
    """The name that an attribute message gives."""
    newer = message[0] == 3
    start, size = (_V3.size, _V3.unpack_from(message)[2]) if newer else (_V1.size, _V1.unpack_from(message)[1])
    return message[start : start + size].rstrip(b"\0")


def strings_of(message: bytes, heap: GlobalHeap, who: str) -> list[str]:
    """The strings that an attribute message holds, as UTF-8.

    Parameters
    ----------
    message : bytes
        Of version 1 or 3: name, datatype, dataspace and data, one after the other. Strings have a fixed
        length or lie in the heap; numbers are taken for strings only where there are none, since
        h5py writes an empty list as float64.
    heap : GlobalHeap
    who : str
        Named in errors.
    """
    version = message[0]
    if version == 1:
        _, name_size, type_size, space_size = _V1.unpack_from(message)
        start, aligned = _V1.size, 8
    elif version == 3 and message[1] == 0:  # no part of it elsewhere in the file
        _, _, name_size, type_size, space_size = _V3.unpack_from(message)
        start, aligned = _V3.size, 1
    else:
        raise ModelFileError(f"HDF5: {who} is in a form that Keras does not write")
    kind_at = start + -(-name_size // aligned) * aligned
    space_at = kind_at + -(-type_size // aligned) * aligned
    data = message[space_at + -(-space_size // aligned) * aligned :]
    shape = _shape(message, space_at, who)
    kind, padding, width = struct.unpack_from("<2B2xI", message, kind_at)
    kind, padding, count = kind & 15, padding & 15, prod(shape)
    variable = kind == _VARIABLE and padding == 1
    if not (variable or kind == _STRING or count == 0):
        raise ModelFileError(f"HDF5: {who} is not text")
    if count == 0:
        return []
    width = _POINTER.size if variable else width
    if width < 1 or count * width > len(data):
        raise ModelFileError(f"HDF5: {who} is cut short")
    heap.spend(count * (width + _OVERHEAD), who)
    items = [data[i * width : (i + 1) * width] for i in range(count)]
    texts = [_pointed(item, heap, who) if variable else _unpadded(item, padding) for item in items]
    try:
        return [text.decode() for text in texts]
    except UnicodeDecodeError:
        raise ModelFileError(f"HDF5: {who} is not UTF-8 text: {shown(texts[0])}") from None


def _pointed(item: bytes, heap: GlobalHeap, who: str) -> bytes:
    size, address, number = _POINTER.unpack(item)
    return heap.string(address, number, size, who)


def _unpadded(item: bytes, padding: int) -> bytes:
    """A string without what fills it up: ended by a null, filled with nulls, or with spaces."""
    return item.split(b"\0")[0] if padding == 0 else item.rstrip(b"\0" if padding == 1 else b" ")


def _shape(message: bytes, at: int, who: str) -> tuple[int, ...]:
    """Of a dataspace message; a dataspace of no elements has the shape (0,)."""
    version, rank, _, kind = struct.unpack_from("<4B", message, at)
    if version not in (1, 2) or rank > 1:
        raise ModelFileError(f"HDF5: {who} is no list of strings")
    if version == 2 and kind == _NULL:
        return (0,)
    return struct.unpack_from(f"<{rank}Q", message, at + (8 if version == 1 else 4))
