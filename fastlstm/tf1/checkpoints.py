"""Finding the variables of TensorFlow 1's cells among the names of a checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fastlstm.arrays import numbers_in
from fastlstm.errors import FastLSTMError, ModelFileError
from fastlstm.tf1.variables import LSTMVariables

#: What TensorFlow 2 puts behind a variable's path, and TensorFlow 1 behind a variable's name.
_SUFFIXES = re.compile(r"(/\.ATTRIBUTES/VARIABLE_VALUE|:0)$")
#: Variables without which a cell that has them would compute something else.
_TELLING = (
    "w_f_diag", "w_i_diag", "w_o_diag", "projection/kernel", "projection/weights", "W_F_diag", "W_O_diag", "W_P_0",
    "W_1", "state/gamma",
)  # fmt: skip
#: A part of a path that numbers the cells of a MultiRNNCell, and one that is named for a cell.
_NUMBERED = re.compile(r"(?:cell[_-]|Cell)([0-9]+)")
_CELL = re.compile("cell|lstm", re.IGNORECASE)
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
        A cell that has several places takes what is at those of them that are there.
    """
    who = "load_checkpoint"
    if isinstance(checkpoint, str | os.PathLike):
        from fastlstm.loading.tensor_bundle import read_checkpoint  # here: a mapping needs no files

        who, checkpoint = repr(os.fspath(checkpoint)), read_checkpoint(checkpoint)
    if not isinstance(checkpoint, Mapping) or not isinstance(scope, str):
        raise FastLSTMError(
            f"{who}: got {type(checkpoint).__name__} and the scope {scope!r}; expected a path or a mapping, and text"
        )
    if unnamed := [name for name in checkpoint if not isinstance(name, str)]:
        raise FastLSTMError(f"{who}: the mapping has the key {unnamed[0]!r}; expected names of variables")
    search = _Search(checkpoint, scope.strip("/"), who)
    places: dict[int, list[Place]] = {}
    distinct: dict[int, LSTMVariables] = {}
    for place, cell in cells:
        places.setdefault(id(cell), []).append(place)
        distinct[id(cell)] = cell
    found = [(cell, search.arrays(places[key], cell)) for key, cell in distinct.items()]
    for cell, arrays in found:
        cell.keep(arrays)


