"""The arguments of TensorFlow 1's LSTM classes, checked; and which of them matter to the layer that computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastlstm import activations
from fastlstm.errors import FastLSTMError
from fastlstm.layers.cells import OWN_ARGUMENTS
from fastlstm.layers.core import positive

#: Activations that had another meaning, or another name, in TensorFlow 1.
_RENAMED = {"hard_sigmoid": "hard_sigmoid_keras2", "identity": "linear"}


def activation(given: Any, what: str) -> activations.Activation:
    """What ``fastlstm.LSTM`` takes for an activation of TensorFlow 1, where None is tanh."""
    if callable(given) and (getattr(given, "__module__", None) or "").startswith("tensorflow"):
        given = getattr(given, "__name__", given)
    if given is None or isinstance(given, str):
        given = _RENAMED.get(given, given) if given else "tanh"
    return activations.get_plain(given, what, curves=True)


def real(value: Any, what: str) -> float:
    """``value`` as a finite float; booleans, text and the rest are refused."""
    try:
        number = math.nan if isinstance(value, bool | np.bool_ | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        number = math.nan
    if not math.isfinite(number):
        raise FastLSTMError(f"{what} is {value!r}; expected a number")
    return number


def clip(value: Any, what: str) -> float | None:
    """A bound above zero, or None for none."""
    if value is None:
        return None
    if (bound := real(value, what)) <= 0:
        raise FastLSTMError(f"{what} is {value!r}; expected a number above 0, or None")
    return bound


def block_clip(value: Any, what: str) -> float | None:
    """The bound of c in a block, which takes what is not above 0 for none."""
    return None if value is None or real(value, what) <= 0 else float(value)


def projection(num_proj: Any, proj_clip: Any, who: str) -> dict[str, Any]:
    """The layer's projection and its clip, which is checked but of no use without one."""
    width = None if num_proj is None else positive(num_proj, f"{who}: num_proj")
    bound = clip(proj_clip, f"{who}: proj_clip")
    return {"projection": width, "projection_clip": bound if width else None}


def text_or_none(value: Any, what: str) -> str | None:
    """A name, where there is one."""
    if value is not None and not isinstance(value, str):
        raise FastLSTMError(f"{what} is {value!r}; expected a string")
    return value


def refuse_unknown(kwargs: Mapping[str, Any], who: str) -> None:
    """Refuse what is neither fastlstm's own argument nor TensorFlow's ``trainable``."""
    if unknown := sorted(set(kwargs) - {*OWN_ARGUMENTS, "trainable"}):
        raise FastLSTMError(f"{who}: unrecognized keyword arguments {unknown}")
