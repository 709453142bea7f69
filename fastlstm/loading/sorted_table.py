"""Reading a table of sorted keys as LevelDB writes it, from bytes that nobody vouches for; and its checksum, CRC-32C.

A table ends in a footer that says where its index block is; that one says where the blocks of entries are. Keys are
sorted, and each says only how it differs from the one before it (LevelDB, doc/table_format.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import shown

MAX_ENTRIES = 2**16
MAX_KEY = 4096  # bytes
MAX_KEYS = 2**24  # bytes of all keys: a few hundred for each of the most entries

Bits = NDArray[np.uint32]

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_TRAILER = struct.Struct("<BI")  # of a block: how it is compressed, and its checksum
_NUMBER = struct.Struct("<I")
_SNAPPY = 1
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_MASK_DELTA = 0xA282EAD8
_LANE = 256  # bytes that one lane of a checksum goes over


def entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key of a table with its value, in order.

    Raises
    ------
    ModelFileError
        The table is cut short, damaged, compressed, larger than any checkpoint's, or refers to a part twice.
    """
    if len(data) < _FOOTER or data[-8:] != _MAGIC:
        raise ModelFileError("is cut short, or no index of a checkpoint: it does not end as one does")
    end = len(data) - _FOOTER
    about, at = _handle(data, end, len(data))
    index, at = _handle(data, at, len(data))
    if any(data[at:-8]):
        raise ModelFileError("is damaged: it does not end as an index does")
    _block(data, *about, end)  # about the table; checkpoints leave it empty
    before, key_bytes, count, free = b"", 0, 0, 0
    for _, handle in _entries_of(_block(data, *index, end)):
        (offset, size), _ = _handle(handle, 0, len(handle))
        if offset < free:
            raise ModelFileError("is damaged: two of its blocks share bytes")
        free = offset + size
        for key, value in _entries_of(_block(data, offset, size, end)):
            if count and key <= before:
                raise ModelFileError(f"is damaged: its names are not sorted at {shown(key)}")
            before, count, key_bytes = key, count + 1, key_bytes + len(key)
            if count > MAX_ENTRIES or key_bytes > MAX_KEYS:
                raise ModelFileError("holds more names than any checkpoint")
            yield key, value


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The integer of seven bits a byte that begins at a place, and where it ends; not beyond ``end``."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 2**64 or (shift and not byte):  # too large, or longer than it needs to be
                break
            return value, at
    raise ModelFileError("is damaged or cut short: an integer in it does not end as it should")


def _handle(data: bytes, at: int, end: int) -> tuple[tuple[int, int], int]:
    """Where a block begins and how long it is; and where these two integers end."""
    offset, at = _varint(data, at, end)
    size, at = _varint(data, at, end)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int, end: int) -> bytes:
    """A block's bytes, whose checksum is right."""
    after = offset + size
    if after + _TRAILER.size > end:
        raise ModelFileError("is cut short, or refers to what is not in it")
    compression, checksum = _TRAILER.unpack_from(data, after)
    if compression:
        kind = "snappy" if compression == _SNAPPY else f"method {compression}"
        raise ModelFileError(f"has a block compressed by {kind}, which no checkpoint of TensorFlow has")
    if crc32c(np.frombuffer(data, np.uint8, size + 1, offset)) != unmasked(checksum):
        raise ModelFileError("is damaged: the checksum of a block is wrong")
    return data[offset:after]


def _entries_of(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = _NUMBER.unpack_from(block, len(block) - 4)[0] if len(block) >= 4 else 2**32
    end = len(block) - 4 * (restarts + 1)  # what follows is where whole keys begin, for a search
    if end < 0:
        raise ModelFileError("is damaged: a block is shorter than it says")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at, end)
        own, at = _varint(block, at, end)
        length, at = _varint(block, at, end)
        if shared > len(key) or at + own + length > end or shared + own > MAX_KEY:
            raise ModelFileError("is damaged: an entry is not all in its block, or its name is too long")
        key = key[:shared] + block[at : at + own]
        at += own + length
        yield key, block[at - length : at]


# -- the checksum -----------------------------------------------------------------------------------


def unmasked(checksum: int) -> int:
    """The checksum that a file keeps in a masked form, lest it be one of data that hold checksums."""
    rotated = (checksum - _MASK_DELTA) % 2**32
    return (rotated << 15 | rotated >> 17) % 2**32


def crc32c(data: NDArray[np.uint8]) -> int:
    """CRC-32C of bytes.

    A checksum is linear in the bits of the data: lanes of equal length are gone over side by side, each but the
    first from zero, and joined in pairs, the left one moved on over as many zero bytes as the right one has.
    """
    table = _table()
    lanes = len(data) // _LANE if len(data) >= 16 * _LANE else 0
    head = len(data) - lanes * _LANE
    crc = 0xFFFFFFFF
    plain = table.tolist()
    for byte in data[:head].tolist():
        crc = plain[(crc ^ byte) & 0xFF] ^ crc >> 8
    if lanes:
        crc = _joined(_over_lanes(data[head:].reshape(lanes, _LANE), crc, table))
    return crc ^ 0xFFFFFFFF


def _over_lanes(data: NDArray[np.uint8], start: int, table: Bits) -> Bits:
    crcs: Bits = np.zeros(len(data), np.uint32)
    crcs[0] = start
    for column in range(_LANE):
        crcs = table[(crcs ^ data[:, column]) & 0xFF] ^ (crcs >> 8)
    return crcs


def _joined(crcs: Bits) -> int:
    shift = _lane_shift()
    while len(crcs) > 1:
        if len(crcs) % 2:
            crcs = np.concatenate([np.zeros(1, np.uint32), crcs])  # a lane of zeros in front changes nothing
        crcs = _moved(shift, crcs[::2]) ^ crcs[1::2]
        shift = _moved(shift, shift)
    return int(crcs[0])


def _moved(shift: Bits, crcs: Bits) -> Bits:
    """Checksums after more zero bytes; ``shift`` has what becomes of each bit."""
    moved: Bits = np.zeros_like(crcs)
    for bit in range(32):
        moved ^= shift[bit] * (crcs >> np.uint32(bit) & np.uint32(1))
    return moved


@cache
def _table() -> Bits:
    """What each byte adds to a checksum."""
    table: Any = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.uint32(_POLYNOMIAL) * (table & 1)
    return np.asarray(table, np.uint32)


@cache
def _lane_shift() -> Bits:
    """What becomes of each bit of a checksum after a lane of zero bytes."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(_LANE):
        bits = _table()[bits & 0xFF] ^ (bits >> np.uint32(8))
    return bits
