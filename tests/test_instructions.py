"""How many instructions a few calls of the C library take: a guard that needs no clock and no quiet machine.

``python tests/test_instructions.py`` prints the table anew, for the compiler at hand.
"""

import functools
import re
import shutil
import subprocess

import clib
import pytest

# One thread, float32; counted by callgrind in a library built with clib.FLAGS
COMPILER = "gcc 12"
COUNTS = {
    ("avx2", "step, 8 units"): 1328,
    ("avx2", "step, 32 units"): 3405,
    ("avx2", "step, 128 units"): 20499,
    ("avx2", "64 steps, 32 units"): 194459,
    ("avx2", "16 rows of 16 steps, 64 units"): 1948257,
    ("avx2", "step of a GRU, 32 units"): 3014,
    ("avx2", "step of a GRU that resets before, 32 units"): 3716,
    ("avx2", "step of a simple RNN, 32 units"): 1842,
    ("avx2", "16 rows of 16 steps of a GRU, 64 units"): 1785121,
    ("scalar", "step, 8 units"): 5764,
    ("scalar", "step, 32 units"): 38467,
    ("scalar", "step, 128 units"): 348802,
    ("scalar", "64 steps, 32 units"): 2481134,
    ("scalar", "16 rows of 16 steps, 64 units"): 26210920,
    ("scalar", "step of a GRU, 32 units"): 31132,
    ("scalar", "step of a GRU that resets before, 32 units"): 28257,
    ("scalar", "step of a simple RNN, 32 units"): 10323,
    ("scalar", "16 rows of 16 steps of a GRU, 64 units"): 23185484,
}
CASES = {
    "step, 8 units": ("stream", 1, 1, 8, 8, "lstm"),
    "step, 32 units": ("stream", 1, 1, 24, 32, "lstm"),
    "step, 128 units": ("stream", 1, 1, 24, 128, "lstm"),
    "64 steps, 32 units": ("run", 1, 64, 24, 32, "lstm"),
    "16 rows of 16 steps, 64 units": ("run", 16, 16, 24, 64, "lstm"),
    "step of a GRU, 32 units": ("stream", 1, 1, 24, 32, "gru"),
    "step of a GRU that resets before, 32 units": ("stream", 1, 1, 24, 32, "gru_before"),
    "step of a simple RNN, 32 units": ("stream", 1, 1, 24, 32, "simple"),
    "16 rows of 16 steps of a GRU, 64 units": ("run", 16, 16, 24, 64, "gru"),
}
KERNELS = ["avx2", "scalar"]  # valgrind knows no AVX-512
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fastlstm.h"

static int perform(int runs, const flstm_plan *plan, const flstm_call *c, void *memory)
{
    return runs ? flstm_run(plan, c, memory)
                : flstm_stream_run(plan, memory, c->batch, c->steps, c->x, c->x_batch, c->x_step,
                                   c->y, c->y_batch, c->y_step, 1);
}

/* The call after the first, which finds everything in its place. */
__attribute__((noinline)) int counted(int runs, const flstm_plan *plan, const flstm_call *c, void *memory);
int counted(int runs, const flstm_plan *plan, const flstm_call *c, void *memory)
{
    return perform(runs, plan, c, memory);
}

int main(int argc, char **argv)
{
#ifdef __clang__
    const char *const name = "clang";
    const int version = __clang_major__;
#else
    const char *const name = "gcc";
    const int version = __GNUC__;
#endif
    if (argc != 8)
        return printf("%s %d\n", name, version) < 0;
    const size_t batch = strtoul(argv[3], NULL, 10), steps = strtoul(argv[4], NULL, 10);
    const size_t features = strtoul(argv[5], NULL, 10), units = strtoul(argv[6], NULL, 10);
    const flstm_config config = {FLSTM_F32, features, units, FLSTM_ACT_tanh, FLSTM_ACT_sigmoid, argv[1], 0,
                                 (flstm_cell)strtoul(argv[7], NULL, 10), FLSTM_FULL, NULL};
    const size_t weights = (features + units + 1) * 4 * units;
    float *const w = malloc(weights * sizeof *w), *const x = malloc(batch * steps * features * sizeof *x);
    float *const y = malloc(batch * steps * units * sizeof *y);
    flstm_plan *plan;
    for (size_t i = 0; i < weights; i++)
        w[i] = (float)((int)(i * 37 % 101) - 50) / 400;
    for (size_t i = 0; i < batch * steps * features; i++)
        x[i] = (float)((int)(i * 53 % 103) - 51) / 50;
    if (flstm_plan_create(&plan, &config, w, w, w) != FLSTM_OK)
        return 1;
    const ptrdiff_t xs = (ptrdiff_t)features, ys = (ptrdiff_t)units, t = (ptrdiff_t)steps;
    const flstm_call call = {.batch = batch, .steps = steps, .x = x, .x_batch = t * xs, .x_step = xs,
                             .y = y, .y_batch = t * ys, .y_step = ys};
    const size_t size = flstm_workspace_size(plan, batch, steps) + flstm_stream_size(plan, batch);
    void *const memory = aligned_alloc(64, (size + 63) / 64 * 64);
    flstm_stream_set(plan, memory, batch, NULL, NULL);
    const int runs = strcmp(argv[2], "run") == 0;
    return perform(runs, plan, &call, memory) || counted(runs, plan, &call, memory);
}
"""


@functools.cache
def program():
    return clib.compile_text(PROGRAM, "instructions", *clib.link())


def compiler():
    return subprocess.check_output([program()], text=True).strip()


def count(isa, case):
    """Instructions of the case's second call."""
    options = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=counted"]
    *sizes, cell = CASES[case]
    command = ["valgrind", *options, program(), isa, *map(str, sizes), str(clib.CELLS.index(cell))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("isa", KERNELS)
def test_no_call_takes_more_instructions_than_it_did(isa, case):
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed")
    library = clib.load(clib.build())
    if not library.flstm_kernel_runs(clib.listing(library.flstm_kernel_name).index(isa)):
        pytest.skip(f"this processor or operating system cannot run {isa}")
    found, known = count(isa, case), COUNTS[isa, case]
    # other compilers do it in their own way; a table that is far too high would guard nothing
    allowed = 1.1 if compiler() == COMPILER else 1.5
    assert known / 2 <= found <= known * allowed, f"{found} instructions; {known} by {COMPILER}"


if __name__ == "__main__":
    print(f'COMPILER = "{compiler()}"\nCOUNTS = {{')
    for isa in KERNELS:
        for case in CASES:
            print(f'    ("{isa}", "{case}"): {count(isa, case)},', flush=True)
    print("}")
