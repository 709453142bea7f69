"""A model one step at a time: its LSTM layers keep their states, the layers between them have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array, Layer
from fastlstm.layers.bidirectional import Bidirectional
from fastlstm.layers.core import Dense
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.regularization import Dropout
from fastlstm.stream import Stream


class ModelStream:
    """A model's state between steps, made by ``model.stream(batch_size)``.

    Each step returns what the whole model returns on all steps so far (its last one, where it returns
    a sequence). A stream belongs to one thread at a time.

    Attributes
    ----------
    batch_size : int
        Rows that advance together.
    state : list of [h, c]
        One pair a LSTM layer, each array (batch_size, units); assignable.
    """

    def __init__(
        self, layers: Sequence[Layer], dtype: np.dtype[Any], rank: int, width: int, batch_size: int
    ) -> None:
        self.batch_size = batch_size
        self._layers, self._dtype = list(layers), dtype
        self._rank, self._width = rank, width  # of the model's input, and of its output's last axis
        self._streams: dict[int, Stream] = {}
        for index, layer in enumerate(self._layers):
            who = f"{type(layer).__name__} {layer.name!r}"
            if isinstance(layer, Bidirectional):
                raise UnsupportedLayerError(f"{who} reads the end of a sequence first and cannot stream")
            if isinstance(layer, LSTM):
                if layer.return_state:
                    raise UnsupportedLayerError(f"{who} returns its states (return_state=True) and cannot stream")
                self._streams[index] = layer.stream(batch_size)
        if not self._streams:
            raise FastLSTMError("a model without LSTM layers has no steps to stream; call the model itself")
        self._masks = any(getattr(layer, "mask_zero", False) for layer in self._layers)
        self._chain = self._native_chain()
        self._seen = {index: np.zeros(batch_size, bool) for index in self._streams}

    def _native_chain(self) -> _core.ChainCore | None:
        """All layers as one call a step, where they are the library's own and of one dtype."""
        layers = [(i, layer) for i, layer in enumerate(self._layers) if not isinstance(layer, Dropout)]
        native = all(isinstance(layer, LSTM | Dense) and layer.dtype == self._dtype for _, layer in layers)
        if not native or self._masks or self._rank != 3:
            return None
        parts = [layer._packed() if isinstance(layer, Dense) else self._streams[i] for i, layer in layers]
        return _core.ChainCore(parts, self.batch_size)

    # -- running ------------------------------------------------------------------------------------

    def step(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Advance every row by one step.

        Parameters
        ----------
        x : array_like
            The model's input without its steps axis, (batch_size, ...); for one row also without the
            batch axis.
        out : ndarray, optional
            Takes the output; its shape must be the output's.

        Returns
        -------
        ndarray
            The model's output on the steps so far, without a steps axis: ``out`` where it was given.
        """
        if self._chain is not None and self._chain.fits(x, out):
            return self._chain.step(x, out)  # type: ignore[arg-type]
        y, single = self._input(x, self._rank - 1)
        self._check_out(out, () if single else (self.batch_size,))
        mask: Array | None = None
        for index, layer in enumerate(self._layers):
            stream = self._streams.get(index)
            if stream is None:
                mask, y = (layer.compute_mask(y, mask) if self._masks else None), layer.call(y, mask=None)
                continue
            y = stream.step(y) if not self._masks else self._masked_step(index, stream, y, mask)
            mask = layer.compute_mask(y, mask)
        return self._output(y[0] if single else y, out)

    def run(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Advance every row by a block of steps.

        Parameters
        ----------
        x : array_like
            The model's input, (batch_size, T, ...); for one row also without the batch axis.
        out : ndarray, optional
            Takes the output; its shape must be the output's.

        Returns
        -------
        ndarray, shape (batch_size, T, ...)
            What :meth:`step` gives for each step.
        """
        y, single = self._input(x, self._rank)
        self._check_out(out, (y.shape[1],) if single else y.shape[:2])
        before = self.state, {index: seen.copy() for index, seen in self._seen.items()}
        try:
            y = self._run(y)
        except BaseException:  # Ctrl-C, say: as if the block had never begun
            self.state, self._seen = before
            raise
        return self._output(y[0] if single else y, out)

    def _run(self, y: Array) -> Array:
        if self._masks:
            steps = [self.step(y[:, t]) for t in range(y.shape[1])]
            if steps:
                return np.stack(steps, axis=1)
        for index, layer in enumerate(self._layers):
            stream = self._streams.get(index)
            y = layer.call(y, mask=None) if stream is None else stream.run(y)
        return y

    def _masked_step(self, index: int, stream: Stream, x: Array, mask: Array | None) -> Array:
        """A step in which rows that the mask holds keep their state and output what they last did."""
        seen = self._seen[index]
        if mask is None or mask.all():
            seen[:] = True
            return stream.step(x)
        before = stream.state
        h = stream.step(x)
        held = ~mask[:, None]
        stream.state = [np.where(held, old, new) for old, new in zip(before, stream.state, strict=True)]
        zero = getattr(self._layers[index], "zero_output_for_mask", False)
        previous = np.zeros_like(h) if zero else np.where(seen[:, None], before[0], 0)
        seen |= mask
        return np.where(held, previous, h)

    def _input(self, x: ArrayLike, rank: int) -> tuple[Array, bool]:
        array = np.asarray(x)
        single = array.ndim == rank - 1 and self.batch_size == 1
        if single:
            array = array[None]
        if array.dtype.kind not in "biuf" or array.ndim != rank or array.shape[0] != self.batch_size:
            raise FastLSTMError(
                f"stream: x is {array.dtype} of shape {np.shape(x)}; expected numbers with {rank} axes, "
                f"the first of size {self.batch_size}"
            )
        return (array if array.dtype == self._dtype else array.astype(self._dtype)), single

    def _check_out(self, out: Array | None, rows: tuple[int, ...]) -> None:
        """Refuse an ``out`` that the output does not fit, before any state has changed."""
        shape, dtype = (*rows, self._width), self._layers[-1].dtype
        fits = isinstance(out, np.ndarray) and out.shape == shape and out.dtype == dtype and out.flags.writeable
        if out is not None and not fits:
            found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
            raise FastLSTMError(f"stream: out is {found}; expected a writable {dtype} array {shape}")

    @staticmethod
    def _output(y: Array, out: Array | None) -> Array:
        if out is None:
            return y
        np.copyto(out, y)
        return out

    # -- state ----------------------------------------------------------------------------------------

    @property
    def state(self) -> list[list[Array]]:
        return [stream.state for stream in self._streams.values()]

    @state.setter
    def state(self, state: Sequence[Sequence[ArrayLike]]) -> None:
        given = list(state)
        if len(given) != len(self._streams):
            raise FastLSTMError(f"stream: state has {len(given)} pairs; expected {len(self._streams)} of [h, c]")
        before = self.state
        try:
            for stream, pair in zip(self._streams.values(), given, strict=True):
                stream.state = pair
        except FastLSTMError:
            for stream, pair in zip(self._streams.values(), before, strict=True):
                stream.state = pair
            raise

    def reset(self) -> None:
        """Set all states to zeros, as before the first step."""
        for index, stream in self._streams.items():
            stream.reset()
            self._seen[index][:] = False

    def copy(self) -> ModelStream:
        """A second stream that goes on from the same state, independent of this one."""
        other = ModelStream(self._layers, self._dtype, self._rank, self._width, self.batch_size)
        other.state = self.state
        other._seen = {index: seen.copy() for index, seen in self._seen.items()}
        return other
