"""A graph of layers run as a model: Functional."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Layer, Shape, signature_of
from fastlstm.layers.core import InputLayer
from fastlstm.layers.graph import Tensor
from fastlstm.layers.serialization import (
    LAYERS,
    argument_from_config,
    argument_to_config,
    layer_from_config,
    layer_to_config,
)
from fastlstm.model import Model
from fastlstm.program import Program, Slot, slots_in
from fastlstm.structure import flatten, map_structure


class Functional(Model):
    """Layers joined in any acyclic way: what ``keras.Model(inputs, outputs)`` is.

    Parameters
    ----------
    inputs : Tensor, or a list, tuple or dict of them
        From ``Input``; the model is called with the same nest of arrays, or with a dict by their names.
    outputs : Tensor, or a list, tuple or dict of them
        The model returns the same nest of arrays.
    name : str, optional
    trainable : bool
        Kept for ``get_config`` and ``summary``.
    """

    module = "keras.src.models.functional"

    module = "keras.src.models.functional"

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(trainable=trainable, name=name)
        for end, nest in (("inputs", inputs), ("outputs", outputs)):
            leaves = flatten(nest)
            if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
                raise FastLSTMError(f"{self.who}: {end} is {nest!r}; expected tensors, which Input and layers give")
        self._program = Program(inputs, outputs, self.who)
        self._input_shape = self.input_shape
        if all(layer.built or not layer._expected for top in self._program.layers for _, layer in top.tree()):
            self.fill()  # of layers without weights, to say that they are built

    @property
    def layers(self) -> list[Layer]:
        """The layers, InputLayers among them, in Keras's order."""
        return [layer for layer in self.program.layers if not layer.is_operation]

    def get_config(self) -> dict[str, Any]:
        """The model as Keras's ``Functional.get_config`` has it."""
        program = self.program
        histories, nodes = self._histories()

        def tensor(leaf: Any) -> Any:
            if not isinstance(leaf, Slot):
                return argument_to_config(leaf)
            config = {"shape": program.shapes[leaf.number], "dtype": "float32", "keras_history": histories[leaf.number]}
            return {"class_name": "__keras_tensor__", "config": config}

        layers = []
        for layer in program.layers:
            calls = [
                {"args": map_structure(tensor, list(step.args)), "kwargs": map_structure(tensor, step.kwargs)}
                for step in nodes[id(layer)]
            ]
            layers.append({**layer_to_config(layer), "name": layer.name, "inbound_nodes": calls})
        models = {layer.name for layer in program.layers if isinstance(layer, Functional)}

        def end(slot: Slot) -> list[Any]:
            name, node, index = histories[slot.number]
            return [name, node + (name in models), index]  # Keras counts a nested model's own graph as its first call

        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": layers,
            "input_layers": map_structure(end, program.inputs),
            "output_layers": map_structure(end, program.outputs),
        }

    def _histories(self) -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
        """For each slot the layer, call and output that fill it; for each layer its calls."""
        program = self.program
        histories: dict[int, list[Any]] = {
            slot.number: [layer.name, 0, 0]
            for layer, slot in zip(program.entries, flatten(program.inputs), strict=True)
        }
        nodes: dict[int, list[Any]] = defaultdict(list)
        for step in program.steps:
            calls = nodes[id(step.layer)]
            for index, slot in enumerate(flatten(step.outputs)):
                histories[slot.number] = [step.layer.name, len(calls), index]
            calls.append(step)
        return histories, nodes

    @classmethod
    def from_config(cls, config: dict[str, Any], fill: bool = True) -> Functional:
        """A model from :meth:`get_config`'s result, ours or Keras's; with new weights, or none yet.

        Raises
        ------
        FastLSTMError
            The graph refers to what it does not have, or runs in a circle.
        """
        name = config.get("name")
        who = f"{cls.__name__} {name!r}"
        layers: dict[str, Layer] = {}
        calls: dict[str, list[Any]] = {}
        for node in config["layers"]:
            layer = layer_from_config(node)
            own = node.get("name", layer.name)
            if own in layers:
                raise FastLSTMError(f"{who}: two layers are named {own!r}")
            layers[own], calls[own] = layer, list(node.get("inbound_nodes") or ())
        _Drawing(layers, calls, who).draw()

        def end(nest: Any) -> Any:
            if isinstance(nest, list | tuple) and len(nest) == 3 and isinstance(nest[0], str):
                label, node, index = nest
                offset = isinstance(layers.get(label), Functional)
                return _tensor(layers, [label, node - offset if type(node) is int else node, index], who)
            if isinstance(nest, dict):
                return {key: end(part) for key, part in nest.items()}
            if isinstance(nest, list | tuple):
                return [end(part) for part in nest]
            raise FastLSTMError(f"{who}: an input or output is {nest!r}; expected [layer, call, output]")

        inputs, outputs = end(config.get("input_layers")), end(config.get("output_layers"))
        model = cls(inputs, outputs, name=name, trainable=config.get("trainable", True))
        if fill:
            model.fill()
        return model

    def connections(self) -> dict[int, str] | None:
        if self._is_sequential():
            return None
        histories, nodes = self._histories()
        found = {}
        for layer, steps in nodes.items():
            sources = [histories[slot.number] for step in steps for slot in slots_in([step.args, step.kwargs])]
            found[layer] = ", ".join(f"{name}[{node}][{index}]" for name, node, index in sources)
        return found

    def _is_sequential(self) -> bool:
        """Whether the layers simply follow each other."""
        steps = self.program.steps
        layers = {id(step.layer) for step in steps}
        alone = len(self.program.entries) == 1 and all(len(slots_in([s.args, s.kwargs])) == 1 for s in steps)
        reads = [slot.number for step in steps for slot in slots_in([step.args, step.kwargs])]
        return alone and len(layers) == len(steps) and len(set(reads)) == len(reads)


