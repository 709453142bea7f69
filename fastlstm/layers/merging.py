"""Layers that make one array of several: Add, Multiply, Concatenate, Dot and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import LARGEST, integer, resolve_axes
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.inputs import broadcast, input_arrays, input_shapes, numpy_errors

Mask = Array | None


class Merge(Layer):
    """What the layers share that merge a list of inputs element by element.

    Inputs of fewer axes than others get axes of size 1 after the batch axis. Semantics of
    ``keras/src/layers/merging/base_merge.py``.

    Parameters
    ----------
    mask_merging : {"any", "all"}
        How masks merge; an option of fastlstm's own, not in ``get_config``. ``"any"``, the default, is
        Keras 3: a step counts where any input counts it, no input may lack a mask, and Maximum, Minimum
        and Multiply leave masked steps of an input out. ``"all"`` is Keras 2, for the files it wrote: a
        step counts where all masks that are there count it, and values do not depend on masks.
    """

    supports_masking = True
    #: How many inputs the layer takes; without an end where the last is None.
    counts: ClassVar[tuple[int, int | None]] = (1, None)

    def __init__(self, *, mask_merging: str = "any", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mask_merging not in ("any", "all"):
            raise FastLSTMError(f"{self.who}: mask_merging is {mask_merging!r}; expected 'any' or 'all'")
        self.mask_merging = mask_merging

    def weight_shapes(self, input_shape: Any) -> dict[str, tuple[int, ...]]:
        self.compute_output_shape(input_shape)  # refuses inputs that do not merge
        return {}

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = input_shapes(input_shape, self.who, *self.counts)
        batches = {shape[0] for shape in shapes} - {None}
        if len(batches) > 1:
            raise FastLSTMError(f"{self.who}: inputs have the batch sizes {sorted(map(str, batches))}; expected one")
        rest: Shape = shapes[0][1:]
        for shape in shapes[1:]:  # two at a time, as Keras does: None beside 1 or beside a number is None
            rest = _merged(rest, shape[1:], self.who)
        return (batches.pop() if batches else None, *rest)

    def merge(self, arrays: list[Array], masks: Sequence[Mask]) -> Array:
        """Merge arrays of the same number of axes; masks have been made ready to broadcast to them."""
        raise NotImplementedError

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        arrays = input_arrays(inputs, self.dtype, self.who, *self.counts)
        rank = max(x.ndim for x in arrays)
        given = self._masks(arrays, mask)
        # Keras reshapes the inputs that have fewer axes, and with that they lose their masks.
        kept = [x.ndim == rank and self.mask_merging == "any" for x in arrays]
        masks = [m if keep else None for m, keep in zip(given, kept, strict=True)]
        arrays = [x.reshape(x.shape[:1] + (1,) * (rank - x.ndim) + x.shape[1:]) for x in arrays]
        with numpy_errors(f"{self.who}: inputs of shapes {', '.join(str(x.shape) for x in arrays)}"):
            return self.merge(arrays, [m if m is None else m[..., None] for m in masks])

    def _masks(self, inputs: Any, mask: Any) -> Sequence[Mask]:
        """One mask or None for each input."""
        if mask is None:
            return [None] * len(inputs)
        if not isinstance(inputs, list | tuple) or not isinstance(mask, list | tuple) or len(mask) != len(inputs):
            raise FastLSTMError(f"{self.who}: mask is {type(mask).__name__}; expected a list, one for each input")
        return [None if m is None else np.asarray(m, bool) for m in mask]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask:
        masks = self._masks(inputs, mask)
        present = [m for m in masks if m is not None]
        if not present or (self.mask_merging == "any" and len(present) < len(masks)):
            return None
        with numpy_errors(f"{self.who}: masks of shapes {', '.join(str(m.shape) for m in present)}"):
            return reduce(np.logical_or if self.mask_merging == "any" else np.logical_and, present)


def _merged(a: Shape, b: Shape, who: str) -> Shape:
    broadcast([a, b], who)
    if len(a) < len(b):
        a, b = b, a
    lead = len(a) - len(b)
    tail = (None if None in (i, j) else j if i == 1 else i for i, j in zip(a[lead:], b, strict=True))
    return (*a[:lead], *tail)


class Add(Merge):
    """Sum of the inputs, as ``keras.layers.Add``; parameters are :class:`Merge`'s.

    One batch size gives what another gives. Keras 3.15 on TensorFlow does not where it takes a later
    input for a bias: (1, 3, 1) beside (1, 3, 3) it adds along the last axis.
    """

    def merge(self, arrays: list[Array], masks: Sequence[Mask]) -> Array:
        return reduce(np.add, arrays)


class Subtract(Merge):
    """The first input less the second, as ``keras.layers.Subtract``; parameters are :class:`Merge`'s."""

    counts = (2, 2)

    def merge(self, arrays: list[Array], masks: Sequence[Mask]) -> Array:
        return np.subtract(*arrays)


