"""Activations that are layers of their own: ReLU, LeakyReLU, PReLU, ELU, Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import activations, initializers
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import axes_of, resolve_axes
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import plain
from fastlstm.layers.inputs import at_least, numpy_errors

_SOFTMAX = activations.get("softmax", "softmax")
_ELU = activations.get("elu", "elu")


def relu(x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Array:
    """``keras.activations.relu``: x above the threshold, up to a maximum, and a slope below it."""
    y = np.where(x > threshold, x, x.dtype.type(0)) if threshold else np.maximum(x, x.dtype.type(0))
    if max_value is not None:
        y = np.clip(y, x.dtype.type(0), x.dtype.type(max_value))
    if negative_slope:
        y = y - x.dtype.type(negative_slope) * np.maximum(x.dtype.type(threshold) - x, x.dtype.type(0))
    return np.asarray(y)


def leaky_relu(x: Array, negative_slope: float) -> Array:
    """x where it is positive, else a multiple of it; TensorFlow keeps the slope in float32 whatever x is."""
    return np.where(x > 0, x, x * x.dtype.type(np.float32(negative_slope)))


def elu(x: Array, alpha: float) -> Array:
    """x where it is positive, else ``alpha * (exp(x) - 1)``."""
    y = _ELU(x)
    return y if alpha == 1 else np.where(x > 0, y, y * x.dtype.type(alpha))


def softmax(x: Array, axes: Sequence[int]) -> Array:
    """Softmax over several axes at once, given from the front and each once."""
    if axes == [x.ndim - 1] or not x.size:
        return _SOFTMAX(x)
    last = range(x.ndim - len(axes), x.ndim)
    moved = np.moveaxis(x, axes, last)
    flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], -1)
    return np.moveaxis(_SOFTMAX(flat).reshape(moved.shape), last, axes)


class ReLU(Layer):
    """Rectified linear unit. Arguments are those of ``keras.layers.ReLU``.

    Parameters
    ----------
    max_value : float, optional
        The greatest output, 0 or more.
    negative_slope : float
        What values below the threshold are multiplied with, after the threshold was taken from them.
    threshold : float
        Values up to it, 0 or more, count as below.
    """

    supports_masking = True

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else at_least(0, max_value, f"{self.who}: max_value")
        self.negative_slope = at_least(0, negative_slope, f"{self.who}: negative_slope")
        self.threshold = at_least(0, threshold, f"{self.who}: threshold")

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        x = as_float(inputs, self.dtype, self.who)
        with np.errstate(all="ignore"):
            if self.negative_slope and self.max_value is None and not self.threshold:
                return leaky_relu(x, self.negative_slope)
            return relu(x, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        own = {"max_value": self.max_value, "negative_slope": self.negative_slope, "threshold": self.threshold}
        return {**super().get_config(), **own}


class LeakyReLU(Layer):
    """x, or a multiple of it where it is negative. Arguments are those of ``keras.layers.LeakyReLU``.

    Parameters
    ----------
    negative_slope : float
        0 or more.
    alpha : float, optional
        What Keras 2 calls negative_slope.
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        negative_slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = at_least(0, negative_slope, f"{self.who}: negative_slope")

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        with np.errstate(all="ignore"):
            return leaky_relu(as_float(inputs, self.dtype, self.who), self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "negative_slope": self.negative_slope}


class PReLU(Layer):
    """x, or a learned multiple of it where it is negative. Arguments are those of ``keras.layers.PReLU``.

    Parameters
    ----------
    alpha_initializer : str, dict or initializer
        Fills the weight, ``alpha``, when none is loaded: one number for each place of a sample.
    shared_axes : int or list of int, optional
        Axes along which one number serves; 1 is the first after the batch axis.
    alpha_regularizer, alpha_constraint
        Matter in training only: accepted and inert.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer, f"{self.who}: alpha_initializer")
        self.alpha_regularizer = alpha_regularizer
        self.alpha_constraint = alpha_constraint
        self.shared_axes = None if shared_axes is None else axes_of(shared_axes, f"{self.who}: shared_axes")

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        sizes = list(input_shape[1:])
        for axis in self.shared_axes or ():
            if not -len(sizes) <= axis - 1 < len(sizes):
                raise FastLSTMError(
                    f"{self.who}: shared_axes is {self.shared_axes}; expected axes of the input {input_shape} from 1 on"
                )
            sizes[axis - 1] = 1
        known = tuple(size for size in sizes if size is not None)
        if not input_shape or len(known) < len(sizes):
            raise FastLSTMError(
                f"{self.who}: input has shape {input_shape}; expected known sizes but for the batch and shared_axes"
            )
        return {"alpha": known}

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return self.alpha_initializer(shape, self.dtype)

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        x = as_float(inputs, self.dtype, self.who)
        alpha = self._weights["alpha"]
        fits = x.ndim == alpha.ndim + 1
        if fits and self.shared_axes:  # Keras holds these sizes fast, and lets others broadcast
            built = enumerate(self._input_shape)
            fits = all(size in (None, x.shape[i]) for i, size in built if i and i not in self.shared_axes)
        if not fits:
            raise FastLSTMError(f"{self.who}: input has shape {x.shape}; expected one like {self._input_shape}")
        zero = x.dtype.type(0)
        with numpy_errors(f"{self.who}: input of shape {x.shape} with alpha of shape {alpha.shape}"):
            return np.asarray(np.maximum(x, zero) - alpha * np.maximum(-x, zero))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": plain(self.alpha_regularizer),
            "alpha_constraint": plain(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }


class ELU(Layer):
    """Exponential linear unit. Arguments are those of ``keras.layers.ELU``.

    Parameters
    ----------
    alpha : float
        What ``exp(x) - 1`` is multiplied with where x is negative.
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = at_least(-np.inf, alpha, f"{self.who}: alpha")

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        with np.errstate(all="ignore"):
            return elu(as_float(inputs, self.dtype, self.who), self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class Softmax(Layer):
    """Softmax over one axis or several. Arguments are those of ``keras.layers.Softmax``.

    Masked places give 0 and count for nothing; the mask broadcasts to the input from the last axis on.

    Parameters
    ----------
    axis : int, list of int or None
        Over which the outputs sum to 1; None is all of them.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] | None = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self._axes = None if axis is None else axes_of(axis, f"{self.who}: axis")
        if self._axes == []:
            raise FastLSTMError(f"{self.who}: axis is {axis!r}; expected one axis or more")

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        x = as_float(inputs, self.dtype, self.who)
        axes = range(x.ndim) if self._axes is None else resolve_axes(self._axes, x.ndim, self.who)
        if mask is None:
            return softmax(x, list(axes))
        mask = np.asarray(mask)
        mask = mask if mask.dtype == bool else mask > 0.5
        sizes = zip(mask.shape[::-1], x.shape[::-1], strict=False)
        if mask.ndim > x.ndim or any(m not in (1, size) for m, size in sizes):
            raise FastLSTMError(
                f"{self.who}: mask has shape {mask.shape}, which does not broadcast to the input's {x.shape}"
            )
        y = softmax(np.where(mask, x, x.dtype.type(-1e9)), list(axes))
        return np.where(mask, y, y.dtype.type(0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
