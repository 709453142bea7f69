"""What conversions between layouts of LSTM weights stand on: each system's arrays, the order of gates, the checks."""

from __future__ import annotations

import operator
import reprlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.arrays import as_array, finite, numbers_in
from fastlstm.errors import FastLSTMError

Array = NDArray[Any]

#: The gates, in the order that each system keeps them in: input, forget, candidate (cell), output.
ORDERS = {
    "keras": "ifco", "tf1": "icfo", "torch": "ifco", "onnx": "iofc", "openvino": "fico", "onednn": "ifco",
    "cudnn": "ifco",
}  # fmt: skip


class KerasWeights(NamedTuple):
    """What ``fastlstm.LSTM`` has, gates i, f, c, o; without the None, the list that ``set_weights`` takes."""

    kernel: Array  # (I, 4U)
    recurrent_kernel: Array  # (H, 4U)
    bias: Array | None = None  # (4U,)
    peephole_kernel: Array | None = None  # (3, U), rows i, f, o
    projection_kernel: Array | None = None  # (U, P)

    def as_list(self) -> list[Array]:
        """Those that there are, in the order of ``get_weights``."""
        return [array for array in self if array is not None]


class TF1Weights(NamedTuple):
    """What a checkpoint of TensorFlow 1 has of a cell, gates i, j (the candidate), f, o."""

    kernel: Array  # (I + H, 4U): rows of the input, then of the state
    bias: Array  # (4U,), without forget_bias
    w_f_diag: Array | None = None  # (U,)
    w_i_diag: Array | None = None
    w_o_diag: Array | None = None
    projection: Array | None = None  # (U, P)


class TorchWeights(NamedTuple):
    """What ``torch.nn.LSTM`` has of a layer, gates i, f, g, o."""

    weight_ih: Array  # (4U, I)
    weight_hh: Array  # (4U, H)
    bias_ih: Array | None = None  # (4U,)
    bias_hh: Array | None = None  # (4U,)
    weight_hr: Array | None = None  # (P, U)


class ONNXWeights(NamedTuple):
    """Inputs of ONNX's LSTM, gates i, o, f, c; two directions are joined along the first axis."""

    W: Array  # (1, 4U, I)
    R: Array  # (1, 4U, U)
    B: Array | None = None  # (1, 8U): of the input, then of the state
    P: Array | None = None  # (1, 3U): i, o, f


class OpenVINOWeights(NamedTuple):
    """Inputs of OpenVINO's LSTMSequence, gates f, i, c, o; two directions are joined along the first axis."""

    W: Array  # (1, 4U, I)
    R: Array  # (1, 4U, U)
    B: Array  # (1, 4U)


class OneDNNWeights(NamedTuple):
    """Memories of oneDNN's LSTM primitive in its plain formats, gates i, f, c, o; layers and directions first."""

    weights_layer: Array  # ldigo: (1, 1, I, 4, U)
    weights_iter: Array  # ldigo: (1, 1, H, 4, U)
    bias: Array  # ldgo: (1, 1, 4, U)
    weights_peephole: Array | None = None  # ldgo: (1, 1, 3, U), i, f, o
    weights_projection: Array | None = None  # ldio: (1, 1, U, P)


class CudnnWeights(NamedTuple):
    """The canonical parameters of TensorFlow 1's CudnnLSTM, gates i, f, c, o of the input, then of the state."""

    weights: tuple[Array, ...]  # four (U, I), four (U, H); a projection (P, U) last
    biases: tuple[Array, ...]  # eight (U,)


def gates(array: ArrayLike, order_from: str, order_to: str, axis: int = -1) -> Array:
    """Put the gates that lie side by side along an axis into another order.

    Parameters
    ----------
    array : array_like
        Its axis is as long as the gates are many, times the units.
    order_from, order_to : str
        A system of ``ORDERS``, or a letter for each gate, such as ``"iof"`` for ONNX's peepholes. ``order_to`` may
        leave gates out.
    axis : int

    Returns
    -------
    ndarray
        A new, contiguous array.

    Raises
    ------
    FastLSTMError
        An order names a gate twice, or one that is not there, or none; or the axis is not a multiple of the gates.
    """
    named = isinstance(order_from, str) and isinstance(order_to, str)
    source, target = (ORDERS.get(o, o) for o in (order_from, order_to)) if named else ("", "")
    twice = len({*source}) < len(source) or len({*target}) < len(target)
    if not target or twice or not {*target} <= {*source}:
        raise FastLSTMError(
            f"gates: orders are {order_from!r} and {order_to!r}; expected {', '.join(map(repr, ORDERS))} or a letter "
            "for each gate, the second of letters of the first"
        )
    values, along = as_array(array, "gates: array"), as_index(axis)
    size = 0 if along is None or not -values.ndim <= along < values.ndim else values.shape[along]
    if along is None or not size or size % len(source):
        raise FastLSTMError(
            f"gates: array has shape {values.shape}; expected an axis {axis!r} of {len(source)} gates side by side"
        )
    parts = dict(zip(source, np.split(values, len(source), along), strict=True))
    return np.ascontiguousarray(np.concatenate([parts[gate] for gate in target], along))


