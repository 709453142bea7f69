"""Narrow weights compute what their arithmetic in NumPy does, in the same bits however they are run."""

import functools
import itertools
from pathlib import Path

import narrow
import numpy as np
import pytest
from conftest import FUSED
from recurrent import KINDS, layer_of, oracle, states_of
from reference import lstm, rounding_bound

from fastlstm import LSTM, FastLSTMError
from fastlstm.precision import COST

NARROW = list(narrow.ROUNDED)
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_PRODUCTS = CPUINFO.exists() and "avx512_bf16" in CPUINFO.read_text()
# features, units, batch, steps: tiles of every kind, a projection in chunks and one in blocks of features
SHAPES = [(1, 1, 1, 5), (3, 20, 2, 9), (17, 33, 7, 11), (300, 40, 1, 30), (5, 130, 13, 4), (1101, 9, 2, 6)]


def orders(isa):
    """The two orders of sums, where there is a choice."""
    return (False, True) if isa in FUSED else (False,)


def rounds_inputs(layer):
    """Whether x and h are rounded as the weights are."""
    products = BFLOAT16_PRODUCTS and layer.isa in ("amx", "avx512") and not layer.reproducible
    return layer.precision == "int8" or (layer.precision == "bfloat16" and products)


def with_weights(layer, weights, **options):
    """Another layer of its kind and sizes."""
    options = {**layer.how_to_run, **options}
    other = type(layer)(**layer.get_config(), **options)
    other.set_weights(weights)
    return other


def in_float32(layer):
    """The layer in float32, its weights rounded as its own are."""
    weights = [narrow.rounded(w, layer.precision) if i < 2 else w for i, w in enumerate(layer.get_weights())]
    return with_weights(layer, weights, precision="float32")


