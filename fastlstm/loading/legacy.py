"""Configurations that any Keras wrote, in the form of Keras 3: pure functions from JSON to JSON."""

from __future__ import annotations

import re
from typing import Any

from fastlstm.errors import ModelFileError, UnsupportedLayerError
from fastlstm.layers.serialization import is_operation
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.legacy_graph import modern_calls, modern_ends
from fastlstm.loading.legacy_layers import KERAS_LAYERS, Writer, modern_layer

Node = dict[str, Any]

_OWN_MODULE = re.compile(r"(tensorflow\.(python\.)?keras|tf_keras|keras)(\.[\w.]+)?")
_VERSION = re.compile(r"(\d{1,3})(?:\.(\d{1,3})\b[\w.-]*?(-tf)?)?")
_MODELS = {"Sequential": "Sequential", "Model": "Functional", "Functional": "Functional"}
_KEPT = ("name", "inbound_nodes", "shared_object_id")
_ONLY_KERAS_1 = {"W_regularizer", "border_mode", "inner_activation", "input_dtype", "nb_filter", "p"}


def modernize(root: Any, keras_version: str | None) -> Node:
    """A model's configuration as Keras 3 would write it.

    Parameters
    ----------
    root : object
        What Keras 1, Keras 2, tf.keras or Keras 3 wrote: the attribute ``model_config`` of an .h5 file, what
        ``model.to_json()`` gave, or the ``config.json`` of a .keras file. Any JSON value at all, nested no
        deeper than :mod:`fastlstm.loading.jsonrules` lets through.
    keras_version : str or None
        The writer's, as the file states it, such as ``"2.2.4-tf"``. If it is None, ``root`` may have it; if
        not, the vocabulary of the layers decides.

    Returns
    -------
    dict
        ``{"module", "class_name": "Sequential" or "Functional", "config", "registered_name"}``, down to every
        layer inside a layer; ``inbound_nodes`` as ``{"args", "kwargs"}`` with tensors in them. New, but parts
        that need no change are shared with ``root``. Two words are fastlstm's own, for what has no name in
        Keras 3: the activation ``"hard_sigmoid_keras2"``, clip(x / 5 + 1/2, 0, 1), which is what
        ``"hard_sigmoid"`` meant before Keras 3; and ``"mask_merging": "all"`` in merging layers, which
        then combined masks by "and". Layers of other people's are left as they are, to be refused by name.

    Raises
    ------
    UnsupportedLayerError
        A layer or an option that has no counterpart in Keras 3.
    ModelFileError
        Not the configuration of a model.
    """
    writer = writer_of(root, keras_version)
    node = modern_node(root, writer, "the model")
    if not _is_own(node) or node["class_name"] not in _MODELS:
        raise UnsupportedLayerError(
            f"the model is a {shown(node.get('registered_name') or node['class_name'])}; "
            "expected a Sequential or a Functional model of Keras's own"
        )
    return node


def modern_node(node: Any, writer: Writer, who: str) -> Node:
    """A layer or model, with all that is inside it; ``who`` names it in errors."""
    if not isinstance(node, dict) or not isinstance(node.get("class_name"), str):
        raise ModelFileError(f"{who} is {shown(node)}; expected an object with a class_name")
    class_name, config = node["class_name"], node.get("config")
    if not _is_own(node) or (writer.generation == 3 and class_name not in _MODELS and is_operation(node)):
        return node
    if class_name in _MODELS:
        made = _sequential(config, writer, who) if class_name == "Sequential" else _functional(config, writer, who)
        class_name, module = _MODELS[class_name], "keras"
    elif not isinstance(config, dict):
        raise ModelFileError(f"{who}: its config is {shown(config)}; expected an object")
    else:
        who = f"layer {shown(config.get('name'))} ({class_name})"
        class_name, made = modern_layer(class_name, config, writer, who, modern_node)
        module = "keras.layers"
    functional = class_name == "Functional"  # which Keras registers and does not export
    kept = node if writer.generation == 3 else {key: node[key] for key in _KEPT if key in node}
    return {
        **kept,
        "module": "keras.src.models.functional" if functional else module,
        "class_name": class_name,
        "config": made,
        "registered_name": class_name if functional else None,
    }


def _is_own(node: Node) -> bool:
    """Whether a node names a class of Keras's own. One without a module can only be told by its class."""
    module, registered = node.get("module"), node.get("registered_name")
    if registered not in (None, node["class_name"]):
        return False
    if module is not None and not (isinstance(module, str) and _OWN_MODULE.fullmatch(module)):
        return False
    return node["class_name"] in KERAS_LAYERS or node["class_name"] in _MODELS


# -- models ------------------------------------------------------------------------------------------