class _Drawing:
    """Repeats the calls of a saved graph, each as soon as what it reads is there."""

    def __init__(self, layers: dict[str, Layer], calls: dict[str, list[Any]], who: str) -> None:
        self.layers, self.calls, self.who = layers, calls, who
        self.waiting: dict[tuple[str, int], list[str]] = defaultdict(list)  # layers by the calls they wait for
        self.missing: dict[str, int] = {}  # how many calls a layer waits for

    def draw(self) -> None:
        ready = list(reversed(self.layers))
        while ready:
            name = ready.pop()
            layer, calls = self.layers[name], self.calls[name]
            if isinstance(layer, InputLayer):
                layer.tensor()
                ready += self._woken(name, 0)
                continue
            while len(layer._nodes) < len(calls):
                call = calls[len(layer._nodes)]
                if self._waits(name, call):
                    break
                args, kwargs = (argument_from_config(call[key], self._found, self.who) for key in ("args", "kwargs"))
                layer._refuse_training(bool(kwargs.pop("training", False)))
                kwargs = {key: value for key, value in kwargs.items() if value is not None}
                _check_call(layer, args, kwargs)
                layer.connect(tuple(args), kwargs)
                ready += self._woken(name, len(layer._nodes) - 1)
        late = [name for name, count in self.missing.items() if count]
        if late:
            raise FastLSTMError(
                f"{self.who}: the calls of {late[:3]} run in a circle, or read calls that the model does not have"
            )

    def _waits(self, name: str, call: Any) -> bool:
        """Whether the call needs others first; the layer is then woken when all of them are there."""
        needed = set()
        for source, node, _ in histories_in(call, self.who):
            if source not in self.layers:
                raise FastLSTMError(f"{self.who}: a call reads layer {source!r}, which the model does not have")
            if len(self.layers[source]._nodes) <= node:
                needed.add((source, node))
        for key in needed:
            self.waiting[key].append(name)
        self.missing[name] = len(needed)
        return bool(needed)

    def _woken(self, name: str, node: int) -> list[str]:
        """The layers that waited for this call last."""
        woken = []
        for waiting in self.waiting.pop((name, node), ()):
            self.missing[waiting] -= 1
            if not self.missing[waiting]:
                woken.append(waiting)
        return woken

    def _found(self, history: Any) -> Tensor:
        return _tensor(self.layers, history, self.who)


def _check_call(layer: Layer, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Refuse a saved call that the layer could be drawn with, and then not run."""
    leaves = flatten([args, kwargs])
    if not any(isinstance(leaf, Tensor) for leaf in leaves):
        raise FastLSTMError(f"{layer.who}: is called without a tensor")
    if any(p.kind is p.VAR_KEYWORD for p in signature_of(type(layer).call).parameters.values()):
        return  # what takes anything, an operation or a caller's function, looks at it itself
    for leaf in leaves:
        if leaf is not None and not isinstance(leaf, Tensor | int | float | np.ndarray):
            raise FastLSTMError(f"{layer.who}: is called with {leaf!r}; expected tensors and numbers")


def histories_in(call: Any, who: str) -> Iterator[tuple[str, int, int]]:
    """Layer, call and output of each tensor that a saved call reads."""
    if isinstance(call, list | tuple):
        for part in call:
            yield from histories_in(part, who)
    elif isinstance(call, dict):
        if call.get("class_name") == "__keras_tensor__":
            config = call.get("config")
            yield _checked(config.get("keras_history") if isinstance(config, dict) else config, who)
        else:
            for part in call.values():
                yield from histories_in(part, who)


def _checked(history: Any, who: str) -> tuple[str, int, int]:
    good = isinstance(history, list | tuple) and len(history) == 3 and isinstance(history[0], str)
    if not good or not all(type(n) is int and 0 <= n < 2**31 for n in history[1:]):
        raise FastLSTMError(f"{who}: a tensor's history is {history!r}; expected [layer, call, output]")
    name, node, index = history
    return name, node, index


def _tensor(layers: dict[str, Layer], history: Any, who: str) -> Tensor:
    name, node, index = _checked(history, who)
    nodes = layers[name]._nodes if name in layers else []
    outputs = nodes[node].leaves if node < len(nodes) else []
    if index >= len(outputs):
        raise FastLSTMError(f"{who}: output {index} of call {node} of layer {name!r} does not exist")
    return outputs[index]


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    batch_shape: Shape | None = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> Tensor:
    """A tensor to draw a model from: ``keras.Input``.

    Parameters
    ----------
    shape : tuple of int or None, optional
        Of one sample; None where any size will do. Give this or ``batch_shape``.
    batch_size : int, optional
    dtype : str, optional
        What the input is converted to. Default float32.
    batch_shape : tuple of int or None, optional
        ``(batch_size, *shape)``.
    name : str, optional
    sparse, tensor, optional
        As of :class:`fastlstm.layers.InputLayer`.
    """
    layer = InputLayer(
        shape=shape, batch_size=batch_size, dtype=dtype, sparse=sparse, batch_shape=batch_shape, name=name,
        input_tensor=tensor, optional=optional,
    )  # fmt: skip
    return layer.tensor()


LAYERS["Functional"] = Functional
