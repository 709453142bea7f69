"""Hostile files, part 1: the zip container, and texts that are no decent JSON."""

from __future__ import annotations

import json
import pickle
import random
import struct
import zipfile
from collections.abc import Iterator

from samples import architecture, archive, keras_file, keras_members, patched, weights


def zip_cases() -> Iterator[tuple[str, bytes]]:
    good = keras_file()
    end, central = good.rfind(b"PK\5\6"), good.find(b"PK\1\2")
    second = good.find(b"PK\1\2", central + 1)
    third = good.find(b"PK\1\2", second + 1)
    yield "empty", b""
    yield "one-byte", b"P"
    yield "magic-only", b"PK\3\4"
    yield "noise", random.Random(1).randbytes(5000)
    yield "text", b"not a model\n" * 100
    yield "pickle", pickle.dumps({"a": 1})
    yield "bare-h5", weights()
    yield "zip-of-nothing", archive({})
    yield "zip-without-config", archive({"model.weights.h5": weights()})
    yield "zip-without-weights", archive({"config.json": json.dumps(architecture()).encode()})
    yield "junk-before", b"#!/bin/sh\n" + good
    yield "junk-after", good + b"junk"
    yield "junk-before-directory", good[:central] + b"junk" + good[central:]
    yield "comment-length-lies", patched(good, end + 20, "H", 5)
    yield "directory-elsewhere", patched(good, end + 16, "I", 0)
    yield "directory-beyond-the-file", patched(good, end + 16, "I", 2**31)
    yield "directory-huge", patched(good, end + 12, "I", 2**30)
    yield "directory-empty", patched(good, end + 8, "2H", 0, 0)
    yield "directory-counts-more", patched(good, end + 8, "2H", 9, 9)
    yield "directory-counts-fewer", patched(good, end + 8, "2H", 2, 2)
    yield "directory-signature-wrong", patched(good, second, "I", 0)
    yield "member-on-another-disk", patched(good, second + 34, "H", 1)
    yield "several-disks", patched(good, end + 4, "H", 1)
    yield "many-members", archive({**keras_members(), **{f"assets/{i}": b"" for i in range(100)}})
    yield (
        "directory-of-two-mebibytes",
        archive({**keras_members(), **{f"{i:0200}": b"" for i in range(9000)}}),
    )
    for name, flag in (("encrypted", 1), ("strongly-encrypted", 0x40), ("masked-headers", 0x2000)):
        yield name, patched(patched(good, central + 8, "H", flag), 6, "H", flag)
    for name, method in (("shrunk", 1), ("bzip2", 12), ("lzma", 14), ("zstd", 93), ("method-65535", 65535)):
        yield f"method-{name}", patched(patched(good, central + 10, "H", method), 8, "H", method)
    yield "stored-sizes-differ", patched(patched(good, central + 24, "I", 1), 22, "I", 1)
    yield "size-of-4-gib", patched(good, central + 20, "2I", 2**32 - 1, 2**32 - 1)
    yield "size-beyond-the-limit", patched(good, third + 20, "2I", 2**31 + 1, 2**31 + 1)
    yield "crc-wrong-in-directory", patched(good, second + 16, "I", 1)
    local = good.find(b"PK\3\4", 4)
    yield "crc-wrong-twice", patched(patched(good, second + 16, "I", 1), local + 14, "I", 1)
    yield "local-name-differs", good.replace(b"config.json", b"c0nfig.json", 1)
    yield "local-signature-wrong", patched(good, good.find(b"PK\3\4", 4), "I", 0)
    yield "members-share-a-header", patched(good, second + 42, "I", 0)
    yield "header-in-the-directory", patched(good, third + 42, "I", central)
    yield "header-beyond-the-file", patched(good, third + 42, "I", 2**31)
    yield "members-overlap", overlapping()
    beyond = patched(good, third + 20, "2I", 60_000, 60_000)
    yield "member-runs-on", patched(beyond, good.find(b"PK\3\4", local + 4) + 18, "2I", 60_000, 60_000)
    yield "name-repeated", archive({**keras_members(), "config.jsoN": b"{}"}).replace(b"jsoN", b"json")
    for i, name in enumerate(
        ("../config.json", "/etc/passwd", "a\\b", "C:evil", "a/../../b", "a\0b", "a\x1b[2Jb")
    ):
        placeholder = "?" * len(name)  # zipfile would cut a name short at its zero byte
        bad = archive({**keras_members(), placeholder: b""})
        yield f"name-leaves-{i}", bad.replace(placeholder.encode(), name.encode())
    yield (
        "weights-pickled-npz",
        archive({"config.json": json.dumps(architecture()).encode(), "model.weights.npz": b"PK"}),
    )
    deflated = keras_file(method=zipfile.ZIP_DEFLATED)
    at = deflated.find(b"PK\3\4", 4)
    yield "deflate-damaged", patched(deflated, at + 30 + len("config.json"), "Q", 2**64 - 1)
    for name in ("config.json", "model.weights.h5"):
        members = {**keras_members(), name: b" " * (100 * 2**20)}
        bomb = archive(members, zipfile.ZIP_DEFLATED)
        yield f"bomb-{name}", bomb
        small = [i for i in range(len(bomb)) if bomb.startswith(struct.pack("<I", 100 * 2**20), i)]
        for i in small:
            bomb = patched(bomb, i, "I", 1000)
        yield f"bomb-{name}-declared-small", bomb


