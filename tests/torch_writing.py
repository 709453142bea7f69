"""Files as torch.save and safetensors write them, and as they never would, byte by byte and without either."""

from __future__ import annotations

import io
import json
import pathlib
import struct
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hostile_watch import watched

from fastlstm.torch import load

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Global(NamedTuple):
    """A name in a module."""

    module: str
    name: str


class Call(NamedTuple):
    """What calling something gives."""

    called: Any
    arguments: Any


class Place(NamedTuple):
    """A storage; old files have something behind it."""

    key: Any
    count: Any
    kind: Any = Global("torch", "FloatStorage")
    rest: tuple[Any, ...] = ()


class Raw(NamedTuple):
    """Codes of a pickle as they are."""

    codes: bytes


DICT = Global("collections", "OrderedDict")
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


def tensor(storage: Any, shape: Any, strides: Any = None, offset: Any = 0, *rest: Any) -> Call:
    """A tensor, by default one whose numbers follow each other."""
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return Call(REBUILD, (storage, offset, shape, strides, *(rest or (False, Call(DICT, ())))))


def codes(value: Any) -> bytes:
    """A value in the second version of Python's pickles."""
    if isinstance(value, Raw):
        return value.codes
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return codes(value.called) + codes(value.arguments) + b"R"
    if isinstance(value, Place):
        return codes(("storage", value.kind, value.key, "cpu", value.count, *value.rest)) + b"Q"
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        size = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return b"}(" + b"".join(codes(key) + codes(item) for key, item in value.items()) + b"u"
    inner = b"".join(map(codes, value))
    return b"(" + inner + b"t" if isinstance(value, tuple) else b"](" + inner + b"e"


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + codes(value) + b"."


# -- a state dict: LSTM(2, 3) -------------------------------------------------------------------------


def arrays(seed: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def described(given: dict[str, np.ndarray], rest: tuple[Any, ...] = ()) -> dict[str, Call]:
    """The tensors of a state dict, each in a storage of its own."""
    return {n: tensor(Place(str(i), a.size, rest=rest), a.shape) for i, (n, a) in enumerate(given.items())}


def zipped(
    value: Any, storages: dict[str, bytes], more: dict[str, bytes] | None = None, packed: Sequence[str] = ()
) -> bytes:
    """As since PyTorch 1.6, but for the members that are packed."""
    file = io.BytesIO()
    members = {"m/data.pkl": pickled(value), **{f"m/data/{key}": data for key, data in storages.items()}}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in {**members, **(more or {}), "m/version": b"3\n"}.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if name in packed else zipfile.ZIP_STORED)
    return file.getvalue()


def legacy(value: Any, storages: dict[str, bytes], size: int = 4, **changes: Any) -> bytes:
    """As before: numbers of so many bytes."""
    parts = {"magic": MAGIC, "protocol": PROTOCOL, "machine": {"little_endian": True}, "value": value}
    parts |= {"keys": list(storages), **changes}
    data = b"".join(struct.pack("<q", len(row) // size) + row for row in storages.values())
    return b"".join(pickled(part) for part in parts.values()) + data


def safetensors(header: Any, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entries(given: dict[str, np.ndarray]) -> dict[str, Any]:
    """The header of arrays in float32."""
    found, at = {}, 0
    for name, array in given.items():
        found[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    return found


def raw(given: dict[str, np.ndarray]) -> dict[str, bytes]:
    """Each array's storage."""
    return {str(i): array.tobytes() for i, array in enumerate(given.values())}


def good() -> dict[str, bytes]:
    """The state dict in each format."""
    given = arrays()
    return {
        "zip": zipped(Call(DICT, ([[name, value] for name, value in described(given).items()],)), raw(given)),
        "legacy": legacy(described(given, rest=(None,)), raw(given)),
        "safetensors": safetensors(entries(given), b"".join(raw(given).values())),
    }


def with_second_end(data: bytes, **changes: int) -> bytes:
    """A zip file with the record for sizes beyond 4 GiB, as torch adds it to all; changes make it lie."""
    at = data.rfind(b"PK\x05\x06")
    _, _, _, _, count, size, start, _ = struct.unpack("<4s4H2LH", data[at : at + 22])
    said = {"length": 44, "count": count, "size": size, "start": start, "where": at, **changes}
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", said["length"], 30, 45, 0, 0, count, said["count"],
                         said["size"], said["start"])  # fmt: skip
    return data[:at] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, said["where"], 1) + data[at:]


# -- reading ----------------------------------------------------------------------------------------


def loaded(folder: pathlib.Path, data: bytes) -> dict[str, np.ndarray]:
    """What a file of these bytes holds, read under watch."""
    path = folder / "file"
    path.write_bytes(data)
    with watched(folder):
        return load(path)
