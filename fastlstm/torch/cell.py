"""``torch.nn.LSTMCell``: one step, the states given and returned."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers import LSTMCell as Cell
from fastlstm.layers.base import Array
from fastlstm.layouts import torch_to_keras
from fastlstm.torch.module import Module
from fastlstm.torch.state import Shapes


class LSTMCell(Module):
    """One step of an LSTM: ``torch.nn.LSTMCell`` at inference.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    device, dtype
        As of :class:`LSTM`.
    isa, reproducible, threads, precision
        By keyword, as of :class:`fastlstm.LSTMCell`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.cell = Cell(
            self.hidden_size, use_bias=self.bias, dtype=self.dtype, name="cell", isa=isa,
            reproducible=reproducible, threads=threads, precision=precision,
        )  # fmt: skip

    def _shapes(self) -> Shapes:
        columns = 4 * self.hidden_size
        found: Shapes = {"weight_ih": (columns, self.input_size), "weight_hh": (columns, self.hidden_size)}
        return {**found, "bias_ih": (columns,), "bias_hh": (columns,)} if self.bias else found

    def _take(self, arrays: dict[str, Array]) -> None:
        found = torch_to_keras(*arrays.values())
        self.cell.set_weights([w for w in found if w is not None])

    def __call__(self, input: Any, hx: Any = None) -> tuple[Array, Array]:
        """One step.

        Parameters
        ----------
        input : array_like, shape (batch, I) or (I,)
        hx : (h_0, c_0), optional
            (batch, H) or (H,) each; default zeros.

        Returns
        -------
        h_1, c_1 : ndarray, shapes as of hx
        """
        x = as_float(input, self._real, "LSTMCell: input")
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            n = self.input_size
            raise FastLSTMError(f"LSTMCell: input has shape {x.shape}; expected (batch, {n}) or ({n},)")
        shape = (*x.shape[:-1], self.hidden_size)
        states = self._pair(hx, shape, shape) or [np.zeros(shape, self._real)] * 2
        self._weights()
        _, (h, c) = self.cell(np.atleast_2d(x), [np.atleast_2d(state) for state in states])
        return h.reshape(shape), c.reshape(shape)

    forward = __call__

    def _said(self) -> str:
        return super()._said() + ("" if self.bias else ", bias=False")
