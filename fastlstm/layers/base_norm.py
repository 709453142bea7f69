"""What normalizations share that have a scale and an offset: their weights and their arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import WeightOptions, check_rank, resolve_axes
from fastlstm.layers.base import Array, Shape
from fastlstm.layers.inputs import at_least


class Scaled(WeightOptions):
    """A normalization with a scale gamma and an offset beta."""

    supports_masking = True

    def _keep_scale(self, epsilon: Any, center: Any, scale: Any) -> None:
        self.epsilon = at_least(-math.inf, epsilon, f"{self.who}: epsilon")
        self.center, self.scale = bool(center), bool(scale)

    def _affine_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        wanted = {"gamma": self.scale, "beta": self.center}
        return {name: shape for name, given in wanted.items() if given}

    def _sizes(self, input_shape: Shape, axes: list[int]) -> tuple[int, ...]:
        """The sizes along these axes, all of which must be known."""
        self.compute_output_shape(input_shape)
        sizes = tuple(size for size in (input_shape[axis] for axis in axes) if size is not None)
        if len(sizes) < len(axes):
            raise FastLSTMError(f"{self.who}: input has shape {input_shape}; expected known sizes along axis {axes}")
        return sizes

    def _fixed(self, input_shape: Shape, axis: int) -> int:
        """The axis counted from the front, of an input with the rank, and the size along it, that it was built for."""
        check_rank(input_shape, None if self._input_shape is None else len(self._input_shape), self.who)
        (found,) = resolve_axes([axis], len(input_shape), self.who)
        wanted = None if self._input_shape is None else self._input_shape[found]
        if None not in (wanted, input_shape[found]) and input_shape[found] != wanted:
            raise FastLSTMError(f"{self.who}: input has shape {input_shape}; expected {wanted} along axis {axis}")
        return found

    def _moments(self, x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
        """The mean over the axes, and one over the standard deviation; of nothing, NaN."""
        count = x.dtype.type(math.prod(x.shape[axis] for axis in axes))
        mean = x.sum(axis=axes, keepdims=True) / count
        variance = np.square(x - mean).sum(axis=axes, keepdims=True) / count
        return mean, 1 / np.sqrt(variance + x.dtype.type(self.epsilon))

    def _normalized(self, x: Array, axes: tuple[int, ...], affine: tuple[int, ...]) -> Array:
        """x less its mean over the axes, over its standard deviation, by gamma, plus beta: in Keras's order.

        ``affine`` is the shape of gamma and beta beside x.
        """
        mean, inverse = self._moments(x, axes)
        if "gamma" in self._weights:
            inverse = inverse * self._weights["gamma"].astype(x.dtype).reshape(affine)
        offset = -mean * inverse
        if "beta" in self._weights:
            offset = offset + self._weights["beta"].astype(x.dtype).reshape(affine)
        y: Array = x * inverse + offset
        return y

    def _computed(self, inputs: Array) -> Array:
        """The input in the type that Keras computes in, which is the input's own and not the layer's."""
        wide = np.asarray(inputs).dtype == np.float64
        x = as_float(inputs, "float64" if wide else "float32", f"{self.who}: inputs")
        self.compute_output_shape(x.shape)
        return x

    def _returned(self, y: Array, inputs: Array) -> Array:
        """The result as Keras returns it: by way of the input's type, so that of integers it keeps no fraction."""
        return y.astype(np.asarray(inputs).dtype, copy=False).astype(self.dtype, copy=False)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon, "center": self.center, "scale": self.scale}
