"""A model's calls, those of models inside it among them, taken over one by one into slots of another program."""

from __future__ import annotations

from typing import Any

from fastlstm.layers.base import Shape
from fastlstm.program import Program, Slot, Step
from fastlstm.structure import flatten, map_structure


class Inlined:
    """What becomes of each call is for the class that derives from this to say.

    Attributes
    ----------
    shapes, timed : list
        By the number of a slot: its shape in the model, and whether it has one entry a step.
    """

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.timed: list[bool] = []
        self._dtypes: list[str] = []

    def _new_slot(self, shape: Shape, dtype: str, timed: bool) -> Slot:
        self.shapes.append(shape)
        self._dtypes.append(dtype)
        self.timed.append(timed)
        return Slot(len(self.timed) - 1)

    def _through(self, program: Program, given: list[Slot]) -> Any:
        """Take over a program's calls, from these slots to the nest of slots that is returned."""
        own = {slot.number: outer for slot, outer in zip(flatten(program.inputs), given, strict=True)}

        def outer(leaf: Any) -> Any:
            return own[leaf.number] if isinstance(leaf, Slot) else leaf

        for step in program.steps:
            args, kwargs = map_structure(outer, (step.args, step.kwargs))
            targets = flatten(step.outputs)
            facts = [(program.shapes[slot.number], program._dtypes[slot.number]) for slot in targets]
            found = self._step(Step(step.layer, args, kwargs, step.outputs), facts)
            own.update(zip((slot.number for slot in targets), flatten(found), strict=True))
        return map_structure(outer, program.outputs)

    def _step(self, step: Step, facts: list[tuple[Shape, str]]) -> Any:
        """Take over a call, whose outputs have these shapes and types in its own program; returns their slots here."""
        raise NotImplementedError
