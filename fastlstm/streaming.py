"""A model taken apart for streaming: what each of its calls does when the steps come one after the other."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.inlining import Inlined
from fastlstm.layers.base import Shape
from fastlstm.layers.embedding import Embedding
from fastlstm.layers.graph import MOST_ELEMENTS
from fastlstm.layers.op_shapes import Spec
from fastlstm.layers.ops import CalledOperation
from fastlstm.program import Program, Slot, Step, _Call, _Chain, slots_in
from fastlstm.stream_parts import Inlet, LastStep, Part, Recurrent, Window
from fastlstm.stream_rules import ALL, CONVOLUTIONS, LAST, check_layer, check_operation, index_of, reach, refusal
from fastlstm.structure import flatten, map_structure, unflatten

if TYPE_CHECKING:
    from fastlstm.model import Model


class Unrolled(Inlined):
    """A model's calls for a block of steps, those of models inside it among them.

    A slot is timed, with one entry a step, or whole, with one value a prefix.

    Attributes
    ----------
    parts : list of Part
        In the order that they run in.
    inputs : list of Slot
        In flat order.
    outputs
        A nest of slots.
    shapes, timed : list
        By the number of a slot: its shape in the model, and whether it is timed.

    Raises
    ------
    UnsupportedLayerError
        A layer needs steps that are still to come, or all of them at once; it is named.
    """

    def __init__(self, model: Model, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.parts: list[Part] = []
        self._masked: list[bool] = []  # whether a mask may come with it
        program = model.program
        timed = _timed(program)
        if not any(timed):
            raise FastLSTMError(f"{model.who} has no input with steps to stream; call the model itself")
        self.inputs = [
            self._slot(entry.batch_shape, entry.dtype, steps, False)
            for entry, steps in zip(program.entries, timed, strict=True)
        ]
        self.outputs = self._through(program, self.inputs)

    def _slot(self, shape: Shape, dtype: str, timed: bool, masked: bool) -> Slot:
        self._masked.append(masked)
        return self._new_slot(shape, dtype, timed)

    # -- one call -----------------------------------------------------------------------------------

    def _step(self, step: Step, facts: list[tuple[Shape, str]]) -> Any:
        """Add the parts that compute a call, whose outputs have these shapes and types; returns their slots."""
        layer, slots = step.layer, slots_in([step.args, step.kwargs])
        if layer.passes_through and len(slots) == 1:
            return slots[0]
        if layer.holds_layers:
            return self._inner(layer, step)
        kinds = {self.timed[slot.number] for slot in slots}
        if kinds == {False}:
            if any(getattr(inner, "stateful", False) for _, inner in layer.tree()):
                raise refusal(layer, "is stateful, but what it reads is not a sequence of steps")
            return self._call(step, facts, timed=False)
        if len(kinds) > 1:
            raise refusal(layer, "joins a sequence with what is there only once for a whole sequence")
        if isinstance(layer, CalledOperation):
            return self._operation(layer, step, facts)
        if any(not isinstance(leaf, Slot) and np.ndim(leaf) for leaf in flatten([step.args, step.kwargs])):
            raise refusal(layer, "gets an array for some number of steps")
        if hasattr(layer, "stream") or hasattr(layer, "as_layers"):
            return self._recurrent(layer, step, facts)
        if type(layer).__name__ in CONVOLUTIONS and reach(layer):
            return self._window(layer, step, facts)
        read = slots_in([step.args, _given(step.kwargs, "mask")])
        check_layer(layer, [self.shapes[slot.number] for slot in read])
        if type(layer).__name__ == "Softmax" and self._gets_mask(step):
            raise refusal(layer, "gets a mask of steps, which it reads as one of features")
        return self._call(step, facts, timed=True)

    def _gets_mask(self, step: Step) -> bool:
        named = step.kwargs.get("mask") is not None
        return named or any(self._masked[slot.number] for slot in slots_in([step.args, step.kwargs]))

    def _call(self, step: Step, facts: list[tuple[Shape, str]], timed: bool) -> Any:
        """The layer's own call, of each step by itself or of each prefix."""
        layer = step.layer
        masked = layer.supports_masking and self._gets_mask(step)
        masked = masked or type(layer).__name__ == "Masking" or bool(getattr(layer, "mask_zero", False))
        outputs = unflatten(step.outputs, [self._slot(*fact, timed, masked) for fact in facts])
        if step.source is not None and isinstance(outputs, Slot):
            self.parts.append(_Chain(layer, step.source.number, outputs.number))
        else:
            self.parts.append(_Call(step._replace(outputs=outputs)))
        return outputs

    def _inner(self, layer: Any, step: Step) -> Any:
        """A model inside the model: its calls, with a state of their own at each call of it."""
        given, masks = flatten(layer._structured(step.args[0])), step.kwargs.get("mask")
        named = [None] * len(given) if masks is None else flatten(masks)
        if len(step.args) != 1 or _given(step.kwargs, "mask") or len(named) != len(given):
            raise refusal(layer, "is called with more than its inputs and their masks")
        inner = []
        for slot, mask, entry in zip(given, named, layer.program.entries, strict=True):
            n, kept = slot.number, None if mask is None else mask.number
            if len(self.shapes[n]) != len(entry.batch_shape):
                raise refusal(layer, f"gets an input of shape {self.shapes[n]} for {entry.batch_shape}")
            if self._dtypes[n] != entry.dtype or mask is not None:
                slot = self._slot(self.shapes[n], entry.dtype, self.timed[n], self._masked[n] or mask is not None)
                self.parts.append(Inlet(n, slot.number, entry.dtype, kept))
            inner.append(slot)
        return self._through(layer.program, inner)

    def _recurrent(self, layer: Any, step: Step, facts: list[tuple[Shape, str]]) -> Slot:
        if getattr(layer, "go_backwards", False):
            raise refusal(layer, "reads the end of a sequence first (go_backwards=True)")
        if getattr(layer, "return_state", False):
            raise refusal(layer, "returns its states (return_state=True)")
        options = _given(step.kwargs)
        mask = options.pop("mask", None)
        if len(step.args) != 1 or options:
            raise refusal(layer, f"is called with more than a sequence ({', '.join(options) or 'initial_state'})")
        if mask is not None and not isinstance(mask, Slot):
            raise refusal(layer, f"gets the mask {mask!r}")
        slot: Slot = step.args[0]
        ((shape, dtype),) = facts
        masked = self._gets_mask(step)
        named = None if mask is None else mask.number
        layers = layer.as_layers() if hasattr(layer, "as_layers") else [layer]  # of an RNN one for each cell
        for one in layers:
            source, sequences = slot.number, one.return_sequences
            slot = self._slot(
                (*self.shapes[source][: 1 + sequences], one.output_size), one.dtype, sequences, masked and sequences
            )
            last = np.zeros((self.batch_size, one.output_size), one.dtype) if masked else None
            stream = one.stream(self.batch_size)
            self.parts.append(Recurrent(one, source, slot.number, named, stream, last))
            named = None  # from here on the mask comes with the sequence
        if one.dtype != dtype:
            source, slot = slot.number, self._slot(shape, dtype, sequences, masked and sequences)
            self.parts.append(Inlet(source, slot.number, dtype, None))
        return slot

    def _window(self, layer: Any, step: Step, facts: list[tuple[Shape, str]]) -> Slot:
        ((shape, dtype),) = facts
        source: Slot = step.args[0]
        channels: Any = self.shapes[source.number][-1]
        sizes = (self.batch_size, reach(layer), channels)
        if prod(sizes) > MOST_ELEMENTS:
            raise refusal(layer, f"would keep {prod(sizes)} numbers from step to step")
        target = self._slot(shape, dtype, True, False)
        window = np.zeros(sizes, layer.dtype)
        self.parts.append(Window(layer, source.number, target.number, window))
        return target

    def _operation(self, layer: CalledOperation, step: Step, facts: list[tuple[Shape, str]]) -> Any:
        """Of each step by itself, or the last step of a sequence, which is a value for each prefix."""

        def spec(leaf: Any) -> Any:
            return Spec(self.shapes[leaf.number]) if isinstance(leaf, Slot) else leaf

        entry, values, config = layer.resolve(*map_structure(spec, (step.args, step.kwargs)))
        slots = slots_in([step.args, step.kwargs])
        if entry.shape.__name__ != "get_item":
            check_operation(layer, (entry, values, config), [self.shapes[slot.number] for slot in slots])
            return self._call(step, facts, timed=True)
        (source,), key = slots, values[1]
        shape, dtype = self.shapes[source.number], self._dtypes[source.number]
        batch, time, *rest = index_of(layer, key, len(shape))
        if batch == ALL and time == ALL:
            return self._call(step, facts, timed=True)
        if batch != ALL or time not in (-1, LAST):
            raise refusal(layer, "takes other steps than the last one")
        alone = time == -1 and all(part == ALL for part in rest)
        last = self._slot((shape[0], *(() if alone else (1,)), *shape[2:]), dtype, False, False)
        self.parts.append(LastStep(source.number, last.number, axis=not alone))
        if alone:
            return last
        args, kwargs = map_structure(lambda leaf: last if leaf is source else leaf, (step.args, step.kwargs))
        return self._call(step._replace(args=args, kwargs=kwargs), facts, timed=False)


