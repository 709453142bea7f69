"""What can make a step in TensorFlow 1: what its LSTM cells share, and MultiRNNCell; and how either runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, resolve_dtype
from fastlstm.layers.cells import flag
from fastlstm.layers.core import positive
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.recurrent import within
from fastlstm.tf1.variables import LSTMStateTuple, LSTMVariables


class RNNCell:
    """What can make a step: an LSTM cell, or a MultiRNNCell of them."""

    @property
    def who(self) -> str:
        """Names the cell in errors."""
        raise NotImplementedError

    @property
    def state_size(self) -> Any:
        """Widths of the states, nested as the state is."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """Width of the output."""
        raise NotImplementedError

    def cells(self) -> list[LSTMCellBase]:
        """The LSTMs in it, in the order in which they run."""
        raise NotImplementedError

    def split(self, state: Any, batch: int) -> list[list[Array] | None]:
        """A state as the layers of ``cells`` take theirs: ``[h, c]`` each, or None for zeros."""
        raise NotImplementedError

    def joined(self, states: list[tuple[Array, Array]]) -> Any:
        """The state of the cell from ``(h, c)`` of each of ``cells``."""
        raise NotImplementedError

    def layers(self, features: int, dtype: Any) -> list[LSTM]:
        """The layers that compute it, for inputs of that width."""
        found = []
        for cell in self.cells():
            found.append(cell.layer(features, dtype))
            features = cell.output_size
        return found

    def zero_state(self, batch_size: int, dtype: Any) -> Any:
        """Zeros for the states, nested as ``state_size`` is, each (batch_size, width)."""
        batch = positive(batch_size, f"{self.who}: batch_size")
        name = resolve_dtype(dtype, self.who)
        return _zeros(self.state_size, batch, name)

    def __call__(self, inputs: ArrayLike, state: Any, scope: Any = None) -> tuple[Array, Any]:
        """One step.

        Parameters
        ----------
        inputs : array_like, shape (batch, features)
        state : LSTMStateTuple, or a nest of them as ``state_size`` has it
            Concatenated along the last axis, c first, where state_is_tuple is False.
        scope
            Accepted and inert.

        Returns
        -------
        output : ndarray, shape (batch, output_size)
        state
            After the step, nested as before.
        """
        x = as_float(inputs, self.cells()[0].settled(None), f"{self.who}: inputs")
        if x.ndim != 2 or state is None:
            found = "no state" if state is None else f"inputs of shape {x.shape}"
            raise FastLSTMError(f"{self.who} got {found}; expected inputs (batch, features) and a state")
        y, after = run(self, x[:, None], state)
        return y[:, 0], after


def _zeros(size: Any, batch: int, dtype: str) -> Any:
    if isinstance(size, int):
        return np.zeros((batch, size), dtype)
    parts = [_zeros(part, batch, dtype) for part in size]
    return LSTMStateTuple(*parts) if isinstance(size, LSTMStateTuple) else tuple(parts)


def run(cell: RNNCell, x: Array, state: Any, mask: Array | None = None, dtype: Any = None) -> tuple[Array, Any]:
    """A cell over sequences (batch, steps, features): outputs, with zeros where the mask is False, and the state.

    The library runs all LSTMs of the cell in one call, unless they differ in how they are to run.
    """
    layers, before = cell.layers(x.shape[2], dtype), cell.split(state, len(x))
    numbers = range(len(layers))
    after: list[Any] = []
    for group in [numbers] if are_alike(layers) else [range(n, n + 1) for n in numbers]:
        x = layers[group[0]]._as_sequences(x)
        y = np.empty((*x.shape[:2], layers[group[-1]].output_size), x.dtype)
        jobs = tuple(
            layers[n]._job(x, before[n], mask, y if n == group[-1] else None, below=n != group[0]) for n in group
        )
        _core.run_layers(jobs, True)
        after += [layers[n]._finish(job)[1:] for n, job in zip(group, jobs, strict=True)]
        x = y
    return x, cell.joined(after)


def run_both_ways(
    cells: tuple[RNNCell, RNNCell], x: Array, states: tuple[Any, Any], mask: Array | None, dtype: Any
) -> list[tuple[Array, Any]]:
    """As :func:`run`, for a cell from the first step on and one from the last one: both outputs in x's order."""
    ways = (x, x[:, ::-1])
    # From the end, a row's padding comes first: masked steps hold the initial state until its own steps begin.
    masks = (mask, None if mask is None else mask[:, ::-1])
    layers = [layer for cell in cells for layer in cell.layers(x.shape[2], dtype)]
    if len(layers) > 2 or not are_alike(layers):
        (forward, state_fw), (backward, state_bw) = (
            run(*given, dtype) for given in zip(cells, ways, states, masks, strict=True)
        )
        return [(forward, state_fw), (backward[:, ::-1], state_bw)]
    outputs = [np.empty((*x.shape[:2], layer.output_size), x.dtype) for layer in layers]
    places = (outputs[0], outputs[1][:, ::-1])
    before = [cell.split(state, len(x))[0] for cell, state in zip(cells, states, strict=True)]
    jobs = tuple(
        layer._job(layer._as_sequences(way), given, used, y)
        for layer, way, given, used, y in zip(layers, ways, before, masks, places, strict=True)
    )
    _core.run_layers(jobs, False)
    after = [layer._finish(job)[1:] for layer, job in zip(layers, jobs, strict=True)]
    return [(y, cell.joined([state])) for y, cell, state in zip(outputs, cells, after, strict=True)]


