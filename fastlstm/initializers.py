"""Keras's weight initializers: the same distributions, arguments and fans, other random numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastlstm.arrays import numbers_in
from fastlstm.errors import FastLSTMError

if TYPE_CHECKING:
    from numpy.random import Generator  # which takes a good part of the time that importing fastlstm does

Array = NDArray[Any]
Shape = tuple[int, ...]

#: Standard deviation of a standard normal distribution cut off at two.
TRUNCATED_STDDEV = 0.87962566103423978


def _truncated_normal(rng: Generator, shape: Shape) -> Array:
    """Standard normal numbers, drawn again where beyond two."""
    z = np.asarray(rng.standard_normal(shape))
    while (beyond := np.abs(z) > 2).any():
        z[beyond] = rng.standard_normal(np.count_nonzero(beyond))
    return z


def _fans(shape: Shape, input_axes: Sequence[int] | None, output_axes: Sequence[int] | None) -> Shape:
    """How many inputs and outputs a unit has; beyond two axes, as in a convolution."""
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _variance_scaling(
    rng: Generator, shape: Shape, scale: float, mode: str, distribution: str, **axes: Any
) -> Array:
    fan_in, fan_out = _fans(shape, **axes)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    stddev = math.sqrt(scale / max(1.0, fan))
    if distribution == "uniform":
        return math.sqrt(3) * stddev * (2 * rng.random(shape) - 1)
    if distribution == "truncated_normal":
        return stddev / TRUNCATED_STDDEV * _truncated_normal(rng, shape)
    return stddev * rng.standard_normal(shape)


def _orthogonal(rng: Generator, shape: Shape, gain: float) -> Array:
    """Orthonormal columns, or rows where these are fewer; all such matrices are equally likely."""
    if len(shape) < 2:
        raise FastLSTMError("expected two or more axes")
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    # QR leaves the sign of each column to its implementation; R's signs undo that.
    q = q * np.sign(np.diagonal(r))
    return gain * np.reshape(q if rows >= columns else q.T, shape)


def _identity(rng: Generator, shape: Shape, gain: float) -> Array:
    if len(shape) != 2:
        raise FastLSTMError("expected two axes")
    return gain * np.eye(*shape)


_SEED: dict[str, Any] = {"seed": None}
_SEED_AXES: dict[str, Any] = {**_SEED, "input_axes": None, "output_axes": None}


def _scaling(scale: float, mode: str, distribution: str) -> tuple[Callable[..., Array], dict[str, Any]]:
    """The table's row for a variance scaling that has a name of its own."""
    return partial(_variance_scaling, scale=scale, mode=mode, distribution=distribution), _SEED_AXES


