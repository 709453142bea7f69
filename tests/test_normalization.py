"""Normalizations equal live Keras: values, weights, shapes, masks, configurations, and what they refuse."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from test_keras import assert_same
from twins import FLOATS, check_configs, check_hostile, check_json, check_signature, compare, twins

from fastlstm import FastLSTMError
from fastlstm.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    UnitNormalization,
)

AFFINE = [BatchNormalization, LayerNormalization, GroupNormalization]
NO_AXIS = [None, 1.5, True, "1", {}, [1.5], [True], [[1]], ["1"], 2**31]
NO_NUMBER = [None, True, "1", [], {}, [1.0], float("nan")]


@pytest.mark.parametrize("layer", [*AFFINE, UnitNormalization])
def test_arguments_are_those_of_keras(keras, layer):
    check_signature(keras, layer)


@pytest.mark.parametrize("layer", [*AFFINE, UnitNormalization])
def test_no_json_breaks_a_layer(layer):
    check_json(layer, {})


# -- BatchNormalization -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3), (2, 4, 5, 3), (0, 5, 3), (3, 0, 4)])
def test_batch_normalization(keras, rng, shape, dtype):
    for options in ({}, {"scale": False}, {"center": False}, {"scale": False, "center": False, "epsilon": 1e-5}):
        for axis in (-1, 1, len(shape) - 1):
            x = (3 + 2 * rng.standard_normal(shape)).astype(dtype)
            compare(keras, BatchNormalization, x, axis=axis, dtype=dtype, **options)


def test_batch_normalization_takes_its_mask_along_and_does_not_use_it(keras, rng):
    x, mask = rng.standard_normal((4, 5, 3)).astype("float32"), rng.random((4, 5)) < 0.5
    ours, y = compare(keras, BatchNormalization, x, mask=mask)
    assert np.array_equal(ours(x), y)
    with pytest.raises(FastLSTMError, match=r"mask has shape \(4, 5, 3\); expected one axis less"):
        ours(x, mask=np.ones((4, 5, 3), bool))


def test_batch_normalization_trained_with_renorm_has_idle_weights(keras, rng):
    x = rng.standard_normal((4, 5, 3)).astype("float32")
    ours, _ = compare(keras, BatchNormalization, x, renorm=True, renorm_clipping={"rmax": 3.0})
    assert len(ours.get_weights()) == 7
    four = {"class_name": "Constant", "config": {"value": 4}}
    fresh = BatchNormalization(renorm=True, moving_variance_initializer=four)
    fresh.build((None, 3))
    assert [w[0] for w in fresh.get_weights()] == [1, 0, 0, 4, 2, 0, 2]


def test_an_axis_written_by_keras_2_is_taken():
    layer = BatchNormalization(axis=[2])
    assert layer.axis == 2 and layer.get_config()["axis"] == 2
    for axis in ([], [1, 2]):
        with pytest.raises(FastLSTMError, match="expected one axis"):
            BatchNormalization(axis=axis)


def test_batch_normalization_of_a_broken_variance_is_keras_s(keras):
    theirs, ours = twins(keras, BatchNormalization, (None, 6))
    weights = ours.get_weights()
    weights[3][:] = [-1, 0, np.inf, np.nan, -1e-3, 1e38]
    for layer in (theirs, ours):
        layer.set_weights(weights)
    x = np.linspace(-2, 2, 12, dtype="float32").reshape(2, 6)
    assert_same(ours(x), np.asarray(theirs(x)))


# -- LayerNormalization -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [-1, 1, 2, [1, 2], [2, 1], [-1, -2], [-1], [1, -1], [3, 1], [1, 2, 3], []])
def test_layer_normalization(keras, rng, axis, dtype):
    for options in ({}, {"scale": False}, {"center": False}, {"scale": False, "center": False, "epsilon": 1e-6}):
        x = (3 + 2 * rng.standard_normal((2, 4, 5, 3))).astype(dtype)
        compare(keras, LayerNormalization, x, axis=axis, dtype=dtype, **options)


@pytest.mark.parametrize("shape", [(6,), (4, 3), (2, 4, 3), (0, 4, 3), (2, 0, 3)])
def test_layer_normalization_of_any_rank(keras, rng, shape):
    compare(keras, LayerNormalization, rng.standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [True, False])
def test_layer_normalization_with_rms_scaling(keras, rng, scale, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls it deprecated
        for axis in (-1, [1, 2]):
            x = (3 + 2 * rng.standard_normal((2, 4, 3))).astype(dtype)
            compare(keras, LayerNormalization, x, axis=axis, rms_scaling=True, scale=scale, dtype=dtype)


@pytest.mark.parametrize(("layer", "options"), [(LayerNormalization, {}), (GroupNormalization, {"groups": 2})])
def test_the_arithmetic_is_done_in_the_type_of_the_input(keras, rng, layer, options):
    """A float64 input keeps its precision in a float32 layer; an integer one loses the fraction."""
    shape = (2, 5, 4)
    for given in (1e6 + rng.standard_normal(shape), rng.integers(-90, 90, shape), np.ones(shape, "float16")):
        theirs, ours = twins(keras, layer, given.shape, **options)
        assert_same(ours(given), np.asarray(theirs(given)))
    theirs, ours = twins(keras, layer, (2, 5, 4), dtype="float64", **options)
    given = rng.standard_normal((2, 5, 4)).astype("float32")
    wanted = np.asarray(theirs(given))
    assert ours(given).dtype == wanted.dtype == np.float64
    assert_same(ours(given).astype("float32"), wanted.astype("float32"))


# -- GroupNormalization -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 6), -1), ((3, 4, 6), -1), ((3, 6, 4), 1), ((3, 6, 4), -2), ((2, 3, 4, 6), 3), ((0, 4, 6), 2)],
)
def test_group_normalization(keras, rng, shape, axis, dtype):
    for options in ({}, {"scale": False}, {"center": False}, {"scale": False, "center": False, "epsilon": 1e-6}):
        for groups in (1, 2, 3, 6):
            x = (3 + 2 * rng.standard_normal(shape)).astype(dtype)
            compare(keras, GroupNormalization, x, groups=groups, axis=axis, dtype=dtype, **options)


def test_normalizing_nothing_gives_nothing():
    x = np.zeros((3, 0, 6))
    for layer in (GroupNormalization(2), LayerNormalization(axis=[1, 2]), UnitNormalization(axis=1)):
        assert layer(x).shape == x.shape


def test_groups_of_one_channel_each(keras, rng):
    x = rng.standard_normal((3, 5, 4)).astype("float32")
    theirs, ours = twins(keras, GroupNormalization, x.shape, groups=-1)
    assert_same(ours(x), np.asarray(theirs(x)))
    assert ours.get_config()["groups"] == -1  # where Keras, once built, says 4


# -- UnitNormalization ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [-1, 1, [1], [1, 2], [-1, 1], [0, 1, 2], []])
def test_unit_normalization(keras, rng, axis, dtype):
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    x[1] = 0
    compare(keras, UnitNormalization, x, axis=axis, dtype=dtype)


def test_unit_normalization_of_very_small_and_large_numbers(keras):
    x = np.array([[1e-30, 0], [1e-8, 1e-9], [1e30, 1], [np.inf, 1], [np.nan, 1], [1e-12, 1e-12]], "float32")
    compare(keras, UnitNormalization, x)


# -- all of them ------------------------------------------------------------------------------------


def test_masks_travel_on(keras, rng):
    x, mask = rng.standard_normal((2, 4, 6)).astype("float32"), rng.random((2, 4)) < 0.5
    for layer, options in [
        (LayerNormalization, {}),
        (GroupNormalization, {"groups": 2}),
        (UnitNormalization, {}),
    ]:
        compare(keras, layer, x, mask=mask, **options)


def test_configurations_keep_what_only_training_needs(keras):
    options = {"gamma_regularizer": "l2", "beta_constraint": "non_neg", "gamma_initializer": "he_normal"}
    for layer in AFFINE:
        more = {"groups": 2} if layer is GroupNormalization else {}
        ours = layer(**options, **more, beta_initializer="ones")
        check_configs(keras, getattr(keras.layers, layer.__name__)(**options, **more, beta_initializer="ones"), ours)
    assert keras.layers.BatchNormalization.from_config(BatchNormalization(momentum=0.5).get_config()).momentum == 0.5


@pytest.mark.parametrize("layer", [*AFFINE, UnitNormalization])
def test_hostile_arguments_are_refused(layer):
    check_hostile(layer, {}, "axis", NO_AXIS)
    if layer in AFFINE:
        check_hostile(layer, {}, "epsilon", NO_NUMBER)
        check_hostile(layer, {}, "gamma_initializer", [0, "no such", [], {}, True])
    if layer is GroupNormalization:
        check_hostile(layer, {}, "groups", [0, -2, 1.5, True, "3", None, [], {}, 2**31])
        check_hostile(layer, {}, "axis", [[1]])
    with pytest.raises(FastLSTMError, match="surprise"):
        layer(surprise=1)


@pytest.mark.parametrize(
    ("layer", "options", "shape"),
    [
        (BatchNormalization, {}, (None, None)),
        (BatchNormalization, {"axis": 2}, (None, 3)),
        (BatchNormalization, {"axis": -4}, (None, 3, 4)),
        (BatchNormalization, {}, ()),
        (LayerNormalization, {"axis": [1, 2]}, (None, None, 3)),
        (LayerNormalization, {"axis": [1, 1]}, (None, 4, 3)),
        (LayerNormalization, {"axis": [2, -1]}, (None, 4, 3)),
        (LayerNormalization, {"axis": 3}, (None, 4, 3)),
        (LayerNormalization, {"axis": 0}, (None, 3)),
        (GroupNormalization, {}, (None, 4, 6)),
        (GroupNormalization, {"groups": 4}, (None, 4, 6)),
        (GroupNormalization, {"groups": 2}, (None, 4, None)),
        (GroupNormalization, {"groups": 1, "axis": 0}, (2, 3)),
        (GroupNormalization, {"groups": 1}, (6,)),
        (GroupNormalization, {"groups": -1}, (2, 0)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer, options, shape):
    with pytest.raises(FastLSTMError, match=rf"{layer.__name__} 'n': .*; expected"):
        layer(name="n", **options).build(shape)


@pytest.mark.parametrize("shape", [(2, 5, 7), (5, 6), (2, 5, 6, 6), (6,)])
@pytest.mark.parametrize("layer", [BatchNormalization, GroupNormalization])
def test_inputs_that_do_not_fit_are_refused(layer, shape):
    made = layer(name="n", **({"groups": 2} if layer is GroupNormalization else {}))
    made.build((None, None, 6))
    with pytest.raises(FastLSTMError, match=rf"{layer.__name__} 'n': input has shape .*; expected"):
        made(np.zeros(shape))


def test_layer_and_unit_normalization_refuse_inputs_that_do_not_fit():
    layer = LayerNormalization(axis=[1, 2], name="n")
    layer.build((None, 4, 3))
    for shape in [(2, 3, 4), (2, 4)]:
        with pytest.raises(FastLSTMError, match=r"LayerNormalization 'n': .*; expected"):
            layer(np.zeros(shape))
    for options in ({"axis": 2}, {"axis": [1, 1]}, {"axis": [1, -1]}):
        with pytest.raises(FastLSTMError, match=r"UnitNormalization 'n': .*; expected"):
            UnitNormalization(name="n", **options)(np.zeros((2, 3)))


def test_copies_and_new_weights(rng):
    x = rng.standard_normal((2, 5, 6))
    for layer in (BatchNormalization(), LayerNormalization(), GroupNormalization(3)):
        layer.build(x.shape)
        layer.set_weights([rng.random(w.shape) + 0.5 for w in layer.get_weights()])
        y = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert np.array_equal(other(x), y)
        layer.set_weights([w + 1 for w in layer.get_weights()])
        assert not np.array_equal(layer(x), y)
