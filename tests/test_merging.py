"""Merge layers equal live Keras: values with and without masks, shapes, masks, and what they refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from test_keras import assert_same

from fastlstm import FastLSTMError
from fastlstm.layers import merging

ELEMENTWISE = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


def with_mask(keras, x, mask):
    """A tensor that carries a mask, as a layer's output does."""
    from keras.src import backend

    tensor = keras.ops.convert_to_tensor(x)
    if mask is not None:
        backend.set_keras_mask(tensor, keras.ops.convert_to_tensor(mask))
    return tensor


def mask_of(tensor):
    mask = getattr(tensor, "_keras_mask", None)
    return None if mask is None else np.asarray(mask)


def compare(keras, name, arrays, masks=None, dtype="float32", **options):
    """Ours against Keras's: the values, their shape and the mask that travels on."""
    theirs = getattr(keras.layers, name)(dtype=dtype, **options)
    ours = getattr(merging, name)(dtype=dtype, **options)
    masks = masks or [None] * len(arrays)
    wanted = theirs([with_mask(keras, x, m) for x, m in zip(arrays, masks, strict=True)])
    found = ours.call(arrays, mask=masks)
    if wanted.dtype.is_integer:
        assert found.dtype == np.asarray(wanted).dtype and np.array_equal(found, wanted)
    else:
        assert_same(found, np.asarray(wanted), dtype)
    mask = ours.compute_mask(arrays, masks)
    assert np.array_equal(mask, mask_of(wanted)) if mask_of(wanted) is not None else mask is None
    shapes = [x.shape for x in arrays]
    assert ours.compute_output_shape(shapes) == tuple(theirs.compute_output_shape(shapes))
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_layers_broadcast_as_keras_does(keras, rng, name, dtype):
    for first, second in [
        [(2, 3), (2, 3)],
        [(2, 3, 4), (2, 1, 4)],
        [(2, 1, 4), (2, 3, 1)],
        [(2, 4), (2, 3, 4)],
        [(2, 5, 3, 4), (2, 4)],
        [(2,), (2, 3)],
    ]:
        compare(keras, name, [rng.standard_normal(first), rng.standard_normal(second)], dtype=dtype)


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "Subtract"])
@pytest.mark.parametrize("number", [1, 3])
def test_any_number_of_inputs_merges(keras, rng, name, number):
    compare(keras, name, [rng.standard_normal((2, 3, 4)) for _ in range(number)])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "Concatenate"])
def test_every_pattern_of_masks(keras, rng, name):
    number = 2 if name == "Subtract" else 3
    for present in np.ndindex(*(2,) * number):
        arrays = [rng.standard_normal((4, 5, 3)).astype("float32") for _ in range(number)]
        masks = [rng.random((4, 5)) < 0.5 if there else None for there in present]
        compare(keras, name, arrays, masks)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_masks_where_inputs_broadcast_or_differ_in_rank(keras, rng, name):
    for first, second in [[(4, 1, 3), (4, 5, 3)], [(4, 5, 1), (4, 5, 3)]]:
        arrays = [rng.standard_normal(first), rng.standard_normal(second)]
        compare(keras, name, arrays, [rng.random(x.shape[:2]) < 0.5 for x in arrays])
    low, high = rng.standard_normal((4, 3)), rng.standard_normal((4, 5, 3))
    compare(keras, name, [low, high], [None, rng.random((4, 5)) < 0.5])
    compare(keras, name, [high, low], [rng.random((4, 5)) < 0.5, rng.random((4, 1)) < 0.5])


@pytest.mark.parametrize("axis", [-1, 1, 2, 0, -2, -3])
def test_concatenate_along_every_axis(keras, rng, axis):
    shapes = [[2, 5, 3], [2, 5, 3], [2, 5, 3]]
    for i, shape in enumerate(shapes):
        shape[axis] += i
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    compare(keras, "Concatenate", arrays, axis=axis)
    if axis in (1, 2, -1, -2):
        compare(keras, "Concatenate", arrays, [None, rng.random(shapes[1][:2]) < 0.5, None], axis=axis)


def test_integers_stay_integers_as_in_keras(keras):
    ids = [np.array([[5], [2**30 + 1]], "int32"), np.array([[1, 2], [3, 4]], "int32")]
    compare(keras, "Concatenate", ids)
    for name in ("Add", "Multiply", "Maximum"):
        compare(keras, name, ids)


