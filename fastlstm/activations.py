"""Activations by Keras's names; the arithmetic is in csrc."""

from __future__ import annotations

import reprlib
from functools import cache
from typing import Any

import numpy as np

from fastlstm import _core
from fastlstm.arrays import finite
from fastlstm.config import choose_isa, kernel_number
from fastlstm.errors import FastLSTMError, UnsupportedLayerError

_CURVES = _core.curves()
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

    name: Any
    alpha = beta = 0.0  # which only a Curve has

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


class Curve(Activation):
    """A function with parameters, for the gates and states of an LSTM: those that ONNX has, and more.

    Parameters
    ----------
    name : str
        ``affine`` (alpha x + beta), ``leaky_relu`` (alpha x below 0), ``thresholded_relu`` (x above alpha, else 0),
        ``scaled_tanh`` (alpha tanh(beta x)), ``hard_sigmoid`` (alpha x + beta within 0 and 1), ``elu``
        (alpha (e^x - 1) below 0), ``celu`` (alpha (e^(x / alpha) - 1) below 0), ``soft_shrink``, ``hard_shrink``
        (0 within alpha of 0) or ``squareplus`` ((x + sqrt(x^2 + alpha)) / 2).
    alpha, beta : float, optional
        Default: ONNX's, or Keras's where ONNX does not have the function.

    Attributes
    ----------
    name : dict
        All of that, as a configuration holds it.
    """

    def __init__(self, name: str, alpha: float | None = None, beta: float | None = None) -> None:
        who = f"Curve {name!r}"
        if not isinstance(name, str) or name not in _CURVES:
            raise FastLSTMError(f"{who} is unknown; known: {', '.join(sorted(_CURVES))}")
        self.number, *defaults = _CURVES[name]
        parameters = []
        for key, value, default in zip(("alpha", "beta"), (alpha, beta), defaults, strict=True):
            number = finite(default if value is None else value)
            if number is None or abs(number) > float(np.finfo(np.float32).max):
                raise FastLSTMError(f"{who}: {key} is {reprlib.repr(value)}; expected a number that float32 holds")
            parameters.append(number)
        self.alpha, self.beta = parameters
        if name == "celu" and self.alpha <= 0:
            raise FastLSTMError(f"{who}: alpha is {alpha!r}; expected a number above 0")
        self._name = name

    @property
    def name(self) -> dict[str, Any]:
        return {"class_name": "Curve", "config": {"name": self._name, "alpha": self.alpha, "beta": self.beta}}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        raise FastLSTMError(f"{self!r} is for the gates and states of an LSTM; it cannot be called")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Curve) and self.name == other.name

    def __hash__(self) -> int:
        return hash((self.number, self.alpha, self.beta))

    def __repr__(self) -> str:
        return f"<Curve {self._name} alpha={self.alpha:g} beta={self.beta:g}>"


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
    if isinstance(identifier, Curve):
        raise FastLSTMError(f"{who} is {identifier!r}, which only an LSTM's gates and states can have")
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
        if name == "hard_sigmoid" and home.startswith("tf_keras"):  # Keras 2, where it is another function
            name = "hard_sigmoid_keras2"
    if name is None:
        name = "linear"
    if isinstance(name, str):
        name = _ALIASES.get(name, name)
        if name in _NUMBERS:
            return _named(name)
        if name in _UNUSABLE:
            raise FastLSTMError(f"{who}: activation {name!r} cannot be used by name: {_UNUSABLE[name]}")
    raise FastLSTMError(f"{who}: unknown activation {name!r}; known: {', '.join(sorted(_NUMBERS))}")


def get_plain(identifier: Any, who: str, *, curves: bool = False) -> Activation:
    """As :func:`get`, for where only the library can apply it: a layer as an activation is refused, a Curve may do."""
    if curves and isinstance(identifier, Curve):
        return identifier
    if curves and isinstance(identifier, dict) and identifier.get("class_name") == "Curve":
        config = identifier.get("config")
        if not isinstance(config, dict) or not set(config) <= {"name", "alpha", "beta"} or "name" not in config:
            raise FastLSTMError(f"{who} is {str(identifier)[:100]!r}; expected a Curve's name, alpha and beta")
        try:
            return Curve(**config)
        except FastLSTMError as error:
            raise FastLSTMError(f"{who}: {error}") from None
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
