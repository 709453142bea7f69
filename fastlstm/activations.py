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
_LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax")
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


class LayerActivation(Activation):
    """An activation that Keras has as a layer with arguments, such as ``LeakyReLU(negative_slope=0.1)``.

    Its ``name`` is the layer's configuration, its ``number`` that of linear.
    """

    def __init__(self, layer: Any, node: Any) -> None:
        super().__init__("linear")
        self.name, self.layer = node, layer

    def __call__(self, x: np.ndarray) -> np.ndarray:
        applied: np.ndarray = self.layer(x)
        return applied


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
    if _is_layer(identifier):
        return _layer_activation(identifier, who)
    if isinstance(identifier, dict):
        config = identifier.get("config")
        if not isinstance(config, str):
            raise UnsupportedLayerError(
                f"{who} is {str(identifier)[:100]!r}; "
                f"expected the name of an activation, or one of {', '.join(_LAYERS)}"
            )
        name = config
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


def get_plain(identifier: Any, who: str) -> Activation:
    """As :func:`get`, for where only the library can apply it; a layer as an activation is refused."""
    activation = get(identifier, who)
    if isinstance(activation, LayerActivation):
        raise UnsupportedLayerError(f"{who} is {activation.layer.who}; expected an activation by its name")
    return activation


def _is_layer(identifier: Any) -> bool:
    """Whether this is one of the layers that are activations, alive or saved."""
    if isinstance(identifier, dict):
        return identifier.get("class_name") in _LAYERS and isinstance(identifier.get("config"), dict)
    return type(identifier).__name__ in _LAYERS and hasattr(identifier, "get_config")


def _layer_activation(identifier: Any, who: str) -> LayerActivation:
    from fastlstm.layers.serialization import layer_from_config, layer_to_config  # here: layers stand on this module

    if not isinstance(identifier, dict):
        identifier = {"class_name": type(identifier).__name__, "config": identifier.get_config()}
    layer = layer_from_config({"module": "keras.layers", **identifier})
    if layer.weight_shapes((None, 1)):
        raise UnsupportedLayerError(f"{who}: {layer.who} has weights and is no plain activation; use it as a layer")
    return LayerActivation(layer, layer_to_config(layer))
