"""Models of older Kerases in Keras 3's words: what it computes otherwise is put right, or refused by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers.base import Array, Layer
from fastlstm.layers.custom import FunctionLayer
from fastlstm.layers.serialization import custom_layers, layer_from_config, layer_to_config
from fastlstm.model import Model
from fastlstm.sampling import TOLERANCE, errors, sample_inputs
from fastlstm.saving import as_json
from fastlstm.saving_masks import MaskedCall, differs, masked_calls
from fastlstm.structure import flatten

Node = dict[str, Any]

#: What hard_sigmoid was before Keras 3, clip(x / 5 + 1/2, 0, 1): Keras 3's, which is clip(x / 6 + 1/2, 0, 1), of 6/5 x.
OLD, NEW = "hard_sigmoid_keras2", "hard_sigmoid"
_FACTOR = 1.2
_LSTM, _GRU, _PRODUCT = (4, (0, 1, 3), ()), (3, (0, 1), (2,)), (1, (), (0,))
#: How many gates lie side by side along the last axis of the weights, and to which of them the recurrent activation
#: and the activation are applied; an LSTM's activation is applied to the state as well, which no weight scales.
_GATES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    **dict.fromkeys(("LSTM", "LSTMCell", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _LSTM),
    **dict.fromkeys(("GRU", "GRUCell"), _GRU),
    **dict.fromkeys(("SimpleRNN", "SimpleRNNCell", "Dense", "EinsumDense"), _PRODUCT),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"), _PRODUCT),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "SeparableConv1D", "SeparableConv2D"), _PRODUCT),
}


def modern(model: Model) -> Model:
    """The model itself, or one with other weights and calls that gives in Keras 3 what this one gives.

    Parameters
    ----------
    model : Model
        Built. It is left as it is.

    Raises
    ------
    UnsupportedLayerError
        Something that an older Keras computed otherwise, and that Keras 3 cannot be told; it is named.
    """
    layers = [layer for _, layer in model.tree()]
    old = [layer for layer in layers if OLD in _activations(layer)]
    if not old and not any(map(differs, layers)):
        return model
    if any(getattr(layer, "stateful", False) for layer in layers):  # whose states are not to change
        model = copy.deepcopy(model)
    _refuse_unscalable(model, old)
    new = _rebuilt(model, masked_calls(model))
    model.reset_states()
    inputs = sample_inputs(model)
    outputs = [[np.asarray(y) for y in flatten(m(inputs))] for m in (new, model)]
    if any(relative > TOLERANCE for _, relative in errors(*outputs)):  # in a way that nothing here foresees
        raise UnsupportedLayerError(f"{model.who} would give other numbers in Keras 3.15; write .npz instead")
    return new


def _rebuilt(model: Model, calls: list[MaskedCall]) -> Model:
    """A model made anew, as of Keras 3, with all that these calls and the activations ask for."""
    node = json.loads(as_json(layer_to_config(model)))
    for inner, its_node in _models(model, node):
        nodes = its_node["config"]["layers"]
        _add_masks(inner, nodes, [call for call in calls if call.model is inner])
        calls = [call for call in calls if call.model is not inner]
        its_node["config"]["layers"] = _with_rescalings(nodes)
    for call in calls:
        raise UnsupportedLayerError(
            f"{call.layer.who} takes a mask beside an initial state unasked, in a model inside another layer, "
            "which Keras 3.15 cannot be told; write .npz instead"
        )
    _rename(node)
    with custom_layers(_custom(model)):
        new = layer_from_config(node)
    assert isinstance(new, Model)
    for layer, like in _pairs(model, new):
        if layer._expected:
            like.store({name: _scaled(layer, name, array) for name, array in layer._weights.items()})
    new.fill()
    return new


def _activations(layer: Layer) -> tuple[str | None, str | None]:
    """The names of a layer's recurrent activation and activation, where it has such."""
    both = (getattr(layer, argument, None) for argument in ("recurrent_activation", "activation"))
    recurrent, activation = (getattr(found, "name", None) for found in both)
    return recurrent, activation


def _custom(model: Model) -> dict[str, Any]:
    """What :func:`fastlstm.load_model` was given as ``custom_layers`` for this model."""
    found: dict[str, Any] = {}
    for _, layer in model.tree():
        if layer.saved_as is not None:
            key = layer.name if layer.class_name == "Lambda" else layer.class_name
            found[key] = layer.function if isinstance(layer, FunctionLayer) else type(layer)
    return found


def _models(model: Model, node: Node) -> Iterator[tuple[Model, Node]]:
    """The model and those among its layers, all the way down, each with its part of the configuration."""
    yield model, node
    nodes = {inner["config"]["name"]: inner for inner in node["config"]["layers"]}
    for layer in model.layers:
        if isinstance(layer, Model):
            yield from _models(layer, nodes[layer.name])


