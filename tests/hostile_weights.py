"""Hostile files, part 7: weights in the layout of Keras 3, and in .npy members."""

from __future__ import annotations

import io
import pickle
import random
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import h5py
import numpy as np
from hostile_case import Attacks, Make, model, with_changed
from samples import architecture, archive, npy, npz_members, text_of, weights

KERNEL, CELL = "layers/lstm/cell/vars/0", "layers/lstm/cell/vars"


def cases() -> Attacks:
    yield from _modern()
    yield from _npz()


def _replaced(path: str, make: Callable[[h5py.File], Any]) -> dict[str, Make]:
    def change(file: h5py.File) -> None:
        del file[path]
        made = make(file)
        if made is not None:
            file[path] = made

    return with_changed(change)


def _dataset(**arguments: Any) -> dict[str, Make]:
    return _replaced(KERNEL, lambda file: file.create_dataset(KERNEL, **arguments) and None)


def _modern() -> Attacks:
    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((2, 12), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (2, 12), "f4")
        file.create_virtual_dataset(KERNEL, layout)

    def named_type(file: h5py.File) -> None:
        file["type"] = np.dtype("f4")
        file.create_dataset(KERNEL, shape=(2, 12), dtype=file["type"], data=np.zeros((2, 12), "f4"))

    def brain_float(file: h5py.File) -> None:
        kind = h5py.h5t.IEEE_F16LE.copy()
        kind.set_fields(15, 7, 8, 0, 7)
        kind.set_ebias(127)
        space = h5py.h5s.create_simple((2, 12))
        h5py.h5d.create(file.id, KERNEL.encode(), kind, space).write(space, space, np.zeros((2, 12), "f4"))

    zeros = np.zeros((2, 12), "f4")
    outside = {
        "soft-link-array": _replaced(KERNEL, lambda f: h5py.SoftLink("/layers/lstm/cell/vars/1")),
        "soft-link-group": _replaced("layers/lstm/cell", lambda f: h5py.SoftLink("/layers/dense")),
        "soft-link-to-itself": _replaced(KERNEL, lambda f: h5py.SoftLink(f"/{KERNEL}")),
        "soft-link-layers": _replaced("layers", lambda f: h5py.SoftLink("/layers")),
        "soft-link-beside": with_changed(lambda f: f["layers"].update(x=h5py.SoftLink("/vars"))),
        "external-link-array": _replaced(KERNEL, lambda f: h5py.ExternalLink("/etc/passwd", "/x")),
        "external-link-group": _replaced("layers/lstm/cell", lambda f: h5py.ExternalLink("other.h5", "/cell")),
        "external-link-root": _replaced("layers", lambda f: h5py.ExternalLink("other.h5", "/layers")),
        "external-storage": _dataset(shape=(2, 12), dtype="f4", external=[("/etc/passwd", 0, 96)]),
        "external-storage-relative": _dataset(shape=(2, 12), dtype="f4", external=[("../../x", 0, h5py.h5f.UNLIMITED)]),
        "virtual": _replaced(KERNEL, virtual),
    }
    shapes = {
        "transposed": _replaced(KERNEL, lambda f: zeros.T),
        "flat": _replaced(KERNEL, lambda f: zeros.ravel()),
        "scalar": _replaced(KERNEL, lambda f: np.float32(1)),
        "null": _dataset(data=h5py.Empty("f4")),
        "longer": _replaced(KERNEL, lambda f: np.zeros((3, 12), "f4")),
        "rank-32": _replaced(KERNEL, lambda f: np.zeros((1,) * 32, "f4")),
        "of-pebibytes": _dataset(shape=(2**25, 2**25), dtype="f4", chunks=(64, 64)),
        "of-no-rows": _dataset(shape=(0, 12), dtype="f4"),
    }
    groups = {
        "other-layout": _replaced("layers", lambda f: f.create_group("model_weights") and None),
        "layers-an-array": _replaced("layers", lambda f: zeros),
        "layer-missing": with_changed(lambda f: f.pop("layers/dense")),
        "layer-an-array": _replaced("layers/dense", lambda f: zeros),
        "vars-missing": with_changed(lambda f: f.pop(CELL)),
        "vars-an-array": _replaced(CELL, lambda f: zeros),
        "array-missing": with_changed(lambda f: f.pop(KERNEL)),
        "array-a-group": _replaced(KERNEL, lambda f: f.create_group(KERNEL) and None),
        "array-too-many": with_changed(lambda f: f.create_dataset(f"{CELL}/3", data=zeros)),
        "array-renamed": with_changed(lambda f: f.move(KERNEL, f"{CELL}/x")),
        "hard-link-circle": _replaced("layers/lstm/cell", lambda f: f["layers/lstm"]),
        "hard-link-circle-up": _replaced(CELL, lambda f: f["/"]),
        "name-of-another-layer": with_changed(lambda f: f["layers/lstm/vars"].attrs.update(name="lstm_1")),
        "name-not-utf8": with_changed(lambda f: f["layers/lstm/vars"].attrs.update(name=np.bytes_(b"\xff"))),
        "name-a-number": with_changed(lambda f: f["layers/lstm/vars"].attrs.update(name=3)),
        "name-a-list": with_changed(lambda f: f["layers/lstm/vars"].attrs.update(name=["lstm"] * 3000)),
        "name-empty": with_changed(lambda f: f["layers/lstm/vars"].attrs.update(name=h5py.Empty("S4"))),
        "group-of-many": with_changed(lambda f: f["layers"].update({f"x{i}": f["vars"] for i in range(9000)})),
        "newer-format": with_changed(lambda f: None, libver="latest"),
        "user-block": with_changed(lambda f: None, userblock_size=512),
    }
    kinds = {
        "never-written": _dataset(shape=(2, 12), dtype="f4"),
        "chunked": _dataset(data=zeros, chunks=(1, 12)),
        "gzip": _dataset(data=zeros, chunks=(1, 12), compression="gzip"),
        "lzf": _dataset(data=zeros, chunks=(1, 12), compression="lzf"),
        "shuffle": _dataset(data=zeros, chunks=(1, 12), shuffle=True),
        "fletcher32": _dataset(data=zeros, chunks=(1, 12), fletcher32=True),
        "scale-offset": _dataset(data=zeros.astype(int), chunks=(1, 12), scaleoffset=0),
        "unlimited": _dataset(data=zeros, maxshape=(None, 12)),
        "short": _replaced(KERNEL, lambda f: zeros.astype("i2")),
        "byte": _replaced(KERNEL, lambda f: zeros.astype("u1")),
        "bool": _replaced(KERNEL, lambda f: zeros.astype(bool)),
        "complex": _replaced(KERNEL, lambda f: zeros.astype("c8")),
        "long-double": _replaced(KERNEL, lambda f: zeros.astype("g")),
        "bytes": _replaced(KERNEL, lambda f: zeros.astype("S4")),
        "opaque": _replaced(KERNEL, lambda f: zeros.view("V4")),
        "compound": _replaced(KERNEL, lambda f: zeros.view([("a", "f4")])),
        "array": _dataset(shape=(2,), dtype=np.dtype(("f4", (12,)))),
        "text": _dataset(shape=(2, 12), dtype=h5py.string_dtype()),
        "ragged": _dataset(shape=(2, 12), dtype=h5py.vlen_dtype("f4")),
        "reference": _dataset(shape=(2, 12), dtype=h5py.ref_dtype),
        "region": _dataset(shape=(2, 12), dtype=h5py.regionref_dtype),
        "enum": _dataset(shape=(2, 12), dtype=h5py.enum_dtype({"a": 1})),
        "named": _replaced(KERNEL, named_type),
        "brain-float": _replaced(KERNEL, brain_float),
    }
    for threat, found in (("outside", outside), ("shape-bomb", shapes), ("layout", groups), ("kinds", kinds)):
        for name, makes in found.items():
            yield threat, f"array-{name}", makes


