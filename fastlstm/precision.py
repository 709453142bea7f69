"""How the weights of recurrent layers are kept: for all layers of a model at once, and what it costs in accuracy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlstm.errors import FastLSTMError
from fastlstm.structure import flatten

if TYPE_CHECKING:
    from fastlstm.layers.base import Layer

Array = NDArray[Any]

#: How the weights of a recurrent layer can be kept.
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
#: What that may change in the output of an LSTM with usual weights (docs/precision.md), which lies within 1.
COST = {"float32": 0.0, "bfloat16": 1e-2, "float16": 1e-3, "int8": 2e-2}


def checked(precision: Any, who: str) -> str:
    """``precision``, if it is the name of one."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise FastLSTMError(f"{who}: precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    return precision


def recurrent_layers(layer: Layer) -> list[Any]:
    """The recurrent layers and cells in a layer or model, itself among them."""
    return [inner for _, inner in layer.tree() if inner.precisions]


def set_precision(layer: Layer, precision: str) -> None:
    """Keep the weights of all recurrent layers and cells in a layer or model so.

    Raises
    ------
    FastLSTMError
        There are none, or one of them computes in float64, though the precision is not ``"float32"``.
    """
    found = recurrent_layers(layer)
    if not found and precision != "float32":
        raise FastLSTMError(
            f"{layer.who}: precision is {precision!r}, which is for the weights of recurrent layers, "
            "and there are none: leave it out"
        )
    for inner in found:
        inner.precision = precision


# -- what it costs ----------------------------------------------------------------------------------


class Difference(NamedTuple):
    """How far an output lies from what it is with all weights in float32.

    Attributes
    ----------
    name : str
        Of the layer that gives it.
    max, mean, rms : float
        Over all numbers of the output, as they are. A number that is not finite counts as infinitely far from any
        other, and not at all from itself.
    span : float
        The greatest number of the output less the least one, in float32.
    """

    name: str
    max: float
    mean: float
    rms: float
    span: float

    @property
    def relative(self) -> tuple[float, float, float]:
        """max, mean and rms over the span; 0 over 0 is 0."""
        most, mean, rms = (error / self.span if self.span else np.inf if error else 0.0 for error in self[1:4])
        return most, mean, rms


@dataclass(frozen=True)
class PrecisionReport:
    """What the precisions of a model's layers cost and save; its text is a table.

    Attributes
    ----------
    precisions : dict of str
        By the names of the recurrent layers and cells, which are numbered where several have one name.
    outputs : tuple of Difference
        In flat order.
    nbytes, float32_nbytes : int
        Memory of the recurrent layers' packed weights as they are, and in float32.
    """

    precisions: dict[str, str]
    outputs: tuple[Difference, ...]
    nbytes: int
    float32_nbytes: int

    def __str__(self) -> str:
        layers = ", ".join(f"{name} {precision}" for name, precision in self.precisions.items())
        saved = f"{self.nbytes / 1e6:.3g} MB, of {self.float32_nbytes / 1e6:.3g} MB in float32"
        width, heads = max(6, *(len(output.name) for output in self.outputs)), ("max", "mean", "rms", "range")
        lines = [
            f"recurrent layers: {layers}",
            f"packed weights: {saved}",
            "difference from float32, and that over the output's range:",
            " ".join([f"{'output':<{width}}", *(f"{head:>8}" for head in heads), "|", *(f"{h:>8}" for h in heads[:3])]),
        ]
        for output in self.outputs:
            left, right = (" ".join(f"{x:8.1e}" for x in part) for part in (output[1:4], output.relative))
            lines.append(f"{output.name:<{width}} {left} {output.span:8.3g} | {right}")
        return "\n".join(lines)


def report(layer: Layer, run: Callable[[Any], Any], names: Callable[[int], list[str]]) -> PrecisionReport:
    """A layer or model beside itself in float32.

    Parameters
    ----------
    layer : Layer
        Is only read: what runs are copies, which share its weights.
    run : callable
        What is to be compared: the outputs, or a nest of them, of such a layer.
    names : callable
        Gives the outputs' names for their number.
    """
    if not layer.built:
        raise FastLSTMError(f"{layer.who}: precision_report needs weights; build the layer or model first")
    if not recurrent_layers(layer):
        raise FastLSTMError(f"{layer.who}: precision_report is about recurrent layers, and there are none")
    own = _twin(layer)
    full = _twin(own)
    set_precision(full, "float32")
    found, exact = ([np.asarray(array) for array in flatten(run(twin))] for twin in (own, full))
    outputs = tuple(_difference(*parts) for parts in zip(names(len(found)), found, exact, strict=True))
    sizes = (sum(inner._packed().nbytes for inner in recurrent_layers(twin)) for twin in (own, full))
    return PrecisionReport(_precisions(own), outputs, *sizes)


def _twin(layer: Layer) -> Layer:
    """A copy whose layers have the same arrays for weights, which nobody writes to."""
    shared: dict[int, Any] = {id(array): array for _, inner in layer.tree() for array in inner.arrays.values()}
    try:
        return copy.deepcopy(layer, shared)
    except Exception as error:  # whatever a layer of the caller's own holds
        raise FastLSTMError(f"{layer.who}: precision_report works on a copy, and there can be none: {error}") from error


def _difference(name: str, found: Array, exact: Array) -> Difference:
    found, exact = found.astype(np.float64), exact.astype(np.float64)
    if not exact.size:
        return Difference(name, 0.0, 0.0, 0.0, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(found - exact)
        error[(found == exact) | (np.isnan(found) & np.isnan(exact))] = 0
        error[np.isnan(error)] = np.inf
        rms = np.sqrt(np.mean(error**2))
    finite = exact[np.isfinite(exact)]
    span = finite.max() - finite.min() if finite.size else 0.0
    return Difference(name, float(error.max()), float(error.mean()), float(rms), float(span))


def _precisions(layer: Layer) -> dict[str, str]:
    precisions: dict[str, str] = {}
    for inner in recurrent_layers(layer):
        name, number = inner.name, 1
        while name in precisions:
            number += 1
            name = f"{inner.name} ({number})"
        precisions[name] = inner.precision
    return precisions
