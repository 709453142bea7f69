"""Whatever NumPy takes for an array, as the kernels read it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.errors import FastLSTMError

_TYPES = {"bool", *(f"float{n}" for n in (16, 32, 64)), *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}


def numbers_in(nest: Any) -> np.ndarray | None:
    """The array that a number, or a nest of lists of numbers, is; None for anything else.

    Text beside numbers is looked for first: NumPy would make each number as long as the longest text.
    """
    try:
        array = np.asarray(nest) if _are_numbers(nest) else None
    except (TypeError, ValueError, NotImplementedError):  # a ragged nest, or a tensor of a graph
        return None
    return array if array is not None and array.dtype.kind in "biuf" else None


def _are_numbers(nest: Any) -> bool:
    if isinstance(nest, list | tuple):
        return all(map(_are_numbers, nest))
    return isinstance(nest, int | float | np.ndarray | np.generic) or hasattr(nest, "__array__")


def finite(value: Any) -> float | None:
    """The float that a real number is; None for anything else, and for what no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def plain_dtype(name: Any) -> np.dtype[Any] | None:
    """The bool, integer or float type of a name that Keras has for one, or of NumPy's own; None for anything else.

    NumPy is not asked for other names: it evaluates what looks like a shape in them.
    """
    if not isinstance(name, type | np.dtype) and not (isinstance(name, str) and name in _TYPES):
        return None
    try:
        found: np.dtype[Any] = np.dtype(name)
    except (TypeError, ValueError):
        return None
    return found if found.kind in "biuf" else None


def as_array(x: Any, who: str) -> np.ndarray:
    """What NumPy makes of x: of a tensor of torch its values, bfloat16 as float32.

    Ragged nests and what has no values (a graph's tensor) are refused.
    """
    if type(x) is np.ndarray:
        return x
    try:
        if hasattr(x, "detach") and hasattr(x, "cpu"):  # torch's, which is not imported for this
            x = x.detach().cpu()
            x = x.float() if str(x.dtype) == "torch.bfloat16" else x
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:  # the last of tensors, NotImplementedError among them
        raise FastLSTMError(f"{who} is not an array: {error}") from None


def as_float(x: ArrayLike, dtype: Any, who: str) -> np.ndarray:
    """x as an aligned, native array of ``dtype``: itself where it is one, else a converted copy.

    Integers, booleans and other floats are cast as Keras casts them; anything else is refused.
    """
    array = as_array(x, who)
    if array.dtype == dtype and array.flags.aligned and array.dtype.isnative:
        return array
    if array.dtype.kind not in "fiub" and not np.can_cast(array.dtype, np.float64):
        raise FastLSTMError(f"{who} has dtype {array.dtype}; expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is inf, as in Keras
        return array.astype(dtype)
