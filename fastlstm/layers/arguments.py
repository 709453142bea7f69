"""Constructor arguments that convolutions, pools and normalizations share, each checked in one place."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import initializers
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import plain
from fastlstm.structure import is_shape

#: No size is larger: TensorFlow keeps windows and strides in 32 bits, and products of two stay in 64.
LARGEST = 2**31 - 1


def integer(value: Any, what: str, least: int = 1) -> int:
    """``value`` as an int from ``least`` to 2**31 - 1; booleans, floats and the rest are refused."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= LARGEST:
        raise FastLSTMError(f"{what} is {value!r}; expected an integer from {least} to 2**31 - 1")
    return number


def sizes(value: Any, count: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One integer for each of ``count`` axes, from one for all or a sequence of them."""
    if not isinstance(value, list | tuple):
        return (integer(value, what, least),) * count
    if len(value) != count:
        raise FastLSTMError(f"{what} is {value!r}; expected an integer or {count} of them")
    return tuple(integer(v, what, least) for v in value)


def axes_of(value: Any, what: str) -> list[int]:
    """The axes that one integer or a sequence of them names, as they stand."""
    values = value if isinstance(value, list | tuple) else [value]
    return [integer(v, what, least=-LARGEST) for v in values]


def resolve_axes(axes: Sequence[int], rank: int, who: str) -> tuple[int, ...]:
    """The axes counted from the front; each must be one of the input's, and only once."""
    resolved = tuple(axis % rank for axis in axes if -rank <= axis < rank)
    if len(set(resolved)) != len(axes):
        raise FastLSTMError(f"{who}: axis is {list(axes)}; expected different axes of an input that has {rank}")
    return resolved


def choice(value: Any, what: str, choices: Sequence[str]) -> str:
    """Which of ``choices`` the string is, in capitals or not."""
    if not isinstance(value, str) or value.lower() not in choices:
        raise FastLSTMError(f"{what} is {value!r}; expected one of {', '.join(map(repr, choices))}")
    return value.lower()


def data_format_of(value: Any, who: str) -> str:
    """``"channels_last"``, which None means too, or ``"channels_first"``."""
    value = "channels_last" if value is None else value
    return choice(value, f"{who}: data_format", ("channels_last", "channels_first"))


def check_rank(input_shape: Shape, rank: int | None, who: str) -> None:
    """Refuse what is not the shape of one array with so many axes; where that is None, with one or more."""
    if len(input_shape) != (rank or max(1, len(input_shape))) or not is_shape(input_shape):
        raise FastLSTMError(f"{who}: input has shape {input_shape}; expected {rank or 'one or more'} axes")


class WeightOptions(Layer):
    """A layer that takes an initializer, and what matters in training only, for each of its weights."""

    def _keep_options(self, **options: Any) -> None:
        """Make attributes of ``*_initializer``, ``*_regularizer`` and ``*_constraint`` arguments."""
        for option, value in options.items():
            if option.endswith("_initializer"):
                value = initializers.get(value, f"{self.who}: {option}")
            setattr(self, option, value)
        self._options = tuple(options)

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        values: Array = getattr(self, f"{name}_initializer")(shape, self.dtype)
        return values

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for option in self._options:
            serialize = initializers.serialize if option.endswith("_initializer") else plain
            config[option] = serialize(getattr(self, option))
        return config
