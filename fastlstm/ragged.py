"""Rows of different lengths: a list of arrays as one array with the mask of their lengths, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlstm.errors import FastLSTMError

Array = NDArray[Any]


def is_ragged(given: Any) -> bool:
    """Whether this is a list or tuple of arrays that are not all of one shape, so that NumPy makes no array of them."""
    if not isinstance(given, list | tuple):
        return False
    shapes = {row.shape for row in given if isinstance(row, np.ndarray)}
    return len(shapes) > 1 or len(set(map(_length, given))) > 1


def _length(row: Any) -> int | None:
    """How many steps a row has; None for what is no array."""
    try:
        return None if isinstance(row, str | bytes | dict) else len(row)
    except (TypeError, FastLSTMError):  # a tensor of a graph says the latter
        return None


def checked(rows: Sequence[Any], sample: tuple[int | None, ...] | None, who: str) -> list[Array]:
    """The arrays that rows are.

    Parameters
    ----------
    rows : sequence of array_like
        At least one; none needs to have a step.
    sample : tuple of int or None, optional
        The sizes of a row behind its steps; the first row says what is not known.
    who : str
        For errors.

    Raises
    ------
    FastLSTMError
        A row holds no numbers or has another shape; its place is named.
    """
    arrays = [
        row if type(row) is np.ndarray and row.dtype.kind in "biuf" else _numbers(row, f"{who}: row {i}")
        for i, row in enumerate(rows)
    ]
    first = arrays[0].shape[1:]
    sample = (None,) * len(first) if sample is None else sample
    if len(first) == len(sample):
        sample = tuple(own if size is None else size for own, size in zip(first, sample, strict=True))
    for i, array in enumerate(arrays):
        if array.shape[1:] != sample or not array.ndim:
            expected = ", ".join(["steps", *("any" if size is None else str(size) for size in sample)])
            raise FastLSTMError(f"{who}: row {i} has shape {array.shape}; expected ({expected})")
    return arrays


def padded(arrays: Sequence[Array], dtype: Any) -> tuple[Array, Array]:
    """Checked rows as one array (rows, most steps, ...) with zeros behind the end of each, and the mask of the rest."""
    lengths = np.array([len(array) for array in arrays])
    x = np.zeros((len(arrays), lengths.max(), *arrays[0].shape[1:]), dtype)
    with np.errstate(all="ignore"):  # as in Keras, a value out of range becomes inf or wraps
        for i, array in enumerate(arrays):
            x[i, : len(array)] = array
    return x, np.arange(x.shape[1]) < lengths[:, None]


def _numbers(row: Any, who: str) -> Array:
    try:
        array = np.asarray(row)
    except (TypeError, ValueError) as error:
        raise FastLSTMError(f"{who} is not an array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise FastLSTMError(f"{who} is {type(row).__name__} of dtype {array.dtype}; expected an array of numbers")
    return array


def trimmed(sequence: Array, mask: Array, *, backwards: bool = False) -> list[Array]:
    """Each row's own steps, which a layer that runs backwards puts out last."""
    ends = zip(sequence, mask.sum(axis=1), strict=True)
    return [row[len(row) - n :] if backwards else row[:n] for row, n in ends]


def sides_of(layer: Any) -> list[Any]:
    """The layers that a recurrent layer runs over the sequence: two of a Bidirectional, else itself."""
    return [side for side in layer.sublayers().values() if hasattr(side, "return_sequences")] or [layer]


def blanks(layer: Any) -> bool:
    """Whether a recurrent layer puts out zeros for a row that ends early where it would not for the row alone."""
    sides = sides_of(layer)
    return any(s.zero_output_for_mask and (s._zeroes_unreversed or not s.return_sequences) for s in sides)


def run_layer(
    layer: Any, rows: Sequence[Any], initial_state: Any, mask: Any, training: bool, lengths: Any = None
) -> Any:
    """What a recurrent layer gives for rows of different lengths: a list of arrays in the place of a sequence."""
    who = f"{layer.who}: sequences"
    if mask is not None or lengths is not None:
        name = "lengths" if mask is None else "the mask"
        raise FastLSTMError(f"{who} are arrays of different lengths, which say what counts; leave {name} out")
    if any(side.time_major for side in sides_of(layer) if hasattr(side, "time_major")):
        raise FastLSTMError(f"{who} are arrays of different lengths, each (steps, features); set time_major to False")
    if blanks(layer):
        raise FastLSTMError(
            f"{who} are arrays of different lengths, but zero_output_for_mask=True makes an output of zeros of what "
            "the shorter ones give; set it to False"
        )
    features = layer._input_shape[2] if layer._input_shape else None
    x, used = padded(checked(rows, (features,), who), layer.dtype)
    found = layer(x, initial_state=initial_state, mask=used, training=training)
    backwards = sides_of(layer)[0].go_backwards

    def own(part: Any) -> Any:
        if type(part) is tuple:
            return tuple(map(own, part))
        if isinstance(part, tuple):  # an LSTM's gates
            return type(part)(*map(own, part))
        return trimmed(part, used, backwards=backwards) if getattr(part, "ndim", 0) == 3 else part

    return own(found)
