"""Where the masks of an older Keras's model flow otherwise in Keras 3: found by running the model once."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers import Bidirectional, Embedding, TimeDistributed
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
    if not any(map(differs, layers)):
        return []
    probe = _Probe()
    probe.run(model, sample_inputs(model, rows=2), None)
    for inner in layers:
        if isinstance(inner, Model) and id(inner) not in probe.seen:  # inside a layer that is no model
            probe.run(inner, sample_inputs(inner, rows=2), None)
    return probe.calls


def differs(layer: Layer) -> bool:
    """Whether masks may have another effect on the layer than in Keras 3.15."""
    merging = getattr(layer, "mask_merging", "any") == "all"
    return merging or _passes_beside(layer) or _drops(layer) or _holds(layer)


def _passes_beside(layer: Layer) -> bool:
    """Whether a mask reaches the layer also beside other tensors, as before Keras 3."""
    own = not layer.mask_comes_alone and type(layer).mask_comes_alone
    return own and not isinstance(layer, Model | FunctionLayer)


def _drops(layer: Layer) -> bool:
    """Whether a mask ends at the layer, where in Keras 3.15 it does not."""
    return "supports_masking" in vars(layer) and type(layer).supports_masking and not layer.supports_masking


def _holds(layer: Layer) -> bool:
    """Whether the layer's output holds at masked steps, where in Keras 3 it is zero."""
    if not isinstance(layer, Bidirectional) or not layer.return_sequences:
        return False
    return not all(getattr(side, "zero_output_for_mask", True) for side in layer.sublayers().values())


class _Probe:
    """Runs models call by call and looks where masks are."""

    def __init__(self) -> None:
        self.calls: list[MaskedCall] = []
        self.seen: set[int] = set()

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
            layer, value, mask = step.layer, _at_slots(values, step.args[0]), _at_slots(seen, step.args[0])
            while isinstance(layer, TimeDistributed):
                self._look(layer, mask)
                layer, value, mask = layer.layer, _of_steps(value), None if np.ndim(mask) < 3 else _of_steps(mask)
            self._look(layer, mask)
            several = sum(1 for part in (*step.args, *step.kwargs.values()) if slots_in(part)) > 1
            if several and any(m is not None for m in flatten(mask)) and step.kwargs.get("mask") is None:
                self._add(model, step, number, mask, origins)
            if isinstance(layer, Model):
                self.run(layer, value, mask)
            _Call(step).run(values, seen)
            for slot in slots_in(step.outputs):
                made = seen[slot.number]
                if hasattr(layer, "mask_merging") and np.array_equal(made, flatten(mask)[0]):
                    made = seen[slot.number] = flatten(mask)[0]  # of one mask again and again, that mask itself
                if made is not None:
                    origins.setdefault(id(made), step)

    @staticmethod
    def _look(layer: Layer, mask: Any) -> None:
        """At a layer and the masks of its first argument."""
        masks = flatten(mask)
        if all(m is None for m in masks):
            return
        if _drops(layer):
            _refuse(layer, "drops its mask")
        if _holds(layer):
            _refuse(layer, "holds its output at masked steps")
        if getattr(layer, "mask_merging", "any") == "all" and layer.class_name != "Dot":  # of which none goes on
            same = all(m is masks[0] for m in masks)
            if not same or layer.class_name not in _MERGING_ALIKE:
                _refuse(layer, "counts the steps that all masks count")

    def _add(self, model: Model, step: Step, number: int, mask: Any, origins: dict[int, Step]) -> None:
        """A call whose mask comes beside other tensors."""
        if not _passes_beside(step.layer):
            return
        origin = origins.get(id(mask))
        if origin is None or not isinstance(origin.layer, Embedding) or origin.source is None:
            _refuse(step.layer, "takes a mask beside an initial state unasked, and not right from an Embedding")
        self.calls.append(MaskedCall(model, step.layer, number, origin.layer, origin.source))


def _refuse(layer: Layer, what: str) -> NoReturn:
    raise UnsupportedLayerError(f"{layer.who} {what}, which in Keras 3.15 it would not; write .npz instead")


def _at_slots(values: list[Any], structure: Any) -> Any:
    """What is at the slots of an argument; None at its plain leaves."""
    return map_structure(lambda leaf: values[leaf.number] if isinstance(leaf, Slot) else None, structure)


def _of_steps(x: Any) -> Any:
    """The steps of all samples as so many samples."""
    return x.reshape(-1, *x.shape[2:])