def _pairs(old: Layer, new: Layer) -> Iterator[tuple[Layer, Layer]]:
    """The layers of one model, all the way down, and their likes in the other, which may have more."""
    yield old, new
    if isinstance(old, Model) and isinstance(new, Model):
        named = {layer.name: layer for layer in new.layers}
        for layer in old.layers:
            yield from _pairs(layer, named[layer.name])
    else:
        inner = new.sublayers()
        for place, layer in old.sublayers().items():
            yield from _pairs(layer, inner[place])


# -- hard_sigmoid -----------------------------------------------------------------------------------


def _refuse_unscalable(model: Model, old: list[Layer]) -> None:
    models = [layer for _, layer in model.tree() if isinstance(layer, Model)]
    direct = {id(layer) for inner in models for layer in inner.layers}
    for layer in old:
        why = None
        if layer.class_name == "Activation":
            why = "inside another layer" if id(layer) not in direct else None
        elif layer.class_name not in _GATES:
            why = f"of a {layer.class_name}"
        elif _activations(layer)[1] == OLD and not _GATES[layer.class_name][2]:
            why = "as its activation, which the state passes through as well"
        if why is not None:
            raise UnsupportedLayerError(
                f"{layer.who} has the hard_sigmoid of Keras before 3 {why}: Keras 3 has another, and no change of "
                "weights makes up for it here; write .npz instead"
            )


def _scaled(layer: Layer, name: str, array: Array) -> Array:
    """A layer's weights where its hard_sigmoid becomes Keras 3's."""
    both = _activations(layer)
    inner = name == "depthwise_kernel" and "pointwise_kernel" in layer._weights  # the factor belongs into one of two
    if OLD not in both or inner:
        return array
    gates, *applied = _GATES[layer.class_name]
    factors = np.ones(gates)
    for activation, columns in zip(both, applied, strict=True):
        if activation == OLD:
            factors[list(columns)] = _FACTOR
    return (array * np.repeat(factors, array.shape[-1] // gates)).astype(array.dtype)


def _rename(value: Any) -> None:
    """The activation's name, wherever it is in a configuration."""
    if isinstance(value, dict):
        for key, part in value.items():
            if part == OLD and key in ("activation", "recurrent_activation"):
                value[key] = NEW
            else:
                _rename(part)
    elif isinstance(value, list):
        for part in value:
            _rename(part)


def _with_rescalings(nodes: list[Node]) -> list[Node]:
    """The layers of a model, each Activation that needs it with a Rescaling in front."""
    made: list[Node] = []
    taken = {node["config"]["name"] for node in nodes}
    for node in nodes:
        if node["class_name"] == "Activation" and node["config"]["activation"] == OLD:
            name = _free(f"{node['config']['name']}_scale", taken)
            config = {"name": name, "dtype": node["config"]["dtype"], "scale": _FACTOR, "offset": 0.0}
            front = {"module": "keras.layers", "class_name": "Rescaling", "config": config, "registered_name": None}
            if "inbound_nodes" in node:
                calls = node["inbound_nodes"]
                front |= {"name": name, "inbound_nodes": calls}
                node["inbound_nodes"] = [
                    {**call, "args": [_tensor([name, i, 0], call["args"][0]["config"]["shape"])]}
                    for i, call in enumerate(calls)
                ]
            made.append(front)
        made.append(node)
    return made


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _tensor(history: list[Any], shape: Any, dtype: str = "float32") -> Node:
    config = {"shape": shape, "dtype": dtype, "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


# -- masks ------------------------------------------------------------------------------------------


def _add_masks(model: Model, nodes: list[Node], calls: list[MaskedCall]) -> None:
    """Give calls the masks that older Kerases gave them unasked."""
    if not calls:
        return
    histories, _ = model._histories()  # type: ignore[attr-defined]
    named = {node["config"]["name"]: node for node in nodes}
    taken, made = set(named), {}
    for call in calls:
        ids, shape = call.ids.number, model.program.shapes[call.ids.number]
        if ids not in made:
            name = made[ids] = _free(f"{call.embedding.name}_mask", taken)  # a name that Keras would not choose itself
            reading = {"args": [_tensor(histories[ids], shape), 0], "kwargs": {}}
            config = {"name": name}
            nodes.append(
                {
                    "module": "keras.src.ops.numpy", "class_name": "NotEqual", "config": config,
                    "registered_name": "NotEqual", "name": name, "inbound_nodes": [reading],
                }
            )  # fmt: skip
        saved = named[call.layer.name]["inbound_nodes"][call.number]
        saved["kwargs"]["mask"] = _tensor([made[ids], 0, 0], shape, "bool")
