"""Hostile files, part 1: the zip container of .keras and .npz."""

from __future__ import annotations

import json
import struct
import zipfile
from functools import partial
from typing import Any

from hostile_case import Attacks, Make, model
from samples import Members, architecture, archive, keras_members, npz_members, patched, weights


def cases() -> Attacks:
    for form, members in (("zip", keras_members()), ("npz", npz_members())):
        yield from _containers(form, members)
        yield from _bombs(form, members)
    bare = {"config.json": json.dumps(architecture()).encode()}
    single = {
        "of-nothing": {},
        "without-config": {"model.weights.h5": weights()},
        "without-weights": bare,
        "many-members": {**keras_members(), **{f"assets/{i}": b"" for i in range(100)}},
        "many-tiny-members": {**keras_members(), **{f"{i:x}": b"" for i in range(19_000)}},
    }
    for name, members in single.items():
        yield "container", name, model(partial(archive, members), "zip")
    yield "pickle", "weights-npz", model(partial(archive, {**bare, "model.weights.npz": b"PK"}), "zip")
    both = {**keras_members(), **npz_members()}
    yield "container", "keras-and-npz-in-one", model(partial(archive, both), "npz")


def _containers(form: str, members: Members) -> Attacks:
    good, first = archive(members), next(iter(members)).encode()
    second = list(members)[1].encode()
    end, central = good.rfind(b"PK\5\6"), good.find(b"PK\1\2")
    entry = good.find(b"PK\1\2", central + 1)
    third = good.find(b"PK\1\2", entry + 1)
    local = good.find(b"PK\3\4", 4)
    count = len(members)
    beyond = patched(good, third + 20, "2I", 600_000, 600_000)
    flags = {"encrypted": 1, "strongly-encrypted": 0x40, "masked-headers": 0x2000}
    methods = {"shrunk": 1, "bzip2": 12, "lzma": 14, "zstd": 93, "65535": 65535}
    files: dict[str, Any] = {
        "junk-before": b"#!/bin/sh\n" + good,
        "junk-after": good + b"junk",
        "junk-before-directory": good[:central] + b"junk" + good[central:],
        "comment-length-lies": patched(good, end + 20, "H", 5),
        "comment-hides-another-end": good[:-2] + struct.pack("<H", 22) + good[end:],
        "directory-elsewhere": patched(good, end + 16, "I", 0),
        "directory-beyond-the-file": patched(good, end + 16, "I", 2**31),
        "directory-huge": patched(good, end + 12, "I", 2**30),
        "directory-empty": patched(good, end + 8, "2H", 0, 0),
        "directory-counts-more": patched(good, end + 8, "2H", count + 6, count + 6),
        "directory-counts-fewer": patched(good, end + 8, "2H", count - 1, count - 1),
        "directory-counts-differ": patched(good, end + 8, "2H", count, count - 1),
        "directory-signature-wrong": patched(good, entry, "I", 0),
        "entry-name-runs-on": patched(good, third + 28, "H", 65535),
        "entry-extra-runs-on": patched(good, third + 30, "H", 65535),
        "member-on-another-disk": patched(good, entry + 34, "H", 1),
        "several-disks": patched(good, end + 4, "H", 1),
        "stored-sizes-differ": patched(patched(good, central + 24, "I", 1), 22, "I", 1),
        "zip64-sizes": patched(good, central + 20, "2I", 2**32 - 1, 2**32 - 1),
        "zip64-end": good[:end] + struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1, 1)
        + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1) + patched(good[end:], 12, "2I", 2**32 - 1, 2**32 - 1),
        "size-beyond-the-limit": patched(good, third + 20, "2I", 2**31 + 1, 2**31 + 1),
        "crc-wrong-in-directory": patched(good, entry + 16, "I", 1),
        "crc-wrong-twice": patched(patched(good, entry + 16, "I", 1), local + 14, "I", 1),
        "local-name-differs": good.replace(first, b"?" * len(first), 1),
        "local-signature-wrong": patched(good, local, "I", 0),
        "local-name-runs-on": patched(good, local + 26, "H", 65535),
        "members-share-a-header": patched(good, entry + 42, "I", 0),
        "header-in-the-directory": patched(good, third + 42, "I", central),
        "header-beyond-the-file": patched(good, third + 42, "I", 2**31),
        "member-runs-on": patched(beyond, good.find(b"PK\3\4", local + 4) + 18, "2I", 600_000, 600_000),
        **{f"{name}-method": patched(patched(good, central + 10, "H", n), 8, "H", n) for name, n in methods.items()},
        **{name: patched(patched(good, central + 8, "H", n), 6, "H", n) for name, n in flags.items()},
    }  # fmt: skip
    for name, data in files.items():
        yield "container", name, model(lambda data=data: data, form)
    yield "container", "members-overlap", model(lambda: _overlapping(members), form)
    twin = second[:-1] + b"?"
    twice = {**members, twin.decode(): b"{}"}
    yield "container", "name-repeated", model(lambda: archive(twice).replace(twin, second), form)
    wide = {**members, **{f"{i:0200}": b"" for i in range(9000)}}
    yield "container", "directory-of-two-mebibytes", model(partial(archive, wide), form)
    for i, name in enumerate(("../config.json", "/etc/passwd", "a\\b", "C:evil", "a/../../b", "a\0b", "a\x1b[2Jb")):
        yield "path", f"member-name-{i}", _renamed(members, name, form)


