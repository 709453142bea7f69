"""Layers that only act in training and pass their input through otherwise: Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer
from fastlstm.layers.core import positive


class Dropout(Layer):
    """Gives its input back: dropout acts in training only. Arguments are those of ``keras.layers.Dropout``.

    Parameters
    ----------
    rate : float
        Between 0 and 1; kept for ``get_config``.
    noise_shape : tuple of int or None, optional
    seed : int, optional
        Kept for ``get_config``.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = f"Dropout {self.name!r}"
        if not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise FastLSTMError(f"{who}: rate is {rate!r}; expected a number from 0 to 1")
        if noise_shape is not None:
            if not isinstance(noise_shape, list | tuple):
                raise FastLSTMError(f"{who}: noise_shape is {noise_shape!r}; expected a tuple of integers")
            noise_shape = tuple(
                d if d is None else positive(d, f"{who}: a size in noise_shape") for d in noise_shape
            )
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def _refuse_training(self, training: bool) -> None:
        if training and self.rate:
            raise FastLSTMError(f"Dropout {self.name!r}: fastlstm runs inference only; training must be False")

    def call(self, inputs: Array, mask: Array | None = None) -> Array:
        return inputs

    def get_config(self) -> dict[str, Any]:
        config = {"rate": self.rate, "seed": self.seed, "noise_shape": self.noise_shape}
        return {**super().get_config(), **config}
