"""What all convolutions share: their windows, bias and activation, and products of patches with kernels."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastlstm import _core, activations
from fastlstm.config import choose_isa
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import WeightOptions, sizes
from fastlstm.layers.base import Array, Shape
from fastlstm.layers.core import plain
from fastlstm.layers.windows import Windowed, blocks, view_windows


class Convolution(WeightOptions, Windowed):
    """The base of every convolution; each sets its kernels' shapes and combines the products here."""

    kernel_size: tuple[int, ...]
    #: Whether Keras takes a last axis of the bias's size for the channels, though these come first: its models
    #: do so when they predict, because of ``keras/src/backend/tensorflow/numpy.py``, ``add``.
    _bias_strays = False

    def _keep_kernel(
        self,
        kernel_size: Any,
        strides: Any,
        padding: Any,
        data_format: Any,
        dilation_rate: Any,
        activation: Any,
        use_bias: Any,
        causal: bool = False,
    ) -> None:
        """Check and keep the arguments that every convolution has."""
        self.kernel_size = self._keep_windows("kernel_size", kernel_size, strides, padding, data_format, causal)
        self.dilation_rate = sizes(dilation_rate, self.rank, f"{self.who}: dilation_rate")
        self.activation = activations.get(activation, self.who)
        self.use_bias = bool(use_bias)

    @property
    def _window(self) -> tuple[int, ...]:
        return self.kernel_size

    def _known_channels(self, input_shape: Shape) -> int:
        channels = self._channels(input_shape)
        if not channels:
            raise FastLSTMError(f"{self.who}: input has shape {input_shape}; expected a known number of channels")
        self.compute_output_shape(input_shape)  # refuses an input too small for one window
        return channels

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        if not arrays or arrays[0].ndim != self.rank + 2:
            return None
        channels, unknown = self._kernel_channels(arrays[0].shape), (None,) * self.rank
        return (None, *unknown, channels) if self.data_format == "channels_last" else (None, channels, *unknown)

    def _kernel_channels(self, shape: tuple[int, ...]) -> int:
        """The input's channels, as the shape of the first weight tells them."""
        return shape[-2]

    def _weights_changed(self) -> None:
        self._plans: list[_core.DensePlan] | None = None

    def __getstate__(self) -> Any:
        return {**super().__getstate__(), "_plans": None}  # a copy packs its own

    def _packed(self, kernel: Array, groups: int) -> list[_core.DensePlan]:
        """The kernel (*taps, channels of a group, filters) of each group as a matrix for the dense kernels."""
        if self._plans is None:
            matrix = kernel.reshape(-1, kernel.shape[-1])
            linear, isa = activations.get(None, self.who).number, choose_isa()
            parts = [np.ascontiguousarray(part) for part in np.split(matrix, groups, axis=1)]
            self._plans = [_core.DensePlan(part, None, linear, isa) for part in parts]
        return self._plans

    def _cells(self, inputs: Array) -> Array:
        x, channels = super()._cells(inputs), self._kernel_channels(next(iter(self._weights.values())).shape)
        if x.shape[-1] != channels:
            raise FastLSTMError(f"{self.who}: input has shape {np.shape(inputs)}; expected {channels} channels")
        return x

    def _all_channels(self, x: Array, kernel: Array, groups: int) -> Array:
        """Each group of channels with its kernels (*taps, channels of a group, filters): (batch, *windows, filters)."""
        view, kept = view_windows(x, self._axes, 0)
        plans = self._packed(kernel, groups)
        rank, channels, filters = self.rank + 1, kernel.shape[-2], kernel.shape[-1] // groups
        y = np.empty((*view.shape[:rank], kernel.shape[-1]), self.dtype)
        seen: tuple[Any, ...] = (..., *kept, slice(None))
        for samples, rows in blocks(view.shape[:rank], prod(kernel.shape[:-1])):
            for group, plan in enumerate(plans):
                part = view[samples, rows, ..., group * channels : (group + 1) * channels]
                patches = np.zeros((*part.shape[:rank], *kernel.shape[:-1]), self.dtype)
                patches[seen] = part
                products = plan.run(patches.reshape(*part.shape[:rank], plan.features))
                y[samples, rows, ..., group * filters : (group + 1) * filters] = products
        return y

    def _each_channel(self, x: Array, kernel: Array) -> Array:
        """Each channel with its own kernels (*taps, channels, multiplier): (batch, *windows, both as one axis)."""
        view, kept = view_windows(x, self._axes, 0)
        windows, taps = list(range(self.rank + 1)), list(range(self.rank + 1, 2 * self.rank + 1))
        c, m = 2 * self.rank + 1, 2 * self.rank + 2
        y: Array = np.einsum(view, [*windows, *taps, c], kernel[kept], [*taps, c, m], [*windows, c, m], order="C")
        return y.reshape(*y.shape[:-2], kernel.shape[-2] * kernel.shape[-1])

    def _finished(self, y: Array) -> Array:
        """Bias and activation of (batch, *windows, channels), in the layer's data format."""
        y = self._formatted(y)
        if self.use_bias:
            bias = self._weights["bias"]
            last = self.data_format == "channels_last" or (self._bias_strays and y.shape[-1] == len(bias))
            with np.errstate(all="ignore"):
                y += bias if last else bias.reshape(-1, *(1,) * self.rank)
        return self.activation(y)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "activation": self.activation.name,
            "use_bias": self.use_bias,
            "activity_regularizer": plain(self.activity_regularizer),
        }