def overlapping() -> bytes:
    """A second member whose header and data lie inside the first one's stored data."""
    inner = archive({"inner": b"x" * 50})
    good = archive({"assets/outer": inner[: inner.find(b"PK\1\2")], **keras_members()})
    end, central = good.rfind(b"PK\5\6"), good.find(b"PK\1\2")
    entry = inner[inner.find(b"PK\1\2") : inner.rfind(b"PK\5\6")]
    entry = patched(entry, 42, "I", good.find(b"PK\3\4", 4))
    changed = good[:end] + entry + good[end:]
    return patched(changed, end + len(entry) + 8, "2HI", 5, 5, end + len(entry) - central)


def json_cases() -> Iterator[tuple[str, bytes]]:
    good = json.dumps(architecture()).encode()
    texts = {
        "empty": b"",
        "not-json": b"{'a': 1}",
        "not-utf8": b'{"a": "\xff\xfe"}',
        "utf16": good.decode().encode("utf-16"),
        "byte-order-mark": b"\xef\xbb\xbf" + good,
        "trailing": good + b"{}",
        "list": b"[]",
        "string": b'"Sequential"',
        "null": b"null",
        "oversized": good + b" " * (17 * 2**20),
        "too-many-lists": b"[" + b"[]," * 10**6 + b"[]]",
        "too-many-quotes": b'"' * (3 * 2**20),
        "too-many-escapes": b'"' + b'\\"' * 2**20,
        "wide-characters": b'"' + "\U0001f40d".encode() * 2**20 + b'"',
        "deep-lists": b"[" * 100_000,
        "deep-objects": b'{"a":' * 100_000,
        "deep-in-place": good.replace(b'"trainable": true', b'"trainable": ' + b"[" * 70 + b"]" * 70),
        "duplicate-key": good.replace(b'"units": 3', b'"units": 3, "units": 4'),
        "duplicate-class": good[:-1] + b', "class_name": "Sequential"}',
        "nan": good.replace(b'"units": 3', b'"units": NaN'),
        "infinity": good.replace(b'"units": 3', b'"units": -Infinity'),
        "overflow": good.replace(b'"units": 3', b'"units": 1e999'),
        "long-integer": good.replace(b'"units": 3', b'"units": 1' + b"0" * 5000),
        "integer-of-65-bits": good.replace(b'"units": 3', b'"units": 18446744073709551616'),
    }
    for name, text in texts.items():
        yield name, keras_file(text, method=zipfile.ZIP_DEFLATED)
