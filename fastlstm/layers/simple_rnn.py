"""SimpleRNN and SimpleRNNCell with Keras's arguments and calls, over the kernels of csrc."""

from __future__ import annotations

from typing import Any

from fastlstm.layers.cells import CellWeights, RecurrentCell
from fastlstm.layers.recurrent import Recurrent


class SimpleRNNWeights(CellWeights):
    """What SimpleRNN and SimpleRNNCell share."""

    _gates = 1
    _kind = "simple"


class SimpleRNNCell(RecurrentCell, SimpleRNNWeights):
    """One step of a simple RNN: ``keras.layers.SimpleRNNCell`` at inference.

    Arguments are Keras's; those that matter in training only (regularizers, constraints, dropout, seed)
    are accepted and inert. Four more, by keyword:

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
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed, **kwargs,
        )  # fmt: skip


class SimpleRNN(Recurrent, SimpleRNNWeights):
    """Fully connected recurrence over a whole sequence: ``keras.layers.SimpleRNN`` at inference.

    h' = activation(x W + b + h R)

    Arguments, defaults and results are Keras 3.15's on the TensorFlow CPU backend
    (keras/src/layers/rnn/simple_rnn.py). Those that matter in training only (regularizers, constraints,
    dropout, seed) or that choose between equal computations (unroll) are accepted and inert. Four more,
    by keyword:

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
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed,
            return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "seed"}  # as Keras's
