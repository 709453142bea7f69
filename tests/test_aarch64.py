"""The kernels of aarch64 under qemu compute what the oracle computes, and bit for bit what this machine's do.

Not timed: qemu says nothing about a processor's speed.
"""

import itertools
import os
import shutil
import subprocess
from dataclasses import replace

import clib
import emulated
import numpy as np
import pytest
from conftest import RUNNABLE, SEED
from emulated import DTYPES, RELU, SIGMOID, TANH, Case, Request, apply, cases_of, drawn, fill, run_cases, spread
from lstm_variants import drawn_options, variant_of
from reference import rounding_bound
from test_activations import dense_sweep

from fastlstm.activations import Curve

HOST = "avx2" if "avx2" in RUNNABLE else "scalar_fma"
# a kernel and its twin of this machine, which rounds multiply-adds as often
TWINS = {"neon": HOST, "scalar_fma": HOST, "scalar": "scalar"}
# the caller's FPCR: flush to zero, round up, down and to zero, NaNs without payload
ENVIRONMENTS = [hex(bits) for bits in (1 << 24, 1 << 22, 2 << 22, 3 << 22, 1 << 25)]


@pytest.fixture(scope="module")
def tools():
    if "neon" in RUNNABLE:
        pytest.skip("this machine's own kernels are aarch64's: every test runs them")
    for tool, package in ((emulated.COMPILER, "gcc-aarch64-linux-gnu"), (emulated.EMULATOR, "qemu-user")):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed (Debian's {package})")
    library = subprocess.check_output([emulated.COMPILER, "-print-file-name=libc.a"], text=True).strip()
    if not os.path.isabs(library):
        pytest.skip(f"{emulated.COMPILER} has no C library (Debian's libc6-dev-arm64-cross)")


@pytest.fixture(scope="module")
def there(tools):
    return emulated.build_there()


@pytest.fixture(scope="module")
def here():
    return emulated.build_here()


def same_bits(found, wanted):
    """NaNs count as equal: their sign is the compiler's and the processor's affair."""
    same = found.view(f"u{found.itemsize}") == wanted.view(f"u{wanted.itemsize}")
    return (same | (np.isnan(found) & np.isnan(wanted))).all()


def assert_same_bits(found, wanted, cases):
    for f, w, case in zip(found, wanted, cases, strict=True):
        assert all(same_bits(*pair) for pair in zip(f, w, strict=True)), case.request


def denormal(x):
    return (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny)


# ---- vectors --------------------------------------------------------------------------------------

# every function of a vector header that does more than one operation, on every pair of hard numbers
VECTORS = r"""
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#include "vec_neon.h"
#else
#define V_FMA 1
#include "vec_scalar.h"
#endif

static void print(const char *name, vf a, size_t n)
{
    real first[V_LEN + 1] = {0};
    unsigned char bytes[sizeof(real)];
    v_store_n(first, a, n);
    memcpy(bytes, first, sizeof bytes);
    printf("%s ", name);
    for (size_t i = 0; i < sizeof bytes; i++)
        printf("%02x", bytes[i]);
    puts("");
}

int main(void)
{
    const real quiet = (real)NAN, least = V_F64 ? (real)0x1p-1022 : (real)0x1p-126;
    const real hard[] = {quiet, -quiet, (real)INFINITY, -(real)INFINITY, 0, -(real)0, least, least / 4, -least / 4,
                         1, -1, (real)1.7, (real)3.1e7};
    enum { COUNT = sizeof hard / sizeof *hard };
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < COUNT; k++) {
            const vf a = v_set1(hard[i]), b = v_set1(hard[k]);
            print("min", v_min(a, b), 1);
            print("max", v_max(a, b), 1);
            print("less", v_if_less(a, b, a, b), 1);
            print("sign", v_copysign(v_abs(a), b), 1);
            print("power", v_pow2(a), 1);
        }
    for (size_t n = 0; n <= V_LEN; n++) {
        real in[V_LEN + 1], out[V_LEN + 1];
        for (size_t i = 0; i <= V_LEN; i++)
            in[i] = out[i] = (real)i + 1;
        v_store_n(out, v_add(v_load_n(in, n), v_set1(10)), V_LEN);
        for (size_t i = 0; i <= V_LEN; i++)
            if (out[i] != (i < n ? in[i] + 10 : i < V_LEN ? 10 : in[i]))
                return 1;
        v_store_n(out, v_set1(7), n);
        for (size_t i = 0; i <= V_LEN; i++)
            if (out[i] == 7 ? i >= n : i < n)
                return 2;
    }
    return 0;
}
"""


@pytest.mark.parametrize("dtype", range(2), ids=DTYPES)
def test_vectors_do_as_plain_c_does(tools, dtype):
    flags = [f"-DV_F64={dtype}", "-Wno-unused-function", "-lm"]
    mine = clib.compile_text(VECTORS, f"vectors-{dtype}", *flags)
    emulated.cross("-static", mine.with_suffix(".c"), *flags, "-o", f"{mine}-there")
    wanted = subprocess.run([mine], capture_output=True)
    found = subprocess.run([emulated.EMULATOR, f"{mine}-there"], capture_output=True)
    assert wanted.returncode == found.returncode == 0
    assert found.stdout == wanted.stdout and len(found.stdout.splitlines()) == 5 * 13**2


# ---- kernels --------------------------------------------------------------------------------------


def test_neon_comes_first_of_the_kernels(there):
    listed = subprocess.check_output(there, text=True).splitlines()
    assert listed == ["neon 1 1", "scalar 1 0", "scalar_fma 1 1"]


@pytest.mark.parametrize("cell", range(len(clib.CELLS)), ids=clib.CELLS)
@pytest.mark.parametrize("dtype", range(2), ids=DTYPES)
def test_neon_equals_the_oracle_and_this_machines_kernel(there, here, dtype, cell):
    cases = list(spread(np.random.default_rng(SEED), cell, dtype))
    found = run_cases(there, "neon", cases)
    for case, results in zip(cases, found, strict=True):
        for name, y, e, p in zip("yhc", results, case.oracle(np.float64), case.oracle(case.dtype), strict=False):
            assert (np.abs(y - e) <= rounding_bound(e, p, case.request.steps)).all(), (name, case.request)
    assert_same_bits(found, run_cases(here, HOST, cases), cases)


@pytest.mark.parametrize("isa", ["scalar", "scalar_fma"])
def test_plain_c_gives_the_same_bits_on_both(there, here, isa, rng):
    cases = [fill(rng, replace(r.request, reproducible=0)) for cell, dtype in itertools.product(range(4), range(2))
             for r in list(spread(rng, cell, dtype))[::11]]  # fmt: skip
    assert_same_bits(run_cases(there, isa, cases), run_cases(here, TWINS[isa], cases), cases)


@pytest.mark.parametrize("precision", range(1, len(clib.PRECISIONS)), ids=clib.PRECISIONS[1:])
def test_narrow_weights_give_the_same_bits(there, here, precision, rng):
    cases = [fill(rng, replace(case.request, precision=precision)) for cell in range(len(clib.CELLS))
             for case in list(spread(rng, cell, 0))[::3]]  # fmt: skip
    assert_same_bits(run_cases(there, "neon", cases), run_cases(here, HOST, cases), cases)


# whose functions are not in the C library, which is another one there
EXACT = {"sigmoid", "tanh", "relu", "linear", "softsign", "affine", "leaky_relu", "hard_sigmoid", "squareplus"}
COUPLINGS = (None, "input", "forget")


def asked(layer, x, states, block, trace):
    """The call of a built LSTM with a variant, as tests/client.c reads it."""
    functions = layer.recurrent_activation, layer.activation, layer.variant.output_activation or layer.activation
    v, w = layer.variant.for_plan(functions, layer.arrays), layer.arrays
    names = ("projection_kernel", "projection_bias", "peephole_kernel", "norm_scale", "state_norm")
    flags = [COUPLINGS.index(v["coupling"]), layer.output_size, *(name in v for name in names), trace]
    clips = [v[name] for name in ("norm_epsilon", "input_clip", "cell_clip", "projection_clip")]
    request = Request(
        DTYPES.index(layer.dtype), clib.CELLS.index("lstm"), batch=len(x), steps=x.shape[1], features=x.shape[2],
        units=layer.units, bias=int("bias" in w), state=1, block=block, variant=1,
        precision=clib.PRECISIONS.index(layer.precision),
    )  # fmt: skip
    arrays = [x, w["kernel"], w["recurrent_kernel"], *([w["bias"]] if "bias" in w else []), *states]
    numbers = np.array([*v["gate"], *v["candidate"], *v["output"], *clips], np.float64)
    return request.bytes(np.array(flags, np.int64), numbers, *arrays, *(v[name] for name in names if name in v))


def drawn_variant(rng, **options):
    """An LSTM of functions that are the same everywhere."""
    while True:
        features, units = int(rng.integers(1, 70)), int(rng.integers(1, 131))
        layer = variant_of(rng, features, units, **{**drawn_options(rng), **options})
        functions = layer.recurrent_activation, layer.activation, layer.variant.output_activation
        if {f.name["config"]["name"] if isinstance(f, Curve) else f.name for f in functions if f} <= EXACT:
            return layer, features


@pytest.mark.parametrize("dtype", DTYPES)
def test_variants_give_this_machines_bits(there, dtype, rng):
    """With the gates and without, where the kernels may end the steps themselves; as a whole and as a stream."""
    calls, wanted = [], []
    for n in range(120):
        layer, features = drawn_variant(
            rng, dtype=dtype, isa=HOST, precision=str(rng.choice(clib.PRECISIONS)) if n % 5 == 0 and dtype == "float32"
            else "float32", use_bias=bool(rng.random() < 0.8), return_sequences=True, return_state=True,
        )  # fmt: skip
        x = rng.standard_normal((int(rng.choice([1, 2, 3, 7, 33])), int(rng.choice([1, 2, 9])), features)).astype(dtype)
        states = [rng.standard_normal((len(x), width)).astype(dtype) for width in (layer.output_size, layer.units)]
        layer.return_gates = trace = n % 3 == 0
        y, h, c, *gates = layer(x, initial_state=states)
        calls.append(asked(layer, x, states, 0 if trace else n % 4, trace))
        wanted += [y, h, c, *([np.concatenate(gates[0], axis=-1)] if trace else [])]
    found = np.frombuffer(emulated.run(there, "neon", calls), dtype)
    assert same_bits(found, np.concatenate([array.ravel() for array in wanted]))


def test_chunks_of_steps_and_blocks_of_rows_give_the_same_bits(there, here, rng):
    """Long sequences project their input in chunks, large batches are worked through in blocks."""
    requests = [drawn(rng, cell, 0, batch, features, units, steps=steps) for cell in range(len(clib.CELLS))
                for batch, steps, features, units in ((1, 150, 9, 48), (3, 70, 40, 33), (800, 2, 3, 120))]  # fmt: skip
    cases = [fill(rng, request) for request in requests]
    assert_same_bits(run_cases(there, "neon", cases), run_cases(here, HOST, cases), cases)


def test_a_stream_gives_the_bits_of_the_whole(there, rng):
    whole = cases_of(rng, steps=30, backwards=0)
    wanted = run_cases(there, "neon", whole)
    for block in (1, 4, 25):
        cases = [replace(case, request=replace(case.request, block=block)) for case in whole]
        assert_same_bits(run_cases(there, "neon", cases), wanted, cases)


def test_nan_and_infinity_travel_as_on_this_machine(there, here, rng):
    cases = []
    for value, name in itertools.product((np.nan, np.inf, -np.inf), ("x", "kernel", "recurrent_kernel", "h0", "bias")):
        for case in cases_of(rng, steps=4, state=1, bias=1):
            case.data[name].reshape(-1)[::29] = value
            cases.append(case)
    found = run_cases(there, "neon", cases)
    assert any(np.isnan(y).any() for results in found for y in results)
    assert_same_bits(found, run_cases(here, HOST, cases), cases)


# ---- the floating-point environment ---------------------------------------------------------------


def test_tiny_numbers_are_flushed_as_on_this_machine(there, here, rng):
    cases = []
    for scale, case in itertools.product((0.02, 1, 30), cases_of(rng, steps=12, state=1)):
        cases.append(fill(rng, case.request, scale * np.finfo(case.dtype).tiny))
    assert any(denormal(case.data["h0"]).any() for case in cases)
    found = run_cases(there, "neon", cases)
    assert_same_bits(found, run_cases(here, HOST, cases), cases)
    assert not any(denormal(y).any() for results in found for y in results)


@pytest.mark.parametrize(("dtype", "power"), [(0, 13), (1, 28)], ids=DTYPES)
def test_what_rounds_up_to_the_least_normal_number_is_zero_on_aarch64_alone(there, here, dtype, power):
    """The one known difference: it asks whether a result is too small before it rounds, x86 after."""
    tiny, share = np.finfo(DTYPES[dtype]).tiny, 2.0**-power
    request = Request(dtype, clib.CELLS.index("simple"), RELU, features=1, units=1)
    data = {"x": tiny * (1 + share), "kernel": 1 - share, "recurrent_kernel": 0}
    case = Case(request, {name: np.array([[value]], DTYPES[dtype]) for name, value in data.items()})
    (y, _), (twin, _) = (run_cases(program, isa, [case])[0] for program, isa in ((there, "neon"), (here, HOST)))
    assert y.item() == 0 and twin.item() == tiny


def test_results_and_the_callers_environment_do_not_depend_on_each_other(there, rng):
    """That it is as before after each call is for the client to see."""
    cases = [*cases_of(rng, steps=9), *cases_of(rng, steps=9, block=4, backwards=0)]
    wanted = run_cases(there, "neon", cases)
    for environment in ENVIRONMENTS:
        assert_same_bits(run_cases(there, "neon", cases, environment), wanted, cases)


# ---- activations ----------------------------------------------------------------------------------


def samples(dtype, rng):
    """Numbers of all sizes, among them denormals, infinities and NaNs, and more of the usual ones."""
    few = np.array([np.inf, -np.inf, 0, -0.0], dtype)
    if dtype == "float32":
        return np.concatenate([dense_sweep(), few])
    bits = rng.integers(0, 1 << 64, 200_000, np.uint64).view(np.float64)
    return np.concatenate([bits, *rng.normal(0, [[300], [2], [1e-308]], (3, 100_000)), few])


@pytest.mark.parametrize("isa", TWINS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_and_tanh_give_the_same_bits(there, here, dtype, isa, rng):
    x = samples(dtype, rng)
    assert np.isnan(x).any() and denormal(x).any()
    for number in (SIGMOID, TANH):
        found = apply(there, isa, number, x)
        assert same_bits(found, apply(here, TWINS[isa], number, x))
        assert np.array_equal(np.isnan(found), np.isnan(x))


def test_short_arrays_and_all_environments_give_the_bits_of_long_ones(there, rng):
    x = rng.standard_normal(20)
    for dtype, number in itertools.product(DTYPES, (SIGMOID, TANH)):
        wanted = apply(there, "neon", number, x.astype(dtype))
        for n, environment in enumerate((ENVIRONMENTS * 3)[:11], 1):
            assert np.array_equal(apply(there, "neon", number, x[:n].astype(dtype), 1, environment), wanted[:n])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_other_activations_are_this_machines(there, here, dtype, rng):
    library = clib.load(clib.build())
    x, eps = (4 * rng.standard_normal((40, 30))).astype(dtype), np.finfo(dtype).eps
    for number, name in enumerate(clib.listing(library.flstm_activation_name)):
        found, wanted = (apply(program, "scalar", number, x, 40) for program in (there, here))
        np.testing.assert_allclose(found, wanted, rtol=16 * eps, atol=16 * eps, err_msg=name)
