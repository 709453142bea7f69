"""csrc is a C library of its own: it builds with one line, keeps its rules and refuses bad arguments."""

import ctypes
import re
import shutil
import subprocess
import sys
from ctypes import byref, c_void_p

import clib
import numpy as np
import pytest
from clib import ARGUMENT, CSRC, ISA, MEMORY, OK, RANGE, SIZE, SOURCES, Call, Config
from reference import lstm, rounding_bound

EXAMPLE = CSRC.parent / "examples" / "c_api.c"
MATH = {f + s for f in ("exp", "expm1", "erfc", "log", "log1p", "tanh", "sqrt", "fma", "nearbyint") for s in ("", "f")}
PLAIN = {"memcpy", "memset", "memmove", "strcmp", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
ONLY = {"plan.c": {"aligned_alloc", "malloc", "free", "madvise"}, "cpu.c": {"syscall"}}  # that asks Linux for tiles
# its allocator replaces the system's, in the libraries under it too
COUNTING = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fastlstm.h"

static _Alignas(64) char arena[64 << 20];
static size_t used, count;

void *aligned_alloc(size_t alignment, size_t n)
{
    used = (used + alignment - 1) / alignment * alignment;
    void *const memory = arena + used;
    used += n;
    count++;
    return used <= sizeof arena ? memory : NULL;
}
void *malloc(size_t n) { return aligned_alloc(64, n); }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) { void *q = malloc(n); return p && q ? memmove(q, p, n) : q; }
void free(void *p) { (void)p; }

static float x[7 * 300 * 9], y[7 * 300 * 40], w[49 * 160], trace[7 * 300 * 200];
static uint8_t mask[7 * 300];

static const flstm_variant variant = { /* with everything */
    .gate = {FLSTM_ACT_sigmoid, 0, 0}, .candidate = {FLSTM_CURVE_elu, 1, 0}, .output = {FLSTM_ACT_softmax, 0, 0},
    .coupling = FLSTM_INPUT_COUPLED, .outputs = 13, .projection = w, .projection_bias = w, .peepholes = w, .norm = w,
    .state_norm = w, .norm_epsilon = 1, .input_clip = 1, .cell_clip = 1, .projection_clip = 1};

int main(void)
{
    for (size_t i = 0; i < sizeof mask; i++)
        mask[i] = i % 3 > 0;
    for (size_t k = 0; flstm_kernel_name(k); k++)
        for (int a = 0; flstm_kernel_runs(k) && a < FLSTM_ACT_COUNT; a++) {
            const flstm_config config = {FLSTM_F32, 9, 40, (flstm_activation)a, FLSTM_ACT_sigmoid,
                                         flstm_kernel_name(k), 0, (flstm_cell)(a % FLSTM_CELL_COUNT),
                                         (flstm_precision)(a / FLSTM_CELL_COUNT % FLSTM_PRECISION_COUNT),
                                         a % FLSTM_CELL_COUNT ? NULL : &variant};
            flstm_plan *plan;
            const size_t control = count;
            if (flstm_plan_create(&plan, &config, w, w, NULL) != FLSTM_OK)
                return 2;
            if (count != control + (config.variant ? 3 : 1))
                return 5;
            flstm_call call = {.batch = 7, .steps = 300, .x = x, .x_batch = 2700, .x_step = 9,
                               .y = y, .y_batch = 12000, .y_step = 40, .mask_batch = 300, .mask_step = 1,
                               .trace = config.variant ? trace : NULL, .trace_batch = 60000, .trace_step = 200};
            void *const workspace = malloc(flstm_workspace_size(plan, 7, 300));
            void *const stream = malloc(flstm_stream_size(plan, 2));
            const size_t before = count;
            for (int masked = 0; masked < 2; masked++) {
                call.mask = masked ? mask : NULL;
                if (flstm_run(plan, &call, workspace) != FLSTM_OK)
                    return 3;
            }
            flstm_stream_set(plan, stream, 2, NULL, NULL);
            for (size_t steps = 1; steps < 300; steps += 149)
                if (flstm_stream_run(plan, stream, 2, steps, x, 2700, 9, y, 12000, 40, 1) != FLSTM_OK)
                    return 4;
            flstm_activate(FLSTM_F32, (flstm_activation)a, k, 7, 300, x, y);
            if (count != before)
                return 1;
            used = 0;
        }
    return 0;
}
"""


def code(path):
    """The text of a source file without its comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.S)


