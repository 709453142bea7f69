"""Finding the variables of TensorFlow 1's cells among the names of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError, ModelFileError
from fastlstm.tf1.variables import LSTMVariables

#: What TensorFlow 2 puts behind a variable's path.
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
#: Variables without which a cell that has them would compute something else.
_TELLING = (
    "w_f_diag", "w_i_diag", "w_o_diag", "projection/kernel", "projection/weights", "W_F_diag", "W_O_diag", "W_P_0",
    "W_1", "state/gamma",
)  # fmt: skip
_SHOWN = 20

#: Through which cells of a MultiRNNCell, and which other parts, the path to a cell's variables goes.
Place = tuple[int | str, ...]


def load_cells(checkpoint: Any, scope: str, cells: Iterable[tuple[Place, LSTMVariables]]) -> None:
    """Give cells their variables, all or none.

    Parameters
    ----------
    checkpoint : str, path-like, or mapping of names to arrays
    scope : str
        Parts of the path to all of them.
    cells : iterable of (place, cell)
    """
    who = "load_checkpoint"
    if isinstance(checkpoint, str | os.PathLike):
        from fastlstm.loading.tensor_bundle import read_checkpoint  # here: a mapping needs no files

        who, checkpoint = repr(os.fspath(checkpoint)), read_checkpoint(checkpoint)
    if not isinstance(checkpoint, Mapping) or not isinstance(scope, str):
        raise FastLSTMError(
            f"{who}: got {type(checkpoint).__name__} and the scope {scope!r}; expected a path or a mapping, and text"
        )
    shapes = getattr(checkpoint, "shapes", None) or {name: np.shape(array) for name, array in checkpoint.items()}
    found = [(cell, _find(shapes, scope.strip("/"), place, cell, who)) for place, cell in cells]
    checked = [(cell, cell.checked({own: checkpoint[name] for own, name in names.items()})) for cell, names in found]
    for cell, arrays in checked:
        cell.keep(arrays)


def _find(shapes: Mapping[str, Any], scope: str, place: Place, cell: LSTMVariables, who: str) -> dict[str, str]:
    """The name in the checkpoint of each of a cell's variables: those of the one place that fits."""
    bare = {name.removesuffix(_SUFFIX): name for name in shapes}
    fitting: dict[str, dict[str, str]] = {}
    others: list[str] = []
    for path in _paths(bare, cell):
        if (scope and f"/{scope}/" not in f"/{path}/") or not _goes_through(path, place):
            continue
        names = {own: bare[name] for own, name in _names_at(path, bare, cell)}
        why = _misfit(path, names, bare, shapes, cell)
        if why is None:
            fitting[path] = names
        else:
            others.append(f"{path!r} {why}")
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    wanted = f"{cell.who} ({', '.join(cell.weight_names)})" + (f" as cell {place}" if place else "")
    where = f" under {scope!r}" if scope else ""
    if fitting:
        raise ModelFileError(f"{who}: {wanted} fits several places{where}: {_listed(fitting)}; give one as the scope")
    there = f"found: {_listed(others, '; ')}" if others else f"the names are {_listed(bare) or 'none'}"
    raise ModelFileError(f"{who}: {wanted} is not there{where}; {there}")


def _paths(bare: Mapping[str, str], cell: LSTMVariables) -> Iterator[str]:
    """Where a kernel is that could be the cell's."""
    kernel = cell.weight_names[0]
    for leaf in (kernel, *cell.also_saved_as.get(kernel, ())):
        yield from (name[: -len(leaf)].rstrip("/") for name in bare if f"/{name}".endswith(f"/{leaf}"))


def _names_at(path: str, bare: Mapping[str, str], cell: LSTMVariables) -> Iterator[tuple[str, str]]:
    """Those of the cell's variables that are at a place, by the name that they have there."""
    for own in cell.weight_names:
        for leaf in (own, *cell.also_saved_as.get(own, ())):
            name = f"{path}/{leaf}".lstrip("/")
            if name in bare:
                yield own, name
                break


def _goes_through(path: str, place: Place) -> bool:
    parts = iter(path.split("/"))
    wanted = [(f"cell_{p}", f"cell-{p}", f"Cell{p}") if isinstance(p, int) else (p,) for p in place]
    return all(any(part in spellings for part in parts) for spellings in wanted)


def _misfit(
    path: str, names: Mapping[str, str], bare: Mapping[str, str], shapes: Mapping[str, Any], cell: LSTMVariables
) -> str | None:
    """Why the variables at a place are not the cell's; None where they are."""
    if absent := [own for own in cell.weight_names if own not in names]:
        return f"has no {', '.join(absent)}"
    telling = {leaf: bare.get(f"{path}/{leaf}".lstrip("/")) for leaf in _TELLING}
    if over := [leaf for leaf, name in telling.items() if name and name not in names.values()]:
        return f"also has {', '.join(over)}, for which the cell needs other arguments"
    kernel = shapes[names[cell.weight_names[0]]]
    features = kernel[0] - cell.output_size if len(kernel) == 2 else 0
    for own, shape in cell.variable_shapes(max(1, features)).items():
        if tuple(shapes[names[own]]) != shape:
            return f"has {own} of shape {tuple(shapes[names[own]])}; expected {shape}"
    if path.endswith("cudnn_compatible_lstm_cell") and cell.forget_bias:
        return f"was trained by CudnnLSTM, which has forget_bias 0; the cell's is {cell.forget_bias}"
    return None


def _listed(names: Iterable[str], between: str = ", ") -> str:
    shown = sorted(names)
    more = f"{between}and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return between.join(shown[:_SHOWN]) + more
