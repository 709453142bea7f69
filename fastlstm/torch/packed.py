"""Sequences of different lengths step by step in one array, as ``torch.nn.utils.rnn`` packs them."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.arrays import as_array, finite
from fastlstm.errors import FastLSTMError
from fastlstm.layers.cells import flag
from fastlstm.layers.recurrent import checked_lengths

Array = NDArray[Any]


class PackedSequence(NamedTuple):
    """The first step of every sequence, longest first, then the second of those that have one, and so on.

    ``PackedSequence(*packed)`` takes over one of torch's. The functions below make them.

    Attributes
    ----------
    data : ndarray, shape (sum of the lengths, ...)
    batch_sizes : ndarray of int64, shape (most steps,)
        How many sequences have each step.
    sorted_indices, unsorted_indices : ndarray of int64, shape (batch,), or None
        Which row each sequence was, longest first, and the inverse; None where the rows came in that order.
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None


def as_numbers(x: Any, what: str) -> Array:
    """Whatever NumPy takes for an array of real numbers, in its own type; bfloat16 as float32."""
    array = as_array(x, what)
    if array.dtype.kind in "biuf":
        return array
    if not np.can_cast(array.dtype, np.float32):  # as the types of ml_dtypes can
        raise FastLSTMError(f"{what} has dtype {array.dtype}; expected numbers")
    return array.astype(np.float32)


# -- packing ----------------------------------------------------------------------------------------


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that are padded to one length: ``torch.nn.utils.rnn.pack_padded_sequence``.

    Parameters
    ----------
    input : array_like, shape (steps, batch, ...), or (batch, steps, ...) with batch_first
        Of any dtype, which is kept; bfloat16 becomes float32.
    lengths : array_like of int, shape (batch,)
        How many steps of each sequence count, at least 1.
    batch_first : bool
    enforce_sorted : bool
        Whether the lengths must not increase; else the sequences are sorted, longest first.

    Raises
    ------
    FastLSTMError
        Too few axes, a length out of range, or lengths that increase.
    """
    who = "pack_padded_sequence"
    rows = as_numbers(input, f"{who}: input")
    if rows.ndim < 2 or not rows.size:
        raise FastLSTMError(f"{who}: input has shape {rows.shape}; expected two axes or more, and something in them")
    rows = rows if flag(batch_first, f"{who}: batch_first") else rows.swapaxes(0, 1)
    counts = checked_lengths(lengths, rows.shape[0], rows.shape[1], f"{who}: lengths", least=1)
    return _packed(rows, counts, enforce_sorted, who)


def _packed(rows: Array, counts: Array, enforce_sorted: bool, who: str) -> PackedSequence:
    """Rows (batch, steps, ...) of so many steps each, packed."""
    order = None
    if not flag(enforce_sorted, f"{who}: enforce_sorted"):
        order = np.argsort(-counts, kind="stable")
        rows, counts = rows[order], counts[order]
    elif (np.diff(counts) > 0).any():
        raise FastLSTMError(f"{who}: lengths increase at row {np.argmax(np.diff(counts) > 0) + 1}; "
                            "sort the sequences, longest first, or set enforce_sorted=False")  # fmt: skip
    sizes = len(counts) - np.searchsorted(counts[::-1], np.arange(counts[0]), side="right")
    return PackedSequence(picked(rows, sizes), sizes, order, None if order is None else inverse(order))


def pad_packed_sequence(
    sequence: Any, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Array, Array]:
    """The sequences padded to one length, and their lengths: ``torch.nn.utils.rnn.pad_packed_sequence``.

    Parameters
    ----------
    sequence : PackedSequence
        Of ours or torch's.
    batch_first : bool
    padding_value : float
        Stands behind the end of each sequence, in the type of the data.
    total_length : int, optional
        Steps of the result; default the most that a sequence has.

    Returns
    -------
    padded : ndarray, shape (steps, batch, ...), or (batch, steps, ...) with batch_first
    lengths : ndarray of int64, shape (batch,)
        Rows as they were before they were sorted.

    Raises
    ------
    FastLSTMError
        No packed sequence, or a value or length that the result cannot have.
    """
    who = "pad_packed_sequence"
    packed = checked(sequence, f"{who}: sequence")
    most = len(packed.batch_sizes)
    try:
        steps = most if total_length is None else operator.index(total_length)
    except TypeError:
        raise FastLSTMError(f"{who}: total_length is {total_length!r}; expected an integer") from None
    if steps < most:
        raise FastLSTMError(f"{who}: total_length is {steps}; the longest sequence has {most} steps")
    value = _filling(padding_value, packed.data.dtype, f"{who}: padding_value")
    try:
        rows, counts = padded(packed, steps, value), lengths_of(packed.batch_sizes)
    except (ValueError, MemoryError) as error:  # what NumPy says of a shape that is too large
        raise FastLSTMError(f"{who}: total_length is {steps}: {error}") from None
    if packed.unsorted_indices is not None:
        rows, counts = rows[packed.unsorted_indices], counts[packed.unsorted_indices]
    return rows if flag(batch_first, f"{who}: batch_first") else rows.swapaxes(0, 1), counts


def _filling(value: Any, dtype: np.dtype[Any], what: str) -> Any:
    """A number that an array of this type can hold; a fraction becomes whole among integers, as in torch."""
    number = int(value) if isinstance(value, bool | np.bool_) else value
    if finite(number) is None:
        fits = dtype.kind == "f" and isinstance(number, float | np.floating)
    elif dtype.kind in "iu":
        fits = np.iinfo(dtype).min <= number <= np.iinfo(dtype).max
    else:
        fits = dtype.kind == "b" or abs(number) <= float(np.finfo(dtype).max)
    if not fits:
        raise FastLSTMError(f"{what} is {value!r}; expected a number that {dtype} can hold")
    return number


def pack_sequence(sequences: Iterable[ArrayLike], enforce_sorted: bool = True) -> PackedSequence:
    """Pack arrays of different lengths: ``torch.nn.utils.rnn.pack_sequence``.

    Parameters
    ----------
    sequences : sequence of array_like, (steps, ...) each
        One step or more.
    enforce_sorted : bool
        As of :func:`pack_padded_sequence`.
    """
    who = "pack_sequence"
    try:
        listed = list(sequences)
    except TypeError as error:
        raise FastLSTMError(f"{who}: sequences is {type(sequences).__name__}; expected arrays ({error})") from None
    arrays = [as_numbers(row, f"{who}: sequences[{i}]") for i, row in enumerate(listed)]
    if not arrays:
        raise FastLSTMError(f"{who}: sequences is empty; expected at least one array")
    for i, array in enumerate(arrays):
        if not array.ndim or not len(array) or array.shape[1:] != arrays[0].shape[1:]:
            sample = ", ".join(["1 step or more", *map(str, arrays[0].shape[1:])])
            raise FastLSTMError(f"{who}: sequences[{i}] has shape {array.shape}; expected ({sample})")
    counts = np.array([len(array) for array in arrays])
    rows = np.zeros((len(arrays), max(counts), *arrays[0].shape[1:]), np.result_type(*arrays))
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return _packed(rows, counts, enforce_sorted, who)


# -- what the layers need --------------------------------------------------------------------------


def is_packed(x: Any) -> bool:
    """Whether this is a packed sequence, of ours or torch's."""
    return hasattr(x, "batch_sizes") and hasattr(x, "unsorted_indices")


