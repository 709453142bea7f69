"""A layer that the caller wrote, in the place of one that a file names and fastlstm lacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.structure import map_shapes, map_structure

MOST_TRIED = 2**22  # numbers in one input: a file can ask for any size


class FunctionLayer(Layer):
    """Computes its output by a function of NumPy arrays, such as one that repeats a ``Lambda``.

    Parameters
    ----------
    function : callable
        Called with the layer's inputs (an array, or a nest of them) and the keyword arguments of the saved
        call; returns an array or a nest of them. Batch axis first. It must take arrays of zeros, which the
        shape of the output is found with.
    """

    def __init__(self, function: Callable[..., Any], **base: Any) -> None:
        super().__init__(**base)
        self.function = function

    def compute_output_shape(self, input_shape: Any) -> Any:
        # a size that differs between two trials of unknown sizes is itself unknown
        small, large = (self._tried(input_shape, size) for size in (2, 3))
        return map_structure(
            lambda a, b: tuple(m if m == n else None for m, n in zip(a.shape, b.shape, strict=True)), small, large
        )

    def _tried(self, input_shape: Any, size: int) -> Any:
        def zeros_of(shape: Shape) -> Array:
            sizes = [size if n is None else n for n in shape]
            if math.prod(sizes) > MOST_TRIED:
                raise FastLSTMError(f"{self.who}: its input of shape {shape} is too large to try its function on")
            return np.zeros(sizes, self.dtype)

        zeros = map_shapes(zeros_of, input_shape)
        try:
            return map_structure(np.asarray, self.function(zeros))
        except Exception as error:
            raise FastLSTMError(
                f"{self.who}: its function fails on zeros of shape {input_shape}: {type(error).__name__}: {error}"
            ) from error

    def call(self, inputs: Any, *, mask: Any = None, **kwargs: Any) -> Any:
        return map_structure(np.asarray, self.function(inputs, **kwargs))
