"""What the operations of ``keras.ops`` compute, in NumPy with Keras's dtypes.

Positional parameters are what a call of the operation has, keyword-only ones its configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from fastlstm import activations
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers import activation
from fastlstm.layers.base import Array

Function = Callable[..., Any]


# -- types ------------------------------------------------------------------------------------------


def common(*values: Any, at_least_float: bool = False) -> list[Array]:
    """The values as arrays of one type, Keras's: a Python number takes that of the arrays beside it."""
    types = [v.dtype for v in values if isinstance(v, np.ndarray | np.generic)]
    weak = {type(v) for v in values if not isinstance(v, np.ndarray | np.generic)}
    floats = [t for t in types if t.kind == "f"]
    if floats:
        found = max(floats, key=lambda t: t.itemsize)
    elif float in weak or at_least_float:
        found = np.dtype("float32")
    else:
        found = np.result_type(*types) if types else np.dtype(bool)
        if found.kind == "b" and int in weak:
            found = np.dtype("int32")
        elif found.kind == "f":  # int64 beside uint64
            found = np.dtype("float32")
    return [np.asarray(v).astype(found, copy=False) for v in values]


def floating(x: Any) -> Array:
    """x, or x as float32 where it holds integers."""
    return common(x, at_least_float=True)[0]


def _strong(x: Any) -> Array:
    """x as TensorFlow makes it an array: a Python number is float32 or int32 before it meets others."""
    if isinstance(x, float):
        return np.asarray(np.float32(x))
    return np.asarray(x, np.int32) if isinstance(x, int) and not isinstance(x, bool) else np.asarray(x)


def _counted(x: Array) -> Array:
    """x with small integers and booleans as int32, as sums of them are."""
    x = np.asarray(x)
    small = x.dtype.kind in "biu" and x.dtype.itemsize < 4
    return x.astype(np.uint32 if x.dtype.kind == "u" else np.int32) if small else x


# -- element by element -----------------------------------------------------------------------------


def unary(f: Function) -> Function:
    """An operation on each element that keeps the type."""
    return lambda x: np.asarray(f(np.asarray(x)))


def unary_float(f: Function) -> Function:
    """An operation on each element that makes floats of integers."""
    return lambda x: np.asarray(f(floating(x)))


def binary(f: Function, at_least_float: bool = False) -> Function:
    """An operation on two arrays or numbers in their common type."""
    return lambda x1, x2: np.asarray(f(*common(x1, x2, at_least_float=at_least_float)))


def comparison(f: Function) -> Function:
    """A comparison of two arrays or numbers."""
    return lambda x1, x2: np.asarray(f(*common(_strong(x1), _strong(x2))))


def logical(f: Function) -> Function:
    """An operation on truth values."""
    return lambda *xs: np.asarray(f(*(np.asarray(x).astype(bool) for x in xs)))


def named(name: str) -> Function:
    """One of the activations at its default arguments."""
    apply = activations.get(name, name)
    return lambda x: apply(floating(x))


def default_only(name: str, argument: str, default: float) -> Function:
    """An activation whose one argument fastlstm takes at its default only."""
    apply = activations.get(name, name)

    def run(x: Any, **given: Any) -> Array:
        if given.get(argument, default) != default:
            raise UnsupportedLayerError(f"{argument} is {given[argument]!r}; fastlstm computes {name} with {default} only")
        return apply(floating(x))

    run.__kwdefaults__ = {argument: default}
    return run


def floor_divide(x1: Any, x2: Any) -> Array:
    """The quotient rounded down; of floats after the division, as TensorFlow does it."""
    a, b = common(x1, x2)
    return np.asarray(np.floor(a / b) if a.dtype.kind == "f" else np.floor_divide(a, b))


def divide_no_nan(x1: Any, x2: Any) -> Array:
    """The quotient, and 0 where the divisor is."""
    a, b = common(x1, x2, at_least_float=True)
    return np.where(b == 0, b.dtype.type(0), a / b)


def where(condition: Any, x1: Any = None, x2: Any = None) -> Array:
    """The first where the condition holds, else the second."""
    if x1 is None or x2 is None:
        raise UnsupportedLayerError("where without two values gives as many places as there are; give two values")
    return np.where(np.asarray(condition).astype(bool), *common(x1, x2))


def clip(x: Any, *, x_min: Any, x_max: Any) -> Array:
    """x held between two bounds."""
    x = _counted(x) if np.asarray(x).dtype.kind == "b" else np.asarray(x)
    low, high = (np.asarray(bound).astype(x.dtype) for bound in (x_min, x_max))
    return np.asarray(np.maximum(np.minimum(x, high), low))


def round_(x: Any, *, decimals: Any = 0) -> Array:
    """x rounded to so many decimals, halves to even."""
    return np.asarray(np.round(floating(x), int(decimals)))


def cast(x: Any, *, dtype: str) -> Array:
    """x in another type."""
    return np.asarray(x).astype(dtype, copy=False)


def like(value: int) -> Function:
    """An array of the shape of another, filled with one number."""
    return lambda x, *, dtype=None: np.full(np.shape(x), value, dtype or np.asarray(x).dtype)


def relu(x: Any, *, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Array:
    """``keras.activations.relu`` with arguments."""
    return activation.ReLU(max_value, negative_slope, threshold, dtype=floating(x).dtype).call(floating(x))


def leaky_relu(x: Any, *, negative_slope: float = 0.2) -> Array:
    """x where positive, else a multiple of it."""
    return activation.leaky_relu(floating(x), negative_slope)


def elu(x: Any, *, alpha: float = 1.0) -> Array:
    """x where positive, else ``alpha * (exp(x) - 1)``."""
    return activation.elu(floating(x), alpha)


def gelu(x: Any, *, approximate: bool = True) -> Array:
    """x times the normal distribution's share below it, or the approximation by tanh."""
    if not approximate:
        return activations.get("gelu", "gelu")(floating(x))
    x = floating(x)
    inner = x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x**3)
    return np.asarray(x.dtype.type(0.5) * x * (1 + activations.get("tanh", "gelu")(inner)))


