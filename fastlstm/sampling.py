"""Trying models out: inputs made up of the shapes, types and values that a model takes, and outputs compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers import Embedding, Masking, TimeDistributed
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.program import Slot, Step, slots_in
from fastlstm.structure import flatten, unflatten

if TYPE_CHECKING:
    from fastlstm.model import Model

#: Largest difference from a reference value v that passes, in units of max(1, |v|).
TOLERANCE = 1e-5
SEED = 20260101
#: For axes of any size, the first that all layers take: a convolution may need many steps.
_SIZES = (6, 25, 101)
_IDS = 10  # where nobody knows how many there are
_MOST = 2**27  # numbers in one array: a file can ask for any size
#: Layers that hand the values of their input on, whatever order they put them in.
_MOVERS = (
    "Cast", "Concatenate", "Cropping1D", "Dropout", "ExpandDims", "Flatten", "GetItem", "Permute", "RepeatVector",
    "Reshape", "Slice", "SpatialDropout1D", "Split", "Squeeze", "Stack", "Transpose",
)  # fmt: skip


class Use(NamedTuple):
    """What an input is read as.

    Attributes
    ----------
    ids : int or None
        The values must be ids below this.
    padding : float or None
        A step that holds this is a masked one.
    """

    ids: int | None = None
    padding: float | None = None

    def with_(self, other: Use) -> Use:
        """What suits both."""
        ids = min((n for n in (self.ids, other.ids) if n is not None), default=None)
        return Use(ids, other.padding if self.padding is None else self.padding)


def sample_inputs(model: Model, rows: int = 5, seed: int = SEED) -> Any:
    """A nest of arrays that the model can be called with; the same for the same model and seed.

    Parameters
    ----------
    model : Model
        Built, or at least described: no weights are needed.
    rows : int
        Samples, unless the model says how many it takes.
    seed : int

    Returns
    -------
    ndarray, or a nest of them as the model's inputs are one
        Ids in their vocabulary where an Embedding reads them, otherwise numbers of a standard normal
        distribution; the last steps of all rows but the first are padding where a layer makes masks of it.

    Raises
    ------
    FastLSTMError
        No sizes that were tried for the axes of any size suit all layers.
    """
    rng = np.random.default_rng(seed)
    program = model.program
    shapes = _shapes(model, rows)
    arrays = [
        _array(rng, shape, layer.dtype, use, place)
        for place, (shape, layer, use) in enumerate(zip(shapes, program.entries, uses(model), strict=True))
    ]
    return arrays[0] if isinstance(program.inputs, Slot) else unflatten(program.inputs, arrays)


def _shapes(model: Model, rows: int) -> list[tuple[int, ...]]:
    program = model.program
    error: FastLSTMError | None = None
    for size in _SIZES:
        largest = max(math.prod(_sized(shape, rows, size)) for shape in program.shapes)
        if largest > _MOST:
            raise FastLSTMError(f"{model.who} has an array of {largest} numbers; at most {_MOST} are tried out")
        shapes = [_sized(layer.batch_shape, rows, size) for layer in program.entries]
        try:
            program.output_shapes(shapes[0] if isinstance(program.inputs, Slot) else unflatten(program.inputs, shapes))
            return shapes
        except FastLSTMError as found:
            error = found
    raise FastLSTMError(f"{model.who} takes no inputs whose free sizes are one of {_SIZES}: {error}")


def _sized(shape: Shape, rows: int, size: int) -> tuple[int, ...]:
    return tuple((size if axis else rows) if n is None else n for axis, n in enumerate(shape))


def _array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, use: Use, place: int) -> Array:
    kind = np.dtype(dtype).kind
    if use.ids is not None or kind in "iub":
        array: Array = rng.integers(0, 2 if kind == "b" else use.ids or _IDS, shape)
    else:
        array = rng.standard_normal(shape)
    if use.padding is not None and array.ndim > 1:
        steps = shape[1]
        for row in range(1, len(array)):
            array[row, steps - (row + place) % steps :] = use.padding  # in each input other steps
    return array.astype(dtype)


def uses(model: Model) -> list[Use]:
    """What each input of a model is read as, in flat order."""
    found: dict[int, Use] = {}
    for step in reversed(model.program.steps):
        for slot, use in _read(step, found):
            found[slot.number] = found.get(slot.number, Use()).with_(use)
    return [found.get(slot.number, Use()) for slot in flatten(model.program.inputs)]


def _read(step: Step, found: dict[int, Use]) -> Iterator[tuple[Slot, Use]]:
    """The slots that a call reads, and as what; ``found`` has what its outputs are read as."""
    layer = step.layer
    while isinstance(layer, TimeDistributed):
        layer = layer.layer
    slots = slots_in([step.args, step.kwargs])
    if isinstance(layer, Embedding):
        yield slots[0], Use(layer.input_dim, 0 if layer.mask_zero else None)
    elif hasattr(layer, "program"):
        yield from zip(slots, uses(cast("Model", layer)), strict=False)
    elif isinstance(layer, Masking):
        value = np.ravel(layer.mask_value)
        yield slots[0], _outputs(step, found).with_(Use(None, float(value[0]) if value.size == 1 else None))
    elif layer.passes_through or _name(layer) in _MOVERS:
        for slot in slots:
            yield slot, _outputs(step, found)


def _outputs(step: Step, found: dict[int, Use]) -> Use:
    use = Use()
    for slot in slots_in(step.outputs):
        use = use.with_(found.get(slot.number, Use()))
    return use


def _name(layer: Layer) -> str:
    """The layer's class, or the operation that it is."""
    function = getattr(layer, "function", None)
    return function if isinstance(function, str) else layer.class_name


def errors(found: list[Array], expected: list[Array]) -> list[tuple[float, float]]:
    """For each pair of arrays the greatest difference, and in units of max(1, |expected|)."""
    pairs = []
    for a, b in zip(found, expected, strict=True):
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(a - b)
            relative = difference / np.maximum(1, np.abs(b))
        same = (a == b) | (np.isnan(a) & np.isnan(b))  # infinities as well
        worst = [np.where(same, 0, np.nan_to_num(d, nan=np.inf)).max(initial=0) for d in (difference, relative)]
        pairs.append((float(worst[0]), float(worst[1])))
    return pairs
