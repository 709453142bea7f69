"""Hostile files, part 3: weights in HDF5 and in .npy members."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from samples import archive, keras_file, npy, npz_members, patched, weights


def h5_cases() -> Iterator[tuple[str, bytes]]:
    def changed(change: Callable[[h5py.File], Any], **options: Any) -> bytes:
        return weights(change, **options)

    kernel, cell = "layers/lstm/cell/vars/0", "layers/lstm/cell/vars"

    def replaced(path: str, make: Callable[[h5py.File], Any]) -> bytes:
        def change(file: h5py.File) -> None:
            del file[path]
            made = make(file)
            if made is not None:
                file[path] = made

        return changed(change)

    def dataset(path: str = kernel, **arguments: Any) -> Callable[[h5py.File], None]:
        def make(file: h5py.File) -> None:
            file.create_dataset(path, **arguments)

        return make

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((2, 12), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (2, 12), "f4")
        file.create_virtual_dataset(kernel, layout)

    def named_type(file: h5py.File) -> None:
        file["type"] = np.dtype("f4")
        file.create_dataset(kernel, shape=(2, 12), dtype=file["type"], data=np.zeros((2, 12), "f4"))

    def brain_float(file: h5py.File) -> None:
        kind = h5py.h5t.IEEE_F16LE.copy()
        kind.set_fields(15, 7, 8, 0, 7)
        kind.set_ebias(127)
        space = h5py.h5s.create_simple((2, 12))
        h5py.h5d.create(file.id, kernel.encode(), kind, space).write(space, space, np.zeros((2, 12), "f4"))

    zeros = np.zeros((2, 12), "f4")
    outside = [("/etc/passwd", 0, 96)]
    files = {
        "no-bytes": b"",
        "noise": random.Random(2).randbytes(4000),
        "signature-only": b"\x89HDF\r\n\x1a\n",
        "signature-and-zeros": b"\x89HDF\r\n\x1a\n" + bytes(4000),
        "newer-format": changed(lambda f: None, libver="latest"),
        "user-block": changed(lambda f: None, userblock_size=512),
        "other-layout": replaced("layers", lambda f: f.create_group("model_weights") and None),
        "layers-an-array": replaced("layers", lambda f: zeros),
        "layer-missing": changed(lambda f: f.pop("layers/dense")),
        "layer-an-array": replaced("layers/dense", lambda f: zeros),
        "vars-missing": changed(lambda f: f.pop(cell)),
        "vars-an-array": replaced(cell, lambda f: zeros),
        "array-missing": changed(lambda f: f.pop(kernel)),
        "array-a-group": replaced(kernel, lambda f: f.create_group(kernel) and None),
        "array-too-many": changed(lambda f: f.create_dataset(f"{cell}/3", data=zeros)),
        "array-renamed": changed(lambda f: f.move(kernel, f"{cell}/x")),
        "soft-link-array": replaced(kernel, lambda f: h5py.SoftLink("/layers/lstm/cell/vars/1")),
        "soft-link-group": replaced("layers/lstm/cell", lambda f: h5py.SoftLink("/layers/dense")),
        "soft-link-to-itself": replaced(kernel, lambda f: h5py.SoftLink(f"/{kernel}")),
        "soft-link-layers": replaced("layers", lambda f: h5py.SoftLink("/layers")),
        "soft-link-beside": changed(lambda f: f["layers"].update(x=h5py.SoftLink("/vars"))),
        "external-link-array": replaced(kernel, lambda f: h5py.ExternalLink("/etc/passwd", "/x")),
        "external-link-group": replaced("layers/lstm/cell", lambda f: h5py.ExternalLink("other.h5", "/cell")),
        "external-link-root": replaced("layers", lambda f: h5py.ExternalLink("other.h5", "/layers")),
        "external-storage": replaced(kernel, dataset(shape=(2, 12), dtype="f4", external=outside)),
        "virtual": replaced(kernel, virtual),
        "hard-link-circle": replaced("layers/lstm/cell", lambda f: f["layers/lstm"]),
        "hard-link-circle-up": replaced(cell, lambda f: f["/"]),
        "shape-transposed": replaced(kernel, lambda f: zeros.T),
        "shape-flat": replaced(kernel, lambda f: zeros.ravel()),
        "shape-scalar": replaced(kernel, lambda f: np.float32(1)),
        "shape-null": replaced(kernel, dataset(data=h5py.Empty("f4"))),
        "shape-longer": replaced(kernel, lambda f: np.zeros((3, 12), "f4")),
        "shape-rank-32": replaced(kernel, lambda f: np.zeros((1,) * 32, "f4")),
        "shape-of-pebibytes": replaced(kernel, dataset(shape=(2**25, 2**25), dtype="f4", chunks=(64, 64))),
        "never-written": replaced(kernel, dataset(shape=(2, 12), dtype="f4")),
        "chunked": replaced(kernel, dataset(data=zeros, chunks=(1, 12))),
        "gzip": replaced(kernel, dataset(data=zeros, chunks=(1, 12), compression="gzip")),
        "lzf": replaced(kernel, dataset(data=zeros, chunks=(1, 12), compression="lzf")),
        "fletcher32": replaced(kernel, dataset(data=zeros, chunks=(1, 12), fletcher32=True)),
        "scale-offset": replaced(kernel, dataset(data=zeros.astype(int), chunks=(1, 12), scaleoffset=0)),
        "unlimited": replaced(kernel, dataset(data=zeros, maxshape=(None, 12))),
        "type-int": replaced(kernel, lambda f: zeros.astype("i4")),
        "type-bool": replaced(kernel, lambda f: zeros.astype(bool)),
        "type-complex": replaced(kernel, lambda f: zeros.astype("c8")),
        "type-long-double": replaced(kernel, lambda f: zeros.astype("g")),
        "type-bytes": replaced(kernel, lambda f: zeros.astype("S4")),
        "type-opaque": replaced(kernel, lambda f: zeros.view("V4")),
        "type-compound": replaced(kernel, lambda f: zeros.view([("a", "f4")])),
        "type-array": replaced(kernel, dataset(shape=(2,), dtype=np.dtype(("f4", (12,))))),
        "type-text": replaced(kernel, dataset(shape=(2, 12), dtype=h5py.string_dtype())),
        "type-ragged": replaced(kernel, dataset(shape=(2, 12), dtype=h5py.vlen_dtype("f4"))),
        "type-reference": replaced(kernel, dataset(shape=(2, 12), dtype=h5py.ref_dtype)),
        "type-enum": replaced(kernel, dataset(shape=(2, 12), dtype=h5py.enum_dtype({"a": 1}))),
        "type-named": replaced(kernel, named_type),
        "type-brain-float": replaced(kernel, brain_float),
        "name-of-another-layer": changed(lambda f: f["layers/lstm/vars"].attrs.update(name="lstm_1")),
        "name-not-utf8": changed(lambda f: f["layers/lstm/vars"].attrs.update(name=np.bytes_(b"\xff"))),
        "name-a-number": changed(lambda f: f["layers/lstm/vars"].attrs.update(name=3)),
        "name-a-list": changed(lambda f: f["layers/lstm/vars"].attrs.update(name=["lstm"] * 3000)),
        "name-empty": changed(lambda f: f["layers/lstm/vars"].attrs.update(name=h5py.Empty("S4"))),
        "group-of-many": changed(lambda f: f["layers"].update({f"x{i}": f["vars"] for i in range(9000)})),
    }
    for name, data in files.items():
        yield name, keras_file(h5=data)
    good = weights()
    for part in range(1, 16):
        yield f"cut-{part}", keras_file(h5=good[: len(good) * part // 16])
    yield "cut-last-byte", keras_file(h5=good[:-1])
    yield "headers-in-a-circle", keras_file(h5=circular_header(good))


def circular_header(good: bytes) -> bytes:
    """The root's object header as 65,535 messages, each of which says to read the whole file again."""
    message = struct.pack("<2HI2Q", 0x10, 16, 0, 0, len(good) + 16 + 24 * 5000)
    header = struct.pack("<2BH3I", 1, 0, 65535, 1, 24 * 5000, 0)
    # The root's entry in the superblock holds the address of its header.
    return patched(good, 64, "Q", len(good)) + header + message * 5000


