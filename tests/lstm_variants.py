"""LSTMs with every option beyond Keras's, drawn, and their oracle in float64 NumPy, written like the equations."""

import numpy as np
from reference import over_steps, sigmoid

from fastlstm.activations import Curve
from fastlstm.layers import LSTM

PLAIN = {
    "tanh": np.tanh, "sigmoid": sigmoid, "relu": lambda x: np.maximum(x, 0), "linear": lambda x: x,
    "softsign": lambda x: x / (1 + np.abs(x)), "softplus": lambda x: np.logaddexp(0, x),
}  # fmt: skip
CURVES = {
    "affine": lambda x, a, b: a * x + b,
    "leaky_relu": lambda x, a, b: np.where(x < 0, a * x, x),
    "thresholded_relu": lambda x, a, b: np.where(x > a, x, 0),
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
    "celu": lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0) / a), x),
    "soft_shrink": lambda x, a, b: np.sign(x) * np.maximum(np.abs(x) - a, 0),
    "hard_shrink": lambda x, a, b: np.where(np.abs(x) > a, x, 0),
    "squareplus": lambda x, a, b: (x + np.sqrt(x * x + a)) / 2,
}
BOUNDED = ("sigmoid", "tanh", "softsign", "hard_sigmoid", "scaled_tanh")  # for gates: others let states explode
SMOOTH = ("affine", "leaky_relu", "scaled_tanh", "hard_sigmoid", "elu", "celu", "soft_shrink", "squareplus")


def function_of(activation):
    """An activation of ours as a NumPy function."""
    if isinstance(activation, Curve):
        config = activation.name["config"]
        return lambda x: CURVES[config["name"]](x, config["alpha"], config["beta"])
    return PLAIN[activation.name]


def clipped(x, most):
    return x if most is None else np.clip(x, -most, most)


def normed(x, epsilon, scale, offset):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + epsilon) * scale + offset


def oracle(layer, x, states=None, mask=None, dtype=np.float64):
    """(outputs (B,T,P), last output, h, c, gates: i, f, g, o, c of every step) in the order of processing."""
    v, w = layer.variant, {name: array.astype(dtype) for name, array in layer.arrays.items()}
    gate, candidate = function_of(layer.recurrent_activation), function_of(layer.activation)
    output = function_of(v.output_activation or layer.activation)
    names = [n for n in "ifco" if n != {None: "", "input": "i", "forget": "f"}[v.coupled_gates]]
    parts = {n: slice(k * layer.units, (k + 1) * layer.units) for k, n in enumerate(names)}
    bias = w.get("bias", np.zeros(len(names) * layer.units, dtype))
    peepholes = dict(zip("ifo", w.get("peephole_kernel", np.zeros((3, layer.units), dtype)), strict=True))
    trace = []

    def opened(name, z, c):
        z = z + peepholes[name] * c if name != "c" else z
        if v.layer_norm:
            z = normed(z, v.norm_epsilon, w["norm_scale"][parts[name]], bias[parts[name]])
        else:
            z = z + bias[parts[name]]
        return (candidate if name == "c" else gate)(clipped(z, v.input_clip))

    def step(x, h, c):
        sums = x @ w["kernel"] + h @ w["recurrent_kernel"]
        z = {name: sums[:, part] for name, part in parts.items()}
        f = opened("f", z["f"], c) if "f" in z else None
        i = opened("i", z["i"], c) if "i" in z else 1 - f
        f = 1 - i if f is None else f
        g = opened("c", z["c"], c)
        c = clipped(f * c + i * g, v.cell_clip)
        if v.layer_norm == "gates_and_state":
            c = normed(c, v.norm_epsilon, w["state_norm_scale"], w["state_norm_offset"])
        o = opened("o", z["o"], c)
        trace.append((i, f, g, o, c))
        h = o * output(c)
        if v.projection:
            h = clipped(h @ w["projection_kernel"] + w.get("projection_bias", 0), v.projection_clip)
        return h, c

    x = np.asarray(x, dtype)
    if layer.go_backwards:
        x, mask = x[:, ::-1], None if mask is None else np.asarray(mask)[:, ::-1]
    widths = (layer.output_size, layer.units)
    states = [np.zeros((len(x), width), dtype) for width in widths] if states is None else states
    found = over_steps(step, x, [np.asarray(s, dtype) for s in states], mask, layer.zero_output_for_mask)
    used = np.ones(x.shape[:2], bool) if mask is None else np.asarray(mask, bool)
    gates = [np.stack(part, 1) * used[..., None] if trace else np.zeros((*x.shape[:2], layer.units))
             for part in (zip(*trace, strict=True) if trace else [()] * 5)]  # fmt: skip
    return (*found, gates)


def weights_for(rng, layer, features):
    """Drawn weights that keep sums near 1."""
    shapes = layer.weight_shapes((None, None, features))
    rows = {"kernel": features, "recurrent_kernel": layer.output_size, "projection_kernel": layer.units}
    drawn = [rng.uniform(-1, 1, shape) * rows.get(name, 1) ** -0.5 for name, shape in shapes.items()]
    return [a + 1 if name in ("norm_scale", "state_norm_scale") else a for name, a in zip(shapes, drawn, strict=True)]


def drawn_activation(rng, names=(*PLAIN, *SMOOTH)):
    name = str(rng.choice(names))
    return Curve(name, *(float(p) for p in rng.uniform(0.2, 0.9, 2))) if name in CURVES else name


def drawn_options(rng):
    """Some of the options, each about every second or third time."""
    sometimes = lambda value, share=0.4: value if rng.random() < share else None  # noqa: E731
    options = {
        "peepholes": rng.random() < 0.5,
        "coupled_gates": sometimes(str(rng.choice(["input", "forget"]))),
        "layer_norm": sometimes(str(rng.choice(["gates", "gates_and_state"])), 0.25),
        "norm_epsilon": float(rng.choice([1e-5, 1e-3])),
        "input_clip": sometimes(float(rng.uniform(0.3, 2)), 0.3),
        "cell_clip": sometimes(float(rng.uniform(0.2, 1)), 0.3),
        "output_activation": sometimes(drawn_activation(rng), 0.3),
    }
    if rng.random() < 0.5:
        options |= {"projection": int(rng.integers(1, 70)), "projection_bias": rng.random() < 0.5,
                    "projection_clip": sometimes(float(rng.uniform(0.1, 1)))}  # fmt: skip
    if rng.random() < 0.4:
        options |= {"activation": drawn_activation(rng), "recurrent_activation": drawn_activation(rng, BOUNDED)}
    return options


def variant_of(rng, features, units, **options):
    """An LSTM with these options, its weights drawn."""
    layer = LSTM(units, **options)
    layer.set_weights(weights_for(rng, layer, features))
    return layer
