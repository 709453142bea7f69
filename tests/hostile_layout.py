"""Hostile files, part 8: HDF5 in the layout of Keras 1 and 2: attributes and what they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from hostile_case import Attacks, with_legacy
from samples import legacy, numbers

Change = Callable[[h5py.File, Any], Any]


def cases() -> Attacks:
    changes = {"path": _paths, "outside": _outside, "layout": _layouts, "kinds": _kinds, "attributes": _attributes}
    for threat, make in changes.items():
        for name, change in make():
            yield threat, name, with_legacy(change)
    for name, options in (("newer-format", {"libver": "latest"}), ("user-block", {"userblock_size": 512})):
        yield "layout", name, with_legacy(lambda file, group: None, **options)
    yield from _model_config()


def _names(*given: Any) -> Change:
    return lambda file, group: group.attrs.__setitem__("layer_names", list(given))


def _weights_of(*given: Any) -> Change:
    return lambda file, group: group["dense"].attrs.__setitem__("weight_names", list(given))


def _replaced(make: Callable[[Any], Any], path: str = "dense/dense/kernel:0") -> Change:
    def change(file: h5py.File, group: Any) -> None:
        del group[path]
        made = make(group)
        if made is not None:
            group[path] = made

    return change


def _dataset(**arguments: Any) -> Change:
    return _replaced(lambda group: group.create_dataset("dense/dense/kernel:0", **arguments) and None)


def _paths() -> Iterator[tuple[str, Change]]:
    paths = ["..", "../dense", "/etc/passwd", "/model_weights/dense", "dense/../dense", ".", "", "dense//", "a\\b"]
    for i, path in enumerate(paths):
        yield f"layer-{i}", _names("lstm", path)
        yield f"weight-{i}", _weights_of(path, "dense/bias:0")
        yield f"group-{i}", _weights_of(f"{path}/kernel:0", "dense/bias:0")


def _outside() -> Iterator[tuple[str, Change]]:
    yield "soft-link", _replaced(lambda group: h5py.SoftLink("/lstm"), "dense")
    yield "soft-link-array", _replaced(lambda group: h5py.SoftLink("../bias:0"))
    yield "soft-link-to-nothing", _replaced(lambda group: h5py.SoftLink("/nowhere"))
    yield "external-link", _replaced(lambda group: h5py.ExternalLink("/etc/passwd", "/"), "dense")
    yield "external-link-array", _replaced(lambda group: h5py.ExternalLink("other.h5", "/x"))
    yield "external-storage", _dataset(shape=(3, 1), dtype="f4", external=[("/etc/passwd", 0, 12)])

    def virtual(group: Any) -> None:
        layout = h5py.VirtualLayout((3, 1), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (3, 1), "f4")
        group.create_virtual_dataset("dense/dense/kernel:0", layout)

    yield "virtual", _replaced(virtual)


def _layouts() -> Iterator[tuple[str, Change]]:
    def swapped(file: h5py.File, group: Any) -> None:
        for old, new in (("dense", "x"), ("lstm", "dense"), ("x", "lstm")):
            group.move(old, new)

    yield "layer-missing", lambda file, group: group.pop("dense")
    yield "layer-names-missing", lambda file, group: group.attrs.__delitem__("layer_names")
    yield "weight-names-missing", lambda file, group: group["dense"].attrs.__delitem__("weight_names")
    yield "layer-twice", _names("dense", "dense")
    yield "layer-too-many", _names("lstm", "dense", "dense")
    yield "layer-too-few", _names("lstm")
    yield "layers-swapped", swapped
    yield "layers-none", _names()
    yield "layers-two-thousand", _names(*["dense"] * 2000)
    yield "layers-one-a-thousand-times", _names(*["dense"] * 1000)
    yield "weight-twice", _weights_of("dense/kernel:0", "dense/kernel:0")
    yield "weight-of-another-layer", _weights_of("lstm/kernel:0", "lstm/bias:0")
    yield "weights-too-many", _weights_of("dense/kernel:0", "dense/bias:0", "dense/bias:0")
    yield "weights-too-few", _weights_of("dense/kernel:0")
    yield "weights-none", _weights_of()
    yield "weights-swapped", _weights_of("dense/bias:0", "dense/kernel:0")
    yield "weights-four-thousand", _weights_of(*["dense/kernel:0"] * 4000)
    yield "names-deep", _names("lstm", "dense/" * 3000)
    yield "names-long", _names("lstm", "d" * 60_000)
    yield "hard-link-circle", _replaced(lambda group: group, "dense/dense")
    yield "same-numbers-twice", _replaced(lambda group: group["dense/dense/bias:0"])
    yield "array-a-group", _replaced(lambda group: group.create_group("dense/dense/kernel:0") and None)
    yield "layer-an-array", _replaced(lambda group: numbers((3, 1)), "dense")


def _kinds() -> Iterator[tuple[str, Change]]:
    column = numbers((3, 1))
    kinds: dict[str, dict[str, Any]] = {
        "chunked": {"data": column, "chunks": (1, 1)},
        "gzip": {"data": column, "compression": "gzip"},
        "lzf": {"data": column, "compression": "lzf"},
        "fletcher32": {"data": column, "fletcher32": True},
        "scale-offset": {"data": column.astype(int), "scaleoffset": 0},
        "unlimited": {"data": column, "maxshape": (None, 1)},
        "never-written": {"shape": (3, 1), "dtype": "f4"},
        "of-pebibytes": {"shape": (2**25, 2**25), "dtype": "f4", "chunks": (64, 64)},
        "other-shape": {"data": numbers((1, 3))},
        "null": {"data": h5py.Empty("f4")},
        "text": {"shape": (3, 1), "dtype": h5py.string_dtype()},
        "ragged": {"shape": (3, 1), "dtype": h5py.vlen_dtype("f4")},
        "reference": {"shape": (3, 1), "dtype": h5py.ref_dtype},
        "enum": {"data": np.zeros((3, 1), "i1"), "dtype": h5py.enum_dtype({"a": 0}, "i1")},
        "compound": {"data": column.view([("a", "f4")])},
        "bool": {"data": np.zeros((3, 1), bool)},
        "complex": {"data": np.zeros((3, 1), "c8")},
        "short": {"data": np.zeros((3, 1), "i2")},
    }
    for name, arguments in kinds.items():
        yield name, _dataset(**arguments)


def _attributes() -> Iterator[tuple[str, Change]]:
    values: dict[str, Any] = {
        "number": 3,
        "float": 2.5,
        "true": True,
        "numbers": np.zeros(5),
        "matrix-of-text": np.array([[b"a"], [b"b"]]),
        "not-utf8": np.bytes_(b"\xff\xfe"),
        "null": h5py.Empty("S4"),
        "opaque": np.void(b"lstm"),
        "compound": np.zeros(2, [("a", "S4")]),
        "reference": "itself",
        "enum": np.array([0], h5py.enum_dtype({"a": 0}, "i1")),
        "long": ["x" * 2_000_000] * 9,
        "many": [""] * 4000,
        "controls": ["a\x1b[2J\n"],
        "code": ["__import__('os').system('true')"],
    }
    for name, value in values.items():
        for key, path in (("layer_names", ""), ("weight_names", "dense"), ("keras_version", ""), ("backend", "")):
            if name in ("controls", "code") and key in ("keras_version", "backend"):
                continue  # text, if odd

            def change(file: h5py.File, group: Any, key: str = key, path: str = path, value: Any = value) -> None:
                place = group[path] if path else group
                if isinstance(value, str):
                    place.attrs.create(key, place.ref, dtype=h5py.ref_dtype)
                else:
                    place.attrs[key] = value
                if key == "keras_version" and file is not group:
                    file.attrs[key] = place.attrs.get(key) if not isinstance(value, str) else 3

            yield f"{key}-{name}", change
    for key in ("layer_names", "weight_names"):
        for count in (65, 200):

            def split(file: h5py.File, group: Any, key: str = key, count: int = count) -> None:
                place = group if key == "layer_names" else group["dense"]
                del place.attrs[key]
                for i in range(count):
                    place.attrs[f"{key}{i}"] = [b"dense"] * 3

            yield f"{key}-in-{count}-parts", split
    yield "many-on-a-group", lambda file, group: [group.attrs.__setitem__(f"a{i}", i) for i in range(5000)]


def _model_config() -> Attacks:
    """The attribute that holds a whole model's architecture."""
    values: dict[str, Any] = {
        "number": 3,
        "numbers": np.zeros(5),
        "list": [json.dumps(legacy())] * 2,
        "empty": "",
        "null": h5py.Empty("S4"),
        "not-utf8": np.bytes_(b"\xff{}"),
        "opaque": np.void(b"{}"),
        "huge": "{" + " " * 5_000_000 + "}",
        "huge-list": [json.dumps(legacy())] * 3000,
        "quoted": json.dumps(json.dumps(legacy())),
    }

    def put(value: Any) -> Change:
        return lambda file, group: file.attrs.__setitem__("model_config", value)

    for name, value in values.items():
        yield "attributes", f"model_config-{name}", {"h5": with_legacy(put(value))["h5"]}

    def reference(file: h5py.File, group: Any) -> None:
        file.attrs.create("model_config", file.ref, dtype=h5py.ref_dtype)

    yield "attributes", "model_config-reference", {"h5": with_legacy(reference)["h5"]}
    missing = with_legacy(lambda file, group: file.attrs.__delitem__("model_config"))
    yield "attributes", "model_config-missing", {"h5": missing["h5"]}