class Average(Merge):
    """Mean of the inputs, as ``keras.layers.Average``; parameters are :class:`Merge`'s."""

    def merge(self, arrays: list[Array], masks: Sequence[Mask]) -> Array:
        return np.asarray(reduce(np.add, arrays) / len(arrays))


class Multiply(Merge):
    """Product of the inputs, as ``keras.layers.Multiply``; parameters are :class:`Merge`'s.

    A masked step of an input counts as 1 and, where all inputs have masks, one that all mask gives 0.
    """

    def merge(self, arrays: list[Array], masks: Sequence[Mask]) -> Array:
        factors = [x if m is None else np.where(m, x, x.dtype.type(1)) for x, m in zip(arrays, masks, strict=True)]
        product = reduce(np.multiply, factors)
        present = [m for m in masks if m is not None]
        if len(present) < len(masks):
            return product
        return np.where(reduce(np.logical_or, present), product, product.dtype.type(0))


class _Extreme(Merge):
    """Maximum and Minimum: a masked step of one input gives way to the inputs before, or to those after."""

    choose: Callable[[Array, Array], Array]

    def merge(self, arrays: list[Array], masks: Sequence[Mask]) -> Array:
        output, mask = arrays[0], masks[0]
        for x, m in zip(arrays[1:], masks[1:], strict=True):
            x = x if m is None else np.where(m, x, output)
            output = output if mask is None else np.where(mask, output, x)
            mask = None if mask is None or m is None else np.logical_or(mask, m)
            output = type(self).choose(output, x)
        return output


class Maximum(_Extreme):
    """Greatest of the inputs, as ``keras.layers.Maximum``; parameters are :class:`Merge`'s."""

    choose = np.maximum


class Minimum(_Extreme):
    """Least of the inputs, as ``keras.layers.Minimum``; parameters are :class:`Merge`'s."""

    choose = np.minimum


