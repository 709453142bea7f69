"""Layers that move, repeat or cut numbers: RepeatVector, Flatten, Reshape, Permute, Cropping1D and their like."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import check_rank, data_format_of, integer, sizes
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.inputs import as_input


class _Reshaping(Layer):
    """What these share: none computes, so integers and booleans stay what they are, as in Keras."""

    supports_masking = False

    def _values(self, inputs: Array) -> Array:
        x = as_input(inputs, self.dtype, f"{self.who}: inputs")
        self.compute_output_shape(x.shape)  # refuses what does not fit
        return x


class RepeatVector(_Reshaping):
    """Repeat each vector n times: (batch, features) to (batch, n, features). As ``keras.layers.RepeatVector``.

    Parameters
    ----------
    n : int
        Above 0.
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = integer(n, f"{self.who}: n")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 2, self.who)
        return (input_shape[0], self.n, input_shape[1])

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return np.repeat(self._values(inputs)[:, None], self.n, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


class Flatten(_Reshaping):
    """Make one axis of all but the batch's. Arguments are those of ``keras.layers.Flatten``.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Which axis of the input varies fastest in the output: the last, by default, or the second.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(data_format, self.who)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, None, self.who)
        batch, *rest = input_shape
        known = [size for size in rest if size is not None]
        return (batch, prod(known) if len(known) == len(rest) else None)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = self._values(inputs)
        if self.data_format == "channels_first" and x.ndim > 1:
            x = np.moveaxis(x, 1, -1)
        return x.reshape(len(x), prod(x.shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(_Reshaping):
    """Give all axes but the batch's another shape. Arguments are those of ``keras.layers.Reshape``.

    Parameters
    ----------
    target_shape : tuple of int
        Without the batch axis; one size may be -1, and is what the others leave.
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        what = f"{self.who}: target_shape"
        if not isinstance(target_shape, list | tuple):
            raise FastLSTMError(f"{what} is {target_shape!r}; expected a tuple of integers")
        # None, which Keras takes too, is a size to be found like -1.
        self.target_shape = tuple(None if d is None else integer(d, what, least=-1) for d in target_shape)
        if self.target_shape.count(-1) + self.target_shape.count(None) > 1:
            raise FastLSTMError(f"{what} is {target_shape!r}; expected one unknown size at most")

    def _found(self, input_shape: Shape, sizes: list[int]) -> list[int]:
        """The target shape with the unknown size found, for an input of these sizes."""
        known = [d for d in self.target_shape if d is not None and d != -1]
        whole, given = prod(sizes), prod(known)
        if whole != given if len(known) == len(self.target_shape) else given == 0 or whole % given:
            raise FastLSTMError(
                f"{self.who}: input has shape {input_shape}; expected sizes that make target_shape {self.target_shape}"
            )
        return [whole // given if d is None or d == -1 else d for d in self.target_shape]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, None, self.who)
        sizes = [size for size in input_shape[1:] if size is not None]
        if len(sizes) < len(input_shape) - 1:
            return (input_shape[0], *(None if d == -1 else d for d in self.target_shape))
        found = self._found(input_shape, sizes)
        # a size written as None is one that Keras does not work out before it has the input
        return (input_shape[0], *(d if d is None else size for d, size in zip(self.target_shape, found, strict=True)))

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = self._values(inputs)
        return x.reshape(len(x), *self._found(x.shape, list(x.shape[1:])))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": self.target_shape}


class Permute(_Reshaping):
    """Put the axes but the batch's in another order. Arguments are those of ``keras.layers.Permute``.

    Parameters
    ----------
    dims : tuple of int
        For each axis of the output which of the input's it is, counted from 1.
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        what = f"{self.who}: dims"
        if not isinstance(dims, list | tuple):
            raise FastLSTMError(f"{what} is {dims!r}; expected a tuple of integers")
        self.dims = tuple(integer(d, what) for d in dims)
        if sorted(self.dims) != list(range(1, len(dims) + 1)):
            raise FastLSTMError(f"{what} is {dims!r}; expected each of 1 to {len(dims)} once")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, len(self.dims) + 1, self.who)
        return (input_shape[0], *(input_shape[d] for d in self.dims))

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return np.ascontiguousarray(self._values(inputs).transpose(0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": self.dims}


class Cropping1D(_Reshaping):
    """Leave out steps at both ends. Arguments are those of ``keras.layers.Cropping1D``.

    Parameters
    ----------
    cropping : int or tuple of two
        Steps to leave out at each end, or at the beginning and at the end.
    """

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = sizes(cropping, 2, f"{self.who}: cropping", least=0)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.who)
        batch, steps, features = input_shape
        if steps is not None and steps <= sum(self.cropping):
            raise FastLSTMError(
                f"{self.who}: input has shape {input_shape}; expected more than the {sum(self.cropping)} steps it crops"
            )
        return (batch, None if steps is None else steps - sum(self.cropping), features)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = self._values(inputs)
        return x[:, self.cropping[0] : x.shape[1] - self.cropping[1]]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cropping": self.cropping}


class ZeroPadding1D(_Reshaping):
    """Add zeros at both ends. Arguments are those of ``keras.layers.ZeroPadding1D``.

    Parameters
    ----------
    padding : int or tuple of two
        Steps to add at each end, or at the beginning and at the end.
    data_format : {"channels_last", "channels_first"}, optional
        Inputs are (batch, steps, channels), the default, or (batch, channels, steps).
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(data_format, self.who)
        self.padding = sizes(padding, 2, f"{self.who}: padding", least=0)

    @property
    def _steps(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.who)
        longer = [None if size is None else size + sum(self.padding) for size in input_shape]
        return tuple(longer[axis] if axis == self._steps else size for axis, size in enumerate(input_shape))

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        widths = [(0, 0), (0, 0), (0, 0)]
        widths[self._steps] = self.padding[0], self.padding[1]
        return np.pad(self._values(inputs), widths)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding, "data_format": self.data_format}


class UpSampling1D(_Reshaping):
    """Repeat each step. Arguments are those of ``keras.layers.UpSampling1D``.

    Parameters
    ----------
    size : int
        How often; above 0.
    """

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = integer(size, f"{self.who}: size")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, 3, self.who)
        batch, steps, features = input_shape
        return (batch, None if steps is None else steps * self.size, features)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return np.repeat(self._values(inputs), self.size, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