def test_add_broadcasts_where_keras_takes_an_input_for_a_bias(keras, rng):
    """Keras 3.15 on TensorFlow adds (1, 3, 1) to (1, 3, 3) along the last axis, yet (2, 3, 1) to (2, 3, 3) rightly."""
    a, b = rng.standard_normal((2, 3, 3)).astype("float32"), rng.standard_normal((2, 3, 1)).astype("float32")
    compare(keras, "Add", [a, b])
    assert np.array_equal(merging.Add().call([a[:1], b[:1]]), a[:1] + b[:1])
    assert not np.allclose(keras.layers.Add()([a[:1], b[:1]]), a[:1] + b[:1])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "shapes, axes",
    [
        [((3, 4), (3, 4)), 1],
        [((3, 4), (3, 4)), -1],
        [((3, 4, 5), (3, 6, 5)), 2],
        [((3, 4, 5), (3, 6, 5)), -1],
        [((3, 4, 5), (3, 5, 6)), (2, 1)],
        [((3, 4, 5), (3, 5, 6)), [-1, 1]],
        [((3, 4, 5), (3, 4)), 1],
        [((3, 5), (3, 4, 5)), (1, 2)],
        [((3, 2, 4, 5), (3, 6, 4, 2)), (2, 2)],
        [((3, 2, 4, 5), (3, 6, 2)), (1, 2)],
    ],
)
def test_dot_sums_over_any_axes(keras, rng, shapes, axes, normalize):
    for dtype in ("float32", "float64"):
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        compare(keras, "Dot", arrays, dtype=dtype, axes=axes, normalize=normalize)
    masks = [rng.random(shape[:2]) < 0.5 for shape in shapes]
    assert merging.Dot(axes).compute_mask(arrays, masks) is None


def test_a_vector_of_zeros_is_normalized_to_zeros(keras, rng):
    arrays = [np.zeros((2, 3), "float32"), rng.standard_normal((2, 3)).astype("float32")]
    compare(keras, "Dot", arrays, axes=1, normalize=True)
    compare(keras, "Dot", [x * 1e-9 for x in arrays], axes=1, normalize=True)


def test_infinities_and_nan_pass(keras):
    x = np.array([[np.inf, -np.inf, np.nan, 1e36]], "float32")
    for name in ELEMENTWISE:
        compare(keras, name, [x, -x])
        compare(keras, name, [x, x])


def test_keras_2_merges_masks_otherwise(rng):
    arrays = [rng.standard_normal((4, 5, 3)).astype("float32") for _ in range(3)]
    masks = [rng.random((4, 5)) < 0.7, None, rng.random((4, 5)) < 0.7]
    for name in ("Add", "Multiply", "Maximum", "Concatenate"):
        layer = getattr(merging, name)(mask_merging="all")
        assert np.array_equal(layer.compute_mask(arrays, masks), masks[0] & masks[2])
        assert layer.compute_mask(arrays, [None] * 3) is None
        assert np.array_equal(layer.call(arrays, mask=masks), layer.call(arrays))
        assert "mask_merging" not in layer.get_config()
    ends = merging.Concatenate(axis=1, mask_merging="all")
    assert np.array_equal(ends.compute_mask(arrays, masks), np.concatenate([masks[0], np.ones((4, 5)), masks[2]], 1))
    for bad in ("or", None, 1, []):
        with pytest.raises(FastLSTMError, match="mask_merging is"):
            merging.Add(mask_merging=bad)


def test_unknown_sizes_stay_unknown(keras):
    for name, options, shapes in [
        ("Add", {}, [(None, None, 3), (None, 4, 3)]),
        ("Add", {}, [(None, None, 3), (2, 1, 3)]),
        ("Add", {}, [(None, 3), (None, None, 3)]),
        ("Multiply", {}, [(None, 1), (None, 4), (None, None)]),
        ("Concatenate", {}, [(None, None, 3), (None, 4, 5)]),
        ("Concatenate", {"axis": 1}, [(None, None, 3), (None, 4, 3)]),
        ("Concatenate", {"axis": 1}, [(None, 2, None), (None, 4, 3)]),
        ("Dot", {"axes": 2}, [(None, None, 3), (None, 4, 3)]),
        ("Dot", {"axes": 1}, [(None, 3), (None, 3)]),
    ]:
        theirs, ours = getattr(keras.layers, name)(**options), getattr(merging, name)(**options)
        assert ours.compute_output_shape(shapes) == tuple(theirs.compute_output_shape(shapes))
        ours.build(shapes)


