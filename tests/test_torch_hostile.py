"""No file of tensors can crash, hang, flood the memory or run code: it is read or refused."""

from __future__ import annotations

import faulthandler
import os
import struct

import hostile_torch
import numpy as np
import pytest
import torch_writing as w
from conftest import SEED
from hostile_watch import no_hanging, watched
from torch_writing import Global, Place, loaded

from fastlstm import FastLSTMError, ModelFileError
from fastlstm.torch import LSTM, load

GOOD = w.good()
CASES = dict(hostile_torch.cases())


@pytest.fixture(autouse=True)
def ends():
    no_hanging()
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Import what a load needs, once, so that the tests can ask for no import at all."""
    path = tmp_path_factory.mktemp("warm") / "x"
    for data in GOOD.values():
        path.write_bytes(data)
        load(path)


@pytest.mark.parametrize("group", ["zip", "legacy", "safetensors", "other"])
def test_bad_files_are_refused(tmp_path, group):
    wrong = {}
    for name, data in CASES.items():
        if not name.startswith(group):
            continue
        (tmp_path / "evil").unlink(missing_ok=True)
        try:
            with pytest.raises(ModelFileError) as caught:
                loaded(tmp_path, data)
            message = str(caught.value)
            assert message.startswith(repr(str(tmp_path / "file"))) and len(message) < 2000 and message.isprintable()
            assert not (tmp_path / "evil").exists()
            with watched(tmp_path), pytest.raises(FastLSTMError):
                LSTM(2, 3).load_state_dict(tmp_path / "file", strict=False)
        except (Exception, pytest.fail.Exception) as error:
            wrong[name] = f"{type(error).__name__}: {error}"[:300]
    assert wrong == {}


def test_the_collection_is_large():
    assert len(CASES) >= 340


def test_what_is_not_built_is_named(tmp_path):
    for name, words in (("name-os-system", "os.system"), ("name-whole-module", "torch.nn.modules.rnn.LSTM")):
        with pytest.raises(ModelFileError, match=f"'{words}', which is never built"):
            loaded(tmp_path, CASES[f"zip-{name}"])
    with pytest.raises(ModelFileError, match="TorchScript"):
        loaded(tmp_path, CASES["zip-torchscript"])


@pytest.mark.parametrize("form", GOOD)
def test_files_cut_at_any_byte_are_refused(tmp_path, form):
    data = GOOD[form] if form != "zip" else w.with_second_end(GOOD[form])
    with pytest.raises(ModelFileError):
        loaded(tmp_path, data + data[-1:])
    for end in range(len(data)):
        path = tmp_path / "file"
        path.write_bytes(data[:end])
        with pytest.raises(ModelFileError):
            load(path)


@pytest.mark.parametrize("form", [*GOOD, "second"])
def test_flipped_bits_give_arrays_or_a_refusal(tmp_path, form):
    data = w.with_second_end(GOOD["zip"]) if form == "second" else GOOD[form]
    outcomes = set()
    for bit in range(0, 8 * len(data), 11):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        try:
            found = loaded(tmp_path, bytes(bad))
            assert all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in found.values())
            outcomes.add("read")
        except ModelFileError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"} or form in ("zip", "second")  # which have a checksum of most bits


def test_mutated_pickles_give_arrays_or_a_refusal(tmp_path):
    rng = np.random.default_rng([SEED, 400])
    value, storages = w.described(w.arrays()), w.raw(w.arrays())
    good = w.pickled(value)
    useful = np.frombuffer(b"()]}tuseRQbhqNKMJG\x88\x89\x85\x86\x87\x8a\x8c\x93\x94\x95XUcr.", np.uint8)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1500):
        bad = np.frombuffer(good, np.uint8)
        for _ in range(rng.integers(1, 3)):
            at = int(rng.integers(2, len(bad)))
            change, new = rng.integers(4), rng.choice(useful, 1)
            middle = (new, np.concatenate([new, bad[at : at + 1]]), bad[:0], bad[at : at + 20].repeat(2))[change]
            bad = np.concatenate([bad[:at], middle, bad[at + 1 :]])
        try:
            found = loaded(tmp_path, w.zipped(w.Raw(bad[2:-1].tobytes()), storages))
            assert all(isinstance(array, np.ndarray) for array in found.values())
            outcomes["read"] += 1
        except ModelFileError:
            outcomes["refused"] += 1
    assert all(outcomes.values()), outcomes


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "null-in-path", "no-path"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path: object = tmp_path / "x"
    if kind == "directory":
        path = tmp_path
    elif kind == "pipe":
        os.mkfifo(tmp_path / "x")
    elif kind == "null-in-path":
        path = "a\0b"
    elif kind == "no-path":
        path = 3.5
    with pytest.raises(FastLSTMError):
        load(path)
    with pytest.raises(FastLSTMError):
        LSTM(2, 3).load_state_dict(path)


def test_a_file_of_many_holes_is_not_read_whole(tmp_path):
    for form, data in GOOD.items():
        path = tmp_path / form
        path.write_bytes(data)
        for read in (load, LSTM(2, 3).load_state_dict):
            with pytest.raises(ModelFileError, match="max_file_size is 99"):
                read(path, max_file_size=99)
        os.truncate(path, 1900 * 2**20)
        with watched(tmp_path), pytest.raises(ModelFileError):
            load(path)
        os.truncate(path, 2100 * 2**20)
        with watched(tmp_path), pytest.raises(ModelFileError, match="max_file_size"):
            load(path)


def test_many_storages_of_one_file_take_no_more_than_it(tmp_path):
    """All tensors of a storage lie in it, also those of half a float32: 4,000 of 4 MB each."""
    count = 2**20
    place = Place("0", count, Global("torch", "BFloat16Storage"))
    one = w.codes(w.tensor(place, (count,)))
    value = w.Raw(b"](" + one + b"q\x01" + b"h\x01" * 4000 + b"e")
    found = loaded(tmp_path, w.zipped({"a": value}, {"0": struct.pack("<e", 1.0) * count}))
    assert len(found) == 4001 and all(np.shares_memory(part, found["a.0"]) for part in found.values())