def are_alike(layers: list[LSTM]) -> bool:
    """Whether one call of the library can run them."""
    return len({(layer.isa, layer.dtype, layer.threads) for layer in layers}) == 1


def batch_major(x: Array, time_major: bool, who: str) -> Array:
    """Sequences as (batch, steps, features): a view of them."""
    if x.ndim != 3:
        axes = "(steps, batch, features)" if time_major else "(batch, steps, features)"
        raise FastLSTMError(f"{who}: inputs have shape {x.shape}; expected {axes}")
    return x.swapaxes(0, 1) if time_major else x


def lengths_mask(sequence_length: Any, x: Array, who: str) -> Array | None:
    """Which steps of each row there are; None where all are."""
    batch, steps, _ = x.shape
    return None if sequence_length is None else within(sequence_length, batch, steps, f"{who}: sequence_length")


class LSTMCellBase(LSTMVariables, RNNCell):
    """What the LSTM cells share: the state, as a tuple or as one array."""

    def __init__(self, *arguments: Any, state_is_tuple: Any = True, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.state_is_tuple = flag(state_is_tuple, f"{self.who}: state_is_tuple")

    @property
    def state_size(self) -> LSTMStateTuple | int:
        """``LSTMStateTuple(num_units, output_size)``, or their sum."""
        sizes = LSTMStateTuple(self.num_units, self.output_size)
        return sizes if self.state_is_tuple else sum(sizes)

    def cells(self) -> list[LSTMCellBase]:
        return [self]

    def split(self, state: Any, batch: int) -> list[list[Array] | None]:
        if state is not None and not self.state_is_tuple:
            both = np.asarray(state)
            if both.shape != (batch, self.state_size):
                raise FastLSTMError(f"{self.who}: state has shape {both.shape}; expected ({batch}, {self.state_size})")
            state = both[:, : self.num_units], both[:, self.num_units :]
        return [self.states(state, batch)]

    def joined(self, states: list[tuple[Array, Array]]) -> Any:
        ((h, c),) = states
        return LSTMStateTuple(c, h) if self.state_is_tuple else np.concatenate([c, h], axis=1)


class MultiRNNCell(RNNCell):
    """``tf.nn.rnn_cell.MultiRNNCell``: at each step the cells run one after the other.

    Parameters
    ----------
    cells : list or tuple of RNNCell
        The first reads the input, each other one the output of the one before it.
    state_is_tuple : bool
        Whether states are tuples of the cells' states, or all of them along one axis, for which the cells must have
        been made so too.
    """

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        if not isinstance(cells, list | tuple) or not cells or not all(isinstance(c, RNNCell) for c in cells):
            raise FastLSTMError(f"MultiRNNCell: cells is {cells!r}; expected a list of cells of fastlstm.tf1")
        self._cells: list[RNNCell] = list(cells)
        self.state_is_tuple = flag(state_is_tuple, "MultiRNNCell: state_is_tuple")
        if not self.state_is_tuple and not all(isinstance(cell.state_size, int) for cell in cells):
            raise FastLSTMError("MultiRNNCell: state_is_tuple is False, but not of each of the cells")

    @property
    def who(self) -> str:
        return "MultiRNNCell"

    @property
    def state_size(self) -> tuple[Any, ...] | int:
        """Those of the cells, or their sum."""
        sizes = tuple(cell.state_size for cell in self._cells)
        return sizes if self.state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> int:
        """That of the last cell."""
        return self._cells[-1].output_size

    def cells(self) -> list[LSTMCellBase]:
        return [inner for cell in self._cells for inner in cell.cells()]

    def split(self, state: Any, batch: int) -> list[list[Array] | None]:
        if state is None:
            parts: list[Any] = [None] * len(self._cells)
        elif self.state_is_tuple:
            parts = list(state) if isinstance(state, list | tuple) else []
        else:
            whole, widths = np.asarray(state), [cell.state_size for cell in self._cells]
            if whole.shape != (batch, sum(widths)):
                raise FastLSTMError(f"{self.who}: state has shape {whole.shape}; expected ({batch}, {sum(widths)})")
            parts = np.split(whole, np.cumsum(widths)[:-1], axis=1)
        if len(parts) != len(self._cells):
            raise FastLSTMError(f"{self.who}: state has {len(parts)} parts; expected a tuple of {len(self._cells)}")
        return [found for cell, part in zip(self._cells, parts, strict=True) for found in cell.split(part, batch)]

    def joined(self, states: list[tuple[Array, Array]]) -> Any:
        given = iter(states)
        parts = [cell.joined([next(given) for _ in cell.cells()]) for cell in self._cells]
        return tuple(parts) if self.state_is_tuple else np.concatenate(parts, axis=1)

    def get_weights(self) -> list[Array]:
        """Copies of the variables of all cells, one after the other."""
        return [array for cell in self.cells() for array in cell.get_weights()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Replace the variables of all cells; see :meth:`LSTMCell.set_weights`."""
        counts = [len(cell.weight_names) for cell in self.cells()]
        if len(weights) != sum(counts):
            raise FastLSTMError(f"{self.who}: set_weights got {len(weights)} arrays; expected {sum(counts)}")
        given = iter(weights)
        checked = [cell.checked([next(given) for _ in range(n)]) for cell, n in zip(self.cells(), counts, strict=True)]
        for cell, arrays in zip(self.cells(), checked, strict=True):
            cell.keep(arrays)

    def load_checkpoint(self, checkpoint: Any, scope: str = "") -> None:
        """Take the variables of each cell from under its ``cell_<i>``; see :meth:`LSTMCell.load_checkpoint`."""
        from fastlstm.tf1.checkpoints import load_cells  # here, as the reader of files: most cells need none

        load_cells(checkpoint, scope, self._places())

    def _places(self) -> list[tuple[tuple[int, ...], LSTMVariables]]:
        """The LSTMs, each with its number in the cell, and the number of that one in a cell around it, ..."""
        found: list[tuple[tuple[int, ...], LSTMVariables]] = []
        for number, cell in enumerate(self._cells):
            inner = cell._places() if isinstance(cell, MultiRNNCell) else [((), one) for one in cell.cells()]
            found += [((number, *place), one) for place, one in inner]
        return found
