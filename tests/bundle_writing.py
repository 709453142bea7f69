"""Writing checkpoints: by TensorFlow, and byte by byte with right checksums, so that anything else can be wrong."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastlstm.loading.sorted_table import crc32c

MAGIC = bytes.fromhex("57fb808b247547db")


def masked(data: bytes) -> int:
    """The checksum as files keep it."""
    crc = crc32c(np.frombuffer(data, np.uint8))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: Any) -> bytes:
    """A protocol buffer's field: an integer, or a message or string as bytes."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<I", value)


def header(shards: int = 1, **more: int) -> bytes:
    return field(1, shards) + b"".join(field({"endianness": 2}[name], value) for name, value in more.items())


def entry(shape: Iterable[int] = (), *, dtype: int = 1, shard: int = 0, offset: int = 0, size: int | None = None,
          crc: int = 0, more: bytes = b"") -> bytes:  # fmt: skip
    """A BundleEntryProto."""
    shape = tuple(shape)
    size = 4 * int(np.prod(shape, dtype=object)) if size is None else size
    axes = b"".join(field(2, field(1, n)) for n in shape)
    return (field(1, dtype) + field(2, axes) + field(3, shard) + field(4, offset) + field(5, size) + fixed32(6, crc)
            + more)  # fmt: skip


def block(entries: Iterable[tuple[bytes, bytes]], *, share: bool = True) -> bytes:
    """The bytes of a block, without what follows it."""
    out, before = b"", b""
    for key, value in entries:
        same = 0
        while share and same < min(len(key), len(before)) and key[same] == before[same]:
            same += 1
        out += varint(same) + varint(len(key) - same) + varint(len(value)) + key[same:] + value
        before = key
    return out + struct.pack("<2I", 0, 1)


def sealed(data: bytes, kind: int = 0) -> bytes:
    """A block with how it is compressed and its checksum."""
    return data + bytes([kind]) + struct.pack("<I", masked(data + bytes([kind])))


def table(*blocks: bytes, kind: int = 0, handles: list[tuple[int, int]] | None = None) -> bytes:
    """A table of these blocks."""
    out, found = b"", []
    for data in blocks:
        found.append((len(out), len(data)))
        out += sealed(data, kind)
    pairs = enumerate(found if handles is None else handles)
    index = block([(bytes([255, n]), varint(at) + varint(size)) for n, (at, size) in pairs])
    about = block([])
    footer = varint(len(out)) + varint(len(about)) + varint(len(out) + len(about) + 5) + varint(len(index))
    return out + sealed(about) + sealed(index) + footer.ljust(40, b"\0") + MAGIC


def index(entries: dict[bytes, bytes], head: bytes | None = None) -> bytes:
    """An index file of these entries."""
    return table(block([(b"", header() if head is None else head), *entries.items()]))


def save(tf: Any, prefix: Any, arrays: dict[str, Any]) -> None:
    """A checkpoint of these arrays, as TensorFlow's own operation writes it."""
    names = list(arrays)
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names),
                      tensors=[tf.constant(arrays[name]) for name in names])  # fmt: skip
