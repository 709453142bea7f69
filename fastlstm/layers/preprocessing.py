"""Layers that bring raw numbers into range: Normalization, Rescaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.arrays import as_float, numbers_in
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import axes_of, check_rank, resolve_axes
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.inputs import saved_value


def _constant(value: Any, what: str) -> Array:
    """Numbers given to a constructor, as TensorFlow takes them: Python's floats in float32, arrays as they are."""
    value = saved_value(value)
    array = numbers_in(value)
    if array is None or array.dtype.kind == "b":
        raise FastLSTMError(f"{what} is {value!r}; expected a number or an array of numbers")
    if array.dtype.kind == "f" and not isinstance(value, np.ndarray | np.generic):
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    return array


def _plain(value: Any) -> Any:
    """A constant as ``get_config`` gives it: an array in Keras's form for one."""
    if isinstance(value, np.ndarray) and value.ndim:
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


class Normalization(Layer):
    """Subtract a mean and divide by a standard deviation. Arguments: ``keras.layers.Normalization``.

    Parameters
    ----------
    axis : int, tuple of int or None
        The axes that have a mean and a variance of their own for each index; None for one of each.
    mean, variance : number or array_like, optional
        Both or neither; without them they are weights. They broadcast to the sizes along ``axis``.
    invert : bool
        Multiply and add instead.

    Notes
    -----
    A standard deviation below 1e-7 counts as that. ``adapt`` is not here: it is training.
    """

    supports_masking = True
    non_trainable = frozenset({"mean", "variance", "count"})

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.axis = () if axis is None else tuple(axes_of(axis, f"{self.who}: axis"))
        self.invert = bool(invert)
        self.input_mean, self.input_variance = saved_value(mean), saved_value(variance)
        self._given: dict[str, Array] = {}
        self._ready: tuple[Array, Array] | None = None
        if (mean is None) != (variance is None):
            raise FastLSTMError(f"{self.who}: mean is {mean!r} and variance {variance!r}; expected both or neither")
        if mean is not None:
            self._given = {
                "mean": _constant(mean, f"{self.who}: mean"),
                "variance": _constant(variance, f"{self.who}: variance"),
            }
            shapes = [array.shape for array in self._given.values()]
            if shapes[0] != shapes[1] or len(shapes[0]) > len(self.axis):
                raise FastLSTMError(
                    f"{self.who}: mean has shape {shapes[0]} and variance {shapes[1]}; expected the same for both, "
                    f"with no more axes than axis={self.axis} names"
                )

    def _kept(self, input_shape: Shape) -> dict[int, int]:
        """The size along each axis that has statistics of its own, in order."""
        check_rank(input_shape, None, self.who)
        kept = sorted(resolve_axes(self.axis, len(input_shape), self.who))
        found = {axis: size for axis in kept if (size := input_shape[axis]) is not None}
        if len(found) < len(kept):
            raise FastLSTMError(f"{self.who}: input has shape {input_shape}; expected known sizes along {self.axis}")
        return found

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        shape = tuple(self._kept(input_shape).values())
        if not self._given:
            return {"mean": shape, "variance": shape, "count": ()}
        given = self._given["mean"].shape
        last = shape[len(shape) - len(given) :]
        if any(own not in (1, size) for own, size in zip(given, last, strict=True)):
            raise FastLSTMError(f"{self.who}: mean has shape {given}; expected it to broadcast to {shape}")
        return {}

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return np.ones(shape) if name == "variance" else np.zeros(shape)

    def _weights_changed(self) -> None:
        self._ready = None

    def _constants(self) -> tuple[Array, Array]:
        """Mean and standard deviation as they broadcast to the input."""
        shape = [1] * len(self._input_shape)
        values = {name: array.astype(self.dtype) for name, array in (self._given or self._weights).items()}
        sizes, kept = values["mean"].shape, list(self._kept(self._input_shape))
        for axis, size in zip(kept[len(kept) - len(sizes) :], sizes, strict=True):  # a given mean has the last axes
            shape[axis] = size
        deviation = np.maximum(np.sqrt(values["variance"]), np.dtype(self.dtype).type(1e-7))
        return values["mean"].reshape(shape), deviation.reshape(shape)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = as_float(inputs, self.dtype, f"{self.who}: inputs")
        if x.ndim != len(self._input_shape) or self._kept(x.shape) != self._kept(self._input_shape):
            raise FastLSTMError(f"{self.who}: input has shape {x.shape}; built for {self._input_shape}")
        with np.errstate(all="ignore"):
            mean, deviation = self._ready = self._ready or self._constants()
            y: Array = mean + x * deviation if self.invert else (x - mean) / deviation
        return y

    def get_config(self) -> dict[str, Any]:
        given = {"mean": np.array(self.input_mean).tolist(), "variance": np.array(self.input_variance).tolist()}
        return {**super().get_config(), "axis": self.axis, "invert": self.invert, **given}


class Rescaling(Layer):
    """``inputs * scale + offset``. Arguments are those of ``keras.layers.Rescaling``.

    Parameters
    ----------
    scale, offset : number or array_like
        Arrays broadcast to the input's last axes.
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = saved_value(scale), saved_value(offset)
        self._factor = _constant(scale, f"{self.who}: scale").astype(self.dtype)
        self._offset = _constant(offset, f"{self.who}: offset").astype(self.dtype)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = as_float(inputs, self.dtype, f"{self.who}: inputs")
        shapes = [self._factor.shape, self._offset.shape]
        for shape in shapes:
            last = x.shape[max(0, x.ndim - len(shape)) :]
            if len(shape) > x.ndim or any(own not in (1, size) for own, size in zip(shape, last, strict=True)):
                raise FastLSTMError(
                    f"{self.who}: input has shape {x.shape}; scale and offset, {shapes}, do not broadcast to it"
                )
        with np.errstate(all="ignore"):
            y: Array = x * self._factor + self._offset
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": _plain(self.scale), "offset": _plain(self.offset)}
