"""TensorFlow 1's functions that run cells over sequences; a whole sequence is one call of the library for each LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.arrays import as_array
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.layers.cells import flag
from fastlstm.tf1.running import lengths_mask, run, run_both_ways, sequences, settling
from fastlstm.tf1.steps import RNNCell, check_cell


def dynamic_rnn(
    cell: RNNCell,
    inputs: ArrayLike,
    sequence_length: ArrayLike | None = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: Any = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Array, Any]:
    """``tf.nn.dynamic_rnn``: a cell over a batch of sequences.

    Parameters
    ----------
    cell : RNNCell
        Without variables it gets new ones.
    inputs : array_like, shape (batch, steps, features), or (steps, batch, features) with time_major
    sequence_length : array_like of int, shape (batch,), optional
        Steps of each row, 0 or more. Outputs behind them are zeros, and the state is the one at the end.
    initial_state : optional
        Nested as ``cell.state_size`` is. Default: zeros.
    dtype : {"float32", "float64"}, optional
        What the cell computes in, where its own dtype was left open. Default: see :class:`BasicLSTMCell`.
    parallel_iterations, swap_memory, scope
        Accepted and inert.
    time_major : bool

    Returns
    -------
    outputs : ndarray, shape (batch, steps, cell.output_size), or with steps first as the inputs have them
    state
        The last one of each row, nested as ``cell.state_size`` is.

    Raises
    ------
    FastLSTMError
        Wrong shapes, states or lengths; the argument is named.
    """
    time_major = flag(time_major, "dynamic_rnn: time_major")
    return _one_way(cell, inputs, initial_state, sequence_length, dtype, time_major, "dynamic_rnn")


def static_rnn(
    cell: RNNCell,
    inputs: Sequence[ArrayLike],
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: ArrayLike | None = None,
    scope: Any = None,
) -> tuple[list[Array], Any]:
    """``tf.nn.static_rnn``: as :func:`dynamic_rnn`, with a list of steps.

    Parameters
    ----------
    cell : RNNCell
    inputs : list of array_like, each (batch, features)
        At least one.
    initial_state, dtype, sequence_length, scope
        As of :func:`dynamic_rnn`.

    Returns
    -------
    outputs : list of ndarray, each (batch, cell.output_size)
    state
    """
    who = "static_rnn"
    y, state = _one_way(cell, _steps(inputs, who), initial_state, sequence_length, dtype, True, who)
    return list(y), state


def bidirectional_dynamic_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: ArrayLike,
    sequence_length: ArrayLike | None = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: Any = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Array, Array], tuple[Any, Any]]:
    """``tf.nn.bidirectional_dynamic_rnn``: one cell from the first step on, another from each row's last one.

    Parameters
    ----------
    cell_fw, cell_bw : RNNCell
    inputs, sequence_length, dtype, time_major
        As of :func:`dynamic_rnn`.
    initial_state_fw, initial_state_bw : optional
        Nested as the cells' ``state_size``.
    parallel_iterations, swap_memory, scope
        Accepted and inert.

    Returns
    -------
    outputs : (output_fw, output_bw)
        Both in the inputs' order of steps.
    states : (state_fw, state_bw)
    """
    who = "bidirectional_dynamic_rnn"
    time_major, states = flag(time_major, f"{who}: time_major"), (initial_state_fw, initial_state_bw)
    return _both_ways((cell_fw, cell_bw), inputs, states, sequence_length, dtype, time_major, who)


def static_bidirectional_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: Sequence[ArrayLike],
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: ArrayLike | None = None,
    scope: Any = None,
) -> tuple[list[Array], Any, Any]:
    """``tf.nn.static_bidirectional_rnn``: as :func:`bidirectional_dynamic_rnn`, with a list of steps.

    Returns
    -------
    outputs : list of ndarray
        Both cells' outputs of each step side by side, the forward one's first.
    state_fw, state_bw
    """
    who, states = "static_bidirectional_rnn", (initial_state_fw, initial_state_bw)
    (forward, backward), (state_fw, state_bw) = _both_ways(
        (cell_fw, cell_bw), _steps(inputs, who), states, sequence_length, dtype, True, who
    )
    return list(np.concatenate([forward, backward], axis=-1)), state_fw, state_bw


def stack_bidirectional_dynamic_rnn(
    cells_fw: Sequence[RNNCell],
    cells_bw: Sequence[RNNCell],
    inputs: ArrayLike,
    initial_states_fw: Sequence[Any] | None = None,
    initial_states_bw: Sequence[Any] | None = None,
    dtype: Any = None,
    sequence_length: ArrayLike | None = None,
    parallel_iterations: Any = None,
    time_major: bool = False,
    scope: Any = None,
    swap_memory: Any = False,
) -> tuple[Array, tuple[Any, ...], tuple[Any, ...]]:
    """``tf.contrib.rnn.stack_bidirectional_dynamic_rnn``: pairs of cells, each reads both outputs of the one before.

    Parameters
    ----------
    cells_fw, cells_bw : list of RNNCell
        As many of one as of the other.
    initial_states_fw, initial_states_bw : list, optional
        A state for each cell.
    inputs, dtype, sequence_length, parallel_iterations, time_major, scope, swap_memory
        As of :func:`bidirectional_dynamic_rnn`.

    Returns
    -------
    outputs : ndarray
        Of the last pair, side by side, the forward one's first.
    states_fw, states_bw : tuple
        Of each pair.
    """
    who = "stack_bidirectional_dynamic_rnn"
    columns = {
        "cells_fw": cells_fw, "cells_bw": cells_bw,
        "initial_states_fw": initial_states_fw, "initial_states_bw": initial_states_bw,
    }  # fmt: skip
    for name, given in columns.items():
        right = isinstance(given, list | tuple) and given and len(given) == len(cells_fw)
        if not right and (given is not None or name.startswith("cells")):
            raise FastLSTMError(f"{who}: {name} is {given!r}; expected lists of the same length, at least 1")
    time_major = flag(time_major, f"{who}: time_major")
    none = [None] * len(cells_fw)
    pairs = list(zip(cells_fw, cells_bw, strict=True))
    before = list(zip(initial_states_fw or none, initial_states_bw or none, strict=True))
    x, mask, name = _read([*cells_fw, *cells_bw], inputs, before, sequence_length, dtype, time_major, who)
    after = []
    for pair, states in zip(pairs, before, strict=True):
        ways = run_both_ways(pair, x, states, mask, name)
        x = np.concatenate([y for y, _ in ways], axis=-1)
        after.append([state for _, state in ways])
    states_fw, states_bw = zip(*after, strict=True)
    return _written(x, time_major), states_fw, states_bw


def _one_way(
    cell: RNNCell, inputs: Any, state: Any, sequence_length: Any, dtype: Any, time_major: bool, who: str
) -> tuple[Array, Any]:
    x, mask, name = _read([cell], inputs, state, sequence_length, dtype, time_major, who)
    y, after = run(cell, x, state, mask, name)
    return _written(y, time_major), after


def _both_ways(
    cells: tuple[RNNCell, RNNCell],
    inputs: Any,
    states: tuple[Any, Any],
    sequence_length: Any,
    dtype: Any,
    time_major: bool,
    who: str,
) -> tuple[tuple[Array, Array], tuple[Any, Any]]:
    x, mask, name = _read(cells, inputs, states, sequence_length, dtype, time_major, who)
    (forward, state_fw), (backward, state_bw) = run_both_ways(cells, x, states, mask, name)
    return (_written(forward, time_major), _written(backward, time_major)), (state_fw, state_bw)


def _read(
    cells: Sequence[RNNCell],
    inputs: Any,
    states: Any,
    sequence_length: Any,
    dtype: Any,
    time_major: bool,
    who: str,
) -> tuple[Array, Array | None, str]:
    """The inputs with the batch first, the mask of the rows' lengths, and what open cells are to compute in."""
    for cell in cells:
        check_cell(cell, f"{who}: cell")
    inner = [one for cell in cells for one in cell.cells()]
    name = settling(inner, dtype, states)
    x = sequences(inputs, inner[0].computes_in(name), time_major, who)
    return x, lengths_mask(sequence_length, x, who), name


def _written(y: Array, time_major: bool) -> Array:
    return y.swapaxes(0, 1) if time_major else y


def _steps(inputs: Any, who: str) -> Array:
    """A list of steps as one array, steps first."""
    if not isinstance(inputs, list | tuple) or not inputs:
        raise FastLSTMError(f"{who}: inputs is {type(inputs).__name__}; expected a list of arrays, at least one")
    arrays = [as_array(step, f"{who}: inputs") for step in inputs]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 2:
        shapes = ", ".join(map(str, sorted({array.shape for array in arrays})))
        raise FastLSTMError(f"{who}: inputs have the shapes {shapes}; expected one shape (batch, features)")
    return np.stack(arrays)