def checked_array(value: ArrayLike, what: str, *shape: int | None) -> Array:
    """Numbers of that shape, with None where a size is free; those that are no floats become float64."""
    array = numbers_in(value)
    if array is None:
        raise FastLSTMError(f"{what} is {reprlib.repr(value)}; expected numbers")
    if array.ndim != len(shape) or any(s not in (None, n) for s, n in zip(shape, array.shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise FastLSTMError(f"{what} has shape {array.shape}; expected ({expected})")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def optional_array(value: ArrayLike | None, what: str, *shape: int | None) -> Array | None:
    """As :func:`checked_array`, where None says that there is none."""
    return None if value is None else checked_array(value, what, *shape)


def units_of(columns: int, what: str, array: Array) -> int:
    """How many units four gates side by side have; the array is shown where that is no number."""
    if not columns or columns % 4:
        raise FastLSTMError(f"{what} has shape {array.shape}; expected four gates of at least one unit side by side")
    return columns // 4


def as_index(given: Any) -> int | None:
    """The int that an integer of Python or NumPy is; None for booleans and the rest."""
    try:
        return None if isinstance(given, bool) else operator.index(given)
    except TypeError:
        return None


def checked_index(given: int, count: int, who: str, what: str = "direction") -> int:
    """An index along an axis of so many directions, or whatever else it names."""
    index = as_index(given)
    if index is None or not 0 <= index < count:
        raise FastLSTMError(f"{who}: {what} is {given!r}; expected an integer from 0 to {count - 1}")
    return index


def as_list(given: Any, what: str, expected: str = "a list of arrays") -> list[Any]:
    """The items of a list, or of anything else that has some; what they are is not looked at."""
    try:
        return list(given)
    except (TypeError, ValueError):
        raise FastLSTMError(f"{what} is {reprlib.repr(given)}; expected {expected}") from None


def checked_forget_bias(given: Any, dtype: np.dtype[Any], who: str) -> float:
    """What a cell of TensorFlow 1 adds to the forget gate: one number, which the bias's dtype can hold."""
    array = numbers_in(given)
    number = None if array is None or array.shape else finite(array.item())
    if number is None or abs(number) > float(np.finfo(dtype).max):
        raise FastLSTMError(f"{who}: forget_bias is {reprlib.repr(given)}; expected a number that {dtype} holds")
    return number


def refuse(who: str, **given: Any) -> None:
    """Refuse weights that a system has no place for, where there are some."""
    for name, array in given.items():
        if array is not None:
            raise FastLSTMError(f"{who}: {name} is given; expected None, for that system's LSTM has none")


def checked_keras(
    who: str,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
) -> KerasWeights:
    """The arguments as arrays whose shapes belong together."""
    w = checked_array(kernel, f"{who}: kernel", None, None)
    units = units_of(w.shape[1], f"{who}: kernel", w)
    p = optional_array(projection_kernel, f"{who}: projection_kernel", units, None)
    r = checked_array(recurrent_kernel, f"{who}: recurrent_kernel", units if p is None else p.shape[1], 4 * units)
    b = optional_array(bias, f"{who}: bias", 4 * units)
    peep = optional_array(peephole_kernel, f"{who}: peephole_kernel", 3, units)
    return KerasWeights(w, r, b, peep, p)


def turned(matrix: Array) -> Array:
    """A new array with rows for columns."""
    return np.array(matrix.T, order="C")


def rows_of(matrix: Array, order: str) -> Array:
    """Keras's matrix with the gates as rows in another order, behind an axis of directions."""
    return gates(matrix.T, "keras", order, axis=0)[None]


def copied(array: Array | None) -> Array | None:
    """A new array, where there is one."""
    return None if array is None else array.copy()
