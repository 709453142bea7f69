"""Dense layers: the same kernels, the same promises."""

import copy
import pickle
import threading

import numpy as np
import pytest
from reference import sigmoid

from fastlstm import FastLSTMError, _core, activations
from fastlstm.layers import Dense


def plan_of(rng, features, units, isa, dtype=np.float32, activation="linear", bias=True):
    kernel = (rng.uniform(-1, 1, (features, units)) / np.sqrt(features)).astype(dtype)
    b = rng.uniform(-1, 1, units).astype(dtype) if bias else None
    return kernel, b, _core.DensePlan(kernel, b, activations.get(activation, "test").number, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_shape_equals_float64(isa, dtype, rng):
    for number, units in enumerate([*range(1, 70), 100, 127, 128, 129, 300]):
        features = int(rng.choice([1, 2, 7, 31, 32, 33, 64, 100, 511, 513]))
        rows = int(rng.choice([0, 1, 2, 3, 5, 6, 7, 13, 48, 49, 97]))
        kernel, bias, plan = plan_of(rng, features, units, isa, dtype, bias=number % 3 > 0)
        x = rng.standard_normal((rows, features)).astype(dtype)
        exact = x.astype(np.longdouble) @ kernel.astype(np.longdouble) + (0 if bias is None else bias)
        found = plan.run(x)
        assert found.shape == (rows, units) and found.dtype == dtype
        # chains of 32 terms, then one of their sums; each term at most |x| |w|
        bound = (34 + features / 32) * np.finfo(dtype).eps * (np.abs(x) @ np.abs(kernel) + 1)
        assert (np.abs(found - exact) <= bound).all(), (rows, features, units)


def test_a_row_does_not_depend_on_its_batch(isa, rng):
    for features, units in ((5, 1), (40, 33), (600, 10)):
        _, _, plan = plan_of(rng, features, units, isa)
        x = rng.standard_normal((101, features)).astype(np.float32)
        alone = np.concatenate([plan.run(row[None]) for row in x])
        for rows in (2, 3, 5, 6, 48, 50, 101):
            assert np.array_equal(plan.run(x[:rows]), alone[:rows])


def test_fused_kernels_agree_bit_for_bit(rng):
    runnable = [name for name, runs, fused in _core.kernels() if runs and fused]
    kernel = rng.standard_normal((70, 41)).astype(np.float32)
    x = rng.standard_normal((9, 70)).astype(np.float32)
    number = activations.get("sigmoid", "test").number
    results = [_core.DensePlan(kernel, None, number, isa).run(x) for isa in runnable]
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("name", ["sigmoid", "relu", "softmax", "tanh"])
def test_activations_act_on_the_outputs_alone(isa, name, rng):
    for units in (1, 3, 10, 21):
        kernel, bias, plan = plan_of(rng, 6, units, isa, activation=name)
        x = rng.standard_normal((50, 6)).astype(np.float32)
        z = x.astype(np.float64) @ kernel + bias
        e = np.exp(z - z.max(axis=1, keepdims=True))
        wanted = {"sigmoid": sigmoid(z), "relu": np.maximum(z, 0), "tanh": np.tanh(z), "softmax": e / e.sum(1)[:, None]}
        np.testing.assert_allclose(plan.run(x), wanted[name], atol=2e-6)


def test_nan_and_infinity_reach_only_their_row(isa, rng):
    _, _, plan = plan_of(rng, 6, 5, isa)
    x = rng.standard_normal((4, 6)).astype(np.float32)
    wanted = plan.run(x)
    x[1, 2], x[2, 3] = np.nan, np.inf
    found = plan.run(x)
    assert np.isnan(found[1]).all() and np.isinf(found[2]).all()
    assert np.array_equal(found[[0, 3]], wanted[[0, 3]])


def test_any_rank_layout_and_dtype(rng):
    layer = Dense(5)
    layer.set_weights([rng.integers(-3, 4, (4, 5)), rng.integers(-3, 4, 5)])
    x = rng.integers(-5, 6, (2, 3, 7, 4)).astype(np.float32)
    kernel, bias = layer.get_weights()
    wanted = (x.astype(np.float64) @ kernel + bias).astype(np.float32)  # whole numbers: exact
    swapped, reversed_ = x.astype(">f4"), x[:, ::-1].copy()[:, ::-1]
    for same in (x, np.asfortranarray(x), swapped, reversed_, x.astype(int), x.astype(np.float64), x.tolist()):
        found = layer(same)
        assert found.dtype == np.float32 and np.array_equal(found, wanted)
    assert layer(np.zeros((0, 4))).shape == (0, 5)
    for wrong in (np.zeros(4), np.zeros((2, 5))):
        with pytest.raises(FastLSTMError, match="expected two axes or more, the last of size 4"):
            layer(wrong)


def test_layers_can_be_copied_pickled_and_given_new_weights(rng):
    layer = Dense(5, activation="relu")
    x = rng.standard_normal((3, 4)).astype(np.float32)
    wanted = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(twin(x), wanted)
    layer.set_weights([-w for w in layer.get_weights()])
    assert not np.array_equal(layer(x), wanted)


def test_many_threads_share_a_layer(rng):
    layer = Dense(300)
    inputs = [rng.standard_normal((64, 200)).astype(np.float32) for _ in range(6)]
    wanted, wrong = [layer(x) for x in inputs], []

    def work(n):
        for _ in range(50):
            if not np.array_equal(layer(inputs[n]), wanted[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