@pytest.mark.parametrize(
    "name, options, shapes",
    [
        ("Add", {}, [(2, 3), (2, 4)]),
        ("Add", {}, [(2, 3), (3, 3)]),
        ("Add", {}, [(2, 3, 4), (2, 5)]),
        ("Add", {}, (2, 3)),
        ("Add", {}, []),
        ("Add", {}, [(2, 3), ()]),
        ("Add", {}, 3),
        ("Subtract", {}, [(2, 3)]),
        ("Subtract", {}, [(2, 3)] * 3),
        ("Concatenate", {}, [(2, 3), (3, 3)]),
        ("Concatenate", {}, [(2, 3), (2, 3, 4)]),
        ("Concatenate", {"axis": 2}, [(2, 3), (2, 3)]),
        ("Concatenate", {"axis": -3}, [(2, 3), (2, 3)]),
        ("Dot", {"axes": 1}, [(2, 3), (2, 4)]),
        ("Dot", {"axes": 0}, [(2, 3), (2, 3)]),
        ("Dot", {"axes": 5}, [(2, 3), (2, 3)]),
        ("Dot", {"axes": -2}, [(2, 3), (2, 3)]),
        ("Dot", {"axes": 1}, [(2, 3)] * 3),
        ("Dot", {"axes": 1}, [(2, 3), (3, 3)]),
        ("Dot", {"axes": 1}, [(2,), (2,)]),
    ],
)
def test_inputs_that_do_not_merge_are_refused(name, options, shapes):
    layer = getattr(merging, name)(**options)
    with pytest.raises(FastLSTMError, match=name):
        layer.build(shapes)
    if isinstance(shapes, list):
        if name != "Add" or shapes != [(2, 3), (3, 3)]:
            with pytest.raises(FastLSTMError, match=name):
                layer.call([np.zeros(shape, "float32") for shape in shapes])


@pytest.mark.parametrize("inputs", [np.zeros((2, 3)), None, "ab", {}, [[[1], [2, 3]]], [np.array(["a"])] * 2])
def test_what_is_no_list_of_arrays_is_refused(inputs):
    for layer in (merging.Add(), merging.Concatenate(), merging.Dot(1)):
        with pytest.raises(FastLSTMError):
            layer.call(inputs)


def test_masks_that_do_not_fit_are_refused():
    x = np.zeros((2, 3, 4), "float32")
    for mask in (np.ones((2, 3), bool), [np.ones((2, 3), bool)], [np.ones((2, 3), bool), np.ones((5, 7), bool)]):
        for layer in (merging.Add(), merging.Concatenate()):
            with pytest.raises(FastLSTMError):
                layer.compute_mask([x, x], mask)
        with pytest.raises(FastLSTMError):
            merging.Multiply().call([x, x], mask=mask)


HOSTILE = [None, True, "1", 1.5, [], {}, [1], [1, 2, 3], [1, "2"], [True, 1], [[1], [1]], {"a": 1}, float("nan")]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_arguments_are_refused(value):
    with pytest.raises(FastLSTMError, match="axis is"):
        merging.Concatenate(axis=value)
    with pytest.raises(FastLSTMError, match=r"axes is|an axis in axes is"):
        merging.Dot(axes=value)
    with pytest.raises(FastLSTMError, match="surprise"):
        merging.Add(surprise=value)


def test_huge_axes_are_refused():
    for make, axis in ((merging.Concatenate, 10**30), (merging.Dot, -(10**30)), (merging.Dot, [10**9, 1])):
        with pytest.raises(FastLSTMError, match=r"ax[ei]s"):
            make(axis).build([(None, 3), (None, 3)])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "Concatenate", "Dot"])
def test_configurations_go_both_ways(keras, name):
    options = {"Concatenate": {"axis": 1}, "Dot": {"axes": (1, 2), "normalize": True}}.get(name, {})
    theirs = getattr(keras.layers, name)(name="m", dtype="float64", **options)
    ours = getattr(merging, name).from_config(theirs.get_config())
    assert ours.get_config() == {**theirs.get_config(), "dtype": "float64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert type(theirs).from_config(ours.get_config()).get_config() == theirs.get_config()
