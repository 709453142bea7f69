"""A small valid model in each format; the hostile files differ from it in one thing."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

Members = dict[str, bytes]
SHAPES = {"layers/lstm/cell/vars": [(2, 12), (3, 12), (12,)], "layers/dense/vars": [(3, 1), (1,)]}
NAMES = {
    "layers/lstm/cell/vars": "lstm_cell",
    "layers/lstm/vars": "lstm",
    "layers/dense/vars": "dense",
    "vars": "model",
}
GADGET = {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None}


def node(class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def architecture() -> dict[str, Any]:
    """InputLayer (None, 4, 2), LSTM(3), Dense(1), as Keras writes it."""
    policy = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "float32"},
        "registered_name": None,
    }
    layers = [
        node("InputLayer", batch_shape=[None, 4, 2], dtype="float32", sparse=False, ragged=False, name="in"),
        node("LSTM", name="lstm", trainable=True, dtype=policy, units=3, return_sequences=False),
        node("Dense", name="dense", trainable=True, dtype=policy, units=1, activation="linear"),
    ]
    config = {"name": "model", "trainable": True, "layers": layers, "build_input_shape": [None, 4, 2]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": "Sequential"}


def numbers(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype="float32").reshape(shape)


def weights(change: Callable[[h5py.File], Any] | None = None, **options: Any) -> bytes:
    """The HDF5 file of that model, after a change to it."""
    data = io.BytesIO()
    with h5py.File(data, "w", **options) as file:
        for path, name in NAMES.items():
            file.create_group(path).attrs["name"] = name
        for path, shapes in SHAPES.items():
            for i, shape in enumerate(shapes):
                file[f"{path}/{i}"] = numbers(shape)
        if change:
            change(file)
    return data.getvalue()


def archive(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return data.getvalue()


def keras_members(config: Any = None, h5: bytes | None = None) -> Members:
    text = config if isinstance(config, bytes) else json.dumps(config or architecture()).encode()
    metadata = b'{"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}'
    return {
        "metadata.json": metadata,
        "config.json": text,
        "model.weights.h5": weights() if h5 is None else h5,
    }


def keras_file(config: Any = None, h5: bytes | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    return archive(keras_members(config, h5), method)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    data = io.BytesIO()
    np.lib.format.write_array(data, array, allow_pickle=True)
    return data.getvalue()


def npz_members(head: dict[str, Any] | None = None) -> Members:
    """The same model in fastlstm's own format."""
    text = json.dumps({"format": "fastlstm", "version": 1, **architecture(), **(head or {})}).encode()
    members = {"config.npy": npy(np.frombuffer(text, np.uint8))}
    names = ["0/kernel", "0/recurrent_kernel", "0/bias", "1/kernel", "1/bias"]
    for name, shape in zip(names, [shape for shapes in SHAPES.values() for shape in shapes], strict=True):
        members[f"{name}.npy"] = npy(numbers(shape))
    return members


def valid() -> dict[str, bytes]:
    """Files that must load: the rest differ from them in one thing."""
    gadgets = architecture()
    gadgets["compile_config"] = gadgets["build_config"] = GADGET
    gadgets["config"]["layers"][2]["config"]["kernel_regularizer"] = GADGET
    gadgets["config"]["layers"][2]["build_config"] = GADGET
    bare = architecture()
    del bare["config"]["layers"][0]
    return {
        "keras": keras_file(),
        "keras-without-input-layer": keras_file(bare),
        "keras-deflated": keras_file(method=zipfile.ZIP_DEFLATED),
        "keras-inert-gadgets": keras_file(gadgets),
        "keras-other-members": archive(
            {**keras_members(), "assets/a.py": b"raise SystemExit"}
        ),
        "npz": archive(npz_members()),
        "npz-deflated": archive(npz_members(), zipfile.ZIP_DEFLATED),
    }


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<" + form, changed, at % len(data), *values)
    return bytes(changed)