def own_includes(path):
    return re.findall(r'#\s*include\s+"([^"]+)"', path.read_text())


def all_files():
    return sorted(p for p in CSRC.iterdir() if p.suffix in (".c", ".h", ".inc"))


@pytest.fixture(scope="module")
def library():
    return clib.load(clib.build())


@pytest.fixture(scope="module")
def objects():
    """{source file: its object file}"""
    if not (shutil.which("nm") and shutil.which("size")):
        pytest.skip("binutils (nm, size) are not installed")
    made = clib.compiled(SOURCES, clib.scratch() / "checked", "-O1", *clib.FLAGS[1:])
    return dict(zip(SOURCES, made, strict=True))


def symbols(path, which):
    listed = subprocess.check_output(["nm", "-g", "--format=posix", which, path], text=True)
    return {line.split()[0] for line in listed.splitlines()}


# ---- the build ------------------------------------------------------------------------------------


def test_one_line_builds_it_without_a_warning():
    assert clib.build().stat().st_size > 0


@pytest.mark.parametrize("extra", ["-Wpedantic", "-Wconversion", "-Wstrict-prototypes"])
def test_stricter_warnings_find_nothing(extra):
    clib.cc(*clib.FLAGS, *clib.WARNINGS, extra, "-fsyntax-only", *SOURCES)


def test_header_is_cxx():
    compiler = shutil.which("c++") or shutil.which("g++")
    if not compiler:
        pytest.skip("no C++ compiler is installed")
    source = clib.scratch() / "header.cpp"
    source.write_text('#include "fastlstm.h"\nint main() { return flstm_kernel_name(0) == nullptr; }\n')
    subprocess.run([compiler, *clib.WARNINGS, "-Wpedantic", "-fsyntax-only", f"-I{CSRC}", source], check=True)


# ---- rules of the sources -------------------------------------------------------------------------


def test_templates_and_vector_headers_include_nothing_of_ours():
    found = [p.name for p in all_files() if re.fullmatch(r".*_tpl\.h|vec_.*\.h", p.name) and own_includes(p)]
    assert found == []


def test_only_kernels_include_a_vector_header():
    for path in all_files():
        vectors = [name for name in own_includes(path) if name.startswith("vec_")]
        assert len(vectors) == path.name.startswith("kernel_") * (path.suffix == ".c"), path.name


def test_intrinsics_stay_in_their_files():
    pattern = re.compile(
        r"\b_mm\d*_\w+|\b__m\d+\w*|\w*mmintrin|\bv(?!_)\w+_[fsu]\d+\b|arm_neon|\bcpuid|\b(__)?asm(__)?\b"
    )
    for path in all_files():
        if not re.fullmatch(r"(kernel_\w+|cpu)\.c|((vec|narrow|tiles_amx|kernel_amx)\w*|cpu|fpenv|pool)\.h", path.name):
            assert not pattern.search(code(path)), path.name


def test_no_python_environment_printing_or_exit():
    pattern = re.compile(r"Python\.h|\b(getenv|v?f?s?n?printf|f?puts|perror|abort|_?exit|assert|system)\b")
    allocation = re.compile(r"\b(malloc|calloc|realloc|aligned_alloc|free|alloca|mmap)\s*\(")
    for path in all_files():
        assert not pattern.search(code(path)), path.name
        assert path.name == "plan.c" or not allocation.search(code(path)), path.name


# ---- rules of the objects -------------------------------------------------------------------------


def test_every_symbol_is_prefixed_and_a_kernel_has_one(objects):
    for source, target in objects.items():
        exported = symbols(target, "--defined-only")
        assert all(name.startswith("flstm_") for name in exported), (source.name, exported)
        if source.name.startswith("kernel_"):
            assert len(exported) <= 1, (source.name, exported)  # none where the processor is another's


