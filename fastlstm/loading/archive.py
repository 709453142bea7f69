"""Reading a zip file that nobody vouches for: every member is checked before any is read."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from typing import Any, NamedTuple

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import shown

MAX_DIRECTORY = 2**20  # bytes of the central directory
MAX_RATIO = 100  # that a member of some size is packed by: no numbers shrink more
_SOME_SIZE = 2**24
STORED, DEFLATED = 0, 8

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_ENCRYPTED = 0x2041  # flag bits 0, 6 and 13
_LATER = 0x0008  # sizes follow the data, so the local header has none
_ZIP64 = 2**32 - 1
_HDF5 = b"\x89HDF\r\n\x1a\n"


class Member(NamedTuple):
    """One file in the archive, as the central directory has it."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int


class Archive:
    """A zip file opened for reading; use it in a ``with`` statement.

    Parameters
    ----------
    path : str or path-like
    max_file_size : int
        Limit in bytes for the file and for each of its members.

    Attributes
    ----------
    members : dict of str to Member

    Raises
    ------
    ModelFileError
        Not a regular file, too large, not a zip file, or one that is damaged or made to mislead:
        encrypted, members that share bytes or a name, methods other than stored and deflate,
        sizes or names that differ between directory and member, names that leave the directory.
    """

    def __init__(self, path: str | os.PathLike[str], max_file_size: int) -> None:
        try:
            status = os.stat(path)  # before open(), which would wait for ever on a pipe
        except OSError as error:
            raise ModelFileError(f"cannot be read: {error.strerror}") from None
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError("is a directory; expected a model file")
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError("is not a regular file")
        self._size, self._limit = status.st_size, max_file_size
        if self._size > max_file_size:
            raise ModelFileError(f"has {self._size} bytes; max_file_size is {max_file_size}")
        try:
            self._file = open(path, "rb")
        except OSError as error:
            raise ModelFileError(f"cannot be read: {error.strerror}") from None
        try:
            self._check_kind()
            self.members = self._directory()
            self._check_places()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()

    def read(self, name: str, limit: int) -> bytes:
        """The content of a member, which may have at most ``limit`` bytes."""
        member = self.members[name]
        if member.size > limit:
            raise ModelFileError(f"member {shown(name)} has {member.size} bytes; expected at most {limit}")
        if member.size > max(_SOME_SIZE, MAX_RATIO * member.packed):
            raise ModelFileError(f"member {shown(name)} unpacks from {member.packed} bytes to {member.size}")
        header = self._at(member.header, _LOCAL.size)
        *_, name_length, extra_length = _LOCAL.unpack(header)
        data = self._at(member.header + _LOCAL.size + name_length + extra_length, member.packed)
        if member.method == DEFLATED:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = inflater.decompress(data, member.size + 1)
            except zlib.error as error:
                raise ModelFileError(f"member {shown(name)} is damaged: {error}") from None
            if not inflater.eof or inflater.unused_data:
                raise ModelFileError(f"member {shown(name)} does not end where the zip directory says")
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise ModelFileError(f"member {shown(name)} is damaged: its size or checksum is wrong")
        return data

    def _at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise ModelFileError("is cut short, or not a zip file")
        return data

    def _check_kind(self) -> None:
        start = self._at(0, min(8, self._size))
        if start == _HDF5:
            raise ModelFileError(
                "is an HDF5 file (.h5); expected .keras or .npz: load it with Keras and save it as .keras"
            )
        if not start.startswith(b"PK\x03\x04"):
            raise ModelFileError(
                f"is not a model file: it begins with {start!r}; expected a .keras or .npz file"
            )

    def _directory(self) -> dict[str, Member]:
        """The central directory's entries, by name."""
        length = min(self._size, _END.size + 2**16)
        tail = self._at(self._size - length, length)
        where = tail.rfind(b"PK\x05\x06")
        if where < 0 or where + _END.size > length:
            raise ModelFileError("is cut short: the zip directory at its end is missing")
        _, disk, first_disk, here, count, size, self._end, comment = _END.unpack_from(tail, where)
        if where + _END.size + comment != length or disk or first_disk or here != count:
            raise ModelFileError("is damaged: its zip directory is not at the end, or spans several files")
        if size > MAX_DIRECTORY:
            raise ModelFileError(f"has a zip directory of {size} bytes; at most {MAX_DIRECTORY} are read")
        if self._end + size != self._size - length + where:
            raise ModelFileError("is damaged: its zip directory is not where its end record says")
        data = self._at(self._end, size)
        members: dict[str, Member] = {}
        at = 0
        for _ in range(count):
            if at + _ENTRY.size > size:
                raise ModelFileError("is damaged: its zip directory has fewer entries than it says")
            fields = _ENTRY.unpack_from(data, at)
            signature, _, _, flags, method, _, _, crc, packed, full, *rest = fields
            name_length, extra, note, volume, _, _, header = rest
            name = data[at + _ENTRY.size : at + _ENTRY.size + name_length].decode("utf-8", "replace")
            at += _ENTRY.size + name_length + extra + note
            if signature != b"PK\x01\x02" or volume:
                raise ModelFileError("is damaged: its zip directory cannot be read")
            if name in members:
                raise ModelFileError(f"has two members named {shown(name)}")
            members[name] = Member(name, flags, method, crc, packed, full, header)
        if at != size:
            raise ModelFileError("is damaged: its zip directory has more than its entries")
        return members

    def _check_places(self) -> None:
        """Each member is readable and named twice alike; no two of them share bytes."""
        end = 0
        for member in sorted(self.members.values(), key=lambda m: m.header):
            self._check_member(member)
            fields = _LOCAL.unpack(self._at(member.header, _LOCAL.size))
            signature, _, flags, method, _, _, crc, packed, size, name_length, extra = fields
            start = member.header + _LOCAL.size
            name = self._at(start, name_length).decode("utf-8", "replace")
            found = (name, flags, method, crc, packed, size)
            stated = (member.name, member.flags, member.method, member.crc, member.packed, member.size)
            unsized = flags & _LATER or packed == size == _ZIP64
            if signature != b"PK\x03\x04" or found[:3] != stated[:3] or (not unsized and found != stated):
                raise ModelFileError(
                    f"is damaged: member {shown(member.name)} differs from the zip directory"
                )
            if member.header < end:
                raise ModelFileError(f"member {shown(member.name)} overlaps another member")
            end = start + name_length + extra + member.packed
            if end > self._end:
                raise ModelFileError(f"member {shown(member.name)} runs into the zip directory")

    def _check_member(self, member: Member) -> None:
        who = f"member {shown(member.name)}"
        path = member.name.split("/")
        if ".." in path or path[0] == "" or not member.name.isprintable() or set(member.name) & set("\\:"):
            raise ModelFileError(f"{who} has a name that is no plain relative path")
        if member.flags & _ENCRYPTED:
            raise ModelFileError(f"{who} is encrypted")
        if member.method not in (STORED, DEFLATED):
            raise ModelFileError(
                f"{who} is packed with zip method {member.method}; expected stored or deflate"
            )
        if _ZIP64 in (member.size, member.packed, member.header):
            raise ModelFileError(f"{who} is in the zip64 form, for more than 4 GiB; not supported")
        if member.size > self._limit:
            raise ModelFileError(f"{who} has {member.size} bytes; max_file_size is {self._limit}")
        if member.method == STORED and member.size != member.packed:
            raise ModelFileError(f"{who} is stored, yet its sizes {member.packed} and {member.size} differ")
        if member.packed > member.size + member.size // 1000 + 1000:
            raise ModelFileError(f"{who} has {member.size} bytes and is packed into {member.packed}")
