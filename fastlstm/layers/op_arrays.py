"""Operations that multiply, take apart, put together and rearrange arrays, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array
from fastlstm.layers.op_functions import Function, as_array, axes_of_numpy, common


def dot(x1: Any, x2: Any) -> Array:
    """The sum over the last axis of the first and the last but one of the second."""
    return np.asarray(np.dot(*common(x1, x2)))


def einsum(*operands: Any, subscripts: str) -> Array:
    """Einstein's summation."""
    return np.asarray(np.einsum(subscripts, *common(*operands), optimize=len(operands) > 1))


def like(value: int) -> Function:
    """An array of the shape of another, filled with one number."""
    return lambda x, *, dtype=None: np.full(np.shape(x), value, dtype or np.asarray(x).dtype)


def reshape(x: Any, *, newshape: Sequence[int | None]) -> Array:
    """The same elements in another shape, one size of which may be left open."""
    return np.asarray(x).reshape([-1 if n is None else n for n in newshape])


def transpose(x: Any, *, axes: Any = None) -> Array:
    """The axes in another order, or reversed."""
    return np.transpose(np.asarray(x), axes)


def expand_dims(x: Any, *, axis: Any) -> Array:
    """New axes of size 1."""
    return np.expand_dims(np.asarray(x), axes_of_numpy(axis))


def squeeze(x: Any, *, axis: Any = None) -> Array:
    """Without axes of size 1."""
    return np.squeeze(np.asarray(x), axes_of_numpy(axis))


def concatenate(xs: Sequence[Any], *, axis: int = 0) -> Array:
    """Arrays one after the other along an axis."""
    return np.concatenate(common(*map(as_array, xs)), axis=axis)


def stack(x: Sequence[Any], *, axis: int = 0) -> Array:
    """Arrays side by side along a new axis."""
    return np.stack(common(*x), axis=axis)


def split(x: Any, *, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """So many equal parts, or the parts between these places."""
    return np.split(np.asarray(x), indices_or_sections, axis=axis)


def unstack(x: Any, *, num: int | None = None, axis: int = 0) -> list[Array]:
    """The parts along an axis, without it."""
    return list(np.moveaxis(np.asarray(x), axis, 0))


def flip(x: Any, *, axis: Any = None) -> Array:
    """Elements in reverse order."""
    return np.flip(np.asarray(x), axes_of_numpy(axis))


def roll(x: Any, *, shift: Any, axis: Any = None) -> Array:
    """Elements moved along, the last ones to the front."""
    return np.roll(np.asarray(x), axes_of_numpy(shift), axes_of_numpy(axis))


def repeat(x: Any, *, repeats: Any, axis: int | None = None) -> Array:
    """Each part along an axis several times."""
    return np.repeat(np.asarray(x), repeats, axis=axis)


def tile(x: Any, *, repeats: Any) -> Array:
    """The whole several times along its axes."""
    return np.tile(np.asarray(x), repeats)


def broadcast_to(x: Any, *, shape: Sequence[int]) -> Array:
    """x repeated along axes of size 1."""
    return np.array(np.broadcast_to(np.asarray(x), shape))


def pad(x: Any, constant_values: Any = None, *, pad_width: Any, mode: str = "constant") -> Array:
    """More elements before and after along each axis: a constant, or mirrored."""
    x, width = np.asarray(x), np.asarray(pad_width)
    if mode == "constant":
        return np.pad(x, width, constant_values=0 if constant_values is None else constant_values)
    return np.pad(x, width, mode="reflect" if mode == "reflect" else "symmetric")


def take(x: Any, indices: Any, *, axis: int | None = None) -> Array:
    """The parts at these places along an axis."""
    return np.asarray(np.take(np.asarray(x), np.asarray(indices), axis=axis))


def slice_(inputs: Any, start_indices: Any, *, shape: Sequence[int]) -> Array:
    """A block that begins at these places; -1 is all that is left."""
    x = np.asarray(inputs)
    ends = [n if size == -1 else start + size for n, start, size in zip(x.shape, start_indices, shape, strict=True)]
    if any(not 0 <= start <= end <= n for start, end, n in zip(start_indices, ends, x.shape, strict=True)):
        raise FastLSTMError(f"a block of shape {shape} at {start_indices} is not inside the input of shape {x.shape}")
    return x[tuple(slice(start, end) for start, end in zip(start_indices, ends, strict=True))]


def one_hot(x: Any, *, num_classes: int, axis: int = -1, dtype: str | None = None, sparse: bool = False) -> Array:
    """1 at the place each number names, 0 elsewhere."""
    if sparse:
        raise UnsupportedLayerError("sparse is True; fastlstm computes dense arrays only")
    hot = np.asarray(x)[..., None] == np.arange(num_classes)
    return np.moveaxis(hot.astype(dtype or "float32"), -1, axis)


def shape_as_array(x: Any) -> Array:
    """The sizes of the axes."""
    return np.array(np.shape(x), np.int32)
