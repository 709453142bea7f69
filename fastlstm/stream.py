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
        ``[h, c]``, each (batch_size, units); assignable, for example with a saved copy.
    """

    @property
    def state(self) -> list[np.ndarray]:
        h, c = (np.empty((self.batch_size, self.plan.units), self.plan.dtype) for _ in range(2))
        self._get(h, c)
        return [h, c]

    @state.setter
    def state(self, state: Sequence[ArrayLike]) -> None:
        self._set(*as_state(state, self.batch_size, self.plan.units, self.plan.dtype, "stream: state"))

    def reset(self) -> None:
        """Set the state to zeros, as before the first step."""
        self._set(None, None)

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


def as_state(
    state: Any, batch: int, units: int, dtype: np.dtype[Any], who: str
) -> tuple[np.ndarray, np.ndarray]:
    """``[h, c]`` as contiguous arrays of the right shape and dtype, or an error that names ``who``."""
    try:
        parts = list(state)
    except TypeError:
        parts = []
    if len(parts) != 2:
        raise FastLSTMError(f"{who} is {type(state).__name__} of {len(parts)}; expected two arrays [h, c]")
    arrays = [as_float(part, dtype, f"{who} {name}") for name, part in zip("hc", parts, strict=True)]
    for name, array in zip("hc", arrays, strict=True):
        if array.shape not in ((batch, units), (1, units)):
            raise FastLSTMError(f"{who} {name} has shape {array.shape}; expected ({batch}, {units})")
    # one row serves all rows, as Keras broadcasts it
    h, c = (np.ascontiguousarray(np.broadcast_to(a, (batch, units))) for a in arrays)
    return h, c
