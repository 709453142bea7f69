"""Hostile files, part 2: configurations that are no decent JSON, and files that are something else altogether."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import tarfile
from typing import Any

from hostile_case import Attacks, Link, Make, Pipe, model, with_config, with_weights
from samples import (
    architecture,
    archive,
    folder,
    keras_file,
    keras_members,
    npy,
    npz_members,
    numbers,
    text_of,
    weights,
    whole_h5,
)


def cases() -> Attacks:
    for name, text in _texts().items():
        yield "text", name, with_config(text)
    for name, text in _metadata().items():
        members = {**keras_members(), "metadata.json": text}
        yield "text", f"metadata-{name}", {"directory": lambda m=members: folder(m)}
    yield from _impostors()
    yield from _folders()
    yield from _cuts()


def _texts() -> dict[str, bytes]:
    good = text_of(architecture())
    unique = b",".join(b'"%d":1' % i for i in range(60_000))
    layer = text_of(architecture()["config"]["layers"][2])
    replaced = {
        "duplicate-key": b'"units": 3, "units": 4',
        "nan": b'"units": NaN',
        "infinity": b'"units": -Infinity',
        "overflow": b'"units": 1e999',
        "long-integer": b'"units": 1' + b"0" * 5000,
        "long-float": b'"units": 1.' + b"0" * 10**6 + b"1",
        "integer-of-65-bits": b'"units": 18446744073709551616',
        "integer-of-64-bits-negative": b'"units": -9223372036854775809',
        "float": b'"units": 3.0',
        "exponent": b'"units": 3e0',
        "comment": b'"units": /* three */ 3',
        "hexadecimal": b'"units": 0x3',
    }
    return {
        "empty": b"",
        "not-json": b"{'a': 1}",
        "not-utf8": b'{"a": "\xff\xfe"}',
        "overlong-utf8": good.replace(b"model", b"mod\xc0\xaf", 1),
        "utf16": good.decode().encode("utf-16"),
        "byte-order-mark": b"\xef\xbb\xbf" + good,
        "zeros-after": good + b"\0" * 10 + b" ",
        "trailing": good + b"{}",
        "cut": good[:-1],
        "list": b"[]",
        "string": b'"Sequential"',
        "null": b"null",
        "object-of-nothing": b"{}",
        "yaml": b"!!python/object/apply:os.system [true]\n",
        "yaml-model": b"class_name: Sequential\nconfig:\n  layers: []\n",
        "oversized": good + b" " * (5 * 2**20),
        "too-many-lists": b"[" + b"[]," * 10**6 + b"[]]",
        "too-many-quotes": b'{"' + b'"' * (3 * 2**20),
        "too-many-escapes": b'{"' + b'\\"' * 2**20,
        "too-many-layers": good.replace(layer, b", ".join([layer] * 3000)),
        "wide-characters": b'{"' + "\U0001f40d".encode() * 2**20 + b'"',
        "lone-surrogate": good.replace(b'"dense"', b'"\\ud800"'),
        "deep-lists": b"[" * 100_000,
        "deep-objects": b'{"a":' * 100_000,
        "deep-in-place": good.replace(b'"trainable": true', b'"trainable": ' + b"[" * 70 + b"]" * 70),
        "duplicate-class": good[:-1] + b', "class_name": "Sequential"}',
        "duplicate-among-many": good[:-1] + b', "a": {' + unique + b', "59999": 1}}',
        **{name: good.replace(b'"units": 3', text) for name, text in replaced.items()},
    }


def _metadata() -> dict[str, bytes]:
    return {
        "list": b'{"keras_version": ["3"]}',
        "deep": b'{"a":' * 100_000,
        "huge": b'{"keras_version": "' + b"3" * (5 * 2**20) + b'"}',
        "not-json": b"3.15.1",
    }


# -- files that are something else -------------------------------------------------------------------


def _impostors() -> Attacks:
    """Whatever may bear the name of a model or of weights; each in both places."""
    tar, zipped = io.BytesIO(), gzip.compress(keras_file())
    with tarfile.open(fileobj=tar, mode="w") as file:
        entry = tarfile.TarInfo("../../evil")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(entry)
    things = {
        "empty": b"",
        "one-byte": b"P",
        "zip-magic-only": b"PK\3\4",
        "hdf5-magic-only": b"\x89HDF\r\n\x1a\n",
        "noise": random.Random(1).randbytes(5000),
        "text": b"not a model\n" * 100,
        "html": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "pickle": pickle.dumps(os.system),
        "pickle-of-protocol-0": b"cos\nsystem\n(S'true'\ntR.",
        "torch": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "array": npy(numbers((3, 1))),
        "pickled-array": npy(numbers((3, 1)).astype(object)),
        "tar-of-links": tar.getvalue(),
        "gzip": zipped,
        "bzip2": b"BZh91AY&SY" + bytes(100),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "elf": b"\x7fELF" + bytes(100),
        "python": b"import os\nos.system('true')\n",
        "saved-model": b"\x08\x01\x12\x05saved_model.pb",
        "onnx": b"\x08\x07\x12\x07pytorch",
        "tflite": b"\x1c\0\0\0TFL3" + bytes(100),
        "safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
        "spaces-and-json": b" " * 100 + text_of(architecture()),
    }
    for name, data in things.items():
        forms: dict[str, Make] = {
            "zip": lambda data=data: {"model": keras_file(h5=data)},
            "h5": lambda data=data: {"model": data},
            "directory": lambda data=data: folder(keras_members(h5=data)),
            "json": lambda data=data: {"model": text_of(architecture()), "weights": data},
        }
        yield "impostor", name, forms
    yield "impostor", "h5-without-architecture", model(weights, "h5")
    yield "impostor", "architecture-without-weights", model(lambda: text_of(architecture()), "json")
    double = {"model": text_of(architecture()), "weights": text_of(architecture())}
    yield "impostor", "architecture-as-weights", {"json": lambda: double}
    yield "impostor", "json-and-hdf5-in-one", model(lambda: text_of(architecture()) + weights(), "json")
    yield "impostor", "zip-behind-hdf5", model(lambda: weights() + keras_file(), "h5")
    yield "impostor", "hdf5-behind-zip", model(lambda: keras_file() + weights(), "zip")


def _folders() -> Attacks:
    members = keras_members()
    for name in ("model.weights.h5", "config.json", "metadata.json"):
        things: dict[str, Any] = {
            "link-to-passwd": Link("/etc/passwd"),
            "link-to-itself": Link(name),
            "link-to-nothing": Link("nowhere"),
            "link-to-a-good-file": Link("../good"),
            "link-to-zero": Link("/dev/zero"),
            "pipe": Pipe(),
            "folder": {"inside": b""},
        }
        for label, thing in things.items():
            parts = {**folder(members), f"model/{name}": thing, "good": members[name]}
            if isinstance(thing, dict):
                parts = {**{k: v for k, v in parts.items() if k != f"model/{name}"}, f"model/{name}/inside": b""}
            yield "links", f"{label}-{name}", {"directory": lambda parts=parts: parts}
    for label, names in (("empty", []), ("without-config", ["model.weights.h5"]), ("without-weights", ["config.json"])):
        parts = {"model/other": b"", **folder({name: members[name] for name in names})}
        yield "links", f"folder-{label}", {"directory": lambda parts=parts: parts}
    for label, target in (("passwd", "/etc/passwd"), ("itself", "model"), ("zero", "/dev/zero"), ("folder", "/")):
        yield "links", f"model-linked-to-{label}", {"json": lambda target=target: {"model": Link(target)}}
    good = text_of(architecture())
    for label, thing in (("passwd", Link("/etc/passwd")), ("pipe", Pipe()), ("zero", Link("/dev/zero"))):
        yield "links", f"weights-are-{label}", {"json": lambda t=thing: {"model": good, "weights": t}}


def _cuts() -> Attacks:
    """Every file ends too soon, in many places."""
    config, h5 = text_of(architecture()), weights()
    for part in range(1, 24):
        yield "cut", f"text-part-{part}", with_config(config[: len(config) * part // 24])
        yield "cut", f"weights-part-{part}", with_weights(lambda part=part: h5[: len(h5) * part // 24])
    for form, data, step in (("zip", keras_file(), 256), ("npz", archive(npz_members()), 128), ("h5", whole_h5(), 64)):
        for at in [*range(step, len(data), step), len(data) - 1]:
            yield "cut", f"at-{at}", model(lambda data=data, at=at: data[:at], form)
    for at in [*range(64, len(h5), 64), len(h5) - 1]:
        files = {"model": config, "weights": h5[:at]}
        yield "cut", f"weights-at-{at}", {"weights.h5": lambda files=files: files}
