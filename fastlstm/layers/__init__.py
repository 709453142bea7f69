"""Layers under their Keras names."""

from fastlstm.layers.base import Layer
from fastlstm.layers.bidirectional import Bidirectional
from fastlstm.layers.core import Activation, Dense, InputLayer
from fastlstm.layers.embedding import Embedding
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.lstm_cell import LSTMCell
from fastlstm.layers.regularization import Dropout
from fastlstm.layers.serialization import LAYERS
from fastlstm.layers.time_distributed import TimeDistributed

LAYERS.update(
    (cls.__name__, cls)
    for cls in (Activation, Bidirectional, Dense, Dropout, Embedding, InputLayer, LSTM, LSTMCell, TimeDistributed)
)

__all__ = [
    "LSTM", "Activation", "Bidirectional", "Dense", "Dropout", "Embedding", "InputLayer", "LSTMCell", "Layer",
    "TimeDistributed",
]  # fmt: skip
