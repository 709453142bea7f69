"""Whatever NumPy takes for an array, as the kernels read it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.errors import FastLSTMError


def as_float(x: ArrayLike, dtype: Any, who: str) -> np.ndarray:
    """x as an aligned, native array of ``dtype``: itself where it is one, else a converted copy.

    Integers, booleans and other floats are cast as Keras casts them; anything else is refused.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:  # a ragged nest of lists
        raise FastLSTMError(f"{who} is not an array: {error}") from None
    if array.dtype == dtype and array.flags.aligned and array.dtype.isnative:
        return array
    if array.dtype.kind not in "fiub" and not np.can_cast(array.dtype, np.float64):
        raise FastLSTMError(f"{who} has dtype {array.dtype}; expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is inf, as in Keras
        return array.astype(dtype)
