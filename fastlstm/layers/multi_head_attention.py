"""MultiHeadAttention: several attentions side by side between projections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import activations, initializers
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.activation import softmax
from fastlstm.layers.arguments import axes_of, integer
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import plain
from fastlstm.layers.inputs import at_least, input_shapes, numpy_errors

_TRAINING_ONLY = (
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
)
#: What Keras's fused attention gives a masked score; all of a row masked, its steps weigh the same.
_FUSED_MASKED = 3.38953e38 * -0.7


class MultiHeadAttention(Layer):
    """Attention in several heads. Arguments are those of ``keras.layers.MultiHeadAttention``.

    Called on a query (B, T, D), a value (B, S, E) and a key (B, S, F), or on inputs of more axes; gives
    (B, T, D), or ``output_shape`` in place of D. Without a key the value is the key. Semantics of
    ``keras/src/layers/attention/multi_head_attention.py``.

    Parameters
    ----------
    num_heads, key_dim : int
        Number of heads, and size of each one's query and key.
    value_dim : int, optional
        Size of each head's value; key_dim where it is not given.
    dropout : float
        Acts in training only; yet, as in Keras, above 0 it makes a row that is masked whole give zeros.
    use_bias, use_gate : bool
        Whether the projections have biases; whether a sigmoid of the projected query multiplies the heads' outputs.
    output_shape : int or tuple of int, optional
        Sizes that replace the query's last axis.
    attention_axes : int or tuple of int, optional
        Axes that attention runs over: all between the batch and the features where not given.
    sliding_window : int, optional
        A step attends to those less than this far away only.
    kernel_initializer, bias_initializer : str, dict or initializer
        Fill the weights when none are loaded.
    seed, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint
        Matter in training only: accepted and inert.
    flash_attention
        Not on a CPU: an error unless None or False.
    """

    supports_masking = True
    masked_arguments = ("query", "value", "key")
    clears_masks = True
    mask_comes_alone = False

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._inert = {name: kwargs.pop(name, None) for name in _TRAINING_ONLY}
        super().__init__(**kwargs)
        if flash_attention:
            raise UnsupportedLayerError(f"{self.who}: flash_attention is not supported, in Keras on a CPU neither")
        self.num_heads = integer(num_heads, f"{self.who}: num_heads")
        self.key_dim = integer(key_dim, f"{self.who}: key_dim")
        self.value_dim = self.key_dim if value_dim is None else integer(value_dim, f"{self.who}: value_dim")
        self.dropout = at_least(0, dropout, f"{self.who}: dropout")
        self.use_bias, self.use_gate, self.seed = bool(use_bias), bool(use_gate), seed
        sizes = output_shape if isinstance(output_shape, list | tuple) else [output_shape]
        given = output_shape is not None and output_shape != [] and output_shape != ()
        self.projected = tuple(integer(n, f"{self.who}: output_shape") for n in sizes) if given else None
        self.attention_axes = (
            None if attention_axes is None else tuple(axes_of(attention_axes, f"{self.who}: attention_axes"))
        )
        self.sliding_window = None if sliding_window is None else integer(sliding_window, f"{self.who}: sliding_window")
        self.kernel_initializer = initializers.get(kernel_initializer, f"{self.who}: kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, f"{self.who}: bias_initializer")

    # -- shapes and weights -------------------------------------------------------------------------

    def _axes(self, rank: int) -> tuple[int, ...]:
        """The axes that attention runs over, of an input of this many axes."""
        if self.attention_axes is None:
            return tuple(range(1, rank - 1))
        axes = tuple(axis + rank if axis < 0 else axis for axis in self.attention_axes)
        if not axes or len(set(axes)) < len(axes) or not all(0 < axis < rank - 1 for axis in axes):
            raise FastLSTMError(
                f"{self.who}: attention_axes is {self.attention_axes}; expected different axes between the first "
                f"and the last of an input that has {rank}"
            )
        return axes

    def _three(self, input_shape: Any) -> tuple[Shape, Shape, Shape]:
        """The shapes of query, value and key, if they go together."""
        shapes = input_shapes(input_shape, self.who, 2, 3)
        query, value, key = (*shapes, shapes[1])[:3]
        batches = {query[0], value[0], key[0]} - {None}
        if value[1:-1] != key[1:-1] or len({*map(len, (query, value, key))}) > 1 or len(query) < 3 or len(batches) > 1:
            raise FastLSTMError(
                f"{self.who}: query, value and key have the shapes {query}, {value}, {key}; expected three axes or "
                "more, as many in each, one batch size, and value and key the same but for the features"
            )
        self._axes(len(query))
        return query, value, key

    def weight_shapes(self, input_shape: Any) -> dict[str, tuple[int, ...]]:
        query, value, key = (shape[-1] for shape in self._three(input_shape))
        if query is None or value is None or key is None:
            raise FastLSTMError(f"{self.who}: inputs have shapes {input_shape}; expected last axes of known size")
        heads, output = self.num_heads, self.projected or (query,)
        projections = {"query_dense": (query, heads, self.key_dim), "key_dense": (key, heads, self.key_dim)}
        if self.use_gate:
            projections["_gate_dense"] = (query, heads, self.value_dim)
        projections["value_dense"] = (value, heads, self.value_dim)
        shapes: dict[str, tuple[int, ...]] = {}
        for name, shape in {**projections, "output_dense": (heads, self.value_dim, *output)}.items():
            shapes[f"{name}/kernel"] = shape
            if self.use_bias:
                shapes[f"{name}/bias"] = output if name == "output_dense" else shape[1:]
        return shapes

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        if name.endswith("bias"):
            return self.bias_initializer(shape, self.dtype)
        initializer = self.kernel_initializer
        if isinstance(initializer, initializers.Initializer) and "input_axes" in initializer.config:
            inputs = [0, 1] if name.startswith("output") else [0]
            axes = {"input_axes": inputs, "output_axes": list(range(len(inputs), len(shape)))}
            config = {**initializer.config, **axes}
            initializer = initializers.get({"class_name": initializer.class_name, "config": config}, self.who)
        return initializer(shape, self.dtype)

    def input_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [*args, *(kwargs[name] for name in self.masked_arguments[len(args) :] if kwargs.get(name) is not None)]
        if not all(x is None or hasattr(x, "shape") for x in given):
            raise FastLSTMError(f"{self.who}: is called on {given}; expected one tensor for each of query, value, key")
        return [tuple(x.shape) for x in given if x is not None]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        query = self._three(input_shape)[0]
        return (*query[:-1], *(self.projected or query[-1:]))

    def output_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        shapes = self.input_shape_of(args, kwargs)
        output, (query, value, _) = self.compute_output_shape(shapes), self._three(shapes)
        axes = self._axes(len(query))
        free = [size for i, size in enumerate(query[:-1]) if i not in axes]
        scores = (*free, self.num_heads, *(query[i] for i in axes), *(value[i] for i in axes))
        return (output, scores) if kwargs.get("return_attention_scores") else output

    # -- running ------------------------------------------------------------------------------------

    def call(
        self,
        query: Any,
        /,
        value: Any = None,
        key: Any = None,
        *,
        mask: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend.

        Parameters
        ----------
        query, value, key : array_like
        mask : array_like of bool, (B, T), optional
            What the query carries; it travels on. ``query_mask`` has no effect, as in Keras 3.15.
        value_mask, key_mask : array_like of bool, (B, S), optional
        attention_mask : array_like of bool, broadcasting to (B, T, S) or (B, heads, T, S), optional
        return_attention_scores, use_causal_mask : bool
        """
        if value is None:
            raise FastLSTMError(f"{self.who}: got a query only; expected a value too")
        given = (query, value, value if key is None else key)
        query, value, key = (as_float(x, self.dtype, f"{self.who}: an input") for x in given)
        self._three([query.shape, value.shape, key.shape])
        with numpy_errors(f"{self.who}: query, value and key of shapes {query.shape}, {value.shape}, {key.shape}"):
            window = (use_causal_mask, query.shape[1], value.shape[1])
            allowed = self._allowed(mask, (value_mask, key_mask), attention_mask, window)
            # Keras's fused attention, where it applies, differs in what a row that is masked whole gives.
            fused = not (self.dropout > 0 or return_attention_scores or query.ndim != 3)
            output, scores = self._attend(query, value, key, allowed, fused)
            if self.use_gate:
                output = output * activations.get("sigmoid", self.who)(self._project("_gate_dense", query, 1))
            output = self._project("output_dense", output, 2)
        return (output, scores) if return_attention_scores else output

    def _allowed(self, mask: Any, of_values: Sequence[Any], attention_mask: Any, window: tuple[Any, int, int]) -> Any:
        """Which query steps may attend to which key steps, or None for all: (B, T, S) as far as it goes."""
        causal, queries, keys = window
        parts = [] if mask is None else [np.asarray(mask, bool)[..., :, None]]
        parts += [np.asarray(m, bool)[..., None, :] for m in of_values if m is not None]
        if causal:
            parts.append(np.tri(queries, keys, dtype=bool)[None])
        if self.sliding_window is not None:
            distance = np.abs(np.arange(queries)[:, None] - np.arange(keys))
            parts.append((distance < self.sliding_window)[None])
        if attention_mask is not None:
            parts.append(np.asarray(attention_mask).astype(bool))
        return reduce(np.logical_and, parts) if parts else None

    def _attend(self, query: Array, value: Array, key: Array, allowed: Any, fused: bool) -> tuple[Array, Array]:
        """What the heads give, (B, T, heads, value_dim), and with which weights, (B, heads, T, S)."""
        axes = self._axes(query.ndim)
        free = [i for i in range(query.ndim - 1) if i not in axes]
        q, k, v = (self._project(f"{n}_dense", x, 1) for n, x in (("query", query), ("key", key), ("value", value)))
        order = [*free, query.ndim - 1, *axes, query.ndim]  # batch axes, heads, attention axes, features
        q, k, v = (x.transpose(order) for x in (q, k, v))
        lead, steps = q.shape[: len(free) + 1], (q.shape[len(free) + 1 : -1], k.shape[len(free) + 1 : -1])
        q, k, v = (x.reshape(*x.shape[: len(free) + 1], -1, x.shape[-1]) for x in (q, k, v))
        scores = np.matmul(q, np.swapaxes(k, -2, -1)) * q.dtype.type(1 / math.sqrt(self.key_dim))
        scores = scores.reshape(*lead, *steps[0], *steps[1])
        if allowed is not None:
            allowed = np.expand_dims(allowed, tuple(range(allowed.ndim - 2 * len(axes), scores.ndim - 2 * len(axes))))
            allowed = np.broadcast_to(allowed, scores.shape)
            scores = np.where(allowed, scores, scores.dtype.type(_FUSED_MASKED if fused else -1e9))
        weights = softmax(scores, list(range(scores.ndim - len(axes), scores.ndim)))
        if allowed is not None and not fused:
            weights = np.where(allowed, weights, weights.dtype.type(0))
        output = np.matmul(weights.reshape(*lead, q.shape[-2], k.shape[-2]), v).reshape(*lead, *steps[0], v.shape[-1])
        return output.transpose(np.argsort(order)), weights

    def _project(self, name: str, x: Array, summed: int) -> Array:
        """x times a kernel over its last axes, and the bias."""
        kernel = self._weights[f"{name}/kernel"]
        rows = x.reshape(-1, math.prod(kernel.shape[:summed]))
        shape = (*x.shape[: x.ndim - summed], *kernel.shape[summed:])
        y: Array = np.matmul(rows, kernel.reshape(rows.shape[1], -1)).reshape(shape)
        return y + self._weights[f"{name}/bias"] if self.use_bias else y

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
            "output_shape": self.projected,
            "attention_axes": self.attention_axes,
            "sliding_window": self.sliding_window,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            **{name: plain(value) for name, value in self._inert.items()},
            "seed": self.seed,
        }
