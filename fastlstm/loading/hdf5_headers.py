"""The skeleton of an HDF5 file from its bytes: superblock, object headers, the tables of groups.

As the HDF5 file format specification has them, in the versions that h5py writes for Keras: superblock 0,
object headers 1, groups as B-trees 1 of symbol tables. Every read is inside the file and is counted, so that
a file whose parts refer to each other in a circle, or to the same part many times, comes to an end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.source import Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_MESSAGES = 4096  # in the header of one object
MAX_MEMBERS = 4096  # of a group
MAX_NAME = 4096  # bytes in the name of a member
MAX_DEPTH = 16  # of a group's B-tree

_SUPERBLOCK = struct.Struct("<8s4B4B2HI4Q2Q2I16s")
_HEADER = struct.Struct("<BxHIIxxxx")
_MESSAGE = struct.Struct("<HHB3x")
_CONTINUATION = struct.Struct("<2Q")
_TREE = struct.Struct("<4sBBH2Q")
_CHILD = struct.Struct("<2Q")
_TABLE = struct.Struct("<4sBxH")
_SYMBOL = struct.Struct("<2QII16s")
_HEAP = struct.Struct("<4sB3x3Q")
_CONTINUES = 0x10  # type of a message that says where the header goes on
_SOFT = 2  # kind of a symbol that is a path instead of an address


class Message(NamedTuple):
    """One message of an object's header: its type, its flags and its bytes."""

    type: int
    flags: int
    data: bytes


class Skeleton:
    """Headers and tables of a file, of which only so many bytes may be read in all.

    Parameters
    ----------
    source : Source
        The file.
    n_layers : int
        The headers may be as large as a model of so many layers needs.
    """

    def __init__(self, source: Source, n_layers: int) -> None:
        self._source = source
        self._left = 2**22 + 3 * 2**12 * n_layers

    def root(self) -> int:
        """The address of the root group's header."""
        fields = self._unpack(_SUPERBLOCK, 0)
        versions, sizes, base, end, address = fields[1:4], fields[6:8], fields[12], fields[14], fields[17]
        if fields[0] != SIGNATURE:
            raise ModelFileError("HDF5: it does not begin as an HDF5 file does")
        if versions != (0, 0, 0) or sizes != (8, 8) or base != 0:  # the address that others count from
            raise ModelFileError("HDF5: its version of the format is not the one that Keras writes")
        if end > self._source.size:
            raise ModelFileError(f"HDF5: the file is cut short: it has {self._source.size} bytes of {end}")
        return int(address)

    def messages(self, address: int, path: str) -> list[Message]:
        """The messages in an object's header, wherever it goes on."""
        version, count, _, size = self._unpack(_HEADER, address)
        if version != 1 or count > MAX_MESSAGES:
            raise ModelFileError(f"HDF5: {path} has a header that Keras does not write")
        blocks = [(address + _HEADER.size, size)]
        found: list[Message] = []
        while blocks and len(found) < count:
            at, size = blocks.pop(0)
            end = at + size
            while at + _MESSAGE.size <= end and len(found) < count:
                kind, length, flags = self._unpack(_MESSAGE, at)
                at += _MESSAGE.size
                message = Message(kind, flags, self._bytes(at, length))
                at += length
                found.append(message)
                if kind == _CONTINUES:
                    blocks.append(_CONTINUATION.unpack_from(message.data))
        if len(found) != count:
            raise ModelFileError(f"HDF5: {path} has {len(found)} header messages; it says {count}")
        return found

    def links(self, tree: int, names: int, path: str) -> dict[str, int]:
        """The addresses of a group's members by name, from its B-tree and its heap of names."""
        signature, version, size, _, start = self._unpack(_HEAP, names)
        if signature != b"HEAP" or version != 0:
            raise ModelFileError(f"HDF5: {path} has no heap of names where it says")
        heap = self._bytes(start, size)
        found: dict[str, int] = {}
        for table in self._tables(tree, path):
            signature, version, count = self._unpack(_TABLE, table)
            if signature != b"SNOD" or version != 1:
                raise ModelFileError(f"HDF5: {path} has no symbols where it says")
            symbols = self._bytes(table + _TABLE.size, count * _SYMBOL.size)
            for name_at, address, kind, _, _ in _SYMBOL.iter_unpack(symbols):
                end = heap.find(b"\0", name_at, name_at + MAX_NAME)
                if not 0 <= name_at <= end:
                    raise ModelFileError(f"HDF5: {path} has a member without a name, or with one that is too long")
                name = heap[name_at:end].decode()
                if kind == _SOFT:
                    raise ModelFileError(f"HDF5: {path} has the soft link {shown(name)}, which Keras does not write")
                if name in found or len(found) == MAX_MEMBERS:
                    why = "two members of one name" if name in found else f"more than {MAX_MEMBERS} members"
                    raise ModelFileError(f"HDF5: {path} has {why}")
                found[name] = address
        return found

    def _tables(self, address: int, path: str, depth: int = 0) -> Iterator[int]:
        """The symbol tables at the leaves of a B-tree, in order."""
        signature, kind, level, count, _, _ = self._unpack(_TREE, address)
        if signature != b"TREE" or kind != 0 or depth > MAX_DEPTH:
            raise ModelFileError(f"HDF5: {path} has no table of members where it says")
        for _, child in _CHILD.iter_unpack(self._bytes(address + _TREE.size, count * _CHILD.size)):
            if level == 0:
                yield child
            else:
                yield from self._tables(child, path, depth + 1)

    def _unpack(self, form: struct.Struct, at: int) -> tuple[Any, ...]:
        return form.unpack(self._bytes(at, form.size))

    def _bytes(self, at: int, size: int) -> bytes:
        self._left -= size + 128
        if self._left < 0:
            raise ModelFileError("HDF5: its headers are larger than any model's, or run in a circle")
        return self._source.read(at, size)
