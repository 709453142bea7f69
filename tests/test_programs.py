"""Programs of the C library: the same bits however many threads share their work, in a bounded workspace."""

import collections
import itertools
import os
import random
import subprocess
import sys
from ctypes import byref, c_int, c_size_t

import clib
import numpy as np
import programs
import pytest
from conftest import RUNNABLE, SEED

DRAWS = {"avx512": 300, "avx2": 300, "scalar": 120, "scalar_fma": 60}
KINDS = ("rows", "layers", "units")
RARE = programs.Program("float32", 1, 20, 3, (programs.Layer(20), programs.Layer(20)), True)  # both layers and units


@pytest.fixture(scope="module")
def library():
    return clib.load(clib.plenty())


def kind_of(library, prepared):
    kinds = (c_int * 3)()
    library.plenty_kinds(byref(prepared.call), kinds)
    return " and ".join(name for name, used in zip(KINDS, kinds, strict=True) if used)


def jobs(library):
    """How many jobs have run on several threads."""
    return c_size_t.in_dll(library, "plenty_jobs").value


def test_no_bit_depends_on_how_the_work_is_shared(library, isa):
    r, rng, seen = random.Random(SEED), np.random.default_rng(SEED), collections.Counter()
    before = jobs(library)
    for program in [RARE, *(programs.draw(r) for _ in range(DRAWS.get(isa, 100)))]:
        data = programs.fill(program, rng)
        wanted = programs.one_by_one(library, isa, program, data)
        for threads in (1, 2, 4 if program is RARE else r.randint(3, 9)):
            prepared = programs.Prepared(library, isa, program, data, threads)
            kind = kind_of(library, prepared)
            seen[kind] += 1
            programs.assert_same_bits(prepared.run(), wanted, f"{threads} threads share {kind}: {program}")
    assert set(seen) == {"", "rows", "layers", "units", "layers and units"}, seen
    assert jobs(library) - before == seen.total() - seen[""]  # what was to be shared was


def test_no_bit_of_a_stream_depends_on_how_its_units_are_shared(library, isa):
    r, rng = random.Random(SEED), np.random.default_rng(SEED)
    before = jobs(library)
    for _ in range(DRAWS.get(isa, 100) // 3):
        program = programs.draw_stream(r)
        prepared = programs.Prepared(library, isa, program, programs.fill(program, rng))
        (wanted,) = prepared.run()
        for threads in (1, 2, r.randint(3, 9)):
            for name, values in programs.streamed(r, library, prepared, wanted, threads).items():
                assert values.tobytes() == wanted[name].tobytes(), (name, threads, program)
    assert jobs(library) > before


def test_the_workspace_does_not_grow_with_the_steps(library, isa):
    r, rng = random.Random(SEED), np.random.default_rng(SEED)
    for _ in range(DRAWS.get(isa, 100)):
        program = programs.draw(r)
        prepared = programs.Prepared(library, isa, program, programs.fill(program, rng))
        call = prepared.call
        for threads, batch in itertools.product((1, 2, r.randint(3, 64)), [*range(1, 30), r.randint(30, 2000)]):
            sizes = []
            call.threads = threads
            for steps in (1000, 10**9):
                for layer in range(call.layers):
                    call.calls[layer].batch, call.calls[layer].steps = batch, steps
                sizes.append(library.flstm_program_workspace_size(byref(call)))
            assert sizes[1] <= 2 * sizes[0], (sizes, threads, batch, program)  # chunks are of nearly even lengths


RACELESS = 60


def sweep(library, isa):
    r, rng = random.Random(SEED), np.random.default_rng(SEED)
    for _ in range(RACELESS):
        program = programs.draw(r)
        data = programs.fill(program, rng)
        for threads in (2, r.randint(3, 9)):
            programs.Prepared(library, isa, program, data, threads).run()
    for _ in range(RACELESS):
        program = programs.draw_stream(r)
        prepared = programs.Prepared(library, isa, program, programs.fill(program, rng))
        programs.streamed(r, library, prepared, prepared.run()[0], r.randint(2, 9))
    print(jobs(library))


def test_no_thread_touches_what_another_is_at():
    """ThreadSanitizer knows what was in order and what was luck; test_pool.py shows that it speaks up."""
    environment = {**os.environ, "LD_PRELOAD": clib.runtime("libtsan.so"), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, clib.plenty("-fsanitize=thread"), RUNNABLE[0]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer cannot live with this kernel's address layout (vm.mmap_rnd_bits)")
    assert done.returncode == 0, done.stderr[:4000]
    assert int(done.stdout) > RACELESS


if __name__ == "__main__":
    sweep(clib.load(sys.argv[1]), sys.argv[2])
