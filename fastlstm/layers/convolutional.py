"""Convolutions: Conv1D, Conv2D, DepthwiseConv1D, SeparableConv1D."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import integer
from fastlstm.layers.base import Array, Shape
from fastlstm.layers.base_conv import Convolution
from fastlstm.layers.core import refuse_training_forms


class _Conv(Convolution):
    """Conv1D and Conv2D, which differ in their rank only."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        refuse_training_forms(self.who, lora_rank or None, None)
        shared = (kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self._keep_kernel(*shared, causal=self.rank == 1)
        self.filters = integer(filters, f"{self.who}: filters")
        self.groups = integer(groups, f"{self.who}: groups")
        if self.filters % self.groups:
            raise FastLSTMError(f"{self.who}: groups is {groups}; expected a divisor of the {filters} filters")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise FastLSTMError(
                f"{self.who}: strides is {strides} and dilation_rate {dilation_rate}; expected one of them to be 1"
            )
        self._keep_options(
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        channels = self._known_channels(input_shape)
        if channels % self.groups:
            raise FastLSTMError(
                f"{self.who}: input has shape {input_shape}; expected channels in {self.groups} equal groups"
            )
        kernel = {"kernel": (*self.kernel_size, channels // self.groups, self.filters)}
        return {**kernel, "bias": (self.filters,)} if self.use_bias else kernel

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters

    def _kernel_channels(self, shape: tuple[int, ...]) -> int:
        return shape[-2] * self.groups

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return self._finished(self._all_channels(self._cells(inputs), self._weights["kernel"], self.groups))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


class Conv1D(_Conv):
    """Convolve sequences with filters. Arguments are those of ``keras.layers.Conv1D``.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size, strides, dilation_rate : int or tuple of one
        Steps of a window, from one window to the next, and from one step of a window to the next. Of the
        last two only one may be above 1.
    padding : {"valid", "same", "causal"}
        None; zeros on both sides; zeros in front, so that no output sees what comes after it.
    data_format : {"channels_last", "channels_first"}, optional
        Inputs are (batch, steps, channels), the default, or (batch, channels, steps); so are outputs.
    groups : int
        Parts that the channels and the filters are cut into, each convolved by itself.
    activation : str, callable layer form or None
        A Keras activation; None is linear.
    use_bias : bool
    kernel_initializer, bias_initializer : str, dict or initializer
        Fill the weights when none are loaded.
    kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, lora_alpha
        Matter in training only: accepted and inert.
    lora_rank
        Not supported: an error unless None.

    Notes
    -----
    The arithmetic is Dense's, on patches of the input; semantics of ``keras/src/layers/convolutional``.
    """


class Conv2D(_Conv):
    """Convolve images with filters. Arguments are those of ``keras.layers.Conv2D``.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size, strides, dilation_rate : int or tuple of two
        Rows and columns of a window, from one window to the next, and between the cells of a window.
    padding : {"valid", "same"}
    data_format : {"channels_last", "channels_first"}, optional
        Inputs are (batch, rows, columns, channels), the default, or (batch, channels, rows, columns).

    All other arguments are those of :class:`Conv1D`.
    """

    rank = 2


class DepthwiseConv1D(Convolution):
    """Convolve each channel by itself. Arguments are those of ``keras.layers.DepthwiseConv1D``.

    Parameters
    ----------
    kernel_size, strides, dilation_rate : int or tuple of one
        As of :class:`Conv1D`; both of the last two may be above 1.
    padding : {"valid", "same"}
    depth_multiplier : int
        Outputs for each channel of the input.

    Of the other arguments, ``depthwise_*`` concern the kernel; the rest are those of :class:`Conv1D`.

    Notes
    -----
    As in Keras, ``channels_first`` with as many steps as channels in the output has its bias along the steps.
    """

    _bias_strays = True

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep_kernel(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self.depth_multiplier = integer(depth_multiplier, f"{self.who}: depth_multiplier")
        self._keep_options(
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
        )

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        channels = self._known_channels(input_shape)
        kernel = {"kernel": (*self.kernel_size, channels, self.depth_multiplier)}
        return {**kernel, "bias": (channels * self.depth_multiplier,)} if self.use_bias else kernel

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return super()._initial_weight("depthwise" if name == "kernel" else name, shape)

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return self._finished(self._each_channel(self._cells(inputs), self._weights["kernel"]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


class SeparableConv1D(Convolution):
    """Convolve each channel by itself, then mix the channels. Arguments: ``keras.layers.SeparableConv1D``.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size, strides, dilation_rate : int or tuple of one
        As of :class:`Conv1D`; both of the last two may be above 1.
    padding : {"valid", "same"}
    depth_multiplier : int
        Channels between the two steps for each channel of the input.

    Of the other arguments, ``depthwise_*`` and ``pointwise_*`` concern the kernels of the two steps; the
    rest are those of :class:`Conv1D`. The bias goes where that of :class:`DepthwiseConv1D` goes.
    """

    _bias_strays = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep_kernel(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self.filters = integer(filters, f"{self.who}: filters")
        self.depth_multiplier = integer(depth_multiplier, f"{self.who}: depth_multiplier")
        self._keep_options(
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
        )

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        channels = self._known_channels(input_shape)
        kernels: dict[str, tuple[int, ...]] = {
            "depthwise_kernel": (*self.kernel_size, channels, self.depth_multiplier),
            "pointwise_kernel": (1, channels * self.depth_multiplier, self.filters),
        }
        return {**kernels, "bias": (self.filters,)} if self.use_bias else kernels

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return super()._initial_weight(name.removesuffix("_kernel"), shape)

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        between = self._each_channel(self._cells(inputs), self._weights["depthwise_kernel"])
        (plan,) = self._packed(self._weights["pointwise_kernel"], groups=1)
        return self._finished(plan.run(between))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "depth_multiplier": self.depth_multiplier}