def npz_cases() -> Iterator[tuple[str, bytes]]:
    good = npz_members()
    kernel = "1/kernel.npy"
    array = np.zeros((3, 1), "f4")

    def header(text: bytes, version: bytes = b"\1\0", length: int | None = None) -> bytes:
        size = struct.pack("<H", len(text) if length is None else length)
        return b"\x93NUMPY" + version + size + text + array.tobytes()

    plain = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }\n"
    weights_of = {
        "pickled": npy(np.array([[1], [2], [3]], dtype=object)),
        "no-bytes": b"",
        "magic-only": b"\x93NUMPY",
        "noise": random.Random(3).randbytes(500),
        "header-longer-than-file": header(plain, length=65535),
        "header-nested": header(b"(" * 5000 + b"\n"),
        "header-of-code": header(b"__import__('os').system('true')\n"),
        "header-unary": header(b"-" * 60000 + b"1\n"),
        "version-2": header(plain, b"\2\0"),
        "version-9": header(plain, b"\x09\0"),
        "shape-huge": header(plain.replace(b"3, 1", b"1000000000000, 1000000000000")),
        "shape-digits": header(plain.replace(b"3, 1", b"9" * 900)),
        "shape-negative": header(plain.replace(b"3, 1", b"-3, -1")),
        "shape-other": npy(array.T),
        "shape-flat": npy(array.ravel()),
        "data-short": npy(array)[:-1],
        "data-long": npy(array) + b"\0",
        "type-int": npy(array.astype("i4")),
        "type-double": npy(array.astype("f8")),
        "type-half": npy(array.astype("f2")),
        "type-complex": npy(array.astype("c8")),
        "type-record": npy(array.view([("a", "f4")])),
        "type-object-claimed": header(plain.replace(b"<f4", b"|O")),
    }
    for name, data in weights_of.items():
        yield f"weight-{name}", archive({**good, kernel: data})
    configs = {
        "pickled": npy(np.array([{"format": "fastlstm"}], dtype=object)),
        "two-axes": npy(np.zeros((2, 2), np.uint8)),
        "scalar": npy(np.uint8(1)[()]),
        "signed": npy(np.zeros(5, np.int8)),
        "no-json": npy(np.zeros(5, np.uint8)),
        "length-lies": good["config.npy"] + b" ",
    }
    for name, data in configs.items():
        yield f"config-{name}", archive({**good, "config.npy": data})
    for i, head in enumerate(
        ({"format": "other"}, {"format": None}, {"version": 2}, {"version": "1"}, {"version": True})
    ):
        yield f"head-{i}", archive(npz_members(head))
    yield "weight-missing", archive({k: v for k, v in good.items() if k != kernel})
    yield "weight-extra", archive({**good, "2/kernel.npy": npy(array)})
    yield "member-extra", archive({**good, "code.py": b"raise SystemExit"})
    other = io.BytesIO()
    np.savez(other, a=np.zeros(3))
    yield "of-someone-else", other.getvalue()
