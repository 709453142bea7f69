"""The shapes that operations give: for each a rule with the operation's own parameters.

An argument that is an array is known by its :class:`Spec` alone; sizes that are not known are None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.arguments import resolve_axes
from fastlstm.layers.base import Shape
from fastlstm.layers.inputs import broadcast


class Spec(NamedTuple):
    """An array of which only the shape is known, None where a size is not."""

    shape: Shape


def shape_of(x: Any) -> Shape:
    """The shape of a Spec, of an array or of a number."""
    if x is None or x is Ellipsis or isinstance(x, slice):
        raise FastLSTMError(f"an argument is {x!r}; expected an array or a number")
    return tuple(x.shape) if isinstance(x, Spec) else np.shape(x)


def axes_in(axis: Any, rank: int) -> tuple[int, ...]:
    """The axes counted from the front; None is all of them."""
    if axis is None:
        return tuple(range(rank))
    return resolve_axes(list(axis) if isinstance(axis, list | tuple) else [axis], rank, "an operation")


def one_axis(axis: Any, rank: int) -> int:
    """The one axis counted from the front."""
    return axes_in([axis], rank)[0]


def elementwise(*xs: Any, **config: Any) -> Shape:
    """All arguments broadcast together."""
    return broadcast([shape_of(x) for x in xs], "an operation")


def same(x: Any, *others: Any, **config: Any) -> Shape:
    """The shape of the first argument."""
    return shape_of(x)


def along(x: Any, *, axis: Any = None, **config: Any) -> Shape:
    """The shape of the argument, which must have the axes."""
    axes_in(axis, len(shape_of(x)))
    return shape_of(x)


def reduced(x: Any, *, axis: Any = None, keepdims: bool = False, **config: Any) -> Shape:
    """Without the axes, or with size 1 there."""
    shape = shape_of(x)
    axes = axes_in(axis, len(shape))
    return tuple(1 if i in axes else size for i, size in enumerate(shape) if keepdims or i not in axes)


def placed(x: Any, *, axis: Any = None, keepdims: bool = False) -> Shape:
    """Without the one axis, or without any."""
    return reduced(x, axis=axis, keepdims=keepdims)


def accumulated(x: Any, *, axis: Any = None, **config: Any) -> Shape:
    """The same shape, or flat where no axis is named."""
    shape = shape_of(x)
    return along(x, axis=[axis]) if axis is not None else (product(shape),)


def product(sizes: Sequence[int | None]) -> int | None:
    """The product, or None where a size is not known."""
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def where(condition: Any, x1: Any = None, x2: Any = None) -> Shape:
    """The three broadcast together."""
    if x1 is None or x2 is None:
        raise UnsupportedLayerError("where without two values gives as many places as there are; give two values")
    return elementwise(condition, x1, x2)


def clipped(x: Any, *, x_min: Any, x_max: Any) -> Shape:
    """The argument and the bounds broadcast together."""
    return elementwise(x, x_min, x_max)


def matmul(x1: Any, x2: Any) -> Shape:
    """Rows of the first and columns of the second; all axes before broadcast."""
    a, b = shape_of(x1), shape_of(x2)
    if not a or not b or _unlike(a[-1], b[-2] if len(b) > 1 else b[0]):
        raise FastLSTMError(f"arrays of shapes {a} and {b} have no product")
    batch = broadcast([a[:-2], b[:-2]], "matmul")
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def dot(x1: Any, x2: Any) -> Shape:
    """All axes of both but those summed over."""
    a, b = shape_of(x1), shape_of(x2)
    if not a or not b:
        return a or b
    if _unlike(a[-1], b[-2] if len(b) > 1 else b[0]):
        raise FastLSTMError(f"arrays of shapes {a} and {b} have no dot product")
    return (*a[:-1], *(b[:-2] + b[-1:] if len(b) > 1 else ()))


def _unlike(a: int | None, b: int | None) -> bool:
    return a is not None and b is not None and a != b


def einsum(*operands: Any, subscripts: str) -> Shape:
    """The sizes of the letters after the arrow."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms, sizes = left.split(","), dict[str, int | None]()
    letters = all(term.isascii() and (term.isalpha() or not term) for term in (*terms, right))
    if not arrow or not letters or len(terms) != len(operands) or len(operands) > 8 or len(set(right)) < len(right):
        raise UnsupportedLayerError(
            f"subscripts is {subscripts!r} for {len(operands)} operands; expected letters for each axis and an arrow"
        )
    for term, operand in zip(terms, operands, strict=True):
        shape = shape_of(operand)
        if len(term) != len(shape):
            raise FastLSTMError(f"subscripts is {subscripts!r}; {term!r} does not name the axes of {shape}")
        for letter, size in zip(term, shape, strict=True):
            if _unlike(sizes.get(letter), size):
                raise FastLSTMError(f"subscripts is {subscripts!r}; {letter!r} has sizes {sizes[letter]} and {size}")
            sizes[letter] = size if sizes.get(letter) is None else sizes[letter]
    if not set(right) <= set(sizes):
        raise FastLSTMError(f"subscripts is {subscripts!r}; there are letters after the arrow only")
    return tuple(sizes[letter] for letter in right)
