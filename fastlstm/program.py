"""A model as the list of its layers' calls, in an order that can run: what models run and are saved from."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Layer, Shape
from fastlstm.layers.core import InputLayer
from fastlstm.layers.graph import Node, Tensor, tensors_in
from fastlstm.layers.stack import goes_on, run_stack
from fastlstm.structure import flatten, is_shape, leaves_like, map_structure


class Slot:
    """Where a run keeps one tensor's value."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Slot({self.number})"


class Step(NamedTuple):
    """One call of a layer; at the leaves of its arguments are plain values and slots."""

    layer: Layer
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any

    @property
    def source(self) -> Slot | None:
        """The slot of the one tensor it reads, if that is all of its arguments."""
        alone = len(self.args) == 1 and not self.kwargs and isinstance(self.args[0], Slot)
        return self.args[0] if alone else None


class Program:
    """Calls in order, from a nest of inputs to a nest of outputs.

    Attributes
    ----------
    inputs, outputs
        Nests of slots.
    entries : list of InputLayer
        What each input must be, in flat order.
    steps : list of Step
    layers : list of Layer
        Each layer once, in Keras's order, InputLayers among them.
    shapes : list
        The shape that each slot's tensor was drawn with.
    """

    def __init__(self, inputs: Any, outputs: Any, who: str) -> None:
        """The calls between these tensors and those.

        Raises
        ------
        FastLSTMError
            An output needs a tensor that no input gives, or two layers have one name.
        """
        nodes, self.layers = _needed(flatten(inputs), flatten(outputs), who)
        self.shapes: list[Shape] = []
        self._dtypes: list[str] = []
        slots: dict[int, Slot] = {}

        def slot(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            if id(leaf) not in slots:
                slots[id(leaf)] = Slot(len(self.shapes))
                self.shapes.append(leaf.shape)
                self._dtypes.append(leaf.dtype)
            return slots[id(leaf)]

        self.inputs, self.outputs = map_structure(slot, inputs), map_structure(slot, outputs)
        self.entries = [_entry(tensor) for tensor in flatten(inputs)]
        known = {id(layer) for layer in self.layers}
        self.layers = [layer for layer in self.entries if id(layer) not in known] + self.layers
        self.steps = []
        for node in nodes:
            args, kwargs, outputs = map_structure(slot, (node.args, node.kwargs, node.outputs))
            self.steps.append(Step(node.layer, args, kwargs, outputs))
        self._runs: list[_Chain | _Call] | None = None
        self._results: Any = None
        self.ragged: Any = None  # the same calls for rows of different lengths, once there have been any

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runs": None, "ragged": None}  # made again from the rest

    # -- running ------------------------------------------------------------------------------------

    def run(self, inputs: Any, masks: Any = None) -> tuple[Any, Any]:
        """Outputs and their masks.

        Parameters
        ----------
        inputs : ndarray, or a nest of them as ``inputs``
        masks : None, or a nest in step with the inputs
        """
        values: list[Any] = [None] * len(self.shapes)
        seen: list[Any] = [None] * len(self.shapes)
        if isinstance(self.inputs, Slot):
            values[self.inputs.number], seen[self.inputs.number] = inputs, masks
        else:
            for slot, value in zip(flatten(self.inputs), flatten(inputs), strict=True):
                values[slot.number] = value
            for slot, mask in zip(flatten(self.inputs), () if masks is None else flatten(masks), strict=False):
                seen[slot.number] = mask
        if self._runs is None:
            self._runs = self._compiled()
        for run in self._runs:
            run.run(values, seen)
        results = self._results
        if isinstance(results, Slot):
            return values[results.number], seen[results.number]
        return (
            map_structure(lambda slot: values[slot.number], results),
            map_structure(lambda slot: seen[slot.number], results),
        )

    def _compiled(self) -> list[_Chain | _Call]:
        """The steps as what runs: what passes its input through is left out, stacks of layers are one call."""
        same: dict[int, int] = {}  # slots whose tensor is that of another slot

        def resolved(leaf: Any) -> Any:
            return Slot(same.get(leaf.number, leaf.number)) if isinstance(leaf, Slot) else leaf

        steps = []
        for step in self.steps:
            args, kwargs = map_structure(resolved, (step.args, step.kwargs))
            step = step._replace(args=args, kwargs=kwargs)
            if step.layer.passes_through and step.source is not None:
                same[step.outputs.number] = step.source.number
            else:
                steps.append(step)
        self._results = map_structure(resolved, self.outputs)
        read = Counter(
            leaf.number
            for leaf in flatten([self._results, [[step.args, step.kwargs] for step in steps]])
            if isinstance(leaf, Slot)
        )
        runs: list[_Chain | _Call] = []
        chains: dict[int, _Chain] = {}  # by the slot they fill
        for step in steps:
            source, target = step.source, step.outputs
            if source is None or not isinstance(target, Slot):
                runs.append(_Call(step))
                continue
            below = chains.get(source.number)
            if below is not None and read[source.number] == 1 and goes_on(below.layers[-1], step.layer):
                below.layers.append(step.layer)
                below.target = target.number
                chains[target.number] = below
            else:
                chains[target.number] = _Chain(step.layer, source.number, target.number)
                runs.append(chains[target.number])
        return runs

    def output_shapes(self, input_shapes: Any) -> Any:
        """Shapes of the outputs for inputs of other shapes than the program was drawn with.

        Raises
        ------
        FastLSTMError
            A layer cannot take them, or not with the weights that it has.
        """
        shapes: list[Any] = list(self.shapes)
        alone = len(self.entries) == 1 and is_shape(input_shapes)  # as in Keras, a list of one is that one
        given_shapes = [input_shapes] if alone else leaves_like(self.inputs, input_shapes)
        for slot, shape in zip(flatten(self.inputs), given_shapes, strict=True):
            shapes[slot.number] = tuple(shape)

        def tensor(leaf: Any) -> Any:
            return _Drawn(shapes[leaf.number]) if isinstance(leaf, Slot) else leaf

        for step in self.steps:
            layer = step.layer
            args, kwargs = map_structure(tensor, (step.args, step.kwargs))
            layer.check_input_shape(layer.input_shape_of(args, kwargs))
            given = layer.output_shape_of(args, kwargs)
            for slot, shape in zip(flatten(step.outputs), leaves_like(step.outputs, given), strict=True):
                shapes[slot.number] = tuple(shape)
        return map_structure(lambda slot: shapes[slot.number], self.outputs)


    def output_names(self) -> list[str]:
        """For each output, in flat order, the layer that gives it, and which of several."""
        names = {slot.number: layer.name for slot, layer in zip(flatten(self.inputs), self.entries, strict=True)}
        for step in self.steps:
            slots = slots_in(step.outputs)
            for i, slot in enumerate(slots):
                names[slot.number] = f"{step.layer.name}[{i}]" if len(slots) > 1 else step.layer.name
        return [names[slot.number] for slot in flatten(self.outputs)]

    def output_dtypes(self) -> list[str]:
        """The type of each output, in flat order."""
        return [self._dtypes[slot.number] for slot in flatten(self.outputs)]


def _entry(tensor: Tensor) -> InputLayer:
    """What an input tensor stands for: its InputLayer, or one like it where a layer made it."""
    if isinstance(tensor.layer, InputLayer):
        return tensor.layer
    return InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype)