# -- along axes -------------------------------------------------------------------------------------


def _axes(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def reduction(f: Function, prepare: Function = np.asarray) -> Function:
    """A reduction over one axis, several or all."""
    return lambda x, *, axis=None, keepdims=False: np.asarray(f(prepare(x), axis=_axes(axis), keepdims=keepdims))


def total(f: Function) -> Function:
    """A sum or product, in the type of what it is over."""
    return lambda x, *, axis=None, keepdims=False, dtype=None: np.asarray(
        f((y := _counted(x)), axis=_axes(axis), keepdims=keepdims, dtype=dtype or y.dtype)
    )


def extreme(f: Function, beside: Function) -> Function:
    """A maximum or minimum, beside a number to begin with."""

    def run(x: Any, *, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Array:
        y = np.asarray(f(np.asarray(x), axis=_axes(axis), keepdims=keepdims))
        return y if initial is None else np.asarray(beside(y, np.asarray(initial).astype(y.dtype)))

    return run


def place(f: Function) -> Function:
    """The place of a maximum or minimum; as in Keras -0.0 is below 0.0 there."""

    def run(x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
        x = np.asarray(x)
        if x.dtype.kind == "f":
            x = np.where((x == 0) & np.signbit(x), -np.finfo(x.dtype).tiny, x)
        return np.asarray(f(x, axis=axis, keepdims=keepdims)).astype(np.int32)

    return run


def logsumexp(x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))), taken from the greatest element on."""
    x, axis = floating(x), _axes(axis)
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return np.asarray(y if keepdims else np.squeeze(y, axis=axis if axis is not None else tuple(range(x.ndim))))


def norm(x: Any, *, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """A vector's length, along one axis or over all that are named."""
    x, axis = floating(x), _axes(axis)
    single = isinstance(axis, int) or x.ndim == 1 or (isinstance(axis, tuple) and len(axis) == 1)
    if ord == 1 and single:
        return np.asarray(np.sum(np.abs(x), axis=axis, keepdims=keepdims))
    if ord is None or (ord == 2 and single):
        return np.asarray(np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)))
    raise UnsupportedLayerError(f"ord is {ord!r} over the axes {axis}; fastlstm computes lengths of vectors, ord None, 1 or 2")


def normalize(x: Any, *, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Array:
    """x over its norm, which counts as no less than epsilon."""
    x, axis = floating(x), _axes(axis)
    least = x.dtype.type(1e-7 if epsilon is None else epsilon)
    if order == 2:
        return np.asarray(x * np.minimum(1 / np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True)), 1 / least))
    if order < 1:
        raise FastLSTMError(f"order is {order}; expected an integer of 1 or more")
    length = np.sum(np.abs(x) ** order, axis=axis, keepdims=True) ** x.dtype.type(1 / order)
    return np.asarray(x / np.maximum(length, least))


def softmax(x: Any, *, axis: Any = -1) -> Array:
    """exp(x) over its sum along an axis, or several."""
    x = floating(x)
    return activation.Softmax(axis=axis, dtype=x.dtype).call(x)


def log_softmax(x: Any, *, axis: Any = -1) -> Array:
    """The logarithm of softmax."""
    x = floating(x)
    return np.asarray(x - logsumexp(x, axis=axis, keepdims=True))


def cumulative(f: Function) -> Function:
    """A running sum or product."""
    return lambda x, *, axis=None, dtype=None: np.asarray(
        f((y := _counted(x) if np.asarray(x).dtype.kind == "b" else np.asarray(x)), axis=axis, dtype=dtype or y.dtype)
    )


# -- products ---------------------------------------------------------------------------------------


def dot(x1: Any, x2: Any) -> Array:
    """The sum over the last axis of the first and the last but one of the second."""
    return np.asarray(np.dot(*common(x1, x2)))


def einsum(*operands: Any, subscripts: str) -> Array:
    """Einstein's summation."""
    return np.asarray(np.einsum(subscripts, *common(*operands), optimize=len(operands) > 1))


# -- shapes -----------------------------------------------------------------------------------------


def reshape(x: Any, *, newshape: Sequence[int | None]) -> Array:
    """The same elements in another shape, one size of which may be left open."""
    return np.asarray(x).reshape([-1 if n is None else n for n in newshape])


def transpose(x: Any, *, axes: Any = None) -> Array:
    """The axes in another order, or reversed."""
    return np.transpose(np.asarray(x), axes)


def expand_dims(x: Any, *, axis: Any) -> Array:
    """New axes of size 1."""
    return np.expand_dims(np.asarray(x), _axes(axis))


def squeeze(x: Any, *, axis: Any = None) -> Array:
    """Without axes of size 1."""
    return np.squeeze(np.asarray(x), _axes(axis))


def concatenate(xs: Sequence[Any], *, axis: int = 0) -> Array:
    """Arrays one after the other along an axis."""
    return np.concatenate(common(*map(_strong, xs)), axis=axis)


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
    return np.flip(np.asarray(x), _axes(axis))


def roll(x: Any, *, shift: Any, axis: Any = None) -> Array:
    """Elements moved along, the last ones to the front."""
    return np.roll(np.asarray(x), _axes(shift), _axes(axis))


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


def multiply_all(parts: Sequence[int]) -> int:
    """The product of the sizes."""
    return reduce(lambda a, b: a * b, parts, 1)
