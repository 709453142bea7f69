"""From a parsed configuration to a model whose weights are known by shape; none is allocated yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastlstm.errors import FastLSTMError, ModelFileError, UnsupportedLayerError
from fastlstm.functional import Functional
from fastlstm.layers.serialization import LAYERS, custom_layers
from fastlstm.loading.jsonrules import shown
from fastlstm.model import Model
from fastlstm.sequential import Sequential

MAX_LAYERS = 1000
MAX_WORK = 10_000  # calls of layers and tensors that they read; those in a model again for each call of it
MAX_UNITS = 65536
MAX_RANK = 8
MAX_NESTING = 16  # of models and wrappers in each other
MAX_SIZE = 2**31 - 1  # of an input axis, and of a vocabulary

_FLAGS = (
    "go_backwards", "mask_zero", "return_sequences", "return_state", "stateful", "trainable",
    "unit_forget_bias", "unroll", "use_bias", "zero_output_for_mask", "sparse", "ragged", "optional", "reset_after",
)  # fmt: skip
_KINDS: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
_SIZES = {"units": MAX_UNITS, "output_dim": MAX_UNITS, "input_dim": MAX_SIZE, "filters": MAX_UNITS}
_INNER = ("layer", "backward_layer", "cell")  # arguments that are a layer, or a list of them
_OURS = ("isa", "reproducible", "threads")  # arguments that no file has: they are the caller's to choose
_MODELS: dict[str, type[Model]] = {"Sequential": Sequential, "Functional": Functional}


def described(root: Any, max_params: int, custom: Mapping[str, Any] | None = None) -> Model:
    """The model that a configuration describes, without its weights.

    Parameters
    ----------
    root : object
        The parsed configuration in Keras 3's form, ``{"class_name": "Sequential", "config": ...}``.
    max_params : int
        Limit for the number of weights in all layers together.
    custom : mapping, optional
        As ``custom_layers`` of :func:`fastlstm.load_model`.

    Raises
    ------
    UnsupportedLayerError
        A model or layer of a class that fastlstm does not compute.
    ModelFileError
        Anything else that no Keras would have written, or a limit exceeded.
    """
    class_name = _entry(root, "class_name", str, "the configuration")
    config = _entry(root, "config", dict, "the configuration")
    if class_name not in _MODELS:
        raise UnsupportedLayerError(
            f"the model is a {shown(class_name)}, of a class that the file does not describe: "
            "save it as a Sequential or Functional model, or build it in code and use load_weights"
        )
    _Counts().model(config, "the model", 0)
    try:
        with custom_layers(custom):
            model = _MODELS[class_name].from_config(config, fill=False)
    except UnsupportedLayerError:
        raise
    except FastLSTMError as error:
        raise ModelFileError(str(error)) from None
    except Exception as error:  # a value of a type that no constructor foresees
        raise ModelFileError(f"the configuration cannot be used ({type(error).__name__}: {error})") from error
    if model._program is None:
        raise ModelFileError("the model has no input shape and so no weights; build it before saving")
    if not model.program.steps:
        raise ModelFileError("the model has no layers besides its inputs")
    total = 0
    for _, layer in model.tree():
        total += sum(math.prod(shape) for shape in layer._expected.values())
        if total > max_params:
            raise ModelFileError(
                f"the model has {total} weights up to layer {shown(layer.name)}; max_params is {max_params}"
            )
    return model


class _Counts:
    """Walks a configuration for types and ranges of what sizes an allocation or a computation.

    The methods return how much work a call of what they are given comes to.
    """

    def __init__(self) -> None:
        self.layers = 0

    def model(self, config: dict[str, Any], who: str, depth: int) -> int:
        if depth > MAX_NESTING:
            raise ModelFileError(f"{who}: models are nested more than {MAX_NESTING} deep")
        _name(config, who)
        if not isinstance(config.get("trainable", True), bool):
            raise ModelFileError(f"{who}: trainable is {shown(config['trainable'])}; expected true or false")
        if config.get("build_input_shape") is not None:
            _shape(config["build_input_shape"], f"{who}: build_input_shape")
        nodes = _entry(config, "layers", list, who)
        if not nodes:
            raise ModelFileError(f"{who} has no layers; expected 1 to {MAX_LAYERS}")
        total = 0
        for i, node in enumerate(nodes):
            once = self.layer(node, f"layer {i}", depth)
            calls = node.get("inbound_nodes", [])
            if not isinstance(calls, list) or not all(map(_is_call, calls)):
                raise ModelFileError(
                    f"{who}, layer {i}: inbound_nodes is {shown(calls)}; expected a list of calls with args and kwargs"
                )
            total += sum(once + _reads([call["args"], call["kwargs"]]) for call in calls) if calls else once
            if total > MAX_WORK:
                raise ModelFileError(f"{who} has more than {MAX_WORK} calls and inputs of layers, those inside counted")
        return total

    def layer(self, node: Any, who: str, depth: int) -> int:
        self.layers += 1
        if self.layers > MAX_LAYERS:
            raise ModelFileError(f"the model has more than {MAX_LAYERS} layers, those inside others counted")
        class_name = _entry(node, "class_name", str, who)
        config = _entry(node, "config", dict, who)
        if class_name in _MODELS:  # of which every call looks at all shapes inside twice
            return 2 * self.model(config, f"{who} {shown(config.get('name'))} ({class_name})", depth + 1)
        work = 1
        if "name" in config or class_name in LAYERS:
            who = f"{who} {shown(_name(config, who))} ({class_name})"
        if class_name in LAYERS:
            _check_config(config, who)
            for key in _INNER:
                inner = config.get(key)
                for part in inner if isinstance(inner, list) else [inner]:
                    work += self.inner(part, f"{who}: {key}", depth)
        return work

    def inner(self, node: Any, who: str, depth: int) -> int:
        """A layer inside a layer."""
        work = 0
        if isinstance(node, dict) and isinstance(node.get("config"), dict):
            if depth >= MAX_NESTING:
                raise ModelFileError(f"{who}: layers are nested more than {MAX_NESTING} deep")
            cells = node["config"].get("cells")
            for part in [node, *(cells if isinstance(cells, list) else [])]:
                work += self.layer(part, who, depth + 1)
        return work


def _is_call(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("args"), list) and isinstance(call.get("kwargs"), dict)


def _reads(part: Any) -> int:
    """How many tensors there are among a call's arguments."""
    if isinstance(part, list):
        return sum(map(_reads, part))
    if isinstance(part, dict):
        return 1 if part.get("class_name") == "__keras_tensor__" else sum(map(_reads, part.values()))
    return 0