def test_nothing_in_memory_is_writable_but_the_pool(objects):
    for source, target in objects.items():
        if source.name == "pool.c":
            continue
        for line in subprocess.check_output(["size", "-A", target], text=True).splitlines():
            section, size = [*line.split(), "", "0"][:2]
            if section.startswith((".data", ".bss", ".tdata", ".tbss")) and ".rel.ro" not in section:
                assert int(size) == 0, (source.name, line)


def test_objects_call_nothing_but_memory_copies_and_mathematics(objects):
    """So a run on one thread, which never gets to the pool, can neither allocate nor lock nor enter the system."""
    for source, target in objects.items():
        wanted = {name for name in symbols(target, "--undefined-only") if not name.startswith("flstm_")}
        if source.name == "pool.c":
            threads = re.compile(r"pthread_|sched_|__sched_|sigfillset|clock_gettime")
            wanted = {name for name in wanted if not threads.match(name)}
        assert wanted <= MATH | PLAIN | ONLY.get(source.name, set()), source.name


def test_runs_and_streams_never_allocate():
    program = clib.compile_text(COUNTING, "counting", *clib.link())
    assert subprocess.run([program]).returncode == 0


# ---- arguments ------------------------------------------------------------------------------------


def test_listings_end_with_null(library):
    kernels = clib.listing(library.flstm_kernel_name)
    activations = clib.listing(library.flstm_activation_name)
    assert "scalar" in kernels and activations[:2] == ["tanh", "sigmoid"]
    for past in (len(kernels), 2**64 - 1):
        assert library.flstm_kernel_name(past) is None
        assert library.flstm_kernel_runs(past) == library.flstm_kernel_fused(past) == 0
    assert library.flstm_activation_name(-1) is None


GOOD = {"dtype": 0, "features": 2, "units": 3, "activation": 0, "recurrent_activation": 1, "isa": None,
        "reproducible": 0}  # fmt: skip
REFUSED = [
    ({"features": 0}, ARGUMENT), ({"units": 0}, ARGUMENT), ({"dtype": 2}, ARGUMENT),
    ({"dtype": -1}, ARGUMENT), ({"activation": 99}, ARGUMENT), ({"activation": -1}, ARGUMENT),
    ({"recurrent_activation": 1000}, ARGUMENT), ({"recurrent_activation": -1}, ARGUMENT),
    ({"cell": 4}, ARGUMENT), ({"cell": -1}, ARGUMENT),
    ({"isa": b"sse9"}, ISA), ({"isa": b""}, ISA), ({"isa": b"AVX2"}, ISA),
    ({"isa": b"scalar", "reproducible": 1}, ISA),
    ({"units": 2**64 - 1}, SIZE), ({"units": 2**58 + 1}, SIZE), ({"units": 2**32}, SIZE),
    ({"units": 2**30}, SIZE), ({"features": 2**64 - 1}, SIZE), ({"features": 2**57}, SIZE),
    ({"features": 2**32, "units": 2**32}, SIZE), ({"features": 2**45}, MEMORY),
    ({"units": 2**23, "features": 2**23, "dtype": 1}, MEMORY),
    ({"precision": 4}, ARGUMENT), ({"precision": -1}, ARGUMENT), ({"precision": 2, "dtype": 1}, ARGUMENT),
    ({"precision": 3, "units": 2**16 + 1}, SIZE), ({"precision": 3, "features": 2**16 + 1}, SIZE),
    ({"precision": 1, "features": 2**45}, MEMORY),
]  # fmt: skip


@pytest.mark.parametrize(("change", "status"), REFUSED, ids=str)
def test_bad_configurations_are_refused_before_the_weights_are_read(library, change, status):
    config = Config(**{**GOOD, **change})
    nowhere = 64  # an address that faults
    found, plan = clib.create_plan(library, config, nowhere, nowhere, nowhere)
    assert found == status and plan.value is None


