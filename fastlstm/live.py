"""Taking over a layer or model that is alive in Keras, which this module never imports."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Layer
from fastlstm.layers.serialization import LAYERS, custom_layers, layer_from_config
from fastlstm.model import Model
from fastlstm.precision import checked, set_precision

_HOMES = ("keras", "tf_keras")
_SEVERAL = ("query_shape", "value_shape", "key_shape")  # what MultiHeadAttention is built for


def from_keras(
    layer_or_model: Any,
    *,
    custom_layers: Mapping[str, Any] | None = None,
    mask_propagation: str = "3.15",
    precision: str = "float32",
) -> Layer:
    """A layer or model like one of Keras 3 or of tf_keras (Keras 2), with copies of its weights.

    Parameters
    ----------
    layer_or_model : keras.Layer or keras.Model
        A model must be Sequential or Functional, and built. It is only read.
    custom_layers, mask_propagation, precision
        As of :func:`fastlstm.load_model`.

    Returns
    -------
    Layer
        A :class:`fastlstm.Model` for a model.

    Raises
    ------
    UnsupportedLayerError
        A layer or option in it is one that fastlstm does not compute.
    FastLSTMError
        Not Keras's, not built, or the precision is not for it.
    """
    checked(precision, "from_keras")
    home = next((h for h in map(_home, type(layer_or_model).__mro__) if h), None)
    if home is None or not hasattr(layer_or_model, "get_weights"):
        raise FastLSTMError(f"from_keras: got {layer_or_model!r}; expected a layer or model of Keras 3 or tf_keras")
    version = getattr(sys.modules.get(home), "__version__", "3" if home == "keras" else "2")
    if hasattr(layer_or_model, "layers") and hasattr(layer_or_model, "to_json"):
        ours: Layer = _model(layer_or_model, version, custom_layers, mask_propagation)
    else:
        ours = _layer(layer_or_model, version, custom_layers)
    set_precision(ours, precision)
    return ours


def _home(cls: type) -> str | None:
    root = cls.__module__.split(".")[0]
    return root if root in _HOMES else None


def _model(theirs: Any, version: str, custom: Mapping[str, Any] | None, mask_propagation: str) -> Model:
    from fastlstm.loading import built_from_config

    who = f"from_keras: model {theirs.name!r}"
    if not {c.__name__ for c in type(theirs).__mro__ if _home(c)} & {"Sequential", "Functional"}:
        raise UnsupportedLayerError(
            f"{who} is a {type(theirs).__name__}, whose code cannot be taken over: make it Sequential or Functional"
        )
    text = theirs.to_json()
    if not theirs.built:
        raise FastLSTMError(f"{who} is not built; call it once, or build(input_shape)")
    model = built_from_config(json.loads(text), version, custom, mask_propagation)
    _take(model, theirs, version)
    model.fill()
    return model


def _take(model: Model, theirs: Any, version: str) -> None:
    """Copy the weights of all layers; those of models inside too, whose order depends on the Keras."""
    from fastlstm.loading.weights import arranged

    by_name = {layer.name: layer for layer in theirs.layers}
    for layer in model.layers:
        if isinstance(layer, Model):
            _take(layer, by_name[layer.name], version)
        elif any(inner._expected for _, inner in layer.tree()):
            arrays = [np.asarray(w) for w in by_name[layer.name].get_weights()]
            for inner, own in arranged(layer, arrays, version):
                inner.store(own)


def _layer(theirs: Any, version: str, custom: Mapping[str, Any] | None) -> Layer:
    from fastlstm.loading.legacy import modern_node, writer_of

    name = next((c.__name__ for c in type(theirs).__mro__ if _home(c) and c.__name__ in LAYERS), type(theirs).__name__)
    config = json.loads(json.dumps(theirs.get_config(), default=_serialized))
    node = modern_node({"class_name": name, "config": config}, writer_of(None, version), f"layer {theirs.name!r}")
    with custom_layers(custom):
        layer = layer_from_config(node)
    weights = theirs.get_weights()
    if not theirs.built:
        return layer
    shape = _built_shape(theirs)
    if shape is not None:
        layer.prepare(shape)
    if weights or layer._input_shape is not None:
        layer.set_weights(weights)
    return layer


def _serialized(value: Any) -> Any:
    """An initializer, regularizer, activation or inner layer as a configuration."""
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return getattr(value, "__name__", repr(value))


def _built_shape(theirs: Any) -> Any:
    """The input shape that a live layer was built for, as far as it tells."""
    try:
        config = theirs.get_build_config() or {}
        config = config.get("shapes_dict", config)
        shapes = [config[key] for key in ("input_shape", *_SEVERAL) if config.get(key) is not None]
        if shapes:
            return shapes if "query_shape" in config else shapes[0]
    except AttributeError:  # Keras 2 before 2.12
        pass
    try:
        return theirs.input_shape
    except (AttributeError, RuntimeError):  # called on several shapes, or on none
        return None
