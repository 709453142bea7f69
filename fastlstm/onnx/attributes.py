"""Attributes of ONNX's LSTM that stand for activations and their bounds, checked, as an LSTM of ours takes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlstm.activations import Curve
from fastlstm.arrays import finite
from fastlstm.errors import FastLSTMError

#: The activations, in small letters: ours, and what onnxruntime takes for alpha and beta where the lists have come
#: to an end; None where an activation takes none.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "affine": ("affine", 0.0, 0.0),
    "elu": ("elu", 1.0, None),
    "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
    "leakyrelu": ("leaky_relu", 0.01, None),
    "relu": ("relu", None, None),
    "scaledtanh": ("scaled_tanh", 0.0, 0.0),
    "sigmoid": ("sigmoid", None, None),
    "softplus": ("softplus", None, None),
    "softsign": ("softsign", None, None),
    "tanh": ("tanh", None, None),
    "thresholdedrelu": ("thresholded_relu", 0.0, None),
}

def curves(names: Any, alphas: Any, betas: Any, directions: int) -> list[tuple[Any, Any, Any]]:
    """F, G and H of each direction as an LSTM of ours takes them."""
    if names is None or (isinstance(names, list | tuple) and not names):
        names = ["Sigmoid", "Tanh", "Tanh"] * directions
    if not isinstance(names, list | tuple) or len(names) != 3 * directions:
        raise FastLSTMError(f"onnx.LSTM: activations is {names!r}; expected {3 * directions} names")
    alpha, beta = (iter(_numbers(v, w)) for v, w in ((alphas, "activation_alpha"), (betas, "activation_beta")))
    found: list[Any] = []
    for name in names:
        if not isinstance(name, str) or name.lower() not in _ACTIVATIONS:
            raise FastLSTMError(f"onnx.LSTM: unknown activation {name!r}; known: {', '.join(_ACTIVATIONS)}")
        ours, a, b = _ACTIVATIONS[name.lower()]
        if a is None:
            found.append(ours)
        else:
            found.append(Curve(ours, next(alpha, a), None if b is None else next(beta, b)))
    return [(found[n], found[n + 1], found[n + 2]) for n in range(0, len(found), 3)]


def _numbers(values: Any, name: str) -> list[float]:
    """The list that may be left out."""
    given = [] if values is None else values.tolist() if isinstance(values, np.ndarray) else values
    found = [finite(value) for value in given] if isinstance(given, list | tuple) else [None]
    numbers = [number for number in found if number is not None]
    if len(numbers) < len(found):
        raise FastLSTMError(f"onnx.LSTM: {name} is {values!r}; expected a list of finite numbers")
    return numbers


def bound(clip: Any) -> float | None:
    """The attribute clip; infinity is none."""
    if clip is None or (isinstance(clip, float | np.floating) and clip == math.inf):
        return None
    number = finite(clip)
    if number is None or number <= 0:
        raise FastLSTMError(f"onnx.LSTM: clip is {clip!r}; expected a number above 0, or None")
    return number


def bit(value: Any, name: str) -> int:
    """An attribute that is 0 or 1."""
    if isinstance(value, int | np.integer | np.bool_) and value in (0, 1):
        return int(value)
    raise FastLSTMError(f"onnx.LSTM: {name} is {value!r}; expected 0 or 1")
