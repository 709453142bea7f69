"""What LSTM, GRU and SimpleRNN share: whole sequences, masks, states between calls, streams."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.arrays import as_array, as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Shape
from fastlstm.layers.cells import CellWeights, flag
from fastlstm.layers.core import plain, positive
from fastlstm.layers.graph import Tensor
from fastlstm.ragged import is_ragged, run_layer
from fastlstm.stream import Stream, as_states

#: A layer's plan and the arguments of its ``run``: x, h0, c0, y, last, h, c, mask, go_backwards,
#: zero_output_for_mask, and the trace where the gates are to be returned; what a cell without c has none of is None.
#: Plain, because making it is a good part of a short call.
Job = tuple[Any, ...]


def checked_cudnn(use_cudnn: Any, who: str) -> Any:
    """The argument itself, which has nothing to choose on a CPU."""
    if isinstance(use_cudnn, str) and use_cudnn == "auto":
        return use_cudnn
    if isinstance(use_cudnn, bool):
        return use_cudnn
    raise FastLSTMError(f"{who}: use_cudnn is {use_cudnn!r}; expected 'auto', True or False")


class Recurrent(CellWeights):
    """A cell over whole sequences: ``keras.layers.RNN`` around it.

    Parameters
    ----------
    *cell
        The cell's arguments, in the order that its weights' class takes them.
    return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask : bool
        Keras's. unroll chooses between equal computations.
    """

    _rank = 3
    time_major = return_gates = False  # which an LSTM may be told

    def __init__(
        self,
        *cell: Any,
        return_sequences: bool,
        return_state: bool,
        go_backwards: bool,
        stateful: bool,
        unroll: bool,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*cell, **kwargs)
        self.return_sequences = flag(return_sequences, f"{self.who}: return_sequences")
        self.return_state = flag(return_state, f"{self.who}: return_state")
        self.go_backwards = flag(go_backwards, f"{self.who}: go_backwards")
        self.stateful = flag(stateful, f"{self.who}: stateful")
        self.unroll = flag(unroll, f"{self.who}: unroll")
        self.zero_output_for_mask = flag(zero_output_for_mask, f"{self.who}: zero_output_for_mask")
        self._states: tuple[Array, ...] | None = None

    # -- shapes, masks, configuration -------------------------------------------------------------

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """(batch, steps, units) or (batch, units), followed by the states' shapes with return_state; where an LSTM has
        a projection, its width stands for units in the output and in h."""
        batch = input_shape[1 if self.time_major else 0]
        states: list[Shape] = [(batch, width) for width in self._widths]
        output: Shape = (*input_shape[:2], self.output_size) if self.return_sequences else states[0]
        return (output, *states) if self.return_state else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask itself with return_sequences, else None; the states carry none."""
        output = mask if self.return_sequences else None
        return [output, *[None] * self.state_count] if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activity_regularizer": plain(self.activity_regularizer),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
        }

    # -- state of a stateful layer ------------------------------------------------------------------

    def reset_state(self) -> None:
        """Set a stateful layer's state to zeros."""
        if self._states is not None:
            self._states = tuple(np.zeros_like(s) for s in self._states)

    reset_states = reset_state

    @property
    def states(self) -> list[Array] | None:
        """A stateful layer's ``[h, c]`` or ``[h]`` between calls, or None before the first one."""
        return None if self._states is None else [s.copy() for s in self._states]

    # -- running ------------------------------------------------------------------------------------

    def __call__(  # type: ignore[override]
        self,
        sequences: ArrayLike,
        initial_state: Any = None,
        mask: ArrayLike | None = None,
        training: bool = False,
        *,
        lengths: ArrayLike | None = None,
    ) -> Any:
        """Run the layer over a batch of sequences.

        Parameters
        ----------
        sequences : array_like, shape (batch, steps, features), or a list of array_like, (steps, features) each
            Any dtype and memory layout; never written. Any number of steps, also none, and of different ones in
            the arrays of a list: each row is then what it is alone. With ``time_major`` (steps, batch, features).
        initial_state : sequence of array_like, each (batch, units), optional
            ``[h, c]`` of an LSTM, whose h is as wide as a projection; ``[h]``, or h itself, of the others. Default:
            zeros, or where a stateful layer stopped.
        mask : array_like, shape (batch, steps) or (batch, steps, 1), optional
            False holds the row's state at that step, whose output is then the previous one (zeros
            where there is none, or with zero_output_for_mask). Any pattern.
        training : bool
            Accepted for Keras's sake, and refused where it would change the result.
        lengths : array_like of int, shape (batch,), optional
            Steps of each row, from its first on, that count: the mask ``arange(steps) < lengths[:, None]``.

        Returns
        -------
        ndarray, or (output, *states) with return_state, and :class:`Gates` last with an LSTM's return_gates
            Output (batch, steps, units) in processing order with return_sequences, for arrays of different
            lengths a list of (steps, units); else (batch, units); h, and c of an LSTM, (batch, units). The output
            and h are as wide as a projection.

        Raises
        ------
        FastLSTMError
            Wrong rank, width, dtype or state shape, or a mask beside arrays of different lengths; a stateful
            layer's state is then unchanged.
        """
        if type(sequences) is not np.ndarray and is_ragged(sequences):
            return run_layer(self, sequences, initial_state, mask, training, lengths)  # type: ignore[arg-type]
        if not self.built or isinstance(sequences, Tensor):
            optional = {"initial_state": initial_state, "lengths": lengths}
            given = {name: value for name, value in optional.items() if value is not None}
            return super().__call__(sequences, mask=mask, training=training, **given)
        return self.call(sequences, initial_state, mask, training, lengths)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        lengths: Any = None,
    ) -> Any:
        """As calling the layer, for a layer that is built."""
        if lengths is not None:
            mask = self._narrowed(mask, lengths, sequences)
        if mask is None and initial_state is None and not training and self._is_plain:
            found = _core.run_plainly(
                (self._packed(),), sequences, False, self.return_sequences, self.go_backwards
            )
            if found is not None:
                return found
        self._refuse_training(training)
        x = self._as_sequences(sequences)
        y = self._sequence_like(x, self.output_size) if self.return_sequences else None
        job = self._job(x, initial_state, mask, y)
        _core.run_layer(job)
        last, *beside = self._finish(job)
        output = last if y is None else y.swapaxes(0, 1) if self.time_major else y
        return (output, *beside) if beside else output

    def _sequence_like(self, x: Array, width: int, make: Any = np.empty) -> Array:
        """An array (batch, steps, width), in the memory order of the layer's sequences."""
        batch, steps = x.shape[:2]
        if self.time_major:
            turned: Array = make((steps, batch, width), self._real).swapaxes(0, 1)
            return turned
        whole: Array = make((batch, steps, width), self._real)
        return whole

    @property
    def _is_plain(self) -> bool:
        """Without a state to begin with or to give back, nor anything else beside the output."""
        return not (self.stateful or self.return_state or self.time_major or self.return_gates)

    def _job(self, x: Array, initial_state: Any, mask: Any, y: Array | None, *, below: bool = False) -> Job:
        """What the kernel needs for x, with the layer's sequence into y.

        below: x is a layer's input further down the stack, and this layer reads the one right below.
        """
        batch, steps = x.shape[:2]
        h0, c0 = (*self._initial_state(initial_state, batch), None)[:2]
        used = None if mask is None else self._as_mask(mask, batch, steps)
        shape = (batch, self.output_size)
        last = np.empty(shape, self._real) if not self.return_sequences else None
        keep = self.return_state or self.stateful
        h = np.empty(shape, self._real) if keep else None
        c = np.empty((batch, self.units), self._real) if keep and self.state_count == 2 else None
        zero = self.zero_output_for_mask and not self._zeroes_unreversed
        job = self._packed(), None if below else x, h0, c0, y, last, h, c, used, self.go_backwards, zero
        return (*job, self._sequence_like(x, 5 * self.units, np.zeros)) if self.return_gates else job

    @property
    def _zeroes_unreversed(self) -> bool:
        """Keras zeroes an unrolled, reversed layer's sequence by the mask in its unreversed order."""
        return self.unroll and self.go_backwards and self.zero_output_for_mask and self.return_sequences

    def _finish(self, job: Job) -> tuple[Any, ...]:
        """Last output (without return_sequences), then what is returned beside the output, of a job that has run."""
        y, last, h, c, mask = job[4:9]
        if mask is not None and y is not None and self._zeroes_unreversed:
            y[mask == 0] = 0
        states = (h, c)[: self.state_count]
        if self.stateful:
            self._states = tuple(s.copy() for s in states)
        return last, *(states if self.return_state else ()), *self._traced(job)

    def _traced(self, job: Job) -> tuple[Any, ...]:
        """The gates of a job that has run, where they are to be returned."""
        return ()

    def stream(self, batch_size: int = 1) -> Stream:
        """The layer one step at a time, from a state of zeros.

        Parameters
        ----------
        batch_size : int
            Rows that advance together.

        Returns
        -------
        Stream
            ``step(x, out=None)``, ``run(block, out=None)``, ``state``, ``reset()``, ``copy()``.
        """
        rows = positive(batch_size, f"{self.who}: batch_size")
        if self.go_backwards:
            raise FastLSTMError(f"{self.who}: go_backwards=True reads the end first and cannot stream")
        if self.time_major or self.return_gates:
            name = "time_major" if self.time_major else "return_gates"
            raise FastLSTMError(
                f"{self.who}: a stream takes (batch, steps, features) and puts out h alone; set {name} to False"
            )
        if not self.built:
            raise FastLSTMError(f"{self.who}: stream needs weights; call build or set_weights first")
        return Stream(self._packed(), rows)

    def _as_sequences(self, sequences: Any) -> Array:
        """The input as the kernel reads it: (batch, steps, features), a step's features contiguous, whole strides."""
        x, features = sequences, self._packed().features
        if not self.time_major and type(x) is np.ndarray and x.dtype is self._real and x.flags.carray and x.ndim == 3:
            if x.shape[2] == features:
                return x  # nothing to do, in a tenth of the time that the checks below take
        x = as_float(sequences, self._real, f"{self.who}: sequences")
        if x.ndim != 3 or x.shape[2] != features:
            axes = "steps, batch" if self.time_major else "batch, steps"
            raise FastLSTMError(f"{self.who}: sequences has shape {x.shape}; expected ({axes}, {features})")
        if self.time_major:
            x = x.swapaxes(0, 1)
        e = x.itemsize
        if x.strides[2] != e or x.strides[0] % e or x.strides[1] % e:
            x = np.ascontiguousarray(x)
        return x

    def _as_mask(self, mask: Any, batch: int, steps: int) -> Array:
        used = as_array(mask, f"{self.who}: mask")
        if used.ndim == 3 and used.shape[2] == 1:
            used = used[:, :, 0]
        if self.time_major and used.ndim == 2:
            used = used.T
        if used.shape == (1, steps):
            used = np.broadcast_to(used, (batch, steps))  # one row for all, as Keras broadcasts it
        if used.shape != (batch, steps):
            expected = (steps, batch) if self.time_major else (batch, steps)
            raise FastLSTMError(f"{self.who}: mask has shape {np.shape(mask)}; expected {expected}")
        return np.ascontiguousarray(used, dtype=bool).view(np.uint8)

    def _narrowed(self, mask: Any, lengths: Any, sequences: Any) -> Array:
        """The mask of rows of these lengths, within another one where that is given."""
        shape = as_array(sequences, f"{self.who}: sequences").shape
        if len(shape) != 3:
            raise FastLSTMError(f"{self.who}: sequences has shape {shape}; expected three axes")
        batch, steps = shape[1::-1] if self.time_major else shape[:2]
        used = within(lengths, batch, steps, f"{self.who}: lengths")
        if mask is not None:
            used = used & self._as_mask(mask, batch, steps).view(bool)
        return used.T if self.time_major else used

    def _initial_state(self, given: Any, batch: int) -> tuple[Array | None, ...]:
        kept = self._states if self.stateful else None
        if kept is not None and len(kept[0]) != batch:
            raise FastLSTMError(
                f"{self.who} is stateful: sequences has batch {batch}; expected {len(kept[0])} as in the call before"
            )
        if given is None:
            return kept or (None,) * self.state_count
        return as_states(given, self._widths, batch, self._real, f"{self.who}: initial_state")


