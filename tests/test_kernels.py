"""Every kernel computes what the float64 oracle computes, at every edge of its tiles."""

import itertools

import numpy as np
import pytest
from reference import lstm, rounding_bound

import fastlstm

BATCHES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 18, 19, 48, 70]
STEPS = [0, 1, 2, 3, 5, 24, 25, 49, 200]
FEATURES = [1, 2, 3, 4, 5, 8, 16, 17, 31, 64, 100, 300]


def random_layer(rng, features, units, dtype, use_bias=True, **options):
    layer = fastlstm.LSTM(units, dtype=dtype, use_bias=use_bias, **options)
    weights = [
        rng.uniform(-1, 1, (features, 4 * units)) / np.sqrt(features),
        rng.uniform(-1, 1, (units, 4 * units)) / np.sqrt(units),
        rng.uniform(-1, 1, 4 * units),
    ]
    layer.set_weights(weights[: 2 + use_bias])
    return layer


def check(layer, x, state, mask):
    """Run the layer with every output and hold each against the oracle."""
    weights = layer.get_weights()
    ordered = x[:, ::-1] if layer.go_backwards else x
    used = mask[:, ::-1] if layer.go_backwards and mask is not None else mask
    h, c = state if state is not None else (None, None)
    bias = weights[2] if len(weights) == 3 else None
    arguments = (ordered, *weights[:2], bias, h, c, used, layer.zero_output_for_mask)
    exact, plain = lstm(*arguments), lstm(*arguments, dtype=layer.dtype)
    found = layer(x, initial_state=state, mask=mask)
    wanted = (exact[0 if layer.return_sequences else 1], *exact[2:])
    beside = (plain[0 if layer.return_sequences else 1], *plain[2:])
    for name, y, e, p in zip(("output", "h", "c"), found, wanted, beside, strict=True):
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edge_shapes_equal_the_oracle(isa, dtype, rng):
    slow = isa.startswith("scalar")
    for batch, steps, features, units in cases(rng, 130 if slow else 390):
        layer = random_layer(
            rng, features, units, dtype, bool(rng.random() < 0.9), isa=isa, return_state=True,
            return_sequences=bool(rng.random() < 0.7), go_backwards=bool(rng.random() < 0.3),
            zero_output_for_mask=bool(rng.random() < 0.3),
        )  # fmt: skip
        x = rng.standard_normal((batch, steps, features))
        state = [rng.standard_normal((batch, units)) for _ in range(2)] if rng.random() < 0.5 else None
        mask = rng.random((batch, steps)) < rng.choice([0.1, 0.5, 0.9]) if rng.random() < 0.5 else None
        check(layer, x.astype(dtype), None if state is None else [s.astype(dtype) for s in state], mask)


@pytest.mark.parametrize("units", [1, 16, 33, 128, 130])
def test_all_row_counts_of_a_tile(isa, units, rng):
    for batch in range(1, 15):
        layer = random_layer(rng, 7, units, "float32", isa=isa, return_state=True, return_sequences=True)
        check(layer, rng.standard_normal((batch, 3, 7)).astype(np.float32), None, None)


def test_batches_beyond_a_row_block(isa, rng):
    """States are worked through in blocks of rows; 700 rows need several, the last one short."""
    layer = random_layer(rng, 9, 130, "float32", isa=isa, return_state=True, return_sequences=True)
    x = rng.standard_normal((701, 2, 9)).astype(np.float32)
    check(layer, x, None, rng.random((701, 2)) < 0.5)


def test_projection_in_chunks_and_feature_blocks(isa, rng):
    """Long sequences project their input in chunks, wide inputs in blocks of features."""
    steps = 60 if isa.startswith("scalar") else 600
    layer = random_layer(rng, 1100, 40, "float32", isa=isa, return_state=True, return_sequences=True)
    for batch in (1, 3):
        check(layer, rng.standard_normal((batch, steps, 1100)).astype(np.float32), None, None)


@pytest.mark.parametrize("where", ["x", "h", "c", "kernel", "recurrent_kernel", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_travel_as_in_the_oracle(isa, where, value, rng):
    layer = random_layer(rng, 3, 20, "float32", isa=isa, return_state=True, return_sequences=True)
    weights = layer.get_weights()
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    state = [rng.standard_normal((2, 20)).astype(np.float32) for _ in range(2)]
    target = {"x": x[0, 1], "h": state[0][0], "c": state[1][0], "kernel": weights[0][1],
              "recurrent_kernel": weights[1][2], "bias": weights[2]}[where]  # fmt: skip
    target[2] = value
    layer.set_weights(weights)
    with np.errstate(all="ignore"):
        exact, _, h, c = lstm(x, *weights, *state)
        found = layer(x, initial_state=state)
    for y, e in zip(found, (exact, h, c), strict=True):
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
    _, _, h, c = lstm(x, *layer.get_weights())
    _, found_h, found_c = layer(x)
    np.testing.assert_allclose(found_c, c, rtol=64 * np.finfo(dtype).eps, atol=0)
    np.testing.assert_allclose(found_h, h, rtol=64 * np.finfo(dtype).eps, atol=0)


def test_states_that_decay_into_denormals_stay_near_zero(isa):
    layer = fastlstm.LSTM(20, isa=isa, return_state=True)
    layer.set_weights([np.zeros((1, 80)), np.zeros((20, 80)), np.zeros(80)])
    _, h, c = layer(np.zeros((1, 300, 1)), initial_state=[np.ones((1, 20)), np.ones((1, 20))])
    assert (np.abs(h) < 1e-37).all() and (np.abs(c) < 1e-37).all()  # 2^-300 in exact arithmetic
