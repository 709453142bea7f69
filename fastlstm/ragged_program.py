"""A model's program for rows of different lengths: which of its tensors are sequences, and what no row may see."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.inlining import Inlined
from fastlstm.layers.base import Shape
from fastlstm.layers.op_shapes import Spec
from fastlstm.layers.ops import CalledOperation
from fastlstm.layers.pooling import GlobalAveragePooling1D
from fastlstm.program import Slot, Step, _Chain, slots_in
from fastlstm.ragged import blanks, checked, is_ragged, padded, sides_of, trimmed
from fastlstm.stream_rules import ALL, CONVOLUTIONS, check_layer, check_operation, index_of
from fastlstm.streaming import _given, _timed
from fastlstm.structure import flatten, map_structure, unflatten, unwrapped

if TYPE_CHECKING:
    from fastlstm.model import Model


class RaggedProgram(Inlined):
    """A model's calls, those of models inside it among them, for rows that are padded to one length.

    The mask of the lengths goes with every sequence from the input on, whether its layers hand masks on or not:
    beside a mask of the model's own, which it narrows. Layers that see more than one step and heed no mask are
    refused, so that no row depends on how long the others are.

    Attributes
    ----------
    program : Program
        To be run on the padded input and the mask of its lengths.
    timed : list of bool
        By the number of a slot, whether it is a sequence.

    Raises
    ------
    FastLSTMError
        The model has several inputs, or one without steps.
    UnsupportedLayerError
        A layer would see the padding; it is named.
    """

    def __init__(self, model: Model) -> None:
        whole = model.program
        if len(whole.entries) != 1 or not _timed(whole)[0]:
            shapes = ", ".join(str(entry.batch_shape) for entry in whole.entries)
            raise FastLSTMError(
                f"{model.who}: got arrays of different lengths; expected one input with steps, not {shapes}"
            )
        super().__init__()
        self._steps: list[Step] = []
        (entry,) = whole.entries
        source = self._new_slot(entry.batch_shape, entry.dtype, True)
        outputs = self._through(whole, [source])
        self.program = copy.copy(whole)
        self.program.inputs, self.program.outputs = source, outputs
        self.program.steps, self.program.shapes = self._steps, self.shapes
        runs: list[Any] = []
        for run in self.program._compiled():
            filled = [run.target] if isinstance(run, _Chain) else [slot.number for slot in flatten(run.step.outputs)]
            runs += [run, *(_Narrowed(source.number, number) for number in filled if self.timed[number])]
        self.program._runs = runs

    def _step(self, step: Step, facts: list[tuple[Shape, str]]) -> Any:
        timed = any(self.timed[slot.number] for slot in slots_in([step.args, step.kwargs]))
        if timed and step.layer.holds_layers:
            return self._inner(step)
        flags = self._sequences(step, len(facts)) if timed else [False] * len(facts)
        slots = [self._new_slot(*fact, flag) for fact, flag in zip(facts, flags, strict=True)]
        outputs = unflatten(step.outputs, slots)
        self._steps.append(step._replace(outputs=outputs))
        return outputs

    def _inner(self, step: Step) -> Any:
        """The calls of a model inside the model."""
        layer: Any = step.layer
        given = flatten(layer._structured(step.args[0]))
        if len(step.args) != 1 or _given(step.kwargs):
            raise _refusal(layer, "is called with more than its inputs")
        for slot, entry in zip(given, layer.program.entries, strict=True):
            found, wanted = self.shapes[slot.number], entry.batch_shape
            if len(found) != len(wanted) or self._dtypes[slot.number] != entry.dtype:
                raise _refusal(layer, f"gets an input of shape {found} for one of {wanted}, {entry.dtype}")
        return self._through(layer.program, given)

    def _sequences(self, step: Step, outputs: int) -> list[bool]:
        """Which outputs of a call on sequences are sequences; raises where the layer would see padding."""
        layer: Any = step.layer
        slots = slots_in([step.args, step.kwargs])
        shapes = [self.shapes[slot.number] for slot in slots]
        if isinstance(layer, CalledOperation):
            self._check_operation(layer, step, shapes)
        elif len(step.args) != 1 or _given(step.kwargs):
            raise _refusal(layer, "is called with more than a sequence")
        elif hasattr(layer, "return_sequences") and type(layer).__module__.startswith("fastlstm."):
            _check_recurrent(layer)
            count = 2 if getattr(layer, "merge_mode", "") is None else 1
            return [layer.return_sequences] * count + [False] * (outputs - count)
        elif type(layer) is GlobalAveragePooling1D and layer.data_format == "channels_last":
            return [False]
        elif not layer.passes_through or len(slots) > 1:
            if type(layer).__name__ in (*CONVOLUTIONS, "Softmax"):  # a Softmax takes a mask for one of features
                raise _refusal(layer)
            _checked(layer, check_layer, layer, shapes)
        if not all(self.timed[slot.number] for slot in slots):
            raise _refusal(layer, "joins a sequence with what is there only once for a whole sequence")
        return [True] * outputs

    def _check_operation(self, layer: CalledOperation, step: Step, shapes: Sequence[Shape]) -> None:
        def spec(leaf: Any) -> Any:
            return Spec(self.shapes[leaf.number]) if isinstance(leaf, Slot) else leaf

        call = layer.resolve(*map_structure(spec, (step.args, step.kwargs)))
        if call[0].shape.__name__ != "get_item":
            _checked(layer, check_operation, layer, call, shapes)
        elif _checked(layer, index_of, layer, call[1][1], len(shapes[0]))[:2] != [ALL, ALL]:
            raise _refusal(layer, "takes some of the steps")

    def run(self, x: Any, mask: Any) -> list[Any]:
        """The outputs in flat order, sequences as a list of each row's own."""
        found, _ = self.program.run(x, mask)
        slots = flatten(self.program.outputs)
        leaves = flatten(found)
        return [trimmed(y, mask) if self.timed[slot.number] else y for slot, y in zip(slots, leaves, strict=True)]