def _sequential(config: Any, writer: Writer, who: str) -> Node:
    """Of Keras up to 2.2.2, the config is a bare list. Before Keras 3 no InputLayer need come first."""
    if isinstance(config, list):
        config = {"name": "sequential", "layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise ModelFileError(f"{who}: its config is {shown(config)}; expected one with a list of layers")
    old = config["layers"]
    while writer.generation == 1 and _is_sequential(old[:1]):  # Keras 1 saved the weights as if it were so
        inner = old[0]["config"]
        old = [*(inner["layers"] if isinstance(inner, dict) else inner), *old[1:]]
    if old and isinstance(old[0], dict) and old[0].get("class_name") == "Merge":
        raise UnsupportedLayerError(f"{who} begins with a Merge of other models; build it as a Functional model")
    layers = [modern_node(node, writer, f"{who}, layer {i}") for i, node in enumerate(old)]
    if writer.generation < 3 and layers and layers[0]["class_name"] != "InputLayer":
        found = _input_of(old[0], layers[0])
        if found is not None:
            layers.insert(0, _input_layer(*found, layers))
    return {"name": "sequential", **config, "layers": layers}


def _is_sequential(nodes: list[Any]) -> bool:
    """Whether the one node there is a Sequential with layers in it."""
    if not nodes or not isinstance(nodes[0], dict) or nodes[0].get("class_name") != "Sequential":
        return False
    config = nodes[0].get("config")
    return isinstance(config["layers"] if isinstance(config, dict) and "layers" in config else config, list)


def _input_of(old: Node, modern: Node) -> tuple[list[Any], Any] | None:
    """Shape with the batch axis, and dtype, of what the first layer of a Sequential takes; None if not said."""
    config = old.get("config")
    if not _is_own(modern):
        return None
    if modern["class_name"] in _MODELS:
        first = modern["config"]["layers"][:1]
        inner = first[0].get("config") if first else None
        shape = inner.get("batch_shape") if isinstance(inner, dict) else None
        return (shape, inner.get("dtype")) if isinstance(inner, dict) and isinstance(shape, list) else None
    if not isinstance(config, dict):
        return None
    dtype = config.get("input_dtype", config.get("dtype"))
    dtype = dtype if isinstance(dtype, str) and dtype.startswith("int") else "float32"
    for key in ("batch_input_shape", "batch_shape"):
        if isinstance(config.get(key), list):
            return config[key], dtype
    if isinstance(config.get("input_shape"), list):
        return [None, *config["input_shape"]], dtype
    kind, length, size = old["class_name"], config.get("input_length"), config.get("input_dim")
    if kind == "Embedding":
        return [None, *(length if isinstance(length, list) else [length])], dtype
    if size is not None and kind != "Embedding":
        return ([None, size] if kind == "Dense" else [None, length, size]), dtype
    inner = config.get("layer")
    return _input_of(inner, modern) if kind == "Bidirectional" and isinstance(inner, dict) else None


def _input_layer(shape: list[Any], dtype: Any, layers: list[Node]) -> Node:
    """The InputLayer that Keras itself would put in front of these layers, named after the first."""
    configs = [layer["config"] for layer in layers if isinstance(layer.get("config"), dict)]
    names = [config.get("name") for config in configs]
    name = f"{names[0]}_input"
    while name in names:
        name += "_"
    config = {"batch_shape": shape, "dtype": dtype or "float32", "sparse": False, "name": name}
    return {"module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": None}


def _functional(config: Any, writer: Writer, who: str) -> Node:
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise ModelFileError(f"{who}: its config is {shown(config)}; expected one with a list of layers")
    layers = []
    for i, old in enumerate(config["layers"]):
        node = modern_node(old, writer, f"{who}, layer {i}")
        inner = node.get("config")
        name = node.get("name", inner.get("name") if isinstance(inner, dict) else None)
        if not isinstance(name, str):
            raise ModelFileError(f"{who}, layer {i}: its name is {shown(name)}; expected text")
        layers.append({**node, "name": name})
    if writer.generation == 3:
        return {**config, "layers": layers}
    built_in = {node["name"]: _first_call(node) for node in layers}
    layers = [
        {**node, "inbound_nodes": modern_calls(node.get("inbound_nodes"), node, built_in)} for node in layers
    ]
    # Keras 3 goes on counting the calls of a Functional model from 1 in this place alone.
    counted = {node["name"]: built_in[node["name"]] for node in layers if node["class_name"] == "Sequential"}
    ends = {key: modern_ends(config.get(key), counted) for key in ("input_layers", "output_layers")}
    return {**config, "layers": layers, **ends}


def _first_call(node: Node) -> int:
    """The number by which old Keras refers to the first call of a layer.

    A model inside a model has a call of its own already, from the time when it was built.
    """
    if not _is_own(node) or node["class_name"] not in _MODELS:
        return 0
    first = node["config"]["layers"][:1]
    return int(node["class_name"] == "Functional" or (bool(first) and first[0]["class_name"] == "InputLayer"))


# -- the writer --------------------------------------------------------------------------------------


def writer_of(root: Any, keras_version: str | None) -> Writer:
    """The Keras that a file names as its writer; else the one that its configuration names, or sounds like.

    Both may be None. Only so much of ``root`` is looked at as has the expected types.
    """
    stated = root.get("keras_version") if isinstance(root, dict) else None
    for version in (keras_version, stated):
        found = _VERSION.fullmatch(version) if isinstance(version, str) else None
        if found:
            major, minor, tf = int(found[1]), int(found[2] or 0), bool(found[3])
            return Writer(min(max(major, 1), 3), minor, tf or (major == 2 and minor >= 4))
    config = root.get("config") if isinstance(root, dict) else None
    nodes = config.get("layers") if isinstance(config, dict) else config
    configs = [node.get("config") for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    words = {word for config in configs if isinstance(config, dict) for word in config}
    if words & _ONLY_KERAS_1:
        return Writer(1, 0, False)
    named = isinstance(root, dict) and "module" in root and "batch_input_shape" not in words
    return Writer(3 if named or "batch_shape" in words else 2, 0, False)
