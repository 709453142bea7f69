"""Initializers keep Keras's distributions, arguments and serialised forms, and refuse the rest by name."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from fastlstm import initializers
from fastlstm.errors import FastLSTMError

WHO = "LSTM 'lstm': kernel_initializer"
SHAPE = (300, 200)
COUNT = 300 * 200
# Standard deviations of a statistic that a correct sampler stays within: one seed, never redrawn.
SIGMAS = 5.0
# Standard deviation of a standard normal cut off at 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
CUT = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))

FAN_IN, FAN_OUT = SHAPE
STDDEVS = {
    "random_normal": 0.05,
    "random_uniform": 0.05 / math.sqrt(3),
    "truncated_normal": 0.05 * CUT,
    "variance_scaling": math.sqrt(1 / FAN_IN),
    "glorot_uniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "glorot_normal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "he_uniform": math.sqrt(2 / FAN_IN),
    "he_normal": math.sqrt(2 / FAN_IN),
    "lecun_uniform": math.sqrt(1 / FAN_IN),
    "lecun_normal": math.sqrt(1 / FAN_IN),
}
NAMES = [*STDDEVS, "zeros", "ones", "constant", "orthogonal", "identity"]


def make(class_name, **config):
    return initializers.get({"class_name": class_name, "config": config}, WHO)


def camel(name):
    return name.title().replace("_", "")


@pytest.mark.parametrize("name", NAMES)
def test_class_name_and_snake_case_name_mean_the_same(name):
    found = [initializers.serialize(n) for n in (name, camel(name))]
    assert found[0] == found[1]
    assert found[0]["class_name"] == camel(name)


@pytest.mark.parametrize("name", STDDEVS)
def test_mean_and_spread_are_those_of_keras(name):
    values = make(name, seed=7)(SHAPE, "float64")
    stddev = STDDEVS[name]
    assert abs(values.mean()) < SIGMAS * stddev / math.sqrt(COUNT)
    # The sample variance's own deviation, at most that of a normal distribution.
    assert abs(values.var() / stddev**2 - 1) < SIGMAS * math.sqrt(2 / COUNT)


@pytest.mark.parametrize("name", [name for name in STDDEVS if "uniform" in name])
def test_uniform_values_fill_their_interval_and_stay_inside(name):
    values = make(name, seed=3)(SHAPE, "float64")
    limit = math.sqrt(3) * STDDEVS[name]
    assert np.abs(values).max() <= limit
    # No value in the outer 20/COUNT of the interval has probability exp(-20).
    assert values.max() > limit * (1 - 40 / COUNT)
    assert values.min() < -limit * (1 - 40 / COUNT)


@pytest.mark.parametrize(
    "name", ["truncated_normal", "variance_scaling", "glorot_normal", "he_normal", "lecun_normal"]
)
def test_truncated_normal_values_are_cut_off_at_two_and_not_piled_up_there(name):
    values = make(name, seed=5)(SHAPE, "float64")
    edge = 2 * STDDEVS[name] / CUT
    assert np.abs(values).max() <= edge * (1 + 1e-12)
    # Share of a cut-off normal between 1.9 and 2 sigma; clipping in place of redrawing makes it 0.06.
    share = (math.erf(2 / math.sqrt(2)) - math.erf(1.9 / math.sqrt(2))) / math.erf(2 / math.sqrt(2))
    found = np.mean(np.abs(values) > 0.95 * edge)
    assert abs(found - share) < SIGMAS * math.sqrt(share / COUNT)


def test_untruncated_normal_has_values_beyond_two_sigma():
    values = make("VarianceScaling", distribution="untruncated_normal", seed=1)(SHAPE, "float64")
    beyond = math.erfc(2 / math.sqrt(2))
    found = np.mean(np.abs(values) > 2 * math.sqrt(1 / FAN_IN))
    assert abs(found - beyond) < SIGMAS * math.sqrt(beyond / COUNT)


@pytest.mark.parametrize(
    ("shape", "axes", "fan_in", "fan_out"),
    [
        ((60,), {}, 60, 60),
        ((30, 50), {}, 30, 50),
        ((5, 7, 3, 40), {}, 5 * 7 * 3, 5 * 7 * 40),
        ((4, 9, 11, 6), {"input_axes": [0, 1], "output_axes": [2, -1]}, 36, 66),
        ((30, 50), {"input_axes": [1]}, 30, 50),  # Keras takes the axes only where both are given
    ],
)
def test_fans_are_those_of_keras(shape, axes, fan_in, fan_out):
    for mode, fan in {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}.items():
        scaled = make("VarianceScaling", scale=3.0, mode=mode, distribution="uniform", seed=2, **axes)
        unit = make("RandomUniform", minval=-1.0, maxval=1.0, seed=2)
        expected = math.sqrt(3 * 3.0 / fan) * unit(shape, "float64")
        np.testing.assert_allclose(scaled(shape, "float64"), expected, rtol=4e-16, atol=4e-16)


@pytest.mark.parametrize("shape", [(40, 40), (60, 20), (16, 64), (3, 5, 8), (2, 3, 30)])
def test_orthogonal_has_orthonormal_columns_or_rows(shape):
    matrix = make("orthogonal", gain=2.0, seed=4)(shape, "float64").reshape(-1, shape[-1]) / 2.0
    rows, columns = matrix.shape
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-14)


def test_orthogonal_signs_are_even():
    corners = [make("orthogonal", seed=seed)((3, 3))[0, 0] for seed in range(200)]
    assert abs(sum(np.sign(corners))) < SIGMAS * math.sqrt(200)


def test_fixed_values():
    assert np.array_equal(initializers.get("zeros", WHO)((2, 3)), np.zeros((2, 3)))
    assert np.array_equal(initializers.get("ones", WHO)((2, 3)), np.ones((2, 3)))
    assert np.array_equal(make("Constant", value=2.5)((2, 3)), np.full((2, 3), 2.5))
    assert np.array_equal(make("Identity", gain=3.0)((2, 3)), 3.0 * np.eye(2, 3))
    saved = {"class_name": "__numpy__", "config": {"value": [[1.0, 2.0], [3.0, 4.0]], "dtype": "float32"}}
    assert np.array_equal(make("Constant", value=saved)((2, 2)), [[1, 2], [3, 4]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_result_is_a_new_writable_array_of_the_asked_dtype(name, dtype):
    first, second = (initializers.get(name, WHO)((4, 3), dtype) for _ in range(2))
    assert first.dtype == dtype
    assert first.shape == (4, 3)
    assert first.flags.writeable and first.flags.c_contiguous
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("name", [*STDDEVS, "orthogonal"])
def test_seed_decides_the_numbers(name):
    seeded = make(name, seed=11)
    assert np.array_equal(seeded(SHAPE), seeded(SHAPE))
    assert np.array_equal(seeded(SHAPE), make(name, seed=11)(SHAPE))
    assert not np.array_equal(seeded(SHAPE), make(name, seed=12)(SHAPE))
    assert make(name, seed=-1)(SHAPE).shape == SHAPE


@pytest.mark.parametrize("seed", [None, {"class_name": "SeedGenerator", "config": {"seed": 5}}])
def test_without_a_seed_each_object_has_numbers_of_its_own(seed):
    one, other = make("GlorotUniform", seed=seed), make("GlorotUniform", seed=seed)
    assert np.array_equal(one(SHAPE), one(SHAPE))
    assert not np.array_equal(one(SHAPE), other(SHAPE))


def test_python_random_seed_fixes_unseeded_numbers():
    state = random.getstate()
    try:
        found = []
        for _ in range(2):
            random.seed(0)
            found.append(initializers.get("he_normal", WHO)((3, 3)))
    finally:
        random.setstate(state)
    assert np.array_equal(*found)


def test_none_is_glorot_uniform():
    assert initializers.serialize(initializers.get(None, WHO)) == initializers.serialize("glorot_uniform")
    assert initializers.serialize(None) is None


def test_older_forms_are_read():
    keras2 = {"class_name": "GlorotUniform", "config": {"seed": 1, "dtype": "float32"}}
    assert initializers.serialize(keras2) == {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": 1, "input_axes": None, "output_axes": None},
        "registered_name": None,
    }
    normal = make("VarianceScaling", distribution="Normal")
    assert normal.get_config()["distribution"] == "truncated_normal"
    assert initializers.serialize("uniform")["class_name"] == "RandomUniform"
    assert initializers.serialize("IdentityInitializer")["class_name"] == "Identity"


@pytest.mark.parametrize("name", NAMES)
def test_serialised_form_is_json_and_makes_the_same_initializer(name):
    form = initializers.serialize(name)
    assert initializers.serialize(json.loads(json.dumps(form))) == form


class Halves:
    """A caller's initializer with a configuration, as a Keras object has."""

    def __call__(self, shape, dtype=None):
        return np.full(shape, 0.5, dtype)

    def get_config(self):
        return {"half": 0.5}


