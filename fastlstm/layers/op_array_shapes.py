"""The shapes that operations give which take apart, put together and rearrange arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Shape
from fastlstm.layers.inputs import broadcast
from fastlstm.layers.op_shapes import Spec, along, axes_in, one_axis, product, shape_of

MOST_PARTS = 4096  # that an array is taken apart into: a file can ask for any number


def reshape(x: Any, *, newshape: Sequence[int | None]) -> Shape:
    """The new shape, its open size filled in where all others are known."""
    old = shape_of(x)
    if list(newshape).count(-1) > 1 or any(n is not None and n < -1 for n in newshape):
        raise FastLSTMError(f"newshape is {list(newshape)}; expected sizes, one of which may be -1")
    new = [None if n == -1 else n for n in newshape]
    size, known = product(old), math.prod(n for n in new if n is not None)
    if size is not None and new.count(None) < 2:
        if size != known and (None not in new or not known or size % known):
            raise FastLSTMError(f"{list(old)} cannot be reshaped to {list(newshape)}")
        new = [size // known if n is None and known else n for n in new]
    return tuple(new)


def transpose(x: Any, *, axes: Any = None) -> Shape:
    """The sizes in the order of the axes."""
    shape = shape_of(x)
    order = axes_in(axes, len(shape)) if axes is not None else tuple(reversed(range(len(shape))))
    if len(order) != len(shape):
        raise FastLSTMError(f"axes is {axes}; expected all {len(shape)} axes of the input")
    return tuple(shape[i] for i in order)


def expand_dims(x: Any, *, axis: Any) -> Shape:
    """The shape with sizes of 1 put in."""
    shape = list(shape_of(x))
    count = len(axis) if isinstance(axis, list | tuple) else 1
    for i in sorted(axes_in(axis, len(shape) + count)):
        shape.insert(i, 1)
    return tuple(shape)


def squeeze(x: Any, *, axis: Any = None) -> Shape:
    """The shape without sizes of 1: those named, or all."""
    shape = shape_of(x)
    if axis is None:
        return tuple(size for size in shape if size != 1)
    axes = axes_in(axis, len(shape))
    if any(shape[i] not in (1, None) for i in axes):
        raise FastLSTMError(f"axis is {axis}; expected axes of size 1 in the input of shape {shape}")
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def concatenate(xs: Any, *, axis: int = 0) -> Shape:
    """The sizes along the axis added up."""
    shapes = [shape_of(x) for x in xs] if isinstance(xs, list | tuple) else []
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        raise FastLSTMError(f"got the shapes {shapes}; expected a list of arrays with as many axes in each")
    i = one_axis(axis, len(shapes[0]))
    output: list[int | None] = []
    for j, column in enumerate(zip(*shapes, strict=True)):
        known = {size for size in column if size is not None}
        if j == i:
            output.append(_sum(column))
        elif len(known) > 1:
            raise FastLSTMError(f"got the shapes {shapes}; they differ beside axis {axis}")
        else:
            output.append(known.pop() if known else None)
    return tuple(output)


def _sum(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def stack(x: Any, *, axis: int = 0) -> Shape:
    """The one shape of all, with their number put in."""
    shape = concatenate(x, axis=0) if isinstance(x, list | tuple) and x and shape_of(x[0]) else ()
    rest = [shape_of(part) for part in x]
    if any(len({size for size in column if size is not None}) > 1 for column in zip(*rest, strict=True)):
        raise FastLSTMError(f"got the shapes {rest}; expected one")
    output = [next((size for size in column if size is not None), None) for column in zip(*rest, strict=True)]
    output.insert(one_axis(axis, len(shape) + 1), len(x))
    return tuple(output)


def split(x: Any, *, indices_or_sections: Any, axis: int = 0) -> list[Shape]:
    """The shapes of the parts."""
    shape = shape_of(x)
    i = one_axis(axis, len(shape))
    size, at = shape[i], indices_or_sections
    sizes: Sequence[int | None]
    if isinstance(at, int):
        if at <= 0 or at > MOST_PARTS or (size is not None and size % at):
            raise FastLSTMError(f"indices_or_sections is {at}; expected a number that divides the size {size}")
        sizes = [None if size is None else size // at] * at
    elif size is None:
        raise FastLSTMError("indices_or_sections are places along an axis of unknown size")
    else:
        bounds = [0, *at, size]
        sizes = [b - a for a, b in pairwise(bounds)]
        if any(n is None or n < 0 for n in sizes):
            raise FastLSTMError(f"indices_or_sections is {at}; expected places in order along an axis of size {size}")
    return [(*shape[:i], n, *shape[i + 1 :]) for n in sizes]


def unstack(x: Any, *, num: int | None = None, axis: int = 0) -> list[Shape]:
    """The shape without the axis, as often as its size."""
    shape = shape_of(x)
    i = one_axis(axis, len(shape))
    count = shape[i] if num is None else num
    if count is None or count > MOST_PARTS or shape[i] not in (None, count):
        raise FastLSTMError(f"num is {num} and the axis has size {shape[i]}; expected one number of parts")
    return [(*shape[:i], *shape[i + 1 :])] * count


def roll(x: Any, *, shift: Any, axis: Any = None) -> Shape:
    """The same shape."""
    return along(x, axis=axis)


def repeat(x: Any, *, repeats: Any, axis: int | None = None) -> Shape:
    """The size along the axis, that often or part by part."""
    shape = shape_of(x) if axis is not None else (product(shape_of(x)),)
    i = one_axis(axis or 0, len(shape))
    counts = [repeats] if isinstance(repeats, int) else list(repeats)
    size = shape[i]
    if min(counts, default=-1) < 0 or (len(counts) > 1 and size not in (None, len(counts))):
        raise FastLSTMError(f"repeats is {repeats}; expected a number of 0 or more, or one for each of {size} parts")
    grown = sum(counts) if len(counts) > 1 else None if size is None else size * counts[0]
    return (*shape[:i], grown, *shape[i + 1 :])


def tile(x: Any, *, repeats: Any) -> Shape:
    """Each size, that often."""
    shape, counts = shape_of(x), [repeats] if isinstance(repeats, int) else list(repeats)
    if min(counts, default=0) < 0:
        raise FastLSTMError(f"repeats is {repeats}; expected numbers of 0 or more")
    rank = max(len(shape), len(counts))
    sizes, counts = (1,) * (rank - len(shape)) + shape, [1] * (rank - len(counts)) + counts
    return tuple(None if size is None else size * n for size, n in zip(sizes, counts, strict=True))


def broadcast_to(x: Any, *, shape: Sequence[int | None]) -> Shape:
    """The shape that is asked for."""
    if any(size is None or size < 0 for size in shape) or broadcast([shape_of(x), tuple(shape)], "x") != tuple(shape):
        raise FastLSTMError(f"{list(shape_of(x))} does not broadcast to {list(shape)}")
    return tuple(shape)


def swapaxes(x: Any, *, axis1: int, axis2: int) -> Shape:
    """Two sizes exchanged."""
    shape = list(shape_of(x))
    a, b = one_axis(axis1, len(shape)), one_axis(axis2, len(shape))
    shape[a], shape[b] = shape[b], shape[a]
    return tuple(shape)


def moveaxis(x: Any, *, source: Any, destination: Any) -> Shape:
    """Sizes moved to other places."""
    shape = shape_of(x)
    old, new = axes_in(source, len(shape)), axes_in(destination, len(shape))
    if len(old) != len(new):
        raise FastLSTMError(f"source is {source} and destination {destination}; expected as many axes in both")
    order = [i for i in range(len(shape)) if i not in old]
    for to, come in sorted(zip(new, old, strict=True)):
        order.insert(to, come)
    return tuple(shape[i] for i in order)


def pad(x: Any, constant_values: Any = None, *, pad_width: Any, mode: str = "constant") -> Shape:
    """Each size and what is put before and after."""
    shape = shape_of(x)
    pairs = [pad_width] if isinstance(pad_width, int) else list(pad_width)
    pairs = [pairs] if pairs and isinstance(pairs[0], int) else pairs
    pairs = pairs * len(shape) if len(pairs) == 1 else pairs
    widths = [[*p] if isinstance(p, list | tuple) else [p] for p in pairs]
    if len(widths) != len(shape) or any(len(p) not in (1, 2) or min(p) < 0 for p in widths):
        raise FastLSTMError(
            f"pad_width is {pad_width}; expected two numbers of 0 or more for each of {len(shape)} axes"
        )
    return tuple(None if n is None else n + p[0] + p[-1] for n, p in zip(shape, widths, strict=True))


def take(x: Any, indices: Any, *, axis: int | None = None) -> Shape:
    """The indices' shape in place of the axis."""
    shape, places = shape_of(x), shape_of(indices)
    if axis is None:
        return places
    i = one_axis(axis, len(shape))
    return (*shape[:i], *places, *shape[i + 1 :])


