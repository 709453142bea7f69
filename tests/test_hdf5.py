"""HDF5 is read as h5py reads it, in all that h5py writes for Keras; anything else is refused, soon and by name."""

from __future__ import annotations

import io
import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from fastlstm.errors import ModelFileError  # noqa: E402
from fastlstm.loading import hdf5_headers  # noqa: E402
from fastlstm.loading.hdf5 import (  # noqa: E402
    MAX_LAYERS,
    File,
    Group,
)
from fastlstm.loading.legacy_h5 import legacy_layout  # noqa: E402

SECONDS = 10.0
MEMORY = 64 * 2**20


def written(make: Callable[[Any], Any], **options: Any) -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w", **options) as file:
        make(file)
    return data.getvalue()


def root(make: Callable[[Any], Any], **options: Any) -> Group:
    return File(written(make, **options)).root


# -- attributes -------------------------------------------------------------------------------------

LONG = "{" + "é" * 150_000 + "}"
ATTRIBUTES = {
    "text": ("abc", ["abc"]),
    "text-empty": ("", [""]),
    "text-utf8": ("größe", ["größe"]),
    "text-300-kB": (LONG, [LONG]),
    "bytes": (b"abc", ["abc"]),
    "bytes-4-MB": (b"x" * 4_000_000, ["x" * 4_000_000]),
    "fixed": (np.bytes_(b"abc"), ["abc"]),
    "fixed-one": (np.bytes_(b"a"), ["a"]),
    "list-of-bytes": ([b"a", b"bcd", b""], ["a", "bcd", ""]),
    "list-of-text": (["a", "bcd", "é"], ["a", "bcd", "é"]),
    "list-of-one": ([b"abc"], ["abc"]),
    "array-of-60-kB": (np.array([b"%06d" % i for i in range(10_000)]), [f"{i:06}" for i in range(10_000)]),
    "array-of-bytes": (np.array([b"a", b"bcd", b""]), ["a", "bcd", ""]),
    "list-of-4000": ([f"weight/{i}" for i in range(4000)], [f"weight/{i}" for i in range(4000)]),
    "list-empty": ([], []),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("where", ["", "group"])
def test_strings_in_attributes(name, where):
    value, expected = ATTRIBUTES[name]

    def make(file):
        group = file.require_group(where) if where else file
        group.attrs["before"] = 3
        group.attrs["it"] = value
        group.attrs["after"] = np.zeros((3, 3))

    group = root(make)
    group = group.group(where) if where else group
    assert group.strings("it") == expected
    assert group.strings("else") is None and group.string("else") is None
    if len(expected) == 1:
        assert group.string("it") == expected[0]
    else:
        with pytest.raises(ModelFileError, match="expected one"):
            group.string("it")


def test_strings_padded_in_every_way():
    def make(file):
        h5t = h5py.h5t
        for name, padding in (("term", h5t.STR_NULLTERM), ("null", h5t.STR_NULLPAD), ("space", h5t.STR_SPACEPAD)):
            kind = h5py.h5t.C_S1.copy()
            kind.set_size(6)
            kind.set_strpad(padding)
            value = np.array(b"abc  " if name != "space" else b"abc   ", "S6")
            space = h5py.h5s.create(h5py.h5s.SCALAR)
            h5py.h5a.create(file.id, name.encode(), kind, space).write(value, kind)

    group = root(make)
    assert [group.string(name) for name in ("term", "null", "space")] == ["abc  ", "abc  ", "abc"]


def test_attributes_with_a_name_beyond_ascii_and_many_of_them():
    names = [f"näme-{i}" for i in range(200)]
    group = root(lambda file: [file.attrs.__setitem__(name, name) for name in names])
    assert [group.string(name) for name in names] == names


def test_lists_that_keras_splits():
    names = [f"layer_with_a_long_name_{i:06}".encode() for i in range(5000)]
    parts = np.array_split(np.asarray(names), 3)

    def make(file):
        for i, part in enumerate(parts):
            file.attrs[f"weight_names{i}"] = part

    assert root(make).strings("weight_names") == [name.decode() for name in names]


@pytest.mark.parametrize(
    "value",
    [3, 3.5, True, [1, 2], np.zeros(3), np.bytes_(b"\xff"), b"\xff", np.array([[b"a"], [b"b"]]), np.void(b"abc"),
     h5py.Empty("i4"), np.array([(1,)], [("a", "i4")])],
    ids=str,
)  # fmt: skip
def test_attributes_that_are_no_text(value):
    group = root(lambda file: file.attrs.__setitem__("it", value))
    with pytest.raises(ModelFileError, match="the root: attribute it"):
        assert group.string("it")


# -- groups -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100, 1500])
def test_groups_of_any_number(count):
    names = [f"layer_{i}" for i in range(count)]

    def make(file):
        for name in names:
            file.create_group(name).attrs["name"] = name

    found = root(make)
    assert sorted(found.names) == sorted(names)
    assert all(found.group(name).string("name") == name for name in names[:: max(1, count // 50)])
    assert "layer" not in found
    with pytest.raises(ModelFileError, match="absent is missing"):
        found.group("absent")


def test_groups_in_groups():
    path = "/".join(f"g{i}" for i in range(60))
    group = root(lambda file: file.create_dataset(f"{path}/x", data=np.float32(3)))
    for part in path.split("/"):
        group = group.group(part)
    assert group.path == path
    assert group.dataset("x").array((), "float32") == 3


# -- arrays -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 4), (1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_every_float(rng, stored, shape, dtype):
    values = np.asarray(rng.normal(size=shape), stored)
    found = root(lambda file: file.create_dataset("x", data=values)).dataset("x")
    assert found.shape == shape
    array = found.array(shape, dtype)
    assert array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable
    assert np.array_equal(array, values.astype(dtype))


def test_arrays_of_large_files_among_many(rng):
    values = {f"a/{i}": rng.normal(size=(37, i + 1)).astype("f4") for i in range(300)}

    def make(file):
        for name, value in values.items():
            file[name] = value

    group = root(make).group("a")
    for name, value in values.items():
        assert np.array_equal(group.dataset(name[2:]).array(value.shape, "float32"), value)


def test_the_shape_of_what_is_not_read_is_known():
    group = root(lambda file: file.update({"count": np.int64(3), "words": [b"a", b"b"]}))
    assert group.dataset("count").shape == ()
    assert group.dataset("count").array((), "float32") == 3
    assert group.dataset("words").shape == (2,)
    with pytest.raises(ModelFileError, match="words is not of type float"):
        group.dataset("words").array((2,), "float32")


OUTSIDE = {"external": [("/etc/passwd", 0, 24)]}
ZEROS = np.zeros((2, 3), "f4")
REFUSED_ARRAYS = {
    "another shape": (lambda f: f.create_dataset("x", data=ZEROS.T), r"\(3, 2\); expected \(2, 3\)"),
    "chunked": (lambda f: f.create_dataset("x", data=ZEROS, chunks=(1, 3)), "one piece"),
    "compressed": (lambda f: f.create_dataset("x", data=ZEROS, compression="gzip"), "compressed"),
    "never written": (lambda f: f.create_dataset("x", shape=(2, 3), dtype="f4"), "cut short"),
    "external": (lambda f: f.create_dataset("x", shape=(2, 3), dtype="f4", **OUTSIDE), "another file"),
    "a group": (lambda f: f.create_group("x"), "not an array"),
    "empty": (lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "no numbers"),
    "of bytes": (lambda f: f.create_dataset("x", data=ZEROS.astype("i1")), "not of type"),
    "soft": (lambda f: f.__setitem__("x", h5py.SoftLink("/y")), "soft link"),
    "elsewhere": (lambda f: f.__setitem__("x", h5py.ExternalLink("other.h5", "/y")), "newer HDF5"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_arrays_that_keras_does_not_write(case):
    make, word = REFUSED_ARRAYS[case]
    with pytest.raises(ModelFileError, match=word):
        root(make).dataset("x").array((2, 3), "float32")


# -- the layout of .h5 files -------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["model_weights", ""])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_layers_and_weights_come_in_the_order_of_the_attributes(rng, inside, as_bytes):
    layers = {
        "z_lstm": ["z_lstm/lstm_cell/kernel:0", "z_lstm/lstm_cell/bias:0", "z_lstm/a:0"],
        "dropout": [],
        "block/dense": ["block/dense/kernel:0", "bias"],
    }
    arrays = {(layer, name): rng.normal(size=(3, 2)) for layer, names in layers.items() for name in names}

    def make(file):
        group = file.create_group(inside) if inside else file
        group.attrs["layer_names"] = [name.encode() if as_bytes else name for name in layers]
        for layer, names in layers.items():
            folder = group.create_group(layer)
            folder.attrs["weight_names"] = [name.encode() if as_bytes else name for name in names]
            for name in reversed(names):
                folder[name] = arrays[layer, name]
        if inside:
            file.create_group("optimizer_weights").attrs["weight_names"] = [b"x"]

    found = legacy_layout(root(make))
    assert [(layer, [name for name, _ in weights]) for layer, weights in found] == list(layers.items())
    for layer, weights in found:
        for name, dataset in weights:
            assert np.array_equal(dataset.array((3, 2), "float64"), arrays[layer, name])


def test_a_thousand_layers_are_not_too_many():
    names = [f"layer_{i}" for i in range(MAX_LAYERS)]

    def make(file):
        file.attrs["layer_names"] = names
        for name in names:
            layer = file.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/cell/{i}" for i in range(3)]
            for i in range(3):
                layer[f"{name}/cell/{i}"] = np.float32(i)

    found = legacy_layout(root(make))
    assert [w.array((), "float32") for _, weights in found for _, w in weights] == [0, 1, 2] * len(names)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda f: None, "layer_names"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"a"]), "a is missing"),
        (lambda f: (f.attrs.__setitem__("layer_names", [b"a"]), f.create_group("a")), "weight_names"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"x"] * 2000), "2000 layers"),
        (lambda f: f.attrs.__setitem__("layer_names", ["a/" * 3000]), "parts"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"../a", b"/a"]), "is missing"),
        (lambda f: (f.attrs.__setitem__("layer_names", [b"a"]),
                    f.create_group("a").attrs.__setitem__("weight_names", [b"k/w"])), "a/k is missing"),
    ],
)  # fmt: skip
def test_files_in_another_layout(make, word):
    with pytest.raises(ModelFileError, match=word):
        legacy_layout(root(make))