def thirds(shape, dtype=None):
    return np.full(shape, 1 / 3, dtype).tolist()


def test_callers_own_initializers():
    for given in (Halves(), Halves):
        assert np.array_equal(initializers.get(given, WHO)((2, 3)), np.full((2, 3), 0.5))
    assert initializers.get(thirds, WHO)((2, 3)).dtype == np.float32
    assert initializers.get(thirds, WHO)((2, 3), np.float64)[0, 0] == 1 / 3
    assert initializers.serialize(thirds) == "thirds"
    assert initializers.serialize(initializers.get(thirds, WHO)) == "thirds"
    form = {"module": __name__, "class_name": "Halves", "config": {"half": 0.5}, "registered_name": "Halves"}
    assert initializers.serialize(Halves()) == form


def test_values_can_be_given_directly():
    values = np.arange(6.0).reshape(2, 3)
    given = initializers.get(values, WHO)((2, 3), values.dtype)
    assert np.array_equal(given, values) and not np.shares_memory(given, values)
    again = initializers.get(json.loads(json.dumps(initializers.serialize(values))), WHO)
    assert np.array_equal(again((2, 3)), values)
    with pytest.raises(FastLSTMError, match=r"gave the shape \(2, 3\); expected \(3,\)"):
        initializers.get(values, WHO)((3,))


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("glorot", r"kernel_initializer is 'glorot'; expected a callable or one of zeros, ones, .*identity"),
        ("GLOROT_UNIFORM", "'GLOROT_UNIFORM'"),
        (3, "is 3; expected a name"),
        ({}, "is None; expected"),
        ({"class_name": ["Zeros"]}, "expected a callable or one of"),
        ({"class_name": "Zeros", "registered_name": "mine>Zeros"}, "'mine>Zeros'"),
        ({"class_name": "function", "config": "foo", "registered_name": "function"}, "is 'foo'"),
        ({"class_name": "Zeros", "config": [1]}, r"config \[1\]; expected a dict"),
        ({"class_name": "Zeros", "config": {"seed": 1}}, r"Zeros has arguments \['seed'\]"),
        ({"class_name": "HeNormal", "config": {"seed": 1.5}}, "seed is 1.5; expected an integer or None"),
        ({"class_name": "HeNormal", "config": {"input_axes": [0.5]}}, "input_axes is"),
        ({"class_name": "RandomNormal", "config": {"stddev": "1"}}, "stddev is '1'; expected a number"),
        ({"class_name": "Constant", "config": {"value": "1"}}, "value is '1'; expected a number"),
        ({"class_name": "Constant", "config": {"value": {"config": {}}}}, "value is"),
        ({"class_name": "Constant", "config": {"value": [[1], [2, 3]]}}, "value is"),
        ({"class_name": "VarianceScaling", "config": {"scale": 0}}, "scale is 0; expected a positive number"),
        ({"class_name": "VarianceScaling", "config": {"mode": "fan"}}, "mode is 'fan'; expected one of"),
        ({"class_name": "VarianceScaling", "config": {"distribution": 1}}, "distribution is 1"),
    ],
)
def test_what_cannot_be_an_initializer_is_refused_by_name(identifier, message):
    with pytest.raises(FastLSTMError, match=message) as caught:
        initializers.get(identifier, WHO)
    assert str(caught.value).startswith(WHO)


@pytest.mark.parametrize(
    ("identifier", "shape"),
    [
        ("orthogonal", (3,)),
        ("identity", (3,)),
        ("identity", (2, 2, 2)),
        ({"class_name": "Constant", "config": {"value": [1.0, 2.0]}}, (3,)),
        ({"class_name": "Constant", "config": {"value": [1.0, 2.0]}}, ()),
        ({"class_name": "Orthogonal", "config": {"gain": 10**400}}, (2, 2)),
        ({"class_name": "HeNormal", "config": {"input_axes": [0], "output_axes": [2]}}, (2, 2)),
    ],
)
def test_a_shape_that_cannot_be_filled_is_refused(identifier, shape):
    with pytest.raises(FastLSTMError, match=f"^{WHO}: [A-Z]"):
        initializers.get(identifier, WHO)(shape)
