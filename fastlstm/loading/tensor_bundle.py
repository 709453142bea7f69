"""Reading a TensorFlow checkpoint with NumPy alone; nothing in its files is trusted.

A checkpoint ``model.ckpt`` is a table of names in ``model.ckpt.index`` and the bytes of all arrays, one after the
other, in ``model.ckpt.data-00000-of-00001`` or several such files. A SavedModel keeps one as
``variables/variables``. Both TensorFlow 1 (``tf.train.Saver``) and 2 (``tf.train.Checkpoint``) write it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading import MAX_FILE_SIZE, Path, _named
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.protobuf import Fields, Messages, Value, as_bytes, integer
from fastlstm.loading.sorted_table import crc32c, entries, unmasked

MAX_INDEX = 2**24  # bytes
MAX_RANK = 32
MAX_SHARDS = 99999  # as many as five digits in a name tell apart

#: TensorFlow's numbers for the types of arrays (framework/types.proto), and NumPy's for those read here.
_DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 8: "<c8", 9: "<i8", 10: "?", 17: "<u2", 18: "<c16",
    19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip
_BOOL, _BFLOAT16 = 10, 14
_NAMES = {7: "strings", 20: "a resource", 21: "a variant"}


class Entry(NamedTuple):
    """Where an array is, and what it is."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: int


