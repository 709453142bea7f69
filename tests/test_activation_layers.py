"""Layers that are activations equal live Keras over their options, and refuse what cannot be one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from test_keras import assert_same
from test_merging import mask_of, with_mask

from fastlstm import FastLSTMError
from fastlstm.layers import activation
from fastlstm.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax

X = np.array([[-3.5, -1.0, -0.25, 0.0, 0.5], [1.0, 2.0, 5.5, 6.0, 7.5], [np.nan, np.inf, -np.inf, 1e-30, -1e-30]])


def compare(keras, name, x, dtype="float32", mask=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's, of a softmax over one number
        theirs = getattr(keras.layers, name)(dtype=dtype, **options)
        wanted = theirs(with_mask(keras, x.astype(dtype), mask))
    ours = getattr(activation, name)(dtype=dtype, **options)
    ours.build(x.shape)
    assert_same(ours.call(x, mask=mask), np.asarray(wanted), dtype)
    assert ours.compute_output_shape((None, *x.shape[1:])) == theirs.compute_output_shape((None, *x.shape[1:]))
    travels = ours.compute_mask(x, mask)
    assert np.array_equal(travels, mask_of(wanted)) if mask is not None else travels is None
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_with_every_option(keras, dtype):
    for max_value in (None, 0, 3, 6, 6.5):
        for negative_slope in (0.0, 0.1, 2):
            for threshold in (0.0, 0.5, 7):
                options = {"max_value": max_value, "negative_slope": negative_slope, "threshold": threshold}
                x = X[:2] if negative_slope and (max_value is not None or threshold) else X  # inf - inf there
                compare(keras, "ReLU", x, dtype, **options)
    compare(keras, "ReLU", X[:2], mask=np.array([True, False]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_and_elu(keras, dtype):
    for slope in (0.0, 0.3, 1.5):
        compare(keras, "LeakyReLU", X, dtype, negative_slope=slope)
    for alpha in (1.0, 0.25, 0.0, -2):
        compare(keras, "ELU", X if alpha else X[:2], dtype, alpha=alpha)
    assert LeakyReLU(alpha=0.7).negative_slope == 0.7  # Keras 2's name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shared_axes", [None, [1], [2], [1, 2], 1, [-1], [0], []])
def test_prelu_shares_along_axes(keras, rng, shared_axes, dtype):
    x = rng.standard_normal((2, 4, 3))
    theirs = keras.layers.PReLU(alpha_initializer="ones", shared_axes=shared_axes, dtype=dtype)
    ours = PReLU(alpha_initializer="ones", shared_axes=shared_axes, dtype=dtype)
    theirs.build(x.shape)
    ours.build(x.shape)
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert np.all(ours.get_weights()[0] == 1)
    theirs.set_weights([rng.standard_normal(w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    for number in (2, 5):
        x = rng.standard_normal((number, 4, 3)).astype(dtype)
        assert_same(ours.call(x), theirs(x), dtype)
    config = ours.get_config()
    assert config["shared_axes"] == theirs.get_config()["shared_axes"]
    assert keras.layers.PReLU.from_config(config).get_config()["shared_axes"] == config["shared_axes"]


def test_prelu_refuses_other_inputs(keras, rng):
    ours = PReLU(shared_axes=[1])
    ours.build((None, None, 3))
    assert_same(ours.call(X[None, :2, :3]), np.maximum(X[None, :2, :3], 0).astype("float32"))
    for shape in [(2, 4), (2, 4, 4), (2, 3, 4, 3)]:
        with pytest.raises(FastLSTMError, match="PReLU"):
            ours.call(np.zeros(shape))
    for axes, shape in [(None, (None, None, 3)), ([3], (None, 4, 3)), ([-5], (None, 4, 3)), ([1], ()), (None, ())]:
        with pytest.raises(FastLSTMError, match="PReLU"):
            PReLU(shared_axes=axes).build(shape)
    whole = PReLU()
    whole.build((None, 4, 3))
    with pytest.raises(FastLSTMError, match="PReLU"):
        whole.call(np.zeros((2, 5, 3)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -2, [1], [1, 2], (0, 2), [-1, 0, 1], [2, 1]])
def test_softmax_over_any_axes_with_masks(keras, rng, axis, dtype):
    x = 3 * rng.standard_normal((3, 4, 5))
    compare(keras, "Softmax", x, dtype, axis=axis)
    for shape in [(3, 4, 5), (4, 5), (5,), (3, 1, 5), (3, 4, 1), (1, 1, 1)]:
        compare(keras, "Softmax", x, dtype, axis=axis, mask=rng.random(shape) < 0.5)


def test_softmax_takes_a_mask_of_numbers_and_no_axis(keras, rng):
    x = rng.standard_normal((3, 4)).astype("float32")
    mask = rng.random((3, 4)).astype("float32")
    assert_same(Softmax().call(x, mask=mask), keras.layers.Softmax()(x, mask=mask))
    assert_same(Softmax(axis=None).call(x), keras.layers.Softmax(axis=None)(x))
    assert Softmax().call(np.zeros((0, 3))).shape == (0, 3)
    empty = np.zeros((2, 0, 3))
    assert Softmax(axis=1).call(empty).shape == empty.shape


def test_softmax_refuses_masks_and_axes_that_do_not_fit():
    x = np.zeros((3, 4, 5), "float32")
    for mask in (np.ones((3, 4), bool), np.ones((1, 3, 4, 5), bool), np.ones((6, 4, 5), bool)):
        with pytest.raises(FastLSTMError, match="mask has shape"):
            Softmax().call(x, mask=mask)
    for axis in (3, -4, [0, 0], [0, -3], 2**31 - 1):
        with pytest.raises(FastLSTMError, match="axis"):
            Softmax(axis=axis).call(x)


HOSTILE = [
    None,
    True,
    "1",
    "",
    -1,
    -0.5,
    [],
    {},
    [1.5],
    ["a"],
    {"value": []},
    float("nan"),
    10**400,
    [[1]],
    {"class_name": 3},
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_arguments_are_refused(value):
    for make, option in [
        (ReLU, "max_value"),
        (ReLU, "negative_slope"),
        (ReLU, "threshold"),
        (LeakyReLU, "negative_slope"),
        (LeakyReLU, "alpha"),
        (ELU, "alpha"),
        (PReLU, "shared_axes"),
        (PReLU, "alpha_initializer"),
        (Softmax, "axis"),
    ]:
        try:
            layer = make(**{option: value})
            layer.build((None, 2))
        except FastLSTMError as error:
            assert make.__name__ in str(error)
        else:  # an argument after all
            assert layer.get_config()
    for make in (ReLU, LeakyReLU, ELU, PReLU, Softmax):
        with pytest.raises(FastLSTMError, match="surprise"):
            make(surprise=value)


def test_which_hostile_arguments_are_refused():
    for value in HOSTILE[1:]:
        with pytest.raises(FastLSTMError, match="threshold"):
            ReLU(threshold=value)
        if value not in (-1, -0.5):
            with pytest.raises(FastLSTMError, match="alpha"):
                ELU(alpha=value)
        if value != -1:
            with pytest.raises(FastLSTMError, match="axis"):
                Softmax(axis=value)


def test_numbers_in_the_forms_of_files():
    for saved in (
        {"type": "ndarray", "value": 0.5},
        {"class_name": "__numpy__", "config": {"value": 0.5, "dtype": "float32"}},
    ):
        assert LeakyReLU(alpha=saved).negative_slope == ReLU(threshold=saved).threshold == 0.5


@pytest.mark.parametrize(
    "name, options",
    [
        ("ReLU", {"max_value": 6, "negative_slope": 0.5, "threshold": 1.0}),
        ("LeakyReLU", {"negative_slope": 0.25}),
        ("PReLU", {"alpha_regularizer": "l2", "shared_axes": [1]}),
        ("ELU", {"alpha": 0.5}),
        ("Softmax", {"axis": (1, 2)}),
        ("Softmax", {}),
    ],
)
def test_configurations_go_both_ways(keras, name, options):
    theirs = getattr(keras.layers, name)(name="a", dtype="float64", **options)
    ours = getattr(activation, name).from_config(theirs.get_config())
    assert ours.get_config() == {**theirs.get_config(), "dtype": "float64"}
    assert type(theirs).from_config(ours.get_config()).get_config() == theirs.get_config()
