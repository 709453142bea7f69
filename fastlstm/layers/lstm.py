"""LSTM with Keras's arguments and calls, over the kernels of csrc."""

from __future__ import annotations

from typing import Any

from fastlstm.layers.lstm_cell import LSTMWeights
from fastlstm.layers.recurrent import Recurrent, checked_cudnn


class LSTM(Recurrent, LSTMWeights):
    """Long short-term memory over a whole sequence: ``keras.layers.LSTM`` at inference.

    z = x W + h R + b;  i, f, o = recurrent_activation(z_i, z_f, z_o);
    c' = f c + i activation(z_c);  h' = o activation(c')

    Arguments, defaults and results are Keras 3.15's on the TensorFlow CPU backend
    (keras/src/layers/rnn/lstm.py). Those that matter in training only (regularizers, constraints,
    dropout, seed) or that choose between equal computations (implementation, unroll, use_cudnn) are
    accepted and inert. Four more, by keyword:

    Parameters
    ----------
    isa : str, optional
        Kernel to use (``fastlstm.show_config()`` lists them); default FASTLSTM_ISA, else the best.
    reproducible : bool
        Only kernels that round each multiply-add once: the same bits on every one of them.
    threads : int, optional
        Threads that a call may use; default ``fastlstm.get_num_threads()``. They change no result.
    precision : {"float32", "bfloat16", "float16", "int8"}
        How the packed weights are kept: fewer bits are sooner read and less exact (docs/precision.md).
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed, unit_forget_bias=unit_forget_bias,
            return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, zero_output_for_mask=zero_output_for_mask,
            activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip
        self.use_cudnn = checked_cudnn(use_cudnn, self.who)
