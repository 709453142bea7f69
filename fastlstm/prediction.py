"""Running a model over many rows, a batch at a time: what ``Model.predict`` does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm import console
from fastlstm.errors import FastLSTMError
from fastlstm.layers.core import positive
from fastlstm.ragged_program import nested, prepare_rows, rows_of, run_prepared
from fastlstm.structure import flatten, leaves_like, map_structure, unflatten, unwrapped

if TYPE_CHECKING:
    from fastlstm.model import Model


def predict(
    model: Model,
    x: Any,
    batch_size: int | None,
    verbose: str | int,
    steps: int | None,
    callbacks: Iterable[Any] | None,
) -> Any:
    """See :meth:`fastlstm.Model.predict`."""
    who = f"{model.who}: predict"
    if verbose not in ("auto", 0, 1, 2):
        raise FastLSTMError(f"{who}: verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
    most = None if steps is None else positive(steps, f"{who}: steps")
    if callbacks is not None and not isinstance(callbacks, Iterable):
        raise FastLSTMError(f"{who}: callbacks is {callbacks!r}; expected a list of objects")
    told = list(callbacks or ())
    if is_stream(x):
        if batch_size is not None:
            raise FastLSTMError(f"{who}: batch_size is {batch_size}; an iterator gives its own batches: leave it out")
        total = most if most is not None else len(x) if hasattr(x, "__len__") else None
        return _gathered(model, batches_of(x, most, who), total, verbose, told, who)
    size = 32 if batch_size is None else positive(batch_size, f"{who}: batch_size")
    lengths = rows_of(model, x)
    if lengths is not None:
        return _by_length(model, lengths if most is None else lengths[: most * size], size, verbose, told)
    model.program_for(x, size)
    arrays = model.flat_inputs(x)
    rows = next((len(a) for a in arrays if a is not None), 0)
    structure = model.program.inputs
    if 0 < rows <= size and verbose != 2 and not told:
        return model(unflatten(structure, arrays))
    if most is not None:
        rows = min(rows, most * size)
    if not rows:
        return _empty(model, arrays)

    def batches() -> Iterator[Any]:
        for start in range(0, rows, size):
            end = min(rows, start + size)
            yield unflatten(structure, [None if a is None else a[start:end] for a in arrays])

    return _filled(model, batches(), rows, -(-rows // size), verbose, told)


def is_stream(x: Any) -> bool:
    """Whether this gives batches one after the other, and is no array or nest of arrays."""
    if hasattr(x, "shape") or isinstance(x, list | tuple | dict | str | bytes) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or hasattr(x, "__getitem__")


def batches_of(x: Any, most: int | None, who: str) -> Iterator[Any]:
    """The inputs of each batch; of ``(x, y)`` and ``(x, y, weights)`` only x."""
    indexed = not hasattr(x, "__iter__")
    batches: Iterable[Any] = (x[i] for i in range(len(x))) if indexed else x
    for number, batch in enumerate(batches):
        if number == most:
            return
        if isinstance(batch, tuple):
            if not 1 <= len(batch) <= 3:
                raise FastLSTMError(f"{who}: a batch is a tuple of {len(batch)}; expected (x,), (x, y) or (x, y, w)")
            batch = batch[0]
        yield map_structure(np.asarray, batch) if isinstance(batch, list | dict) else np.asarray(batch)


def _run(model: Model, batch: Any, number: int, told: list[Any]) -> Any:
    _tell(told, "on_predict_batch_begin", number, {})
    outputs = model(batch)
    _tell(told, "on_predict_batch_end", number, {"outputs": outputs})
    return outputs


def _filled(
    model: Model, batches: Iterator[Any], rows: int, total: int, verbose: str | int, told: list[Any]
) -> Any:
    """The outputs of batches that are ``rows`` rows together, written where they belong."""
    progress = console.Progress(total, verbose)
    wholes: list[Any] = []
    structure: Any = None
    start = 0
    _tell(told, "on_predict_begin", {})
    for number, batch in enumerate(batches):
        structure = _run(model, batch, number, told)
        parts = flatten(structure)
        if not wholes:
            wholes = [np.empty((rows, *part.shape[1:]), part.dtype) for part in parts]
        for whole, part in zip(wholes, parts, strict=True):
            whole[start : start + len(part)] = part
        start += len(parts[0])
        progress.step(number + 1)
    _tell(told, "on_predict_end", {})
    return unflatten(structure, wholes)


def _by_length(model: Model, rows: Sequence[Any], size: int, verbose: str | int, told: list[Any]) -> Any:
    """The outputs for rows of different lengths, the longest rows first; in the order of the rows."""
    stateful = any(getattr(layer, "stateful", False) for _, layer in model.tree())  # where a row has its place
    arrays = prepare_rows(model, rows)
    order = [*range(len(rows))] if stateful else sorted(range(len(rows)), key=lambda i: -len(arrays[i]))
    total = -(-len(rows) // size)
    progress = console.Progress(total, verbose)
    wholes: list[Any] = []
    _tell(told, "on_predict_begin", {})
    for number in range(total):
        places = order[number * size : (number + 1) * size]
        _tell(told, "on_predict_batch_begin", number, {})
        parts = run_prepared(model, [arrays[i] for i in places])
        _tell(told, "on_predict_batch_end", number, {"outputs": nested(model, parts)})
        if not wholes:
            wholes = [
                [None] * len(rows) if isinstance(part, list) else np.empty((len(rows), *part.shape[1:]), part.dtype)
                for part in parts
            ]
        for whole, part in zip(wholes, parts, strict=True):
            if isinstance(whole, np.ndarray):
                whole[places] = part
            else:
                for place, row in zip(places, part, strict=True):
                    whole[place] = row
        progress.step(number + 1)
    _tell(told, "on_predict_end", {})
    return nested(model, wholes)


def _gathered(
    model: Model, batches: Iterator[Any], total: int | None, verbose: str | int, told: list[Any], who: str
) -> Any:
    """The outputs of batches of which nobody knows how many rows they have."""
    progress = console.Progress(total, verbose)
    gathered: list[list[Any]] = []
    structure: Any = None
    _tell(told, "on_predict_begin", {})
    for number, batch in enumerate(batches):
        if rows_of(model, batch) is not None:
            raise FastLSTMError(f"{who}: the iterator gave arrays of different lengths; give them in one list instead")
        model.program_for(batch)
        structure = _run(model, batch, number, told)
        gathered.append(flatten(structure))
        progress.step(number + 1)
    if len(gathered) != total:
        progress.end(len(gathered))
    _tell(told, "on_predict_end", {})
    if not gathered:
        raise FastLSTMError(f"{who}: the iterator gave no batches")
    return unflatten(structure, [np.concatenate(parts) for parts in zip(*gathered, strict=True)])


def _tell(told: list[Any], event: str, *args: Any) -> None:
    for callback in told:
        if hasattr(callback, event):
            getattr(callback, event)(*args)


def _empty(model: Model, arrays: list[Any]) -> Any:
    """The outputs for no rows."""
    program = model.program
    shapes = [None if a is None else a.shape for a in arrays]
    found = program.output_shapes(unflatten(program.inputs, shapes))
    empty = [
        np.empty([0, *(size or 0 for size in shape[1:])], dtype)
        for shape, dtype in zip(leaves_like(program.outputs, found), program.output_dtypes(), strict=True)
    ]
    return unwrapped(unflatten(program.outputs, empty))
