"""Windows that slide along an input: how many there are, and all of them as one view."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import check_rank, choice, data_format_of, sizes
from fastlstm.layers.base import Array, Layer, Shape


class Axis(NamedTuple):
    """The windows along one axis of n cells. Window o's tap j lies at ``o * stride + j * dilation - before``."""

    size: int
    stride: int
    dilation: int
    padding: str

    @property
    def reach(self) -> int:
        """Cells from a window's first tap to its last."""
        return (self.size - 1) * self.dilation + 1

    def count(self, n: int) -> int:
        """How many windows there are; not positive where none fits."""
        return (n - self.reach) // self.stride + 1 if self.padding == "valid" else -(-n // self.stride)

    def before(self, n: int) -> int:
        """Cells of padding in front. Of what ``same`` adds, the odd cell goes to the end, as in TensorFlow."""
        if self.padding == "causal":
            return self.reach - 1
        return max((self.count(n) - 1) * self.stride + self.reach - n, 0) // 2 if self.padding == "same" else 0

    def taps(self, n: int) -> slice:
        """The taps that meet the input in some window: what is far outside it need never be padded."""
        last_start = (self.count(n) - 1) * self.stride - self.before(n)
        first = max(0, -(last_start // self.dilation))
        return slice(first, max(first, min(self.size, (self.before(n) + n - 1) // self.dilation + 1)))


def view_windows(x: Array, axes: list[Axis], fill: float) -> tuple[Array, tuple[slice, ...]]:
    """All windows of x (batch, *cells, channels): a read-only view (batch, *windows, *taps, channels).

    Of each window it has the taps that the second result names; the others see nothing but padding.
    ``fill`` is what the padding holds. The padding is never longer than twice the input.
    """
    kept = tuple(axis.taps(n) for axis, n in zip(axes, x.shape[1:-1], strict=True))
    counts = [axis.count(n) for axis, n in zip(axes, x.shape[1:-1], strict=True)]
    taps = [t.stop - t.start for t in kept]
    if 0 in counts or 0 in taps:
        return np.empty((len(x), *counts, *taps, x.shape[-1]), x.dtype), kept
    starts = [t.start * a.dilation - a.before(n) for t, a, n in zip(kept, axes, x.shape[1:-1], strict=True)]
    spans = [(c - 1) * a.stride + (t - 1) * a.dilation + 1 for c, a, t in zip(counts, axes, taps, strict=True)]
    x = _cut(x, starts, spans, fill)
    batch, *cells, channel = x.strides
    steps = [a.stride * s for a, s in zip(axes, cells, strict=True)]
    within = [a.dilation * s for a, s in zip(axes, cells, strict=True)]
    shape, strides = (len(x), *counts, *taps, x.shape[-1]), (batch, *steps, *within, channel)
    return as_strided(x, shape, strides, writeable=False), kept


def _cut(x: Array, starts: list[int], spans: list[int], fill: float) -> Array:
    """The cells from each start on, padded where they are outside x; no copy where none is."""
    cells = list(zip(starts, spans, x.shape[1:-1], strict=True))
    source = tuple(slice(max(start, 0), min(start + span, n)) for start, span, n in cells)
    inside = x[(slice(None), *source)]
    if inside.shape[1:-1] == tuple(spans):
        return inside
    padded = np.full((len(x), *spans, x.shape[-1]), fill, x.dtype)
    target = tuple(slice(s.start - start, s.stop - start) for s, start in zip(source, starts, strict=True))
    padded[(slice(None), *target)] = inside
    return padded


class Windowed(Layer):
    """A layer that computes each output from a window of its input.

    Attributes
    ----------
    strides, dilation_rate : tuple of int
        One for each axis that the window slides along.
    padding : {"valid", "same", "causal"}
    data_format : {"channels_last", "channels_first"}
    """

    supports_masking = False
    #: How many axes the window slides along.
    rank = 1
    dilation_rate: tuple[int, ...]

    def _keep_windows(
        self, what: str, size: Any, strides: Any, padding: Any, data_format: Any, causal: bool = False
    ) -> tuple[int, ...]:
        """Check and keep what windows have in common; the window's own size, called ``what``, is returned."""
        paddings = ("valid", "same", "causal") if causal else ("valid", "same")
        window = sizes(size, self.rank, f"{self.who}: {what}")
        self.strides = sizes(strides, self.rank, f"{self.who}: strides")
        self.padding = choice(padding, f"{self.who}: padding", paddings)
        self.data_format = data_format_of(data_format, self.who)
        self.dilation_rate = (1,) * self.rank
        return window

    @property
    def _window(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def _axes(self) -> list[Axis]:
        parts = zip(self._window, self.strides, self.dilation_rate, strict=True)
        return [Axis(*part, self.padding) for part in parts]

    def _output_channels(self, channels: int | None) -> int | None:
        return channels

    def _channels(self, input_shape: Shape) -> int | None:
        check_rank(input_shape, self.rank + 2, self.who)
        return input_shape[-1 if self.data_format == "channels_last" else 1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = self._output_channels(self._channels(input_shape))
        last = self.data_format == "channels_last"
        cells = input_shape[1:-1] if last else input_shape[2:]
        counts = tuple(None if n is None else axis.count(n) for axis, n in zip(self._axes, cells, strict=True))
        # "same" and "causal" give nothing only for an input of nothing, which Keras lets pass
        if self.padding == "valid" and any(c is not None and c <= 0 for c in counts):
            raise FastLSTMError(
                f"{self.who}: input has shape {input_shape}; expected "
                f"{' by '.join(str(axis.reach) for axis in self._axes)} cells or more, for one window to fit"
            )
        return (input_shape[0], *counts, channels) if last else (input_shape[0], channels, *counts)

    def _cells(self, inputs: Array) -> Array:
        """The input as floats (batch, *cells, channels), once it is known to fit."""
        x = as_float(inputs, self.dtype, f"{self.who}: inputs")
        self.compute_output_shape(x.shape)
        return x if self.data_format == "channels_last" else np.moveaxis(x, 1, -1)

    def _formatted(self, y: Array) -> Array:
        """The output (batch, *windows, channels) in the layer's own data format."""
        return y if self.data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(y, -1, 1))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }


#: Numbers that patches of a convolution hold at once: 1 MiB of float32, which stays in a core's cache.
BLOCK = 2**18


def blocks(shape: tuple[int, ...], patch: int) -> Iterator[tuple[slice, slice]]:
    """Cuts windows (batch, *windows) along the first two axes: patches of so many numbers fill a BLOCK each."""
    batch, rows, *rest = shape
    step = max(1, BLOCK // max(1, prod(rest) * patch))
    samples = max(1, step // max(1, rows))
    for b in range(0, batch, samples):
        for row in range(0, rows, step):
            yield slice(b, b + samples), slice(row, row + step)
