"""Reading HDF5 that nobody vouches for: groups, attributes that are strings, arrays of floats.

Only what h5py writes for Keras is accepted: version 0 of the format, groups of hard links, strings in
attributes, and contiguous arrays of IEEE floats inside the file. pyfive walks the headers and this module
checks all that it finds; attributes and numbers are taken from the file's bytes directly, since pyfive 1.3
allocates whatever a shape claims, fills what is missing with zeros and misplaces some large arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from pyfive.btree import BTreeV1Groups
from pyfive.dataobjects import DataObjects, determine_data_shape
from pyfive.misc_low_level import Heap, SuperBlock, SymbolTable

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading.hdf5_attributes import GlobalHeap, attribute_name, strings_of
from fastlstm.loading.jsonrules import shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_LAYERS = 1000
MAX_MESSAGES = 4096  # in the header of one object
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
_SOFT = 2  # kind of a symbol that is a path instead of an address

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


class _Metered:
    """The file as pyfive sees it: bytes in memory, of which only so many may be read, so often."""

    def __init__(self, data: bytes, n_layers: int) -> None:
        self._data = data
        self._at = 0
        self._reads, self._bytes = 8192 + 256 * n_layers, 2**20 + 2**14 * n_layers
        self.begin(0, 0)

    def begin(self, reads: int, size: int) -> None:
        """Start on a new object, whose header has limits of its own."""
        self._object_reads, self._object_bytes = reads, size

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size] if size > 0 else b""
        self._at += len(data)
        self._reads -= 1
        self._object_reads -= 1
        self._bytes -= len(data)
        self._object_bytes -= len(data)
        if min(self._reads, self._object_reads, self._bytes, self._object_bytes) < 0:
            raise ModelFileError("HDF5: its headers are larger than any model's, or run in a circle")
        return data


class File:
    """An HDF5 file in memory.

    Parameters
    ----------
    data : bytes
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

    def __init__(self, data: bytes, n_layers: int = MAX_LAYERS) -> None:
        self.data = data
        self.heap = GlobalHeap(data)
        self._handle = _Metered(data, n_layers)
        if data[: len(SIGNATURE)] != SIGNATURE:
            raise ModelFileError("HDF5: it does not begin as an HDF5 file does")
        with _damage("the superblock"):
            self._handle.begin(4, 2**10)
            block = SuperBlock(self._handle, 0)
            if block.version != 0 or data[24:32] != bytes(8):  # the address that others count from
                raise ModelFileError("HDF5: its version of the format is not the one that Keras writes")
            address = block.offset_to_dataobjects
        self.root = Group(self, address, "")

    def header(self, address: int, path: str) -> DataObjects:
        """An object's header, of which every message is of a kind that Keras's files have."""
        with _damage(path):
            version, _, count = struct.unpack_from("<2BH", self.data, address)
            if version != 1 or count > MAX_MESSAGES:
                raise ModelFileError(f"HDF5: {path} has a header that Keras does not write")
            self._handle.begin(256, 2**20)
            found = DataObjects(self._handle, address)
            for message in found.msgs:
                kind = message["type"]
                if kind not in _ALLOWED:
                    what = _REFUSED.get(kind, f"a message of type {kind:#04x}")
                    raise ModelFileError(f"HDF5: {path} has {what}, which Keras does not write")
                if message["flags"] & _SHARED:
                    raise ModelFileError(f"HDF5: {path} shares a header message, which Keras does not write")
            return found

    def links(self, tree: int, names: int, path: str) -> dict[str, int]:
        """The addresses of a group's members by name, from its B-tree and its heap of names."""
        found: dict[str, int] = {}
        with _damage(path):
            self._handle.begin(MAX_MESSAGES, 2**18)
            heap = Heap(self._handle, names)
            for address in BTreeV1Groups(self._handle, tree).symbol_table_addresses():
                table = SymbolTable(self._handle, address)
                table.assign_name(heap)
                for entry in table.entries:
                    if entry["cache_type"] == _SOFT:
                        name = shown(entry["link_name"])
                        raise ModelFileError(f"HDF5: {path} has the soft link {name}, which Keras does not write")
                    found[entry["link_name"]] = entry["object_header_address"]
        return found


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
        tables = found.find_msg_type(_LINKS)
        if len(tables) != 1:
            raise ModelFileError(f"HDF5: {self.path} is not a group")
        with _damage(self.path):
            self._tree, self._heap = struct.unpack_from("<2Q", found.msg_data, tables[0]["offset_to_message"])
            places = [(m["offset_to_message"], m["size"]) for m in found.find_msg_type(_ATTRIBUTE)]
            self._attributes = [found.msg_data[at : at + size] for at, size in places]
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
            for message in self._attributes:
                if attribute_name(message) == name.encode():
                    return strings_of(message, self._file.heap, f"{self.path}: attribute {name}")
        return None

    def _members(self) -> dict[str, int]:
        if self._links is None:
            self._links = self._file.links(self._tree, self._heap, self.path)
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
            raise ModelFileError(f"HDF5: {who} is not of type float16, float32 or float64")
        count = prod(shape)
        if size != count * stored.itemsize or address + size > len(self._file.data):
            raise ModelFileError(f"HDF5: {who} is cut short: its {count} numbers are not all in the file")
        numbers = np.frombuffer(self._file.data, stored, count, address).reshape(shape)
        with np.errstate(over="ignore"):  # beyond float32 is inf, as in Keras
            return np.array(numbers, dtype=dtype, order="C")

    def _described(self, who: str) -> tuple[tuple[int, ...], np.dtype[Any] | None, int, int]:
        """Shape, type if it is a float's, address and number of bytes."""
        found = self._file.header(self._address, who)
        messages = {kind: found.find_msg_type(kind) for kind in (_SPACE, _TYPE, _LAYOUT, _LINKS)}
        if [len(messages[kind]) for kind in messages] != [1, 1, 1, 0]:
            raise ModelFileError(f"HDF5: {who} is not an array")
        at = {kind: message[0]["offset_to_message"] for kind, message in messages.items() if message}
        with _damage(who):
            shape, _ = determine_data_shape(found.msg_data, at[_SPACE])
            version, layout, address, size = struct.unpack_from("<2B2Q", found.msg_data, at[_LAYOUT])
        if shape is None:
            raise ModelFileError(f"HDF5: {who} holds no numbers")
        if version not in (3, 4) or layout != 1:
            raise ModelFileError(f"HDF5: {who} is not stored in one piece in this file, as Keras does")
        stored = _FLOATS.get(found.msg_data[at[_TYPE] : at[_TYPE] + 20])
        return shape, stored, address, size


@contextmanager
def _damage(who: str) -> Iterator[None]:
    """Whatever pyfive asserts or cannot unpack is damage; under -O its assertions surface elsewhere."""
    try:
        yield
    except ModelFileError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise ModelFileError(f"HDF5: the file is damaged or cut short at {who} ({kind})") from error
