"""Layers and models as ONNX files: to_onnx."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fastlstm import layers
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Layer, Shape
from fastlstm.layers.core import positive
from fastlstm.model import Model
from fastlstm.onnx.files import as_path
from fastlstm.onnx.graph import Graph
from fastlstm.onnx.layers import DRAWN
from fastlstm.onnx.recurrent import draw_bidirectional, draw_recurrent
from fastlstm.program import Program, Slot
from fastlstm.saving import replacing
from fastlstm.structure import flatten, is_shape, leaves_like, map_structure

_WITH_STATES: dict[type, Callable[[Graph, Any, str, Any], Any]] = {
    layers.Bidirectional: draw_bidirectional,
    layers.GRU: draw_recurrent,
    layers.LSTM: draw_recurrent,
    layers.SimpleRNN: draw_recurrent,
}

#: The versions of ONNX's operators that graphs are written for.
OPSETS = range(14, 23)


def to_onnx(layer_or_model: Layer, path: str | bytes | os.PathLike[str] | None = None, *, opset: int = 17) -> Any:
    """A layer or model as an ONNX model with its weights, for any number of rows and of steps.

    Its inputs and outputs are those of the layer or model, in their order, by the names of the layers. What is in it
    may be: LSTM, GRU, SimpleRNN and Bidirectional around one of them, Dense, Embedding, Activation, ELU, LeakyReLU,
    ReLU, Softmax, BatchNormalization, Dropout and its kin, TimeDistributed, Add, Average, Concatenate, Maximum,
    Minimum, Multiply, Subtract, Flatten, RepeatVector, Reshape; Sequential and Functional models, also in each other.
    Weights are written as they were given, in float32 or float64, whatever ``precision`` they run in. A model takes
    ids in the type of its Input, float32 where none is said, as in Keras; an Embedding alone takes int32.

    Parameters
    ----------
    layer_or_model : Layer or Model
        Built.
    path : str, bytes or path-like, optional
        The file to write, in a directory that exists.
    opset : int
        Version of ONNX's operators, 14 to 22.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    UnsupportedLayerError
        ONNX cannot say what a layer computes, such as masks, a projection, or a state kept between calls.
    FastLSTMError
        Not built, too large for a file, no path or none that can be written to, or the onnx package is missing
        (``pip install fastlstm[onnx]``).
    """
    where = None if path is None else as_path(path, "to_onnx")
    if where is not None and not os.path.isdir(os.path.dirname(os.path.realpath(where))):
        raise FastLSTMError(f"to_onnx: {where!r}: there is no such directory")
    if not isinstance(layer_or_model, Layer):
        raise FastLSTMError(f"to_onnx: got {layer_or_model!r}; expected a layer or model of fastlstm")
    if positive(opset, "to_onnx: opset") not in OPSETS:
        raise FastLSTMError(f"to_onnx: opset is {opset}; expected {OPSETS[0]} to {OPSETS[-1]}")
    graph = Graph()
    if isinstance(layer_or_model, Model):
        _draw_model(graph, layer_or_model)
    else:
        _draw_alone(graph, layer_or_model)
    model = graph.model(layer_or_model.name, opset)
    if where is not None:
        with replacing(where) as file:
            file.write(model.SerializeToString())
    return model


def _draw_model(graph: Graph, model: Model) -> None:
    program = model.program
    alone = len(program.entries) == 1
    tensors = [
        graph.input(entry.name, entry.dtype, _sizes(entry.batch_shape, "" if alone else f"{entry.name}_"))
        for entry in program.entries
    ]
    drawn = flatten(_draw_program(graph, program, tensors))
    for tensor, slot, name in zip(drawn, flatten(program.outputs), program.output_names(), strict=True):
        graph.output(tensor, name, _known(program.shapes[slot.number]))


def _draw_alone(graph: Graph, layer: Layer) -> None:
    shape = layer._input_shape
    if not layer.built or not is_shape(shape):
        raise FastLSTMError(f"to_onnx: {layer.who} is not built for one input; call build(input_shape) or set_weights")
    dtype = "int32" if isinstance(layer, layers.Embedding) else layer.dtype
    drawn = flatten(_draw(graph, layer, graph.input(f"{layer.name}_input", dtype, _sizes(shape))))
    given = layer.compute_output_shape(shape)
    for i, (tensor, own) in enumerate(zip(drawn, [given] if is_shape(given) else given, strict=True)):
        graph.output(tensor, layer.name if len(drawn) == 1 else f"{layer.name}[{i}]", _known(own))


def _sizes(shape: Shape, prefix: str = "") -> list[int | str]:
    """A shape with names for the sizes that are not known: batch, steps."""
    names = ["batch", f"{prefix}steps", *(f"{prefix}size_{axis}" for axis in range(2, len(shape)))]
    return [name if size is None else size for name, size in zip(names, shape, strict=False)]


def _known(shape: Shape) -> list[int | str | None]:
    return ["batch" if axis == 0 and size is None else size for axis, size in enumerate(shape)]


def _draw_program(graph: Graph, program: Program, tensors: list[str]) -> Any:
    """A model's calls, one after the other: the nest of its outputs."""
    values = dict(zip((slot.number for slot in flatten(program.inputs)), tensors, strict=True))

    def value(leaf: Any) -> Any:
        return values[leaf.number] if isinstance(leaf, Slot) else leaf

    for step in program.steps:
        args, kwargs = map_structure(value, (step.args, step.kwargs))
        given = {name: part for name, part in kwargs.items() if part is not None}
        outputs = _draw(graph, step.layer, *args, **given)
        slots = flatten(step.outputs)
        values |= zip((slot.number for slot in slots), leaves_like(step.outputs, outputs), strict=True)
    return map_structure(value, program.outputs)


def _draw(graph: Graph, layer: Layer, inputs: Any, initial_state: Any = None, **others: Any) -> Any:
    """One call of a layer: its output or outputs."""
    if others:
        raise UnsupportedLayerError(f"to_onnx: {layer.who} is called with {', '.join(others)}, which ONNX has not")
    if isinstance(layer, Model):
        return _draw_program(graph, layer.program, flatten(inputs))
    graph.prefix = layer.name
    draw_states = _WITH_STATES.get(type(layer))
    if draw_states is not None:
        states = None if initial_state is None else flatten(initial_state)
        return draw_states(graph, layer, inputs, states)
    draw = DRAWN.get(type(layer))
    if draw is None or initial_state is not None:
        known = ", ".join(sorted(cls.__name__ for cls in (*_WITH_STATES, *DRAWN)))
        raise UnsupportedLayerError(f"to_onnx: {layer.who} cannot be exported; only these can: {known}")
    return draw(graph, layer, inputs)
