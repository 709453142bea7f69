"""Operations of ``keras.ops``, and Python's operators, as the layers they are in a Functional model's graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array, Layer, auto_name, signature_of
from fastlstm.layers.graph import MOST_ELEMENTS, Tensor, tensors_in
from fastlstm.layers.inputs import numpy_errors
from fastlstm.layers.op_arguments import as_python, checked_config, checked_index, parameters
from fastlstm.layers.op_shapes import Spec
from fastlstm.layers.op_table import TABLE, Entry
from fastlstm.structure import is_shape, map_structure


class CalledOperation(Layer):
    """What operations share, however a file names them: called on arrays and plain values, without weights."""

    supports_masking = True

    def resolve(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Entry, list[Any], dict[str, Any]]:
        """Which operation a call is of, the arguments it has in order, and by name with the configuration."""
        raise NotImplementedError

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Shape of the result, or a list of shapes; sizes that are not known are None.

        Parameters
        ----------
        *args, **kwargs
            Of the call, with a :class:`Spec` for each array.

        Raises
        ------
        FastLSTMError
            The arguments do not go together, or the result would have more than 2**31 - 1 elements.
        """
        with numpy_errors(f"{self.who}: arguments"):
            entry, values, config = self.resolve(args, kwargs)
            signature_of(entry.run).bind(*values, **config)  # shapes are found of more calls than can be computed
            return self._shape(entry, values, config)

    def _shape(self, entry: Entry, values: list[Any], config: dict[str, Any]) -> Any:
        try:
            shapes = entry.shape(*map(_spec, values), **{key: _spec(value) for key, value in config.items()})
        except FastLSTMError as error:
            raise type(error)(f"{self.who}: {error}") from None
        for shape in [shapes] if is_shape(shapes) else shapes:
            if math.prod(size for size in shape if size is not None) > MOST_ELEMENTS:
                raise FastLSTMError(f"{self.who}: the result would have the shape {shape}, too large to compute")
        return shapes

    def call(self, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        with numpy_errors(f"{self.who}: arguments"):
            entry, values, config = self.resolve(args, kwargs)
            self._shape(entry, values, config)  # refuses what NumPy would take, and sizes before they are there
            try:
                return entry.run(*values, **config)
            except FastLSTMError as error:
                raise type(error)(f"{self.who}: {error}") from None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Array | None:
        return None

    def __call__(self, *args: Any, mask: Any = None, training: bool = False, **kwargs: Any) -> Any:
        """Run the operation on arrays and numbers, or draw it into a graph."""
        return self.connect(args, kwargs) if tensors_in(args, kwargs) else self.call(*args, **kwargs)

    def input_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return None  # there are no weights for it to matter to

    def output_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def spec(leaf: Any) -> Any:
            return Spec(leaf.shape) if isinstance(leaf, Tensor) else leaf

        return self.compute_output_shape(*map_structure(spec, list(args)), **map_structure(spec, kwargs))


class Operation(CalledOperation):
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

    is_operation = True

    def __init__(self, function: str, /, name: str | None = None, **config: Any) -> None:
        if not isinstance(function, str) or function not in TABLE:
            raise UnsupportedLayerError(
                f"operation {name!r} is {function!r}; fastlstm computes {', '.join(sorted(TABLE))}: "
                "use these, or run it outside the model"
            )
        super().__init__(name=auto_name(function) if name is None else name)
        self.function = function
        self.module = TABLE[function].module
        self._config = checked_config(TABLE[function].run, config, self.who)
        self._given = {**parameters(TABLE[function].run), **config}

    @property
    def who(self) -> str:
        return f"{self.function} {self.name!r}"

    @property
    def class_name(self) -> str:
        return self.function

    def resolve(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Entry, list[Any], dict[str, Any]]:
        values = [as_python(arg, self.who) for arg in args]
        named = {key: as_python(value, self.who) for key, value in kwargs.items()}
        if self.function == "GetItem":
            values = values[:1] + [checked_index(key, self.who) for key in values[1:]]
            named = {key: checked_index(value, self.who) if key == "key" else value for key, value in named.items()}
        if unknown := sorted(set(named) & set(self._config)):
            raise FastLSTMError(f"{self.who}: arguments {unknown} belong to its configuration")
        return TABLE[self.function], values, named | self._config

    def compute_mask(self, inputs: Any, mask: Any = None) -> Array | None:
        if self.function not in ("Cast", "ConvertToTensor"):
            return None
        dtype = self._config["dtype"]
        return mask if dtype is None or dtype == getattr(inputs, "dtype", None) else None

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._given}


def _spec(value: Any) -> Any:
    """The argument with a Spec for each array of one axis or more."""
    if isinstance(value, np.ndarray) and value.ndim:
        return Spec(value.shape)
    return type(value)(map(_spec, value)) if type(value) in (list, tuple) else value


def operation_from_config(node: dict[str, Any]) -> CalledOperation:
    """The operation that a node of a file describes.

    Parameters
    ----------
    node : dict
        ``{"module": "keras.src.ops.numpy", "class_name": "Add", "config": {"name": "add"}, ...}``, or Keras
        2's ``{"class_name": "TFOpLambda", "config": {"name": "tf.math.add", "function": "math.add", ...}, ...}``.
    """
    config, function = node.get("config"), node.get("class_name")
    if not isinstance(config, dict):
        raise FastLSTMError(f"operation {function!r} has the config {config!r}; expected its arguments")
    if function in ("TFOpLambda", "SlicingOpLambda"):
        from fastlstm.layers.tf_lambda import from_tf_lambda  # here: it stands on this module

        return from_tf_lambda(config)
    return Operation(function, **config)  # type: ignore[arg-type]