#: For each class of Keras: the function that draws, and the arguments with Keras's defaults.
_TABLE: dict[str, tuple[Callable[..., Array], dict[str, Any]]] = {
    "Zeros": (lambda rng, shape: np.zeros(shape), {}),
    "Ones": (lambda rng, shape: np.ones(shape), {}),
    "Constant": (lambda rng, shape, value: value * np.ones(shape), {"value": 0.0}),
    "RandomNormal": (
        lambda rng, shape, mean, stddev: mean + stddev * rng.standard_normal(shape),
        {"mean": 0.0, "stddev": 0.05, **_SEED},
    ),
    "RandomUniform": (
        lambda rng, shape, minval, maxval: minval + (maxval - minval) * rng.random(shape),
        {"minval": -0.05, "maxval": 0.05, **_SEED},
    ),
    "TruncatedNormal": (
        lambda rng, shape, mean, stddev: mean + stddev * _truncated_normal(rng, shape),
        {"mean": 0.0, "stddev": 0.05, **_SEED},
    ),
    "VarianceScaling": (
        _variance_scaling,
        {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", **_SEED_AXES},
    ),
    "GlorotUniform": _scaling(1.0, "fan_avg", "uniform"),
    "GlorotNormal": _scaling(1.0, "fan_avg", "truncated_normal"),
    "HeUniform": _scaling(2.0, "fan_in", "uniform"),
    "HeNormal": _scaling(2.0, "fan_in", "truncated_normal"),
    "LecunUniform": _scaling(1.0, "fan_in", "uniform"),
    "LecunNormal": _scaling(1.0, "fan_in", "truncated_normal"),
    "Orthogonal": (_orthogonal, {"gain": 1.0, **_SEED}),
    "Identity": (_identity, {"gain": 1.0}),
}
_SNAKE = {re.sub("(?<=.)(?=[A-Z])", "_", name).lower(): name for name in _TABLE}
_CLASS_OF = {name: name for name in _TABLE} | _SNAKE
_CLASS_OF |= {"IdentityInitializer": "Identity", "OrthogonalInitializer": "Orthogonal"}
_CLASS_OF |= {"normal": "RandomNormal", "uniform": "RandomUniform", "one": "Ones", "zero": "Zeros"}


def _is_number(v: Any) -> bool:
    return isinstance(v, Real)


def _is_axes(v: Any) -> bool:
    return v is None or (isinstance(v, (list, tuple)) and all(isinstance(axis, Integral) for axis in v))


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("uniform", "truncated_normal", "untruncated_normal")
#: Which arguments are valid, and how an error names that; all others are numbers.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    # A dict is a serialised SeedGenerator: a stream of numbers of Keras's own, so no seed to us.
    "seed": (lambda v: v is None or isinstance(v, (Integral, dict)), "an integer or None"),
    "input_axes": (_is_axes, "a list of integers or None"),
    "output_axes": (_is_axes, "a list of integers or None"),
    "mode": (lambda v: v in _MODES, f"one of {_MODES}"),
    "distribution": (lambda v: v in _DISTRIBUTIONS, f"one of {_DISTRIBUTIONS}"),
    "scale": (lambda v: _is_number(v) and v > 0, "a positive number"),
    "value": (lambda v: _is_number(v) or isinstance(v, np.ndarray), "a number or an array of numbers"),
}


class Initializer:
    """One of Keras's initializers; :func:`get` makes them.

    Called with a shape, and a dtype that defaults to float32, it returns a new array. As in Keras, one
    object returns the same numbers at each call for the same shape, with an integer seed and without;
    the seed that replaces a missing one comes from Python's ``random``, so ``random.seed`` fixes it.
    """

    def __init__(self, class_name: str, config: Mapping[str, Any], who: str) -> None:
        self.class_name = class_name
        self.who = f"{who}: {class_name}"
        self.config = self._arguments(config)
        seed = self.config.get("seed")
        self._seed = int(seed) & 0xFFFFFFFF if isinstance(seed, Integral) else None

    def _arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        defaults = _TABLE[self.class_name][1]
        # Keras 2 saved each initializer's dtype; Keras 3 passes the layer's at each call.
        if unknown := sorted(set(given) - set(defaults) - {"dtype"}):
            raise FastLSTMError(f"{self.who} has arguments {unknown}; expected some of {sorted(defaults)}")
        arguments = {key: given.get(key, default) for key, default in defaults.items()}
        if "value" in arguments:
            arguments["value"] = _read_value(arguments["value"])
        if isinstance(name := arguments.get("distribution"), str):
            arguments["distribution"] = {"normal": "truncated_normal"}.get(name.lower(), name.lower())
        for key, value in arguments.items():
            valid, expected = _CHECKS.get(key, (_is_number, "a number"))
            if not valid(value):
                raise FastLSTMError(f"{self.who}: {key} is {value!r}; expected {expected}")
        return arguments

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Array:
        shape = tuple(shape)
        if self._seed is None:
            import random  # here, as numpy.random: only new weights need it

            self._seed = random.randint(1, 10**9)
        arguments = {key: value for key, value in self.config.items() if key != "seed"}
        try:
            values = _TABLE[self.class_name][0](np.random.default_rng(self._seed), shape, **arguments)
        except (ValueError, OverflowError, IndexError) as error:
            raise FastLSTMError(f"{self.who}: cannot fill the shape {shape}: {error}") from None
        return _as_array(values, shape, dtype, self.who)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as Keras's initializer of this name takes them."""
        if isinstance(value := self.config.get("value"), np.ndarray):
            content = {"value": value.tolist(), "dtype": value.dtype.name}
            return {"value": {"class_name": "__numpy__", "config": content}}
        return dict(self.config)


