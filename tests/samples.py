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
Change = Callable[[h5py.File], Any]
SHAPES = {"layers/lstm/cell/vars": [(2, 12), (3, 12), (12,)], "layers/dense/vars": [(3, 1), (1,)]}
NAMES = {
    "layers/lstm/cell/vars": "lstm_cell",
    "layers/lstm/vars": "lstm",
    "layers/dense/vars": "dense",
    "vars": "model",
}
LEGACY = {"lstm": ["kernel", "recurrent_kernel", "bias"], "dense": ["kernel", "bias"]}
GADGET = {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None}
POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}


# -- configurations: InputLayer (None, 4, 2), LSTM(3), Dense(1) ----------------------------------------


def node(class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def nodes() -> list[dict[str, Any]]:
    return [
        node("InputLayer", batch_shape=[None, 4, 2], dtype="float32", sparse=False, ragged=False, name="in"),
        node("LSTM", name="lstm", trainable=True, dtype=POLICY, units=3, return_sequences=False),
        node("Dense", name="dense", trainable=True, dtype=POLICY, units=1, activation="linear"),
    ]


def architecture() -> dict[str, Any]:
    """A Sequential as Keras 3 writes it."""
    config = {"name": "model", "trainable": True, "layers": nodes(), "build_input_shape": [None, 4, 2]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": "Sequential"}


def tensor(layer: str, call: int = 0, output: int = 0) -> dict[str, Any]:
    config = {"shape": [None, 4, 2], "dtype": "float32", "keras_history": [layer, call, output]}
    return {"class_name": "__keras_tensor__", "config": config}


def call(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": kwargs}


def called(layer: dict[str, Any], *calls: dict[str, Any]) -> dict[str, Any]:
    return {**layer, "name": layer["config"].get("name"), "inbound_nodes": list(calls)}


def functional(layers: list[dict[str, Any]], inputs: Any, outputs: Any, name: str = "model") -> dict[str, Any]:
    config = {"name": name, "trainable": True, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    module = "keras.src.models.functional"
    return {"module": module, "class_name": "Functional", "config": config, "registered_name": "Functional"}


def graph() -> dict[str, Any]:
    """The same model as a Functional one."""
    first, lstm, dense = nodes()
    layers = [called(first), called(lstm, call(tensor("in"))), called(dense, call(tensor("lstm")))]
    return functional(layers, [["in", 0, 0]], [["dense", 0, 0]])


def legacy(sequential: bool = True) -> dict[str, Any]:
    """The same model as Keras 2 wrote it."""
    lstm = {"name": "lstm", "trainable": True, "dtype": "float32", "units": 3, "recurrent_activation": "sigmoid"}
    dense = {"name": "dense", "trainable": True, "dtype": "float32", "units": 1, "activation": "linear"}
    if sequential:
        lstm["batch_input_shape"] = [None, 4, 2]
        layers = [{"class_name": "LSTM", "config": lstm}, {"class_name": "Dense", "config": dense}]
        return {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
    first = {"batch_input_shape": [None, 4, 2], "dtype": "float32", "sparse": False, "name": "in"}
    parts = (("InputLayer", first, []), ("LSTM", lstm, ["in"]), ("Dense", dense, ["lstm"]))
    layers = [
        {"class_name": kind, "config": c, "name": c["name"], "inbound_nodes": [[[name, 0, 0, {}]] for name in names]}
        for kind, c, names in parts
    ]
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["dense", 0, 0]]}
    return {"class_name": "Model", "config": {"name": "model", "layers": layers, **ends}}


def with_operations() -> tuple[dict[str, Any], dict[str, Any]]:
    """The graphs of Keras 3 and of Keras 2 with a multiplication by one at the end."""
    new, old = graph(), legacy(sequential=False)
    kept = {"module": "keras.src.ops.numpy", "class_name": "Multiply", "registered_name": "Multiply"}
    new["config"]["layers"].append(called({**kept, "config": {"name": "x"}}, call(tensor("dense"), 1.0)))
    config = {"name": "x", "trainable": True, "dtype": "float32", "function": "math.multiply"}
    calls = [["dense", 0, 0, {"y": 1.0, "name": None}]]
    old["config"]["layers"].append({"class_name": "TFOpLambda", "config": config, "name": "x", "inbound_nodes": calls})
    new["config"]["output_layers"] = old["config"]["output_layers"] = [["x", 0, 0]]
    return new, old


def text_of(config: Any) -> bytes:
    return config if isinstance(config, bytes) else json.dumps(config).encode()


# -- weights -------------------------------------------------------------------------------------------


def numbers(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype="float32").reshape(shape)


def _written(make: Change, change: Change | None, **options: Any) -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w", **options) as file:
        make(file)
        if change:
            change(file)
    return data.getvalue()


def weights(change: Change | None = None, **options: Any) -> bytes:
    """The HDF5 file of that model in the layout of Keras 3, after a change to it."""

    def make(file: h5py.File) -> None:
        for path, name in NAMES.items():
            file.create_group(path).attrs["name"] = name
        for path, shapes in SHAPES.items():
            for i, shape in enumerate(shapes):
                file[f"{path}/{i}"] = numbers(shape)

    return _written(make, change, **options)


def legacy_weights(change: Change | None = None, inside: str = "", **options: Any) -> bytes:
    """The same in the layout of Keras 1 and 2, after a change to it."""

    def make(file: h5py.File) -> None:
        group = file.require_group(inside) if inside else file
        group.attrs["layer_names"] = np.array([name.encode() for name in LEGACY])
        group.attrs["keras_version"], group.attrs["backend"] = b"2.2.4", b"tensorflow"
        for (layer, names), shapes in zip(LEGACY.items(), SHAPES.values(), strict=True):
            part = group.create_group(layer)
            part.attrs["weight_names"] = np.array([f"{layer}/{name}:0".encode() for name in names])
            for name, shape in zip(names, shapes, strict=True):
                part[f"{layer}/{name}:0"] = numbers(shape)

    return _written(make, change, **options)


def whole_h5(config: Any = None, change: Change | None = None, version: str | None = None, **options: Any) -> bytes:
    """Architecture and weights in one HDF5 file, of Keras 2 or of another version."""
    text = text_of(legacy() if config is None else config)

    def described(file: h5py.File) -> None:
        stated = version or ("3.15.1" if b'"module"' in text else "2.2.4")
        file.attrs["keras_version"] = file["model_weights"].attrs["keras_version"] = stated.encode()
        file.attrs["model_config"] = np.bytes_(text) if b"\0" in text else text
        if change:
            change(file)

    return legacy_weights(described, "model_weights", **options)


# -- files ---------------------------------------------------------------------------------------------


def archive(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return data.getvalue()


def keras_members(config: Any = None, h5: bytes | None = None) -> Members:
    metadata = b'{"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}'
    return {
        "metadata.json": metadata,
        "config.json": text_of(architecture() if config is None else config),
        "model.weights.h5": weights() if h5 is None else h5,
    }


def keras_file(config: Any = None, h5: bytes | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    return archive(keras_members(config, h5), method)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    data = io.BytesIO()
    np.lib.format.write_array(data, array, allow_pickle=True)
    return data.getvalue()


def npz_members(head: dict[str, Any] | None = None, config: Any = None) -> Members:
    """The same model in fastlstm's own format; ``head`` changes what its configuration begins with."""
    text = text_of({"format": "fastlstm", "version": 1, **architecture(), **(head or {})})
    if config is not None:
        text = text_of(config).replace(b"{", b'{"format": "fastlstm", "version": 1, ', 1)
    members = {"config.npy": npy(np.frombuffer(text, np.uint8))}
    names = ["0/kernel", "0/recurrent_kernel", "0/bias", "1/kernel", "1/bias"]
    for name, shape in zip(names, [shape for shapes in SHAPES.values() for shape in shapes], strict=True):
        members[f"{name}.npy"] = npy(numbers(shape))
    return members


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<" + form, changed, at % len(data), *values)
    return bytes(changed)


# -- what must load ------------------------------------------------------------------------------------


def folder(members: Members) -> Members:
    return {f"model/{name}": data for name, data in members.items()}


#: Files for the loader, ``model`` and where the weights are another file ``weights``, of a configuration.
WITH_CONFIG: dict[str, Callable[[Any], Members]] = {
    "zip": lambda config: {"model": keras_file(config)},
    "directory": lambda config: folder(keras_members(config)),
    "h5": lambda config: {"model": whole_h5(config)},
    "json": lambda config: {"model": text_of(config), "weights": weights()},
    "npz": lambda config: {"model": archive(npz_members(config=config))},
}
#: The same of weights in the layout of Keras 3.
WITH_WEIGHTS: dict[str, Callable[[bytes], Members]] = {
    "zip": lambda h5: {"model": keras_file(h5=h5)},
    "directory": lambda h5: folder(keras_members(h5=h5)),
    "weights.h5": lambda h5: {"model": text_of(architecture()), "weights": h5},
}
#: The same of a change to weights in the layout of Keras 1 and 2, given the group that they are in.
WITH_LEGACY: dict[str, Callable[..., Members]] = {
    "h5": lambda change, **options: {"model": whole_h5(change=lambda f: change(f, f["model_weights"]), **options)},
    "legacy.h5": lambda change, **options: {
        "model": text_of(architecture()), "weights": legacy_weights(lambda f: change(f, f), **options)
    },
}  # fmt: skip


def valid() -> dict[str, Members]:
    """Files that must load, all to the same model: the hostile ones differ from them in one thing."""
    gadgets = architecture()
    gadgets["compile_config"] = gadgets["build_config"] = GADGET
    gadgets["config"]["layers"][1]["config"] |= {"seed": GADGET, "recurrent_constraint": GADGET}
    gadgets["config"]["layers"][2]["config"]["kernel_regularizer"] = GADGET
    gadgets["config"]["layers"][2]["build_config"] = GADGET
    bare = architecture()
    del bare["config"]["layers"][0]
    new, old = with_operations()
    single = {
        "keras-operation": keras_file(new),
        "tf-operation": whole_h5(old),
        "without-input-layer": keras_file(bare),
        "deflated": keras_file(method=zipfile.ZIP_DEFLATED),
        "inert-gadgets": keras_file(gadgets),
        "other-members": archive({**keras_members(), "assets/a.py": b"raise SystemExit"}),
        "npz-of-today": archive(npz_members()),
        "npz-deflated": archive(npz_members(), zipfile.ZIP_DEFLATED),
        "h5-of-keras-2": whole_h5(),
        "h5-of-keras-2-functional": whole_h5(legacy(sequential=False)),
    }
    pairs = {
        f"json-{name}": {"model": text_of(config), "weights": legacy_weights()}
        for name, config in (("keras-2", legacy()), ("graph-beside-old-weights", graph()))
    }
    return {
        **{name: {"model": data} for name, data in single.items()},
        **pairs,
        **{f"sequential-{name}": make(architecture()) for name, make in WITH_CONFIG.items()},
        **{f"graph-{name}": make(graph()) for name, make in WITH_CONFIG.items()},
        **{f"weights-{name}": make(weights()) for name, make in WITH_WEIGHTS.items()},
        **{f"legacy-{name}": make(lambda file, group: None) for name, make in WITH_LEGACY.items()},
    }
