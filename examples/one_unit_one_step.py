"""One unit, one step: an LSTM small enough to work out on paper, beside what the layer says."""

from __future__ import annotations

import math

import numpy as np

import fastlstm

X = 2.0
# One column for each gate, in Keras's order: input, forget, candidate, output.
KERNEL = [[0, 1, 4, 1]]  # what x is multiplied by
RECURRENT_KERNEL = [[3, 2, -5, 4]]  # what the h of the step before is multiplied by
BIAS = [1, 2, 3, 2]


def by_layer() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The output of each step, and the state after the last one: h and c."""
    layer = fastlstm.LSTM(1, return_sequences=True, return_state=True)
    layer.set_weights([KERNEL, RECURRENT_KERNEL, BIAS])
    outputs, h, c = layer([[[X]]])  # a batch of one sequence of one step of one feature
    return outputs, h, c


def by_hand() -> tuple[float, float]:
    """h and c after the step, by the equations; h and c are 0 before it."""

    def sigmoid(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    z_i, z_f, z_g, z_o = (w * X + r * 0.0 + b for w, r, b in zip(KERNEL[0], RECURRENT_KERNEL[0], BIAS, strict=True))
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), math.tanh(z_g), sigmoid(z_o)
    c = f * 0.0 + i * g
    return o * math.tanh(c), c


def main() -> None:
    outputs, h, c = by_layer()
    print(f"the layer: h {h[0, 0]:.8f}, c {c[0, 0]:.8f}; its sequence {outputs.tolist()}")
    print("by hand:   h {:.8f}, c {:.8f}".format(*by_hand()))


if __name__ == "__main__":
    main()
