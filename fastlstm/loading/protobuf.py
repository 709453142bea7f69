"""Messages of Protocol Buffers: their fields by number, without a schema and without copying what they hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array

MOST_FIELDS = 2**18  # that are looked at: a file can hold one in every two bytes
_FIXED = {1: 8, 5: 4}

Value = int | memoryview  # a varint, or the bytes of anything else
Fields = dict[int, list[Value]]


class Messages:
    """Reads messages, and no more fields of them all together than ``MOST_FIELDS``."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def fields(self, message: Value) -> Fields:
        """The values of each field of a message, in its order."""
        data = as_bytes(message)
        found: Fields = {}
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise ModelFileError(f"has more than {MOST_FIELDS} fields")
            key, at = _varint(data, at)
            wire = key & 7
            value: Value
            if wire == 0:
                value, at = _varint(data, at)
            else:
                size, at = _varint(data, at) if wire == 2 else (_FIXED.get(wire, -1), at)
                if not 0 <= size <= len(data) - at:
                    raise ModelFileError("is cut short, or no message of Protocol Buffers")
                value, at = data[at : at + size], at + size
            found.setdefault(key >> 3, []).append(value)
        return found


def as_bytes(value: Value) -> memoryview:
    """A value that is no number."""
    if isinstance(value, int):
        raise ModelFileError("has a number where text, numbers or a message belong")
    return value


def whole(values: Iterable[Value]) -> memoryview:
    """The message of a field that is there once; parts that come several times are one message."""
    parts = [as_bytes(value) for value in values]
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def text(values: Iterable[Value]) -> str:
    """A field's text, the last one of several; "" where there is none."""
    return next((bytes(as_bytes(value)).decode(errors="replace") for value in reversed([*values])), "")


def integer(values: Iterable[Value]) -> int:
    """A field's signed integer, the last one of several; 0 where there is none."""
    number = next(iter(reversed([*values])), 0)
    if not isinstance(number, int):
        raise ModelFileError("has a message where a number belongs")
    return number - 2**64 if number >= 2**63 else number


def integers(values: Iterable[Value]) -> list[int]:
    """Signed integers, one by one or packed."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            if len(found) > MOST_FIELDS:
                raise ModelFileError(f"has more than {MOST_FIELDS} integers in a field")
            number, at = _varint(value, at)
            found.append(number)
    return [number - 2**64 if number >= 2**63 else number for number in found]


def floats(values: Iterable[Value], dtype: str = "<f4") -> Array:
    """Floats or doubles, one by one or packed."""
    data = whole(values)
    if len(data) % np.dtype(dtype).itemsize:
        raise ModelFileError(f"has {len(data)} bytes of numbers, which are no whole ones")
    return np.frombuffer(data, dtype)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ModelFileError("is cut short, or no message of Protocol Buffers")
