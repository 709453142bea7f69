"""Reading the state dicts of PyTorch, .pt and .pth, and .safetensors, without PyTorch and without trust."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any, BinaryIO

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading import MAX_FILE_SIZE, Path, _named, torch_pickle
from fastlstm.loading.archive import STORED, Archive, Member
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.safetensors import tensors_of
from fastlstm.loading.tensors import SIZES, Stored, numbers
from fastlstm.loading.torch_pickle import Unpickler
from fastlstm.loading.torch_tensors import Storage, Tensor

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files before PyTorch 1.6
_MAGIC_CODE = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")
_MAX_DEPTH, _MAX_ENTRIES, _MAX_TENSORS, _MAX_NAME = 32, 2**18, 2**15, 500
_KNOWN = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file: fastlstm.load_model reads Keras's"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"sys_info", "a tar file of PyTorch before 0.1.10, or something else: save it again"),
    (b"\x80", "a Python pickle that torch.save did not write, which is never read"),
)


@contextmanager
def opened(path: Path, max_file_size: int = MAX_FILE_SIZE) -> Iterator[dict[str, Stored]]:
    """The tensors of a file by name, to be read within the ``with`` statement; errors within begin with the path.

    Parameters
    ----------
    path : str or path-like
        What ``torch.save`` wrote, in the format of today or of before PyTorch 1.6, or ``.safetensors``; the content
        decides which. Dictionaries and lists in each other give names with dots: ``{"model": {"w": tensor}}`` is
        ``model.w``. Plain values are left out.
    max_file_size : int
        Limit in bytes.

    Raises
    ------
    ModelFileError
        The path cannot be read, or holds something else than tensors by name and plain values.
    """
    with _named(path), ExitStack() as files:
        _check(path, max_file_size)
        try:
            file = files.enter_context(open(path, "rb"))
            start = file.read(64)
        except OSError as error:
            raise ModelFileError(f"cannot be read: {error.strerror}") from None
        if start.startswith(b"PK\x03\x04"):
            yield _zipped(files.enter_context(_Archive(path, max_file_size)))
        elif start[8:9] == b"{":
            yield tensors_of(file)
        elif start.startswith(b"\x80") and _MAGIC_CODE in start[:32]:
            yield _legacy(file)
        else:
            known = next((text for magic, text in _KNOWN if start.startswith(magic)), f"one that begins {start[:8]!r}")
            raise ModelFileError(f"is no file of torch.save or .safetensors: it is {known}")


def _check(path: Path, max_file_size: int) -> None:
    try:
        status = os.stat(path)  # before open(), which would wait for ever on a pipe
    except (OSError, ValueError) as error:  # the latter of a null character in the name
        raise ModelFileError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError("is a directory or something else that is no regular file")
    if status.st_size > max_file_size:
        raise ModelFileError(f"has {status.st_size} bytes; max_file_size is {max_file_size}")


# -- what is in them ------------------------------------------------------------------------------


def _tensors(root: Any, data: Callable[[Storage], Array]) -> dict[str, Stored]:
    """The tensors in dictionaries and lists in each other, by their names joined by dots."""
    if type(root) is not dict:
        raise ModelFileError(f"holds {type(root).__name__} by itself; expected a dictionary of tensors")
    found: dict[str, Stored] = {}
    entries = 0

    def look(value: Any, name: str, depth: int) -> None:
        nonlocal entries
        if type(value) is Tensor:
            if name in found or len(found) == _MAX_TENSORS:
                raise ModelFileError(f"holds two tensors named {shown(name)}, or more than {_MAX_TENSORS} tensors")
            found[name] = Stored(value.shape, partial(_part, value, data))
        elif type(value) in (dict, list, tuple):
            entries += len(value)
            if depth == _MAX_DEPTH or entries > _MAX_ENTRIES:
                raise ModelFileError("holds more entries, or deeper ones, than any state dict, or goes in a circle")
            for key, inner in value.items() if type(value) is dict else enumerate(value):
                if type(inner) in (Tensor, dict, list, tuple):
                    inner_name = f"{name}.{key}" if name or depth else str(key)
                    if len(inner_name) > _MAX_NAME:
                        raise ModelFileError(f"holds the name {shown(inner_name)}, of more than {_MAX_NAME} letters")
                    look(inner, inner_name, depth + 1)

    look(root, "", 0)
    return found


def _part(tensor: Tensor, data: Callable[[Storage], Array]) -> Array:
    """A tensor's numbers, where they lie in its storage's."""
    row = data(tensor.storage)
    strides = tuple(step * row.itemsize for step in tensor.strides)
    array = np.ndarray(tensor.shape, row.dtype, row.data, tensor.offset * row.itemsize, strides)
    array.flags.writeable = False
    return array


# -- the format since PyTorch 1.6 -----------------------------------------------------------------


class _Archive(Archive):
    """A zip file as PyTorch writes it: nothing is packed, and its directory has a second end record."""

    _CUT = 76

    def _check_kind(self) -> None:
        """Leave the second end record out, which is for sizes beyond 4 GiB, where it says what the first one does.

        PyTorch writes it into the smallest files. The base class takes a file for one without it, a little shorter.
        """
        self._cut = self._size
        at = self._size - 22 - self._CUT
        tail = self._at(max(at, 0), min(self._size, 22 + self._CUT))
        if at < 0 or tail[56:60] != b"PK\x06\x07" or tail[76:80] != b"PK\x05\x06":
            return
        _, disk, first, here, count, size, start, comment = struct.unpack("<4s4H2LH", tail[76:])
        second = struct.unpack("<4sQ2H2L4Q", tail[:56])
        if second[:2] != (b"PK\x06\x06", 44) or second[4:] != (disk, first, here, count, size, start) or comment:
            raise ModelFileError("is damaged, or of more than 4 GiB: its zip directory has two ends that differ")
        if struct.unpack("<LQL", tail[60:76]) != (0, at, 1):
            raise ModelFileError("is damaged: the second end of its zip directory is not where it should be")
        self._cut = at
        self._size -= self._CUT

    def _at(self, offset: int, size: int) -> bytes:
        if offset + size <= self._cut:
            return super()._at(offset, size)
        before = super()._at(offset, self._cut - offset) if offset < self._cut else b""
        after = max(offset, self._cut)
        skipped = 0 if self._cut == self._size else self._CUT
        return before + super()._at(after + skipped, offset + size - after)

    def _check_member(self, member: Member) -> None:
        super()._check_member(member)
        if member.method != STORED:
            raise ModelFileError(f"member {shown(member.name)} is packed; torch.save packs nothing")


def _zipped(archive: Archive) -> dict[str, Stored]:
    roots = [name.removesuffix("data.pkl") for name in archive.members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ModelFileError("is a zip file, but none of torch.save: expected one member data.pkl in a folder")
    root = roots[0]
    if f"{root}constants.pkl" in archive.members:
        raise ModelFileError("is a TorchScript program, which is never run: save module.state_dict() with torch.save")
    order = b"little"
    if f"{root}byteorder" in archive.members:
        order = archive.read(f"{root}byteorder", 8)
        if order not in (b"little", b"big"):
            raise ModelFileError(f"its byte order is {shown(order)}; expected little or big")
    machine = Unpickler(archive.read(f"{root}data.pkl", torch_pickle.MAX_BYTES))
    value = machine.load()

    @cache  # several tensors may lie in one storage
    def data(storage: Storage) -> Array:
        member = archive.members.get(f"{root}data/{storage.key}")
        size = storage.count * SIZES[storage.dtype]
        if member is None or member.size != size:
            found = "is missing" if member is None else f"has {member.size} bytes"
            raise ModelFileError(f"storage {shown(storage.key)} {found}; its tensors say {size} bytes")
        return numbers(archive.read(member.name, size), storage.dtype, "<" if order == b"little" else ">")

    return _tensors(value, data)


# -- the format before ----------------------------------------------------------------------------


def _legacy(file: BinaryIO) -> dict[str, Stored]:
    """Five pickles, a magic number and the value among them; then, in the order of the last, size and numbers each."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    machine = Unpickler(file.read(torch_pickle.MAX_BYTES))
    if machine.load() != _MAGIC or machine.load() != _PROTOCOL:
        raise ModelFileError("is no file of torch.save: its magic number or its version is another")
    machine.load()  # what machine wrote it; the numbers are little-endian in any case
    value, keys = machine.load(), machine.load()
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ModelFileError("is damaged: expected a list of its storages")
    if sorted(keys) != sorted(machine.storages):
        raise ModelFileError("is damaged: its list of storages is not that of its tensors")
    places, at = {}, machine.at
    for key in keys:
        storage = machine.storages[key]
        file.seek(at)
        count, size = int.from_bytes(file.read(8), "little"), storage.count * SIZES[storage.dtype]
        if count != storage.count or at + 8 + size > end:
            raise ModelFileError(f"is cut short or damaged: storage {shown(key)} is not of {storage.count} numbers")
        places[key] = at + 8
        at += 8 + size
    if at != end:
        raise ModelFileError(f"has {end} bytes; its storages end after {at}")

    @cache
    def data(storage: Storage) -> Array:
        file.seek(places[storage.key])
        return numbers(file.read(storage.count * SIZES[storage.dtype]), storage.dtype)

    return _tensors(value, data)
