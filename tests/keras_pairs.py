"""Recurrent layers of Keras beside ours with the same weights, and what holds for every class of them."""

import inspect

import numpy as np
import pytest
from test_keras import as_list, assert_same

import fastlstm

#: Activations that no recurrence can make run away.
BOUNDED = ("tanh", "sigmoid", "softsign", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax", "hard_tanh")


def pair(keras, name, cls, features, batch=None, isa=None, **options):
    """Keras's layer with fresh weights, the same at every run of the tests, and ours with them."""
    keras.utils.set_random_seed(options["units"])
    theirs = getattr(keras.layers, name)(**options)
    theirs.build((batch, None, features))
    rng = np.random.default_rng(theirs.units)
    theirs.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in theirs.get_weights()])
    ours = cls(isa=isa, **options)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def roundings_lost(keras, layer, x, arguments):
    """What Keras's own float32 loses against its float64 on this case, in float32 roundings."""
    results = []
    for dtype in ("float32", "float64"):
        twin = type(layer).from_config({**layer.get_config(), "dtype": dtype})
        twin.build((None, None, x.shape[-1]))
        twin.set_weights(layer.get_weights())
        results.append(as_list(twin(x.astype(dtype), **arguments)))
    return max(float(np.abs(a - b).max(initial=0)) for a, b in zip(*results, strict=True)) / np.finfo("float32").eps


def assert_drawn_layers_are_kerass(keras, name, cls, drawn_options, count, seed, isas):
    rng = np.random.default_rng(seed)
    for number in range(count):
        options = drawn_options(rng)
        batch, steps, features = (int(n) for n in (rng.integers(1, 9), rng.integers(1, 8), rng.integers(1, 20)))
        theirs, ours = pair(keras, name, cls, features, isa=isas[number % len(isas)], **options)
        dtype = options["dtype"]
        x = rng.standard_normal((batch, steps, features)).astype(dtype)
        arguments = {}
        if rng.random() < 0.5:
            arguments["mask"] = rng.random((batch, steps)) < rng.choice([0.2, 0.5, 0.8])
        if rng.random() < 0.5:
            state = rng.standard_normal((batch, options["units"])).astype(dtype)
            arguments["initial_state"] = state if rng.random() < 0.5 else [state]
        bounded = options["activation"] == "tanh" and options.get("recurrent_activation", "sigmoid") == "sigmoid"
        amplified = 0.0 if bounded else 8 * roundings_lost(keras, theirs, x, arguments)
        try:
            assert_same(ours(x, **arguments), theirs(x, **arguments), dtype, amplified)
        except AssertionError as error:
            raise AssertionError(f"{options} {sorted(arguments)} {x.shape}: {error}") from error


def assert_mask_patterns_are_kerass(keras, name, cls, **more):
    """All 16 patterns of four steps, under all options that a mask meets."""
    patterns = np.array([[(n >> t) & 1 for t in range(4)] for n in range(16)], bool)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((16, 4, 3)).astype(np.float32)
    state = rng.standard_normal((16, 5)).astype(np.float32)
    for number in range(64):
        names = ("return_sequences", "return_state", "go_backwards", "unroll", "zero_output_for_mask")
        options = {name: bool(number >> k & 1) for k, name in enumerate(names)}
        theirs, ours = pair(keras, name, cls, 3, units=5, **options, **more)
        initial = state if number >> 5 else None
        assert_same(ours(x, mask=patterns, initial_state=initial), theirs(x, mask=patterns, initial_state=initial))


def assert_stateful_is_kerass(keras, name, cls, **more):
    rng = np.random.default_rng(5)
    theirs, ours = pair(keras, name, cls, 3, batch=4, units=6, stateful=True, return_state=True, **more)
    blocks = rng.standard_normal((4, 4, 5, 3)).astype(np.float32)
    assert_same(ours(blocks[0]), theirs(blocks[0]))
    assert_same(ours(blocks[1]), theirs(blocks[1]))
    given = rng.standard_normal((4, 6)).astype(np.float32)
    assert_same(ours(blocks[2], initial_state=given), theirs(blocks[2], initial_state=given))
    assert_same(ours(blocks[3]), theirs(blocks[3]))  # goes on from what the given state led to
    assert_same(ours.states, theirs.states)
    ours.reset_state()
    theirs.reset_state()
    assert_same(ours(blocks[0]), theirs(blocks[0]))
    with pytest.raises(fastlstm.FastLSTMError, match="stateful: sequences has batch 3; expected 4"):
        ours(blocks[0][:3])
    assert_same(ours(blocks[1]), theirs(blocks[1]))  # the refused call changed nothing


def assert_cell_is_kerass(keras, name, cls, **options):
    rng = np.random.default_rng(7)
    x, state = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (3, 7)))
    for activation in ("tanh", "relu"):
        theirs, ours = (c(7, activation=activation, **options) for c in (getattr(keras.layers, name), cls))
        theirs.build((None, 4))
        ours.set_weights(theirs.get_weights())
        assert ours.state_size == theirs.state_size and ours.output_size == theirs.output_size
        for given in (state, [state]):
            (output, new), (wanted, wanted_new) = ours(x, given), theirs(x, given)
            assert_same(output, wanted)
            assert isinstance(new, list) == isinstance(wanted_new, list)
            assert_same(new, wanted_new)
        assert_same(ours.get_initial_state(3), theirs.get_initial_state(3))
        assert ours.get_config().keys() == theirs.get_config().keys()
        assert type(theirs).from_config(ours.get_config()).get_config() == theirs.get_config() | {"name": ours.name}


def assert_signatures_are_kerass(keras, classes):
    for name, cls in classes.items():
        theirs = inspect.signature(getattr(keras.layers, name).__init__).parameters
        ours = inspect.signature(cls.__init__).parameters
        shared = [p for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert [p.name for p in shared] == [p.name for p in ours.values()][: len(shared)]
        assert all(p.default == ours[p.name].default for p in shared)
