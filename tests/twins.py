"""A layer of Keras's and ours with the same weights, compared in all that a layer promises."""

from __future__ import annotations

import contextlib
import inspect
import json
import warnings

import numpy as np
import pytest
from test_keras import assert_same
from test_merging import mask_of, with_mask

from fastlstm import FastLSTMError

FLOATS = ("float32", "float64")
#: Values of JSON that no size can be, one of each kind.
NO_SIZE = [0, -1, 2.5, True, "3", {}, [0], [True], [[1]], [1, 2, 3], 2**31, float("nan")]


def twins(keras, layer, input_shape, seed=0, **options):
    """Keras's layer with weights drawn at random, and ours with the same."""
    theirs = getattr(keras.layers, layer.__name__)(**options)
    theirs.build(input_shape)
    rng = np.random.default_rng(seed)
    weights = [0.1 + rng.random(w.shape) if "var" in w.name else rng.standard_normal(w.shape) for w in theirs.weights]
    theirs.set_weights(weights)
    ours = layer(**options)
    ours.build(input_shape)
    assert list(ours.weight_shapes(input_shape).values()) == [tuple(w.shape) for w in theirs.weights]
    assert list(ours.weight_shapes(input_shape)) == [w.name for w in theirs.weights]
    assert [n for n in ours.weight_shapes(input_shape) if n not in ours.non_trainable] == [
        w.name for w in theirs.trainable_weights
    ]
    ours.set_weights(weights)
    return theirs, ours


def compare(keras, layer, x, mask=None, **options):
    """Ours against Keras's: values, shapes with unknown sizes, the mask that travels on, configurations."""
    dtype = options.get("dtype", "float32")
    theirs, ours = twins(keras, layer, x.shape, **options)
    kept = x.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns where a mask ends
        wanted = theirs(with_mask(keras, x, mask))
    found = ours.call(x, mask=mask)
    if np.asarray(wanted).dtype.kind == "f":
        assert_same(found, np.asarray(wanted), dtype)
    else:
        assert found.dtype == np.asarray(wanted).dtype and np.array_equal(found, wanted)
    assert np.array_equal(x, kept, equal_nan=x.dtype.kind == "f")
    check_shapes(theirs, ours, x.shape)
    passed = ours.compute_mask(x, mask) if ours.supports_masking else None
    assert ours.supports_masking == theirs.supports_masking
    assert np.array_equal(passed, mask_of(wanted)) if mask_of(wanted) is not None else passed is None
    check_configs(keras, theirs, ours)
    return ours, found


def check_shapes(theirs, ours, shape):
    for unknown in range(2 ** (len(shape) - 1)):  # every choice of unknown sizes but the last
        some = tuple(None if unknown >> axis & 1 else size for axis, size in enumerate(shape))
        try:
            wanted = tuple(theirs.compute_output_shape(some))
        except (TypeError, ValueError):
            continue
        assert ours.compute_output_shape(some) == wanted


def check_configs(keras, theirs, ours):
    """Configurations go both ways, through JSON too; each names everything that Keras's does."""
    layer, config = type(ours), theirs.get_config()
    written = json.dumps(ours.get_config())
    assert json.dumps(layer.from_config(json.loads(written)).get_config()) == written
    assert set(config) - set(ours.get_config()) <= {"activity_regularizer"}
    back = type(theirs).from_config(layer.from_config(config).get_config())
    for key, value in type(theirs).from_config(config).get_config().items():
        assert back.get_config()[key] == value, key


def check_signature(keras, layer):
    theirs = inspect.signature(getattr(keras.layers, layer.__name__).__init__).parameters.values()
    ours = list(inspect.signature(layer.__init__).parameters.values())
    names = [p.name for p in theirs if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in ours][: len(names)] == names
    given = {p.name: p.default for p in ours}
    for p in theirs:
        if p.kind is p.POSITIONAL_OR_KEYWORD:  # Keras writes some sizes as a pair
            assert given[p.name] == p.default or (given[p.name],) * 2 == p.default, p.name


def check_hostile(layer, good, argument, values=NO_SIZE):
    for value in values:
        with pytest.raises(FastLSTMError, match=rf"{layer.__name__} .*{argument}"):
            layer(**{**good, argument: value})


def check_json(layer, good):
    """Whatever JSON an argument holds, a layer is made or refused; one that was made can be used or refuses."""
    values = [None, True, False, 0, -1, 2, 1e300, float("nan"), float("inf"), 10**400, "", "x", "same", "relu", "zeros"]
    values += [[], {}, [[]], [None], ["a"], [[1], 2], {"a": 1}, {"class_name": []}, {"class_name": "x", "config": {}}]
    arguments = [p for p in inspect.signature(layer.__init__).parameters if p not in ("self", "kwargs")]
    for argument in arguments:
        for value in values:
            try:
                made = layer(**{**good, argument: value})
                json.dumps(made.get_config())
                layer.from_config(made.get_config())
                for shape in [(), (3,), (None, 6), (None, None, 6), (2, 0, 0), (None, 4, 5, 6), ((None, 6), (None, 6))]:
                    with contextlib.suppress(FastLSTMError):
                        made.weight_shapes(shape)
                    with contextlib.suppress(FastLSTMError):
                        made.compute_output_shape(shape)
            except FastLSTMError as error:
                assert len(str(error)) > 20