def _given(kwargs: dict[str, Any], *without: str) -> dict[str, Any]:
    """The arguments that say something: saved calls name others too."""
    said = {key: value for key, value in kwargs.items() if value is not None and value is not False}
    return {key: value for key, value in said.items() if key not in without}


def _timed(program: Program) -> list[bool]:
    """Which inputs have steps: those of three axes or more, ids that an Embedding looks up, and masks.

    One id beside sequences is not a sequence of one: it says something about the whole of them.
    """
    shapes = [entry.batch_shape for entry in program.entries]
    slots = flatten(program.inputs)
    ranks = [len(shape) + _counts_steps(program, slot) for shape, slot in zip(shapes, slots, strict=True)]
    timed = [rank > 2 for rank in ranks]
    sequences = any(steps and shape[1] != 1 for steps, shape in zip(timed, shapes, strict=True))
    return [steps and not (sequences and shape[1:] == (1,)) for steps, shape in zip(timed, shapes, strict=True)]


def _counts_steps(program: Program, slot: Slot) -> bool:
    """Whether an input of two axes holds something for each step."""
    for step in program.steps:
        layer: Any = step.layer
        if any(read.number == slot.number for read in slots_in(step.kwargs.get("mask"))):
            return True
        if all(read.number != slot.number for read in slots_in([step.args])):
            continue
        if isinstance(layer, Embedding) or (layer.passes_through and _counts_steps(program, step.outputs)):
            return True
        if layer.holds_layers:
            inner = zip(flatten(layer._structured(step.args[0])), flatten(layer.program.inputs), strict=True)
            if any(own.number == slot.number and _counts_steps(layer.program, theirs) for own, theirs in inner):
                return True
    return False