class _Narrowed:
    """The mask of the lengths put on a sequence, beside its own."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target

    def run(self, values: list[Any], masks: list[Any]) -> None:
        own, used = masks[self.target], masks[self.source]
        masks[self.target] = used if own is None else own & used.reshape(used.shape + (1,) * (own.ndim - 2))


def _check_recurrent(layer: Any) -> None:
    if blanks(layer):
        raise _refusal(layer, "puts out zeros for what it masks (zero_output_for_mask=True)")
    if layer.return_sequences and sides_of(layer)[0].go_backwards:
        raise _refusal(layer, "puts the last step out first (go_backwards=True)")


def _checked(layer: Any, check: Callable[..., Any], *args: Any) -> Any:
    """What a rule for streams says, its refusal as one of ours."""
    try:
        return check(*args)
    except UnsupportedLayerError:
        raise _refusal(layer) from None


def _refusal(layer: Any, why: str = "does not compute each step by itself") -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"{layer.who} would see the padding of arrays of different lengths: it {why}; "
        "give it arrays of one length at a time"
    )


def rows_of(model: Model, inputs: Any) -> Any:
    """The rows of different lengths that are given for a model's one input; None for any other inputs."""
    if model._program is not None:
        names = model.input_names
        if isinstance(inputs, dict) and list(inputs) == names:
            inputs = inputs[names[0]]
        if len(names) > 1:
            return None
    return inputs if is_ragged(inputs) else None


def prepare_rows(model: Model, rows: Sequence[Any]) -> list[Any]:
    """Such rows as arrays that fit the model, which is built for them where it was not yet."""
    who = f"{model.who}: input"
    (first,) = checked(rows[:1], None, who)
    if model._program is None:
        model.build((None, None, *checked(rows, None, who)[0].shape[1:]))
    program = model.program
    if program.ragged is None:
        program.ragged = RaggedProgram(model)
    sample = program.entries[0].batch_shape[2:]
    if sample[-1:] == (1,) and first.ndim == len(sample):  # as in Keras, a last axis of one may be left out or put in
        sample = sample[:-1]
    elif first.ndim == len(sample) + 2:
        sample = (*sample, 1)
    return checked(rows, sample, who)


def run_prepared(model: Model, arrays: Sequence[Any]) -> list[Any]:
    """A model's outputs for prepared rows, in flat order; each sequence is a list of arrays, of each row its own."""
    program = model.program
    x, mask = padded(arrays, program.entries[0].dtype)
    (fitted,) = flatten(model._fitted(x))
    found: list[Any] = program.ragged.run(fitted, mask)
    return found


def nested(model: Model, leaves: Sequence[Any]) -> Any:
    """The outputs of :func:`run_prepared` as the model returns them."""
    outputs = model.program.outputs
    return leaves[0] if isinstance(outputs, Slot) else unwrapped(unflatten(outputs, leaves))
