"""LSTMCell, and what it shares with LSTM: gates i, f, c, o, and a bias that may begin with an open forget gate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.layers.cells import GatedWeights, RecurrentCell, flag


class LSTMWeights(GatedWeights):
    """What LSTM and LSTMCell share."""

    _gates = 4
    _kind = "lstm"
    state_count = 2
    _has_forget_gate = True

    def __init__(self, *cell: Any, unit_forget_bias: bool, **options: Any) -> None:
        super().__init__(*cell, **options)
        self.unit_forget_bias = flag(unit_forget_bias, f"{self.who}: unit_forget_bias")

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        if name != "bias" or not self.unit_forget_bias or not self._has_forget_gate:
            return super()._initial_weight(name, shape)
        if self._gates == 3:  # f is the first of them
            bias = np.array(super()._initial_weight(name, shape))
            bias[: self.units] = 1
            return bias
        i, c_o = (self.bias_initializer((n * self.units,), self.dtype) for n in (1, 2))
        return np.concatenate([np.asarray(i), np.ones(self.units), np.asarray(c_o)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


class LSTMCell(RecurrentCell, LSTMWeights):
    """One step of an LSTM: ``keras.layers.LSTMCell`` at inference.

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
        unit_forget_bias: bool = True,
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
            units, activation, recurrent_activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed, unit_forget_bias=unit_forget_bias, **kwargs,
        )  # fmt: skip
