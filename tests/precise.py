"""A model with recurrent layers in every place where one can be, for the tests of their precisions."""

import numpy as np

from fastlstm import Input, Sequential
from fastlstm.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    StackedRNNCells,
    TimeDistributed,
)  # fmt: skip
from fastlstm.precision import recurrent_layers


def everything(dtype="float32"):
    """Recurrent layers in every place where one can be."""
    inner = Sequential([Input((None, 6)), GRU(6, return_sequences=True, name="inner"), Dense(5)], name="model")
    cells = [LSTMCell(7, dtype=dtype), StackedRNNCells([GRUCell(6), LSTMCell(5)])]
    return Sequential([
        Input((9, 4)), LSTM(8, return_sequences=True), SimpleRNN(6, return_sequences=True), inner,
        RNN(cells[0], return_sequences=True), Bidirectional(RNN(cells[1], return_sequences=True)),
        Bidirectional(LSTM(3, return_sequences=True)), TimeDistributed(Dense(4)), GRU(3), Dense(2),
    ])  # fmt: skip


INSIDE = 1 + 1 + 1 + 1 + 4 + 2 + 1


def inputs(rng, rows=5):
    return rng.standard_normal((rows, 9, 4)).astype(np.float32)


def told(model):
    return [layer.precision for layer in recurrent_layers(model)]
