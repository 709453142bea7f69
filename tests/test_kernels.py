"""Every kernel computes what the float64 oracle computes, at every edge of its tiles."""

import itertools

import numpy as np
import pytest
from recurrent import KINDS, layer_of, oracle, states_of
from reference import rounding_bound

import fastlstm

BATCHES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 18, 19, 48, 70]
STEPS = [0, 1, 2, 3, 5, 24, 25, 49, 200]
FEATURES = [1, 2, 3, 4, 5, 8, 16, 17, 31, 64, 100, 300]


def check(layer, kind, x, states, mask):
    """Run the layer with every output and hold each against the oracle."""
    exact = oracle(layer, kind, x, states, mask)
    plain = oracle(layer, kind, x, states, mask, layer.dtype)
    found = layer(x, initial_state=states, mask=mask)
    wanted, beside = ((r[0 if layer.return_sequences else 1], *r[2:]) for r in (exact, plain))
    for name, y, e, p in zip(("output", "h", "c"), found, wanted, beside, strict=False):  # only an LSTM has c
        assert y.shape == e.shape and y.dtype == layer.dtype
        worst = np.abs(y - e)
        assert (worst <= rounding_bound(e, p, x.shape[1])).all(), (name, float(worst.max()), x.shape, layer.units)


def cases(rng, count):
    """Units 1..130 in turn, everything else drawn, as long as a case stays small."""
    units = itertools.cycle(range(1, 131))
    while count:
        u, b, t, i = next(units), *(int(rng.choice(sizes)) for sizes in (BATCHES, STEPS, FEATURES))
        if b * t * u * (u + i) <= 2e7:
            count -= 1
            yield b, t, i, u


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edge_shapes_equal_the_oracle(isa, dtype, kind, rng):
    slow = isa.startswith("scalar")
    for batch, steps, features, units in cases(rng, 130 if slow or kind != "lstm" else 390):
        layer = layer_of(
            rng, kind, features, units, dtype=dtype, use_bias=bool(rng.random() < 0.9), isa=isa, return_state=True,
            return_sequences=bool(rng.random() < 0.7), go_backwards=bool(rng.random() < 0.3),
            zero_output_for_mask=bool(rng.random() < 0.3),
        )  # fmt: skip
        x = rng.standard_normal((batch, steps, features))
        states = states_of(rng, layer, batch) if rng.random() < 0.5 else None
        mask = rng.random((batch, steps)) < rng.choice([0.1, 0.5, 0.9]) if rng.random() < 0.5 else None
        check(layer, kind, x.astype(dtype), states, mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("units", [1, 16, 33, 128, 130])
def test_all_row_counts_of_a_tile(isa, units, kind, rng):
    for batch in range(1, 15):
        layer = layer_of(rng, kind, 7, units, isa=isa, return_state=True, return_sequences=True)
        check(layer, kind, rng.standard_normal((batch, 3, 7)).astype(np.float32), None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_beyond_a_row_block(isa, kind, rng):
    """States are worked through in blocks of rows; 700 rows need several, the last one short."""
    layer = layer_of(rng, kind, 9, 130, isa=isa, return_state=True, return_sequences=True)
    x = rng.standard_normal((701, 2, 9)).astype(np.float32)
    check(layer, kind, x, None, rng.random((701, 2)) < 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_projection_in_chunks_and_feature_blocks(isa, kind, rng):
    """Long sequences project their input in chunks, wide inputs in blocks of features."""
    steps = 60 if isa.startswith("scalar") else 600
    layer = layer_of(rng, kind, 1100, 40, isa=isa, return_state=True, return_sequences=True)
    for batch in (1, 3):
        check(layer, kind, rng.standard_normal((batch, steps, 1100)).astype(np.float32), None, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["x", "h", "c", "kernel", "recurrent_kernel", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_travel_as_in_the_oracle(isa, where, value, kind, rng):
    layer = layer_of(rng, kind, 3, 20, isa=isa, return_state=True, return_sequences=True)
    weights = layer.get_weights()
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    states = states_of(rng, layer, 2)
    target = {"x": x[0, 1], "h": states[0][0], "c": states[-1][0], "kernel": weights[0][1],
              "recurrent_kernel": weights[1][2], "bias": weights[2][..., :]}[where]  # fmt: skip
    target[..., 2] = value
    layer.set_weights(weights)
    with np.errstate(all="ignore"):
        exact, _, *ends = oracle(layer, kind, x, states)
        found = layer(x, initial_state=states)
    for y, e in zip(found, (exact, *ends), strict=True):
        assert np.array_equal(np.isnan(y), np.isnan(e))
        finite = np.isfinite(e)
        assert np.array_equal(y[np.isinf(e)], e[np.isinf(e)])
        np.testing.assert_allclose(y[finite], e[finite], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e-20), ("float64", 1e-270)])
def test_tiny_numbers_keep_their_digits(isa, dtype, scale, rng):
    """The fractions of the cell are scaled; a product of small ones must not fall out of range."""
    layer = fastlstm.LSTM(33, isa=isa, dtype=dtype, return_state=True)
    gates = np.repeat([-20.0, -30.0, 0.0, 25.0], 33)  # nearly closed, closed, the candidate, open
    layer.set_weights([rng.uniform(0.5, 1, (1, 132)), np.zeros((33, 132)), gates])
    x = np.full((2, 1, 1), scale, dtype)
    _, _, h, c = oracle(layer, "lstm", x)
    _, found_h, found_c = layer(x)
    np.testing.assert_allclose(found_c, c, rtol=64 * np.finfo(dtype).eps, atol=0)
    np.testing.assert_allclose(found_h, h, rtol=64 * np.finfo(dtype).eps, atol=0)


def test_states_that_decay_into_denormals_stay_near_zero(isa):
    layer = fastlstm.LSTM(20, isa=isa, return_state=True)
    layer.set_weights([np.zeros((1, 80)), np.zeros((20, 80)), np.zeros(80)])
    _, h, c = layer(np.zeros((1, 300, 1)), initial_state=[np.ones((1, 20)), np.ones((1, 20))])
    assert (np.abs(h) < 1e-37).all() and (np.abs(c) < 1e-37).all()  # 2^-300 in exact arithmetic


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["gru", "gru_before"])
def test_a_gru_gate_that_is_nearly_shut_neither_overflows_nor_loses_the_state(isa, kind, dtype, rng):
    """The gates are fractions of wide range: no product of theirs may leave it."""
    layer = KINDS[kind](24, isa=isa, dtype=dtype, return_state=True)
    rows = 2 if kind == "gru" else 1
    bias = np.zeros((rows, 72))
    bias[0, :24] = np.repeat([-800.0, -104, -87, -40, -20, -10, 10, 20, 40, 87, 104, 800], 2)  # of the update gate
    bias[0, 24:48] = np.tile([-200.0, 200], 12)
    bias[0, 48:] = rng.uniform(-20, 20, 24)
    weights = [rng.uniform(-1, 1, (1, 72)), rng.uniform(-1, 1, (24, 72)) / 5]
    layer.set_weights([*weights, bias if rows == 2 else bias[0]])
    x, states = np.ones((2, 3, 1), dtype), states_of(rng, layer, 2)
    with np.errstate(over="ignore"):
        _, _, h = oracle(layer, kind, x, states)
    np.testing.assert_allclose(layer(x, initial_state=states)[1], h, rtol=0, atol=64 * np.finfo(dtype).eps)
