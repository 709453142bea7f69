"""The pool of threads in use, by tests/pool.c: plain, under ThreadSanitizer, and under ASan and UBSan."""

import functools
import itertools
import os
import subprocess
from pathlib import Path

import clib
import pytest

BUILDS = {
    "plain": [],
    "thread": ["-fsanitize=thread"],
    "address": ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
}
RUNTIMES = {"thread": "libtsan.so", "address": "libasan.so"}
PARTS = {
    "jobs": "every index runs once, all at the same time, and sees what the others wrote",
    "idle": "idle threads sleep, and wake up",
    "quick": "short jobs find the threads awake when they follow each other closely",
    "callers": "one caller has the pool, the others are told so",
    "restart": "the threads end when told to, and begin again",
    "refused": "without memory for threads a job is refused",
    "pinned": "no more threads than the affinity mask has processors",
    "forks": "a child has a pool of its own, its parent keeps its own",
    "programs": "rows, layers, directions, units and streams on two threads",
    "too many": "more threads are asked for than there can be",
}
# ThreadSanitizer needs memory when it wants it, and does not follow a fork that begins threads
UNFIT = [("thread", "refused"), ("thread", "forks"), ("address", "refused")]
LIMIT = 120  # seconds; a part takes less than one, where nobody waits for ever


@functools.cache
def program(build):
    flags = BUILDS[build]
    if build in RUNTIMES:
        clib.runtime(RUNTIMES[build])
    library = clib.plenty(*flags)
    target = library.with_name("pool")
    source = Path(__file__).with_name("pool.c")
    clib.cc(*clib.FLAGS, *clib.WARNINGS, "-O1", *flags, f"-I{library.parent}", source, *clib.link(library), "-pthread",
            "-o", target)  # fmt: skip
    return target


def run(build, part):
    done = subprocess.run([program(build), part], capture_output=True, text=True, timeout=LIMIT)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer cannot live with this kernel's address layout (vm.mmap_rnd_bits)")
    return done


@pytest.mark.parametrize(("build", "part"), [pair for pair in itertools.product(BUILDS, PARTS) if pair not in UNFIT])
def test_the_pool_keeps_its_promises(build, part):
    if part == "quick" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this process has one processor: nobody waits awake on another")
    done = run(build, part)
    assert done.returncode == 0, f"{PARTS[part]}: not so\n{done.stderr}"


@pytest.mark.parametrize(("build", "part", "found"), [
    ("thread", "race", "ThreadSanitizer: data race"), ("address", "overflow", "AddressSanitizer: heap-buffer-overflow"),
])  # fmt: skip
def test_the_sanitizers_see_what_the_threads_do(build, part, found):
    done = run(build, part)
    assert done.returncode != 0 and found in done.stderr
