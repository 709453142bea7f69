"""The layers a model begins and ends with: InputLayer, Dense, Activation."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core, activations, initializers
from fastlstm.arrays import as_float, plain_dtype
from fastlstm.config import choose_isa
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.graph import Node, Tensor


def positive(value: Any, what: str) -> int:
    """``value`` as an int above zero; booleans, floats and the rest are refused."""
    try:
        number = 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = 0
    if number <= 0:
        raise FastLSTMError(f"{what} is {value!r}; expected a positive integer")
    return number


def plain(value: Any) -> Any:
    """A regularizer or constraint in the form ``get_config`` gives it: None, a name or a dictionary."""
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    return value


def refuse_training_forms(who: str, lora_rank: Any, quantization_config: Any) -> None:
    """Refuse weights that are not one plain matrix."""
    for option, value in (("lora_rank", lora_rank), ("quantization_config", quantization_config)):
        if value is not None:
            raise UnsupportedLayerError(
                f"{who}: {option} is {value!r}; fastlstm computes plain weights only: "
                "save the model without it (Keras merges LoRA weights when asked to)"
            )


class InputLayer(Layer):
    """What a model expects as its input. Arguments are those of ``keras.layers.InputLayer``.

    Parameters
    ----------
    shape : tuple of int or None, optional
        Shape of one sample; None where any size will do. Give this or ``batch_shape``.
    batch_size : int, optional
        Rows in a batch, where that is fixed (a stateful model needs it).
    dtype : str, optional
        What the input is converted to: a NumPy bool, integer or float type. Default float32.
    batch_shape : tuple of int or None, optional
        ``(batch_size, *shape)``.
    sparse, optional
        Accepted and kept; a dense input is what the model computes on.
    ragged, input_tensor
        Not supported: an error unless left out.
    """

    batch_shape: Shape

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("input_shape", shape)
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        super().__init__(name=name, **kwargs)
        who = f"InputLayer {self.name!r}"
        for option, value in (("ragged", ragged), ("input_tensor", input_tensor)):
            if value is not None and value is not False:
                raise UnsupportedLayerError(f"{who}: {option} is not supported; leave it out")
        if (shape is None) == (batch_shape is None) or (batch_shape is not None and batch_size is not None):
            raise FastLSTMError(f"{who}: give either shape (and batch_size) or batch_shape")
        try:
            sizes = tuple(batch_shape) if batch_shape is not None else (batch_size, *(shape or ()))
        except TypeError:
            raise FastLSTMError(f"{who}: shape is {shape or batch_shape!r}; expected a tuple") from None
        self.batch_shape = tuple(
            d if d is None else positive(d, f"{who}: a size in its shape") for d in sizes
        )
        self.dtype = _input_dtype(dtype, who)
        self.sparse, self.ragged, self.optional = bool(sparse), False, optional
        self.prepare(self.batch_shape)
        self.fill()

    def tensor(self) -> Tensor:
        """What stands for the input in a graph."""
        if not self._nodes:
            Node(self, (), {}, self.batch_shape)
        found: Tensor = self._nodes[0].outputs
        return found

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }


def _input_dtype(dtype: Any, who: str) -> str:
    if dtype is None:
        return "float32"
    found = plain_dtype(dtype)
    if found is None:
        raise FastLSTMError(f"{who}: dtype is {dtype!r}; expected a NumPy bool, integer or float type")
    return str(found.name)


class Dense(Layer):
    """``activation(inputs @ kernel + bias)`` over the last axis; arguments as of ``keras.layers.Dense``.

    Parameters
    ----------
    units : int
        Size of the output's last axis.
    activation : str, callable layer form or None
        A Keras activation; None is linear.
    use_bias : bool
    kernel_initializer, bias_initializer : str, dict or initializer
        Fill the weights when none are loaded.
    kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, lora_alpha
        Matter in training only: accepted and inert.
    lora_rank, quantization_config
        Not supported: an error unless None.
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        who = f"Dense {self.name!r}"
        refuse_training_forms(who, lora_rank, quantization_config)
        self.units = positive(units, f"{who}: units")
        self.activation = activations.get(activation, who)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer, f"{who}: kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, f"{who}: bias_initializer")
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise FastLSTMError(
                f"Dense {self.name!r}: input has shape {input_shape}; "
                "expected two axes or more, the last of known size"
            )
        shapes: dict[str, tuple[int, ...]] = {"kernel": (input_shape[-1], self.units)}
        if self.use_bias:
            shapes["bias"] = (self.units,)
        return shapes

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        return (None, arrays[0].shape[0]) if arrays and arrays[0].ndim == 2 else None

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        initializer = self.kernel_initializer if name == "kernel" else self.bias_initializer
        return initializer(shape, self.dtype)

    def _weights_changed(self) -> None:
        self._plan: _core.DensePlan | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_plan": None}  # a copy packs its own

    def _packed(self) -> _core.DensePlan:
        """The weights as the kernel wants them, packed at the first use."""
        plan = self._plan
        if plan is None:
            w = self._weights
            plan = self._plan = _core.DensePlan(w["kernel"], w.get("bias"), self.activation.number, choose_isa())
        return plan

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        plan = self._packed()
        x = inputs
        if type(x) is not np.ndarray or x.dtype is not plan.dtype or not x.flags.carray:
            x = np.ascontiguousarray(as_float(inputs, plan.dtype, f"Dense {self.name!r}: inputs"))
        if x.ndim < 2 or x.shape[-1] != plan.features:
            raise FastLSTMError(
                f"Dense {self.name!r}: input has shape {np.shape(inputs)}; "
                f"expected two axes or more, the last of size {plan.features}"
            )
        y = plan.run(x)
        return self.activation(y) if isinstance(self.activation, activations.LayerActivation) else y

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation.name,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": plain(self.kernel_regularizer),
            "bias_regularizer": plain(self.bias_regularizer),
            "activity_regularizer": plain(self.activity_regularizer),
            "kernel_constraint": plain(self.kernel_constraint),
            "bias_constraint": plain(self.bias_constraint),
        }


class Activation(Layer):
    """Apply an activation. Arguments are those of ``keras.layers.Activation``.

    Parameters
    ----------
    activation : str, callable layer form or None
        A Keras activation; None is linear.
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation, f"Activation {self.name!r}")

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        return self.activation(as_float(inputs, self.dtype, f"Activation {self.name!r}: inputs"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation.name}
