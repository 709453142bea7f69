"""The oracle: an LSTM in float64 NumPy, written like the equations."""

import numpy as np


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def lstm(x, kernel, recurrent_kernel, bias=None, h=None, c=None, mask=None, zero_output=False,
         activation=np.tanh, recurrent_activation=sigmoid, dtype=np.float64):
    """x (B,T,I) -> outputs (B,T,U), last output, h, c; weights as Keras's, gates i, f, c, o."""
    x, w, r = (np.asarray(a, dtype) for a in (x, kernel, recurrent_kernel))
    batch, steps, units = x.shape[0], x.shape[1], r.shape[0]
    b = np.zeros(4 * units, dtype) if bias is None else np.asarray(bias, dtype)
    h = np.zeros((batch, units), dtype) if h is None else np.asarray(h, dtype)
    c = np.zeros((batch, units), dtype) if c is None else np.asarray(c, dtype)
    outputs, previous = np.zeros((batch, steps, units), dtype), np.zeros((batch, units), dtype)
    for t in range(steps):
        i, f, g, o = np.split(x[:, t] @ w + h @ r + b, 4, axis=-1)
        i, f, o = recurrent_activation(i), recurrent_activation(f), recurrent_activation(o)
        new_c = f * c + i * activation(g)
        new_h = o * activation(new_c)
        use = np.ones((batch, 1), bool) if mask is None else np.asarray(mask[:, t], bool)[:, None]
        h, c = np.where(use, new_h, h), np.where(use, new_c, c)
        previous = np.where(use, new_h, np.zeros_like(h) if zero_output else previous)
        outputs[:, t] = previous
    return outputs, previous, h, c


def rounding_bound(exact, plain, steps):
    """How far a computation in plain's dtype may lie from float64: oneDNN's bound for an LSTM of so
    many steps (benchdnn), or twice what plain NumPy loses where the weights amplify any rounding."""
    eps = np.finfo(plain.dtype).eps
    stated = 4 * np.ceil(np.log2(9 * max(steps, 1))) * eps * np.maximum(1, np.abs(exact))
    return np.maximum(stated, 2 * np.abs(plain - exact).max(initial=0))


def ulp_error(found, exact):
    """|found - exact| in units in the last place of found's dtype at ``exact`` (float64, not NaN)."""
    info = np.finfo(found.dtype)
    _, exponent = np.frexp(exact)
    ulp = np.ldexp(1.0, np.maximum(exponent - 1, info.minexp) - info.nmant)
    return np.abs(found.astype(np.float64) - exact) / ulp
