"""AMX: float32 as accurate as multiply-adds, bfloat16 as promised, the same bits for any threads and rows beside.

Where the processor has no tiles, the kernels run over tiles in plain C, whose arithmetic is that of Intel's manual.
"""

import random
from dataclasses import replace
from pathlib import Path

import clib
import narrow
import numpy as np
import programs
import pytest
import test_guard_variants as variants
from conftest import RUNNABLE, SEED
from reference import rounding_bound

FLAGS = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
LEAST_ROWS, LEAST_UNITS = 10, 32  # from which on float32 takes tiles
UNITS = [32, 33, 48, 50, 64, 100]
BATCHES = [10, 15, 16, 19, 33, 48, 70]
FEATURES = [1, 3, 31, 32, 40, 300]


@pytest.fixture(scope="module")
def library():
    if "amx" in RUNNABLE:
        return clib.load(clib.build())
    if not {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_bf16"} <= FLAGS:
        pytest.skip("this processor has no AVX-512 with bfloat16, which the kernels for AMX need beside tiles")
    return clib.load(clib.with_tiles())


def layer(kind, units, **options):
    options = {"mask": False, "state": True, **options}
    return programs.Layer(units, kind=kind, outputs=programs.Layer(1, kind=kind).possible, **options)


def drawn(r, kind, precision="float32", **options):
    one = layer(kind, r.choice(UNITS), precision=precision, cell=r.choice(["tanh", "tanh", "relu"]), **options)
    return programs.Program("float32", r.choice(BATCHES), r.choice([1, 2, 7]), r.choice(FEATURES), (one,))


def found(library, isa, program, data, threads=1):
    return programs.Prepared(library, isa, program, data, threads).run()


def differ(a, b):
    return any(a[0][name].tobytes() != b[0][name].tobytes() for name in a[0])


@pytest.mark.parametrize("kind", clib.CELLS)
def test_float32_is_as_exact_as_multiply_adds(library, kind):
    r, rng, other = random.Random(SEED), np.random.default_rng(SEED), 0
    for _ in range(25):
        program = drawn(r, kind, mask=r.random() < 0.4)
        data = programs.fill(program, rng)
        exact = programs.Prepared(library, "avx512", replace(program, dtype="float64"), doubled(data)).run()[0]
        tiles, plain = (found(library, isa, program, data) for isa in ("amx", "avx512"))
        other += differ(tiles, plain)
        for name, values in tiles[0].items():
            bound = rounding_bound(exact[name], plain[0][name], program.steps)
            assert (abs(values - exact[name]) <= bound).all(), program
    assert other > 20  # they are not the same kernel


def doubled(data):
    return [{name: a if name == "mask" else a.astype(np.float64) for name, a in arrays.items()} for arrays in data]


@pytest.mark.parametrize("units", [64, 128, 512])
def test_a_thousand_steps_lose_no_more_than_multiply_adds(library, units):
    rng = np.random.default_rng(SEED)
    program = programs.Program("float32", 10, 1000 if units < 512 else 200, 16, (layer("lstm", units, state=False),))
    data = programs.fill(program, rng)
    exact = found(library, "avx512", replace(program, dtype="float64"), doubled(data))[0]["y"]
    tiles, plain = (abs(found(library, isa, program, data)[0]["y"] - exact).max() for isa in ("amx", "avx512"))
    assert tiles <= 1.5 * plain
    assert tiles <= 1e-6


def test_variants_are_as_exact_as_multiply_adds(library):
    r, other = random.Random(SEED), 0
    for _ in range(40):
        case = variants.draw(r, []) | {"batch": r.choice(BATCHES), "units": r.choice(UNITS), "precision": 0}
        case["outputs"] = case["outputs"] if "projection" in case["has"] else case["units"]
        case |= {"dtype": "float32", "arrays": case["arrays"] | {"y"}, "functions": [(1, 0, 0), (0, 0, 0), (0, 0, 0)]}
        tiles, plain, exact = (
            np.frombuffer(b"".join(variants.run(library, isa, case | {"dtype": dtype}, "end")), dtype)
            for isa, dtype in (("amx", "float32"), ("avx512", "float32"), ("avx512", "float64"))
        )
        written = ~np.isnan(exact)  # a trace has nothing for steps that a mask leaves out
        assert np.array_equal(np.isnan(tiles), ~written) and np.array_equal(np.isnan(plain), ~written)
        tiles, plain, exact = tiles[written], plain[written], exact[written]
        other += not np.array_equal(tiles, plain)
        reach = 20 if {"norm", "state_norm"} & case["has"] else 1  # a norm divides by what may be small
        assert (abs(tiles - exact) <= reach * rounding_bound(exact, plain, case["steps"])).all(), case
    assert other > 30  # they are not the same kernel


@pytest.mark.parametrize("kind", clib.CELLS)
def test_bfloat16_is_what_instructions_for_its_pairs_give(library, kind):
    r, rng = random.Random(SEED), np.random.default_rng(SEED)
    for _ in range(15):
        program = replace(drawn(r, kind, "bfloat16"), batch=r.choice([1, 2, 5, 16, 17, 40]), steps=1)
        data = programs.fill(program, rng)
        for arrays in data:
            for name in ("kernel", "recurrent_kernel"):
                arrays[name] = narrow.rounded(arrays[name], "bfloat16")
            for name in {"x", "h0"} & set(arrays):
                arrays[name] = narrow.bfloat16(arrays[name])
        full = replace(program, layers=(replace(program.layers[0], precision="float32"),))
        exact = found(library, "avx512", full, data)
        tiles = found(library, "amx", program, data)
        # nothing is left to round but, between its two products, the GRU's reset state
        bound = 1e-2 if kind == "gru_before" else rounding_bound(exact[0]["h"], exact[0]["h"], program.features + 100)
        assert (abs(tiles[0]["h"] - exact[0]["h"]) <= bound).all(), program


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_bit_depends_on_threads(library, precision):
    r, rng = random.Random(SEED), np.random.default_rng(SEED)
    for kind in clib.CELLS * 3:
        program = replace(drawn(r, kind, precision, mask=r.random() < 0.5), steps=9)
        data = programs.fill(program, rng)
        wanted = found(library, "amx", program, data)
        for threads in (2, 3):
            programs.assert_same_bits(found(library, "amx", program, data, threads), wanted, program)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_row_depends_on_the_rows_beside_it(library, precision):
    rng = np.random.default_rng(SEED)
    program = programs.Program("float32", 40, 5, 20, (layer("lstm", 50, precision=precision),))
    (data,) = programs.fill(program, rng)
    (whole,) = found(library, "amx", program, [data])
    rows = rng.permutation(40)[:23]
    weights = {name: data[name] for name in ("kernel", "recurrent_kernel", "bias")}
    some = weights | {name: data[name][rows] for name in ("x", "h0", "c0")}
    (part,) = found(library, "amx", replace(program, batch=23), [some])
    for name in part:
        assert np.array_equal(part[name], whole[name][rows])


def test_few_rows_and_few_units_are_multiply_adds(library):
    rng = np.random.default_rng(SEED)
    for batch, units in ((LEAST_ROWS - 1, 64), (17, 64), (48, LEAST_UNITS - 1)):
        program = programs.Program("float32", batch, 3, 20, (layer("lstm", units),))
        data = programs.fill(program, rng)
        assert not differ(found(library, "amx", program, data), found(library, "avx512", program, data))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_not_finite_stays_in_its_row(library, precision):
    rng = np.random.default_rng(SEED)
    program = programs.Program("float32", 16, 3, 40, (layer("lstm", 40, precision=precision),))
    (data,) = programs.fill(program, rng)
    clean = found(library, "amx", program, [data])[0]
    data["x"][3, 1, 7], data["x"][5, 0, 0], data["h0"][9, 2], data["x"][12, 2, 1] = np.nan, np.inf, np.nan, 3.4e38
    tiles, plain = (found(library, isa, program, [data])[0] for isa in ("amx", "avx512"))
    for name in tiles:
        assert np.array_equal(np.isnan(tiles[name]), np.isnan(plain[name])), name
        untouched = [n for n in range(16) if n not in (3, 5, 9, 12)]
        assert np.array_equal(tiles[name][untouched], clean[name][untouched])


def test_weights_that_three_parts_do_not_hold_are_multiply_adds(library):
    rng = np.random.default_rng(SEED)
    program = programs.Program("float32", 16, 2, 8, (layer("lstm", 40),))
    (data,) = programs.fill(program, rng)
    data["kernel"][0, 0] = np.inf
    assert not differ(found(library, "amx", program, [data]), found(library, "avx512", program, [data]))
