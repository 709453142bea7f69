"""Layers under their Keras names."""

from fastlstm.layers.base import Layer
from fastlstm.layers.bidirectional import Bidirectional
from fastlstm.layers.core import Activation, Dense, InputLayer
from fastlstm.layers.embedding import Embedding
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.lstm_cell import LSTMCell
from fastlstm.layers.regularization import Dropout

__all__ = ["LSTM", "Activation", "Bidirectional", "Dense", "Dropout", "Embedding", "InputLayer", "LSTMCell", "Layer"]
