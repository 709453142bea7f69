"""Reading fastlstm's own .npz file (``saving.py`` writes it) with NumPy alone."""

from __future__ import annotations

import re
import struct

import numpy as np

from fastlstm import saving
from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading import jsonrules
from fastlstm.loading.architecture import plan
from fastlstm.loading.archive import Archive
from fastlstm.loading.jsonrules import shown
from fastlstm.model import Sequential

CONFIG = "config.npy"
_MAX_HEADER = 1024
_START = struct.Struct("<6sBBH")
# All that NumPy writes for a plain array. Matched, not evaluated as numpy.load would.
_HEADER = re.compile(
    rb"\{'descr': '([<>|][a-z]\d{1,2})', 'fortran_order': (False|True), 'shape': \(([\d, ]*)\), \} *\n"
)


def read(archive: Archive, max_params: int) -> Sequential:
    """The model in an open archive that has a member ``config.npy``."""
    head = jsonrules.parse(_config(archive), "its configuration")
    if not isinstance(head, dict) or head.get("format") != saving.FORMAT:
        raise ModelFileError("is an .npz file, but not one that fastlstm wrote")
    if type(head.get("version")) is not int or head["version"] != saving.VERSION:
        raise ModelFileError(
            f"has version {shown(head.get('version'))} of the format; expected {saving.VERSION}"
        )
    described = plan(head, max_params)
    names = [[f"{i}/{name}.npy" for name in slot.weights] for i, slot in enumerate(described.slots)]
    expected = {CONFIG, *(name for layer in names for name in layer)}
    if expected != set(archive.members):
        wrong = sorted(expected ^ set(archive.members))
        raise ModelFileError(f"its members do not match its layers: {shown(wrong)} missing or too many")
    weights = [
        [
            _weight(archive, name, shape, slot.layer.dtype)
            for name, shape in zip(row, slot.weights.values(), strict=True)
        ]
        for row, slot in zip(names, described.slots, strict=True)
    ]
    return described.model(weights)


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
