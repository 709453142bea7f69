"""A model one step at a time: its layers keep what they need of the steps before."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm._core import ChainCore
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.layers.core import InputLayer
from fastlstm.program import Slot
from fastlstm.stream_links import Linked, linked
from fastlstm.stream_parts import Kept, Part, cast, folded
from fastlstm.streaming import Unrolled
from fastlstm.structure import flatten, leaves_like, map_structure, unflatten

if TYPE_CHECKING:
    from fastlstm.model import Model


class ModelStream:
    """A model's state between steps, made by ``model.stream(batch_size)``.

    Each step returns what the whole model returns on all steps so far (its last one, where it returns
    a sequence). Inputs of three axes or more have steps, and so have ids that an Embedding looks up and masks;
    any other input is given anew with each step. A stream belongs to one thread at a time, and to the weights
    that the model has when it is made.

    Attributes
    ----------
    batch_size : int
        Rows that advance together.
    state : list of list of ndarray
        For each layer that keeps something, in the order of their calls: ``[h, c]`` of an LSTM, followed by its
        last output where masks may reach it; ``[steps]``, the inputs that it will see again, of a convolution.
        Each array has the batch axis first. Assignable.
    """

    def __init__(self, model: Model, batch_size: int) -> None:
        self.batch_size, self._model = batch_size, model
        self._plan = Unrolled(model, batch_size)
        outputs = self._plan.outputs
        if isinstance(outputs, list | tuple):  # as the model returns them: a list of one is that one
            outputs = outputs[0] if len(outputs) == 1 else list(outputs)
        self._outputs = outputs
        self._entries = [
            _Entry(layer, slot.number, self._plan.timed[slot.number], batch_size)
            for layer, slot in zip(model.program.entries, self._plan.inputs, strict=True)
        ]
        self._hold(self._plan.parts)

    def _hold(self, parts: list[Part]) -> None:
        self._parts = parts
        self._kept: list[Kept] = [part for part in parts if hasattr(part, "state")]  # type: ignore[misc]
        self._runs = linked(parts, [slot.number for slot in flatten(self._outputs)], self.batch_size)
        self._chain = self._native_chain()

    def _native_chain(self) -> ChainCore | None:
        """The whole model as one call a step, where that is all there is between input and output."""
        run, entry = self._runs[0] if self._runs else None, self._entries[0]
        if len(self._runs) > 1 or not isinstance(run, Linked) or not isinstance(self._outputs, Slot):
            return None
        ends = run.source == entry.slot and run.target == self._outputs.number and len(self._entries) == 1
        return run.core if ends and run.dtype == entry.layer.dtype else None

    # -- running ------------------------------------------------------------------------------------

    def step(self, x: Any, out: Any = None) -> Any:
        """Advance every row by one step.

        Parameters
        ----------
        x : array_like, or a nest of them as the model's inputs are one
            The model's input without its axis of steps, (batch_size, ...); for one row also without the
            batch axis.
        out : ndarray, or a nest of them in step with the model's outputs, optional
            Takes the output; its shape must be the output's.

        Returns
        -------
        ndarray, or a nest of them as the model's outputs are one
            The model's output on the steps so far, without an axis of steps: ``out`` where it was given.

        Raises
        ------
        FastLSTMError
            Wrong shapes or types. The state is then unchanged.
        """
        if self._chain is not None and self._chain.fits(x, out):
            return self._chain.step(x, out)
        return self._advance(x, out, block=False)

    def run(self, x: Any, out: Any = None) -> Any:
        """Advance every row by a block of steps.

        Parameters
        ----------
        x : array_like, or a nest of them as the model's inputs are one
            What ``step`` takes for each step, along a second axis: (batch_size, T, ...); for one row also
            without the batch axis.
        out : ndarray, or a nest of them in step with the model's outputs, optional
            Takes the output; its shape must be the output's.

        Returns
        -------
        ndarray, shape (batch_size, T, ...), or a nest of them as the model's outputs are one
            What :meth:`step` gives for each step.

        Raises
        ------
        FastLSTMError
            Wrong shapes or types. The state is then unchanged.
        """
        return self._advance(x, out, block=True)

    def _advance(self, x: Any, out: Any, block: bool) -> Any:
        values: list[Any] = [None] * len(self._plan.shapes)
        single, steps = self._read(x, block, values)
        before = [part.memory() for part in self._kept]
        try:
            if steps:
                masks: list[Any] = [None] * len(values)
                for part in self._runs:
                    part.run(values, masks)
            else:
                self._fill_empty(values)
            return self._result(values, out, steps, block, single)
        except BaseException:  # Ctrl-C, say: as if the steps had never begun
            for part, memory in zip(self._kept, before, strict=True):
                part.recall(memory)
            raise

    def _read(self, x: Any, block: bool, values: list[Any]) -> tuple[bool, int]:
        """Put the inputs into their slots; whether they came without the batch axis, and the number of steps."""
        alone = len(self._entries) == 1 and not isinstance(x, dict)
        given = [x] if alone else self._model._structured(x)
        forms = set()
        for value, entry in zip(given, self._entries, strict=True):
            if value is None and entry.layer.optional:
                continue
            array, single = entry.read(value, block, "" if alone else f", input {entry.layer.name!r},")
            forms.add((single, array.shape[1] if block else 1))
            if block != entry.timed:
                array = folded(array) if block else array[:, None]
            values[entry.slot] = array
        if len(forms) != 1:
            raise FastLSTMError("stream: x has inputs with and without a batch axis, or of unlike numbers of steps")
        return forms.pop()

    def _fill_empty(self, values: list[Any]) -> None:
        """The outputs for a block of no steps."""
        dtypes = self._model.program.output_dtypes()
        for slot, dtype in zip(flatten(self._outputs), dtypes, strict=True):
            shape, timed = self._plan.shapes[slot.number], self._plan.timed[slot.number]
            sizes = [size or 0 for size in shape[1 + timed :]]
            values[slot.number] = np.empty((self.batch_size, 0, *sizes) if timed else (0, *sizes), dtype)

    def _result(self, values: list[Any], out: Any, steps: int, block: bool, single: bool) -> Any:
        def form(slot: Slot) -> Array:
            y: Array = values[slot.number]
            if self._plan.timed[slot.number]:
                y = y if block else y[:, 0]
            elif block:
                y = y.reshape(self.batch_size, steps, *y.shape[1:])
            return y[0] if single else y

        results = map_structure(form, self._outputs)
        if out is None:
            return results
        try:
            outs = leaves_like(self._outputs, out)
        except (KeyError, IndexError, TypeError, ValueError):
            found = type(out).__name__
            raise FastLSTMError(f"stream: out is {found}; expected a nest in step with the outputs") from None
        for y, to in zip(flatten(results), outs, strict=True):
            _check_out(to, y)
        for y, to in zip(flatten(results), outs, strict=True):
            np.copyto(to, y)
        return out if isinstance(self._outputs, Slot) else unflatten(self._outputs, outs)

    # -- state ----------------------------------------------------------------------------------------

    @property
    def state(self) -> list[list[Array]]:
        return [part.state for part in self._kept]

    @state.setter
    def state(self, state: Sequence[Sequence[ArrayLike]]) -> None:
        try:
            given = [list(arrays) for arrays in state]
        except TypeError:
            raise FastLSTMError(f"stream: state is {state!r:.60}; expected a list of lists of arrays") from None
        if len(given) != len(self._kept):
            raise FastLSTMError(f"stream: state has {len(given)} entries; expected {len(self._kept)}, one a layer")
        before = [part.memory() for part in self._kept]
        try:
            for part, arrays in zip(self._kept, given, strict=True):
                part.state = arrays
        except FastLSTMError:
            for part, memory in zip(self._kept, before, strict=True):
                part.recall(memory)
            raise

    def reset(self, rows: Any = None) -> None:
        """Set the state to zeros, as before the first step.

        Parameters
        ----------
        rows : int, slice, sequence of int, or of bool one for each row; optional
            Which rows to reset. Default all; the others go on as they were.
        """
        chosen = np.zeros(self.batch_size, bool)
        try:
            chosen[slice(None) if rows is None else rows] = True
        except (IndexError, TypeError, ValueError):
            raise FastLSTMError(f"stream: reset: rows is {rows!r}; expected some of {self.batch_size} rows") from None
        state = self.state
        for array in (array for arrays in state for array in arrays):
            array[chosen] = 0
        self.state = state

    def copy(self) -> ModelStream:
        """A second stream that goes on from the same state, independent of this one."""
        other = copy.copy(self)
        other._hold([part.copy() if hasattr(part, "copy") else part for part in self._parts])
        return other


class _Entry:
    """One input of a stream: its slot, and what it must be for a step and for a block of steps."""

    def __init__(self, layer: InputLayer, slot: int, timed: bool, batch_size: int) -> None:
        self.layer, self.slot, self.timed = layer, slot, timed
        rest = layer.batch_shape[1 + timed :]
        self._sizes: tuple[tuple[int | None, ...], ...] = (batch_size, *rest), (batch_size, None, *rest)

    def read(self, value: Any, block: bool, which: str) -> tuple[Array, bool]:
        """The input as an array of the right sizes and type, and whether it came without the batch axis."""
        sizes, single = self._sizes[block], False
        try:
            array = np.asarray(value)
        except ValueError as error:  # a ragged nest of lists
            raise FastLSTMError(f"stream: x{which} is not an array: {error}") from None
        if array.shape != sizes or array.dtype.kind not in "biuf":
            found = f"{array.dtype} of shape {array.shape}"
            single = array.ndim == len(sizes) - 1 and sizes[0] == 1
            array = array[None] if single else array
            fits = array.ndim == len(sizes) and all(n in (None, m) for n, m in zip(sizes, array.shape, strict=True))
            if array.dtype.kind not in "biuf" or not fits:
                raise FastLSTMError(f"stream: x{which} is {found}; expected numbers of shape {sizes} (None = any)")
        return cast(array, self.layer.dtype), single


def _check_out(out: Any, y: Array) -> None:
    fits = isinstance(out, np.ndarray) and out.shape == y.shape and out.dtype == y.dtype and out.flags.writeable
    if not fits:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise FastLSTMError(f"stream: out is {found}; expected a writable {y.dtype} array {y.shape}")