# -- our own file -------------------------------------------------------------------------------------


def _npz() -> Attacks:
    good = npz_members()
    kernel = "1/kernel.npy"
    array = np.zeros((3, 1), "f4")

    def header(text: bytes, version: bytes = b"\1\0", length: int | None = None) -> bytes:
        size = struct.pack("<H", len(text) if length is None else length)
        return b"\x93NUMPY" + version + size + text + array.tobytes()

    plain = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }\n"
    pickles = {
        "objects": npy(np.array([[1], [2], [3]], dtype=object)),
        "bare": pickle.dumps(print),
        "claimed": header(plain.replace(b"<f4", b"|O")),
        "code": header(b"__import__('os').system('true')\n"),
        "code-in-shape": header(plain.replace(b"3, 1", b"__import__('os').system('true'), 1")),
        "code-in-type": header(plain.replace(b"'<f4'", b"[('a', '|O')]")),
    }
    arrays = {
        "no-bytes": b"",
        "magic-only": b"\x93NUMPY",
        "noise": random.Random(3).randbytes(500),
        "header-longer-than-file": header(plain, length=65535),
        "header-nested": header(b"(" * 5000 + b"\n"),
        "header-unary": header(b"-" * 60000 + b"1\n"),
        "header-of-spaces": header(plain[:-1] + b" " * 60_000 + b"\n"),
        "version-2": header(plain, b"\2\0"),
        "version-9": header(plain, b"\x09\0"),
        "shape-other": npy(array.T),
        "shape-flat": npy(array.ravel()),
        "shape-negative": header(plain.replace(b"3, 1", b"-3, -1")),
        "data-short": npy(array)[:-1],
        "data-long": npy(array) + b"\0",
        "type-int": npy(array.astype("i4")),
        "type-double": npy(array.astype("f8")),
        "type-half": npy(array.astype("f2")),
        "type-complex": npy(array.astype("c8")),
        "type-record": npy(array.view([("a", "f4")])),
        "type-text": npy(np.array([["a"], ["b"], ["c"]])),
    }
    bombs = {
        "shape-huge": header(plain.replace(b"3, 1", b"1000000000000, 1000000000000")),
        "shape-digits": header(plain.replace(b"3, 1", b"9" * 900)),
        "shape-of-many-axes": header(plain.replace(b"3, 1", b"1, " * 300)),
    }
    for threat, found in (("pickle", pickles), ("kinds", arrays), ("shape-bomb", bombs)):
        for name, data in found.items():
            yield threat, f"npy-{name}", model(partial(archive, {**good, kernel: data}), "npz")
    configs = {
        "pickled": npy(np.array([{"format": "fastlstm"}], dtype=object)),
        "two-axes": npy(np.zeros((2, 2), np.uint8)),
        "scalar": npy(np.uint8(1)[()]),
        "signed": npy(np.zeros(5, np.int8)),
        "no-json": npy(np.zeros(5, np.uint8)),
        "text": npy(np.array(["{}"])),
        "length-lies": good["config.npy"] + b" ",
    }
    for name, data in configs.items():
        threat = "pickle" if name == "pickled" else "kinds"
        yield threat, f"config-{name}", model(partial(archive, {**good, "config.npy": data}), "npz")
    heads: tuple[dict[str, Any], ...] = (
        {"format": "other"}, {"format": None}, {"version": 2}, {"version": "1"}, {"version": True}, {"config": None},
        {"keras_version": 3}, {"keras_version": ["3"]}, {"class_name": "Lambda"},
    )  # fmt: skip
    for i, head in enumerate(heads):
        yield "structure", f"head-{i}", model(partial(archive, npz_members(head)), "npz")
    layouts = {
        "weight-missing": {k: v for k, v in good.items() if k != kernel},
        "weight-extra": {**good, "2/kernel.npy": npy(array)},
        "member-extra": {**good, "code.py": b"raise SystemExit"},
        "weights-swapped": {**good, kernel: good["1/bias.npy"], "1/bias.npy": good[kernel]},
        "config-alone": {"config.npy": good["config.npy"]},
        "members-by-thousands": {**good, **{f"{i}/x.npy": b"" for i in range(15_000)}},
    }
    for name, members in layouts.items():
        yield "layout", name, model(partial(archive, members), "npz")
    other = io.BytesIO()
    np.savez(other, a=np.zeros(3))
    yield "impostor", "npz-of-someone-else", model(other.getvalue, "npz")
    both = {"model": text_of(architecture()), "weights": archive(npz_members())}
    shorter = {**both, "weights": archive({k: v for k, v in good.items() if k != kernel})}
    yield "layout", "npz-beside-an-architecture", {"npz": lambda: shorter}
    yield "layout", "hdf5-in-npz", model(partial(archive, {**good, kernel: weights()}), "npz")
