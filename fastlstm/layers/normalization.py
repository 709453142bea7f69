"""Normalizations: by a batch's statistics kept from training, or by a sample's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import LARGEST, axes_of, check_rank, integer, resolve_axes
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.base_norm import Scaled


class BatchNormalization(Scaled):
    """Normalize by the mean and variance kept from training. Arguments: ``keras.layers.BatchNormalization``.

    Parameters
    ----------
    axis : int or list of one
        The axis that has statistics of its own for each index.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is an offset beta, a scale gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer
        Fill the weights when none are loaded.
    renorm : bool
        Whether it was trained with renormalization, which has three more weights, idle at inference.
    momentum, *_regularizer, *_constraint, renorm_clipping, renorm_momentum, synchronized
        Matter in training only: accepted and inert.

    Notes
    -----
    ``x * inverse + (beta - mean * inverse)`` with ``inverse = gamma / sqrt(variance + epsilon)``, as in
    ``tf.nn.batch_normalization``. A mask travels on and changes nothing.
    """

    non_trainable = frozenset({"moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev"})

    def __init__(
        self,
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._keep_scale(epsilon, center, scale)
        axes = axes_of(axis, f"{self.who}: axis")
        if len(axes) != 1:
            raise FastLSTMError(f"{self.who}: axis is {axis}; expected one axis")
        self.axis = axes[0]
        self.momentum, self.renorm_momentum, self.synchronized = momentum, renorm_momentum, synchronized
        self.renorm, self.renorm_clipping = bool(renorm), renorm_clipping
        self._keep_options(
            beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer, moving_variance_initializer=moving_variance_initializer,
            beta_regularizer=beta_regularizer, gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint, gamma_constraint=gamma_constraint,
        )  # fmt: skip

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._fixed(input_shape, self.axis)
        return input_shape

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        shape = self._sizes(input_shape, [self.axis])
        kept = ["moving_mean", "moving_variance"]
        if self.renorm:
            kept += ["moving_stddev", "renorm_mean", "renorm_stddev"]
        return {**self._affine_shapes(shape), **dict.fromkeys(kept, shape)}

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        if name.endswith("_stddev"):
            with np.errstate(invalid="ignore"):
                return np.sqrt(super()._initial_weight("moving_variance", shape))
        return super()._initial_weight("moving_mean" if name == "renorm_mean" else name, shape)

    def _weights_changed(self) -> None:
        w = self._weights
        with np.errstate(all="ignore"):
            inverse = 1 / np.sqrt(w["moving_variance"] + w["moving_variance"].dtype.type(self.epsilon))
            self._factor = inverse * w["gamma"] if self.scale else inverse
            offset = w["moving_mean"] * self._factor
            self._offset = w["beta"] - offset if self.center else -offset

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = as_float(inputs, self.dtype, f"{self.who}: inputs")
        axis = self._fixed(x.shape, self.axis)
        if mask is not None and mask.ndim != x.ndim - 1:
            raise FastLSTMError(f"{self.who}: mask has shape {mask.shape}; expected one axis less than {x.shape}")
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        with np.errstate(all="ignore"):
            y: Array = x * self._factor.reshape(shape)
            y += self._offset.reshape(shape)
        return y

    def get_config(self) -> dict[str, Any]:
        kept = ("axis", "momentum", "synchronized", "renorm", "renorm_clipping", "renorm_momentum")
        return {**super().get_config(), **{name: getattr(self, name) for name in kept}}


class LayerNormalization(Scaled):
    """Normalize each sample by its own mean and variance. Arguments: ``keras.layers.LayerNormalization``.

    Parameters
    ----------
    axis : int or list of int
        The axes that mean and variance are taken over, and along which gamma and beta differ.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is an offset beta, a scale gamma.
    rms_scaling : bool
        Divide by the standard deviation without subtracting the mean, and scale, whatever ``scale`` says.
    beta_initializer, gamma_initializer
        Fill the weights when none are loaded.
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint
        Matter in training only: accepted and inert.

    Notes
    -----
    Semantics of ``keras/src/ops/nn.py``, ``_layer_normalization``: axes are sorted as they are written, so
    of ``[1, -1]`` the last comes first in the shape of the weights, which are read as if it did not.
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._keep_scale(epsilon, center, scale)
        axes = axes_of(axis, f"{self.who}: axis")
        self.axis: int | list[int] = axes if isinstance(axis, list | tuple) else axes[0]
        self.rms_scaling = bool(rms_scaling)
        self._keep_options(
            beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer, gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint, gamma_constraint=gamma_constraint,
        )  # fmt: skip

    @property
    def _axes(self) -> list[int]:
        return sorted(axes_of(self.axis, self.who))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, None, self.who)
        resolve_axes(self._axes, len(input_shape), self.who)
        return input_shape

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        shape = self._sizes(input_shape, self._axes)
        return {"gamma": shape} if self.rms_scaling else self._affine_shapes(shape)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = self._computed(inputs)
        axes = resolve_axes(self._axes, x.ndim, self.who)
        for name, weight in self._weights.items():
            if weight.shape != tuple(x.shape[axis] for axis in self._axes):
                raise FastLSTMError(
                    f"{self.who}: input has shape {x.shape}; expected {weight.shape}, that of {name}, along {axes}"
                )
        affine = tuple(size if axis in axes else 1 for axis, size in enumerate(x.shape))
        with np.errstate(all="ignore"):
            if not self.rms_scaling:
                return self._returned(self._normalized(x, axes, affine), inputs)
            y = x * self._moments(x, axes)[1] * self._weights["gamma"].astype(x.dtype).reshape(affine)
            return self._returned(y, inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "rms_scaling": self.rms_scaling}


