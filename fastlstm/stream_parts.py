"""The parts of a model's stream that keep something between steps, and those that only change the form."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np

from fastlstm._core import StreamCore
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer


class Part(Protocol):
    """Fills slots from others for a block of n steps: sequences are (B, n, ...), the rest (B * n, ...)."""

    def run(self, values: list[Any], masks: list[Any]) -> None:
        """Read ``values`` and ``masks`` and write them, by the numbers of the slots."""


class Kept(Part, Protocol):
    """A part with a state. What it holds itself is replaced and never written, so that copies may share it."""

    @property
    def state(self) -> list[Array]:
        """Copies of the arrays, each with the batch axis first; assignable."""

    @state.setter
    def state(self, given: list[Any]) -> None: ...

    def memory(self) -> Any:
        """What :meth:`recall` takes to go back to this state: cheaper than the state itself."""

    def recall(self, memory: Any) -> None:
        """Go back to the state that the memory is of."""

    def copy(self) -> Kept:
        """The same with a state of its own."""


class Recurrent:
    """A recurrent layer: its own stream, and what masked steps need beside it.

    Parameters
    ----------
    layer : Layer
    source, target : int
        Slots.
    mask : int, optional
        The slot of a mask that the call names, instead of the one that comes with the source.
    stream : Stream
        Anything with the interface of :class:`fastlstm.Stream`.
    last : ndarray, optional
        Zeros like a step's output, where the layer may get masks: what masked rows give is their last output.
    """

    def __init__(
        self, layer: Layer, source: int, target: int, mask: int | None, stream: Any, last: Array | None
    ) -> None:
        self.layer, self.source, self.target, self.mask = layer, source, target, mask
        self.stream, self.last, self._spare = stream, last, stream.state
        self.sequences = bool(getattr(layer, "return_sequences", False))
        self.zero = bool(getattr(layer, "zero_output_for_mask", False))

    def run(self, values: list[Any], masks: list[Any]) -> None:
        x, own = values[self.source], masks[self.source]
        used = own if self.mask is None else values[self.mask]
        y = self._plain(x) if used is None else self._masked(x, self._as_mask(used, x))
        values[self.target] = y if self.sequences else folded(y)
        masks[self.target] = used if self.sequences else None

    def _plain(self, x: Array) -> Array:
        y: Array = self.stream.step(x[:, 0])[:, None] if x.shape[1] == 1 else self.stream.run(x)
        if self.last is not None:
            self.last = y[:, -1].copy()
        return y

    def _masked(self, x: Array, mask: Array) -> Array:
        """A block in which rows keep their state where the mask holds them, and give what they last gave."""
        if mask.all():
            return self._plain(x)
        steps = []
        for t in range(x.shape[1]):
            before = self.stream.state
            held = ~mask[:, t]
            y = self.stream.step(x[:, t])
            self.stream.state = [_chosen(held, old, new) for old, new in zip(before, self.stream.state, strict=True)]
            self.last = _chosen(held, self.last, y)
            steps.append(_chosen(held, np.zeros_like(y), y) if self.zero else self.last)
        return np.stack(steps, axis=1)

    def _as_mask(self, mask: Any, x: Array) -> Array:
        used = np.asarray(mask, bool)
        if used.ndim == 3 and used.shape[2] == 1:
            used = used[:, :, 0]
        if used.shape != x.shape[:2]:
            raise FastLSTMError(f"{self.layer.who}: mask has shape {np.shape(mask)}; expected {x.shape[:2]}")
        return used

    @property
    def state(self) -> list[Array]:
        return [*self.stream.state, *(() if self.last is None else (self.last.copy(),))]

    @state.setter
    def state(self, given: list[Any]) -> None:
        if self.last is None:
            self.stream.state = given
            return
        if len(given) < 2:
            who = f"stream: state of {self.layer.who}"
            raise FastLSTMError(f"{who} has {len(given)} arrays; expected its own and the last output")
        last = _like(given[-1], self.last, self.layer)
        self.stream.state = given[:-1]
        self.last = last

    def memory(self) -> Any:
        if not isinstance(self.stream, StreamCore):
            return self.stream.state, self.last
        self.stream._get(*self._spare)  # no step allocates for what hardly ever happens
        return self._spare, self.last

    def recall(self, memory: Any) -> None:
        self.stream.state, self.last = memory

    def copy(self) -> Recurrent:
        other = copy.copy(self)
        other.stream, other._spare = self.stream.copy(), self.stream.state
        return other


class Window:
    """A causal convolution: it keeps the steps that its window still covers, zeros before the first.

    Parameters
    ----------
    layer : Layer
        With ``padding``, by which it is made to see no zeros but these.
    source, target : int
        Slots.
    window : ndarray, shape (B, steps, channels)
        Of zeros.
    """

    def __init__(self, layer: Any, source: int, target: int, window: Array) -> None:
        self.layer, self.source, self.target, self.window = copy.copy(layer), source, target, window
        self.layer.padding = "valid"

    def run(self, values: list[Any], masks: list[Any]) -> None:
        x = as_float(values[self.source], self.window.dtype, f"{self.layer.who}: inputs")
        seen = np.concatenate([self.window, x], axis=1)
        values[self.target] = self.layer.call(seen)
        self.window = seen[:, x.shape[1] :].copy()

    @property
    def state(self) -> list[Array]:
        return [self.window.copy()]

    @state.setter
    def state(self, given: list[Any]) -> None:
        if len(given) != 1:
            raise FastLSTMError(f"stream: state of {self.layer.who} has {len(given)} arrays; expected its last inputs")
        self.window = _like(given[0], self.window, self.layer)

    def memory(self) -> Any:
        return self.window

    def recall(self, memory: Any) -> None:
        self.window = memory

    def copy(self) -> Window:
        return copy.copy(self)


class LastStep:
    """A sequence's last step at each prefix, with an axis of one step or without."""

    def __init__(self, source: int, target: int, axis: bool) -> None:
        self.source, self.target, self.axis = source, target, axis

    def run(self, values: list[Any], masks: list[Any]) -> None:
        x = folded(values[self.source])
        values[self.target] = x[:, None] if self.axis else x


class Inlet:
    """A value in another type, such as an input of a model inside the model has, or with a mask that a call names."""

    def __init__(self, source: int, target: int, dtype: str, mask: int | None) -> None:
        self.source, self.target, self.dtype, self.mask = source, target, dtype, mask

    def run(self, values: list[Any], masks: list[Any]) -> None:
        values[self.target] = cast(values[self.source], self.dtype)
        masks[self.target] = masks[self.source] if self.mask is None else np.asarray(values[self.mask], bool)


def folded(y: Array) -> Array:
    """A block (B, n, ...) as one row for each prefix, (B * n, ...)."""
    return y.reshape(y.shape[0] * y.shape[1], *y.shape[2:])


def cast(x: Array, dtype: str) -> Array:
    """x in the type of an input."""
    if x.dtype == dtype:
        return x
    with np.errstate(all="ignore"):  # as in Keras, a value out of range becomes inf or wraps
        return x.astype(dtype)


def _chosen(held: Array, old: Any, new: Array) -> Array:
    """Rows of the old array where they are held, else of the new one."""
    return np.where(held.reshape(-1, *(1,) * (new.ndim - 1)), old, new)


def _like(value: Any, like: Array, layer: Layer) -> Array:
    """A given array of the state as a new one, checked."""
    who = f"stream: state of {layer.who}"
    array = as_float(value, like.dtype, who)
    if array.shape != like.shape:
        raise FastLSTMError(f"{who} has shape {array.shape}; expected {like.shape}")
    return np.array(array)
