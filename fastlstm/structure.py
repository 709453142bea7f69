"""Nests of lists, tuples and dictionaries with something at the leaves, walked as Keras walks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def map_structure(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """The same nest with ``function`` of each leaf (and of the others' leaves at its place)."""
    if isinstance(structure, dict):
        return {k: map_structure(function, v, *(o[k] for o in others)) for k, v in structure.items()}
    if isinstance(structure, list | tuple):
        parts = [map_structure(function, *leaves) for leaves in zip(structure, *others, strict=True)]
        return parts if isinstance(structure, list) else tuple(parts)
    return function(structure, *others)


def flatten(structure: Any) -> list[Any]:
    """The leaves in order; of a dictionary in the order of its sorted keys, as in Keras."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for part in structure for leaf in flatten(part)]
    return [structure]


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """The nest with these leaves in the order of :func:`flatten`."""
    left = iter(leaves)

    def fill(part: Any) -> Any:
        if isinstance(part, dict):
            filled = {key: fill(part[key]) for key in sorted(part)}
            return {key: filled[key] for key in part}
        if isinstance(part, list | tuple):
            parts = [fill(p) for p in part]
            return parts if isinstance(part, list) else tuple(parts)
        return next(left)

    return fill(structure)


def leaves_like(structure: Any, nest: Any) -> list[Any]:
    """What ``nest`` has at the leaves of ``structure``, itself a nest or not, in the order of :func:`flatten`."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in leaves_like(structure[key], nest[key])]
    if isinstance(structure, list | tuple):
        return [leaf for part, own in zip(structure, nest, strict=True) for leaf in leaves_like(part, own)]
    return [nest]


def unwrapped(nest: Any) -> Any:
    """A nest of outputs as Keras returns it: a tuple as a list, a list of one as that one."""
    if isinstance(nest, tuple | list):
        return nest[0] if len(nest) == 1 else list(nest)
    return nest


def is_shape(value: Any) -> bool:
    """Whether this is the shape of one tensor, and not a nest of shapes."""
    return isinstance(value, list | tuple) and all(size is None or isinstance(size, int) for size in value)


def map_shapes(function: Callable[[tuple[int | None, ...]], Any], shapes: Any) -> Any:
    """The same nest with ``function`` of each shape in it."""
    if is_shape(shapes):
        return function(tuple(shapes))
    if isinstance(shapes, dict):
        return {key: map_shapes(function, shape) for key, shape in shapes.items()}
    parts = [map_shapes(function, shape) for shape in shapes]
    return parts if isinstance(shapes, list) else tuple(parts)
