"""The cells that only tf.contrib had: their equations in float64, and the figures of TensorFlow's own tests."""

import numpy as np
import pytest
from tf1_oracle import assert_within_rounding, flat

from fastlstm import FastLSTMError, UnsupportedLayerError, tf1
from fastlstm.layouts import keras_to_cudnn


def drawn_variables(rng, cell, features, dtype="float32"):
    """Variables that keep sums near 1 and gains near 1."""
    found = {}
    for name, shape in cell.variable_shapes(features).items():
        kernel = name in ("kernel", "W_0", "W_P_0")
        found[name] = rng.standard_normal(shape) * (shape[0] ** -0.5 if kernel else 0.5) + name.endswith("gamma")
    return {name: value.astype(dtype) for name, value in found.items()}


def normed(x, gamma, beta):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + x.dtype.type(1e-12)) * gamma + beta


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def contrib_steps(cell, variables, x, c, h, dtype):
    """LayerNormBasicLSTMCell or CoupledInputForgetGateLSTMCell over (batch, steps, features), by their equations."""
    v = {name: value.astype(dtype) for name, value in variables.items()}
    x, c, h = (a.astype(dtype) for a in (x, c, h))
    coupled = "W_0" in v
    norm = (lambda z, scope: normed(z, v[f"{scope}/gamma"], v[f"{scope}/beta"])) if cell.layer_norm else lambda z, _: z
    names = ("transform", "forget", "output") if coupled else ("input", "transform", "forget", "output")
    outputs = []
    for t in range(x.shape[1]):
        z = np.concatenate([x[:, t], h], axis=1) @ v["W_0" if coupled else "kernel"]
        z = z if cell.layer_norm else z + v["B" if coupled else "bias"]
        z = {name: norm(part, name) for name, part in zip(names, np.split(z, len(names), axis=1), strict=True)}
        f = sigmoid(z["forget"] + dtype(cell.forget_bias) + v.get("W_F_diag", dtype(0)) * c)
        i = 1 - f if coupled else sigmoid(z["input"])
        c = norm(f * c + i * np.tanh(z["transform"]), "state")
        h = sigmoid(z["output"] + v.get("W_O_diag", dtype(0)) * c) * np.tanh(c)
        if "W_P_0" in v:
            h = h @ v["W_P_0"]
            h = h if cell.bound is None else np.clip(h, -cell.bound, cell.bound)
        outputs.append(h)
    return np.stack(outputs, axis=1), (c, h)


def drawn_contrib(rng):
    units = int(rng.integers(2, 20))
    options = {"layer_norm": rng.random() < 0.5, "forget_bias": float(rng.choice([1, 0, -0.5]))}
    if rng.random() < 0.5:
        return tf1.LayerNormBasicLSTMCell(units, **options), None
    if not options["layer_norm"]:
        options["use_peepholes"] = rng.random() < 0.5
    bound = None
    if rng.random() < 0.5:
        bound = None if rng.random() < 0.5 else float(rng.uniform(0.1, 0.5))
        options |= {"num_proj": int(rng.integers(1, 12)), "proj_clip": bound}
    return tf1.CoupledInputForgetGateLSTMCell(units, **options), bound


def test_two_hundred_drawn_cells_of_contrib():
    rng = np.random.default_rng(63)
    for _ in range(200):
        cell, cell.bound = drawn_contrib(rng)
        batch, steps, features = (int(n) for n in rng.integers(1, 9, 3))
        variables = drawn_variables(rng, cell, features)
        cell.set_weights(variables)
        x, c, h = (
            rng.standard_normal(s).astype("float32")
            for s in ((batch, steps, features), (batch, cell.num_units), (batch, cell.output_size))
        )
        exact, plain = (contrib_steps(cell, variables, x, c, h, dtype) for dtype in (np.float64, np.float32))
        found = tf1.dynamic_rnn(cell, x, initial_state=(c, h))
        assert_within_rounding(found, exact, plain, steps, 2 if cell.layer_norm else 1)


def filled(cell, features, value):
    """A cell with variables of one value, but for what its source begins with another."""
    cell.build((None, features))
    keep = ("gamma", "beta", "B")
    shapes = zip(cell.weight_names, cell.get_weights(), strict=True)
    cell.set_weights([a if n.rpartition("/")[2] in keep else np.full_like(a, value) for n, a in shapes])
    return cell


def test_the_figures_of_tensorflows_own_tests():
    ones, tenths = np.ones((1, 2)), lambda *values: 0.1 * np.array([values])
    states = ((tenths(0, 1), tenths(2, 3)), (tenths(4, 5), tenths(6, 7)))
    figures = {
        True: ([-0.38079708, 0.38079708], [[-1, 1], [-0.38079708, 0.38079708], [-1, 1], [-0.38079708, 0.38079708]]),
        False: (
            [0.70230919, 0.72581059],
            [[0.8020075, 0.89599884], [0.56668288, 0.60858738], [1.17500675, 1.26892781], [0.70230919, 0.72581059]],
        ),
    }
    for layer_norm, (wanted, wanted_states) in figures.items():
        cells = [filled(tf1.LayerNormBasicLSTMCell(2, layer_norm=layer_norm), 2, 0.5) for _ in range(2)]
        y, after = tf1.MultiRNNCell(cells)(ones, states)
        assert np.allclose(y, [wanted], rtol=1e-5, atol=0) and np.allclose(np.concatenate(flat(after)), wanted_states)
    coupled = filled(tf1.CoupledInputForgetGateLSTMCell(2, forget_bias=1.0, state_is_tuple=False), 4, 0.5)
    y, state = coupled(np.repeat([[1.0], [2.0], [3.0]], 4, axis=1), np.full((3, 4), 0.1))
    h, c = np.array([0.121753, 0.103349, 0.100178]), np.array([0.137523, 0.105450, 0.100742])
    assert np.allclose(y, np.stack([h, h], 1), rtol=1e-5) and np.allclose(state, np.stack([c, c, h, h], 1), rtol=1e-5)