class _Drawn(Tensor):
    """A tensor of which only the shape matters."""

    __slots__ = ()

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


class _Chain:
    """Layers one after the other, from one slot to another, in one call where there are several."""

    def __init__(self, layer: Layer, source: int, target: int) -> None:
        self.layers, self.source, self.target = [layer], source, target

    def run(self, values: list[Any], masks: list[Any]) -> None:
        x, mask = values[self.source], masks[self.source]
        if len(self.layers) == 1:
            y, mask = self.layers[0].call_masked((x,), {}, mask, mask)
        else:
            y, mask = run_stack(self.layers, x, mask)
        values[self.target], masks[self.target] = y, mask


class _Call:
    """A call of one layer with any arguments."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.alone = sum(1 for part in (*step.args, *step.kwargs.values()) if slots_in(part)) == 1

    def run(self, values: list[Any], masks: list[Any]) -> None:
        def value(leaf: Any) -> Any:
            return values[leaf.number] if isinstance(leaf, Slot) else leaf

        def mask_of(leaf: Any) -> Any:
            return masks[leaf.number] if isinstance(leaf, Slot) else None

        layer, args, kwargs, outputs = self.step
        given_args, given = map_structure(value, (args, kwargs))
        previous = map_structure(mask_of, args[0])
        mask = given.pop("mask", None)
        if mask is not None:
            mask = previous = map_structure(lambda m: None if m is None else np.asarray(m, bool), mask)
        elif self.alone or not layer.mask_comes_alone:
            mask = previous
        for position, name in enumerate(layer.masked_arguments):
            tensor = args[position] if position < len(args) else kwargs.get(name)
            if given.get(f"{name}_mask") is None and tensor is not None and not self.alone:
                given[f"{name}_mask"] = map_structure(mask_of, tensor)
        y, y_masks = layer.call_masked(given_args, given, mask, previous)
        for slot in slots_in([args, kwargs]) if layer.clears_masks else ():
            masks[slot.number] = None
        slots = flatten(outputs)
        for slot, part in zip(slots, leaves_like(outputs, y), strict=True):
            values[slot.number] = part
        if y_masks is not None:
            for slot, part in zip(slots, leaves_like(outputs, y_masks), strict=True):
                masks[slot.number] = part


def slots_in(structure: Any) -> list[Slot]:
    """The slots among the leaves."""
    return [leaf for leaf in flatten(structure) if isinstance(leaf, Slot)]


def _needed(inputs: list[Tensor], outputs: list[Tensor], who: str) -> tuple[list[Node], list[Layer]]:
    """The calls between the inputs and the outputs in an order that can run, and their layers in Keras's order.

    Keras orders layers and calls by the greatest number of calls between them and an output, then by when a
    walk back from the outputs, depth first, comes to them.
    """
    given = {id(tensor) for tensor in inputs}
    finished: dict[int, Node] = {}
    first_seen: dict[int, Layer] = {}
    open_nodes: set[int] = set()
    pending = [(tensor, False) for tensor in reversed(outputs)]
    while pending:
        tensor, ready = pending.pop()
        node = tensor.layer._nodes[tensor.node]
        if ready:
            finished.setdefault(id(node), node)
            continue
        if id(node) in open_nodes or (id(tensor) in given and not isinstance(node.layer, InputLayer)):
            continue
        open_nodes.add(id(node))
        first_seen.setdefault(id(node.layer), node.layer)
        if isinstance(node.layer, InputLayer) and id(tensor) not in given:
            raise FastLSTMError(f"{who}: an output needs {node.layer.who}, which is not among the inputs")
        pending.append((tensor, True))
        pending += [(parent, False) for parent in reversed(tensors_in(node.args, node.kwargs))]
    nodes = list(finished.values())
    entries = {id(tensor.layer): tensor.layer for tensor in inputs if isinstance(tensor.layer, InputLayer)}
    first_seen = {key: entry for key, entry in entries.items() if key not in first_seen} | first_seen  # unread ones
    depths: dict[int, int] = {}
    layer_depths = dict.fromkeys(first_seen, 0)
    for node in reversed(nodes):
        depth = max(depths.setdefault(id(node), 0), layer_depths[id(node.layer)])
        depths[id(node)] = layer_depths[id(node.layer)] = depth
        for parent in tensors_in(node.args, node.kwargs):
            key = id(parent.layer._nodes[parent.node])
            if key in finished:
                depths[key] = max(depths.get(key, 0), depth + 1)
    # the order matters where a call changes what others read: its inputs' masks
    nodes = [finished[key] for key in sorted(depths, key=lambda key: -depths[key])]
    layers = sorted(first_seen.values(), key=lambda layer: -layer_depths[id(layer)])
    names = Counter(layer.name for layer in layers)
    for name, count in names.items():
        if count > 1:
            raise FastLSTMError(f"{who}: {count} layers are named {name!r}; give each its own name")
    return [node for node in nodes if not isinstance(node.layer, InputLayer)], layers
