"""The oracle: LSTM, GRU and simple RNN in float64 NumPy, written like the equations."""

import numpy as np


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def over_steps(step, x, states, mask, zero_output):
    """Outputs (B,T,U), the last one and the states of a step (x, *states) -> new states, the first the output."""
    batch, steps = x.shape[:2]
    previous = np.zeros_like(states[0])
    outputs = np.zeros((batch, steps, previous.shape[1]), x.dtype)
    for t in range(steps):
        new = step(x[:, t], *states)
        use = np.ones((batch, 1), bool) if mask is None else np.asarray(mask[:, t], bool)[:, None]
        states = [np.where(use, n, s) for n, s in zip(new, states, strict=True)]
        previous = np.where(use, new[0], np.zeros_like(previous) if zero_output else previous)
        outputs[:, t] = previous
    return outputs, previous, *states


def as_arrays(dtype, x, w, r, b, *states):
    """All in one dtype; what is None is zeros."""
    x, w, r = (np.asarray(a, dtype) for a in (x, w, r))
    b = np.zeros(w.shape[1], dtype) if b is None else np.asarray(b, dtype)
    states = [np.zeros((x.shape[0], r.shape[0]), dtype) if s is None else np.asarray(s, dtype) for s in states]
    return x, w, r, b, states


def lstm(x, kernel, recurrent_kernel, bias=None, h=None, c=None, mask=None, zero_output=False,
         activation=np.tanh, recurrent_activation=sigmoid, dtype=np.float64, dot=np.matmul):
    """x (B,T,I) -> outputs (B,T,U), last output, h, c; weights as Keras's, gates i, f, c, o."""
    x, w, r, b, states = as_arrays(dtype, x, kernel, recurrent_kernel, bias, h, c)

    def step(x, h, c):
        i, f, g, o = np.split(dot(x, w) + dot(h, r) + b, 4, axis=-1)
        i, f, o = recurrent_activation(i), recurrent_activation(f), recurrent_activation(o)
        c = f * c + i * activation(g)
        return o * activation(c), c

    return over_steps(step, x, states, mask, zero_output)


def gru(x, kernel, recurrent_kernel, bias=None, h=None, mask=None, zero_output=False, activation=np.tanh,
        recurrent_activation=sigmoid, dtype=np.float64, reset_after=True, dot=np.matmul):
    """x (B,T,I) -> outputs (B,T,U), last output, h; weights as Keras's, gates z, r, h."""
    x, w, r, b, states = as_arrays(dtype, x, kernel, recurrent_kernel, bias, h)
    u = len(r)
    b, b_recurrent = b if b.ndim == 2 else (b, np.zeros_like(b))

    def step(x, h):
        x_part = dot(x, w) + b
        h_part = dot(h, r) + b_recurrent
        z, reset = (recurrent_activation(x_part[:, g] + h_part[:, g]) for g in (slice(u), slice(u, 2 * u)))
        share = reset * h_part[:, 2 * u :] if reset_after else dot(reset * h, r[:, 2 * u :])
        return (z * h + (1 - z) * activation(x_part[:, 2 * u :] + share),)

    return over_steps(step, x, states, mask, zero_output)


def simple_rnn(x, kernel, recurrent_kernel, bias=None, h=None, mask=None, zero_output=False, activation=np.tanh,
               dtype=np.float64, dot=np.matmul):
    """x (B,T,I) -> outputs (B,T,U), last output, h; weights as Keras's."""
    x, w, r, b, states = as_arrays(dtype, x, kernel, recurrent_kernel, bias, h)
    return over_steps(lambda x, h: (activation(dot(x, w) + b + dot(h, r)),), x, states, mask, zero_output)


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