# -- files made to do harm ---------------------------------------------------------------------------


@pytest.fixture
def bounded():
    """Little time and little memory for what a test does."""
    tracemalloc.start()
    start = time.monotonic()
    yield
    seconds, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS and peak < MEMORY


@pytest.mark.parametrize(
    "data", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(500), random.Random(5).randbytes(3000), b"PK\3\4"]
)
def test_no_hdf5(data):
    with pytest.raises(ModelFileError, match="HDF5"):
        File(data)


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"userblock_size": 512}])
def test_other_versions_of_the_format(options):
    with pytest.raises(ModelFileError, match=r"HDF5: its? "):
        root(lambda file: file.create_group("x"), **options)


def walked(data: bytes) -> None:
    """Read all that there is to read."""
    file = File(data).root
    for name in ("model_config", "keras_version", "layer_names", "text"):
        file.strings(name)
    for _, weights in legacy_layout(file):
        for _, dataset in weights:
            dataset.array(dataset.shape, "float32")


def model_file() -> bytes:
    def make(file):
        file.attrs["model_config"], file.attrs["keras_version"] = "{}" * 200, b"2.2.4"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"lstm", b"dense"])
        for name in ("lstm", "dense"):
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/cell/kernel:0", f"{name}/cell/bias:0"]
            layer[f"{name}/cell/kernel:0"], layer[f"{name}/cell/bias:0"] = ZEROS, ZEROS[0]

    return written(make)


