"""Attention, AdditiveAttention and MultiHeadAttention equal live Keras, masks and scores included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_keras import assert_same
from test_merging import mask_of, with_mask

from fastlstm import FastLSTMError
from fastlstm.layers.attention import AdditiveAttention, Attention
from fastlstm.layers.core import InputLayer
from fastlstm.layers.graph import Node
from fastlstm.layers.multi_head_attention import MultiHeadAttention

B, TQ, TV, D, E = 3, 4, 5, 6, 7

# -- Attention, AdditiveAttention -------------------------------------------------------------------


def pair(keras, kind, shapes, rng, dtype="float32", **options):
    """Keras's layer with random weights, and ours with the same."""
    theirs = getattr(keras.layers, kind.__name__)(dtype=dtype, **options)
    ours = kind(dtype=dtype, **options)
    theirs.build(shapes)
    theirs.set_weights([rng.standard_normal(w.shape) for w in theirs.get_weights()])
    ours.build([tuple(shape) for shape in shapes])
    assert list(ours._weights) == [w.name for w in theirs.weights]
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def compare(keras, theirs, ours, arrays, masks=None, **arguments):
    tensors = [with_mask(keras, x, m) for x, m in zip(arrays, masks or [None] * len(arrays), strict=True)]
    wanted = theirs(tensors, **arguments)
    found = ours.call(arrays, mask=masks, **arguments)
    assert_same(found, wanted, ours.dtype)
    first = wanted[0] if isinstance(wanted, tuple) else wanted
    mask = ours.compute_mask(arrays, masks)
    assert np.array_equal(mask, mask_of(first)) if mask_of(first) is not None else mask is None
    assert ours.compute_output_shape([x.shape for x in arrays]) == first.shape


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "kind, options",
    [
        (Attention, {}),
        (Attention, {"use_scale": True}),
        (Attention, {"score_mode": "concat"}),
        (Attention, {"use_scale": True, "score_mode": "concat", "dropout": 0.5, "seed": 3}),
        (AdditiveAttention, {}),
        (AdditiveAttention, {"use_scale": False, "dropout": 0.5}),
    ],
)
def test_attention_with_every_mask(keras, rng, kind, options, dtype):
    for with_key in (False, True):
        shapes = [(B, TQ, D), (B, TV, E if with_key else D), (B, TV, D)][: 2 + with_key]
        theirs, ours = pair(keras, kind, shapes, rng, dtype, **options)
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        for q, v, causal, scores in itertools.product((False, True), repeat=4):
            masks = [rng.random((B, TQ)) < 0.5 if q else None, rng.random((B, TV)) < 0.5 if v else None]
            masks += [rng.random((B, TV)) < 0.5] * with_key
            compare(keras, theirs, ours, arrays, masks, use_causal_mask=causal, return_attention_scores=scores)


def test_a_row_whose_values_are_all_masked(keras, rng):
    arrays = [rng.standard_normal((B, TQ, D)).astype("float32") for _ in range(2)]
    masks = [None, np.zeros((B, TQ), bool)]
    for kind in (Attention, AdditiveAttention):
        compare(keras, *pair(keras, kind, [(B, TQ, D)] * 2, rng), arrays, masks, return_attention_scores=True)


def test_four_axes_and_a_feature_that_broadcasts(keras, rng):
    for kind, options, shapes in [
        (Attention, {}, [(2, 3, 4, 5), (2, 3, 6, 5)]),
        (Attention, {"score_mode": "concat"}, [(2, 4, 1), (2, 6, 5)]),
        (AdditiveAttention, {}, [(2, 4, 5), (2, 6, 1)]),
    ]:
        arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
        compare(keras, *pair(keras, kind, shapes, rng, **options), arrays)


