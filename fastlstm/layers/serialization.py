"""Layers from their Keras configurations and back, through a closed table of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Layer
from fastlstm.layers.inputs import saved_value
from fastlstm.structure import is_shape

#: Every class that a configuration may name; ``fastlstm.layers`` and the models fill it. Nothing else is ever
#: looked up.
LAYERS: dict[str, type[Layer]] = {}

#: What the caller gave for classes that the table lacks, while a configuration is being read.
_custom: ContextVar[Mapping[str, Any]] = ContextVar("custom_layers")

_OPERATIONS = ("keras.src.ops.", "keras.ops", "keras.src.activations.")
_TF_OPERATIONS = ("TFOpLambda", "SlicingOpLambda")  # what tf.keras saves of operations on its tensors
_TRAINING = ("_regularizer", "_constraint", "seed")  # ends of the names of arguments that only training reads
_PENALTIES = {
    "L1", "L2", "L1L2", "OrthogonalRegularizer", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "SeedGenerator",
}  # fmt: skip
_BARE = ("InputLayer", "Sequential", "Functional")  # whose configurations are as short as an operation's


@contextmanager
def custom_layers(given: Mapping[str, Any] | None) -> Iterator[None]:
    """Let configurations that are read inside name these classes as well.

    Parameters
    ----------
    given : mapping of str to Layer subclass or callable, optional
        By the class's name or the name it is registered under; for a ``Lambda`` also by the layer's.
        A subclass of Layer is made by its ``from_config``; any other callable computes the output from
        the inputs and has no weights.
    """
    for name, value in (given or {}).items():
        if not isinstance(name, str) or not callable(value):
            raise FastLSTMError(
                f"custom_layers: {name!r} is {value!r}; expected a Layer subclass or a function, by a name"
            )
    token = _custom.set(dict(given or {}))
    try:
        yield
    finally:
        _custom.reset(token)


def is_operation(node: dict[str, Any]) -> bool:
    """Whether what Keras 3 saved is an operation in a graph, and no layer; an ``.h5`` file says no modules."""
    module, class_name, config = node.get("module"), node.get("class_name"), node.get("config")
    if module is not None or not isinstance(config, dict):
        return str(module).startswith(_OPERATIONS)
    typed = "dtype" in config and class_name in LAYERS  # some operations have a dtype as well, such as Cumsum
    return "trainable" not in config and not typed and class_name not in _BARE


def layer_from_config(node: Any) -> Layer:
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
    if not isinstance(node, dict) or not isinstance(node.get("config"), dict):
        raise FastLSTMError(f"a layer is {type(node).__name__} without a config; expected a saved layer")
    config, class_name, module = node["config"], node.get("class_name"), node.get("module")
    name, registered = config.get("name"), node.get("registered_name")
    who = f"layer {name!r}"
    given = _custom.get({})
    keys = (registered, class_name, name if class_name == "Lambda" else None)
    found = next((given[key] for key in keys if isinstance(key, str) and key in given), None)
    if found is not None:
        return _custom_layer(found, node)
    if is_operation(node) or class_name in _TF_OPERATIONS:
        from fastlstm.layers.ops import operation_from_config  # here: few models hold one

        return operation_from_config(node)
    own = module is None or module == "keras" or str(module).startswith("keras.")
    if not isinstance(class_name, str) or not own or registered not in (None, class_name):
        raise UnsupportedLayerError(
            f"{who} is a {registered or class_name!r} from {module or 'keras'!r}, not a layer of Keras's own: "
            f"pass custom_layers={{{registered or class_name!r}: ...}} with a fastlstm.layers.Layer or a function"
        )
    if class_name == "Lambda":
        raise UnsupportedLayerError(
            f"{who} is a Lambda, whose code in the file is never run: "
            f"pass custom_layers={{{name!r}: function}} with a function of NumPy arrays that does the same"
        )
    if class_name not in LAYERS:
        raise UnsupportedLayerError(
            f"{who} is a {class_name!r}, which fastlstm does not compute (fastlstm.layers has those it does): "
            f"pass custom_layers={{{class_name!r}: ...}} with a fastlstm.layers.Layer or a function"
        )
    cls = LAYERS[class_name]
    config = {key: None if _is_foreign(key, value) else value for key, value in config.items()}
    try:
        return cls.from_config(config, fill=False) if cls.holds_layers else cls.from_config(config)  # type: ignore[call-arg]
    except TypeError as error:
        raise FastLSTMError(f"{who}: {class_name} cannot be made from its config: {error}") from None


def _is_foreign(key: str, value: Any) -> bool:
    """Whether this is an object for training alone, and none of Keras's own.

    Such an object is left out: kept, it would reach, in a file that we write, a Keras that may well run it.
    """
    if not isinstance(value, dict) or not key.endswith(_TRAINING):
        return False
    class_name, module, config = value.get("class_name"), value.get("module", "keras"), value.get("config")
    plain = isinstance(config, dict) and not any(isinstance(part, dict | list) for part in config.values())
    own = str(module).split(".")[0] == "keras" and value.get("registered_name") in (None, class_name)
    return not (plain and own and isinstance(class_name, str) and class_name in _PENALTIES)


def _custom_layer(found: Any, node: dict[str, Any]) -> Layer:
    from fastlstm.layers.custom import FunctionLayer  # here: few models hold one

    if isinstance(found, type) and issubclass(found, Layer):
        layer = found.from_config(node["config"])
    else:
        layer = FunctionLayer(found, name=node["config"].get("name"))
    layer.saved_as = {key: node[key] for key in ("module", "class_name", "registered_name", "config") if key in node}
    return layer


def layer_to_config(layer: Layer) -> dict[str, Any]:
    """A layer as Keras's configuration node; with the input shape it can be built again."""
    node = layer.saved_as or {
        "module": layer.module,
        "class_name": layer.class_name,
        "config": layer.get_config(),
        # Keras registers what has no public name: operations, and Functional
        "registered_name": layer.class_name if layer.module.startswith("keras.src.") else None,
    }
    shape = layer._input_shape
    bare = shape is None or layer.is_operation or layer.class_name == "InputLayer"
    if bare:
        return dict(node)
    built: dict[str, Any] = {"input_shape": shape}
    if layer.masked_arguments and not is_shape(shape):
        named = zip(layer.masked_arguments, shape, strict=False)
        built = {"shapes_dict": {f"{name}_shape": part for name, part in named}}
    return {**node, "build_config": built}


def argument_to_config(value: Any) -> Any:
    """A plain argument of a call as Keras writes it."""
    if isinstance(value, slice):
        config = {"start": value.start, "stop": value.stop, "step": value.step}
        return {"class_name": "__slice__", "config": config}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    return value


def argument_from_config(value: Any, tensor: Callable[[Any], Any], who: str) -> Any:
    """A saved argument of a call; ``tensor`` gives the tensor of a ``keras_history``."""
    if isinstance(value, list):
        return [argument_from_config(part, tensor, who) for part in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind is None:
        return {key: argument_from_config(part, tensor, who) for key, part in value.items()}
    if kind == "__keras_tensor__" and isinstance(config, dict):
        return tensor(config.get("keras_history"))
    if kind == "__slice__" and isinstance(config, dict):
        return slice(*(config.get(end) for end in ("start", "stop", "step")))
    if kind == "__tuple__" and isinstance(value.get("items"), list):
        return tuple(argument_from_config(part, tensor, who) for part in value["items"])
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("__numpy__", "__tensor__"):
        return saved_value(value)
    raise UnsupportedLayerError(f"{who}: a call has an argument of class {kind!r}, which fastlstm does not compute")
