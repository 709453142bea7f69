"""From a parsed configuration to unbuilt layers and the weights they need; none is allocated yet."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fastlstm.base_model import has_several
from fastlstm.errors import FastLSTMError, ModelFileError, UnsupportedLayerError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import InputLayer
from fastlstm.layers.serialization import LAYERS, layer_from_config
from fastlstm.loading.jsonrules import shown
from fastlstm.model import Sequential

MAX_LAYERS = 1000
MAX_UNITS = 65536
MAX_RANK = 8
MAX_SIZE = 2**31 - 1  # of an input axis, and of a vocabulary

_FLAGS = (
    "go_backwards", "mask_zero", "return_sequences", "return_state", "stateful", "trainable",
    "unit_forget_bias", "unroll", "use_bias", "zero_output_for_mask", "sparse", "ragged", "optional",
)  # fmt: skip
_KINDS: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
_SIZES = {"units": MAX_UNITS, "output_dim": MAX_UNITS, "input_dim": MAX_SIZE}


class Slot(NamedTuple):
    """A layer, what comes in, and the shapes of the weights it needs by name."""

    layer: Layer
    input_shape: Shape
    weights: dict[str, tuple[int, ...]]

    @property
    def params(self) -> int:
        """Number of scalars in the weights."""
        return sum(math.prod(shape) for shape in self.weights.values())


class Plan(NamedTuple):
    """A model that has been described and checked, but has no weights yet."""

    name: str
    trainable: bool
    inputs: InputLayer
    slots: list[Slot]

    @property
    def params(self) -> int:
        """Number of scalars in all weights."""
        return sum(slot.params for slot in self.slots)

    def model(self, weights: list[list[Array]]) -> Sequential:
        """The model with these weights, which must have the slots' shapes; takes the arrays over."""
        for slot, arrays in zip(self.slots, weights, strict=True):
            slot.layer._store(dict(zip(slot.weights, arrays, strict=True)))
            slot.layer._mark_built(slot.input_shape)
        layers: list[Layer] = [self.inputs, *(slot.layer for slot in self.slots)]
        return Sequential(layers, trainable=self.trainable, name=self.name)


def plan(root: Any, max_params: int) -> Plan:
    """Check a configuration and say which weights it needs.

    Parameters
    ----------
    root : object
        The parsed configuration of a Keras model, ``{"class_name": "Sequential", "config": ...}``.
    max_params : int
        Limit for the number of weights in all layers together.

    Raises
    ------
    UnsupportedLayerError
        A model or layer of a class that fastlstm does not compute.
    ModelFileError
        Anything else that no Keras would have written, or a limit exceeded.
    """
    class_name = _entry(root, "class_name", str, "the configuration")
    if class_name != "Sequential":
        raise UnsupportedLayerError(
            f"the model is a {shown(class_name)}; fastlstm loads keras.Sequential models: "
            "rebuild it as one, copy the weights with set_weights and save it again"
        )
    config = _entry(root, "config", dict, "the configuration")
    name = _name(config, "the model")
    trainable = config.get("trainable", True)
    if not isinstance(trainable, bool):
        raise ModelFileError(f"the model: trainable is {shown(trainable)}; expected true or false")
    nodes = _entry(config, "layers", list, "the configuration")
    if not 1 <= len(nodes) <= MAX_LAYERS:
        raise ModelFileError(f"the model has {len(nodes)} layers; expected 1 to {MAX_LAYERS}")
    layers = [_layer(node, i) for i, node in enumerate(nodes)]
    if not isinstance(layers[0], InputLayer):
        layers.insert(0, _input_layer(config.get("build_input_shape")))
    if len(layers) == 1:
        raise ModelFileError("the model has no layers besides its InputLayer")
    if len({layer.name for layer in layers}) != len(layers):
        raise ModelFileError("two layers of the model have the same name")
    inputs = layers[0]
    assert isinstance(inputs, InputLayer)
    return Plan(name, trainable, inputs, _slots(inputs.batch_shape, layers[1:], max_params))


