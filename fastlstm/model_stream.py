"""A model one step at a time: its layers keep what they need of the steps before."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.layers.core import Dense, InputLayer
from fastlstm.program import Slot, _Chain
from fastlstm.stream_parts import Kept, LastStep, Part, Recurrent, folded
from fastlstm.streaming import Unrolled
from fastlstm.structure import flatten, leaves_like, map_structure, unflatten

if TYPE_CHECKING:
    from fastlstm.model import Model


class ModelStream:
    """A model's state between steps, made by ``model.stream(batch_size)``.

    Each step returns what the whole model returns on all steps so far (its last one, where it returns
    a sequence). Inputs of three axes or more have steps, and so have the ids that an Embedding looks up; any
    other input is given anew with each step. A stream belongs to one thread at a time, and to the weights
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
        self._hold(self._plan.parts)

    def _hold(self, parts: list[Part]) -> None:
        self._parts = parts
        self._kept: list[Kept] = [part for part in parts if hasattr(part, "state")]  # type: ignore[misc]
        self._chain = self._native_chain()

    def _native_chain(self) -> _core.ChainCore | None:
        """All parts as one call a step, where they are the library's own and of one dtype."""
        entry, at = self._model.program.entries[0], self._plan.inputs[0].number
        links: list[Any] = []
        dtypes = set()
        for part in self._parts:
            if not isinstance(part, _Chain | Recurrent | LastStep) or part.source != at:
                return None
            at = part.target
            if isinstance(part, LastStep):
                if part.axis:
                    return None
                continue  # of one step, it is the step
            layer: Any = part.layer if isinstance(part, Recurrent) else part.layers[0]
            dtypes.add(layer.dtype)
            if isinstance(part, Recurrent) and isinstance(part.stream, _core.StreamCore) and part.last is None:
                links.append(part.stream)
            elif type(layer) is Dense:
                links.append(layer._packed())
            else:
                return None
        ends = isinstance(self._outputs, Slot) and self._outputs.number == at
        whole = self._kept and len(self._plan.inputs) == 1 and len(entry.batch_shape) == 3
        return _core.ChainCore(links, self.batch_size) if ends and whole and dtypes == {entry.dtype} else None

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
        before = self.state
        try:
            if steps:
                masks: list[Any] = [None] * len(values)
                for part in self._parts:
                    part.run(values, masks)
            else:
                self._fill_empty(values)
            return self._result(values, out, steps, block, single)
        except BaseException:  # Ctrl-C, say: as if the steps had never begun
            self.state = before
            raise

    def _read(self, x: Any, block: bool, values: list[Any]) -> tuple[bool, int]:
        """Put the inputs into their slots; whether they came without the batch axis, and the number of steps."""
        program = self._model.program
        alone = len(program.entries) == 1 and not isinstance(x, dict)
        given = [x] if alone else self._model._structured(x)
        forms = set()
        for value, entry, slot in zip(given, program.entries, self._plan.inputs, strict=True):
            if value is None and entry.optional:
                continue
            timed = self._plan.timed[slot.number]
            sizes = [self.batch_size, None, *entry.batch_shape[1 + timed :]]
            if not block:
                del sizes[1]
            array, single = self._checked(value, entry, sizes, "" if alone else f", input {entry.name!r},")
            forms.add((single, array.shape[1] if block else 1))
            if block != timed:
                array = folded(array) if block else array[:, None]
            values[slot.number] = array
        if len(forms) != 1:
            raise FastLSTMError("stream: x has inputs with and without a batch axis, or of unlike numbers of steps")
        return forms.pop()

    def _checked(self, value: Any, entry: InputLayer, sizes: list[int | None], which: str) -> tuple[Array, bool]:
        """One input as an array of these sizes, and whether it came without the batch axis."""
        try:
            array = np.asarray(value)
        except ValueError as error:  # a ragged nest of lists
            raise FastLSTMError(f"stream: x{which} is not an array: {error}") from None
        found = array.shape
        single = array.ndim == len(sizes) - 1 and self.batch_size == 1
        array = array[None] if single else array
        fits = array.ndim == len(sizes) and all(n in (None, m) for n, m in zip(sizes, array.shape, strict=True))
        if array.dtype.kind not in "biuf" or not fits:
            raise FastLSTMError(
                f"stream: x{which} is {array.dtype} of shape {found}; "
                f"expected numbers of shape {tuple(sizes)} (None = any)"
            )
        cast: Array = self._model._cast(array, entry)
        return cast, single

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
        before = self.state
        try:
            for part, arrays in zip(self._kept, given, strict=True):
                part.state = arrays
        except FastLSTMError:
            for part, own in zip(self._kept, before, strict=True):
                part.state = own
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


def _check_out(out: Any, y: Array) -> None:
    fits = isinstance(out, np.ndarray) and out.shape == y.shape and out.dtype == y.dtype and out.flags.writeable
    if not fits:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise FastLSTMError(f"stream: out is {found}; expected a writable {y.dtype} array {y.shape}")