def check_wrapped(layer: Any, who: str) -> None:
    """Refuse, inside a wrapper, an LSTM whose axes or outputs are not those that Keras's layers have."""
    if getattr(layer, "time_major", False) or getattr(layer, "return_gates", False):
        raise FastLSTMError(f"{who}: {layer.who} has time_major or return_gates; expected neither")


def within(lengths: Any, batch: int, steps: int, who: str) -> Array:
    """The mask (batch, steps) of rows that have so many steps each; who names the argument, for errors."""
    used: Array = np.arange(steps) < checked_lengths(lengths, batch, steps, who)[:, None]
    return used


def checked_lengths(lengths: Any, batch: int, steps: int, who: str, least: int = 0) -> Array:
    """Steps of each row, from ``least`` to ``steps``, as int64 (batch,)."""
    counts = as_array(lengths, who)
    if counts.shape != (batch,) or (counts.dtype.kind not in "iu" and batch):
        raise FastLSTMError(f"{who} is {counts.dtype} of shape {counts.shape}; expected integers of shape ({batch},)")
    wrong = np.flatnonzero((counts < least) | (counts > steps))
    if wrong.size:
        raise FastLSTMError(f"{who}[{wrong[0]}] is {counts[wrong[0]]}; expected {least} to {steps}")
    return counts.astype(np.int64)
