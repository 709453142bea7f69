"""Reading fastlstm's own .npz file (``saving.py`` writes it) with NumPy alone."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import numpy as np

from fastlstm import saving
from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array, Layer
from fastlstm.loading import jsonrules
from fastlstm.loading.archive import Archive
from fastlstm.loading.contents import Contents, Weights
from fastlstm.loading.jsonrules import shown

if TYPE_CHECKING:
    from fastlstm.model import Model

CONFIG = "config.npy"
_MAX_HEADER = 1024
_START = struct.Struct("<6sBBH")
# All that NumPy writes for a plain array. Matched, not evaluated as numpy.load would.
_HEADER = re.compile(
    rb"\{'descr': '([<>|][a-z]\d{1,2})', 'fortran_order': (False|True), 'shape': \(([\d, ]*)\), \} *\n"
)


def contents(archive: Archive) -> Contents:
    """What an open archive with a member ``config.npy`` holds."""
    head = jsonrules.parse(_config(archive), "its configuration")
    if not isinstance(head, dict) or head.get("format") != saving.FORMAT:
        raise ModelFileError("is an .npz file, but not one that fastlstm wrote")
    if type(head.get("version")) is not int or head["version"] != saving.VERSION:
        raise ModelFileError(
            f"has version {shown(head.get('version'))} of the format; expected {saving.VERSION}"
        )
    version = head.get("keras_version")
    if version is not None and not isinstance(version, str):
        raise ModelFileError(f"its keras_version is {shown(version)}; expected a string")
    return Contents("an .npz file of fastlstm", head, version, lambda model: _weights(archive, model), own=True)


def _weights(archive: Archive, model: Model) -> Weights:
    slots = {
        f"{place}/{name}.npy" if place else f"{name}.npy": (layer, name)
        for place, layer in saving.places(model)
        for name in layer._expected
    }
    expected = {CONFIG, *slots}
    if expected != set(archive.members):
        wrong = sorted(expected ^ set(archive.members))
        raise ModelFileError(f"its members do not match its layers: {shown(wrong)} missing or too many")
    found: dict[int, tuple[Layer, dict[str, Array]]] = {id(layer): (layer, {}) for _, layer in model.tree()}
    for member, (layer, name) in slots.items():
        found[id(layer)][1][name] = _weight(archive, member, layer._expected[name], layer.dtype)
    return list(found.values())


def _config(archive: Archive) -> bytes:
    data = archive.read(CONFIG, jsonrules.MAX_BYTES + _MAX_HEADER)
    descr, fortran, shape, start = _header(data, CONFIG)
    if descr != "|u1" or fortran or shape != (len(data) - start,):
        raise ModelFileError(f"member {CONFIG!r} is {descr} of shape {shape}; expected one row of bytes")
    return data[start:]


def _weight(archive: Archive, name: str, expected: tuple[int, ...], dtype: str) -> Array:
    """A member's array, exactly as it was saved."""
    size = int(np.prod(expected, dtype=object)) * np.dtype(dtype).itemsize
    data = archive.read(name, size + _MAX_HEADER)
    descr, fortran, shape, start = _header(data, name)
    if shape != expected or descr not in ("<f4", "<f8", ">f4", ">f8") or np.dtype(descr).name != dtype:
        raise ModelFileError(
            f"weight {shown(name)} is {descr} of shape {shape}; expected {dtype} of shape {expected}"
        )
    if len(data) - start != size:
        raise ModelFileError(f"weight {shown(name)} has {len(data) - start} bytes; expected {size}")
    array = np.frombuffer(data, dtype=descr, offset=start).reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype=dtype, order="C")


def _header(data: bytes, name: str) -> tuple[str, bool, tuple[int, ...], int]:
    """Type, order and shape that a .npy header states, and where the data begin."""
    if len(data) < _START.size:
        raise ModelFileError(f"member {shown(name)} is no .npy array: it has {len(data)} bytes")
    magic, major, minor, length = _START.unpack_from(data)
    start = _START.size + length
    match = _HEADER.fullmatch(data[_START.size : start])
    if magic != b"\x93NUMPY" or (major, minor) != (1, 0) or length > _MAX_HEADER or match is None:
        raise ModelFileError(f"member {shown(name)} is no .npy array of numbers")
    descr, fortran, sizes = match.groups()
    shape = tuple(int(size) for size in sizes.replace(b" ", b"").split(b",") if size)
    return descr.decode(), fortran == b"True", shape, start
