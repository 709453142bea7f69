"""TensorFlow 1's LSTM cells and the functions that run them, by their names there; TensorFlow is not imported.

A program of TensorFlow 1 runs by changing its import, on arrays instead of tensors: ::

    cell = BasicLSTMCell(3, forget_bias=0)
    cell.load_checkpoint("model.ckpt-1000", "rnn/basic_lstm_cell")
    outputs, state = static_rnn(cell, [x0, x1], dtype="float32")

As there, a state is ``LSTMStateTuple(c, h)``, the columns of a kernel are i, j (the candidate), f, o, and
``forget_bias``, 1 unless said otherwise, is added to f when the cell runs: no variable and no checkpoint has it.
Sources: tensorflow/python/keras/layers/legacy_rnn/rnn_cell_impl.py, tensorflow/python/ops/rnn.py and, up to 1.15,
tensorflow/contrib/rnn and tensorflow/contrib/cudnn_rnn.
"""

from __future__ import annotations

from fastlstm.tf1.cells import BasicLSTMCell, LSTMBlockCell, LSTMCell
from fastlstm.tf1.contrib import (
    CoupledInputForgetGateLSTMCell,
    CudnnCompatibleLSTMCell,
    LayerNormBasicLSTMCell,
    LSTMBlockFusedCell,
)
from fastlstm.tf1.cudnn import CudnnLSTM
from fastlstm.tf1.rnn import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
    stack_bidirectional_dynamic_rnn,
    static_bidirectional_rnn,
    static_rnn,
)
from fastlstm.tf1.steps import DropoutWrapper, MultiRNNCell, RNNCell
from fastlstm.tf1.variables import LSTMStateTuple

__all__ = [
    "BasicLSTMCell",
    "CoupledInputForgetGateLSTMCell",
    "CudnnCompatibleLSTMCell",
    "CudnnLSTM",
    "DropoutWrapper",
    "LSTMBlockCell",
    "LSTMBlockFusedCell",
    "LSTMCell",
    "LSTMStateTuple",
    "LayerNormBasicLSTMCell",
    "MultiRNNCell",
    "RNNCell",
    "bidirectional_dynamic_rnn",
    "dynamic_rnn",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
]
