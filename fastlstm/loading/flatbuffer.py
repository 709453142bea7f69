"""Reading FlatBuffers that nobody vouches for: tables, vectors and numbers, each looked up inside the file.

A table begins with how far before it the list of its fields' places is; the list begins with its own size and the
table's, and has a 0 for each field that is left out. Vectors and tables are written as how far behind lies what is
meant, and a vector begins with its count (flatbuffers.dev, "FlatBuffer Internals").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array

#: Of each table its fields, and of each field its number, its type, and what it is where the file leaves it out.
#: A type is NumPy's name of a number's, or a table's, or either with ``[]`` behind it for a vector.
Schema = Mapping[str, Mapping[str, tuple[int, str, Any]]]

_MOST_TEXT = 200  # bytes of a string


class Record:
    """One table of a FlatBuffer, by the names of its fields.

    Parameters
    ----------
    data : bytes
        The file.
    at : int
        Where the table is in it.
    name : str
        Which table of the schema it is.
    schema : Schema

    Raises
    ------
    ModelFileError
        Here and below: what is asked for lies outside the file.
    """

    def __init__(self, data: bytes, at: int, name: str, schema: Schema) -> None:
        self._data, self._at, self._name, self._schema = data, at, name, schema
        self._places = at - _number(data, at, "int32", name)
        self._size = _number(data, self._places, "uint16", name)

    def __getitem__(self, field: str) -> Any:
        """A number, a Record, an array of numbers or a Records; the schema's default where the file has none."""
        number, kind, default = self._schema[self._name][field]
        who = f"{self._name}: {field}"
        place = 4 + 2 * number
        offset = _number(self._data, self._places + place, "uint16", who) if place < self._size else 0
        if kind.endswith("[]"):
            return self._vector(offset, kind[:-2], who)
        if not offset:
            return default
        at = self._at + offset
        if kind in self._schema:
            return Record(self._data, at + _number(self._data, at, "uint32", who), kind, self._schema)
        return _number(self._data, at, kind, who)

    def text(self, field: str) -> str:
        """A string, with "?" for whatever in it cannot be shown."""
        text = bytes(self[field][:_MOST_TEXT]).decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "?" for c in text)

    def _vector(self, offset: int, kind: str, who: str) -> Any:
        start = count = 0
        if offset:
            at = self._at + offset
            at += _number(self._data, at, "uint32", who)
            start, count = at + 4, _number(self._data, at, "uint32", who)
        tables = kind in self._schema
        found = _numbers(self._data, start, count, "uint32" if tables else kind, who)
        return Records(self._data, start, found, kind, self._schema) if tables else found


class Records:
    """A vector of tables, each read when it is asked for.

    Parameters
    ----------
    data : bytes
        The file.
    start : int
        Where the vector is in it.
    offsets : ndarray of uint32
        How far behind its own place in the vector each table is.
    name, schema
        As of :class:`Record`.
    """

    def __init__(self, data: bytes, start: int, offsets: Array, name: str, schema: Schema) -> None:
        self._data, self._start, self._offsets, self._name, self._schema = data, start, offsets, name, schema

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise ModelFileError(f"{self._name} {index} is asked for; the file has {len(self)}")
        at = self._start + 4 * index + int(self._offsets[index])
        return Record(self._data, at, self._name, self._schema)

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))


def root(data: bytes, identifier: bytes, name: str, schema: Schema) -> Record:
    """The table that a file begins with; ModelFileError where the file carries another identifier."""
    if data[4:8] != identifier:
        raise ModelFileError(f"is no {identifier.decode()} file: it begins with {data[:8]!r}")
    return Record(data, _number(data, 0, "uint32", "the file"), name, schema)


def _number(data: bytes, at: int, kind: str, who: str) -> Any:
    return _numbers(data, at, 1, kind, who)[0].item()


def _numbers(data: bytes, at: int, count: int, kind: str, who: str) -> Array:
    """So many numbers from a place on, all of which must be in the file."""
    dtype = np.dtype(kind).newbyteorder("<")
    if not 0 <= at <= at + count * dtype.itemsize <= len(data):
        raise ModelFileError(f"{who} is not in the file: the file is damaged or cut short")
    return np.frombuffer(data, dtype, count, at)
