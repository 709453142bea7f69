"""A layer one step at a time, its state kept between calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError


class Stream(_core.StreamCore):
    """A layer's state between steps, made by ``layer.stream(batch_size)``.

    ``step(x, out=None)`` advances every row by one step, ``run(block, out=None)`` by a block of
    steps; both give the layer's output h of each step, and the same bits however a sequence is cut.
    A stream belongs to one thread at a time; the weights are shared with the layer's other streams.

    Attributes
    ----------
    batch_size : int
        Rows that advance together.
    state : list of ndarray
        ``[h, c]`` of an LSTM, ``[h]`` of a GRU or SimpleRNN, each (batch_size, units); assignable, for
        example with a saved copy.
    """

    @property
    def state(self) -> list[np.ndarray]:
        states = [np.empty((self.batch_size, width), self.plan.dtype) for width in self._widths]
        self._get(*states)
        return states

    @state.setter
    def state(self, state: Sequence[ArrayLike]) -> None:
        plan = self.plan
        self._set(*as_states(state, self._widths, self.batch_size, plan.dtype, "stream: state"))

    @property
    def _widths(self) -> tuple[int, ...]:
        return (self.plan.outputs, self.plan.units)[: self.plan.states]

    def reset(self) -> None:
        """Set the state to zeros, as before the first step."""
        self._set(None)

    def copy(self) -> Stream:
        """A second stream that goes on from the same state, independent of this one."""
        other = type(self)(self.plan, self.batch_size)
        other._set(*self.state)
        return other

    def _coerce(self, x: ArrayLike, axes: int) -> np.ndarray:
        """x as the kernel reads it, for ``axes`` axes beside the batch's; the slow way into step."""
        array = as_float(x, self.plan.dtype, "stream: x")
        expected = (self.batch_size, *(("T",) if axes == 2 else ()), self.plan.features)
        shape = array.shape
        rows_fit = array.ndim == axes + 1 and shape[0] == self.batch_size
        if not (rows_fit or (array.ndim == axes and self.batch_size == 1)) or shape[-1] != self.plan.features:
            also = f" or {expected[1:]}" if self.batch_size == 1 else ""
            raise FastLSTMError(f"stream: x has shape {shape}; expected {expected}{also}".replace("'", ""))
        return np.ascontiguousarray(array)

    def _bad_out(self, out: Any, shape: tuple[int, ...]) -> FastLSTMError:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        return FastLSTMError(
            f"stream: out is {found}; expected a writable, contiguous, aligned {self.plan.dtype} array {shape}"
        )


def as_states(
    states: Any, widths: tuple[int, ...], batch: int, dtype: np.dtype[Any], who: str
) -> tuple[np.ndarray, ...]:
    """``[h, c]``, or ``[h]`` or h itself, as contiguous arrays of the right shape and dtype.

    Parameters
    ----------
    states : sequence of array_like, or an array where there is one state
    widths : tuple of int
        Of those that the cell has.
    batch : int
        Rows of each; one row serves all rows, as Keras broadcasts it.
    dtype : dtype
    who : str
        Named in errors.
    """
    count = len(widths)
    names = ("h", "c")[:count]
    try:
        parts = [states] if count == 1 and not isinstance(states, list | tuple) else list(states)
    except TypeError:
        parts = []
    if len(parts) != count or any(part is None for part in parts):
        found = f"{type(states).__name__} of {len(parts)}"
        expected = "two arrays [h, c]" if count == 2 else "an array h, or a list of it"
        raise FastLSTMError(f"{who} is {found}; expected {expected}")
    arrays = [as_float(part, dtype, f"{who} {name}") for name, part in zip(names, parts, strict=True)]
    for name, array, width in zip(names, arrays, widths, strict=True):
        if array.shape not in ((batch, width), (1, width)):
            raise FastLSTMError(f"{who} {name} has shape {array.shape}; expected ({batch}, {width})")
    return tuple(np.ascontiguousarray(np.broadcast_to(a, (batch, a.shape[1]))) for a in arrays)
