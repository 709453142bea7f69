"""Masking, Identity and the layers that act in training only give what Keras's give at inference."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from test_keras import assert_same
from test_merging import mask_of, with_mask

from fastlstm import FastLSTMError
from fastlstm.layers import masking, regularization
from fastlstm.layers.masking import Identity, Masking

# -- Masking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 0, -1, 0.1, 1e-3, np.inf])
def test_masking_marks_and_zeroes_steps_of_one_value(keras, rng, value, dtype):
    x = rng.standard_normal((4, 5, 3)).astype(dtype)
    x[rng.random((4, 5, 3)) < 0.6] = value
    x[1] = np.float32(value)  # what Keras compares with, also in float64
    x[2, 2, 1] = np.nan
    theirs, ours = keras.layers.Masking(value, dtype=dtype), Masking(value, dtype=dtype)
    wanted = theirs(with_mask(keras, x, np.zeros((4, 5), bool)))
    assert_same(ours.call(x), wanted, dtype)
    assert np.array_equal(ours.compute_mask(x, np.zeros((4, 5), bool)), mask_of(wanted))
    assert not ours.compute_mask(x)[1].any()
    assert ours.compute_output_shape((None, None, 3)) == theirs.compute_output_shape((None, None, 3))
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3, 2), (0, 4, 3), (2, 0, 3)])
def test_masking_of_any_rank(keras, rng, shape):
    x = np.round(rng.random(shape)).astype("float32")
    wanted = keras.layers.Masking()(x)
    assert_same(Masking().call(x), wanted)
    assert np.array_equal(Masking().compute_mask(x), mask_of(wanted))


def test_masking_keeps_integers(keras):
    x = np.array([[[0, 1], [0, 0], [2, 0]]], "int32")
    wanted = np.asarray(keras.layers.Masking()(x))
    found = Masking().call(x)
    assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    assert np.array_equal(Masking().compute_mask(x), [[True, False, True]])


def test_masking_takes_a_value_for_each_feature_and_saved_arrays(keras, rng):
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    x[0, 1] = [1, 2, 3]
    value = np.array([1, 2, 3], "float32")
    wanted = keras.layers.Masking(value)(x)
    saved = {"class_name": "__tensor__", "config": {"value": [1.0, 2.0, 3.0], "dtype": "float32"}}
    for given in (value, [1.0, 2.0, 3.0], saved):
        layer = Masking(given)
        assert_same(layer.call(x), wanted)
        assert np.array_equal(layer.compute_mask(x), mask_of(wanted))
        assert Masking.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(FastLSTMError, match="mask_value"):
        Masking([1.0, 2.0]).call(x)
    with pytest.raises(FastLSTMError, match="no axes"):
        Masking().call(np.float32(1))


@pytest.mark.parametrize(
    "value", [None, True, "0", [], {}, ["a"], [[1.0]], [None], 10**400, {"class_name": "__tensor__"}]
)
def test_masking_refuses_hostile_values(value):
    with pytest.raises(FastLSTMError, match="mask_value"):
        Masking(mask_value=value)
    with pytest.raises(FastLSTMError, match="surprise"):
        Identity(surprise=value)


# -- what passes through ----------------------------------------------------------------------------

PASSING = [
    ("Dropout", {"rate": 0.5, "noise_shape": (None, 1, 3), "seed": 1}),
    ("SpatialDropout1D", {"rate": 0.5, "seed": 1}),
    ("SpatialDropout2D", {"rate": 0.5, "data_format": "channels_first"}),
    ("GaussianDropout", {"rate": 0.5, "seed": 1}),
    ("GaussianNoise", {"stddev": 0.5}),
    ("AlphaDropout", {"rate": 0.5, "noise_shape": (None, 1, 3)}),
    ("ActivityRegularization", {"l1": 0.5, "l2": 0.25}),
    ("Identity", {}),
]


@pytest.mark.parametrize("name, options", PASSING)
def test_layers_of_training_pass_values_and_masks_on(keras, rng, name, options):
    x = rng.standard_normal((2, 4, 3, 2) if "2D" in name else (2, 4, 3)).astype("float32")
    mask = rng.random((2, 4)) < 0.5
    theirs = getattr(keras.layers, name)(**options)
    ours = getattr(masking if name == "Identity" else regularization, name)(**options)
    wanted = theirs(with_mask(keras, x, mask))
    ours.build(x.shape)
    assert_same(ours.call(x, mask=mask), wanted)
    assert np.array_equal(ours.compute_mask(x, mask), mask_of(wanted))
    assert ours.compute_output_shape((None, *x.shape[1:])) == theirs.compute_output_shape((None, *x.shape[1:]))
    assert ours.supports_masking == theirs.supports_masking and ours.get_weights() == []


@pytest.mark.parametrize("name, options", [*PASSING, ("Masking", {"mask_value": -1.5})])
def test_configurations_go_both_ways(keras, name, options):
    theirs = getattr(keras.layers, name)(name="a", dtype="float64", **options)
    ours = getattr(masking if name in ("Identity", "Masking") else regularization, name).from_config(
        theirs.get_config()
    )
    assert ours.get_config() == {**theirs.get_config(), "dtype": "float64"}
    assert type(theirs).from_config(ours.get_config()).get_config() == theirs.get_config()


def test_a_keras_2_configuration_is_taken():
    config = {"name": "s", "trainable": True, "dtype": "float32", "rate": 0.5, "noise_shape": None, "seed": None}
    assert regularization.SpatialDropout1D.from_config(config).rate == 0.5
    assert regularization.GaussianNoise(stddev=5.0).stddev == 5


def test_spatial_dropout_takes_inputs_of_its_rank(keras):
    for name, shape in [
        ("SpatialDropout1D", (2, 3)),
        ("SpatialDropout1D", (2, 3, 4, 5)),
        ("SpatialDropout2D", (2, 3, 4)),
    ]:
        with pytest.raises(FastLSTMError, match=name):
            getattr(regularization, name)(0.5).build(shape)
        with warnings.catch_warnings(), pytest.raises(ValueError):
            getattr(keras.layers, name)(0.5)(np.zeros(shape))


@pytest.mark.parametrize("value", [None, True, "0.5", -0.5, [], {}, float("nan"), 10**400, [0.5]])
def test_hostile_arguments_are_refused(value):
    for name in ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout", "AlphaDropout", "GaussianNoise"):
        with pytest.raises(FastLSTMError, match=r"(rate|stddev) is"):
            getattr(regularization, name)(value)
        if value is not None:  # no seed matters
            getattr(regularization, name)(0.5, seed=value)
    if value is not None:
        with pytest.raises(FastLSTMError, match="l1 is"):
            regularization.ActivityRegularization(l1=value)
    for name in ("Dropout", "AlphaDropout"):
        if value not in (None, []):
            with pytest.raises(FastLSTMError, match="noise_shape"):
                getattr(regularization, name)(0.5, noise_shape=value)
    if value:
        with pytest.raises(FastLSTMError, match="data_format is"):
            regularization.SpatialDropout2D(0.5, data_format=value)


def test_training_is_refused_where_it_would_change_the_result():
    x = np.ones((1, 2, 3), np.float32)
    for name, options in PASSING:
        layer = getattr(masking if name == "Identity" else regularization, name)(**options)
        if name in ("Identity", "ActivityRegularization"):
            layer._refuse_training(True)
        else:
            with pytest.raises(FastLSTMError, match="training must be False"):
                layer._refuse_training(True)
    assert np.array_equal(regularization.Dropout(0.0)(x, training=True), x)