class Concatenate(Merge):
    """The inputs one after the other. Arguments are those of ``keras.layers.Concatenate``.

    Parameters
    ----------
    axis : int
        Along which; 0 is the batch axis. All other sizes must agree.
    mask_merging : {"any", "all"}
        In both an input without a mask counts as unmasked, the masks are spread over their inputs and
        concatenated, and one axis is left by taking, over the last one, ``"any"`` as Keras 3 or
        ``"all"`` as Keras 2 (2.15's ``layers/merging/concatenate.py``).
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = integer(axis, f"{self.who}: axis", -LARGEST)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = input_shapes(input_shape, self.who, *self.counts)
        resolve_axes([self.axis], len(shapes[0]), self.who)
        rests = []
        for shape in shapes:
            if len(shape) != len(shapes[0]):
                raise FastLSTMError(f"{self.who}: inputs have the shapes {shapes}; expected as many axes in each")
            rest = list(shape)
            del rest[self.axis]
            rests.append(rest)
        if any(len(set(sizes) - {None}) > 1 for sizes in zip(*rests, strict=True)):
            raise FastLSTMError(f"{self.who}: inputs have the shapes {shapes}; they differ beside axis {self.axis}")
        sizes = [shape[self.axis] for shape in shapes]
        output = list(shapes[0])
        output[self.axis] = None if None in sizes else sum(size for size in sizes if size is not None)
        return tuple(output)

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        arrays = input_arrays(inputs, self.dtype, self.who, *self.counts)
        with numpy_errors(f"{self.who}: inputs of shapes {', '.join(str(x.shape) for x in arrays)}"):
            return np.concatenate(arrays, axis=self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask:
        masks = self._masks(inputs, mask)
        if all(m is None for m in masks):
            return None
        with numpy_errors(f"{self.who}: masks"):
            spread = []
            for x, m in zip(inputs, masks, strict=True):
                whole = np.ones(np.shape(x), bool)
                spread.append(whole if m is None else whole & m[..., None] if m.ndim < whole.ndim else m)
            whole = np.concatenate(spread, axis=self.axis)
            return np.asarray(whole.any(-1) if self.mask_merging == "any" else whole.all(-1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class Dot(Merge):
    """Dot products between two inputs, sample by sample. Arguments are those of ``keras.layers.Dot``.

    Parameters
    ----------
    axes : int or pair of int
        The axis of each input that is summed over; not the batch axis.
    normalize : bool
        Divide by the norms along those axes first: the cosine of the angle.

    Notes
    -----
    No mask travels on. Semantics of ``keras/src/layers/merging/dot.py``.
    """

    counts = (2, 2)

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = isinstance(axes, list | tuple) and len(axes) == 2
        self.axes: int | tuple[int, ...]
        if pair:
            self.axes = tuple(integer(axis, f"{self.who}: an axis in axes", -LARGEST) for axis in axes)  # type: ignore[union-attr]
        else:
            self.axes = integer(axes, f"{self.who}: axes", -LARGEST)
        self.normalize = bool(normalize)

    def _own_axes(self, shapes: Sequence[Shape]) -> list[int]:
        """The axis of each input, counted from the front."""
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        found = [resolve_axes([axis], len(shape), self.who)[0] for axis, shape in zip(axes, shapes, strict=True)]
        if 0 in found or min(map(len, shapes)) < 2:
            raise FastLSTMError(
                f"{self.who}: axes is {self.axes} for inputs of shapes {shapes}; the first axis holds the samples"
            )
        a, b = shapes
        if a[found[0]] != b[found[1]] or (None not in (a[0], b[0]) and a[0] != b[0]):
            raise FastLSTMError(
                f"{self.who}: inputs have the shapes {shapes}; expected one batch size, and one along the axes {found}"
            )
        return found

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = input_shapes(input_shape, self.who, *self.counts)
        first, second = self._own_axes(shapes)
        a, b = shapes
        output = a[:first] + a[first + 1 :] + b[1:second] + b[second + 1 :]
        return output if len(output) > 1 else (*output, 1)

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        arrays = input_arrays(inputs, self.dtype, self.who, *self.counts)
        first, second = self._own_axes([x.shape for x in arrays])
        if self.normalize:
            arrays = [
                _unit(as_float(x, self.dtype, self.who), axis) for x, axis in zip(arrays, (first, second), strict=True)
            ]
        a, b = np.moveaxis(arrays[0], first, -1), np.moveaxis(arrays[1], second, 1)
        shape = a.shape[:-1] + b.shape[2:]
        with numpy_errors(f"{self.who}: inputs of shapes {arrays[0].shape} and {arrays[1].shape}"):
            rows = a.reshape(len(a), int(np.prod(a.shape[1:-1])), a.shape[-1])
            columns = b.reshape(len(b), b.shape[1], int(np.prod(b.shape[2:])))
            products: Array = np.matmul(rows, columns)
            return products.reshape(shape if len(shape) > 1 else (*shape, 1))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask:
        return None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def _unit(x: Array, axis: int) -> Array:
    """x over its norm along an axis, which Keras takes for no less than its epsilon, 1e-7."""
    with np.errstate(all="ignore"):
        inverse = 1 / np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True))
        return np.asarray(x * np.minimum(inverse, x.dtype.type(1e7)))
