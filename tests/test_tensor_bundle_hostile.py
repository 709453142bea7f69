"""A checkpoint that is damaged, or made to do harm, is refused by what is wrong with it, in little time and memory."""

import faulthandler
import os

import bundle_writing as w
import numpy as np
import pytest
from conftest import SEED
from hostile_watch import no_hanging, watched

from fastlstm import ModelFileError
from fastlstm.loading.tensor_bundle import read_checkpoint


@pytest.fixture(autouse=True)
def ends():
    no_hanging()
    yield
    faulthandler.cancel_dump_traceback_later()


ARRAYS = {"rnn/basic_lstm_cell/bias": np.arange(8, dtype="float32"), "rnn/basic_lstm_cell/kernel": np.ones((3, 8))}


@pytest.fixture(scope="module")
def good(keras, tmp_path_factory):
    """The two files of a small checkpoint."""
    import tensorflow

    path = tmp_path_factory.mktemp("good")
    w.save(tensorflow, path / "m", ARRAYS)
    return {end: (path / f"m{end}").read_bytes() for end in (".index", ".data-00000-of-00001")}


def read_all(folder):
    found = read_checkpoint(folder / "m")
    return {name: found[name] for name in found}


def write(folder, files):
    for end, data in files.items():
        (folder / f"m{end}").write_bytes(data)


def read_or_refused(folder):
    """What the checkpoint holds, or None where it is refused."""
    try:
        return read_all(folder)
    except ModelFileError as error:
        assert str(error).isprintable() and len(str(error)) < 1200
        return None


def is_right(found):
    return set(found) == set(ARRAYS) and all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


def test_every_truncation_is_refused(good, tmp_path):
    for end, data in good.items():
        for size in range(len(data)):
            write(tmp_path, {**good, end: data[:size]})
            assert read_or_refused(tmp_path) is None, (end, size)
    write(tmp_path, good)
    assert is_right(read_all(tmp_path))


def test_every_flipped_bit_is_found(good, tmp_path):
    for end, data in good.items():
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            write(tmp_path, {**good, end: bytes(changed)})
            assert read_or_refused(tmp_path) is None, (end, bit)


def test_drawn_damage_is_refused_in_little_time_and_memory(good, tmp_path):
    rng = np.random.default_rng(SEED)
    write(tmp_path, good)
    read_all(tmp_path)  # so that nothing is left to import
    for _ in range(300):
        end = str(rng.choice(list(good)))
        data = bytearray(good[end])
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(data)))
            data[at : at + int(rng.integers(0, 9))] = rng.bytes(int(rng.integers(0, 9)))
        write(tmp_path, {**good, end: bytes(data)})
        with watched(tmp_path):
            found = read_or_refused(tmp_path)
        assert found is None or is_right(found)


def resealed(rng, value):
    """An entry with some bytes drawn anew: its block's checksum will be right."""
    data = bytearray(value)
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    return bytes(data)


def test_drawn_entries_with_right_checksums(tmp_path):
    rng = np.random.default_rng(SEED)
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(400))
    (tmp_path / "m.index").write_bytes(w.index({b"a": w.entry([100], crc=w.masked(bytes(400)))}))
    assert not read_all(tmp_path)["a"].any()
    for _ in range(1500):
        head = resealed(rng, w.header()) if rng.random() < 0.2 else w.header()
        entry = resealed(rng, w.entry([5, 4], offset=8, crc=w.masked(bytes(80))))
        (tmp_path / "m.index").write_bytes(w.index({b"a": entry}, head))
        with watched(tmp_path):
            read_or_refused(tmp_path)


