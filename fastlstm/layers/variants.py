"""What an LSTM may compute beside Keras's: its options, checked, and the weights that they bring."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from fastlstm import activations
from fastlstm.arrays import finite
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.layers.cells import flag
from fastlstm.layers.core import positive


class Gates(NamedTuple):
    """What an LSTM computes on the way, for every step: each (batch, steps, units), in processing order.

    Attributes
    ----------
    i, f, g, o : ndarray
        The input gate, the forget gate, the candidate and the output gate, after their activations.
    c : ndarray
        The cell state after the step. A step that a mask leaves out has zeros in all five.
    """

    i: Array
    f: Array
    g: Array
    o: Array
    c: Array


@dataclass(frozen=True)
class Variant:
    """An LSTM's options beyond Keras's; see :class:`fastlstm.layers.LSTM` for what each does."""

    peepholes: bool = False
    projection: int | None = None
    projection_bias: bool = False
    coupled_gates: str | None = None
    layer_norm: str | None = None
    norm_epsilon: float = 1e-8
    input_clip: float | None = None
    cell_clip: float | None = None
    projection_clip: float | None = None
    output_activation: Any = None

    def checked(self, who: str) -> Variant:
        """The options as plain bools, ints, floats and activations; FastLSTMError for the first that is wrong."""
        found: dict[str, Any] = {}
        for name in ("peepholes", "projection_bias"):
            found[name] = flag(getattr(self, name), f"{who}: {name}")
        for name in ("norm_epsilon", "input_clip", "cell_clip", "projection_clip"):
            found[name] = _positive(getattr(self, name), name != "norm_epsilon", f"{who}: {name}")
        for name, known in (("coupled_gates", ("input", "forget")), ("layer_norm", ("gates", "gates_and_state"))):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value in known):
                raise FastLSTMError(f"{who}: {name} is {value!r}; expected None, {known[0]!r} or {known[1]!r}")
        if self.projection is not None:
            found["projection"] = positive(self.projection, f"{who}: projection")
        elif found["projection_bias"] or found["projection_clip"]:
            name = "projection_bias" if found["projection_bias"] else "projection_clip"
            raise FastLSTMError(f"{who}: {name} needs a projection; give projection= the width of h")
        if self.output_activation is not None:
            what = f"{who}: output_activation"
            found["output_activation"] = activations.get_plain(self.output_activation, what, curves=True)
        return replace(self, **found)

    @property
    def gates(self) -> int:
        """How many gates the weights have."""
        return 3 if self.coupled_gates else 4

    @property
    def computes(self) -> bool:
        """Whether a step is another than Keras's, by these options alone."""
        return any(getattr(self, name) for name in _ARITHMETIC)

    def weight_shapes(self, units: int) -> dict[str, tuple[int, ...]]:
        """Of the weights that stand behind Keras's own."""
        width = self.projection or units
        shapes: dict[str, tuple[int, ...]] = {}
        if self.peepholes:
            shapes["peephole_kernel"] = (3, units)
        if self.layer_norm:
            shapes["norm_scale"] = (self.gates * units,)
        if self.layer_norm == "gates_and_state":
            shapes["state_norm_scale"] = shapes["state_norm_offset"] = (units,)
        if self.projection:
            shapes["projection_kernel"] = (units, width)
        if self.projection_bias:
            shapes["projection_bias"] = (width,)
        return shapes

    def for_plan(self, functions: tuple[activations.Activation, ...], weights: dict[str, Array]) -> dict[str, Any]:
        """As the binding takes it.

        Parameters
        ----------
        functions : (gate, candidate, output)
        weights : dict of ndarray
            The layer's.
        """
        arrays: dict[str, Any] = {name: weights[name] for name in _ARRAYS if name in weights}
        if "state_norm_scale" in weights:
            arrays["state_norm"] = np.stack([weights["state_norm_scale"], weights["state_norm_offset"]])
        names = ("gate", "candidate", "output")
        return {
            **arrays,
            **{n: (f.number, f.alpha, f.beta) for n, f in zip(names, functions, strict=True)},
            "coupling": self.coupled_gates,
            "outputs": self.projection or 0,
            "norm_epsilon": self.norm_epsilon,
            **{name: getattr(self, name) or 0.0 for name in ("input_clip", "cell_clip", "projection_clip")},
        }

    def config(self) -> dict[str, Any]:
        """The options that are not as in Keras, for a configuration."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        found = {field.name: given[field.name] for field in fields(self) if given[field.name] != field.default}
        if not self.layer_norm:
            found.pop("norm_epsilon", None)  # nothing reads it
        if self.output_activation:
            found["output_activation"] = self.output_activation.name
        return found


#: The weights that the binding takes as they are.
_ARRAYS = ("peephole_kernel", "norm_scale", "projection_kernel", "projection_bias")
#: The options that change what a step computes.
_ARITHMETIC = ("peepholes", "projection", "coupled_gates", "layer_norm", "input_clip", "cell_clip", "output_activation")


def _positive(value: Any, optional: bool, who: str) -> float | None:
    if value is None and optional:
        return None
    number = finite(value)
    if number is None or number <= 0:
        raise FastLSTMError(
            f"{who} is {reprlib.repr(value)}; expected a number above 0" + (", or None" if optional else "")
        )
    return number
