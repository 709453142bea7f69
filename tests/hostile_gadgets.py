"""Hostile files, part 5: names of code, and of files, in every place that Keras has ever looked them up."""

from __future__ import annotations

import base64
import marshal
import pickle
from typing import Any

from hostile_case import Attacks, with_config
from hostile_config import changed
from samples import architecture, call, called, functional, graph, legacy, node, nodes, tensor

Node = dict[str, Any]
_CODE = base64.b64encode(marshal.dumps(compile("__import__('os').system('true')", "x", "eval"))).decode()
_PICKLE = base64.b64encode(pickle.dumps(print)).decode()
_EVERY = ("layer", "layer-of-keras-2", "model", "activation")


def _node(module: Any, class_name: str, registered: Any = None, /, **config: Any) -> Node:
    kept = {"module": module, "class_name": class_name, "registered_name": registered}
    return {**kept, "config": {"name": "x", **config}}


#: What a file names to be imported and called (CVE-2025-1550).
IMPORTS = {
    "os-system": _node("os", "system", command="true"),
    "eval": _node("builtins", "eval", source="1"),
    "exec": _node("builtins", "exec"),
    "import": _node("builtins", "__import__"),
    "popen": _node("subprocess", "Popen", args=["true"]),
    "run": _node("subprocess", "run"),
    "socket": _node("socket", "create_connection", address=["127.0.0.1", 9]),
    "urlopen": _node("urllib.request", "urlopen", url="http://127.0.0.1:9/"),
    "importlib": _node("importlib", "import_module"),
    "pickle": _node("pickle", "loads"),
    "open": _node("io", "open", file="/etc/passwd"),
    "ctypes": _node("ctypes", "CDLL"),
    "partial": _node("functools", "partial"),
    "numpy": _node("numpy", "load", file="/etc/passwd"),
    "fastlstm": _node("fastlstm", "load_model", path="/etc/passwd"),
    "relative": _node("..evil", "Layer"),
    "empty-module": _node("", "Layer"),
    "module-list": _node(["os"], "system"),
    "custom": _node("evil", "Layer", "evil>Layer"),
    "custom-without-module": _node(None, "Layer", "evil>Layer"),
    "hub": _node("keras_hub.models", "Backbone", "keras_hub>Backbone"),
    "nlp": _node("keras_nlp.layers", "TransformerEncoder", "keras_nlp>TransformerEncoder"),
    "lookalike": _node("kerasx.layers", "Dense", units=1),
    "lookalike-dotted": _node("keras.layers.evil", "System"),
    "tensorflow": _node("tensorflow.io", "read_file", filename="/etc/passwd"),
}
#: Keras's own functions, called by what a file says (CVE-2025-8747, CVE-2025-9906, CVE-2021-35958, CVE-2024-55459,
#: CVE-2025-12060, CVE-2025-12638).
GADGETS = {
    "get-file": _node("keras.utils", "get_file", origin="http://127.0.0.1:9/x.tar", extract=True),
    "get-file-inner": _node("keras.src.utils.file_utils", "get_file", origin="file:///etc/passwd"),
    "extract-archive": _node("keras.src.utils.file_utils", "extract_archive", file_path="/tmp/x.tar"),
    "unsafe": _node("keras.config", "enable_unsafe_deserialization"),
    "unsafe-inner": _node("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"),
    "load-model": _node("keras.models", "load_model", filepath="/tmp/evil.keras", safe_mode=False),
    "load-model-inner": _node("keras.src.saving.saving_api", "load_model"),
    "func-load": _node("keras.src.utils.python_utils", "func_load", code=_CODE),
    "deserialize": _node("keras.saving", "deserialize_keras_object"),
    "scope": _node("keras.saving", "CustomObjectScope", custom_objects={"x": "os.system"}),
    "register": _node("keras.saving", "register_keras_serializable"),
    "set-backend": _node("keras.config", "set_backend", backend="evil"),
    "plot-model": _node("keras.utils", "plot_model", to_file="/tmp/x"),
    "get-source-inputs": _node("keras.utils", "get_source_inputs"),
    "ops-map": _node("keras.ops", "map", f="os.system"),
    "ops-save": _node("keras.src.ops.numpy", "Save"),
    "dataset": _node("keras.datasets.mnist", "load_data", path="/etc/passwd"),
    "application": _node("keras.applications", "ResNet50", weights="/etc/passwd"),
    "callback": _node("keras.callbacks", "ModelCheckpoint", filepath="/tmp/x"),
    "file-editor": _node("keras.saving", "KerasFileEditor", filepath="/etc/passwd"),
}
#: Code as bytes (CVE-2024-3660, CVE-2025-9905, CVE-2026-12481).
LAMBDAS = {
    "keras-3": node("Lambda", name="x", function={"class_name": "__lambda__", "config": {"code": _CODE}}),
    "keras-2": node("Lambda", name="x", function=[_CODE, None, None], function_type="lambda", module="os"),
    "by-name": node("Lambda", name="x", function="system", function_type="function", module="os"),
    "output-shape": node("Lambda", name="x", function="relu", output_shape=[_CODE], output_shape_type="lambda"),
    "mask": node("Lambda", name="x", function="relu", mask={"class_name": "__lambda__", "config": {"code": _CODE}}),
    "raw": node("Lambda", name="x", function={"class_name": "function", "config": "raw", "code": _CODE}),
    "without-module": {"class_name": "Lambda", "config": {"name": "x", "function": [_CODE, None, None]}},
    "safe-mode-null": {**node("Lambda", name="x", function={"class_name": "__lambda__", "config": {"code": _CODE}}),
                       "safe_mode": None},
    "tf": _node("tensorflow.python.keras.layers", "Lambda", function=[_CODE, None, None]),
}  # fmt: skip
#: Pickles in a configuration (CVE-2025-49655), and whole models beside it (CVE-2026-1462).
WRAPPERS = {
    "pickle": {
        "torch-module": node("TorchModuleWrapper", name="x", module=_PICKLE),
        "torch-module-inner": _node("keras.src.utils.torch_utils", "TorchModuleWrapper", module=_PICKLE),
        "jax-layer": node("JaxLayer", name="x", call_fn=_PICKLE),
        "flax-layer": node("FlaxLayer", name="x", module=_PICKLE),
    },
    "saved-model": {
        "tfsm-layer": node("TFSMLayer", name="x", filepath="/tmp/evil"),
        "tfsm-layer-inner": _node("keras.src.export.tfsm_layer", "TFSMLayer", filepath="\\\\host\\evil"),
        "tf-hub": _node("tensorflow_hub", "KerasLayer", handle="http://127.0.0.1:9/"),
    },
    "vocabulary": {
        "string-lookup": node("StringLookup", name="x", vocabulary="/etc/passwd"),
        "string-lookup-url": node("StringLookup", name="x", vocabulary="http://169.254.169.254/latest/meta-data/"),
        "integer-lookup": node("IntegerLookup", name="x", vocabulary="/etc/passwd", vocabulary_dtype="int64"),
        "index-lookup": _node("keras.src.layers.preprocessing.index_lookup", "IndexLookup", vocabulary="/etc/passwd"),
        "text-vectorization": node("TextVectorization", name="x", vocabulary="/etc/passwd", standardize="os.system"),
        "embedding-weights": node("Embedding", name="x", input_dim=9, output_dim=2, weights="/etc/passwd"),
        "stft": node("STFTSpectrogram", name="x", window="/etc/passwd"),
    },
}


