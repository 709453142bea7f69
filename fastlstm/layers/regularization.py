"""Layers that only act in training and pass their input through otherwise: Dropout, GaussianNoise and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlstm.errors import FastLSTMError
from fastlstm.layers.arguments import check_rank, data_format_of
from fastlstm.layers.base import Layer, Shape
from fastlstm.layers.core import positive
from fastlstm.layers.inputs import at_least


class _InTraining(Layer):
    """Gives its input back, and says so where it is asked to train."""

    supports_masking = True
    passes_through = True
    #: The argument that says how much the layer does in training.
    strength = "rate"

    def _set_rate(self, rate: Any) -> None:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise FastLSTMError(f"{self.who}: rate is {rate!r}; expected a number from 0 to 1")
        self.rate = rate

    def _refuse_training(self, training: bool) -> None:
        if training and getattr(self, self.strength):
            raise FastLSTMError(f"{self.who}: fastlstm runs inference only; training must be False")

    def call(self, inputs: Any, /, *, mask: Any = None) -> Any:
        return inputs


class Dropout(_InTraining):
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
        self._set_rate(rate)
        if noise_shape is not None:
            if not isinstance(noise_shape, list | tuple):
                raise FastLSTMError(f"{self.who}: noise_shape is {noise_shape!r}; expected a tuple of integers")
            noise_shape = tuple(
                d if d is None else positive(d, f"{self.who}: a size in noise_shape") for d in noise_shape
            )
        self.noise_shape, self.seed = noise_shape, seed

    def get_config(self) -> dict[str, Any]:
        config = {"rate": self.rate, "seed": self.seed, "noise_shape": self.noise_shape}
        return {**super().get_config(), **config}


class _SpatialDropout(Dropout):
    """Dropout of whole feature maps, for inputs of one number of axes."""

    rank: int

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        check_rank(input_shape, self.rank, self.who)
        return {}

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "seed": self.seed, "name": self.name, "dtype": self.dtype}


class SpatialDropout1D(_SpatialDropout):
    """Gives its input (B, T, F) back. Arguments are those of ``keras.layers.SpatialDropout1D``.

    Parameters
    ----------
    rate : float
        Between 0 and 1; kept for ``get_config``.
    seed : int, optional
        Kept for ``get_config``.
    """

    rank = 3


class SpatialDropout2D(_SpatialDropout):
    """Gives its input of four axes back. Arguments are those of ``keras.layers.SpatialDropout2D``.

    Parameters
    ----------
    rate : float
        Between 0 and 1; kept for ``get_config``.
    data_format : {"channels_last", "channels_first"}, optional
        Kept for ``get_config``; None is channels_last.
    seed : int, optional
        Kept for ``get_config``.
    """

    rank = 4

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = data_format_of(data_format, self.who)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class GaussianDropout(_InTraining):
    """Gives its input back. Arguments are those of ``keras.layers.GaussianDropout``.

    Parameters
    ----------
    rate : float
        Between 0 and 1; kept for ``get_config``.
    seed : int, optional
        Kept for ``get_config``.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_rate(rate)
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class AlphaDropout(Dropout):
    """Gives its input back. Arguments are those of ``keras.layers.AlphaDropout`` and of :class:`Dropout`."""


class GaussianNoise(_InTraining):
    """Gives its input back. Arguments are those of ``keras.layers.GaussianNoise``.

    Parameters
    ----------
    stddev : float
        0 or more, though Keras 3 takes none above 1 and Keras 2 did; kept for ``get_config``.
    seed : int, optional
        Kept for ``get_config``.
    """

    strength = "stddev"

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = at_least(0, stddev, f"{self.who}: stddev")
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


class ActivityRegularization(Layer):
    """Gives its input back, in training too. Arguments are those of ``keras.layers.ActivityRegularization``.

    Parameters
    ----------
    l1, l2 : float
        What training adds to its loss for large outputs; kept for ``get_config``.
    """

    supports_masking = True
    passes_through = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.l1, self.l2 = (
            value if value is None else at_least(0, value, f"{self.who}: {name}")
            for name, value in (("l1", l1), ("l2", l2))
        )

    def call(self, inputs: Any, /, *, mask: Any = None) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l1": self.l1, "l2": self.l2}
