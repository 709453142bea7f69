"""The arithmetic of narrow weights in NumPy, as fastlstm.h promises it."""

import numpy as np

LEAST_ROW, LEAST_COLUMN = np.float32(1e-30), np.float32(2**-100)  # with nothing larger they count as zeros


def bfloat16(a):
    """The nearest bfloat16, of two the even one, as float32."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def float16(a):
    return np.asarray(a, np.float32).astype(np.float16).astype(np.float32)


def to_bytes(a, axis, least):
    """``a`` as integers up to 127 and their scale, each along the axis; NaN where a number is not finite."""
    a = np.asarray(a, np.float32)
    most = np.abs(a).max(axis, keepdims=True, initial=0)
    with np.errstate(all="ignore"):
        inverse = np.where(most > least, np.float32(127) / most, np.float32(0))
        scale = np.where(np.isfinite(most), most / np.float32(127), np.float32(np.nan))
        return np.rint(a * inverse).astype(np.float64), scale


def int8(a):
    """What the bytes of a weight matrix stand for, as float32."""
    whole, scale = to_bytes(a, 0, LEAST_COLUMN)
    return (whole * scale).astype(np.float32)


#: The numbers that weights are rounded to.
ROUNDED = {"bfloat16": bfloat16, "float16": float16, "int8": int8}


def rounded(weights, precision):
    """A weight matrix of numbers that the precision has, so that rounding it again changes nothing (in int8 little)."""
    return ROUNDED[precision](weights) if precision in ROUNDED else weights


def dot_bfloat16(x, w):
    """x and w rounded, where the processor multiplies bfloat16."""
    return bfloat16(x).astype(x.dtype) @ bfloat16(w).astype(x.dtype)


def dot_int8(x, w):
    """Sums of products of bytes."""
    rows, row_scale = to_bytes(x, -1, LEAST_ROW)
    columns, column_scale = to_bytes(w, 0, LEAST_COLUMN)
    scale = (row_scale.astype(x.dtype) * column_scale).astype(x.dtype)
    return ((rows @ columns) * scale).astype(x.dtype)