CURVE = len(re.findall(r"^FLSTM_ACTIVATION", (CSRC / "activations.inc").read_text(), re.M))  # the first one's number
BAD_VARIANTS = [
    {"gate": (-1, 0, 0)}, {"gate": (1000, 0, 0)}, {"candidate": (CURVE, np.nan, 0)}, {"output": (CURVE, 0, np.inf)},
    {"output": (CURVE, 1e39, 0)}, {"coupling": 3}, {"coupling": -1}, {"outputs": 0}, {"outputs": 4},
    {"projection_bias": 64}, {"projection_clip": 1}, {"input_clip": -1}, {"cell_clip": np.nan}, {"cell_clip": np.inf},
    {"norm": 64}, {"state_norm": 64, "norm_epsilon": -1}, {"norm": 64, "norm_epsilon": np.nan},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_VARIANTS, ids=str)
def test_bad_variants_are_refused_before_the_weights_are_read(library, change):
    variant = clib.Variant(**{**clib.PLAIN_VARIANT, "outputs": GOOD["units"], **change})
    config, nowhere = Config(**GOOD, variant=ctypes.addressof(variant)), 64
    found, plan = clib.create_plan(library, config, nowhere, nowhere, nowhere)
    assert found == ARGUMENT and plan.value is None


def test_the_functions_with_parameters_have_names(library):
    alpha, beta = ctypes.c_double(), ctypes.c_double()
    names = [library.flstm_curve(n, byref(alpha), byref(beta)) for n in range(-1, 99)]
    assert names[: CURVE + 1] == [None] * (CURVE + 1) and names[CURVE + 1] == b"affine" and names[-1] is None


def test_a_variant_is_an_lstm_s(library):
    variant = clib.Variant(**{**clib.PLAIN_VARIANT, "outputs": GOOD["units"]})
    weights = [np.zeros(100, np.float32)] * 3
    for cell in range(4):
        config = Config(**{**GOOD, "cell": cell, "variant": ctypes.addressof(variant)})
        status, plan = clib.create_plan(library, config, *weights)
        assert status == (ARGUMENT if cell else OK)
        library.flstm_plan_destroy(plan)
    huge = clib.Variant(**{**clib.PLAIN_VARIANT, "outputs": 2**60, "projection": 64})
    config = Config(**GOOD, variant=ctypes.addressof(huge))
    assert clib.create_plan(library, config, 64, 64, None)[0] == SIZE


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize(
    ("precision", "value", "status"),
    [
        *((name, value, RANGE) for name in clib.PRECISIONS[1:] for value in (np.nan, np.inf, -np.inf)),
        *((name, -3e38, OK) for name in ("float32", "bfloat16", "int8")),
        ("bfloat16", np.finfo(np.float32).max, RANGE),  # which would round up
        ("float16", 65505, RANGE),
        ("float16", -65504, OK),
        ("float32", np.nan, OK),
    ],
)
def test_a_weight_that_its_precision_cannot_hold_is_refused(library, precision, value, status, where):
    weights = [np.zeros((rows, 12), np.float32) for rows in (2, 3)]
    weights[where][1, 11] = value
    config = Config(**GOOD, precision=clib.PRECISIONS.index(precision))
    found, plan = clib.create_plan(library, config, *weights, np.full(12, np.nan, np.float32))  # biases stay float32
    assert found == status and (plan.value is None) == (status != OK)
    library.flstm_plan_destroy(plan)


@pytest.mark.parametrize("precision", clib.PRECISIONS[1:])
def test_a_dense_layer_has_its_weights_in_full(library, precision):
    plan, nowhere = c_void_p(0xBAD), 64
    config = Config(**GOOD, precision=clib.PRECISIONS.index(precision))
    assert library.flstm_dense_create(byref(plan), byref(config), nowhere, nowhere) == ARGUMENT
    assert plan.value is None


@pytest.mark.parametrize("missing", ["plan", "config", "kernel", "recurrent_kernel"])
def test_missing_pointers_are_refused(library, missing):
    config, weights = Config(**GOOD), np.zeros(100, np.float32)
    at = {name: weights.ctypes.data for name in ("kernel", "recurrent_kernel", "bias")}
    plan = c_void_p(0xBAD)
    pointers = {"plan": byref(plan), "config": byref(config), **at, missing: None}
    assert library.flstm_plan_create(*pointers.values()) == ARGUMENT
    assert missing == "plan" or plan.value is None