def slice_(inputs: Any, start_indices: Any, *, shape: Sequence[int]) -> Shape:
    """The block's shape."""
    sizes, starts = shape_of(inputs), start_indices
    if isinstance(starts, Spec):
        raise UnsupportedLayerError("slice at computed places is not supported; give it the places as numbers")
    if len(starts) != len(sizes) or len(shape) != len(sizes):
        raise FastLSTMError(f"shape is {shape} at {starts}; expected a number for each axis of {sizes}")
    rest = [None if n is None else n - start for n, start in zip(sizes, starts, strict=True)]
    found = tuple(left if size == -1 else size for left, size in zip(rest, shape, strict=True))
    for start, left, size in zip(starts, rest, found, strict=True):
        if start < 0 or (size is not None and (size < 0 or (left is not None and size > left))):
            raise FastLSTMError(f"a block of shape {shape} at {starts} is not inside an input of shape {sizes}")
    return found


def one_hot(x: Any, *, num_classes: int, axis: int = -1, **config: Any) -> Shape:
    """The number of classes put in."""
    shape = list(shape_of(x))
    if num_classes < 0:
        raise FastLSTMError(f"num_classes is {num_classes}; expected 0 or more")
    shape.insert(one_axis(axis, len(shape) + 1), num_classes)
    return tuple(shape)


def get_item(x: Any, key: Any) -> Shape:
    """What indexing leaves of the shape."""
    left, output = list(shape_of(x)), list[int | None]()
    parts = list(key) if isinstance(key, tuple) else [key]
    if parts.count(Ellipsis) > 1:
        raise FastLSTMError("an index has more than one ellipsis")
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    for n, part in enumerate(parts):
        if part is None:
            output.append(1)
        elif part is Ellipsis:
            kept = len(left) - sum(1 for after in parts[n + 1 :] if after is not None)
            output, left = output + left[: max(kept, 0)], left[max(kept, 0) :]
        elif not left:
            raise FastLSTMError(f"an index has more parts than the shape {shape_of(x)}")
        elif isinstance(part, slice):
            size = left.pop(0)
            output.append(_sliced(part, size))
        elif (size := left.pop(0)) is not None and not -size <= part < size:
            raise FastLSTMError(f"index {part} is outside an axis of size {size}")
    return tuple(output)


def _sliced(part: slice, size: int | None) -> int | None:
    """The size that a slice leaves; of an unknown one, unknown."""
    return None if size is None else len(range(*part.indices(size)))
