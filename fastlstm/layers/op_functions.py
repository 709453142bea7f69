"""What the operations of ``keras.ops`` compute, in NumPy with Keras's dtypes.

Positional parameters are what a call of the operation has, keyword-only ones its configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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


def as_array(x: Any) -> Array:
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


def strong(f: Function) -> Function:
    """A comparison, or what else Keras makes arrays of numbers for before it looks for a common type."""
    return lambda x1, x2: np.asarray(f(*common(as_array(x1), as_array(x2))))


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
            raise UnsupportedLayerError(
                f"{argument} is {given[argument]!r}; fastlstm computes {name} with {default} only"
            )
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


def cast(x: Any, *, dtype: str | None) -> Array:
    """x in another type, None being its own."""
    return np.asarray(x).astype(dtype or np.asarray(x).dtype, copy=False)


def convert(x: Any, *, dtype: str | None = None, sparse: Any = None, ragged: Any = None) -> Array:
    """x as an array."""
    return cast(x, dtype=dtype)


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
    coefficient = x.dtype.type(np.float32(0.044715))  # float32 in TensorFlow, whatever x is
    inner = x.dtype.type(math.sqrt(2 / math.pi)) * (x + coefficient * x**3)
    return np.asarray(x.dtype.type(0.5) * x * (1 + activations.get("tanh", "gelu")(inner)))


# -- along axes -------------------------------------------------------------------------------------


def axes_of_numpy(axis: Any) -> Any:
    """A file's list of axes as the tuple that NumPy takes."""
    return tuple(axis) if isinstance(axis, list) else axis


def reduction(f: Function, prepare: Function = np.asarray) -> Function:
    """A reduction over one axis, several or all."""
    return lambda x, *, axis=None, keepdims=False: np.asarray(
        f(prepare(x), axis=axes_of_numpy(axis), keepdims=keepdims)
    )


def mean(x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over the number of elements; NaN where there are none."""
    y = np.asarray(np.sum(floating(x), axis=axes_of_numpy(axis), keepdims=keepdims))
    axes = range(np.ndim(x)) if axis is None else axis if isinstance(axis, list | tuple) else [axis]
    return np.asarray(y / y.dtype.type(math.prod(np.shape(x)[i] for i in axes)))


def var(x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
    """The mean of the squares of the distances from the mean."""
    return mean(np.square(floating(x) - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)


def std(x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
    """The root of the variance."""
    return np.asarray(np.sqrt(var(x, axis=axis, keepdims=keepdims)))


def total(x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum, in the type of what it is over."""
    x = _counted(x)
    return np.asarray(np.sum(x, axis=axes_of_numpy(axis), keepdims=keepdims, dtype=x.dtype))


def product(x: Any, *, axis: Any = None, keepdims: bool = False, dtype: str | None = None) -> Array:
    """The product, in the type of what it is over or another."""
    x = _counted(x)
    return np.asarray(np.prod(x, axis=axes_of_numpy(axis), keepdims=keepdims, dtype=dtype or x.dtype))


def extreme(f: Function, beside: Function) -> Function:
    """A maximum or minimum, beside a number to begin with."""

    def run(x: Any, *, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Array:
        y = np.asarray(f(np.asarray(x), axis=axes_of_numpy(axis), keepdims=keepdims))
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
    x, axis = floating(x), axes_of_numpy(axis)
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return np.asarray(y if keepdims else np.squeeze(y, axis=axis if axis is not None else tuple(range(x.ndim))))


def norm(x: Any, *, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """A vector's length, along one axis or over all that are named."""
    x, axis = floating(x), axes_of_numpy(axis)
    single = isinstance(axis, int) or x.ndim == 1 or (isinstance(axis, tuple) and len(axis) == 1)
    if ord == 1 and single:
        return np.asarray(np.sum(np.abs(x), axis=axis, keepdims=keepdims))
    if ord is None or (ord == 2 and single):
        return np.asarray(np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)))
    raise UnsupportedLayerError(
        f"ord is {ord!r} over the axes {axis}; fastlstm computes lengths of vectors, ord None, 1 or 2"
    )


def normalize(x: Any, *, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Array:
    """x over its norm, which counts as no less than epsilon."""
    x, axis = floating(x), axes_of_numpy(axis)
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


def l2_normalize(x: Any, *, axis: Any = None, epsilon: float = 1e-12) -> Array:
    """x over its length, whose square counts as no less than epsilon."""
    x = floating(x)
    square = np.sum(np.square(x), axis=axes_of_numpy(axis), keepdims=True)
    return np.asarray(x / np.sqrt(np.maximum(square, x.dtype.type(epsilon))))
