"""Parts of a stream that follow each other and that the library computes in one call a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from fastlstm import _core
from fastlstm.layers.base import Layer
from fastlstm.layers.core import Dense
from fastlstm.program import _Call, _Chain, slots_in
from fastlstm.stream_parts import LastStep, Part, Recurrent


class Linked:
    """Recurrent and dense layers, each reading what the one before gives, without masks.

    Attributes
    ----------
    core : ChainCore
        All of them for one step.
    source, target : int
        The slot that the first reads, and that the last fills.
    """

    def __init__(self, parts: list[Any], batch_size: int) -> None:
        self.parts, self.source, self.target = parts, parts[0].source, parts[-1].target
        layers = [part for part in parts if not isinstance(part, LastStep)]
        self.dtype = _layer(layers[0]).dtype
        links = [part.stream if isinstance(part, Recurrent) else part.layers[0]._packed() for part in layers]
        self.core = _core.ChainCore(links, batch_size)
        self._timed = len(layers) == len(parts) and all(getattr(part, "sequences", True) for part in layers)

    def run(self, values: list[Any], masks: list[Any]) -> None:
        x = values[self.source]
        if x.shape[1] == 1 and self.core.fits(x[:, 0], None):
            y = self.core.step(x[:, 0], None)
            values[self.target] = y[:, None] if self._timed else y
        else:
            for part in self.parts:
                part.run(values, masks)


def linked(parts: list[Part], outputs: Iterable[int], batch_size: int) -> list[Part]:
    """The parts, with those that can be linked as one part; ``outputs`` are the slots that are read at the end."""
    read = Counter(outputs)
    for part in parts:
        read.update(_sources(part))
    groups: list[list[Any]] = []
    for part in parts:
        group = groups[-1] if groups else []
        if _goes_on(group, part) and read[group[-1].target] == 1:
            group.append(part)
        else:
            groups.append([part])
    found: list[Part] = []
    for group in groups:
        native = all(map(_is_native, group)) and any(isinstance(part, Recurrent) for part in group)
        found += [Linked(group, batch_size)] if native else group
    return found


def _is_native(part: Any) -> bool:
    """Whether the library computes the part, or there is nothing to compute in a step."""
    if isinstance(part, Recurrent):
        return isinstance(part.stream, _core.StreamCore) and part.last is None
    if isinstance(part, LastStep):
        return not part.axis
    return isinstance(part, _Chain) and type(part.layers[0]) is Dense


def _goes_on(group: list[Any], part: Any) -> bool:
    if not group or not _is_native(part) or not _is_native(group[0]) or isinstance(group[0], LastStep):
        return False
    alike = isinstance(part, LastStep) or _layer(part).dtype == _layer(group[0]).dtype
    return alike and part.source == group[-1].target


def _layer(part: Any) -> Layer:
    layer: Layer = part.layer if isinstance(part, Recurrent) else part.layers[0]
    return layer


def _sources(part: Any) -> list[int]:
    """The slots that a part reads."""
    if isinstance(part, _Call):
        return [slot.number for slot in slots_in([part.step.args, part.step.kwargs])]
    return [part.source, *([part.mask] if getattr(part, "mask", None) is not None else [])]