def test_bad_calls_are_refused(library):
    status, plan = clib.create_plan(library, Config(**GOOD), *[np.zeros(40, np.float32)] * 2, None)
    assert status == OK
    x = np.zeros(1024, np.float32)
    workspace, good = x[-x.ctypes.data % 64 // 4 :].ctypes.data, {"batch": 1, "steps": 2, "x": x.ctypes.data}
    assert library.flstm_workspace_size(plan, 1, 2) < 3500
    assert library.flstm_run(plan, Call(**good), workspace) == OK
    for bad in ({"x": None}, {"batch": 2**32}, {"batch": 2**64 - 1}):
        assert library.flstm_run(plan, Call(**{**good, **bad}), workspace) == ARGUMENT
    assert library.flstm_run(None, Call(**good), workspace) == ARGUMENT
    assert library.flstm_run(plan, None, workspace) == ARGUMENT
    assert library.flstm_run(plan, Call(**good), None) == ARGUMENT
    for bad in ((None, 64, 1, 64), (plan, None, 1, 64), (plan, 64, 1, None), (plan, 64, 2**32, 64)):
        assert library.flstm_stream_run(*bad[:3], 1, bad[3], 0, 0, None, 0, 0, 1) == ARGUMENT
    for bad in ((0, 99, 0), (0, -1, 0), (2, 0, 0), (-1, 0, 0), (0, 0, 99)):
        assert library.flstm_activate(*bad, 1, 1, 64, 64) == ARGUMENT
    assert library.flstm_stream_size(plan, 2**64 - 1) == 2**64 - 1
    library.flstm_plan_destroy(plan)
    library.flstm_plan_destroy(None)


@pytest.mark.parametrize("cell", [cell for cell in clib.CELLS if cell != "lstm"])
def test_a_cell_without_c_refuses_one(library, cell):
    weights, at = np.zeros(60, np.float32), {"x": 64}
    status, plan = clib.create_plan(library, Config(**GOOD, cell=clib.CELLS.index(cell)), weights, weights, weights)
    assert status == OK
    for name in ("c0", "c"):
        assert library.flstm_run(plan, Call(1, 2, **at, **{name: 64}), 64) == ARGUMENT
    library.flstm_plan_destroy(plan)


BOUNDED = """
import clib, numpy, sys
library = clib.load(sys.argv[1])
for features in (1, 9):
    weights = [numpy.zeros(1 << 15, "f4")] * 2
    plan = clib.create_plan(library, clib.Config(0, features, 64, 0, 1), *weights, None)[1]
    for batch in (1, 2, 48, 1000, 2**32 - 1, 2**62, 2**64 - 1):
        for steps in (0, 1, 10**6, 2**62, 2**64 - 10, 2**64 - 1):
            print(batch, steps, library.flstm_workspace_size(plan, batch, steps), flush=True)
"""


def test_workspace_is_bounded_however_long_the_batch_and_the_sequence():
    command = [sys.executable, "-c", BOUNDED, clib.build()]  # a division by zero would end this process
    done = subprocess.run(command, capture_output=True, text=True, cwd=CSRC.parent / "tests")
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr)
    sizes = [int(line.split()[2]) for line in done.stdout.splitlines()]
    assert len(sizes) == 84 and max(sizes) < 4 << 20


# ---- the example ----------------------------------------------------------------------------------


def test_example_program_equals_the_oracle():
    program = clib.scratch() / "c_api"
    clib.cc(*clib.FLAGS, *clib.WARNINGS, f"-I{CSRC}", EXAMPLE, *clib.link(), "-lm", "-o", program)
    printed = np.array(subprocess.check_output([program], text=True).split(), np.float32)

    def weights(rows, factor):
        return ((np.arange(rows * 20) * factor % 11 - 5) / 8).reshape(rows, 20)

    x = np.sin(np.float32(0.1) * np.arange(100, dtype=np.float32))[None, :, None]
    arguments = (x, weights(1, 3), weights(5, 5), weights(1, 7)[0])
    exact, plain = lstm(*arguments)[1], lstm(*arguments, dtype=np.float32)[1]
    assert (np.abs(printed - exact) <= rounding_bound(exact, plain, 100)).all()
