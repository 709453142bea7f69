"""Bidirectional equals live Keras in every merge mode, with masks, states and unlike layers."""

import itertools

import numpy as np
import pytest
from test_keras import assert_same

import fastlstm
from fastlstm import FastLSTMError
from fastlstm.layers import Bidirectional

MERGES = ["concat", "sum", "mul", "ave", None]


def pair(keras, merge_mode, backward=None, batch=None, **options):
    """Keras's layer with drawn weights, and ours with the same."""
    layers = []
    for kind in (keras.layers, fastlstm.layers):
        other = kind.LSTM(go_backwards=True, **{**options, **backward}) if backward is not None else None
        layers.append(kind.Bidirectional(kind.LSTM(**options), merge_mode=merge_mode, backward_layer=other))
    theirs, ours = layers
    theirs.build((batch, None, 3))
    rng = np.random.default_rng(1)
    theirs.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    return theirs, ours


@pytest.mark.parametrize("merge_mode", MERGES)
def test_every_option_in_every_merge_mode(keras, rng, merge_mode):
    names = ("return_sequences", "return_state", "go_backwards", "unroll")
    for number, masked, started in itertools.product(range(16), (False, True), (False, True)):
        options = {name: bool(number >> k & 1) for k, name in enumerate(names)}
        if options.pop("go_backwards"):
            options["backward"] = {"go_backwards": False}
            options["go_backwards"] = True
        backward = options.pop("backward", None)
        if backward is not None:
            theirs, ours = twisted(keras, merge_mode, **options)
        else:
            theirs, ours = pair(keras, merge_mode, units=5, **options)
        x = rng.standard_normal((4, 6, 3)).astype(np.float32)
        arguments = {}
        if masked:
            arguments["mask"] = rng.random((4, 6)) < 0.6
        if started:
            arguments["initial_state"] = [rng.standard_normal((4, 5)).astype(np.float32) for _ in range(4)]
        assert_same(ours(x, **arguments), theirs(x, **arguments))


def twisted(keras, merge_mode, go_backwards, **options):
    """The forward layer reads backwards, the backward layer forwards."""
    layers = [
        kind.Bidirectional(
            kind.LSTM(5, go_backwards=True, **options), merge_mode=merge_mode, backward_layer=kind.LSTM(5, **options)
        )
        for kind in (keras.layers, fastlstm.layers)
    ]
    theirs, ours = layers
    theirs.build((None, None, 3))
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def test_unlike_layers(keras, rng):
    x = rng.standard_normal((3, 5, 3)).astype(np.float32)
    unlike = {"units": 7, "activation": "relu", "recurrent_activation": "hard_sigmoid", "use_bias": False}
    for merge_mode in ("concat", None):
        theirs, ours = pair(keras, merge_mode, unlike, units=4, return_sequences=True)
        assert_same(ours(x), theirs(x))
    _, ours = pair(keras, "concat", unlike, units=4)
    ours.merge_mode = "sum"
    with pytest.raises(FastLSTMError, match="needs equal units; found 4 forward and 7 backward"):
        ours(x)


def test_stateful(keras, rng):
    theirs, ours = pair(keras, "concat", batch=2, units=4, stateful=True)
    x = rng.standard_normal((3, 2, 5, 3)).astype(np.float32)
    for block in x:
        assert_same(ours(block), theirs(block))
    ours.reset_state()
    theirs.forward_layer.reset_state()
    theirs.backward_layer.reset_state()
    assert_same(ours(x[0]), theirs(x[0]))


@pytest.mark.parametrize(("outer", "inner"), [("float32", "float64"), ("float64", "float32")])
def test_the_layers_inside_keep_their_dtype(keras, rng, outer, inner):
    theirs, ours = (
        kind.Bidirectional(kind.LSTM(5, dtype=inner, return_sequences=True, return_state=True), dtype=outer)
        for kind in (keras.layers, fastlstm.layers)
    )
    theirs.build((None, None, 3))
    ours.set_weights(theirs.get_weights())
    sides = (ours.forward_layer, ours.backward_layer)
    assert {w.dtype.name for side in sides for w in side.get_weights()} == {inner}  # before anything runs in another
    x = rng.standard_normal((2, 6, 3)).astype(np.float32)
    for found, wanted in zip(ours(x), map(np.asarray, theirs(x)), strict=True):
        assert found.dtype == wanted.dtype
        coarsest = "float32" if "float32" in (inner, found.dtype.name) else "float64"  # of what is on the way
        assert_same(found.astype(coarsest), wanted.astype(coarsest), coarsest)


def test_configurations_shapes_and_masks(keras):
    for merge_mode, number in itertools.product(MERGES, range(4)):
        options = {"return_sequences": bool(number & 1), "return_state": bool(number & 2)}
        theirs, ours = pair(keras, merge_mode, units=4, **options)
        assert ours.compute_output_shape((2, 6, 3)) == theirs.compute_output_shape((2, 6, 3)) or merge_mode is None
        assert ours.count_params() == theirs.count_params()
        again = Bidirectional.from_config(theirs.get_config())
        again.set_weights(theirs.get_weights())
        x = np.ones((2, 6, 3), np.float32)
        assert_same(again(x), theirs(x))
        back = keras.layers.Bidirectional.from_config(ours.get_config())
        assert back.merge_mode == merge_mode and back.forward_layer.name == ours.forward_layer.name
        assert back.backward_layer.name == theirs.backward_layer.name.replace(
            theirs.forward_layer.name.removeprefix("forward_"), ours.forward_layer.name.removeprefix("forward_")
        )


def test_wrong_arguments_are_named():
    lstm = fastlstm.LSTM(4)
    for arguments, message in (
        ({"layer": fastlstm.layers.Dense(3)}, "layer is .*expected an LSTM"),
        ({"layer": lstm, "merge_mode": "max"}, "merge_mode is 'max'"),
        ({"layer": lstm, "backward_layer": fastlstm.LSTM(4)}, "both layers have go_backwards=False"),
        (
            {"layer": lstm, "backward_layer": fastlstm.LSTM(4, go_backwards=True, return_sequences=True)},
            "return_sequences is False forward and True backward",
        ),
    ):
        with pytest.raises(FastLSTMError, match=message):
            Bidirectional(**arguments)
    with pytest.raises(FastLSTMError, match="initial_state has 2 arrays; expected 4"):
        Bidirectional(lstm)(np.ones((2, 3, 3)), initial_state=[np.ones((2, 4))] * 2)


def test_weights_given_to_the_constructor(rng):
    weights = [rng.standard_normal(s) for s in ((3, 16), (4, 16), (16,)) * 2]
    layer = Bidirectional(fastlstm.LSTM(4), weights=weights)
    layer.build((None, None, 3))
    for found, wanted in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_a_model_of_bidirectional_layers(rng):
    model = fastlstm.Sequential([
        fastlstm.layers.InputLayer(shape=(None, 3)),
        Bidirectional(fastlstm.LSTM(4, return_sequences=True)),
        Bidirectional(fastlstm.LSTM(5), merge_mode="sum"),
        fastlstm.layers.Dense(2),
    ])  # fmt: skip
    assert model.output_shape == (None, 2)
    assert model.predict(rng.standard_normal((3, 7, 3)), verbose=0).shape == (3, 2)