def assert_bits(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


# ---- the arithmetic -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_weights_of_16_bits_are_rounded_and_no_more(isa, precision, kind, rng):
    for features, units, batch, steps in SHAPES:
        layer = layer_of(rng, kind, features, units, isa=isa, precision=precision, reproducible=isa in FUSED,
                         return_sequences=True, return_state=True)  # fmt: skip
        weights = layer.get_weights()
        weights[0][0] *= 2.0 ** rng.integers(-24, 3, weights[0].shape[1])  # into float16's denormals
        layer.set_weights(weights)
        if rounds_inputs(layer):
            pytest.skip("this kernel rounds x and h too")
        x, states = rng.standard_normal((batch, steps, features)).astype(np.float32), states_of(rng, layer, batch)
        mask = rng.random((batch, steps)) < 0.7 if batch > 2 else None
        wanted = in_float32(layer)(x, initial_state=states, mask=mask)
        assert_bits(layer(x, initial_state=states, mask=mask), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_step_that_rounds_x_and_h_is_that_of_numpy(isa, precision, kind, rng):
    """One step, since the least difference of a state may round it to another number before the next."""
    dot = {"bfloat16": narrow.dot_bfloat16, "int8": narrow.dot_int8}[precision]
    largest, chain = {"bfloat16": (0, 4), "int8": (3, 1)}[precision]  # one's sums are a long chain, the other's exact
    for features, units, _, _ in SHAPES:
        layer = layer_of(rng, kind, features, units, isa=isa, precision=precision, return_state=True)
        if not rounds_inputs(layer):
            pytest.skip("this kernel rounds the weights alone")
        x, states = rng.standard_normal((70, 1, features)).astype(np.float32), states_of(rng, layer, 70)
        x[3] = states[0][4] = 0
        x *= (10.0 ** rng.integers(-3, largest + 1, (70, 1, 1))).astype(np.float32)
        exact, plain = (oracle(layer, kind, x, states, dtype=d, dot=dot)[1:] for d in (np.float64, np.float32))
        for y, e, p in zip(layer(x, initial_state=states), exact, plain, strict=True):
            wrong = np.abs(y - e) > chain * rounding_bound(e, p, 1)
            # r h of a GRU is a result itself, whose last bit can decide which way it is rounded
            assert wrong.mean() <= (0.02 if kind == "gru_before" else 0), (features, units)
            assert np.abs(y - e).max() < 0.05


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_that_round_once_agree_bit_for_bit(precision, kind, rng):
    if len(FUSED) < 2:
        pytest.skip(f"only {FUSED} rounds multiply-adds once here")
    for features, units, batch, steps in SHAPES:
        options = {"precision": precision, "reproducible": True, "return_sequences": True, "return_state": True}
        layer = layer_of(rng, kind, features, units, isa=FUSED[0], **options)
        x = rng.standard_normal((batch, steps, features)) * rng.choice([0.1, 1, 10])
        wanted = layer(x)
        for isa in FUSED[1:]:
            assert_bits(with_weights(layer, layer.get_weights(), isa=isa)(x), wanted)


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("kind", KINDS)
def test_no_bit_depends_on_the_rows_beside_or_on_the_cut_into_steps(isa, precision, kind, rng):
    for (features, units, _, steps), reproducible in zip(SHAPES, itertools.cycle(orders(isa)), strict=False):
        layer = layer_of(rng, kind, features, units, isa=isa, precision=precision, reproducible=reproducible,
                         return_sequences=True)  # fmt: skip
        x = rng.standard_normal((13, steps, features)).astype(np.float32)
        whole = layer(x)
        for rows in (slice(1), slice(2), slice(3), slice(2, 6), slice(7, 13)):
            assert_bits([layer(x[rows])], [whole[rows]])
        mask = rng.random((13, steps)) < 0.5
        mask[[3, 11]] = True
        assert_bits(layer(x, mask=mask)[[3, 11]], whole[[3, 11]])
        for batch in (1, 4):
            stream, cut = layer.stream(batch), steps // 2
            assert_bits([stream.step(x[:batch, 0])], [whole[:batch, 0]])
            parts = [stream.run(x[:batch, first:last]) for first, last in ((1, cut), (cut, steps))]
            assert_bits([np.concatenate(parts, axis=1)], [whole[:batch, 1:]])


@pytest.mark.parametrize("precision", NARROW)
def test_no_bit_depends_on_the_threads(isa, precision, rng):
    units = 100 if isa.startswith("scalar") else 330
    layer = layer_of(rng, "lstm", 40, units, isa=isa, precision=precision, threads=1, return_sequences=True)
    shared = with_weights(layer, layer.get_weights(), threads=2)
    for batch in (1, 3, 40):
        x = rng.standard_normal((batch, 5, 40)).astype(np.float32)
        wanted = layer(x)
        assert_bits([shared(x), shared.stream(batch).run(x)], [wanted, wanted])


# ---- how far from float64 -------------------------------------------------------------------------


@functools.cache
def trained_like(init, units):
    """Weights as the layers of Keras and PyTorch begin with, 1,000 steps of input, and the float64 result."""
    rng, bound = np.random.default_rng(units), units**-0.5
    if init == "PyTorch":
        weights = [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((units, 4 * units),) * 2]
        weights.append(rng.uniform(-bound, bound, 4 * units).astype(np.float32))
    else:
        seeded = ({"class_name": name, "config": {"seed": 1}} for name in ("GlorotUniform", "Orthogonal"))
        layer = LSTM(units, kernel_initializer=next(seeded), recurrent_initializer=next(seeded))
        layer.build((None, None, units))
        weights = layer.get_weights()
    x = rng.standard_normal((1, 1000, units)).astype(np.float32)
    return weights, x, lstm(x, *weights)[0]


#: What docs/precision.md promises; measured: 4e-3, 4e-4 (float16 has three bits more than bfloat16) and 1.5e-2.
PROMISED = {"bfloat16": 1e-2, "float16": 1e-3, "int8": 2e-2}


@pytest.mark.parametrize("init", ["Keras", "PyTorch"])
@pytest.mark.parametrize("precision", NARROW)
def test_1000_steps_stay_within_what_is_promised(isa, precision, init):
    assert COST == {"float32": 0, **PROMISED}
    for units in (20, 128) if isa.startswith("scalar") else (20, 128, 300):
        weights, x, exact = trained_like(init, units)
        for reproducible in orders(isa):
            layer = LSTM(units, return_sequences=True, isa=isa, precision=precision, reproducible=reproducible)
            layer.set_weights(weights)
            error = np.abs(layer(x) - exact)
            assert error.max() <= PROMISED[precision], (units, reproducible)
            assert error[:, 500:].max() <= 2 * error[:, :500].max()  # it does not grow with the steps


# ---- numbers that are none, and sizes -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "h", "c"])
def test_nan_and_infinity_travel_as_in_the_oracle(isa, where, value, precision, kind, rng):
    for reproducible in orders(isa):
        layer = layer_of(rng, kind, 3, 20, isa=isa, precision=precision, reproducible=reproducible,
                         return_sequences=True, return_state=True)  # fmt: skip
        x, states = rng.standard_normal((2, 4, 3)).astype(np.float32), states_of(rng, layer, 2)
        {"x": x[0, 1], "h": states[0][0], "c": states[-1][0]}[where][2] = value
        with np.errstate(all="ignore"):
            exact, _, *ends = oracle(in_float32(layer), kind, x, states)
            found = layer(x, initial_state=states)
        for y, e in zip(found, (exact, *ends), strict=True):
            finite = np.isfinite(e)
            assert np.array_equal(np.isnan(y), np.isnan(e))
            assert np.array_equal(y[np.isinf(e)], e[np.isinf(e)])
            np.testing.assert_allclose(y[finite], e[finite], atol=PROMISED["bfloat16"] * 2, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "h"])
def test_a_row_that_bytes_cannot_hold_is_nan_and_no_other(isa, where, value, kind, rng):
    layer = layer_of(rng, kind, 3, 20, isa=isa, precision="int8", return_sequences=True, return_state=True)
    x, states = rng.standard_normal((5, 4, 3)).astype(np.float32), states_of(rng, layer, 5)
    wanted = layer(x, initial_state=states)
    at = 2 if where == "x" else 0
    (x[1, at] if where == "x" else states[0][1])[2] = value
    found = layer(x, initial_state=states)
    others = [0, 2, 3, 4]
    assert_bits([part[others] for part in found], [part[others] for part in wanted])
    assert_bits([found[0][1, :at]], [wanted[0][1, :at]])
    assert all(np.isnan(part).all() for part in (found[0][1, at:], *(state[1] for state in found[1:])))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bytes_leave_c_alone(isa, value, rng):
    layer = layer_of(rng, "lstm", 3, 20, isa=isa, precision="int8", return_state=True)
    x, states = rng.standard_normal((2, 1, 3)).astype(np.float32), states_of(rng, layer, 2)
    wanted = layer(x, initial_state=states)
    states[1][0, 7] = value
    _, h, c = layer(x, initial_state=states)
    assert np.array_equal(c[0, 7], value, equal_nan=True) and np.isnan(h[0, 7]) == np.isnan(value)
    h[0, 7], c[0, 7] = wanted[1][0, 7], wanted[2][0, 7]
    assert_bits([h, c], wanted[1:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", NARROW)
def test_rows_of_zeros_and_of_denormals_give_what_the_bias_does(isa, precision, kind, rng):
    for reproducible in orders(isa):
        layer = layer_of(rng, kind, 7, 20, isa=isa, precision=precision, reproducible=reproducible, return_state=True)
        wanted = in_float32(layer)(np.zeros((3, 1, 7)))
        for x in (np.zeros((3, 1, 7)), np.full((3, 1, 7), 1e-40), np.full((3, 1, 7), -1e-45)):
            assert_bits(layer(x), wanted)


@pytest.mark.parametrize("power", [-90, 90])
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_huge_and_tiny_rows_keep_their_digits(isa, precision, power, rng):
    """A power of two between x and the weights changes no bit."""
    layer = layer_of(rng, "lstm", 7, 20, isa=isa, precision=precision, return_state=True)
    kernel, *rest = layer.get_weights()
    other = with_weights(layer, [np.ldexp(kernel, -power), *rest])
    x = rng.standard_normal((4, 3, 7)).astype(np.float32)
    assert_bits(other(np.ldexp(x, power)), layer(x))


@pytest.mark.parametrize("precision", NARROW)
def test_rows_as_large_as_can_be_shut_and_open_the_gates(isa, precision, rng):
    layer = layer_of(rng, "lstm", 1, 20, isa=isa, precision=precision, return_state=True)
    x = np.array([3e38, -3e38], np.float32)[:, None, None]
    for y, e in zip(layer(x), oracle(layer, "lstm", x.astype(np.float64))[1:], strict=True):
        np.testing.assert_allclose(y, e, rtol=0, atol=1e-6)


def test_the_longest_sums_of_bytes_do_not_overflow(isa):
    most, layer = 1 << 16, LSTM(1, isa=isa, precision="int8")
    kernel = np.ones((most, 4)) * [1, -1, 1, -1]
    layer.set_weights([kernel / most, np.zeros((1, 4)), np.zeros(4)])
    for x in (np.ones(most), -np.ones(most), np.repeat([1, -1], most // 2), np.repeat([-1, 1], most // 2)):
        exact = lstm(x[None, None], *layer.get_weights())[1]
        np.testing.assert_allclose(layer(x[None, None]), exact, rtol=1e-6, atol=1e-7)
    with pytest.raises(FastLSTMError, match=r"LSTM 'a': features, units and projection: .*int8's 65536"):
        longer = LSTM(1, isa=isa, precision="int8", name="a")
        longer.set_weights([np.zeros((most + 1, 4)), np.zeros((1, 4)), np.zeros(4)])
        longer(np.zeros((1, 1, most + 1)))


# ---- memory ---------------------------------------------------------------------------------------


def test_packed_weights_take_a_half_and_a_quarter(isa):
    taken = {}
    for precision in ("float32", *NARROW):
        layer = LSTM(128, isa=isa, precision=precision)
        layer.build((None, None, 128))
        taken[precision] = layer._packed().nbytes
    numbers, columns = 2 * 128 * 512, 512
    beside = taken["float32"] - 4 * numbers
    assert columns * 4 <= beside <= columns * 4 + 1024  # the bias, and what says how it is packed
    assert taken["bfloat16"] == taken["float16"] == 2 * numbers + beside
    assert taken["int8"] == numbers + 2 * 4 * columns + beside  # and a scale of each column
