"""LSTM with Keras's arguments and calls, over the kernels of csrc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Shape
from fastlstm.layers.core import positive
from fastlstm.layers.graph import Tensor
from fastlstm.layers.lstm_cell import LSTMWeights
from fastlstm.stream import Stream, as_state

#: A layer's plan and the arguments of its ``run``: x, h0, c0, y, last, h, c, mask, go_backwards,
#: zero_output_for_mask. Plain, because making it is a good part of a short call.
Job = tuple[Any, ...]


class LSTM(LSTMWeights):
    """Long short-term memory over a whole sequence: ``keras.layers.LSTM`` at inference.

    z = x W + h R + b;  i, f, o = recurrent_activation(z_i, z_f, z_o);
    c' = f c + i activation(z_c);  h' = o activation(c')

    Arguments, defaults and results are Keras 3.15's on the TensorFlow CPU backend
    (keras/src/layers/rnn/lstm.py). Those that matter in training only (regularizers, constraints,
    dropout, seed) or that choose between equal computations (implementation, unroll, use_cudnn) are
    accepted and inert. Three more, by keyword:

    Parameters
    ----------
    isa : str, optional
        Kernel to use (``fastlstm.show_config()`` lists them); default FASTLSTM_ISA, else the best.
    reproducible : bool
        Only kernels that round each multiply-add once: the same bits on every one of them.
    threads : int, optional
        Threads that a call may use; default ``fastlstm.get_num_threads()``. They change no result.
    """

    _rank = 3

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
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed,
            activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip
        if use_cudnn not in ("auto", True, False):
            raise FastLSTMError(f"LSTM {self.name!r}: use_cudnn is {use_cudnn!r}; expected 'auto', True or False")
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.use_cudnn = use_cudnn
        self.zero_output_for_mask = zero_output_for_mask
        self._states: tuple[Array, Array] | None = None

    # -- shapes, masks, configuration -------------------------------------------------------------

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """(batch, steps, units) or (batch, units), followed by the states' shapes with return_state."""
        batch, steps = input_shape[0], input_shape[1]
        state: Shape = (batch, self.units)
        output: Shape = (batch, steps, self.units) if self.return_sequences else state
        return (output, state, state) if self.return_state else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask itself with return_sequences, else None; the states carry none."""
        output = mask if self.return_sequences else None
        return [output, None, None] if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activity_regularizer": self.activity_regularizer,
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
            h, c = self._states
            self._states = np.zeros_like(h), np.zeros_like(c)

    reset_states = reset_state

    @property
    def states(self) -> list[Array] | None:
        """A stateful layer's ``[h, c]`` between calls, or None before the first one."""
        return None if self._states is None else [s.copy() for s in self._states]

    # -- running ------------------------------------------------------------------------------------

    def __call__(  # type: ignore[override]
        self,
        sequences: ArrayLike,
        initial_state: Sequence[ArrayLike] | None = None,
        mask: ArrayLike | None = None,
        training: bool = False,
    ) -> Any:
        """Run the layer over a batch of sequences.

        Parameters
        ----------
        sequences : array_like, shape (batch, steps, features)
            Any dtype and memory layout; never written. Any number of steps, also none.
        initial_state : sequence of two array_like, [h, c], each (batch, units), optional
            Default: zeros, or where a stateful layer stopped.
        mask : array_like, shape (batch, steps) or (batch, steps, 1), optional
            False holds the row's state at that step, whose output is then the previous one (zeros
            where there is none, or with zero_output_for_mask). Any pattern.
        training : bool
            Accepted for Keras's sake, and refused where it would change the result.

        Returns
        -------
        ndarray, or (output, h, c) with return_state
            Output (batch, steps, units) in processing order with return_sequences, else
            (batch, units); h and c (batch, units).

        Raises
        ------
        FastLSTMError
            Wrong rank, width, dtype or state shape; a stateful layer's state is then unchanged.
        """
        if not self.built or isinstance(sequences, Tensor):
            given = {} if initial_state is None else {"initial_state": initial_state}
            return super().__call__(sequences, mask=mask, training=training, **given)
        return self.call(sequences, initial_state, mask, training)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """As calling the layer, for a layer that is built."""
        if mask is None and initial_state is None and not training and self._is_plain:
            found = _core.run_plainly(
                (self._packed(),), sequences, False, self.return_sequences, self.go_backwards
            )
            if found is not None:
                return found
        self._refuse_training(training)
        x = self._as_sequences(sequences)
        y = np.empty((x.shape[0], x.shape[1], self.units), self._real) if self.return_sequences else None
        job = self._job(x, initial_state, mask, y)
        _core.run_layer(job)
        last, h, c = self._finish(job)
        output = last if y is None else y
        return (output, h, c) if self.return_state else output

    @property
    def _is_plain(self) -> bool:
        """Without a state to begin with or to give back."""
        return not (self.stateful or self.return_state)

    def _job(self, x: Array, initial_state: Any, mask: Any, y: Array | None, *, below: bool = False) -> Job:
        """What the kernel needs for x, with the layer's sequence into y.

        below: x is a layer's input further down the stack, and this layer reads the one right below.
        """
        batch, steps = x.shape[:2]
        h0, c0 = self._initial_state(initial_state, batch)
        used = None if mask is None else self._as_mask(mask, batch, steps)
        shape = (batch, self.units)
        last = np.empty(shape, self._real) if not self.return_sequences else None
        keep = self.return_state or self.stateful
        h, c = (np.empty(shape, self._real), np.empty(shape, self._real)) if keep else (None, None)
        zero = self.zero_output_for_mask and not self._zeroes_unreversed
        return self._packed(), None if below else x, h0, c0, y, last, h, c, used, self.go_backwards, zero

    @property
    def _zeroes_unreversed(self) -> bool:
        """Keras zeroes an unrolled, reversed layer's sequence by the mask in its unreversed order."""
        return self.unroll and self.go_backwards and self.zero_output_for_mask and self.return_sequences

    def _finish(self, job: Job) -> tuple[Array | None, Array | None, Array | None]:
        """Last output (without return_sequences) and state of a job that has run."""
        _, _, _, _, y, last, h, c, mask, _, _ = job
        if mask is not None and y is not None and self._zeroes_unreversed:
            y[mask == 0] = 0
        if self.stateful:
            self._states = h.copy(), c.copy()
        return last, h, c

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
        rows = positive(batch_size, f"LSTM {self.name!r}: batch_size")
        if self.go_backwards:
            raise FastLSTMError(f"LSTM {self.name!r}: go_backwards=True reads the end first and cannot stream")
        if not self.built:
            raise FastLSTMError(f"LSTM {self.name!r}: stream needs weights; call build or set_weights first")
        return Stream(self._packed(), rows)

    def _as_sequences(self, sequences: Any) -> Array:
        """The input as the kernel reads it: each step's features contiguous, whole strides."""
        x, features = sequences, self._packed().features
        if type(x) is np.ndarray and x.dtype is self._real and x.flags.carray and x.ndim == 3:
            if x.shape[2] == features:
                return x  # nothing to do, in a tenth of the time that the checks below take
        x = as_float(sequences, self._real, f"LSTM {self.name!r}: sequences")
        if x.ndim != 3 or x.shape[2] != features:
            raise FastLSTMError(
                f"LSTM {self.name!r}: sequences has shape {x.shape}; expected (batch, steps, {features})"
            )
        e = x.itemsize
        if x.strides[2] != e or x.strides[0] % e or x.strides[1] % e:
            x = np.ascontiguousarray(x)
        return x

    def _as_mask(self, mask: Any, batch: int, steps: int) -> Array:
        used = np.asarray(mask)
        if used.ndim == 3 and used.shape[2] == 1:
            used = used[:, :, 0]
        if used.shape == (1, steps):
            used = np.broadcast_to(used, (batch, steps))  # one row for all, as Keras broadcasts it
        if used.shape != (batch, steps):
            raise FastLSTMError(
                f"LSTM {self.name!r}: mask has shape {np.shape(mask)}; expected ({batch}, {steps})"
            )
        return np.ascontiguousarray(used, dtype=bool).view(np.uint8)

    def _initial_state(self, given: Any, batch: int) -> tuple[Array | None, Array | None]:
        if self.stateful and self._states is not None and len(self._states[0]) != batch:
            raise FastLSTMError(
                f"LSTM {self.name!r} is stateful: sequences has batch {batch}; "
                f"expected {len(self._states[0])} as in the call before"
            )
        if given is None:
            return self._states if self.stateful and self._states is not None else (None, None)
        return as_state(given, batch, self.units, self._real, f"LSTM {self.name!r}: initial_state")


