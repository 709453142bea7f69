"""No model file can crash, hang, flood the memory, run code or reach another file: it loads or is refused."""

from __future__ import annotations

import faulthandler
import os
import struct
import time
import zipfile

import numpy as np
import pytest

pytest.importorskip("h5py")
import fuzz_loading
import hostile
import samples
from hostile_watch import no_hanging, watched

from fastlstm import FastLSTMError
from fastlstm.loading import load_model

REFUSED = hostile.refused()
GROUPS = sorted({(case.threat, case.form) for case in REFUSED})


@pytest.fixture(autouse=True)
def ends():
    no_hanging()
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Import what a load needs, once, so that the tests can ask for no import at all."""
    for files in samples.valid().values():
        load_model(**hostile.write(files, tmp_path_factory.mktemp("warm")))


def test_the_collection_is_large_and_has_every_threat_in_it():
    assert len(REFUSED) >= 8000
    assert len({str(case) for case in REFUSED}) == len(REFUSED)
    assert {case.threat for case in REFUSED} == set(hostile.THREATS)
    assert {case.form for case in REFUSED} == set(hostile.FORMATS)
    rows = hostile.table(REFUSED).splitlines()
    assert len(rows) == len(hostile.THREATS) + 2
    assert rows[-1].split()[-1] == str(len(REFUSED))


@pytest.mark.parametrize("name", samples.valid())
def test_the_files_that_the_bad_ones_are_made_from_load(tmp_path, name):
    given = hostile.write(samples.valid()[name], tmp_path)
    with watched(tmp_path):
        model = load_model(**given)
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 4, 2)
    (tmp_path / "first").write_bytes(samples.keras_file())
    assert np.array_equal(model.predict(x), load_model(tmp_path / "first").predict(x))


@pytest.mark.parametrize(("threat", "form"), GROUPS, ids=["-".join(group) for group in GROUPS])
def test_bad_files_are_refused(tmp_path, threat, form):
    wrong = {}
    for i, case in enumerate(case for case in REFUSED if (case.threat, case.form) == (threat, form)):
        folder = tmp_path / str(i)
        given = hostile.write(case.make(), folder)
        try:
            with watched(folder), pytest.raises(FastLSTMError) as caught:
                load_model(**given)
            message = str(caught.value)
            assert any(message.startswith(repr(str(path))) for path in given.values())
            assert len(message) < 2000
            assert message.isprintable()
        except (Exception, pytest.fail.Exception) as error:
            wrong[case.name] = f"{type(error).__name__}: {error}"[:300]
    assert wrong == {}


@pytest.mark.parametrize("form", ["h5", "weights.h5", "zip", "npz"])
def test_flipped_bits_give_a_model_or_a_refusal(tmp_path, form):
    """Some of all bits, other ones in each format: the number of bits and the step have no common divisor."""
    files = {**samples.WITH_WEIGHTS, **samples.WITH_CONFIG}[form]
    good = files(samples.weights() if form == "weights.h5" else samples.architecture())
    name = "weights" if form == "weights.h5" else "model"
    outcomes = set()
    for bit in range(0, 8 * len(good[name]), 211):
        bad = bytearray(good[name])
        bad[bit // 8] ^= 1 << bit % 8
        given = hostile.write({**good, name: bytes(bad)}, tmp_path)
        with watched(tmp_path):
            try:
                load_model(**given)
                outcomes.add("loaded")
            except FastLSTMError:
                outcomes.add("refused")
    assert outcomes == {"loaded", "refused"} or form in ("zip", "npz")  # which have a checksum of most bits


def test_fuzzed_files_are_loaded_or_refused():
    """A few seconds of ``python tests/fuzz_loading.py``, at other numbers each day."""
    counts, wrong = fuzz_loading.fuzz(5.0, run=int(time.time() // 86400))
    assert wrong == {}
    assert {outcome for _, outcome in counts} == {"loaded", "refused"}
    assert {form for form, _ in counts} == {"configuration", *fuzz_loading.FORMS}


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
        load_model(path)


def test_a_file_of_many_holes_is_not_read_whole(tmp_path):
    for data in (samples.whole_h5(), samples.weights(), samples.keras_file(), samples.text_of(samples.architecture())):
        path = tmp_path / "model"
        path.write_bytes(data)
        os.truncate(path, 1900 * 2**20)
        with watched(tmp_path):
            try:
                load_model(path)
            except FastLSTMError:
                pass


def test_a_member_packed_into_more_than_it_holds_is_not_read(tmp_path):
    """Of a deflated configuration of some bytes, 1.9 GB of holes."""
    holes, data = 1900 * 2**20, samples.keras_file(method=zipfile.ZIP_DEFLATED)
    central, end = data.find(b"PK\1\2"), data.rfind(b"PK\5\6")
    entry = data.rfind(b"PK\1\2")  # of the last member
    (packed,) = struct.unpack_from("<I", data, entry + 20)
    (local,) = struct.unpack_from("<I", data, entry + 42)
    data = samples.patched(samples.patched(data, entry + 20, "I", packed + holes), local + 18, "I", packed + holes)
    data = samples.patched(data, end + 16, "I", central + holes)
    with open(tmp_path / "model", "wb") as file:
        file.write(data[:central])
        file.seek(holes, os.SEEK_CUR)
        file.write(data[central:])
    with watched(tmp_path), pytest.raises(FastLSTMError, match="is packed into"):
        load_model(tmp_path / "model")


def test_a_file_never_fills_custom_layers(tmp_path):
    """What the caller gives is for the classes that it names, in the call that it is given to."""
    called = []
    given = {"Evil": lambda x: called.append(x) or x}
    config = samples.architecture()
    config |= {"custom_layers": {"Lambda": "Evil"}, "custom_objects": {"Lambda": "Evil"}}
    evil = samples.node("Lambda", name="l", function="Evil", custom_objects={"l": "Evil"})
    config["config"]["layers"].insert(1, evil)
    (tmp_path / "model").write_bytes(samples.keras_file(config))
    with pytest.raises(FastLSTMError, match="Lambda, whose code in the file is never run"):
        load_model(tmp_path / "model", custom_layers=given)
    assert called == []
    config["config"]["layers"][1]["class_name"] = "Evil"
    (tmp_path / "model").write_bytes(samples.keras_file(config))
    assert load_model(tmp_path / "model", custom_layers=given).layers[0].name == "l"
    called.clear()
    with pytest.raises(FastLSTMError, match="'Evil', which fastlstm does not compute"):
        load_model(tmp_path / "model")
    assert called == []


def test_what_is_inert_in_a_file_is_not_handed_on(tmp_path):
    """A gadget that nothing here looks at would be one to the Keras that reads what is written."""
    given = hostile.write(samples.valid()["inert-gadgets"], tmp_path)
    model = load_model(**given)
    model.save(tmp_path / "again.npz")
    assert "system" not in str(model.get_config())
    assert b"system" in given["path"].read_bytes() and b"system" not in (tmp_path / "again.npz").read_bytes()


def test_a_custom_layer_is_not_tried_on_an_input_of_any_size(tmp_path):
    called = []
    config = samples.architecture()
    layers = config["config"]["layers"]
    layers[0]["config"]["batch_shape"] = [None, 2**20, 2**9]
    layers.insert(1, samples.node("Mine", name="m"))
    (tmp_path / "model").write_bytes(samples.keras_file(config))
    with watched(tmp_path), pytest.raises(FastLSTMError, match="too large to try"):
        load_model(tmp_path / "model", custom_layers={"Mine": lambda x: called.append(x) or x})
    assert called == []


@pytest.mark.parametrize(("limit", "value"), [("max_file_size", 1000), ("max_params", 50)])
def test_limits_are_the_callers_to_tighten(tmp_path, limit, value):
    path = tmp_path / "x.keras"
    path.write_bytes(samples.keras_file())
    assert load_model(path).count_params() == 76
    with pytest.raises(FastLSTMError, match=f"{limit} is {value}"):
        load_model(path, **{limit: value})