class _Given:
    """A caller's own initializer: a function of ``(shape, dtype=)``, or the values themselves."""

    def __init__(self, given: Any, who: str) -> None:
        self.given = given
        self.who = who

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Array:
        shape = tuple(shape)
        try:
            values = self.given(shape, dtype=np.dtype(dtype).name) if callable(self.given) else self.given
        except TypeError as error:  # most often for want of a parameter dtype
            raise FastLSTMError(f"{self.who}: its call with a shape and dtype= failed: {error}") from error
        return _as_array(values, shape, dtype, self.who)


def _as_array(values: Any, shape: Shape, dtype: DTypeLike, who: str) -> Array:
    array = np.array(values, dtype=dtype, order="C")
    if array.shape != shape:
        raise FastLSTMError(f"{who} gave the shape {array.shape}; expected {shape}")
    return array


def _read_value(value: Any) -> Any:
    """Constant's value, with arrays, which have a form of their own in Keras's files, made NumPy's."""
    config = value.get("config") if isinstance(value, dict) else None
    array = numbers_in(config.get("value") if isinstance(config, dict) else value)
    return array if array is not None and array.ndim else value


def get(identifier: Any, who: str) -> Callable[..., Array]:
    """The initializer that Keras would take for ``identifier``.

    Parameters
    ----------
    identifier : str, dict, callable, array or None
        A name (``"glorot_uniform"`` or ``"GlorotUniform"``), Keras's serialised form, a function of
        ``(shape, dtype=)`` such as a live Keras initializer or its class, the values themselves, or
        None for Keras's choice, ``"glorot_uniform"``.
    who : str
        Names the argument in error messages, for example ``"LSTM 'lstm': kernel_initializer"``.

    Returns
    -------
    callable
        Takes a shape and a dtype, returns a new array. Named initializers follow Keras's distributions,
        not its random numbers: a seed gives other values here than there.

    Raises
    ------
    FastLSTMError
        No such initializer, or arguments it cannot have; when called, a shape it cannot fill.
    """
    if isinstance(identifier, (Initializer, _Given)):
        return identifier
    if identifier is None:
        identifier = "glorot_uniform"
    if isinstance(identifier, str):
        identifier = {"class_name": identifier}
    if isinstance(identifier, dict):
        name, config = identifier.get("class_name"), identifier.get("config", {})
        registered = identifier.get("registered_name")  # set for what is not Keras's own
        if not isinstance(name, str) or name not in _CLASS_OF or registered not in (None, name):
            found = config if name == "function" else registered or name
            raise FastLSTMError(f"{who} is {found!r}; expected a callable or one of {', '.join(_SNAKE)}")
        if not isinstance(config, dict):
            raise FastLSTMError(f"{who}: {name} has the config {config!r}; expected a dict")
        return Initializer(_CLASS_OF[name], config, who)
    if isinstance(identifier, type):
        identifier = identifier()
    if callable(identifier) or hasattr(identifier, "__array__"):
        return _Given(identifier, who)
    raise FastLSTMError(f"{who} is {identifier!r}; expected a name, a dict, a callable or an array")


def serialize(identifier: Any) -> Any:
    """What a layer's ``get_config`` holds for an initializer.

    Parameters
    ----------
    identifier : object
        Whatever :func:`get` takes or returns.

    Returns
    -------
    dict, str or None
        Keras 3's serialised form; the bare name of a function, which has no such form; None for None.
    """
    if identifier is None:
        return None
    made = get(identifier, "initializer")
    given: Any = made.given if isinstance(made, _Given) else made
    if not callable(given):
        given = get({"class_name": "Constant", "config": {"value": np.asarray(given)}}, "initializer")
    if not hasattr(given, "get_config"):
        return getattr(given, "__name__", type(given).__name__)
    name = getattr(given, "class_name", type(given).__name__)
    module = type(given).__module__
    own = isinstance(given, Initializer) or ("keras" in module and name in _TABLE)
    return {
        "module": "keras.initializers" if own else module,
        "class_name": name,
        "config": given.get_config(),
        "registered_name": None if own else name,
    }