def test_flipped_bits_and_cuts_are_refused_or_harmless(bounded):
    good, chance = model_file(), random.Random(11)
    walked(good)
    outcomes = set()
    for i in range(600):
        bad = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 8))):
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        try:
            walked(bytes(bad) if i % 3 else bytes(bad[: chance.randrange(len(bad))]))
            outcomes.add("read")
        except ModelFileError as error:
            assert len(str(error)) < 1000 and str(error).isprintable()
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_heaps_cannot_be_read_again_and_again(bounded):
    """A list of strings that all lie in one large collection, or in collections that overlap."""
    words = ["x" * 1000] * 4000
    data = bytearray(written(lambda file: file.attrs.__setitem__("text", words)))
    pointer = struct.Struct("<IQI")
    first = data.index(struct.pack("<I", 1000))
    assert pointer.unpack_from(data, first)[0] == 1000
    big = len(data)
    data += b"GCOL" + struct.pack("<B3xQ", 1, 4_000_016) + struct.pack("<H6xQ", 1, 4_000_000 - 16) + bytes(4_000_000)
    for i in range(4000):
        pointer.pack_into(data, first + i * pointer.size, 3_999_000, big, 1)
    with pytest.raises(ModelFileError, match="more text"):
        File(bytes(data)).root.strings("text")
    data[big:] = (b"GCOL" + struct.pack("<B3xQ", 1, 2_000_000) + struct.pack("<H6xQ", 1, 0)) * 125_000
    for i in range(4000):
        pointer.pack_into(data, first + i * pointer.size, 1, big + 32 * i, 1)
    with pytest.raises(ModelFileError, match="text"):
        File(bytes(data)).root.strings("text")


def test_a_shape_of_an_attribute_allocates_nothing(bounded):
    data = bytearray(written(lambda file: file.attrs.__setitem__("text", [b"abc"] * 5)))
    at = data.index(struct.pack("<2Q", 5, 5))
    struct.pack_into("<2Q", data, at, 2**40, 2**40)
    with pytest.raises(ModelFileError, match="attribute text is cut short"):
        File(bytes(data)).root.strings("text")


def test_headers_in_a_circle(bounded):
    good = model_file()
    message = struct.pack("<2HI2Q", 0x10, 16, 0, 0, len(good) + 16 + 24 * 5000)
    for count in (4000, 65535):
        header = struct.pack("<2BH3I", 1, 0, count, 1, 24 * 5000, 0)
        bad = bytearray(good)
        struct.pack_into("<Q", bad, 64, len(good))
        with pytest.raises(ModelFileError, match="HDF5"):
            File(bytes(bad) + header + message * 5000)


def test_groups_of_too_many(bounded):
    found = root(lambda file: [file.create_group(str(i)) for i in range(hdf5_headers.MAX_MEMBERS + 1)])
    with pytest.raises(ModelFileError, match="more than 4096 members"):
        assert found.names
