"""Sigmoid and tanh are within 2 ulp, keep NaN and saturate; the others are what Keras computes."""

import numpy as np
import pytest
from reference import sigmoid, ulp_error

from fastlstm import FastLSTMError, _core, activations

EXACT = {"sigmoid": sigmoid, "tanh": np.tanh}
MAX_ULP = 2.0  # all 2^32 floats: python bench/activations.py


def apply(name, x, isa):
    out = np.empty_like(x)
    number = [kernel for kernel, _, _ in _core.kernels()].index(isa)
    _core.activate(_core.activation_names().index(name), number, x, out)
    return out


def dense_sweep():
    """A million floats spread over all bit patterns, and every float near the hard places."""
    near = [np.float32(v).view(np.uint32) for v in (0.0, 0.5, 0.1733, 1.04, 9.01, 16.6, 30, 87.3, 88.7, 103.9, 104)]
    bits = [np.arange(0, 1 << 32, 4099, dtype=np.uint64)]
    for centre in near:
        around = np.arange(max(int(centre) - 3000, 0), int(centre) + 3000, dtype=np.uint64)
        bits += [around, around | (1 << 31)]
    return np.concatenate(bits).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_within_two_ulp(name, isa):
    x = dense_sweep()
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore"):
        exact = EXACT[name](x.astype(np.float64))
    error = ulp_error(apply(name, x, isa), exact)
    assert error.max() <= MAX_ULP, (float(error.max()), float(x[error.argmax()]))


@pytest.mark.parametrize("name", EXACT)
def test_float64_within_four_ulp_of_extended_precision(name, isa, rng):
    x = np.concatenate([rng.uniform(-45, 45, 200_000), rng.uniform(-1, 1, 200_000), rng.normal(0, 1e-4, 100_000)])
    wide = x.astype(np.longdouble)
    e = np.exp(-np.abs(wide))
    exact = np.tanh(wide) if name == "tanh" else np.where(wide < 0, e, 1) / (1 + e)
    assert np.finfo(np.longdouble).nmant > 60, "this check needs an extended long double"
    error = np.abs(apply(name, x, isa) - exact) / np.spacing(np.abs(exact).astype(np.float64))
    assert error.max() <= 4, float(error.max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(isa, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30], dtype)
    s, t = apply("sigmoid", x, isa), apply("tanh", x, isa)
    assert np.isnan(s[0]) and np.isnan(t[0])
    np.testing.assert_array_equal(s[1:], [1, 0, 0.5, 0.5, 1, 0])
    np.testing.assert_array_equal(t[1:], [1, -1, 0, 0, 1, -1])
    assert np.signbit(t[4]) and not np.signbit(t[3])


@pytest.mark.parametrize("name", EXACT)
def test_tanh_is_odd_and_both_stay_in_range(name, isa):
    x = dense_sweep()
    x = x[np.isfinite(x)]
    y = apply(name, x, isa)
    assert (np.abs(y) <= 1).all()
    if name == "tanh":
        assert np.array_equal(-y, apply(name, -x, isa))


@pytest.mark.parametrize("n", [1, 3, 7, 8, 9, 15, 16, 17, 33])
def test_short_arrays_equal_long_ones(isa, n, rng):
    x = rng.standard_normal(64).astype(np.float32)
    for name in EXACT:
        assert np.array_equal(apply(name, x[:n].copy(), isa), apply(name, x, isa)[:n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation_equals_keras(keras, dtype, rng):
    edges = [0.0, -0.0, 1, -1, 0.5, -0.5, 3, -3, 6, -6]
    x = np.concatenate([rng.standard_normal((40, 30)) * 4, [edges * 3]]).astype(dtype)
    names = [name for name in _core.activation_names() if name != "hard_sigmoid_keras2"]
    assert len(names) == 28
    for name in [*names, "swish", "hard_swish"]:
        wanted = np.asarray(keras.activations.get(name)(keras.ops.convert_to_tensor(x)))
        found = activations.get(name, "test")(x)
        assert found.dtype == x.dtype
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(found, wanted, rtol=16 * eps, atol=16 * eps, err_msg=name)


@pytest.mark.parametrize("name", [n for n in _core.activation_names() if n != "sparsemax"])
def test_nan_in_gives_nan_out(name):
    x = np.array([[np.nan, 0.3]], np.float32)
    assert np.isnan(activations.get(name, "test")(x)[0, 0])


@pytest.mark.parametrize("wrong", ["sofmax", "glu", "threshold", 3, np.tanh, {"class_name": "PReLU", "config": {}}, {}])
def test_unusable_activations_are_refused_by_name(wrong):
    with pytest.raises(FastLSTMError, match=r"layer x: activation"):
        activations.get(wrong, "layer x: activation")


def test_saved_forms_and_live_functions_are_understood(keras):
    saved = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    assert activations.get(saved, "t").name == "relu"
    assert activations.get(keras.activations.swish, "t").name == "silu"
    assert activations.get(None, "t").name == "linear"