def checked(sequence: Any, what: str) -> PackedSequence:
    """A packed sequence as arrays that fit together."""
    if not is_packed(sequence):
        raise FastLSTMError(f"{what} is {type(sequence).__name__}; expected a PackedSequence")
    data = as_numbers(sequence.data, f"{what}: data")
    sizes = as_numbers(sequence.batch_sizes, f"{what}: batch_sizes")
    listed = sizes.ndim == 1 and sizes.dtype.kind in "iu" and sizes.size
    if not listed or sizes[-1] < 1 or (sizes[1:] > sizes[:-1]).any():
        raise FastLSTMError(f"{what}: batch_sizes is {sizes.dtype} of shape {sizes.shape}; "
                            "expected positive integers that do not increase")  # fmt: skip
    if not data.ndim or sizes[0] > len(data) or len(data) != sizes.sum():  # the first too great: a sum may wrap round
        raise FastLSTMError(f"{what}: data has shape {data.shape}; batch_sizes make {sizes.sum()} steps")
    order, back = (
        None if given is None else _permutation(given, int(sizes[0]), f"{what}: {name}")
        for name in ("sorted_indices", "unsorted_indices")
        for given in [getattr(sequence, name)]
    )
    if order is not None and back is not None and not np.array_equal(inverse(order), back):
        raise FastLSTMError(f"{what}: unsorted_indices do not undo sorted_indices")
    order = inverse(back) if order is None and back is not None else order
    return PackedSequence(data, sizes.astype(np.int64), order, None if order is None else inverse(order))


def _permutation(given: Any, batch: int, what: str) -> Array:
    array = as_numbers(given, what)
    if array.dtype.kind not in "iu" or array.shape != (batch,) or not np.array_equal(np.sort(array), np.arange(batch)):
        raise FastLSTMError(f"{what} is {array.dtype} of shape {array.shape}; expected the numbers 0 to {batch - 1}")
    return array.astype(np.int64)


def inverse(order: Array) -> Array:
    """The permutation that undoes another."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return back


def lengths_of(batch_sizes: Array) -> Array:
    """How many steps each sequence has, longest first."""
    return len(batch_sizes) - np.searchsorted(batch_sizes[::-1], np.arange(batch_sizes[0]), side="right")


def _places(batch_sizes: Array) -> tuple[Array, Array]:
    """Row and step of each entry of the packed data."""
    begins = np.cumsum(batch_sizes) - batch_sizes
    steps = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    return np.arange(len(steps)) - begins[steps], steps


def picked(rows: Array, batch_sizes: Array) -> Array:
    """Packed data out of rows (batch, steps, ...), longest first."""
    data: Array = rows[_places(batch_sizes)]
    return data


def padded(packed: PackedSequence, steps: int, value: float = 0.0) -> Array:
    """The rows (batch, steps, ...) of a checked packed sequence, longest first."""
    rows = np.full((packed.batch_sizes[0], steps, *packed.data.shape[1:]), value, packed.data.dtype)
    rows[_places(packed.batch_sizes)] = packed.data
    return rows
