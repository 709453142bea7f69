"""Which layers compute each step of a sequence by itself, which look back, and which no stream can compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers.base import Layer, Shape
from fastlstm.layers.op_shapes import Spec
from fastlstm.layers.op_table import Entry

ALL, LAST = slice(None), slice(-1, None)
#: Slices that mean these.
_FORMS = (
    (ALL, (ALL, slice(0, None), slice(None, None, 1), slice(0, None, 1))),
    (LAST, (LAST, slice(-1, None, 1))),
)


def _nothing(layer: Any, rank: int) -> Iterable[int]:
    return ()


def _features(layer: Any, rank: int) -> Iterable[int]:
    return (-1,)


def _axis(layer: Any, rank: int) -> Iterable[int]:
    axes = layer.axis
    return range(rank) if axes is None else axes if isinstance(axes, list | tuple) else (axes,)


def _scaled(layer: Any, rank: int) -> Iterable[int]:
    shapes = (np.shape(layer.scale), np.shape(layer.offset))
    return {-1 - i for shape in shapes for i, size in enumerate(reversed(shape)) if size != 1}


def _unshared(layer: Any, rank: int) -> Iterable[int]:
    return set(range(1, rank)) - set(layer.shared_axes or ())


#: Layers that compute one element from one of each input, or one place from others along some axes: those axes.
#: Where none of them is that of the steps, the layer computes each step by itself.
_AXES: dict[str, Callable[[Any, int], Iterable[int]]] = {
    **dict.fromkeys(("Embedding", "TimeDistributed", "ReLU", "LeakyReLU", "ELU"), _nothing),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), _nothing),
    **dict.fromkeys(("Dense", "Activation", "Masking"), _features),
    **dict.fromkeys(("Concatenate", "Softmax", "BatchNormalization", "LayerNormalization"), _axis),
    **dict.fromkeys(("UnitNormalization", "Normalization"), _axis),
    "Rescaling": _scaled,
    "PReLU": _unshared,
}
#: Convolutions over the steps, which keep a window of them.
CONVOLUTIONS = ("Conv1D", "DepthwiseConv1D", "SeparableConv1D")
#: Operations by the names of the rules for their shapes: those on elements, those along the axes that they
#: name, and those that put the axes in that they name.
_ELEMENTWISE = frozenset(("same", "elementwise", "where", "clipped"))
_ALONG = frozenset(("along", "reduced", "placed", "concatenate", "squeeze", "split", "unstack", "repeat"))
_INSERTING = frozenset(("stack", "expand_dims", "one_hot"))


def refusal(layer: Layer, why: str) -> UnsupportedLayerError:
    """The error for a layer that cannot be computed step by step."""
    return UnsupportedLayerError(f"{layer.who} cannot stream: it {why}; call the model on whole sequences")


def reach(layer: Any) -> int:
    """How many steps before the present one a convolution sees."""
    steps: int = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    if layer.data_format != "channels_last":
        raise refusal(layer, f"has its steps on the last axis (data_format={layer.data_format!r})")
    if layer.strides[0] != 1:
        raise refusal(layer, f"gives fewer steps than it reads (strides={layer.strides[0]})")
    if steps and layer.padding != "causal":
        raise refusal(layer, f"has padding={layer.padding!r}, not 'causal'")
    return steps


def index_of(layer: Layer, key: Any, rank: int) -> list[Any]:
    """What is taken along each axis of ``x[key]``."""
    parts = list(key) if isinstance(key, list | tuple) else [key]
    places = [i for i, part in enumerate(parts) if part is Ellipsis]
    if any(not isinstance(part, slice) and type(part) is not int and part is not Ellipsis for part in parts):
        raise refusal(layer, f"takes {key!r}")
    at = places[0] if places else len(parts)
    missing = [ALL] * (rank - len(parts) + len(places))
    parts = parts[:at] + missing + parts[at + len(places) :]
    return [next((form for form, same in _FORMS if part in same), part) for part in parts]


def check_operation(layer: Layer, call: tuple[Entry, list[Any], dict[str, Any]], shapes: Sequence[Shape]) -> None:
    """Raise where an operation does not compute each step of its inputs by itself.

    Parameters
    ----------
    layer : Layer
    call : tuple
        What the operation resolves a call to, with a Spec for each tensor.
    shapes : sequence of shapes
        Of the sequences that it gets, (batch, steps, ...).
    """
    entry, values, config = call
    rule = entry.shape.__name__
    rank, axis = len(shapes[0]), config.get("axis")
    axes = range(rank) if axis is None else axis if isinstance(axis, list | tuple) else (axis,)
    _check_alike(layer, shapes)
    if max(map(_rank, [*values, *config.values()])) > rank - 2:
        raise refusal(layer, "gets an array for some number of steps")
    if rule in _ELEMENTWISE:
        return
    if rule in _INSERTING:
        rank += len(axes)
    elif rule not in _ALONG:
        raise refusal(layer, "needs more than one step at a time")
    _check_axes(layer, axes, rank)


def _rank(value: Any) -> int:
    """How many axes of constants there are in an argument."""
    if isinstance(value, Spec):
        return 0
    if isinstance(value, list | tuple):
        return max(map(_rank, value), default=0) + (not any(isinstance(part, Spec) for part in value))
    return np.ndim(value)


def check_layer(layer: Layer, shapes: Sequence[Shape]) -> None:
    """Raise where a layer does not compute each step of its inputs, of these shapes, by itself."""
    rank, name = len(shapes[0]), type(layer).__name__
    if not type(layer).__module__.startswith("fastlstm.") or name == "FunctionLayer":
        raise refusal(layer, "is not one of fastlstm's own")
    if name in _AXES:
        _check_axes(layer, _AXES[name](layer, rank), rank)
    elif name not in CONVOLUTIONS:
        ends = name == "Bidirectional"
        raise refusal(layer, "reads the end of a sequence first" if ends else "needs more than one step at a time")
    _check_alike(layer, shapes)


def _check_axes(layer: Layer, axes: Iterable[int], rank: int) -> None:
    if {axis % rank for axis in axes} & {0, 1}:
        raise refusal(layer, "computes along the axis of steps")


def _check_alike(layer: Layer, shapes: Sequence[Shape]) -> None:
    ranks, steps = {len(shape) for shape in shapes}, {shape[1] for shape in shapes}
    # one step beside several would be broadcast to all of them
    if len(ranks) > 1 or len(steps - {None}) > 1 or (1 in steps and len(steps) > 1):
        raise refusal(layer, f"joins sequences of shapes {', '.join(map(str, shapes))}")