class _Search:
    """A checkpoint in which cells are looked for under a scope."""

    def __init__(self, checkpoint: Mapping[str, Any], scope: str, who: str) -> None:
        self.checkpoint, self.scope, self.who = checkpoint, scope, who
        #: The full names by those without what TensorFlow puts behind them; the shapes, None for what is no numbers.
        self.bare = {_SUFFIXES.sub("", name): name for name in checkpoint}
        shapes = getattr(checkpoint, "shapes", None)
        self.shapes: Mapping[str, Any] = shapes or {name: _shape(array) for name, array in checkpoint.items()}

    def arrays(self, places: list[Place], cell: LSTMVariables) -> dict[str, np.ndarray]:
        """A cell's variables from the places that it has, which must agree if it has several of them."""
        found: dict[str, dict[str, np.ndarray]] = {}
        errors: list[ModelFileError] = []
        for place in places:
            try:
                path, names = self.only(place, cell)
            except _NotThereError as error:
                errors.append(error)
            else:
                found[path] = cell.checked({own: self.checkpoint[name] for own, name in names.items()})
        if not found:
            raise ModelFileError(str(errors[0]))
        first, *others = found.values()
        if any(not np.array_equal(other[own], first[own], equal_nan=True) for other in others for own in first):
            raise ModelFileError(
                f"{self.who}: {cell.who} is one cell, but the checkpoint has weights of its own at each of "
                f"{_listed(found)}; make a cell for each"
            )
        return first

    def only(self, place: Place, cell: LSTMVariables) -> tuple[str, dict[str, str]]:
        """The one path that fits, and the name in the checkpoint of each of the cell's variables."""
        fitting: dict[str, dict[str, str]] = {}
        others: dict[str, str] = {}
        for path in self.candidates(place, cell):
            names = {own: self.bare[name] for own, name in _names_at(path, self.bare, cell)}
            why = self.misfit(path, names, cell)
            if why is None:
                fitting[path] = names
            else:
                others[path] = f"{path!r} {why}"
        wanted = f"{cell.who} ({', '.join(cell.weight_names)})" + (f" as cell {place}" if place else "")
        where = f" under {self.scope!r}" if self.scope else ""
        if len(fitting) > 1:
            raise ModelFileError(
                f"{self.who}: {wanted} fits several places{where}: {_listed(fitting)}; give one as the scope"
            )
        if not fitting:
            there = _listed(others.values(), "; ")
            there = f"found: {there}" if there else f"the names are {_listed(self.bare) or 'none'}"
            raise _NotThereError(f"{self.who}: {wanted} is not there{where}; {there}")
        ((path, names),) = fitting.items()
        cells = [why for other, why in others.items() if _is_cells(other, cell)]
        if not self.scope and not place and cells and not _is_cells(path, cell):  # such as a Dense of that shape
            raise ModelFileError(
                f"{self.who}: {wanted} fits {path!r}, which is not named for a cell, and no cell: "
                f"{_listed(cells, '; ')}; give the place as the scope"
            )
        return path, names

    def candidates(self, place: Place, cell: LSTMVariables) -> list[str]:
        """Paths under the scope that end in the place and have a kernel which could be the cell's.

        Where a MultiRNNCell is in another, its cells have numbers too: a path through the inner one ends as one
        of the outer does, which is then the one meant.
        """
        roots = {
            path: root
            for path in _paths(self.bare, cell)
            if not self.scope or f"/{self.scope}/" in f"/{path}/"
            if (root := _root(path, place)) is not None
        }
        outer = set(roots.values())
        return [path for path, root in roots.items() if not any(_is_inside(root, other) for other in outer)]

    def misfit(self, path: str, names: Mapping[str, str], cell: LSTMVariables) -> str | None:
        """Why the variables at a place are not the cell's; None where they are."""
        if absent := [own for own in cell.weight_names if own not in names]:
            return f"has no {', '.join(absent)}"
        telling = {leaf: self.bare.get(f"{path}/{leaf}".lstrip("/")) for leaf in _TELLING}
        if over := [leaf for leaf, name in telling.items() if name and name not in names.values()]:
            return f"also has {', '.join(over)}, for which the cell needs other arguments"
        found = {own: self.shapes[name] for own, name in names.items()}
        if textual := [own for own, shape in found.items() if shape is None]:
            return f"has {', '.join(textual)} that are no arrays of numbers"
        kernel = found[cell.weight_names[0]]
        features = kernel[0] - cell.output_size if len(kernel) == 2 else 0
        for own, shape in cell.variable_shapes(max(1, features)).items():
            if tuple(found[own]) != shape:
                return f"has {own} of shape {tuple(found[own])}; expected {shape}"
        if path.endswith("cudnn_compatible_lstm_cell") and cell.forget_bias:
            return f"was trained by CudnnLSTM, which has forget_bias 0; the cell's is {cell.forget_bias}"
        return None


class _NotThereError(ModelFileError):
    """No place fits: another one that the cell has may."""


def _shape(array: Any) -> tuple[int, ...] | None:
    numbers = numbers_in(array)
    return None if numbers is None else numbers.shape


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


def _root(path: str, place: Place) -> tuple[str, ...] | None:
    """What is in front of the place in a path that ends in it; None for one that does not."""
    parts = path.split("/")
    numbers = [_NUMBERED.fullmatch(part) for part in parts]
    marks = [int(number[1]) if number else part for number, part in zip(numbers, parts, strict=True)]
    at = [n for n, mark in enumerate(marks) if isinstance(mark, int) or mark in place]
    at = at[len(at) - len(place) :] if len(at) >= len(place) else []
    if tuple(marks[n] for n in at) != place:
        return None
    return tuple(parts[: at[0]]) if place else ()


def _is_inside(root: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether the cells at a root are cells of a cell at an outer one."""
    beyond = root[len(outer) :]
    return bool(beyond) and root[: len(outer)] == outer and _NUMBERED.fullmatch(beyond[0]) is not None


def _is_cells(path: str, cell: LSTMVariables) -> bool:
    last = path.rpartition("/")[2]
    return last == cell.name or _CELL.search(last) is not None


def _listed(names: Iterable[str], between: str = ", ") -> str:
    shown = sorted(names)
    more = f"{between}and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return between.join(shown[:_SHOWN]) + more
