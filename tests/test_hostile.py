"""No model file can crash, hang, flood the memory, run code or reach another file: it loads or is refused."""

from __future__ import annotations

import faulthandler
import pathlib
import sys
import time
import tracemalloc
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
SECONDS = 10.0  # a watchdog for hangs on a busy machine, not a measure of speed
MEMORY = 64 * 2**20
MUTANTS = 400
# Audit events that show a file opened, code run or something else reached.
WATCHED = ("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "pickle.", "marshal.")

_events: list[tuple[str, str]] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _events is not None and event.startswith(WATCHED):
        _events.append((event, str(arguments[0]) if arguments else ""))


sys.addaudithook(_audit)


@contextmanager
def watched(path: pathlib.Path) -> Iterator[None]:
    """Within: little time, little memory, no module imported, nothing opened but the file itself."""
    global _events
    modules, events = set(sys.modules), []
    faulthandler.dump_traceback_later(6 * SECONDS, exit=True)
    tracemalloc.start()
    start = time.monotonic()
    _events = events
    try:
        yield
    finally:
        _events = None
        seconds = time.monotonic() - start
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
    assert seconds < SECONDS
    assert peak < MEMORY
    assert set(sys.modules) == modules
    assert [event for event in events if event != ("open", str(path))] == []


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Import what a load needs, once, so that the tests can ask for no import at all."""
    for name, data in samples.valid().items():
        path = tmp_path_factory.mktemp("warm") / name
        path.write_bytes(data)
        load_model(path)


def test_the_collection_is_large():
    assert len(REFUSED) >= 300
    assert len(set(REFUSED.values())) == len(REFUSED)


@pytest.mark.parametrize("name", samples.valid())
def test_the_files_that_the_bad_ones_are_made_from_load(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(samples.valid()[name])
    with watched(path):
        model = load_model(path)
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 4, 2)
    first = tmp_path / "keras"
    first.write_bytes(samples.keras_file())
    assert np.array_equal(model.predict(x), load_model(first).predict(x))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused(tmp_path, name):
    path = tmp_path / f"{name}.keras"
    path.write_bytes(REFUSED[name])
    with watched(path), pytest.raises(FastLSTMError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(repr(str(path)))
    assert len(message) < 2000
    assert message.isprintable()


def test_flipped_bits_give_a_model_or_a_refusal(tmp_path):
    path = tmp_path / "mutant.keras"
    loaded = 0
    for data in hostile.mutants(MUTANTS):
        path.write_bytes(data)
        with watched(path):
            try:
                load_model(path)
                loaded += 1
            except FastLSTMError:
                pass
    assert 0 < loaded < MUTANTS


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "null-in-path", "no-path"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path: object = tmp_path / "x"
    if kind == "directory":
        path = tmp_path
    elif kind == "pipe":
        import os

        os.mkfifo(tmp_path / "x")
    elif kind == "null-in-path":
        path = "a\0b"
    elif kind == "no-path":
        path = 3.5
    with pytest.raises(FastLSTMError):
        load_model(path)


@pytest.mark.parametrize(("limit", "value"), [("max_file_size", 1000), ("max_params", 50)])
def test_limits_are_the_callers_to_tighten(tmp_path, limit, value):
    path = tmp_path / "x.keras"
    path.write_bytes(samples.keras_file())
    assert load_model(path).count_params() == 76
    with pytest.raises(FastLSTMError, match=f"{limit} is {value}"):
        load_model(path, **{limit: value})
