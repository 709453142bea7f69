"""RNN over cells, and StackedRNNCells: each cell runs as the recurrent layer that it is a step of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlstm import _core
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape, snake_case
from fastlstm.layers.cells import RecurrentCell, flag
from fastlstm.layers.gru import GRU, GRUCell
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.lstm_cell import LSTMCell
from fastlstm.layers.recurrent import Recurrent
from fastlstm.layers.serialization import layer_from_config, layer_to_config
from fastlstm.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from fastlstm.ragged import is_ragged, run_layer
from fastlstm.structure import flatten

_LAYER_OF: dict[type, type[Recurrent]] = {LSTMCell: LSTM, GRUCell: GRU, SimpleRNNCell: SimpleRNN}


class StackedRNNCells(Layer):
    """Cells that run one after the other at each step: ``keras.layers.StackedRNNCells``.

    Parameters
    ----------
    cells : list of LSTMCell, GRUCell or SimpleRNNCell
        The first reads the input, each other one the output of the one before it.
    """

    def __init__(self, cells: Sequence[Any], **base: Any) -> None:
        super().__init__(**base)
        if not isinstance(cells, list | tuple) or not cells:
            raise FastLSTMError(f"{self.who}: cells is {cells!r}; expected a list of cells")
        for cell in cells:
            if type(cell) not in _LAYER_OF:
                raise FastLSTMError(
                    f"{self.who}: a cell is {cell!r}; expected an LSTMCell, GRUCell or SimpleRNNCell of fastlstm"
                )
        self.cells = list(cells)

    def sublayers(self) -> dict[str, Layer]:
        found: dict[str, Layer] = {}
        seen: dict[str, int] = {}
        for cell in self.cells:
            kind = snake_case(cell.class_name)
            number = seen[kind] = seen.get(kind, -1) + 1
            found[f"cells/{kind}_{number}" if number else f"cells/{kind}"] = cell
        return found

    def _prepare_sublayers(self, input_shape: Shape) -> None:
        for cell in self.cells:
            cell.prepare(input_shape)
            input_shape = (input_shape[0], cell.units)

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        first: RecurrentCell = self.cells[0]
        return first._input_shape_from(arrays)

    @property
    def state_size(self) -> list[Any]:
        """Of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """Units of the last cell."""
        size: int = self.cells[-1].units
        return size

    def get_initial_state(self, batch_size: int | None = None) -> list[list[Array]]:
        """Zeros for the states of each cell."""
        return [cell.get_initial_state(batch_size) for cell in self.cells]

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """Shapes of the output and of each cell's new states."""
        states = [cell.compute_output_shape(input_shape)[1] for cell in self.cells]
        return (input_shape[0], self.output_size), states

    def call(self, inputs: Any, states: Any = None, training: bool = False) -> Any:  # type: ignore[override]
        """One step of all cells; see :meth:`LSTMCell.__call__`. ``states`` has those of each cell."""
        after = []
        for cell, own in zip(self.cells, states, strict=True):
            inputs, new = cell.call(inputs, own, training)
            after.append(new)
        return inputs, after[0] if len(after) == 1 else after

    def __call__(self, inputs: Any, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """As :meth:`call`; builds the cells at the first call."""
        if not self.built:
            self.build(np.shape(inputs))
        return self.call(inputs, states, training)

    def _refuse_training(self, training: bool) -> None:
        for cell in self.cells:
            cell._refuse_training(training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": [layer_to_config(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        cells = config.get("cells")
        if isinstance(cells, list):
            cells = [layer_from_config(node) for node in cells]
        return cls(**{**config, "cells": cells})


class RNN(Layer):
    """Cells over a whole sequence: ``keras.layers.RNN`` at inference.

    Parameters
    ----------
    cell : LSTMCell, GRUCell, SimpleRNNCell, StackedRNNCells, or a list of cells, which are then stacked
    return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask : bool
        Keras's. unroll chooses between equal computations.

    Notes
    -----
    A step that the mask leaves out holds the states of all cells.
    """

    supports_masking = True

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell)
        if type(cell) not in _LAYER_OF and not isinstance(cell, StackedRNNCells):
            raise FastLSTMError(
                f"{self.who}: cell is {cell!r}; expected an LSTMCell, GRUCell, SimpleRNNCell or StackedRNNCells "
                "of fastlstm"
            )
        self.cell = cell
        self.return_sequences = flag(return_sequences, f"{self.who}: return_sequences")
        self.return_state = flag(return_state, f"{self.who}: return_state")
        self.go_backwards = flag(go_backwards, f"{self.who}: go_backwards")
        self.stateful = flag(stateful, f"{self.who}: stateful")
        self.unroll = flag(unroll, f"{self.who}: unroll")
        self.zero_output_for_mask = flag(zero_output_for_mask, f"{self.who}: zero_output_for_mask")
        self._layers = [_layer_of(c) for c in self.cells]

    @property
    def cells(self) -> list[RecurrentCell]:
        """The cells in the order in which they run."""
        return self.cell.cells if isinstance(self.cell, StackedRNNCells) else [self.cell]

    def sublayers(self) -> dict[str, Layer]:
        return {"cell": self.cell}

    def _prepare_sublayers(self, input_shape: Shape) -> None:
        if len(input_shape) != 3:
            raise FastLSTMError(f"{self.who}: input has shape {input_shape}; expected (batch, steps, features)")
        self.cell.prepare((input_shape[0], input_shape[2]))

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        shape = self.cell._input_shape_from(arrays)
        return None if shape is None else (shape[0], None, shape[1])

    # -- shapes, masks, configuration ---------------------------------------------------------------

    @property
    def state_size(self) -> list[Any]:
        """Of each state, or of the states of each cell."""
        size = self.cell.state_size
        return [size] if isinstance(size, int) else list(size)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """(batch, steps, units) or (batch, units), followed by the states' shapes with return_state."""
        batch, steps, _ = input_shape
        units = self.cells[-1].units
        output: Shape = (batch, steps, units) if self.return_sequences else (batch, units)
        states = [(batch, s) if isinstance(s, int) else [(batch, part) for part in s] for s in self.state_size]
        return (output, *states) if self.return_state else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask itself with return_sequences, else None; the states carry none."""
        output = mask if self.return_sequences else None
        states = [None if isinstance(s, int) else [None] * len(s) for s in self.state_size]
        return [output, *states] if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            "cell": layer_to_config(self.cell),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        return cls(**{**config, "cell": layer_from_config(config.get("cell"))})

    # -- state of a stateful layer ------------------------------------------------------------------

    def reset_state(self) -> None:
        """Set a stateful layer's states to zeros."""
        for layer in self._layers:
            layer.reset_state()

    reset_states = reset_state

    @property
    def states(self) -> list[Any] | None:
        """A stateful layer's states between calls, or None before the first one."""
        states = [layer.states for layer in self._layers]
        if states[0] is None:
            return None
        return states if isinstance(self.cell, StackedRNNCells) else states[0]

    # -- running ------------------------------------------------------------------------------------

    def _refuse_training(self, training: bool) -> None:
        self.cell._refuse_training(training)

    def as_layers(self) -> list[Recurrent]:
        """The cells as recurrent layers over a sequence, with this layer's options."""
        last = len(self._layers) - 1
        for i, (layer, cell) in enumerate(zip(self._layers, self.cells, strict=True)):
            layer.return_sequences = i < last or self.return_sequences
            layer.return_state, layer.stateful = self.return_state, self.stateful
            layer.go_backwards = self.go_backwards and i == 0
            layer.zero_output_for_mask = self.zero_output_for_mask and i == last and not self._zeroes_unreversed
            layer._plan, layer.built = cell._packed(), True
        return self._layers

    @property
    def _zeroes_unreversed(self) -> bool:
        """Keras zeroes an unrolled, reversed layer's sequence by the mask in its unreversed order."""
        return self.unroll and self.go_backwards and self.zero_output_for_mask and self.return_sequences

    def __call__(  # type: ignore[override]
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Run the cells over a batch of sequences; see :meth:`LSTM.__call__`.

        ``initial_state`` is a nest of arrays in the order of ``state_size``.
        """
        if is_ragged(sequences):
            return run_layer(self, sequences, initial_state, mask, training)
        given = {} if initial_state is None else {"initial_state": initial_state}
        return super().__call__(sequences, mask=mask, training=training, **given)

    def call(self, sequences: Any, initial_state: Any = None, *, mask: Any = None) -> Any:
        layers = self.as_layers()
        x = layers[0]._as_sequences(sequences)
        batch, steps = x.shape[:2]
        if mask is not None:
            mask = layers[0]._as_mask(mask, batch, steps).view(bool)
        # above a reversed layer the steps come in its order
        masks = [mask] + [mask if mask is None or not self.go_backwards else mask[:, ::-1]] * (len(layers) - 1)
        run = self._run_together if len({(la.isa, la.dtype, la.threads) for la in layers}) == 1 else self._run_in_turn
        y, jobs = run(layers, x, self._states_of_cells(initial_state), masks)
        states = []
        output: Any = None
        for layer, job in zip(layers, jobs, strict=True):
            output, *own = layer._finish(job)
            states.append(own)
        if y is not None:
            output = y
            if mask is not None and self._zeroes_unreversed:
                output[~mask] = 0
        output = output.astype(self.dtype, copy=False)
        if not self.return_state:
            return output
        return (output, *(states if isinstance(self.cell, StackedRNNCells) else states[0]))

    def _run_together(self, layers: list[Recurrent], x: Array, states: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        """All layers in one call: the last one's sequence, if it gives one, and the jobs."""
        y = np.empty((*x.shape[:2], layers[-1].units), layers[-1].dtype) if self.return_sequences else None
        jobs = tuple(
            layer._job(x, state, mask, y if layer is layers[-1] else None, below=layer is not layers[0])
            for layer, state, mask in zip(layers, states, masks, strict=True)
        )
        _core.run_layers(jobs, True)
        return y, jobs

    def _run_in_turn(self, layers: list[Recurrent], x: Array, states: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        """As :meth:`_run_together`, for cells of unlike types or kernels."""
        y: Any = x
        jobs = []
        for layer, state, mask in zip(layers, states, masks, strict=True):
            x = layer._as_sequences(y)
            y = np.empty((*x.shape[:2], layer.units), layer.dtype) if layer.return_sequences else None
            jobs.append(layer._job(x, state, mask, y))
            _core.run_layer(jobs[-1])
        return y, jobs

    def _states_of_cells(self, given: Any) -> list[Any]:
        """The initial states of each cell, from a nest of arrays in the order of ``state_size``."""
        if given is None:
            return [None] * len(self._layers)
        flat = flatten([given] if isinstance(given, np.ndarray) else list(given))
        counts = [layer.state_count for layer in self._layers]
        if len(flat) != sum(counts):
            raise FastLSTMError(f"{self.who}: initial_state has {len(flat)} arrays; expected {sum(counts)}")
        parts = iter(flat)
        return [[next(parts) for _ in range(count)] for count in counts]


def _layer_of(cell: RecurrentCell) -> Recurrent:
    """A recurrent layer that takes the cell's step; its weights are the cell's own."""
    return _LAYER_OF[type(cell)](**cell.get_config(), **cell.how_to_run)
