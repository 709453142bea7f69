"""Layers under their Keras names."""

from fastlstm.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax
from fastlstm.layers.attention import AdditiveAttention, Attention
from fastlstm.layers.base import Layer
from fastlstm.layers.bidirectional import Bidirectional
from fastlstm.layers.convolutional import Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D
from fastlstm.layers.core import Activation, Dense, InputLayer
from fastlstm.layers.embedding import Embedding
from fastlstm.layers.gru import GRU, GRUCell
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.lstm_cell import LSTMCell
from fastlstm.layers.masking import Identity, Masking
from fastlstm.layers.merging import Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract
from fastlstm.layers.multi_head_attention import MultiHeadAttention
from fastlstm.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    UnitNormalization,
)
from fastlstm.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from fastlstm.layers.preprocessing import Normalization, Rescaling
from fastlstm.layers.regularization import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
)
from fastlstm.layers.reshaping import (
    Cropping1D,
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    ZeroPadding1D,
)
from fastlstm.layers.rnn import RNN, StackedRNNCells
from fastlstm.layers.serialization import LAYERS
from fastlstm.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from fastlstm.layers.time_distributed import TimeDistributed

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Cropping1D",
    "Dense",
    "DepthwiseConv1D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Identity",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SeparableConv1D",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "ZeroPadding1D",
]

LAYERS.update((name, globals()[name]) for name in __all__ if name != "Layer")
