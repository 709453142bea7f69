"""State dicts in torch's names: which weights a mapping or a file has for a module."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.layers.core import positive
from fastlstm.torch.packed import as_numbers

if TYPE_CHECKING:
    from fastlstm.loading.tensors import Stored

Shapes = dict[str, tuple[int, ...]]
MAX_FILE_SIZE = 2 * 2**30
_SHOWN = 8  # names in an error


class IncompatibleKeys(NamedTuple):
    """What a state dict lacked and had too many, by name."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def opened(
    path: str | bytes | os.PathLike[str], max_file_size: int, who: str
) -> AbstractContextManager[dict[str, Stored]]:
    """The tensors of a file by name, to be read within the ``with`` statement."""
    from fastlstm.loading import torch_files  # which stands above this module

    if not isinstance(path, str | bytes | os.PathLike):  # a number would be an open file's
        raise FastLSTMError(f"{who}: path is {path!r}; expected a str, bytes or path-like")
    return torch_files.opened(os.fsdecode(path), positive(max_file_size, f"{who}: max_file_size"))


def from_file(
    path: str | bytes | os.PathLike[str], max_file_size: int, wanted: Shapes, prefix: str, strict: bool, who: str
) -> tuple[dict[str, Array], IncompatibleKeys]:
    """The weights of these names and shapes that a file has, wherever in it they are, without prefix."""
    with opened(path, max_file_size, who) as found:
        root = _root(list(found), prefix, wanted, who)
        shapes = {name: stored.shape for name, stored in found.items()}
        chosen, result = _chosen(shapes, wanted, root, strict, who)
        return {name: found[root + name].read() for name in chosen}, result


def from_mapping(
    given: Any, wanted: Shapes, prefix: str, strict: bool, who: str
) -> tuple[dict[str, Array], IncompatibleKeys]:
    """The weights of these names and shapes that a mapping has, without prefix."""
    if not all(hasattr(type(given), method) for method in ("keys", "__getitem__")):
        found = type(given).__name__
        raise FastLSTMError(f"{who}: got {found}; expected a mapping of names to arrays, or a path")
    here = [name for name in wanted if prefix + name in given]
    arrays = {name: as_numbers(given[prefix + name], f"{who}: {prefix + name!r}") for name in here}
    shapes: Shapes = {str(name): () for name in given}
    shapes |= {prefix + name: array.shape for name, array in arrays.items()}
    return arrays, _chosen(shapes, wanted, prefix, strict, who)[1]


def _chosen(given: Shapes, wanted: Shapes, prefix: str, strict: bool, who: str) -> tuple[list[str], IncompatibleKeys]:
    """The weights that are given, without prefix; raises where they do not fit."""
    found = {name.removeprefix(prefix): shape for name, shape in given.items() if name.startswith(prefix)}
    missing = [prefix + name for name in wanted if name not in found]
    unexpected = [prefix + name for name in found if name not in wanted]
    chosen = [name for name in wanted if name in found]
    wrong = [
        f"{prefix + name!r} has shape {found[name]}, expected {wanted[name]}"
        for name in chosen
        if found[name] != wanted[name]
    ]
    if strict:
        named = (("missing", missing), ("unexpected", unexpected))
        wrong = [f"{what} {_listed(names)}" for what, names in named if names] + wrong
    if wrong:
        hint = "" if chosen else f"; there are {_listed(list(given))}"
        raise FastLSTMError(f"{who}: {'; '.join(wrong[:_SHOWN])}{hint}")
    return chosen, IncompatibleKeys(missing, unexpected)


def _root(names: list[str], prefix: str, wanted: Collection[str], who: str) -> str:
    """What stands before the names of the one module of this prefix that is in a file, the prefix included."""
    last = prefix.rpartition(".")[2]  # of a prefix that ends with no dot, and is one word with the weight's name
    roots, others = dict[str, None](), dict[str, None]()
    for name in names:
        word = name.rpartition(".")[2]
        root = name.removesuffix(word.removeprefix(last))
        if word.removeprefix(last) in wanted and (root == prefix or root.endswith("." + prefix)):
            roots[root] = None
        elif word in wanted:
            others[name.removesuffix(word)] = None
    if prefix in roots:
        return prefix
    if len(roots) == 1:
        return next(iter(roots))
    if roots:
        raise FastLSTMError(f"{who}: the file has several such modules: give as prefix one of {_listed(list(roots))}")
    hint = f"; prefixes that would do: {_listed(list(others))}" if others else f"; there are {_listed(names)}"
    raise FastLSTMError(f"{who}: the file has no {prefix + next(iter(wanted))!r}{hint}")


def _listed(names: list[str]) -> str:
    """Names for people, not too many and none too long."""
    texts = [repr(n) if len(str(n)) <= 100 else f"{str(n)[:97]!r}..." for n in names[:_SHOWN]]
    return ", ".join(texts) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "no names"
