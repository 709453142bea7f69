"""How TensorFlow 1's cells run over sequences: what they compute in, and the calls of the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm import _core
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, resolve_dtype
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.recurrent import within
from fastlstm.tf1.variables import LSTMVariables

if TYPE_CHECKING:
    from fastlstm.tf1.steps import RNNCell


def settling(cells: Sequence[LSTMVariables], dtype: Any, states: Any) -> str:
    """What cells compute in that leave it open: as asked for, else as another of them, else as the states."""
    asked = None if dtype is None else resolve_dtype(dtype, cells[0].who)
    own = [cell for cell in cells if cell.dtype]
    for cell in own:
        if asked not in (None, cell.dtype):
            raise FastLSTMError(f"{cell.who} computes in {cell.dtype}; dtype is {asked}: give both the same")
    return asked or (own[0].dtype if own else None) or ("float64" if _has_doubles(states) else "float32")


def _has_doubles(nest: Any) -> bool:
    if isinstance(nest, list | tuple):
        return any(map(_has_doubles, nest))
    return getattr(getattr(nest, "dtype", None), "name", None) == "float64"


def run(cell: RNNCell, x: Array, state: Any, mask: Array | None, dtype: str) -> tuple[Array, Any]:
    """A cell over sequences (batch, steps, features): outputs, with zeros where the mask is False, and the state.

    The library runs all LSTMs of the cell in one call, unless they differ in how they are to run.
    """
    before = cell.split(state, len(x), dtype)
    cell.check_features(x.shape[2])  # and only then what changes a cell
    layers = cell.layers(x.shape[2], dtype)
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
    cells: tuple[RNNCell, RNNCell], x: Array, states: tuple[Any, Any], mask: Array | None, dtype: str
) -> list[tuple[Array, Any]]:
    """As :func:`run`, for a cell from the first step on and one from the last one: both outputs in x's order."""
    ways = (x, x[:, ::-1])
    # From the end, a row's padding comes first: masked steps hold the initial state until its own steps begin.
    masks = (mask, None if mask is None else mask[:, ::-1])
    before = [cell.split(state, len(x), dtype) for cell, state in zip(cells, states, strict=True)]
    for cell in cells:
        cell.check_features(x.shape[2])
    layers = [layer for cell in cells for layer in cell.layers(x.shape[2], dtype)]
    if len(layers) > 2 or not are_alike(layers):
        (forward, state_fw), (backward, state_bw) = (
            run(*given, dtype) for given in zip(cells, ways, states, masks, strict=True)
        )
        return [(forward, state_fw), (backward[:, ::-1], state_bw)]
    outputs = [np.empty((*x.shape[:2], layer.output_size), layer.dtype) for layer in layers]
    places = (outputs[0], outputs[1][:, ::-1])
    jobs = tuple(
        layer._job(layer._as_sequences(way), given[0], used, y)
        for layer, way, given, used, y in zip(layers, ways, before, masks, places, strict=True)
    )
    _core.run_layers(jobs, False)
    after = [layer._finish(job)[1:] for layer, job in zip(layers, jobs, strict=True)]
    return [(y, cell.joined([state])) for y, cell, state in zip(outputs, cells, after, strict=True)]


def are_alike(layers: list[LSTM]) -> bool:
    """Whether one call of the library can run them."""
    return len({(layer.isa, layer.dtype, layer.threads) for layer in layers}) == 1


def sequences(inputs: Any, dtype: Any, time_major: bool, who: str) -> Array:
    """Inputs in that dtype as (batch, steps, features): a view of them."""
    x = as_float(inputs, dtype, f"{who}: inputs")
    if x.ndim != 3:
        axes = "(steps, batch, features)" if time_major else "(batch, steps, features)"
        raise FastLSTMError(f"{who}: inputs have shape {x.shape}; expected {axes}")
    return x.swapaxes(0, 1) if time_major else x


def lengths_mask(sequence_length: Any, x: Array, who: str) -> Array | None:
    """Which steps of each row there are; None where all are."""
    batch, steps, _ = x.shape
    return None if sequence_length is None else within(sequence_length, batch, steps, f"{who}: sequence_length")
