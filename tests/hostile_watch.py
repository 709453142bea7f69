"""What a load may not do: take long, take much memory, import, run or open anything but its own file."""

from __future__ import annotations

import faulthandler
import gc
import pathlib
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 0.5  # of the processor's time
HANGS = 100.0  # seconds on the clock, however busy the machine
MEMORY = 64 * 2**20
# Audit events that show a file opened, code run or something else reached.
_EVENTS = ("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "pickle.", "marshal.", "ctypes.",
           "shutil.", "tempfile.", "urllib.", "http.", "mmap.", "code.")  # fmt: skip

_heard: list[tuple[str, str]] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _heard is not None and event.startswith(_EVENTS):
        _heard.append((event, str(arguments[0]) if arguments else ""))


sys.addaudithook(_audit)


def _memory() -> tuple[int, int]:
    """What the process holds in memory, and the most that it held since :func:`_forget_the_most`, in bytes."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        now, most = (int(line.split()[1]) for key in ("VmRSS", "VmHWM") for line in lines if line.startswith(key))
        return now * 1024, most * 1024
    except OSError:  # no Linux: the most since the process began
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most, most


def _forget_the_most() -> None:
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def no_hanging() -> None:
    """End the process, and say where it was, unless this is called again in time."""
    faulthandler.dump_traceback_later(HANGS, exit=True)


@contextmanager
def watched(folder: pathlib.Path | None) -> Iterator[None]:
    """Within: little time, little memory, no module imported, nothing opened but what is in the folder.

    Raises
    ------
    AssertionError
        Says what was done that may not be.
    """
    global _heard
    modules, heard = set(sys.modules), []
    _forget_the_most()
    before, _ = _memory()
    gc.freeze()  # the collector goes through what is made within, not through all that TensorFlow has made
    start = time.thread_time()
    _heard = heard
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        _heard = None
        seconds = time.thread_time() - start
        gc.unfreeze()
        _, most = _memory()
    assert seconds < SECONDS, f"took {seconds:.2f} s"
    assert most - before < MEMORY, f"took {(most - before) / 2**20:.0f} MiB"
    assert set(sys.modules) == modules, f"imported {sorted(set(sys.modules) - modules)}"
    # A file that os.open() has opened is opened again by its number.
    others = [e for e in heard if not (e[0] == "open" and (e[1].startswith(str(folder)) or e[1].isdigit()))]
    assert others == [], f"reached {others[:3]}"
    assert not warned, f"warned: {warned[0].message}"
