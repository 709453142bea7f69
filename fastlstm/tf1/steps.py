"""What can make a step in TensorFlow 1: what its LSTM cells share, and MultiRNNCell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.arrays import as_array, as_float
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array, resolve_dtype
from fastlstm.layers.cells import flag
from fastlstm.layers.lstm import LSTM
from fastlstm.layout_parts import as_index, as_list
from fastlstm.tf1.arguments import real
from fastlstm.tf1.running import run, settling
from fastlstm.tf1.variables import HasWeights, LSTMStateTuple, LSTMVariables


class RNNCell(HasWeights):
    """What can make a step: an LSTM cell, or a MultiRNNCell of them; a program's own classes are not run."""

    @property
    def who(self) -> str:
        """Names the cell in errors."""
        return type(self).__name__

    @property
    def state_size(self) -> Any:
        """Widths of the states, nested as the state is."""
        raise self._not_ours()

    @property
    def output_size(self) -> int:
        """Width of the output."""
        raise self._not_ours()

    def cells(self) -> list[LSTMCellBase]:
        """The LSTMs in it, in the order in which they run."""
        raise self._not_ours()

    def get_weights(self) -> list[Array]:
        raise self._not_ours()

    def _not_ours(self) -> FastLSTMError:
        return FastLSTMError(f"{self.who}: expected an LSTM cell or a MultiRNNCell of fastlstm.tf1")

    def split(self, state: Any, batch: int, dtype: str) -> list[list[Array] | None]:
        """A state as the layers of ``cells`` take theirs: ``[h, c]`` each, or None for zeros."""
        raise NotImplementedError

    def joined(self, states: list[tuple[Array, Array]]) -> Any:
        """The state of the cell from ``(h, c)`` of each of ``cells``."""
        raise NotImplementedError

    def check_features(self, features: int) -> None:
        """Refuse inputs of a width that the variables are not for."""
        for cell in self.cells():
            cell.check_features(features)
            features = cell.output_size

    def layers(self, features: int, dtype: str) -> list[LSTM]:
        """The layers that compute it, for inputs of that width; cells without variables get new ones."""
        found = []
        for cell in self.cells():
            found.append(cell.layer(features, dtype))
            features = cell.output_size
        return found

    def zero_state(self, batch_size: int, dtype: Any) -> Any:
        """Zeros for the states, nested as ``state_size`` is, each (batch_size, width)."""
        batch, name = as_index(batch_size), resolve_dtype(dtype, self.who)
        if batch is None or batch < 0:
            raise FastLSTMError(f"{self.who}: batch_size is {batch_size!r}; expected an integer, 0 or more")
        try:
            return _zeros(self.state_size, batch, name)
        except (ValueError, OverflowError, MemoryError) as error:
            raise FastLSTMError(f"{self.who}: batch_size is {batch_size!r}: {error}") from None

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
        cells = self.cells()
        name = settling(cells, None, state)
        x = as_float(inputs, cells[0].computes_in(name), f"{self.who}: inputs")
        if x.ndim != 2 or state is None:
            found = "no state" if state is None else f"inputs of shape {x.shape}"
            raise FastLSTMError(f"{self.who} got {found}; expected inputs (batch, features) and a state")
        y, after = run(self, x[:, None], state, None, name)
        return y[:, 0], after


def _zeros(size: Any, batch: int, dtype: str) -> Any:
    if isinstance(size, int):
        return np.zeros((batch, size), dtype)
    parts = [_zeros(part, batch, dtype) for part in size]
    return LSTMStateTuple(*parts) if isinstance(size, LSTMStateTuple) else tuple(parts)


