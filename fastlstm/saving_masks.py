"""Where the masks of an older Keras's model flow otherwise in Keras 3: found by running the model once."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers import Embedding
from fastlstm.layers.base import Layer
from fastlstm.layers.custom import FunctionLayer
from fastlstm.model import Model
from fastlstm.program import Slot, Step, _Call, slots_in
from fastlstm.sampling import sample_inputs
from fastlstm.structure import flatten, map_structure

#: Merging layers whose values do not depend on masks, and whose one mask for all inputs stays what it is.
_MERGING_ALIKE = ("Add", "Average", "Concatenate", "Subtract")


class MaskedCall(NamedTuple):
    """A call that must be given its mask, which is where the ids that an Embedding reads are not 0."""

    model: Model
    layer: Layer
    number: int
    embedding: Embedding
    ids: Slot


def masked_calls(model: Model) -> list[MaskedCall]:
    """The calls of Functional models that Keras 3 gives no mask unless it is an argument.

    Raises
    ------
    UnsupportedLayerError
        A mask flows in a way that Keras 3 cannot be told.
    """
    layers = [layer for _, layer in model.tree()]
    if not any(_differs(layer) for layer in layers):
        return []
    probe = _Probe()
    probe.run(model, sample_inputs(model, rows=2), None)
    for inner in layers:
        if isinstance(inner, Model) and id(inner) not in probe.seen:  # inside a layer that is no model
            found = len(probe.calls)
            probe.run(inner, sample_inputs(inner, rows=2), None)
            if len(probe.calls) > found:
                probe.refuse(probe.calls[-1].layer, "takes a mask beside an initial state, inside another layer and unasked")
    return probe.calls


def _differs(layer: Layer) -> bool:
    """Whether masks may have another effect on the layer than in Keras 3.15."""
    merging = getattr(layer, "mask_merging", "any") == "all"
    return merging or _passes_beside(layer) or _drops(layer)


def _passes_beside(layer: Layer) -> bool:
    """Whether a mask reaches the layer also beside other tensors, as before Keras 3."""
    own = not layer.mask_comes_alone and type(layer).mask_comes_alone
    return own and not isinstance(layer, Model | FunctionLayer)


def _drops(layer: Layer) -> bool:
    """Whether a mask ends at the layer, as from Keras 3.16 on."""
    return "supports_masking" in vars(layer) and type(layer).supports_masking and not layer.supports_masking


class _Probe:
    """Runs models call by call and looks where masks are."""

    def __init__(self) -> None:
        self.calls: list[MaskedCall] = []
        self.seen: set[int] = set()

    @staticmethod
    def refuse(layer: Layer, what: str) -> NoReturn:
        raise UnsupportedLayerError(f"{layer.who} {what}, which Keras 3.15 does not; write .npz instead")

    def run(self, model: Model, inputs: Any, masks: Any) -> None:
        """Run a model, and those in it with what they get here."""
        self.seen.add(id(model))
        program = model.program
        values: list[Any] = [None] * len(program.shapes)
        seen: list[Any] = [None] * len(program.shapes)
        given = [None] * len(program.entries) if masks is None else flatten(masks)
        arrays = [np.asarray(x, layer.dtype) for x, layer in zip(flatten(inputs), program.entries, strict=True)]
        for slot, value, mask in zip(flatten(program.inputs), arrays, given, strict=False):
            values[slot.number], seen[slot.number] = value, mask
        origins: dict[int, Step] = {}  # the calls that made masks, by the masks
        numbers: dict[int, int] = {}
        for step in program.steps:
            number = numbers[id(step.layer)] = numbers.get(id(step.layer), -1) + 1
            previous = _at_slots(seen, step.args[0])
            if any(mask is not None for mask in flatten(previous)):
                self._look(model, step, number, previous, origins)
            if isinstance(step.layer, Model):
                self.run(step.layer, _at_slots(values, step.args[0]), previous)
            _Call(step).run(values, seen)
            for slot in slots_in(step.outputs):
                if seen[slot.number] is not None:
                    origins.setdefault(id(seen[slot.number]), step)

    def _look(self, model: Model, step: Step, number: int, previous: Any, origins: dict[int, Step]) -> None:
        """At a call whose first argument has masks."""
        layer, masks = step.layer, flatten(previous)
        several = sum(1 for part in (*step.args, *step.kwargs.values()) if slots_in(part)) > 1
        if _drops(layer):
            self.refuse(layer, "drops its mask, as from Keras 3.16 on")
        if getattr(layer, "mask_merging", "any") == "all":
            same = all(mask is masks[0] for mask in masks)
            if not same or layer.class_name not in _MERGING_ALIKE:
                self.refuse(layer, "counts what all masks count, as before Keras 3")
        if several and _passes_beside(layer) and step.kwargs.get("mask") is None:
            origin = origins.get(id(masks[0]))
            if len(masks) > 1 or origin is None or not isinstance(origin.layer, Embedding) or origin.source is None:
                self.refuse(layer, "takes a mask that is not an Embedding's beside an initial state, unasked")
            self.calls.append(MaskedCall(model, layer, number, origin.layer, origin.source))


def _at_slots(values: list[Any], structure: Any) -> Any:
    """What is at the slots of an argument; None at its plain leaves."""
    return map_structure(lambda leaf: values[leaf.number] if isinstance(leaf, Slot) else None, structure)
