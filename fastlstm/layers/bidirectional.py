"""Bidirectional: one recurrent layer forwards and one backwards over the same sequence, their outputs merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.graph import Tensor
from fastlstm.layers.recurrent import Recurrent, check_wrapped
from fastlstm.layers.rnn import RNN
from fastlstm.layers.serialization import layer_from_config, layer_to_config
from fastlstm.ragged import is_ragged, run_layer

_MERGES = ("concat", "sum", "mul", "ave", None)


class Bidirectional(Layer):
    """``keras.layers.Bidirectional`` around an LSTM, GRU, SimpleRNN or RNN, at inference.

    Parameters
    ----------
    layer : LSTM, GRU, SimpleRNN or RNN
        Copied, by its configuration, into ``forward_layer`` and, reversed, into ``backward_layer``.
    merge_mode : {"concat", "sum", "mul", "ave", None}
        How the two outputs become one; None returns both.
    weights : sequence of array_like, optional
        First half the forward layer's, second half the backward layer's.
    backward_layer : LSTM, GRU, SimpleRNN or RNN, optional
        Used as it is, instead of the copy: with the other ``go_backwards``, the same ``stateful``,
        ``return_sequences`` and ``return_state``, and any other options.

    Notes
    -----
    As in Keras, both layers get ``zero_output_for_mask = return_sequences``, a mask is reversed with
    its sequence, and the backward layer's sequence is turned round before it is merged.
    """

    def __init__(
        self,
        layer: Recurrent | RNN,
        merge_mode: str | None = "concat",
        weights: Sequence[ArrayLike] | None = None,
        backward_layer: Recurrent | RNN | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        for argument, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(given, Recurrent | RNN) and (given is not None or argument == "layer"):
                raise FastLSTMError(
                    f"{self.who}: {argument} is {given!r}; expected an LSTM, GRU, SimpleRNN or RNN of fastlstm"
                )
        if merge_mode not in _MERGES:
            raise FastLSTMError(f"{self.who}: merge_mode is {merge_mode!r}; expected one of {_MERGES}")
        self.forward_layer = _copy(layer, "forward_")
        self.backward_layer = backward_layer or _copy(layer, "backward_", go_backwards=True)
        self._check_sides()
        for side in (self.forward_layer, self.backward_layer):
            side.zero_output_for_mask = side.return_sequences
        self.merge_mode = merge_mode
        self._given_weights = weights
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful

    def _check_sides(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise FastLSTMError(f"{self.who}: both layers have go_backwards={forward.go_backwards}; expected unlike")
        for side in (forward, backward):
            check_wrapped(side, self.who)
        for option in ("stateful", "return_sequences", "return_state"):
            one, other = getattr(forward, option), getattr(backward, option)
            if one != other:
                raise FastLSTMError(f"{self.who}: {option} is {one} forward and {other} backward; expected the same")

    # -- shapes and weights -------------------------------------------------------------------------

    def sublayers(self) -> dict[str, Layer]:
        return {"forward_layer": self.forward_layer, "backward_layer": self.backward_layer}

    def _prepare_sublayers(self, input_shape: Shape) -> None:
        for side in self.sublayers().values():
            side.prepare(input_shape)

    def fill(self) -> None:
        super().fill()
        if self._given_weights is not None:
            given, self._given_weights = self._given_weights, None
            self.set_weights(given)

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        shape: Shape | None = self.forward_layer._input_shape_from(arrays)
        return shape

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """The merged output's shape (two with merge_mode None), followed by the states' with return_state."""
        sides = [side.compute_output_shape(input_shape) for side in (self.forward_layer, self.backward_layer)]
        outputs = [shape[0] if self.return_state else shape for shape in sides]
        states = sides[0][1:] + sides[1][1:] if self.return_state else ()
        if self.merge_mode is None:
            return (*outputs, *states)
        if self.merge_mode != "concat":
            self._check_merged(outputs[0], outputs[1])
        width = sum(o[-1] for o in outputs) if self.merge_mode == "concat" else outputs[0][-1]
        merged = (*outputs[0][:-1], width)
        return (merged, *states) if self.return_state else merged

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask itself for a sequence output, None for the states and for a last output."""
        output = mask if self.return_sequences else None
        outputs = [output, output] if self.merge_mode is None else [output]
        states = []
        if self.return_state:
            for side in (self.forward_layer, self.backward_layer):
                states += side.compute_mask(inputs, None)[1:]
        return [*outputs, *states] if len(outputs) + len(states) > 1 else output

    # -- configuration --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        forward, backward = (layer_to_config(side) for side in (self.forward_layer, self.backward_layer))
        return {**super().get_config(), "merge_mode": self.merge_mode, "layer": forward, "backward_layer": backward}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        sides = {side: layer_from_config(config[side]) for side in ("layer", "backward_layer") if config.get(side)}
        return cls(**{**config, **sides})

    # -- state of a stateful layer ----------------------------------------------------------------------

    def reset_state(self) -> None:
        """Set both layers' states to zeros."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    # -- running ----------------------------------------------------------------------------------------

    supports_masking = True

    def __call__(  # type: ignore[override]
        self,
        sequences: Any,
        initial_state: Sequence[ArrayLike] | None = None,
        mask: ArrayLike | None = None,
        training: bool = False,
        *,
        lengths: ArrayLike | None = None,
    ) -> Any:
        """Run both layers over a batch of sequences.

        Parameters
        ----------
        sequences : array_like, shape (batch, steps, features), or a list of array_like, (steps, features) each
            Of different lengths too: each row is then what it is alone, and sequences are lists of arrays.
        initial_state : sequence of array_like, optional
            The forward layer's states, then the backward layer's: for LSTM ``[forward h, forward c, backward h,
            backward c]``, each (batch, units).
        mask : array_like, shape (batch, steps), optional
        training : bool
        lengths : array_like of int, shape (batch,), optional
            As for :class:`LSTM`.

        Returns
        -------
        ndarray or tuple
            The merged output, or both with merge_mode None; then the forward and the backward layer's states
            with return_state. Its sequence axis runs with the input's.
        """
        if type(sequences) is not np.ndarray and is_ragged(sequences):
            return run_layer(self, sequences, initial_state, mask, training, lengths)
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
        forward, backward = self.forward_layer, self.backward_layer
        if lengths is not None:
            if not isinstance(forward, Recurrent):
                raise FastLSTMError(f"{self.who}: lengths are for LSTM, GRU and SimpleRNN; give a mask")
            mask = forward._narrowed(mask, lengths, sequences)
        for side in (forward, backward):
            side._refuse_training(training)
        if not isinstance(forward, Recurrent) or not isinstance(backward, Recurrent):
            return self._call_in_turn(sequences, initial_state, mask)
        together = forward.isa == backward.isa and forward.dtype == backward.dtype
        joined = self.merge_mode == "concat" and forward.dtype == backward.dtype == self.dtype
        if mask is None and initial_state is None and forward._is_plain and together and joined:
            plans = forward._packed(), backward._packed()
            found = _core.run_plainly(plans, sequences, False, self.return_sequences, forward.go_backwards)
            if found is not None:
                return found
        given = self._halves(initial_state)
        if forward.dtype != self.dtype or backward.dtype != self.dtype:
            sequences = as_float(sequences, np.dtype(self.dtype), f"{self.who}: sequences")
        inputs = [side._as_sequences(sequences) for side in (forward, backward)]
        shape = inputs[0].shape[:2] if self.return_sequences else inputs[0].shape[:1]
        widths = (forward.output_size, backward.output_size)
        if joined:  # the kernels write both halves where they belong
            whole = np.empty((*shape, sum(widths)), self.dtype)
            parts = [whole[..., : widths[0]], whole[..., widths[0] :]]
        else:
            parts = [np.empty((*shape, s.output_size), s.dtype) for s in (forward, backward)]
        turned = (parts[0], parts[1][:, ::-1]) if self.return_sequences else (None, None)
        sides = zip((forward, backward), inputs, given, turned, strict=True)
        jobs = tuple(side._job(x, state, mask, y) for side, x, state, y in sides)
        if together:
            _core.run_layers(jobs, False)
        else:
            for job in jobs:
                _core.run_layer(job)
        states: list[Any] = []
        for side, job, part in zip((forward, backward), jobs, parts, strict=True):
            last, *own = side._finish(job)
            if last is not None:
                part[...] = last
            states += own
        return self._returned([whole] if joined else self._merged(parts), states)

    def _call_in_turn(self, sequences: Any, initial_state: Any, mask: Any) -> Any:
        """As :meth:`call`, for layers that are not one cell each."""
        parts: list[Any] = []
        states: list[Any] = []
        for side, state in zip((self.forward_layer, self.backward_layer), self._halves(initial_state), strict=True):
            found = side.call(sequences, state, mask=mask)
            output, *own = found if self.return_state else (found,)
            parts.append(output)
            states += own
        if self.return_sequences:
            parts[1] = parts[1][:, ::-1]
        return self._returned(self._merged(parts), states)

    def _returned(self, outputs: list[Array], states: list[Any]) -> Any:
        if self.return_state:
            return (*outputs, *states)
        return tuple(outputs) if self.merge_mode is None else outputs[0]

    def _halves(self, initial_state: Any) -> tuple[Any, Any]:
        """The states that each layer begins with."""
        if initial_state is None:
            return None, None
        if not isinstance(initial_state, list | tuple | np.ndarray):
            raise FastLSTMError(
                f"{self.who}: initial_state is {type(initial_state).__name__}; expected a list of arrays"
            )
        state, counts = list(initial_state), [_state_count(s) for s in (self.forward_layer, self.backward_layer)]
        if len(state) != sum(counts):
            raise FastLSTMError(
                f"{self.who}: initial_state has {len(state)} arrays; "
                f"expected {sum(counts)}: the forward layer's, then the backward layer's"
            )
        return state[: counts[0]], state[counts[0] :]

    def _check_merged(self, forward: Shape, backward: Shape) -> None:
        if forward != backward:
            raise FastLSTMError(
                f"{self.who}: merge_mode {self.merge_mode!r} needs equal units; "
                f"found {forward[-1]} forward and {backward[-1]} backward"
            )

    def _merged(self, parts: list[Array]) -> list[Array]:
        """The outputs that there are after merging."""
        y, y_rev = (part.astype(self.dtype, copy=False) for part in parts)
        if self.merge_mode is None:
            return [y, y_rev]
        if self.merge_mode == "concat":
            return [np.concatenate([y, y_rev], axis=-1)]
        self._check_merged(y.shape, y_rev.shape)
        if self.merge_mode == "mul":
            return [y * y_rev]
        y = y + y_rev
        if self.merge_mode == "ave":
            y /= 2
        return [y]


def _copy(layer: Any, prefix: str, **changes: Any) -> Any:
    """A fresh layer of the same configuration and kernel, named as Keras names it."""
    config = {**layer.get_config(), **changes, "name": prefix + layer.name.removeprefix(prefix)}
    if isinstance(layer, RNN):
        return _as_run(RNN.from_config(config), layer)
    copy = type(layer)(**config, **layer.how_to_run)
    if hasattr(layer, "use_cudnn"):  # kept, as Keras does, though no configuration has it
        copy.use_cudnn = layer.use_cudnn
    return copy


def _as_run(copy: Any, layer: RNN) -> Any:
    """The copy of an RNN, whose cells run as the RNN's do."""
    for cell, own, given in zip(copy.cells, copy._layers, layer.cells, strict=True):
        for name, value in given.how_to_run.items():
            setattr(cell, name, value)
            setattr(own, name, value)
    return copy


def _state_count(side: Recurrent | RNN) -> int:
    return side.state_count if isinstance(side, Recurrent) else len(side.state_size)