def _slots(shape: Any, layers: list[Layer], max_params: int) -> list[Slot]:
    slots, total = [], 0
    for layer in layers:
        if isinstance(layer, InputLayer) or has_several(shape):
            raise ModelFileError(
                f"layer {shown(layer.name)} cannot follow the layer before it in a Sequential"
            )
        slot = Slot(layer, shape, layer.weight_shapes(shape))
        total += slot.params
        if total > max_params:
            raise ModelFileError(
                f"the model has {total} weights up to layer {shown(layer.name)}; max_params is {max_params}"
            )
        slots.append(slot)
        shape = layer.compute_output_shape(shape)
    return slots


def _layer(node: Any, index: int) -> Layer:
    who = f"layer {index}"
    class_name = _entry(node, "class_name", str, who)
    config = _entry(node, "config", dict, who)
    who = f"layer {index} {shown(_name(config, who))} ({shown(class_name)})"
    if class_name in LAYERS:
        _check_config(config, who)
    try:
        return layer_from_config(node)
    except UnsupportedLayerError as error:
        raise UnsupportedLayerError(f"layer {index}: {_short(error)}") from None
    except FastLSTMError as error:
        raise ModelFileError(f"layer {index}: {_short(error)}") from None
    except Exception as error:  # a value of a type that no constructor foresees
        raise ModelFileError(f"{who}: its config cannot be used ({_short(error)})") from error


def _check_config(config: dict[str, Any], who: str) -> None:
    """Types and ranges of what sizes an allocation or switches a computation."""
    for key in _FLAGS:
        if key in config and not isinstance(config[key], bool):
            if config[key] is not None or key not in ("sparse", "ragged"):
                raise ModelFileError(f"{who}: {key} is {shown(config[key])}; expected true or false")
    for key, limit in _SIZES.items():
        if key in config:
            _size(config[key], limit, f"{who}: {key}")
    for key in ("batch_shape", "batch_input_shape"):
        if key in config:
            _shape(config[key], f"{who}: {key}")
    for key in ("layer", "backward_layer"):  # inside a Bidirectional
        node = config.get(key)
        if isinstance(node, dict) and isinstance(node.get("config"), dict):
            _check_config(node["config"], f"{who}: {key}")
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        policy = dtype.get("config")
        if (
            dtype.get("class_name") != "DTypePolicy"
            or not isinstance(policy, dict)
            or set(policy) != {"name"}
        ):
            raise UnsupportedLayerError(
                f"{who}: dtype policy {shown(dtype)} is not supported; expected one plain dtype"
            )
        dtype = policy["name"]
    if dtype is not None and not isinstance(dtype, str):
        raise ModelFileError(f"{who}: dtype is {shown(dtype)}; expected a name")


def _input_layer(shape: Any) -> InputLayer:
    if shape is None:
        raise ModelFileError("the model has no input shape and so no weights; build it before saving")
    _shape(shape, "build_input_shape")
    return InputLayer(batch_shape=shape)


def _shape(shape: Any, what: str) -> None:
    if not isinstance(shape, list) or not 2 <= len(shape) <= MAX_RANK:
        raise ModelFileError(f"{what} is {shown(shape)}; expected a list of 2 to {MAX_RANK} sizes")
    for size in shape:
        if size is not None:
            _size(size, MAX_SIZE, f"{what}: a size")


def _size(value: Any, limit: int, what: str) -> None:
    if type(value) is not int or not 1 <= value <= limit:
        raise ModelFileError(f"{what} is {shown(value)}; expected an integer from 1 to {limit}")


def _name(config: dict[str, Any], who: str) -> str:
    name: str = _entry(config, "name", str, who)
    if not name or len(name) > 512 or not name.isprintable():
        raise ModelFileError(f"{who}: its name is {shown(name)}; expected 1 to 512 printable characters")
    return name


def _entry(node: Any, key: str, kind: type, who: str) -> Any:
    if not isinstance(node, dict):
        raise ModelFileError(f"{who} is {shown(node)}; expected a JSON object")
    value = node.get(key)
    if not isinstance(value, kind):
        raise ModelFileError(f"{who}: {key} is {shown(value)}; expected {_KINDS[kind]}")
    return value


def _short(error: Exception) -> str:
    """A message that may repeat something out of the file, cut to a readable length."""
    return "".join(c if c.isprintable() else "?" for c in str(error)[:500])
