"""Normalization and Rescaling equal live Keras: values, weights, constants, masks, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from test_keras import assert_same
from twins import FLOATS, check_configs, check_hostile, check_json, check_shapes, check_signature, compare, twins

from fastlstm import FastLSTMError
from fastlstm.layers.preprocessing import Normalization, Rescaling


@pytest.mark.parametrize("layer", [Normalization, Rescaling])
def test_arguments_are_those_of_keras(keras, layer):
    check_signature(keras, layer)


@pytest.mark.parametrize("layer", [Normalization, Rescaling])
def test_no_json_breaks_a_layer(layer):
    check_json(layer, {"scale": 2} if layer is Rescaling else {})


def test_masks_travel_on(keras, rng):
    x, mask = rng.standard_normal((2, 4, 6)).astype("float32"), rng.random((2, 4)) < 0.5
    compare(keras, Normalization, x, mask=mask, mean=1.0, variance=2.0)
    compare(keras, Rescaling, x, mask=mask, scale=2)


# -- Normalization ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("axis", [-1, 1, 2, None, (1, 2), [2, 1], (-1, 1), ()])
def test_normalization_by_weights(keras, rng, axis, invert, dtype):
    x = (3 + 2 * rng.standard_normal((3, 4, 5))).astype(dtype)
    theirs, ours = twins(keras, Normalization, x.shape, axis=axis, invert=invert, dtype=dtype)
    theirs.finalize_state()
    assert_same(ours(x), np.asarray(theirs(x)), dtype)
    check_shapes(theirs, ours, x.shape)
    check_configs(keras, theirs, ours)
    assert ours.supports_masking and ours.compute_mask(x, 7) == 7
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert np.array_equal(other(x), ours(x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("axis", "mean", "variance"),
    [
        (-1, 1, 4),
        (-1, 0.1, 0.3),
        (None, 1.5, 4),
        (-1, [1], [4.0]),
        (-1, [0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, 5]),
        (1, [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]),
        ((1, 2), [0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, 5]),
        ((1, 2), [[0.1], [0.2], [0.3], [0.4]], [[1], [2], [3], [0]]),
        (-1, np.linspace(0, 1, 5), np.linspace(1, 2, 5)),
        (-1, np.float32(0.1), np.float64(0.7)),
        (-1, 0.0, -1.0),
    ],
)
def test_normalization_by_numbers_given(keras, rng, axis, mean, variance, dtype):
    x = (3 + 2 * rng.standard_normal((3, 4, 5))).astype(dtype)
    for invert in (False, True):
        compare(keras, Normalization, x, axis=axis, mean=mean, variance=variance, invert=invert, dtype=dtype)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": 1},
        {"variance": [1.0]},
        {"mean": [1, 2], "variance": 1},
        {"mean": [[1]], "variance": [[1]]},
        {"mean": "1", "variance": "1"},
        {"mean": True, "variance": True},
        {"mean": {}, "variance": {}},
        {"mean": [[1], 2], "variance": [[1], 2]},
        {"mean": [None], "variance": [None]},
        {"mean": 10**400, "variance": 1},
        {"axis": 1.5},
        {"axis": "1"},
        {"axis": [True]},
        {"axis": {}},
    ],
)
def test_normalization_refuses_what_it_cannot_use(arguments):
    with pytest.raises(FastLSTMError, match=r"Normalization .* (is|has) .*; expected"):
        Normalization(**arguments)


def test_normalization_refuses_inputs_that_do_not_fit():
    for options, shape in [
        ({}, (None, None)),
        ({"axis": 3}, (None, 3)),
        ({"axis": (1, -1)}, (None, 3)),
        ({"mean": [1, 2], "variance": [1, 2]}, (None, 3)),
    ]:
        with pytest.raises(FastLSTMError, match="expected"):
            Normalization(**options).build(shape)
    layer = Normalization(name="n")
    layer.build((None, 3))
    for shape in [(2, 4), (2, 3, 3), (3,)]:
        with pytest.raises(FastLSTMError, match=r"Normalization 'n': input has shape .*"):
            layer(np.zeros(shape))


# -- Rescaling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (2, 0),
        (1 / 255, -1),
        ([1, 0.1, 3], [0.3, 5, 6]),
        ((1, 2, 3), 0.1),
        (np.array([0.1, 0.2, 0.3]), np.float64(0.7)),
        ([[1], [2]], 0),
    ],
)
def test_rescaling(keras, rng, scale, offset, dtype):
    for x in (rng.standard_normal((4, 2, 3)).astype(dtype), rng.standard_normal((0, 2, 3)).astype(dtype)):
        compare(keras, Rescaling, x, scale=scale, offset=offset, dtype=dtype)
    x = rng.integers(0, 256, (4, 2, 3)).astype("uint8")
    assert_same(Rescaling(scale, offset)(x), np.asarray(keras.layers.Rescaling(scale, offset)(x)))


def test_rescaling_refuses_what_it_cannot_use():
    broken = {"class_name": "__numpy__", "config": {"value": "x"}}
    for value in [None, True, "2", {}, [None], [[1], 2], ["a"], broken, 10**400]:
        check_hostile(Rescaling, {"scale": 1}, "scale", [value])
        check_hostile(Rescaling, {"scale": 1}, "offset", [value])
    for shape in [(2, 4), (3,), (2, 1)]:
        with pytest.raises(FastLSTMError, match=r"Rescaling 'r': input has shape .*; scale and offset"):
            Rescaling([[1, 2, 3]], name="r")(np.zeros(shape))
