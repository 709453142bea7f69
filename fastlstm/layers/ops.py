"""Operations of ``keras.ops``, and Python's operators, as the layers they are in a Functional model's graph."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.arguments import LARGEST
from fastlstm.layers.base import Array, Layer, auto_name
from fastlstm.layers.graph import Tensor, tensors_in
from fastlstm.layers.inputs import numpy_errors, saved_value
from fastlstm.layers.op_shapes import Spec
from fastlstm.layers.op_table import TABLE
from fastlstm.structure import flatten, is_shape, map_structure

#: An operation whose result has more elements than this is refused: a file can ask for any size.
MOST_ELEMENTS = 2**31 - 1
_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


# -- arguments --------------------------------------------------------------------------------------


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
    **dict.fromkeys(("axis1", "axis2", "num_classes", "decimals", "order"), _INT),
    **dict.fromkeys(("shift", "repeats", "indices_or_sections"), _INTS),
    **dict.fromkeys(("keepdims", "approximate", "sparse"), _FLAG),
    **dict.fromkeys(("x_min", "x_max"), _BOUND),
    **dict.fromkeys(("initial", "max_value", "epsilon"), _OPTIONAL),
    **dict.fromkeys(("newshape", "shape"), _SIZES),
    "dtype": _DTYPE,
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
    except TypeError:
        fine = False
    if not fine:
        raise FastLSTMError(f"{who}: {name} is {value!r}; expected {expected}")
    return value


def _python(value: Any, who: str) -> Any:
    """A call's argument as Python has it: Keras's saved forms of arrays, slices and the ellipsis replaced."""
    if isinstance(value, dict):
        config = value.get("config")
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
        return type(value)(_python(v, who) for v in value)
    if isinstance(value, np.generic):
        return np.asarray(value)
    if value is None or value is Ellipsis or isinstance(value, bool) or _is_number(value):
        return value
    raise FastLSTMError(f"{who}: an argument is {value!r}; expected an array or a number")


# -- the layer --------------------------------------------------------------------------------------


class Operation(Layer):
    """One operation of ``keras.ops``, called on arrays and plain values.

    Parameters
    ----------
    function : str
        Keras's name for its class, such as ``"Add"`` or ``"GetItem"``.
    name : str, optional
        Defaults to the function's name in snake case with a running number, as in Keras.
    **config
        The operation's own arguments, such as ``axis``; Keras's names and defaults.

    Raises
    ------
    UnsupportedLayerError
        An operation that fastlstm does not have.
    FastLSTMError
        Arguments that it cannot have.

    Notes
    -----
    Types are Keras's: a Python number takes the type of the arrays beside it, comparisons give bool.
    A mask stops here, unless the operation gives its argument back, as a cast to the type it has does.
    """

    supports_masking = True

    def __init__(self, function: str, name: str | None = None, **config: Any) -> None:
        if not isinstance(function, str) or function not in TABLE:
            raise UnsupportedLayerError(
                f"operation {name!r} is {function!r}; fastlstm computes {', '.join(sorted(TABLE))}: "
                "use these, or run it outside the model"
            )
        super().__init__(name=auto_name(function) if name is None else name)
        self.function = function
        self._entry = TABLE[function]
        parameters = inspect.signature(self._entry.run).parameters.values()
        own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        own |= getattr(self._entry.run, "__kwdefaults__", None) or {}
        missing = [key for key, default in own.items() if default is inspect.Parameter.empty and key not in config]
        if unknown := sorted(set(config) - set(own)):
            raise FastLSTMError(f"{self.who}: unrecognized arguments {unknown}; expected some of {list(own)}")
        if missing:
            raise FastLSTMError(f"{self.who}: arguments {missing} are missing")
        self._given = {**own, **config}
        self._config = {
            key: _checked(key, config[key], self.who) if key in config else default for key, default in own.items()
        }

    @property
    def who(self) -> str:
        return f"{self.function} {self.name!r}"

    @property
    def module(self) -> str:
        """Where Keras has the operation's class, as its files name it."""
        return self._entry.module

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """A call's arguments in order, and the configuration."""
        args = tuple(_python(arg, self.who) for arg in args)
        kwargs = {key: _python(value, self.who) for key, value in kwargs.items()}
        if self.function == "GetItem":  # a file has a list where Python had a tuple
            args = tuple(tuple(arg) if i and isinstance(arg, list) else arg for i, arg in enumerate(args))
            kwargs = {key: tuple(v) if isinstance(v, list) else v for key, v in kwargs.items()}
            self._check_index(*args[1:], *kwargs.values())
        return list(args), kwargs | self._config

    def _check_index(self, *keys: Any) -> None:
        """Refuse an index that is not made of integers, slices, None and an ellipsis."""
        parts = keys[0] if len(keys) == 1 and isinstance(keys[0], tuple) else keys
        for part in parts:
            if part is not None and part is not Ellipsis and not isinstance(part, slice) and not _is_int(part):
                raise UnsupportedLayerError(f"{self.who}: an index is {part!r}; expected integers, slices, None or ...")

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Shape of the result, or a list of shapes; sizes that are not known are None.

        Parameters
        ----------
        *args, **kwargs
            Of the call, with a :class:`Spec` for each array.

        Raises
        ------
        FastLSTMError
            The arguments do not go together, or the result would be of more than 2**31 - 1 elements.
        """
        with numpy_errors(f"{self.who}: arguments"):
            values, config = self._bound(args, kwargs)
            try:
                shapes = self._entry.shape(*values, **config)
            except FastLSTMError as error:
                raise type(error)(f"{self.who}: {error}") from None
        for shape in shapes if not is_shape(shapes) else [shapes]:
            if math.prod(size for size in shape if size is not None) > MOST_ELEMENTS:
                raise FastLSTMError(f"{self.who}: the result would have the shape {shape}, too large to compute")
        return shapes

    def call(self, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        self.compute_output_shape(*(_specs(arg) for arg in args), **{key: _specs(v) for key, v in kwargs.items()})
        with numpy_errors(f"{self.who}: arguments"):
            values, config = self._bound(args, kwargs)
            try:
                return self._entry.run(*values, **config)
            except FastLSTMError as error:
                raise type(error)(f"{self.who}: {error}") from None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Array | None:
        given_back = self.function == "Cast" and getattr(inputs, "dtype", None) == self._config["dtype"]
        return mask if given_back else None

    # -- in a graph ---------------------------------------------------------------------------------

    def __call__(self, *args: Any, mask: Any = None, training: bool = False, **kwargs: Any) -> Any:
        """Run the operation on arrays and numbers, or draw it into a graph."""
        if tensors_in(args, kwargs):
            return self.connect(args, kwargs)
        return self.call(*args, **kwargs)

    def input_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return ()  # there are no weights for it to matter to

    def output_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def spec(leaf: Any) -> Any:
            return Spec(leaf.shape) if isinstance(leaf, Tensor) else leaf

        return self.compute_output_shape(*map_structure(spec, list(args)), **map_structure(spec, kwargs))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._given}


def _specs(value: Any) -> Any:
    """The argument with a Spec for each array of one axis or more."""
    if isinstance(value, np.ndarray) and value.ndim:
        return Spec(value.shape)
    return type(value)(map(_specs, value)) if isinstance(value, list | tuple) else value


def is_operation(node: Any) -> bool:
    """Whether a saved node is an operation's and not a layer's, as its module tells."""
    module = node.get("module") if isinstance(node, dict) else None
    return isinstance(module, str) and module.startswith(("keras.src.ops.", "keras.ops", "keras.src.activations."))


def operation_from_config(node: dict[str, Any]) -> Operation:
    """The operation that a node of a Keras 3 file describes.

    Parameters
    ----------
    node : dict
        ``{"module": "keras.src.ops.numpy", "class_name": "Add", "config": {"name": "add"}, ...}``.
    """
    config, function = node.get("config"), node.get("class_name")
    if not isinstance(config, dict) or "function" in config:
        raise FastLSTMError(f"operation {function!r} has the config {config!r}; expected its arguments")
    return Operation(function, **config)  # type: ignore[arg-type]