@pytest.mark.parametrize("kind", [Attention, AdditiveAttention])
def test_attention_refuses_what_does_not_fit(kind):
    layer = kind()
    shapes = [
        [(2, 4, 5)],
        [(2, 4, 5)] * 4,
        (2, 4, 5),
        [(2, 4, 5), (2, 4, 6)],
        [(2, 4, 5), (2, 6, 3), (2, 7, 5)],
        [(5,), (5,)],
    ]
    for bad in [*shapes, [(2, 4, 5), (3, 4, 5)]]:
        with pytest.raises(FastLSTMError, match=kind.__name__):
            layer.build(bad)
    layer.build([(2, 4, 5), (2, 4, 5)])
    x = np.zeros((2, 4, 5), "float32")
    for inputs in (x, None, [x], [x] * 4, [x, x[..., :3]], [x, np.array("a")]):
        with pytest.raises(FastLSTMError, match=kind.__name__):
            layer.call(inputs)
    for mask in (
        np.ones((2, 4), bool),
        [None],
        [None] * 4,
        [np.ones((2, 9), bool), None],
        [None, np.ones((5, 9), bool)],
    ):
        with pytest.raises(FastLSTMError, match=kind.__name__):
            layer.call([x, x], mask=mask)


@pytest.mark.parametrize("value", [None, True, "dots", -1, [], {}, float("nan"), 10**400])
def test_attention_refuses_hostile_arguments(value):
    if value is not True:
        with pytest.raises(FastLSTMError, match="dropout is"):
            AdditiveAttention(dropout=value)
    with pytest.raises(FastLSTMError, match="score_mode is"):
        Attention(score_mode=value)
    Attention(seed=value)


def test_additive_attention_needs_a_known_number_of_features():
    with pytest.raises(FastLSTMError, match="last axis of known size"):
        AdditiveAttention().build([(None, None, None), (None, None, None)])
    AdditiveAttention(use_scale=False).build([(None, None, None), (None, None, None)])
    assert Attention().compute_output_shape([(None, None, 3), (None, 5, None), (None, None, 3)]) == (None, None, None)


@pytest.mark.parametrize("kind", [Attention, AdditiveAttention])
def test_attention_configurations_go_both_ways(keras, kind):
    theirs = getattr(keras.layers, kind.__name__)(use_scale=True, dropout=0.25, name="a", dtype="float64")
    ours = kind.from_config(theirs.get_config())
    assert ours.get_config() == {**theirs.get_config(), "dtype": "float64"}
    assert type(theirs).from_config(ours.get_config()).get_config() == theirs.get_config()
    assert ours.supports_masking == theirs.supports_masking


# -- MultiHeadAttention -----------------------------------------------------------------------------

HEADS = [
    {},
    {"value_dim": 3, "use_bias": False},
    {"output_shape": 9, "use_gate": True},
    {"output_shape": (2, 3), "value_dim": 5, "dropout": 0.5, "seed": 1},
    {"attention_axes": 1, "sliding_window": 2},
    {"attention_axes": [-2], "dropout": 0.5, "use_gate": True, "use_bias": False},
]


def heads(keras, shapes, rng, dtype="float32", **options):
    """Keras's MultiHeadAttention with random weights, and ours with the same."""
    theirs = keras.layers.MultiHeadAttention(2, 4, dtype=dtype, **options)
    ours = MultiHeadAttention(2, 4, dtype=dtype, **options)
    theirs.build(*shapes)
    ours.build([tuple(shape) for shape in shapes])
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    theirs.set_weights([rng.standard_normal(w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def compare_heads(keras, theirs, ours, arrays, masks, **arguments):
    tensors = [with_mask(keras, x, m) for x, m in zip(arrays, masks, strict=True)]
    wanted = theirs(*tensors, **arguments)
    carried = {"mask": masks[0], "value_mask": masks[1], "key_mask": masks[2] if len(masks) > 2 else None}
    found = ours.call(*arrays, **{k: m for k, m in carried.items() if m is not None}, **arguments)
    assert_same(found, wanted, ours.dtype)
    first = wanted[0] if isinstance(wanted, tuple) else wanted
    assert mask_of(first) is None if masks[0] is None else np.array_equal(mask_of(first), masks[0])
    assert ours.compute_output_shape([x.shape for x in arrays]) == first.shape


@pytest.mark.parametrize("options", HEADS)
def test_multi_head_attention_with_every_mask(keras, rng, options):
    for number in (2, 3):
        shapes = [(B, TQ, D), (B, TV, E), (B, TV, D)][:number]
        theirs, ours = heads(keras, shapes, rng, **options)
        arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
        for present in itertools.product((False, True), repeat=number):
            masks = [rng.random(x.shape[:2]) < 0.5 if m else None for x, m in zip(arrays, present, strict=True)]
            causal, scores = rng.random(2) < 0.5
            compare_heads(keras, theirs, ours, arrays, masks, use_causal_mask=causal, return_attention_scores=scores)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.25}])