def test_normalised_gates_with_peepholes_are_refused():
    with pytest.raises(UnsupportedLayerError, match="use_peepholes and layer_norm"):
        tf1.CoupledInputForgetGateLSTMCell(3, use_peepholes=True, layer_norm=True)


# -- CudnnLSTM --------------------------------------------------------------------------------------


def drawn_canonical(rng, layers, directions, units, features):
    weights, biases = [], []
    for layer in range(layers):
        width = features if layer == 0 else directions * units
        for _ in range(directions):
            kernels = [rng.standard_normal((rows, 4 * units)) * rows**-0.5 for rows in (width, units)]
            weights += keras_to_cudnn(*kernels).weights
            biases += list(rng.standard_normal((8, units)) / 4)
    return weights, biases


def cudnn_steps(weights, biases, x, h, c, lengths):
    """One layer in one direction over (steps, batch, features): z = W x + R h + both biases, for i, f, c, o."""
    outputs = []
    for t in range(len(x)):
        z = [x[t] @ weights[g].T + h @ weights[g + 4].T + biases[g] + biases[g + 4] for g in range(4)]
        i, f, o = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[3])
        new_c = f * c + i * np.tanh(z[2])
        on = (t < lengths)[:, None]
        h, c = np.where(on, o * np.tanh(new_c), h), np.where(on, new_c, c)
        outputs.append(np.where(on, h, 0))
    return np.stack(outputs), h, c


def cudnn_oracle(canonical, layers, directions, x, states, lengths, dtype):
    weights, biases = ([np.asarray(a, dtype) for a in part] for part in canonical)
    x, h0, c0 = (np.asarray(a, dtype) for a in (x, *states))
    turned = np.array([[max(n - 1 - t, 0) if t < n else t for n in lengths] for t in range(len(x))])
    turn = lambda a: np.take_along_axis(a, turned[:, :, None], 0)  # noqa: E731
    after = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            n = layer * directions + direction
            own = weights[8 * n : 8 * n + 8], biases[8 * n : 8 * n + 8]
            y, *state = cudnn_steps(*own, turn(x) if direction else x, h0[n], c0[n], lengths)
            outputs.append(turn(y) if direction else y)
            after.append(state)
        x = np.concatenate(outputs, -1)
    return x, [np.stack(part) for part in zip(*after, strict=True)]


@pytest.mark.parametrize("direction", ["unidirectional", "bidirectional"])
def test_cudnns_layers_with_canonical_weights(rng, direction):
    directions = 2 if direction == "bidirectional" else 1
    for layers in (1, 3):
        module = tf1.CudnnLSTM(layers, 5, direction=direction)
        canonical = drawn_canonical(rng, layers, directions, 5, 4)
        module.set_canonical(*canonical)
        x, lengths = rng.standard_normal((7, 3, 4)).astype("float32"), np.array([7, 2, 0])
        states = rng.standard_normal((2, layers * directions, 3, 5)).astype("float32")
        exact, plain = (
            cudnn_oracle(canonical, layers, directions, x, states, lengths, d) for d in (np.float64, np.float32)
        )
        found, (h, c) = module(x, tuple(states), lengths)
        assert_within_rounding([found, h, c], exact, plain, 7)
        batch_first = module(x.swapaxes(0, 1), tuple(states.swapaxes(1, 2)), lengths, time_major=False)
        assert np.array_equal(batch_first[0].swapaxes(0, 1), found)
        assert all(np.array_equal(a.swapaxes(0, 1), b) for a, b in zip(batch_first[1], (h, c), strict=True))
        everything = module(x)
        nothing = module(x, tuple(np.zeros_like(states)), [7, 7, 7])
        assert all(np.array_equal(a, b) for a, b in zip(flat(everything), flat(nothing), strict=True))

        weights, biases = module.canonical()
        assert all(np.array_equal(a, b) for a, b in zip(weights, canonical[0], strict=True))
        twin = tf1.CudnnLSTM(layers, 5, direction=direction)
        twin.set_canonical(weights, biases)
        assert np.array_equal(twin(x)[0], everything[0])


def test_what_cudnn_cannot_be_told_is_refused(rng):
    with pytest.raises(UnsupportedLayerError, match="input_mode"):
        tf1.CudnnLSTM(1, 2, input_mode="skip_input")
    wrong = {"num_layers": 0, "num_units": "2", "direction": "both", "unknown": 1, "dtype": "int8"}
    for name, value in wrong.items():
        with pytest.raises(FastLSTMError, match=name):
            tf1.CudnnLSTM(**{"num_layers": 1, "num_units": 2, name: value})
    module, x = tf1.CudnnLSTM(2, 3), np.zeros((4, 2, 5), np.float32)
    with pytest.raises(FastLSTMError, match="16"):
        module.set_canonical(*drawn_canonical(rng, 1, 1, 3, 5))
    for wrong in ((x, 3), (x, (x, x)), (x[0],), (x, None, [5, 1])):
        with pytest.raises(FastLSTMError):
            module(*wrong)