class Checkpoint(Mapping[str, Array]):
    """The arrays of a checkpoint by name; made by :func:`read_checkpoint`.

    An array is read when it is asked for, and its checksum compared. bfloat16 becomes float32; bool, integers and
    the other floats keep their type.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Of every array, without reading any.
    """

    def __init__(self, prefix: str, shards: int, found: dict[str, Entry], max_file_size: int) -> None:
        self._prefix, self._shards, self._entries, self._limit = prefix, shards, found, max_file_size
        self.shapes = {name: entry.shape for name, entry in found.items()}

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        path = f"{self._prefix}.data-{entry.shard:05d}-of-{self._shards:05d}"
        with _named(path):
            return self._array(path, entry, shown(name))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _array(self, path: str, entry: Entry, who: str) -> Array:
        if entry.slices:
            raise ModelFileError(f"{who} is saved in {entry.slices} slices; save the model without a partitioner")
        if entry.dtype not in _DTYPES and entry.dtype != _BFLOAT16:
            kind = _NAMES.get(entry.dtype, f"TensorFlow's type {entry.dtype}")
            raise ModelFileError(f"{who} is {kind}; expected numbers")
        if entry.size > self._limit:
            raise ModelFileError(f"{who} has {entry.size} bytes; max_file_size is {self._limit}")
        size = _regular(path)
        if entry.offset + entry.size > size:
            raise ModelFileError(f"is cut short: it has {size} bytes, and {who} ends at {entry.offset + entry.size}")
        data = np.empty(entry.size, np.uint8)
        with open(path, "rb") as file:
            file.seek(entry.offset)
            if file.readinto(data.data) != entry.size:
                raise ModelFileError("changed while it was read")
        if crc32c(data) != unmasked(entry.checksum):
            raise ModelFileError(f"is damaged: the checksum of {who} is wrong")
        numbers: Array
        if entry.dtype == _BFLOAT16:  # the upper half of a float32
            numbers = (data.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif entry.dtype == _BOOL:  # a byte may hold more than NumPy's bool can
            numbers = data != 0
        else:
            numbers = data.view(_DTYPES[entry.dtype])
        return numbers.reshape(entry.shape)


def read_checkpoint(prefix: Path, *, max_file_size: int = MAX_FILE_SIZE) -> Checkpoint:
    """Open a checkpoint of TensorFlow 1 or 2, or the variables of a SavedModel.

    Parameters
    ----------
    prefix : str or path-like
        What was given to ``Saver.save``, with the step: the path of its ``.index`` file, with or without that end.
        Or a directory: of a SavedModel, or of one checkpoint.
    max_file_size : int
        Limit in bytes for one array.

    Returns
    -------
    Checkpoint
        A mapping of names to arrays. Those of TensorFlow 2 end in ``/.ATTRIBUTES/VARIABLE_VALUE``.

    Raises
    ------
    ModelFileError
        A file is missing, damaged, made to do harm, or no checkpoint; when an array is asked for also where it is
        partitioned or holds no numbers.
    """
    with _named(prefix):
        path = _prefix_of(os.fspath(prefix))
        index = f"{path}.index"
        if (size := _regular(index)) > MAX_INDEX:
            raise ModelFileError(f"has an index of {size} bytes; at most {MAX_INDEX} are read")
        with open(index, "rb") as file:
            data = file.read(MAX_INDEX + 1)
        table = entries(data)
        first, header = next(table, (b"?", b""))
        if first:
            raise ModelFileError("is a table, but no index of a checkpoint: it has no header")
        shards = _shards_of(header)
        # A name that begins with a zero byte is that of one slice of an array whose own entry counts them.
        messages = Messages()
        found = {_text(key): _entry(messages, value, shards, key) for key, value in table if key[:1] != b"\0"}
        _check_places(found)
        return Checkpoint(path, shards, found, max_file_size)


def _prefix_of(path: str) -> str:
    """The prefix that a path, or the one checkpoint in a directory, is for."""
    if not os.path.isdir(path):
        return path.removesuffix(".index")
    saved_model = os.path.join(path, "variables", "variables")
    if os.path.exists(f"{saved_model}.index"):
        return saved_model
    inside = sorted(name for name in os.listdir(path) if name.endswith(".index"))
    if len(inside) != 1:
        raise ModelFileError(
            f"is a directory with {len(inside)} checkpoints, {shown(inside[:5])}; expected the path of one"
        )
    return os.path.join(path, inside[0].removesuffix(".index"))


def _regular(path: str) -> int:
    """The size of a file, which must be one: opening a pipe would wait for ever."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ModelFileError(f"{shown(os.path.basename(path))} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{shown(os.path.basename(path))} is not a regular file")
    return status.st_size


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise ModelFileError(f"has the name {shown(key)}, which is no text") from None


def _check_places(found: dict[str, Entry]) -> None:
    """No two arrays share bytes, so that reading all takes no more memory than the files are large."""
    free = shard = 0
    for name, entry in sorted(found.items(), key=lambda item: item[1][2:5]):  # by shard, offset, size
        if entry.shard > shard:
            shard, free = entry.shard, 0
        if entry.size and entry.offset < free:
            raise ModelFileError(f"{shown(name)} shares bytes with another array")
        free = max(free, entry.offset + entry.size)


# -- the messages in the index (tensorflow/core/protobuf/tensor_bundle.proto) ------------------------


def _shards_of(header: bytes) -> int:
    """How many files of data there are; BundleHeaderProto: num_shards, endianness, version."""
    fields = _fields(Messages(), memoryview(header), "its header")
    shards = _number(fields, 1, "its header")
    if _number(fields, 2, "its header"):
        raise ModelFileError("has big-endian numbers; only little-endian ones are read")
    if not 1 <= shards <= MAX_SHARDS:
        raise ModelFileError(f"says that its data are in {shards} files; expected 1 to {MAX_SHARDS}")
    return shards


def _entry(messages: Messages, value: bytes, shards: int, key: bytes) -> Entry:
    """BundleEntryProto: dtype, shape, shard_id, offset, size, crc32c (fixed32), slices."""
    who = shown(key.decode("utf-8", "replace"))
    fields = _fields(messages, memoryview(value), who)
    dtype, shard, offset, size = (_number(fields, n, who) for n in (1, 3, 4, 5))
    checksum = int.from_bytes(as_bytes(fields.get(6, [memoryview(b"")])[-1]), "little")
    shape = _shape(messages, fields.get(2, []), who)
    entry = Entry(dtype, shape, shard, offset, size, checksum, len(fields.get(7, [])))
    if not 0 <= shard < shards or offset < 0 or size < 0 or checksum >= 2**32:
        raise ModelFileError(f"{who} is in file {shard} of {shards} at {offset}, of {size} bytes, which cannot be")
    itemsize = 2 if dtype == _BFLOAT16 else np.dtype(_DTYPES[dtype]).itemsize if dtype in _DTYPES else None
    if itemsize and not entry.slices and size != prod(shape) * itemsize:
        raise ModelFileError(f"{who} has {size} bytes; its shape {shown(shape)} needs {prod(shape) * itemsize}")
    return entry


def _shape(messages: Messages, found: list[Value], who: str) -> tuple[int, ...]:
    """TensorShapeProto: a message for each axis, with its size first."""
    if not found:
        return ()
    fields = _fields(messages, found[-1], who)
    axes = fields.get(2, [])
    if len(axes) > MAX_RANK or _number(fields, 3, who):
        raise ModelFileError(f"{who} has {len(axes)} axes; expected a known shape of at most {MAX_RANK}")
    shape = tuple(_number(_fields(messages, axis, who), 1, who) for axis in axes)
    if any(not 0 <= size < 2**48 for size in shape):
        raise ModelFileError(f"{who} has the shape {shown(shape)}, which cannot be")
    return shape


def _fields(messages: Messages, message: Value, who: str) -> Fields:
    try:
        return messages.fields(message)
    except ModelFileError as error:
        raise ModelFileError(f"{who} {error}") from None


def _number(fields: Fields, field: int, who: str) -> int:
    try:
        return integer(fields.get(field, []))
    except ModelFileError as error:
        raise ModelFileError(f"{who} {error}") from None
