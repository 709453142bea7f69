"""Which layers compute each step of a sequence by itself, which look back, and which no stream can compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers.base import Layer, Shape

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
#: Operations on elements; numbers may stand among their arguments.
_ELEMENTWISE = frozenset(
    "Add Subtract Multiply TrueDivide Power FloorDivide Mod Negative Absolute Equal NotEqual Less LessEqual Greater"
    " GreaterEqual".split()
)


def refusal(layer: Layer, why: str) -> UnsupportedLayerError:
    """The error for a layer that cannot be computed step by step."""
    return UnsupportedLayerError(f"{layer.who} cannot stream: it {why}; call the model on whole sequences")


def reach(layer: Any) -> int:
    """How many steps before the present one a convolution sees."""
    reach: int = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    if layer.data_format != "channels_last":
        raise refusal(layer, f"has its steps on the last axis (data_format={layer.data_format!r})")
    if layer.strides[0] != 1:
        raise refusal(layer, f"gives fewer steps than it reads (strides={layer.strides[0]})")
    if reach and layer.padding != "causal":
        raise refusal(layer, f"has padding={layer.padding!r}, not 'causal'")
    return reach


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


def check_steps_alone(layer: Layer, shapes: Sequence[Shape], numbers: Sequence[Any]) -> None:
    """Raise where the layer does not compute each step of its inputs by itself.

    Parameters
    ----------
    layer : Layer
    shapes : sequence of shapes
        Of the sequences that it gets, (batch, steps, ...).
    numbers : sequence
        What else stands among its arguments.
    """
    rank, own = len(shapes[0]), type(layer).__module__.startswith("fastlstm.")
    name = layer.class_name if layer.is_operation else type(layer).__name__
    axes: Iterable[int]
    if layer.is_operation and name in _ELEMENTWISE:
        # a constant that reaches the axis of steps is one for some number of them
        axes = (1,) if any(np.ndim(number) > rank - 2 for number in numbers) else ()
    elif own and not layer.is_operation and name in _AXES:
        axes = _AXES[name](layer, rank)
    elif own and name in CONVOLUTIONS:
        axes = (-1,)
    else:
        ends = name == "Bidirectional"
        raise refusal(layer, "reads the end of a sequence first" if ends else "needs more than one step at a time")
    if {axis % rank for axis in axes} & {0, 1}:
        raise refusal(layer, "computes along the axis of steps")
    if {len(shape) for shape in shapes} != {rank} or len({shape[1] for shape in shapes} - {None}) > 1:
        raise refusal(layer, f"joins sequences of shapes {', '.join(map(str, shapes))}")
