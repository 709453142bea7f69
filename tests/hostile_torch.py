"""Files of tensors made to do harm, or that lie: ``python tests/hostile_torch.py`` counts them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import torch_writing as w
from torch_writing import Call, Global, Place, Raw, tensor

ZERO = {"0": bytes(24)}  # six numbers
NAMES = {
    "os-system": Call(Global("os", "system"), ("touch evil",)),
    "posix-system": Call(Global("posix", "system"), ("touch evil",)),
    "eval": Call(Global("builtins", "eval"), ("1",)),
    "getattr": Call(Global("builtins", "getattr"), (w.DICT, "__class__")),
    "python-2-builtins": Call(Global("__builtin__", "apply"), ()),
    "import": Call(Global("importlib", "import_module"), ("this",)),
    "popen": Call(Global("subprocess", "Popen"), (["true"],)),
    "pickle-in-pickle": Call(Global("pickle", "loads"), ("",)),
    "torch-load": Call(Global("torch.serialization", "load"), ("other.pt",)),
    "hub": Call(Global("torch.hub", "load"), ("a/b", "c")),
    "rebuild-from-type": Call(Global("torch._utils", "_rebuild_from_type_v2"), ()),
    "numpy-scalar": Call(Global("numpy.core.multiarray", "scalar"), ()),
    "whole-module": Global("torch.nn.modules.rnn", "LSTM"),
    "own-class": Global("__main__", "Net"),
    "dotted": Raw(b"\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93"),
    "dotted-storage": Raw(b"\x8c\x05torch\x8c\x16FloatStorage.__class__\x93"),
    "module-dotted": Global("torch._utils._rebuild_tensor_v2", "__globals__"),
    "names-that-are-none": Raw(b"K\x01K\x02\x93"),
    "long-name": Global("a" * 300, "b"),
    "copyreg": Call(Global("copyreg", "_reconstructor"), ()),
}
CODES = {
    "instance": b"(i__main__\nNet\n", "object": b"(cos\nsystem\no", "new-object": b"ccollections\nOrderedDict\n)\x81",
    "new-object-with-keywords": b"ccollections\nOrderedDict\n)}\x92", "extension": b"\x82\x01",
    "persistent-text": b"P0\n", "text-string": b"S'a'\n", "text-int": b"I1\n", "text-get": b"g0\n",
    "bytes-of-an-exbibyte": b"\x8e" + struct.pack("<Q", 2**60), "bytearray-of-an-exbibyte": b"\x96" + b"\xff" * 8,
    "text-of-4-gigabytes": b"X\xff\xff\xff\xff", "text-of-an-exbibyte": b"\x8d" + struct.pack("<Q", 2**60),
    "long-of-2-gigabytes": b"\x8b\xff\xff\xff\x7f", "long-of-255-bytes": b"\x8a\xff" + b"\x7f" * 255,
    "memo-of-4-billion-unset": b"j\xff\xff\xff\xff", "buffer": b"\x97", "version-9": b"\x80\x09",
    "stack-empty": b"0", "append-to-nothing": b"a", "tuple-of-nothing": b"\x87", "mark-missing": b"t",
    "marks-alone": b"(" * 100_000 + b"N", "two-values": b"NN", "nothing": b"", "reduce-nothing": b"R",
    "items-odd": b"}(Nu", "item-of-list": b"]X\1\0\0\0aNs", "append-to-dictionary": b"}Na",
    "not-text": b"U\x02\xff\xfe",
    "build-a-function": b"ctorch._utils\n_rebuild_tensor_v2\n}b", "build-a-storage-type": b"ctorch\nFloatStorage\n}b",
    "items-of-a-name": b"ccollections\nOrderedDict\nX\1\0\0\0aNs", "storage-of-nothing": b"NQ",
    "storage-of-text": b"X\1\0\0\0aQ", "too-many-steps": b"}" + b"Nb" * 200_000,
    "too-many-lists": b"](" + b"]" * 300_000 + b"e",
    "named-for-ever": b"c" + b"a" * 100_000, "global-without-end": b"ccollections",
}  # fmt: skip
VALUES = {
    "a-list": [1, 2], "a-number": 3, "a-tensor-alone": tensor(Place("0", 6), (6,)), "key-none": {None: 1},
    "key-tuple": {("a", ("b",)): 1}, "key-float": {1.5: 1}, "key-of-many-bytes": {2**70: 1},
    "deep": Raw(b"}X\1\0\0\0a" * 5000 + b"}" + b"s" * 5000),
    "deep-tuples": {"a": Raw(b")" + b"\x85" * 200_000)},
    "in-a-circle": Raw(b"}q\0X\1\0\0\0ah\0s"),
    "in-a-circle-of-lists": Raw(b"}X\1\0\0\0a]q\1h\1as"),
    "laughs": {"a": Raw(
        b"(}q\0" + b"".join(b"}(X\1\0\0\0ah%cX\1\0\0\0bh%cuq%c" % (i, i, i + 1) for i in range(28)) + b"t"
    )},
    "laughs-of-tensors": {"a": Raw(
        b"(](" + w.codes(tensor(Place("0", 6), (6,))) + b"eq\0"
        + b"".join(b"](" + b"h%c" % i * 4 + b"eq%c" % (i + 1) for i in range(15)) + b"t"
    )},
    "long-name": {"a" * 400: {"b" * 400: tensor(Place("0", 6), (6,))}},
    "one-name-twice": {"a": {"b": tensor(Place("0", 6), (6,))}, "a.b": tensor(Place("0", 6), (6,))},
    "many-tensors": {"a": Raw(b"](" + w.codes(tensor(Place("0", 6), (6,))) + b"q\0" + b"h\0" * 100_000 + b"e")},
    "dictionary-of-two": Call(w.DICT, ([], [])), "dictionary-of-no-pairs": Call(w.DICT, ([[1]],)),
    "dictionary-of-text": Call(w.DICT, ("ab",)),
    "parameter-of-text": Call(Global("torch._utils", "_rebuild_parameter"), ("a", 1, 2)),
    "tensor-of-two": Call(w.REBUILD, (1, 2)), "call-a-number": Call(3, ()),
    "call-a-storage": Call(Global("torch", "FloatStorage"), ()),
    "arguments-are-a-list": Call(w.DICT, []),
}  # fmt: skip
SIX = Place("0", 6)
TENSORS = {
    "size-negative": tensor(SIX, (-1,), (1,)), "size-bool": tensor(SIX, (True,), (1,)),
    "size-float": tensor(SIX, (6.0,), (1,)),
    "size-huge": tensor(SIX, (2**62,), (1,)), "sizes-overflow": tensor(SIX, (2**33, 2**33), (2**33, 1)),
    "sizes-wrap-to-six": tensor(SIX, (2**32, 2**32), (0, 0)), "expanded": tensor(SIX, (1000, 1000), (0, 0)),
    "one-number-too-many": tensor(SIX, (7,)), "offset-one-too-far": tensor(SIX, (6,), (1,), 1),
    "offset-negative": tensor(SIX, (2,), (1,), -1), "offset-huge": tensor(SIX, (1,), (1,), 2**63),
    "stride-negative": tensor(SIX, (2,), (-1,)), "stride-too-far": tensor(SIX, (2, 3), (4, 1)),
    "stride-huge": tensor(SIX, (2,), (2**62,)), "strides-missing": tensor(SIX, (2, 3), (1,)),
    "axes-many": tensor(SIX, (1,) * 100, (1,) * 100),
    "axes-very-many": tensor(SIX, (2**40,) * 20_000, (1,) * 20_000),
    "empty-and-huge": tensor(SIX, (0, 2**40, 2**40), (1, 1, 1)), "sizes-a-list": tensor(SIX, [6], (1,)),
    "sizes-a-number": tensor(SIX, 6, (1,)), "storage-a-number": tensor(6, (6,), (1,)),
    "storage-a-type": tensor(Global("torch", "FloatStorage"), (6,), (1,)),
    "storage-a-tensor": tensor(tensor(SIX, (6,)), (6,)),
    "conjugated": tensor(SIX, (6,), (1,), 0, False, None, {"conj": True}),
    "count-huge": tensor(Place("0", 2**45), (6,), (1,)), "count-negative": tensor(Place("0", -6), (0,), (1,)),
    "count-more": tensor(Place("0", 7), (6,), (1,)), "count-less": tensor(Place("0", 5), (5,), (1,)),
    "count-none": tensor(Place("0", None), (6,), (1,)), "key-missing": tensor(Place("1", 6), (6,)),
    "key-a-path": tensor(Place("../data/0", 6), (6,)), "key-a-number": tensor(Place(0, 6), (6,)),
    "untyped": tensor(Place("0", 24, Global("torch.storage", "UntypedStorage")), (6,)),
    "quantized": tensor(Place("0", 6, Global("torch", "QInt8Storage")), (6,)),
    "complex": tensor(Place("0", 3, Global("torch", "ComplexFloatStorage")), (3,)),
    "type-a-dictionary": tensor(Place("0", 6, w.DICT), (6,)), "type-text": tensor(Place("0", 6, "FloatStorage"), (6,)),
    "twice-otherwise": [tensor(SIX, (6,)), tensor(Place("0", 3, Global("torch", "DoubleStorage")), (3,))],
    "booleans-of-many-values": tensor(Place("1", 3, Global("torch", "BoolStorage")), (3,)),
    "view-of-a-storage": tensor(Place("0", 6, rest=(("v", 0, 3),)), (3,)),
    "storage-of-many": tensor(Place("0", 6, rest=(1, 2)), (6,)),
}  # fmt: skip


def cases() -> Iterator[tuple[str, bytes]]:
    """Every file that must be refused, with what it is called."""
    values = {**{f"name-{name}": {"a": value} for name, value in NAMES.items()}, **VALUES}
    values |= {f"code-{name}": Raw(codes) for name, codes in CODES.items()}
    values |= {f"tensor-{name}": {"a": value} for name, value in TENSORS.items()}
    for name, value in values.items():
        more = {"1": b"\x02\x00\x01"} if "booleans" in name else {}
        yield f"zip-{name}", w.zipped(value, {**ZERO, **more})
        if not more:
            yield f"legacy-{name}", w.legacy(value, ZERO if b"storage" in w.codes(value) else {})
    yield from ((f"zip-{name}", data) for name, data in _zips())
    yield from ((f"legacy-{name}", data) for name, data in _legacies())
    yield from ((f"safetensors-{name}", data) for name, data in _safetensors())
    yield from ((f"other-{name}", data) for name, data in _others().items())


def _zips() -> Iterator[tuple[str, bytes]]:
    value = {"a": tensor(SIX, (6,))}
    good = w.zipped(value, ZERO)
    yield "two-pickles", w.zipped(value, ZERO, {"n/data.pkl": b"N."})
    yield "no-pickle", good.replace(b"data.pkl", b"data.pki")
    yield "pickle-at-the-root", good.replace(b"m/data.pkl", b"mmdata.pkl")
    yield "torchscript", w.zipped(value, ZERO, {"m/constants.pkl": b"N."})
    yield "byte-order", w.zipped(value, ZERO, {"m/byteorder": b"middle"})
    yield "byte-order-long", w.zipped(value, ZERO, {"m/byteorder": b"little" * 1000})
    yield "storage-short", w.zipped(value, {"0": bytes(20)})
    yield "storage-long", w.zipped(value, {"0": bytes(28)})
    yield "storage-changed", good.replace(bytes(24), bytes(23) + b"\x01")
    yield "packed", w.zipped(value, ZERO, packed=["m/data.pkl"])
    huge = {"a": tensor(Place("0", 25 * 2**20), (25 * 2**20,))}
    yield "bomb", w.zipped(huge, {"0": bytes(100 * 2**20)}, packed=["m/data/0"])
    yield "pickle-large", w.zipped({"a": "x" * 5 * 2**20}, {})
    yield "path", w.zipped(value, ZERO, {"../m": b""})
    for what in ("length", "count", "size", "start", "where"):
        yield f"second-end-{what}", w.with_second_end(good, **{what: 7})
    yield "second-end-twice", w.with_second_end(w.with_second_end(good))


def _legacies() -> Iterator[tuple[str, bytes]]:
    value = {"a": tensor(SIX, (6,))}
    yield "magic", w.legacy(value, ZERO, magic=w.MAGIC + 1)
    yield "protocol", w.legacy(value, ZERO, protocol=1002)
    yield "keys-missing", w.legacy(value, ZERO, keys=[])
    yield "keys-many", w.legacy(value, ZERO, keys=["0", "1"])
    yield "keys-twice", w.legacy(value, ZERO, keys=["0", "0"])
    yield "keys-numbers", w.legacy(value, ZERO, keys=[0])
    yield "keys-text", w.legacy(value, ZERO, keys="0")
    yield "behind", w.legacy(value, ZERO) + b"\0"
    for count in (-1, 5, 7, 2**61, 2**63 - 1):
        yield f"count-{count}", w.legacy(value, ZERO)[:-32] + struct.pack("<q", count) + bytes(24)


def _safetensors() -> Iterator[tuple[str, bytes]]:
    def one(**changes: Any) -> bytes:
        return w.safetensors({"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24], **changes}}, bytes(24))

    for name, value in {
        "negative": [-6], "bool": [True], "float": [6.0], "text": "6", "none": None, "nested": [[6]], "other": [7],
        "huge": [2**62, 4], "overflow": [2**32, 2**32], "axes": [1] * 33 + [6], "axes-many": [6] + [1] * 50_000,
        "empty-and-huge": [0, 2**40, 2**40],
    }.items():
        yield f"shape-{name}", one(shape=value)
    for name, value in {
        "negative": [-24, 0], "swapped": [24, 0], "far": [8, 32], "late": [4, 28], "one": [24], "three": [0, 24, 24],
        "float": [0, 24.0], "bool": [False, 24], "none": None, "huge": [0, 2**62], "text": "ab", "short": [0, 20],
    }.items():
        yield f"offsets-{name}", one(data_offsets=value)
    for kind in ("F8_E4M3", "F4", "C64", "f32", "object", "", None, 3, ["F32"], "I7", "float32"):
        yield f"type-{kind}", one(dtype=kind)
    six = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}
    yield "field-more", one(more=1)
    yield "field-missing", w.safetensors({"a": {"dtype": "F32", "shape": [6]}}, bytes(24))
    yield "overlap", w.safetensors({"a": six, "b": six}, bytes(24))
    yield "half-overlap", w.safetensors({"a": six, "b": {**six, "data_offsets": [12, 36]}}, bytes(36))
    yield "hole", w.safetensors({"a": six, "b": {**six, "data_offsets": [32, 56]}}, bytes(56))
    yield "behind", w.safetensors({"a": six}, bytes(25))
    yield "short", w.safetensors({"a": six}, bytes(23))
    yield "entry-a-list", w.safetensors({"a": [1]}, b"")
    yield "not-json", w.safetensors(b'{"a": }', b"")
    yield "not-text", w.safetensors(b'{"\xff": 1}', b"")
    yield "twice", w.safetensors(b'{"a": 1, "a": 1}', b"")
    yield "infinite", w.safetensors(b'{"a": Infinity}', b"")
    yield "deep", w.safetensors(b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", b"")
    yield "many", w.safetensors(b'{"a": [' + b"1," * 200_000 + b"1]}", b"")
    yield "large", w.safetensors(b"{" + b" " * 5 * 2**20 + b"}", b"")
    for length in (0, 1, 3, 60, 2**20, 2**32, 2**63, 2**64 - 1):
        yield f"length-{length}", w.safetensors({"a": six}, bytes(24), length)
    yield "boolean", w.safetensors({"a": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\x01\x02")


def _others() -> dict[str, bytes]:
    return {
        "nothing": b"", "one-byte": b"\x80", "eight-bytes": bytes(8), "text": b"weights\n" * 100,
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100), "lfs": b"version https://git-lfs.github.com/spec/v1\n",
        "pickle": w.pickled({"a": 1}), "pickle-to-run": b"cos\nsystem\n(X\4\0\0\0truetR.",
        "tar": b"sys_info" + bytes(249) + b"ustar  \0" + bytes(247), "zip-start": b"PK\x03\x04",
        "zip-of-nothing": b"PK\x05\x06" + bytes(18),
    }  # fmt: skip


if __name__ == "__main__":
    print(len(dict(cases())), "files")
