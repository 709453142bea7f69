"""W, R, B and P of ONNX's LSTM, checked, as the weights of LSTMs of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.arrays import as_array, as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layouts import gates, onnx_to_keras

Array = NDArray[Any]


def dtype_of(W: ArrayLike) -> np.dtype[Any]:
    """What an operator of these weights computes in."""
    dtype = as_array(W, "onnx.LSTM: W").dtype
    return np.dtype(np.float64 if dtype.kind == "f" and dtype.itemsize == 8 else np.float32)  # in either byte order


def shaped(value: ArrayLike, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An argument as an array of this shape."""
    array = as_float(value, dtype, f"onnx.LSTM: {name}")
    if array.shape != shape:
        raise FastLSTMError(f"onnx.LSTM: {name} has shape {array.shape}; expected {shape}")
    return array


def sides_of(
    W: ArrayLike, R: ArrayLike, B: ArrayLike | None, P: ArrayLike | None,
    count: int, dtype: np.dtype[Any], coupled: bool,
) -> tuple[list[list[Array]], tuple[int, ...]]:
    """Each direction's in Keras's layout, without those of f where the gates are coupled; and the shape of W."""
    w = as_float(W, dtype, "onnx.LSTM: W")
    if w.ndim != 3 or len(w) != count or w.shape[1] % 4 or not w.size:
        raise FastLSTMError(f"onnx.LSTM: W has shape {w.shape}; expected ({count}, 4 * hidden_size, input_size)")
    rows = w.shape[1]
    r = shaped(R, "R", (count, rows, rows // 4), dtype)
    b = None if B is None else shaped(B, "B", (count, 2 * rows), dtype)
    p = None if P is None else shaped(P, "P", (count, 3 * rows // 4), dtype)
    found = []
    for d in range(count):
        arrays = onnx_to_keras(w, r, b, p, direction=d).as_list()
        if coupled:  # all but the peepholes have gates side by side
            last = len(arrays) - (p is not None)
            arrays[:last] = [gates(array, "keras", "ico") for array in arrays[:last]]
        found.append(arrays)
    return found, w.shape
