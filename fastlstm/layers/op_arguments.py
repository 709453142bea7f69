"""What operations are told: their configurations' arguments and their calls', each checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.arguments import LARGEST
from fastlstm.layers.graph import Tensor
from fastlstm.layers.inputs import saved_value
from fastlstm.layers.op_functions import Function
from fastlstm.layers.op_shapes import Spec

_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


def _is_int(v: Any) -> bool:
    return isinstance(v, int | np.integer) and not isinstance(v, bool) and abs(int(v)) <= LARGEST


def _is_number(v: Any) -> bool:
    return isinstance(v, float) or (isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**63)


def _are(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: check(v) or (isinstance(v, list | tuple) and all(map(check, v)))


_Check = tuple[Callable[[Any], bool], str]
_AXES: _Check = (lambda v: v is None or _are(_is_int)(v), "an integer, a list of them or None")
_INT: _Check = (_is_int, "an integer")
_INTS: _Check = (_are(_is_int), "an integer or a list of them")
_FLAG: _Check = (lambda v: isinstance(v, bool), "true or false")
_FLAG_OR_NONE: _Check = (lambda v: v is None or isinstance(v, bool), "true, false or None")
_DTYPE: _Check = (lambda v: v is None or v in _DTYPES, f"None or one of {', '.join(_DTYPES)}")
_BOUND: _Check = (lambda v: _is_number(v) or isinstance(v, np.ndarray), "a number or an array")
_OPTIONAL: _Check = (lambda v: v is None or _is_number(v), "a number or None")
_SIZES: _Check = (
    lambda v: isinstance(v, list | tuple) and all(n is None or _is_int(n) for n in v),
    "a list of integers",
)
#: What a configuration's argument must be, by its name; numbers are all others.
_CHECKS: dict[str, _Check] = {
    **dict.fromkeys(("axis", "axes", "source", "destination"), _AXES),
    **dict.fromkeys(("axis1", "axis2", "num_classes", "order"), _INT),
    **dict.fromkeys(("shift", "repeats", "indices_or_sections"), _INTS),
    **dict.fromkeys(("keepdims", "approximate"), _FLAG),
    **dict.fromkeys(("sparse", "ragged"), _FLAG_OR_NONE),
    **dict.fromkeys(("x_min", "x_max"), _BOUND),
    **dict.fromkeys(("initial", "max_value", "epsilon"), _OPTIONAL),
    **dict.fromkeys(("newshape", "shape"), _SIZES),
    "dtype": _DTYPE,
    "decimals": (lambda v: _is_int(v) and abs(v) <= 300, "an integer from -300 to 300"),
    "num": (lambda v: v is None or _is_int(v), "an integer or None"),
    "ord": (lambda v: v is None or v in (1, 2), "None, 1 or 2"),
    "mode": (lambda v: v in ("constant", "reflect", "symmetric"), "'constant', 'reflect' or 'symmetric'"),
    "subscripts": (lambda v: isinstance(v, str) and len(v) < 1000, "a string"),
    "pad_width": (_are(_are(_is_int)), "an integer, or two for each axis"),
}


def _checked(name: str, value: Any, who: str) -> Any:
    """A configuration's argument, if it is one."""
    value = saved_value(value)
    valid, expected = _CHECKS.get(name, (_is_number, "a number"))
    try:
        fine = valid(value)
    except (TypeError, ValueError):  # of what cannot be compared, such as an array
        fine = False
    if not fine:
        raise FastLSTMError(f"{who}: {name} is {value!r}; expected {expected}")
    return value


def as_python(value: Any, who: str) -> Any:
    """A call's argument as Python has it: Keras's saved forms of arrays, slices and the ellipsis replaced."""
    if isinstance(value, dict):
        config = value.get("config")
        if set(value) == {"start", "stop", "step"}:  # Keras 2's slice
            value = {"class_name": "__slice__", "config": value}
            config = value["config"]
        if value.get("class_name") == "__ellipsis__":
            return Ellipsis
        if value.get("class_name") == "__slice__" and isinstance(config, dict):
            value = slice(config.get("start"), config.get("stop"), config.get("step"))
        else:
            value = saved_value(value)
    if isinstance(value, Spec | Tensor | np.ndarray):
        if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
            raise FastLSTMError(f"{who}: an argument has dtype {value.dtype}; expected numbers")
        return value
    if isinstance(value, slice):
        if not all(n is None or _is_int(n) for n in (value.start, value.stop, value.step)) or value.step == 0:
            raise FastLSTMError(f"{who}: an index is {value}; expected integers or None, and no step of 0")
        return value
    if isinstance(value, list | tuple):
        return type(value)(as_python(v, who) for v in value)
    if isinstance(value, np.generic):
        return np.asarray(value)
    if value is None or value is Ellipsis or isinstance(value, bool) or _is_number(value):
        return value
    raise FastLSTMError(f"{who}: an argument is {value!r}; expected an array or a number")


@cache
def parameters(run: Function) -> dict[str, Any]:
    """The names and defaults of an operation's configuration; ``inspect.Parameter.empty`` where there is none."""
    own = inspect.signature(run).parameters.values()
    return {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY} | (getattr(run, "__kwdefaults__", None) or {})


def checked_config(run: Function, config: dict[str, Any], who: str) -> dict[str, Any]:
    """The configuration with defaults filled in, each argument checked."""
    own = parameters(run)
    if unknown := sorted(set(config) - set(own)):
        raise FastLSTMError(f"{who}: unrecognized arguments {unknown}; expected some of {list(own)}")
    if missing := [k for k, default in own.items() if default is inspect.Parameter.empty and k not in config]:
        raise FastLSTMError(f"{who}: arguments {missing} are missing")
    return {k: _checked(k, config[k], who) if k in config else default for k, default in own.items()}


def checked_index(key: Any, who: str) -> Any:
    """An index as Python has it: a file has a list where that was a tuple."""
    key = tuple(key) if isinstance(key, list) else key
    for part in key if isinstance(key, tuple) else (key,):
        if part is not None and part is not Ellipsis and not isinstance(part, slice) and not _is_int(part):
            raise UnsupportedLayerError(f"{who}: an index is {part!r}; expected integers, slices, None or an ellipsis")
    return key