def _renamed(members: Members, name: str, form: str) -> dict[str, Make]:
    placeholder = "?" * len(name)  # zipfile would cut a name short at its zero byte
    bad = archive({**members, placeholder: b""})
    return model(lambda: bad.replace(placeholder.encode(), name.encode()), form)


def _overlapping(members: Members) -> bytes:
    """A second member whose header and data lie inside the first one's stored data."""
    inner = archive({"inner": b"x" * 50})
    good = archive({"assets/outer": inner[: inner.find(b"PK\1\2")], **members})
    end, central = good.rfind(b"PK\5\6"), good.find(b"PK\1\2")
    entry = inner[inner.find(b"PK\1\2") : inner.rfind(b"PK\5\6")]
    entry = patched(entry, 42, "I", good.find(b"PK\3\4", 4))
    changed = good[:end] + entry + good[end:]
    count = len(members) + 2
    return patched(changed, end + len(entry) + 8, "2HI", count, count, end + len(entry) - central)


def _bombs(form: str, members: Members) -> Attacks:
    size = 100 * 2**20

    def bomb(name: str, small: bool) -> bytes:
        """A member of many spaces, or zeros, which may say that it is small."""
        data = archive({**members, name: (b"\0" if name.endswith("npy") else b" ") * size}, zipfile.ZIP_DEFLATED)
        if not small:
            return data
        places = [i for i in range(len(data)) if data.startswith(struct.pack("<I", size), i)]
        for i in places:
            data = patched(data, i, "I", 1000)
        return data

    for name in [n for n in members if n.endswith((".json", ".h5", "config.npy", "0/kernel.npy"))]:
        for small in (False, True):
            label = f"{name.replace('/', '-')}{'-declared-small' * small}"
            yield "bomb", label, model(partial(bomb, name, small), form)
    if form == "zip":
        yield "bomb", "weights-as-large-as-declared", model(_declared, form)
    deflated = archive(members, zipfile.ZIP_DEFLATED)
    at = deflated.find(b"PK\3\4", 4)
    at += 30 + struct.unpack_from("<H", deflated, at + 26)[0]
    yield "container", "deflate-damaged", model(lambda: patched(deflated, at, "Q", 2**64 - 1), form)
    other = patched(deflated, deflated.rfind(b"PK\1\2") + 10, "H", 0)
    yield "container", "method-differs", model(lambda: other, form)


def _declared() -> bytes:
    """The architecture has weights enough for the limit that depends on them to be large."""
    config = architecture()
    config["config"]["layers"][1]["config"]["units"] = 1500
    return archive(keras_members(config, weights() + bytes(100 * 2**20)), zipfile.ZIP_DEFLATED)
