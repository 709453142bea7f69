"""The oracle: an LSTM in float64 NumPy, written like the equations."""

import numpy as np


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def lstm(x, kernel, recurrent_kernel, bias=None, h=None, c=None, mask=None, zero_output=False,
         activation=np.tanh, recurrent_activation=sigmoid):
    """x (B,T,I) -> outputs (B,T,U), last output, h, c; weights as Keras's, gates i, f, c, o."""
    x, w, r = (np.asarray(a, np.float64) for a in (x, kernel, recurrent_kernel))
    batch, steps, units = x.shape[0], x.shape[1], r.shape[0]
    b = 0.0 if bias is None else np.asarray(bias, np.float64)
    h = np.zeros((batch, units)) if h is None else np.asarray(h, np.float64)
    c = np.zeros((batch, units)) if c is None else np.asarray(c, np.float64)
    outputs, previous = np.zeros((batch, steps, units)), np.zeros((batch, units))
    for t in range(steps):
        i, f, g, o = np.split(x[:, t] @ w + h @ r + b, 4, axis=-1)
        i, f, o = recurrent_activation(i), recurrent_activation(f), recurrent_activation(o)
        new_c = f * c + i * activation(g)
        new_h = o * activation(new_c)
        use = np.ones((batch, 1), bool) if mask is None else np.asarray(mask[:, t], bool)[:, None]
        h, c = np.where(use, new_h, h), np.where(use, new_c, c)
        previous = np.where(use, new_h, 0.0 if zero_output else previous)
        outputs[:, t] = previous
    return outputs, previous, h, c


def ulp_error(found, exact):
    """|found - exact| in units in the last place of found's dtype at ``exact`` (float64, not NaN)."""
    info = np.finfo(found.dtype)
    _, exponent = np.frexp(exact)
    ulp = np.ldexp(1.0, np.maximum(exponent - 1, info.minexp) - info.nmant)
    return np.abs(found.astype(np.float64) - exact) / ulp