def test_attention_masks_of_every_shape_and_rows_masked_whole(keras, rng, options, dtype):
    shapes = [(B, TQ, D), (B, TV, D)]
    theirs, ours = heads(keras, shapes, rng, dtype, **options)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    for shape in [(B, TQ, TV), (1, TQ, TV), (TQ, TV), (B, 2, TQ, TV), (B, 1, 1, TV), (B, 1, TV)]:
        mask = rng.random(shape) < 0.5
        for causal, scores in itertools.product((False, True), repeat=2):
            arguments = {"attention_mask": mask, "use_causal_mask": causal, "return_attention_scores": scores}
            compare_heads(keras, theirs, ours, arrays, [None, None], **arguments)
    for scores in (False, True):
        masks = [None, np.zeros((B, TV), bool)]
        compare_heads(keras, theirs, ours, arrays, masks, return_attention_scores=scores)
        compare_heads(
            keras,
            theirs,
            ours,
            arrays,
            [None, None],
            attention_mask=np.zeros((TQ, TV), "int32"),
            return_attention_scores=scores,
        )


@pytest.mark.parametrize("axes", [None, 1, (2,), (1, 2), (2, 1), (-2, -3)])
def test_attention_over_some_of_more_axes(keras, rng, axes):
    shapes = [(2, 3, 4, 5), (2, 3, 4, 6)]
    theirs, ours = heads(keras, shapes, rng, attention_axes=axes)
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    for scores in (False, True):
        compare_heads(keras, theirs, ours, arrays, [None, None], return_attention_scores=scores)
    if axes == (2,):
        mask = rng.random((2, 3, 4, 4)) < 0.5
        compare_heads(keras, theirs, ours, arrays, [None, None], attention_mask=mask, return_attention_scores=True)


def test_a_query_mask_given_by_name_has_no_effect_as_in_keras(keras, rng):
    theirs, ours = heads(keras, [(B, TQ, D)] * 2, rng)
    x = rng.standard_normal((B, TQ, D)).astype("float32")
    mask = rng.random((B, TQ)) < 0.5
    assert_same(ours.call(x, x, query_mask=mask), theirs(x, x, query_mask=mask))
    assert_same(ours.call(x, x, value_mask=mask), theirs(x, x, value_mask=mask))


def test_multi_head_attention_refuses_what_does_not_fit(keras):
    layer = MultiHeadAttention(2, 4)
    for shapes in [
        [(2, 4, 5)],
        (2, 4, 5),
        [(2, 5), (2, 5)],
        [(2, 4, 5), (2, 3, 4, 5)],
        [(2, 4, 5), (2, 4, 5), (2, 3, 5)],
        [(2, 4, None), (2, 4, 5)],
        [(2, 4, 5)] * 4,
    ]:
        with pytest.raises(FastLSTMError, match="MultiHeadAttention"):
            layer.build(shapes)
    layer.build([(2, 4, 5), (2, 4, 5)])
    x = np.zeros((2, 4, 5), "float32")
    for inputs in [(x,), (x, x[:, :, :3]), (x, x, x[:, :3]), (x[0], x[0]), (x, "a"), ("a", x), (x, x[:1])]:
        with pytest.raises(FastLSTMError, match="MultiHeadAttention"):
            layer.call(*inputs)
    for name in ("mask", "value_mask", "key_mask", "attention_mask"):
        with pytest.raises(FastLSTMError, match="MultiHeadAttention"):
            layer.call(x, x, **{name: np.ones((7, 9), bool)})
    for axes in (0, 2, [1, 1], -1, []):
        with pytest.raises(FastLSTMError, match="attention_axes"):
            MultiHeadAttention(2, 4, attention_axes=axes).build([(2, 4, 5), (2, 4, 5)])
    with pytest.raises(FastLSTMError, match="flash_attention"):
        MultiHeadAttention(2, 4, flash_attention=True)


