"""No model file can crash, hang, flood the memory, run code or reach another file: it loads or is refused."""

from __future__ import annotations

import faulthandler
import os
import pathlib
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("h5py")
import hostile
import samples

from fastlstm import FastLSTMError
from fastlstm.loading import load_model

REFUSED = hostile.refused()
GROUPS = sorted({(case.threat, case.form) for case in REFUSED})
SECONDS = 0.5  # of the processor's time
HANGS = 60.0  # seconds on the clock, however busy the machine
MEMORY = 64 * 2**20
# Audit events that show a file opened, code run or something else reached.
WATCHED = ("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "pickle.", "marshal.", "ctypes.",
           "shutil.", "tempfile.", "urllib.", "http.", "mmap.", "code.")  # fmt: skip

_events: list[tuple[str, str]] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _events is not None and event.startswith(WATCHED):
        _events.append((event, str(arguments[0]) if arguments else ""))


sys.addaudithook(_audit)


def memory() -> tuple[int, int]:
    """What the process holds in memory and the most that it held since the last :func:`forget_the_most`, in bytes."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        now, most = (int(line.split()[1]) for key in ("VmRSS", "VmHWM") for line in lines if line.startswith(key))
        return now * 1024, most * 1024
    except OSError:  # no Linux: the most since the process began
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most, most


def forget_the_most() -> None:
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


@contextmanager
def watched(folder: pathlib.Path) -> Iterator[None]:
    """Within: little time, little memory, no module imported, nothing opened but the file in the folder."""
    global _events
    modules, events = set(sys.modules), []
    faulthandler.dump_traceback_later(HANGS, exit=True)
    forget_the_most()
    before, _ = memory()
    start = time.thread_time()
    _events = events
    try:
        yield
    finally:
        _events = None
        seconds = time.thread_time() - start
        _, most = memory()
        faulthandler.cancel_dump_traceback_later()
    assert seconds < SECONDS
    assert most - before < MEMORY
    assert set(sys.modules) == modules
    # A file that os.open() has opened is opened again by its number.
    others = [e for e in events if not (e[0] == "open" and (e[1].startswith(str(folder)) or e[1].isdigit()))]
    assert others == []


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


def test_a_file_never_fills_custom_layers(tmp_path):
    """What the caller gives is for the classes that it names, in the call that it is given to."""
    called = []
    given = {"Evil": lambda x: called.append(x) or x}
    config = samples.architecture()
    config |= {"custom_layers": {"Lambda": "Evil"}, "custom_objects": {"Lambda": "Evil"}}
    config["config"]["layers"].insert(1, samples.node("Lambda", name="l", function="Evil", custom_objects={"l": "Evil"}))
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
