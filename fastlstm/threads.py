"""How many threads a call may use: the processors at hand, FASTLSTM_NUM_THREADS, set_num_threads."""

from __future__ import annotations

import itertools
import math
import operator
import os
from pathlib import Path
from typing import Any

from fastlstm import _core
from fastlstm.errors import FastLSTMError

_chosen: int | None = None  # by set_num_threads, or else at the first question


def set_num_threads(threads: int) -> None:
    """Let every call from now on use up to so many threads, the caller's among them.

    Parameters
    ----------
    threads : int
        At least 1. More than this process has processors (by its affinity and its control group's
        quota) is taken as that many: idle threads that wait for a processor only slow the rest.

    Raises
    ------
    FastLSTMError
        Not a positive integer.

    Notes
    -----
    A layer's own ``threads=`` goes before this, and this before the environment's
    FASTLSTM_NUM_THREADS. Small work stays on the caller's thread whatever is allowed, and no
    result depends on the number of threads.
    """
    global _chosen
    _chosen = checked(threads, "set_num_threads: threads")
    _core.set_default_threads(_chosen)


def get_num_threads() -> int:
    """The threads that a call may use: set_num_threads's, FASTLSTM_NUM_THREADS, or every processor at hand."""
    global _chosen
    if _chosen is None:
        given = os.environ.get("FASTLSTM_NUM_THREADS")
        if given:
            try:
                number: Any = int(given)
            except ValueError:
                number = given
            _chosen = checked(number, "FASTLSTM_NUM_THREADS")
        else:
            _chosen = available()
        _core.set_default_threads(_chosen)
    return _chosen


def checked(threads: Any, what: str) -> int:
    """``threads`` as a count that this process can run at once, or an error that names ``what``."""
    try:
        number = 0 if isinstance(threads, bool) else operator.index(threads)
    except TypeError:
        number = 0
    if number < 1:
        raise FastLSTMError(f"{what} is {threads!r}; expected a positive integer")
    return min(number, available())


def available() -> int:
    """Processors of the affinity mask, no more than the control group's quota pays for."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(count, quota())))


def quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Processors' worth of time that this process's control groups grant it; infinity without a limit."""
    least = math.inf
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return least
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        bases = (root / controllers, root / "cpu") if controllers else (root,)  # its own mount may be named otherwise
        # the group itself and those around it; in a container the path may not exist below the mount
        for base, group in itertools.product(bases, (Path(path), *Path(path).parents)):
            place = base / str(group).lstrip("/")
            least = min(least, _limit(place / "cpu.max", None), _limit(place / "cpu.cfs_quota_us", place))
    return least


def _limit(file: Path, old: Path | None) -> float:
    """One group's limit: version 2 keeps "quota period" in one file, version 1 in two."""
    try:
        words = file.read_text().split()
        period = (old / "cpu.cfs_period_us").read_text() if old else words[1]
        return int(words[0]) / int(period) if words[0].isdecimal() and int(period) else math.inf
    except (OSError, ValueError, IndexError):
        return math.inf
