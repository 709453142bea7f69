"""Masking, which marks the steps to skip, and Identity."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer
from fastlstm.layers.inputs import as_input, at_least, numpy_errors, saved_value


class Masking(Layer):
    """Mark and zero the steps that hold one value only. Arguments are those of ``keras.layers.Masking``.

    Parameters
    ----------
    mask_value : float or array of float
        A step whose features all equal it is masked; an array has a value for each feature.
    """

    supports_masking = True

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        value = saved_value(mask_value)
        if isinstance(value, list | tuple) and value:
            value = np.array([at_least(-np.inf, v, f"{self.who}: a number in mask_value") for v in value])
        if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "iuf":
            self.mask_value: Any = value
        elif isinstance(value, float) and np.isnan(value):
            self.mask_value = value  # equals nothing, so nothing is masked
        else:
            self.mask_value = at_least(-np.inf, value, f"{self.who}: mask_value")

    def _kept(self, x: Array) -> Array:
        """Where a step counts, with a last axis of size 1."""
        if not x.ndim:
            raise FastLSTMError(f"{self.who}: input has no axes; expected features on the last one")
        compared = np.float32 if x.dtype.kind in "iub" else x.dtype
        with numpy_errors(f"{self.who}: input of shape {x.shape} with mask_value {self.mask_value!r}"):
            value = self.mask_value  # Keras makes a number float32, also where the input is float64
            value = np.float32(value) if isinstance(value, float) else value
            return np.asarray(np.not_equal(x.astype(compared), value.astype(compared)).any(-1, keepdims=True))

    def call(self, inputs: Any, /, *, mask: Any = None) -> Array:
        x = as_input(inputs, self.dtype, self.who)
        return np.where(self._kept(x), x, x.dtype.type(0))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Array:
        kept = self._kept(as_input(inputs, self.dtype, self.who))
        return kept.reshape(kept.shape[:-1])

    def get_config(self) -> dict[str, Any]:
        value = self.mask_value
        if isinstance(value, np.ndarray):
            value = {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
        return {**super().get_config(), "mask_value": value}


class Identity(Layer):
    """Gives its input back, as ``keras.layers.Identity``."""

    supports_masking = True
    passes_through = True

    def call(self, inputs: Any, /, *, mask: Any = None) -> Any:
        return inputs
