"""Pooling: the largest or the mean of each window, or of all cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import check_rank, data_format_of
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.windows import Windowed, view_windows


class _Pooling(Windowed):
    """What pooling of windows shares."""

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        strides = pool_size if strides is None else strides
        self.pool_size = self._keep_windows("pool_size", pool_size, strides, padding, data_format)

    @property
    def _window(self) -> tuple[int, ...]:
        return self.pool_size

    def _pool(self, x: Array) -> Array:
        """Pool x (batch, *cells, channels)."""
        raise NotImplementedError

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        with np.errstate(all="ignore"):
            return self._formatted(self._pool(self._cells(inputs)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size}


class _MaxPooling(_Pooling):
    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def _pool(self, x: Array) -> Array:
        # TensorFlow begins with the lowest finite number and passes over NaN, so that a window of nothing
        # but NaN or -inf gives that number.
        lowest = np.finfo(x.dtype).min
        view, _ = view_windows(x, self._axes, lowest)
        y: Array = np.fmax.reduce(view, axis=tuple(range(-1 - self.rank, -1)), initial=lowest)
        return y


class _AveragePooling(_Pooling):
    def _pool(self, x: Array) -> Array:
        view, _ = view_windows(x, self._axes, 0)
        y: Array = view.sum(axis=tuple(range(-1 - self.rank, -1)))
        for number, (axis, n) in enumerate(zip(self._axes, x.shape[1:-1], strict=True), start=1):
            starts = np.arange(axis.count(n)) * axis.stride - axis.before(n)
            cells = np.minimum(starts + axis.size, n) - np.maximum(starts, 0)  # padding does not count
            y /= cells.astype(x.dtype).reshape([-1 if a == number else 1 for a in range(x.ndim)])
        return y


class MaxPooling1D(_MaxPooling):
    """The largest number of each window of steps. Arguments are those of ``keras.layers.MaxPooling1D``.

    Parameters
    ----------
    pool_size : int or tuple of one
        Steps of a window.
    strides : int or tuple of one, optional
        Steps from one window to the next. Default ``pool_size``.
    padding : {"valid", "same"}
    data_format : {"channels_last", "channels_first"}, optional
        Inputs are (batch, steps, channels), the default, or (batch, channels, steps); so are outputs.

    Notes
    -----
    As in TensorFlow on a CPU, NaN is passed over and nothing is below the lowest finite number.
    """


class MaxPooling2D(_MaxPooling):
    """The largest number of each window of an image. Arguments are those of ``keras.layers.MaxPooling2D``.

    Sizes are integers or tuples of two; all else is as in :class:`MaxPooling1D`.
    """

    rank = 2


class AveragePooling1D(_AveragePooling):
    """The mean of each window of steps, padding not counted. Arguments: ``keras.layers.AveragePooling1D``.

    They are as of :class:`MaxPooling1D`.
    """


class AveragePooling2D(_AveragePooling):
    """The mean of each window of an image, padding not counted. Arguments: ``keras.layers.AveragePooling2D``.

    Sizes are integers or tuples of two; all else is as in :class:`MaxPooling1D`.
    """

    rank = 2


class _GlobalPooling(Layer):
    """What pooling of all cells shares."""

    supports_masking = False
    rank = 1

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(data_format, self.who)
        self.keepdims = bool(keepdims)

    @property
    def _cells(self) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_rank(input_shape, self.rank + 2, self.who)
        if self.keepdims:
            return tuple(1 if axis in self._cells else size for axis, size in enumerate(input_shape))
        return tuple(size for axis, size in enumerate(input_shape) if axis not in self._cells)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None

    def _pool(self, x: Array, mask: Array | None) -> Array:
        raise NotImplementedError

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        x = as_float(inputs, self.dtype, f"{self.who}: inputs")
        self.compute_output_shape(x.shape)
        with np.errstate(all="ignore"):  # the mean of nothing is NaN
            return self._pool(x, mask)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}


class _GlobalMaxPooling(_GlobalPooling):
    def _pool(self, x: Array, mask: Array | None) -> Array:
        if 0 in [x.shape[axis] for axis in self._cells]:
            raise FastLSTMError(f"{self.who}: input has shape {x.shape}; expected a cell to take the largest of")
        y: Array = x.max(axis=self._cells, keepdims=self.keepdims)
        return y


class _GlobalAveragePooling(_GlobalPooling):
    def _pool(self, x: Array, mask: Array | None) -> Array:
        count = x.dtype.type(np.prod([x.shape[axis] for axis in self._cells]))
        y: Array = x.sum(axis=self._cells, keepdims=self.keepdims) / count
        return y


class GlobalMaxPooling1D(_GlobalMaxPooling):
    """The largest number over all steps. Arguments are those of ``keras.layers.GlobalMaxPooling1D``.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Inputs are (batch, steps, channels), the default, or (batch, channels, steps).
    keepdims : bool
        Whether the output keeps the axis of the steps, of size 1.
    """


class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The largest number over an image. Arguments are those of ``keras.layers.GlobalMaxPooling2D``.

    They are as of :class:`GlobalMaxPooling1D`.
    """

    rank = 2


class GlobalAveragePooling1D(_GlobalAveragePooling):
    """The mean over all steps that the mask counts. Arguments: ``keras.layers.GlobalAveragePooling1D``.

    They are as of :class:`GlobalMaxPooling1D`. The mask, (batch, steps), ends here; a row without a step
    that counts gives NaN, as in Keras.
    """

    supports_masking = True

    def _pool(self, x: Array, mask: Array | None) -> Array:
        if mask is None:
            return super()._pool(x, mask)
        steps, channels = (1, 2) if self.data_format == "channels_last" else (2, 1)
        expected = (x.shape[0], x.shape[steps])
        if mask.ndim != 2 or any(size not in (1, wanted) for size, wanted in zip(mask.shape, expected, strict=True)):
            raise FastLSTMError(f"{self.who}: mask has shape {mask.shape}; expected {expected}")
        counted = np.expand_dims(mask.astype(bool), channels)
        total = np.where(counted, x, x.dtype.type(0)).sum(axis=steps, keepdims=self.keepdims)
        y: Array = total / counted.astype(x.dtype).sum(axis=steps, keepdims=self.keepdims)
        return y


class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over an image. Arguments are those of ``keras.layers.GlobalAveragePooling2D``.

    They are as of :class:`GlobalMaxPooling1D`.
    """

    rank = 2
