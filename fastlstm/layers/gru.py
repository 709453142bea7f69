"""GRU and GRUCell with Keras's arguments and calls, over the kernels of csrc."""

from __future__ import annotations

from typing import Any

from fastlstm.layers.cells import GatedWeights, RecurrentCell, flag
from fastlstm.layers.recurrent import Recurrent, checked_cudnn


class GRUWeights(GatedWeights):
    """What GRU and GRUCell share: gates z, r, h, and where the reset gate acts."""

    _gates = 3

    def __init__(self, *cell: Any, reset_after: bool, **options: Any) -> None:
        super().__init__(*cell, **options)
        self.reset_after = flag(reset_after, f"{self.who}: reset_after")
        self._kind = "gru" if self.reset_after else "gru_before"

    @property
    def _bias_shape(self) -> tuple[int, ...]:
        columns = 3 * self.units
        return (2, columns) if self.reset_after else (columns,)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reset_after": self.reset_after}


class GRUCell(RecurrentCell, GRUWeights):
    """One step of a GRU: ``keras.layers.GRUCell`` at inference.

    Arguments are Keras's; those that matter in training only (regularizers, constraints, dropout,
    seed, implementation) are accepted and inert. Four more, by keyword:

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
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed, reset_after=reset_after, **kwargs,
        )  # fmt: skip


class GRU(Recurrent, GRUWeights):
    """Gated recurrent unit over a whole sequence: ``keras.layers.GRU`` at inference.

    z, r = recurrent_activation(x W + h R + b + b');  candidate = activation(x W + b + r (h R + b')), or with
    reset_after=False activation(x W + b + (r h) R);  h' = z h + (1 - z) candidate

    Arguments, defaults and results are Keras 3.15's on the TensorFlow CPU backend
    (keras/src/layers/rnn/gru.py). Those that matter in training only (regularizers, constraints,
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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed, reset_after=reset_after,
            return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip
        self.use_cudnn = checked_cudnn(use_cudnn, self.who)
