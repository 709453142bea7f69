"""What a model's summary says of each layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from fastlstm.console import Row
from fastlstm.layers.base import Layer
from fastlstm.layers.core import InputLayer
from fastlstm.structure import map_structure

if TYPE_CHECKING:
    from fastlstm.model import Model


def summary_rows(model: Model, expand_nested: bool = False, depth: int = 0) -> list[Row]:
    """The lines of a model's summary, with those of the models inside it if they are expanded."""
    rows = []
    connections = model.connections()
    graph = model.class_name == "Functional" and not depth  # whose operations Keras lists as well
    for layer in model.program.layers if graph else model.layers:
        weights = weights_of(layer, model.trainable)
        known = layer._input_shape is not None or layer.is_operation
        rows.append(
            Row(
                label=f"{'   ' * depth}{'└ ' if depth else ''}{layer.name} ({layer.class_name})",
                shape=_output_shape(model, layer),
                params=sum(count for count, _, _ in weights) if known else None,
                weights=[] if depth else weights,
                connected=None if connections is None else connections.get(id(layer), "-"),
                trainable=("Y" if layer.trainable else "N") if weights else "-",
            )
        )
        if expand_nested and hasattr(layer, "connections"):
            rows += summary_rows(cast("Model", layer), True, depth + 1)
    return rows


def _output_shape(model: Model, layer: Layer) -> Any:
    """The shape of what the layer gives in the model, a nest for several; None if nobody knows yet."""
    if model._program is None:
        return None
    if isinstance(layer, InputLayer):
        return layer.batch_shape
    outputs = [step.outputs for step in model._program.steps if step.layer is layer][-1]
    shapes = model._program.shapes
    found = map_structure(lambda slot: shapes[slot.number], outputs)
    return list(found) if isinstance(outputs, tuple) else found


def weights_of(layer: Layer, trainable: bool) -> list[tuple[int, int, bool]]:
    """Number of scalars, bytes of each and whether training changes them, of each array that a layer is to have."""
    return [
        (
            math.prod(shape),
            8 if inner.dtype == "float64" else 4,
            trainable and inner.trainable and name not in inner.non_trainable,
        )
        for _, inner in layer.tree()
        for name, shape in inner._expected.items()
    ]