def check_cell(cell: Any, what: str) -> None:
    """Refuse what is no cell of ours, a class that a program derived from RNNCell among it."""
    if not isinstance(cell, LSTMCellBase | MultiRNNCell):
        raise FastLSTMError(f"{what} is {cell!r}; expected an LSTM cell or a MultiRNNCell of fastlstm.tf1")


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

    def split(self, state: Any, batch: int, dtype: str) -> list[list[Array] | None]:
        if state is not None and not self.state_is_tuple:
            both = as_array(state, f"{self.who}: state")
            if both.shape != (batch, self.state_size):
                raise FastLSTMError(f"{self.who}: state has shape {both.shape}; expected ({batch}, {self.state_size})")
            state = both[:, : self.num_units], both[:, self.num_units :]
        return [self.states(state, batch, dtype)]

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
        if not isinstance(cells, list | tuple) or not cells:
            raise FastLSTMError(f"MultiRNNCell: cells is {cells!r}; expected a list of cells of fastlstm.tf1")
        for number, cell in enumerate(cells):
            check_cell(cell, f"MultiRNNCell: cells[{number}]")
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

    def split(self, state: Any, batch: int, dtype: str) -> list[list[Array] | None]:
        if state is None:
            parts: list[Any] = [None] * len(self._cells)
        elif self.state_is_tuple:
            parts = list(state) if isinstance(state, list | tuple) else []
        else:
            whole, widths = as_array(state, f"{self.who}: state"), [cell.state_size for cell in self._cells]
            if whole.shape != (batch, sum(widths)):
                raise FastLSTMError(f"{self.who}: state has shape {whole.shape}; expected ({batch}, {sum(widths)})")
            parts = np.split(whole, np.cumsum(widths)[:-1], axis=1)
        if len(parts) != len(self._cells):
            raise FastLSTMError(f"{self.who}: state has {len(parts)} parts; expected a tuple of {len(self._cells)}")
        pairs = zip(self._cells, parts, strict=True)
        return [found for cell, part in pairs for found in cell.split(part, batch, dtype)]

    def joined(self, states: list[tuple[Array, Array]]) -> Any:
        given = iter(states)
        parts = [cell.joined([next(given) for _ in cell.cells()]) for cell in self._cells]
        return tuple(parts) if self.state_is_tuple else np.concatenate(parts, axis=1)

    def get_weights(self) -> list[Array]:
        """Copies of the variables of all cells, one after the other."""
        return [array for cell in self.cells() for array in cell.get_weights()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Replace the variables of all cells; see :meth:`LSTMCell.set_weights`."""
        cells = self.cells()
        counts = [len(cell.weight_names) for cell in cells]
        weights = as_list(weights, f"{self.who}: set_weights: weights")
        if len(weights) != sum(counts):
            raise FastLSTMError(f"{self.who}: set_weights got {len(weights)} arrays; expected {sum(counts)}")
        given = iter(weights)
        checked = [cell.checked([next(given) for _ in range(n)]) for cell, n in zip(cells, counts, strict=True)]
        for cell, arrays in zip(cells, checked, strict=True):
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


def DropoutWrapper(
    cell: RNNCell,
    input_keep_prob: Any = 1.0,
    output_keep_prob: Any = 1.0,
    state_keep_prob: Any = 1.0,
    variational_recurrent: Any = False,
    input_size: Any = None,
    dtype: Any = None,
    seed: Any = None,
    dropout_state_filter_visitor: Any = None,
) -> RNNCell:
    """``tf.nn.rnn_cell.DropoutWrapper`` at inference, where it is the cell itself.

    Parameters
    ----------
    cell : RNNCell
    input_keep_prob, output_keep_prob, state_keep_prob : float
        1; anything else drops out, and is refused.
    variational_recurrent, input_size, dtype, seed, dropout_state_filter_visitor
        Matter in training only: accepted and inert.
    """
    check_cell(cell, "DropoutWrapper: cell")
    kept = {
        "input_keep_prob": input_keep_prob, "output_keep_prob": output_keep_prob, "state_keep_prob": state_keep_prob,
    }  # fmt: skip
    for name, value in kept.items():
        if real(value, f"DropoutWrapper: {name}") != 1:
            raise UnsupportedLayerError(f"DropoutWrapper: {name} is {value!r}; expected 1: dropout is for training")
    return cell
