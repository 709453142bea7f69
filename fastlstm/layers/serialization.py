"""Layers from their Keras configurations and back, through a closed table of classes."""

from __future__ import annotations

from typing import Any

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Layer, Shape, keras_class
from fastlstm.layers.bidirectional import Bidirectional
from fastlstm.layers.core import Activation, Dense, InputLayer
from fastlstm.layers.embedding import Embedding
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.regularization import Dropout

#: Every class that a configuration may name. Nothing else is ever looked up.
LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls for cls in (InputLayer, LSTM, Bidirectional, Dense, Embedding, Dropout, Activation)
}


def layer_from_config(node: dict[str, Any]) -> Layer:
    """The unbuilt layer that a Keras configuration node describes.

    Parameters
    ----------
    node : dict
        ``{"module", "class_name", "config", "registered_name", ...}``, as Keras writes it.

    Raises
    ------
    UnsupportedLayerError
        The class is not one of Keras's that fastlstm computes.
    FastLSTMError
        The configuration is not one that the class takes.
    """
    config = node.get("config")
    who = f"layer {config.get('name')!r}" if isinstance(config, dict) else f"layer {node.get('class_name')!r}"
    class_name = keras_class(node, who)
    if class_name not in LAYERS:
        raise UnsupportedLayerError(
            f"{who} is a {class_name!r}; fastlstm computes Keras's {', '.join(LAYERS)}: "
            "run this layer outside the model, or replace it by these"
        )
    try:
        return LAYERS[class_name].from_config(node["config"])
    except TypeError as error:
        raise FastLSTMError(f"{who}: {class_name} cannot be made from its config: {error}") from None


def layer_to_config(layer: Layer, input_shape: Shape | None) -> dict[str, Any]:
    """A layer as Keras's configuration node; with the input shape it can be built again."""
    node = {
        "module": "keras.layers",
        "class_name": type(layer).__name__,
        "config": layer.get_config(),
        "registered_name": None,
    }
    return node if input_shape is None else {**node, "build_config": {"input_shape": input_shape}}