FAR = 2**40
HOSTILE = {
    "no header": (w.table(w.block([(b"a", w.entry())])), "no header"),
    "empty table": (w.table(), "no header"),
    "empty file": (b"", "cut short"),
    "another file": (b"PK\x03\x04" + bytes(100), "no index of a checkpoint"),
    "big-endian": (w.index({}, w.header(endianness=1)), "big-endian"),
    "no files": (w.index({}, w.header(0)), "in 0 files"),
    "too many files": (w.index({}, w.header(10**6)), "in 1000000 files"),
    "fewer files than none": (w.index({}, w.header(-1)), "in -1 files"),
    "in a file that is not": (w.index({b"a": w.entry(shard=1)}), "in file 1 of 1"),
    "before the file": (w.index({b"a": w.entry([2], offset=-8)}), "at -8"),
    "negative size": (w.index({b"a": w.entry([2], size=-8)}), "cannot be"),
    "behind the file": (w.index({b"a": w.entry([2], offset=396)}), "ends at 404"),
    "far behind": (w.index({b"a": w.entry([FAR])}), "max_file_size"),
    "negative axis": (w.index({b"a": w.entry([-1, -1])}), "cannot be"),
    "huge axes": (w.index({b"a": w.entry([2**62, 2**62], size=16)}), "cannot be"),
    "axes that wrap": (w.index({b"a": w.entry([2**32, 2**32], size=0)}), "needs"),
    "many axes": (w.index({b"a": w.entry([1] * 33)}), "33 axes"),
    "unknown rank": (w.index({b"a": w.field(1, 1) + w.field(2, w.field(3, 1)) + w.field(5, 4)}), "known shape"),
    "size and shape": (w.index({b"a": w.entry([2], size=12)}), "has 12 bytes; its shape"),
    "unknown type": (w.index({b"a": w.entry(dtype=77)}), "TensorFlow's type 77"),
    "strings": (w.index({b"a": w.entry(dtype=7)}), "strings"),
    "wrong checksum": (w.index({b"a": w.entry([2], crc=1)}), "checksum of 'a'"),
    "overlap": (w.index({b"a": w.entry([9]), b"b": w.entry([9], offset=32)}), "'b' shares bytes"),
    "the same bytes": (w.index({b"a": w.entry([90]), b"b": w.entry([90])}), "shares bytes"),
    "no text": (w.index({b"\xff": w.entry()}), "no text"),
    "control characters": (w.index({b"a\x1b[2J": w.entry(dtype=7)}), "strings"),
    "a message for a number": (w.index({b"a": w.field(1, b"x")}), "a message where a number"),
    "a number for a message": (w.index({b"a": w.field(2, 5)}), "a number where text, numbers or a message"),
    "a number for a header": (w.index({}, w.field(1, b"abc")), "a message where a number"),
    "field cut short": (w.index({b"a": w.entry()[:-2]}), "cut short"),
    "field of no kind": (w.index({b"a": bytes([1 << 3 | 3, 0])}), "no message of Protocol Buffers"),
    "endless integer": (w.index({b"a": b"\x08" + b"\xff" * 12}), "cut short, or no message"),
    "unsorted": (w.index({b"b": w.entry(), b"a": w.entry()}), "not sorted"),
    "twice": (w.table(w.block([(b"", w.header()), (b"a", w.entry()), (b"a", w.entry())])), "not sorted"),
    "long name": (w.index({b"a" * 5000: w.entry()}), "too long"),
    "snappy": (w.table(w.block([(b"", w.header())]), kind=1), "snappy"),
    "another method": (w.table(w.block([(b"", w.header())]), kind=9), "method 9"),
    "one block twice": (w.table(w.block([(b"", w.header())]), handles=[(0, 13)] * 3), "share bytes"),
    "a block outside": (w.table(w.block([(b"", w.header())]), handles=[(FAR, 17)]), "refers to what is not in it"),
    "a block of no size": (w.table(b""), "shorter than it says"),
    "restarts beyond": (w.table(w.block([(b"", w.header())])[:-4] + b"\xff\xff\xff\x7f"), "shorter than it says"),
    "shares what is not": (w.table(b"\x05\x01\x00a" + bytes(4) + b"\x01\0\0\0"), "not all in its block"),
    "value beyond": (w.table(b"\x00\x01\x7fa" + bytes(4) + b"\x01\0\0\0"), "not all in its block"),
}  # fmt: skip


@pytest.fixture
def zeros(tmp_path):
    """A folder with a file of data."""
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(400))
    (tmp_path / "m.index").write_bytes(w.index({b"a": w.entry([100], crc=w.masked(bytes(400)))}))
    read_all(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_tensorflow_writes_is_refused_and_named(zeros, name):
    data, message = HOSTILE[name]
    (zeros / "m.index").write_bytes(data)
    with watched(zeros), pytest.raises(ModelFileError, match=message) as caught:
        read_all(zeros)
    assert str(caught.value).isprintable()


def test_more_names_than_any_checkpoint_are_refused(zeros):
    many = w.table(*(w.block([(b"%c%06d" % (65 + n, k), b"") for k in range(9000)]) for n in range(8)))
    long = w.block([(b"", w.header()), *((b"k" * 4080 + b"%06d" % n, w.entry()) for n in range(6000))])
    for data in (w.table(w.block([(b"", w.header())])[:-8] + many[: 10**6]), w.table(long), bytes(2**24 + 1)):
        (zeros / "m.index").write_bytes(data)
        with watched(zeros), pytest.raises(ModelFileError):
            read_checkpoint(zeros / "m")
    (zeros / "m.index").write_bytes(w.table(long))
    with pytest.raises(ModelFileError, match="more names"):
        read_checkpoint(zeros / "m")


def test_what_is_no_file_is_refused(zeros, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    os.mkfifo(other / "m.index")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_checkpoint(other / "m")
    for path in (zeros / "nowhere", zeros / "no\0where", 3, None):
        with pytest.raises(ModelFileError, match="cannot be read"):
            read_checkpoint(path)
    with pytest.raises(ModelFileError, match="directory with 0 checkpoints"):
        read_checkpoint(tmp_path_factory.mktemp("empty"))
    (zeros / "n.index").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"directory with 2 checkpoints, \['m.index', 'n.index'\]"):
        read_checkpoint(zeros)
    (zeros / "m.data-00000-of-00001").unlink()
    with pytest.raises(ModelFileError, match=r"m\.data-00000-of-00001' cannot be read"):
        read_all(zeros)
    with pytest.raises(ModelFileError, match="max_file_size is 399"):
        read_checkpoint(zeros / "m", max_file_size=399)["a"]