@pytest.mark.parametrize("value", [True, 0, -1, "2", 2.0, [0], ["a"], {}, [True], 10**30, float("nan")])
def test_multi_head_attention_refuses_hostile_arguments(value):
    for name in ("num_heads", "key_dim", "value_dim", "output_shape", "sliding_window", "attention_axes", "dropout"):
        options = {"num_heads": 2, "key_dim": 4, name: value}
        good = {"dropout": (0, 2.0, 10**30), "attention_axes": (0, -1, [0])}.get(name, ())
        if value in good and value is not True:
            MultiHeadAttention(**options)
        else:
            with pytest.raises(FastLSTMError, match=name):
                MultiHeadAttention(**options)
    with pytest.raises(FastLSTMError, match="kernel_initializer"):
        MultiHeadAttention(2, 4, kernel_initializer={"class_name": value, "config": {}})


def test_a_huge_layer_allocates_nothing_before_it_is_built():
    layer = MultiHeadAttention(2**31 - 1, 2**31 - 1)
    assert layer.weight_shapes([(None, 3, 4), (None, 3, 4)])["query_dense/kernel"] == (4, 2**31 - 1, 2**31 - 1)


@pytest.mark.parametrize("options", HEADS)
def test_multi_head_configurations_go_both_ways(keras, options):
    theirs = keras.layers.MultiHeadAttention(2, 4, name="m", kernel_regularizer="l2", **options)
    ours = MultiHeadAttention.from_config(theirs.get_config())
    config = ours.get_config()
    wanted = {**theirs.get_config(), "dtype": "float32"}
    assert list(config) == list(wanted)
    for key in set(config) - {"attention_axes", "output_shape", "kernel_initializer"}:
        assert config[key] == wanted[key]
    again = keras.layers.MultiHeadAttention.from_config(config).get_config()
    assert again == {**theirs.get_config(), "attention_axes": config["attention_axes"]}


def test_fresh_kernels_have_the_spread_that_keras_gives_them(keras):
    shapes = [(None, 3, 64), (None, 3, 64)]
    theirs, ours = keras.layers.MultiHeadAttention(8, 16), MultiHeadAttention(8, 16)
    theirs.build(*shapes)
    ours.build(shapes)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert abs(np.abs(a).max(initial=0) / max(np.abs(b).max(initial=0), 1e-9) - 1) < 0.02 or not b.any()


def test_a_graph_knows_the_shapes_of_scores(rng):
    query, value = (Node(InputLayer(s), (), {}, (None, *s)).outputs for s in ((TQ, D), (TV, D)))
    x, y = rng.standard_normal((B, TQ, D)).astype("float32"), rng.standard_normal((B, TV, D)).astype("float32")
    for layer, drawn, given in [
        (Attention(), ([query, value],), ([x, y],)),
        (MultiHeadAttention(2, 4), (query, value), (x, y)),
    ]:
        tensors = layer(*drawn, return_attention_scores=True)
        results = layer(*given, return_attention_scores=True)
        assert [t.shape[1:] for t in tensors] == [r.shape[1:] for r in results]
        assert layer(*drawn).shape == (None, TQ, D)
