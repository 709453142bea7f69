"""What layers of several inputs, or of inputs of any type, ask of them; and NumPy's refusals as ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from fastlstm.arrays import as_float, numbers_in, plain_dtype
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Shape

#: What NumPy raises for arguments and arrays that do not go together.
_NUMPY_ERRORS = (TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, MemoryError)


def saved_value(value: Any) -> Any:
    """An array that a file wrote in one of Keras's forms, as an array; anything else as it is.

    Keras 3 writes ``{"class_name": "__numpy__" or "__tensor__", "config": {"value", "dtype"}}``, Keras
    2 ``{"type": "ndarray", "value"}``.
    """
    if not isinstance(value, dict):
        return value
    config = value.get("config") if value.get("class_name") in ("__numpy__", "__tensor__") else value
    if not isinstance(config, dict) or "value" not in config:
        return value
    array = numbers_in(config["value"])
    kind = array.dtype if array is not None and not config.get("dtype") else plain_dtype(config.get("dtype"))
    if array is None or kind is None:
        return value
    with np.errstate(all="ignore"):
        return array.astype(kind)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def at_least(least: float, value: Any, what: str) -> float:
    """``value`` as a float from ``least`` on; booleans, NaN and the rest are refused."""
    found = saved_value(value)
    if isinstance(found, np.ndarray) and found.ndim == 0 and found.dtype.kind in "iuf":
        found = found.item()
    try:
        number = float(found) if _is_real(found) else math.nan
    except OverflowError:
        number = math.nan
    if not number >= least:
        raise FastLSTMError(
            f"{what} is {value!r}; expected a number" + (f" of at least {least:g}" * (least > -math.inf))
        )
    return number


def input_shapes(shapes: Any, who: str, least: int, most: int | None = None) -> list[Shape]:
    """The shapes of a layer's several inputs, each with a batch axis."""
    nest = isinstance(shapes, list | tuple) and all(isinstance(shape, list | tuple) for shape in shapes)
    if not nest or len(shapes) < least or (most is not None and len(shapes) > most):
        count = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise FastLSTMError(f"{who}: input has shape {shapes}; expected a list of {count} inputs")
    if not all(shapes):
        raise FastLSTMError(f"{who}: inputs have the shapes {shapes}; expected each to begin with a batch axis")
    return [tuple(shape) for shape in shapes]


def input_arrays(inputs: Any, dtype: str, who: str, least: int, most: int | None = None) -> list[Array]:
    """A layer's several inputs: as they are where all are integers, else as floats."""
    if not isinstance(inputs, list | tuple):
        raise FastLSTMError(f"{who}: got {type(inputs).__name__}; expected a list of inputs")
    arrays = [as_input(x, dtype, f"{who}: input {i}") for i, x in enumerate(inputs)]
    input_shapes([x.shape for x in arrays], who, least, most)
    return arrays if all(x.dtype.kind in "iub" for x in arrays) else [as_float(x, dtype, who) for x in arrays]


def as_input(x: Any, dtype: str, who: str) -> Array:
    """The input of a layer that computes in any type: as in Keras, floats are converted and integers kept."""
    return x if isinstance(x, np.ndarray) and x.dtype.kind in "iub" else as_float(x, dtype, who)


def broadcast(shapes: Sequence[Shape], who: str) -> Shape:
    """The shape these broadcast to: beside an unknown size a known one counts, but for 1, as in ``keras.ops``."""
    rank = max(map(len, shapes), default=0)
    sizes: list[int | None] = []
    for column in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        known = {size for size in column if size is not None and size != 1}
        if len(known) > 1:
            raise FastLSTMError(f"{who}: the shapes {', '.join(map(str, shapes))} do not broadcast")
        sizes.append(known.pop() if known else None if None in column else 1)
    return tuple(sizes)


@contextmanager
def numpy_errors(who: str) -> Iterator[None]:
    """Run NumPy silently; what it refuses becomes a FastLSTMError that begins with ``who``."""
    try:
        with np.errstate(all="ignore"):
            yield
    except FastLSTMError:
        raise
    except _NUMPY_ERRORS as error:
        raise FastLSTMError(f"{who}: {error}") from None
