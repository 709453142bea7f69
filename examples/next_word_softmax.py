"""The next word of five: an LSTM that has read two words, a Dense layer that scores each, a softmax of the scores."""

from __future__ import annotations

import numpy as np

import fastlstm

WORDS = [[3.0], [1.0]]  # two steps of one feature: the numbers of two words
# The weights of a model that was trained in Keras, as it printed them.
LSTM_WEIGHTS = [
    [[1.4747553, 0.21844576, -1.6655267, 0.3613354]],
    [[-0.81191856, -0.97658885, 0.30110872, -1.1714092]],
    [0.8243644, 1.6411912, -0.59207046, 0.8917778],
]
DENSE_WEIGHTS = [
    [[1.7270645, 1.8367546, -0.00402346, 1.3263528, -0.26260275]],
    [-0.6053054, -0.59397745, 0.6904611, -0.64862293, 0.5336966],
]


def build() -> fastlstm.Sequential:
    """The model, with the trained weights."""
    model = fastlstm.Sequential(
        [
            fastlstm.Input((2, 1)),
            fastlstm.LSTM(1, unroll=True),
            fastlstm.layers.Dense(5, activation="softmax"),
        ]
    )
    model.set_weights([*LSTM_WEIGHTS, *DENSE_WEIGHTS])
    return model


def by_hand(model: fastlstm.Sequential) -> np.ndarray:
    """The same chances from the LSTM's output: scores, and the softmax of them."""
    h = model.layers[0](np.array([WORDS]))
    kernel, bias = model.layers[1].get_weights()
    scores = h @ kernel + bias
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def main() -> None:
    model = build()
    model.summary()
    chances = model.predict([WORDS], verbose=0)[0]
    for word, (chance, same) in enumerate(zip(chances, by_hand(model)[0], strict=True)):
        print(f"word {word}: {chance:.8f}, by hand {same:.8f}")
    print(f"the likeliest next word is {chances.argmax()}")


if __name__ == "__main__":
    main()
