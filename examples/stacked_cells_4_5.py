"""Two cells in one RNN layer: at every step the second one, of five units, reads the first one's four."""

from __future__ import annotations

import numpy as np

import fastlstm
from fastlstm import layers

X = np.array(
    [
        [[1, 2, 3, 4, 3, 2], [1, 2, 1, 1, 1, 2], [1, 2, 2, 2, 2, 2]],
        [[1, 2, 3, 4, 3, 2], [3, 2, 2, 1, 1, 2], [0, 0, 0, 0, 3, 2]],
    ],
    dtype="float32",
)  # two sequences of three steps of six features


def build(**options: bool) -> layers.RNN:
    """The cells as one layer, with random weights."""
    cells = layers.StackedRNNCells([layers.LSTMCell(4), layers.LSTMCell(5)])
    layer = layers.RNN(cells, return_sequences=True, **options)
    layer.build(X.shape)
    return layer


def one_after_the_other(weights: list[np.ndarray]) -> np.ndarray:
    """The same as two LSTM layers, the second one over the whole sequence of the first one's outputs."""
    first = fastlstm.LSTM(4, return_sequences=True)
    second = fastlstm.LSTM(5, return_sequences=True)
    first.set_weights(weights[:3])
    second.set_weights(weights[3:])
    return second(first(X))


def main() -> None:
    layer = build(return_state=True)
    outputs, (h1, c1), (h2, c2) = layer(X)
    print(f"outputs {outputs.shape}; states {h1.shape} {c1.shape} of one cell, {h2.shape} {c2.shape} of the other")
    print(f"weights {[array.shape for array in layer.get_weights()]}")
    print(f"the last output is the second cell's h: {np.array_equal(outputs[:, -1], h2)}")
    difference = np.abs(outputs - one_after_the_other(layer.get_weights())).max()
    print(f"greatest difference from two layers: {difference:.1e}")


if __name__ == "__main__":
    main()
