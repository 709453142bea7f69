"""Layers without states as nodes of an ONNX graph, and Keras's activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from fastlstm import layers
from fastlstm.activations import Activation, LayerActivation
from fastlstm.errors import UnsupportedLayerError
from fastlstm.onnx.graph import Graph


def _dense(graph: Graph, layer: Any, x: str) -> str:
    y = graph.add("MatMul", graph.cast(x, layer.dtype), graph.constant(layer.arrays["kernel"], "kernel"))
    if layer.use_bias:
        y = graph.add("Add", y, graph.constant(layer.arrays["bias"], "bias"))
    return _activated(graph, layer.activation, y, layer.who)


def _embedding(graph: Graph, layer: Any, x: str) -> str:
    if layer.mask_zero:
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: mask_zero=True cannot be exported: ONNX has no masks")
    ids = x if graph.dtype(x) == np.int64 else graph.cast(x, np.int32)
    return graph.add("Gather", graph.constant(layer.arrays["embeddings"], "embeddings"), ids)


def _activation(graph: Graph, layer: Any, x: str) -> str:
    return _activated(graph, layer.activation, graph.cast(x, layer.dtype), layer.who)


def _activated(graph: Graph, activation: Activation, x: str, who: str) -> str:
    if isinstance(activation, LayerActivation):
        return str(DRAWN[type(activation.layer)](graph, activation.layer, x))
    if activation.name not in _ACTIVATIONS:
        raise UnsupportedLayerError(f"to_onnx: {who}: activation {activation.name!r} cannot be exported")
    return _ACTIVATIONS[activation.name](graph, x)


def _relu(graph: Graph, layer: Any, x: str) -> str:
    x = graph.cast(x, layer.dtype)
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: a threshold, or slope and maximum, cannot be exported")
    if layer.negative_slope:
        return graph.add("LeakyRelu", x, alpha=float(layer.negative_slope))
    return graph.add("Relu", x) if layer.max_value is None else _clipped(0.0, float(layer.max_value))(graph, x)


def _softmax(graph: Graph, layer: Any, x: str) -> str:
    if not isinstance(layer.axis, int):
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: axis is {layer.axis!r}; expected one axis")
    return graph.add("Softmax", graph.cast(x, layer.dtype), axis=layer.axis)


def _merge(op: str) -> Callable[[Graph, Any, list[str]], str]:
    def draw(graph: Graph, layer: Any, inputs: list[str]) -> str:
        if len({len(shape) for shape in layer._input_shape}) > 1:
            raise UnsupportedLayerError(f"to_onnx: {layer.who}: inputs of different numbers of axes cannot be exported")
        tensors = [graph.cast(x, layer.dtype) for x in inputs]
        if op in ("Mul", "Sub"):  # of two
            return reduce(lambda one, other: graph.add(op, one, other), tensors)
        return graph.add(op, *tensors, **({"axis": layer.axis} if op == "Concat" else {}))

    return draw


def _normalized(graph: Graph, layer: Any, x: str) -> str:
    sizes = [1] * len(layer._input_shape)
    sizes[layer.axis] = -1
    factor, offset = (graph.constant(array.reshape(sizes), "scale") for array in (layer._factor, layer._offset))
    return graph.add("Add", graph.add("Mul", graph.cast(x, layer.dtype), factor), offset)


def _flatten(graph: Graph, layer: Any, x: str) -> str:
    if layer.data_format != "channels_last":
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: data_format 'channels_first' cannot be exported")
    return graph.add("Reshape", x, graph.integers(0, -1))


def _repeat(graph: Graph, layer: Any, x: str) -> str:
    return graph.add("Expand", graph.add("Unsqueeze", x, graph.integers(1)), graph.integers(1, layer.n, 1))


def _each_step(graph: Graph, layer: Any, x: str) -> Any:
    """TimeDistributed, around a layer that looks at the last axis alone."""
    inner = layer.layer
    if type(inner) not in (layers.Dense, layers.Activation, layers.ELU, layers.LeakyReLU, layers.ReLU, *_IDLE):
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: {inner.who} inside cannot be exported; Dense can")
    return DRAWN[type(inner)](graph, inner, x)


def _node(op: str, **attributes: Any) -> Callable[[Graph, str], str]:
    return lambda graph, x: graph.add(op, x, **attributes)


def _clipped(low: float, high: float) -> Callable[[Graph, str], str]:
    return lambda graph, x: graph.add("Clip", x, graph.number(low, x), graph.number(high, x))


def _gelu(graph: Graph, x: str) -> str:
    spread = graph.add("Erf", graph.add("Mul", x, graph.number(math.sqrt(0.5), x)))
    share = graph.add("Add", graph.add("Mul", spread, graph.number(0.5, x)), graph.number(0.5, x))
    return graph.add("Mul", x, share)


#: Keras's activations by name; of those that are not here ONNX has no operator.
_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "celu": _node("Celu", alpha=1.0),
    "elu": _node("Elu", alpha=1.0),
    "exponential": _node("Exp"),
    "gelu": _gelu,
    "hard_shrink": _node("Shrink", lambd=0.5, bias=0.0),
    "hard_sigmoid": _node("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_sigmoid_keras2": _node("HardSigmoid", alpha=0.2, beta=0.5),
    "hard_silu": _node("HardSwish"),
    "hard_tanh": _clipped(-1.0, 1.0),
    "leaky_relu": _node("LeakyRelu", alpha=0.2),
    "linear": lambda graph, x: x,
    "log_sigmoid": lambda graph, x: graph.add("Neg", graph.add("Softplus", graph.add("Neg", x))),
    "log_softmax": _node("LogSoftmax", axis=-1),
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "relu": _node("Relu"),
    "relu6": _clipped(0.0, 6.0),
    "selu": _node("Selu"),
    "sigmoid": _node("Sigmoid"),
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "soft_shrink": _node("Shrink", lambd=0.5, bias=0.5),
    "softmax": _node("Softmax", axis=-1),
    "softplus": _node("Softplus"),
    "softsign": _node("Softsign"),
    "sparse_sigmoid": _node("HardSigmoid", alpha=0.5, beta=0.5),
    "tanh": _node("Tanh"),
    "tanh_shrink": lambda graph, x: graph.add("Sub", x, graph.add("Tanh", x)),
}

_IDLE = (
    layers.ActivityRegularization, layers.AlphaDropout, layers.Dropout, layers.GaussianDropout, layers.GaussianNoise,
    layers.Identity, layers.SpatialDropout1D, layers.SpatialDropout2D,
)  # fmt: skip

#: What draws each class of layers: from a layer and its input or inputs to its output.
DRAWN: dict[type, Callable[[Graph, Any, Any], Any]] = {
    **dict.fromkeys(_IDLE, lambda graph, layer, x: x),
    layers.Activation: _activation,
    layers.Add: _merge("Sum"),
    layers.Average: _merge("Mean"),
    layers.BatchNormalization: _normalized,
    layers.Concatenate: _merge("Concat"),
    layers.Dense: _dense,
    layers.ELU: lambda graph, layer, x: graph.add("Elu", graph.cast(x, layer.dtype), alpha=float(layer.alpha)),
    layers.Embedding: _embedding,
    layers.Flatten: _flatten,
    layers.LeakyReLU: lambda graph, layer, x: graph.add(
        "LeakyRelu", graph.cast(x, layer.dtype), alpha=float(layer.negative_slope)
    ),
    layers.Maximum: _merge("Max"),
    layers.Minimum: _merge("Min"),
    layers.Multiply: _merge("Mul"),
    layers.ReLU: _relu,
    layers.RepeatVector: _repeat,
    layers.Reshape: lambda graph, layer, x: graph.add(
        "Reshape", x, graph.integers(0, *(-1 if size is None else size for size in layer.target_shape))
    ),
    layers.Softmax: _softmax,
    layers.Subtract: _merge("Sub"),
    layers.TimeDistributed: _each_step,
}  # fmt: skip