def cases() -> Attacks:
    for threat, gadgets in {"import": IMPORTS, "gadget": GADGETS, "lambda": LAMBDAS, **WRAPPERS}.items():
        for i, (name, gadget) in enumerate(gadgets.items()):
            for place, config in _places(gadget).items():
                if i < 2 or place in _EVERY:  # two of each kind in all places
                    yield threat, f"{name}-as-{place}", with_config(config)
    for i, name in enumerate(("Lambda", "TFOpLambda", "Dense")):
        own = {"custom_objects": {name: "os.system"}, "custom_layers": {name: "os.system"}, "safe_mode": False}
        bad = {**node(name, name="x", function=[_CODE]), **own}
        config = changed(lambda root, ls, own=own, bad=bad: (root.update(own), ls.insert(2, bad)))
        yield "import", f"objects-of-its-own-{i}", with_config(config)


def _places(gadget: Node) -> dict[str, Any]:
    """Configurations with it where Keras would make an object of it."""

    def put(index: int, **arguments: Any) -> Any:
        return changed(lambda _, layers: layers[index]["config"].update(arguments))

    def inserted(layer: Node) -> Any:
        return changed(lambda _, layers: layers.insert(1, layer))

    old = legacy()
    old["config"]["layers"].insert(1, {key: gadget[key] for key in ("class_name", "config")})
    first, lstm, dense = nodes()
    argument = functional(
        [called(first), called(lstm, call(tensor("in"), mask=gadget)), called(dense, call(tensor("lstm")))],
        [["in", 0, 0]], [["dense", 0, 0]],
    )  # fmt: skip
    drawn = graph()
    drawn["config"]["layers"].insert(1, called(gadget, call(tensor("in"))))
    drawn["config"]["layers"][2]["inbound_nodes"] = [call(tensor("x"))]
    return {
        "layer": inserted(gadget),
        "layer-of-a-graph": drawn,
        "layer-of-keras-2": old,
        "model": {**architecture(), **{key: gadget[key] for key in gadget}},
        "activation": put(2, activation=gadget),
        "recurrent-activation": put(1, recurrent_activation=gadget),
        "initializer": put(2, kernel_initializer=gadget),
        "dtype": put(2, dtype=gadget),
        "units": put(2, units=gadget),
        "wrapped-layer": inserted(node("TimeDistributed", name="w", layer=gadget)),
        "backward-layer": inserted(node("Bidirectional", name="w", layer=lstm, backward_layer=gadget)),
        "cell": inserted(node("RNN", name="w", cell=gadget)),
        "cells": inserted(node("RNN", name="w", cell=node("StackedRNNCells", name="s", cells=[gadget]))),
        "argument": argument,
        "constant": inserted(node("Rescaling", name="w", scale=gadget)),
        "nested-model": inserted({**architecture(), "config": {"name": "n", "layers": [first, gadget]}}),
    }