class GroupNormalization(Scaled):
    """Normalize each sample's groups of channels by their own statistics: ``keras.layers.GroupNormalization``.

    Parameters
    ----------
    groups : int
        How many; -1 makes one of each channel.
    axis : int
        The channels' axis; not the batch's.

    All other arguments are those of :class:`LayerNormalization`.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._keep_scale(epsilon, center, scale)
        self.groups = integer(groups, f"{self.who}: groups", least=-1)
        if self.groups == 0:
            raise FastLSTMError(f"{self.who}: groups is 0; expected a positive integer, or -1 for one of each channel")
        self.axis = integer(axis, f"{self.who}: axis", least=-LARGEST)
        self._keep_options(
            beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer, gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint, gamma_constraint=gamma_constraint,
        )  # fmt: skip

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self._fixed(input_shape, self.axis) == 0:
            raise FastLSTMError(f"{self.who}: axis is {self.axis}, the batch's; expected another")
        return input_shape

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        (channels,) = self._sizes(input_shape, [self.axis])
        if not channels or channels % (channels if self.groups == -1 else self.groups):
            raise FastLSTMError(f"{self.who}: groups is {self.groups}; expected a divisor of the {channels} channels")
        return self._affine_shapes((channels,))

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = self._computed(inputs)
        axis = self._fixed(x.shape, self.axis)
        channels = x.shape[axis]
        groups = channels if self.groups == -1 else self.groups
        grouped = x.reshape(*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
        within = tuple(a for a in range(1, grouped.ndim) if a != axis)
        affine = tuple(size if a in (axis, axis + 1) else 1 for a, size in enumerate(grouped.shape))
        with np.errstate(all="ignore"):
            return self._returned(self._normalized(grouped, within, affine).reshape(x.shape), inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups, "axis": self.axis}


class UnitNormalization(Layer):
    """Divide each sample by its length. Arguments are those of ``keras.layers.UnitNormalization``.

    Parameters
    ----------
    axis : int or list of int
        The axes that the length is taken over.
    """

    supports_masking = True

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes = axes_of(axis, f"{self.who}: axis")
        self.axis: int | list[int] = axes if isinstance(axis, list | tuple) else axes[0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, None, self.who)
        resolve_axes(axes_of(self.axis, self.who), len(input_shape), self.who)
        return input_shape

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = as_float(inputs, self.dtype, f"{self.who}: inputs")
        axes = resolve_axes(axes_of(self.axis, self.who), x.ndim, self.who)
        with np.errstate(all="ignore"):
            inverse = 1 / np.sqrt(np.square(x).sum(axis=axes, keepdims=True))
            y: Array = x * np.minimum(inverse, x.dtype.type(1e12))  # so that nothing but zeros stays zeros
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
