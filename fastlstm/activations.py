"""Activations by Keras's names; the arithmetic is in csrc."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastlstm import _core
from fastlstm.config import choose_isa, kernel_number
from fastlstm.errors import FastLSTMError, UnsupportedLayerError

_NUMBERS = {name: number for number, name in enumerate(_core.activation_names())}
_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
_UNUSABLE = {
    "glu": "it halves the number of units",
    "threshold": "it needs arguments that a name cannot carry",
}


class Activation:
    """One of Keras's activations at its default arguments.

    Attributes
    ----------
    name : str
        Keras's name for it.
    number : int
        Its number in the C library.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = _NUMBERS[name]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Apply it to a float32 or float64 array; softmax and its kin act along the last axis."""
        if self.name == "linear":
            return x
        x = np.ascontiguousarray(x)
        out = np.empty_like(x)
        _core.activate(self.number, _kernel(), x, out)
        return out

    def __repr__(self) -> str:
        return f"<Activation {self.name}>"


@cache
def _kernel() -> int:
    return kernel_number(choose_isa())


@cache
def _named(name: str) -> Activation:
    return Activation(name)


def get(identifier: Any, who: str) -> Activation:
    """The activation that Keras would take ``identifier`` for.

    Parameters
    ----------
    identifier : str, None, dict, callable or Activation
        A name, None for linear, Keras's saved form of a function, or a ``keras.activations`` function.
    who : str
        Named in errors: the layer and argument.

    Raises
    ------
    FastLSTMError
        Not an activation that fastlstm computes; the message lists those it does.
    """
    if isinstance(identifier, Activation):
        return identifier
    name = identifier
    if isinstance(identifier, dict):
        config = identifier.get("config")
        name = config if isinstance(config, str) else identifier.get("class_name")
        if not isinstance(config, str):
            raise UnsupportedLayerError(
                f"{who}: a layer {name!r} used as an activation is not supported; use one by name"
            )
    elif callable(identifier):
        home = getattr(identifier, "__module__", None) or ""
        name = getattr(identifier, "__name__", None) if home.startswith(("keras", "tf_keras")) else repr(identifier)
    if name is None:
        name = "linear"
    if isinstance(name, str):
        name = _ALIASES.get(name, name)
        if name in _NUMBERS:
            return _named(name)
        if name in _UNUSABLE:
            raise FastLSTMError(f"{who}: activation {name!r} cannot be used by name: {_UNUSABLE[name]}")
    raise FastLSTMError(f"{who}: unknown activation {name!r}; known: {', '.join(sorted(_NUMBERS))}")