def _check_config(config: dict[str, Any], who: str) -> None:
    if ours := sorted(set(config) & set(_OURS)):
        raise ModelFileError(f"{who}: has arguments {ours}, which no file gives")
    for key in _FLAGS:
        if key in config and not isinstance(config[key], bool):
            if config[key] is not None or key not in ("sparse", "ragged"):
                raise ModelFileError(f"{who}: {key} is {shown(config[key])}; expected true or false")
    for key, limit in _SIZES.items():
        if key in config:
            _size(config[key], limit, f"{who}: {key}")
    if "batch_shape" in config:
        _shape(config["batch_shape"], f"{who}: batch_shape")
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        policy = dtype.get("config")
        if dtype.get("class_name") != "DTypePolicy" or not isinstance(policy, dict) or set(policy) != {"name"}:
            raise UnsupportedLayerError(
                f"{who}: dtype policy {shown(dtype)} is not supported; expected one plain dtype"
            )
        dtype = policy["name"]
    if dtype is not None and not isinstance(dtype, str):
        raise ModelFileError(f"{who}: dtype is {shown(dtype)}; expected a name")


def _shape(shape: Any, what: str) -> None:
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_RANK:
        raise ModelFileError(f"{what} is {shown(shape)}; expected a list of 1 to {MAX_RANK} sizes")
    for size in shape:
        if size is not None:
            _size(size, MAX_SIZE, f"{what}: a size")


def _size(value: Any, limit: int, what: str) -> None:
    if type(value) is not int or not 1 <= value <= limit:
        raise ModelFileError(f"{what} is {shown(value)}; expected an integer from 1 to {limit}")


def _name(config: dict[str, Any], who: str) -> str:
    name: str = _entry(config, "name", str, who)
    parts = name.split("/")
    if not parts[0] or {".", ".."} & set(parts) or len(name) > 512 or not name.isprintable():
        raise ModelFileError(
            f"{who}: its name is {shown(name)}; expected 1 to 512 printable characters that are no path out of a folder"
        )
    return name


def _entry(node: Any, key: str, kind: type, who: str) -> Any:
    if not isinstance(node, dict):
        raise ModelFileError(f"{who} is {shown(node)}; expected a JSON object")
    value = node.get(key)
    if not isinstance(value, kind):
        raise ModelFileError(f"{who}: {key} is {shown(value)}; expected {_KINDS[kind]}")
    return value
