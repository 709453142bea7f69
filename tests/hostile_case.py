"""What a hostile file is in the collection, and the formats that one attack takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
from samples import WITH_CONFIG, WITH_LEGACY, WITH_WEIGHTS, weights


class Link(NamedTuple):
    """A symbolic link in place of a file."""

    target: str


class Pipe(NamedTuple):
    """A named pipe in place of a file; nobody writes to it."""


Files = dict[str, Any]  # bytes, Link or Pipe by name
Make = Callable[[], Files]
#: Threat, name, and what makes the files in each format.
Attack = tuple[str, str, dict[str, Make]]
Attacks = Iterator[Attack]


def with_config(config: Any, formats: tuple[str, ...] = tuple(WITH_CONFIG)) -> dict[str, Make]:
    """A configuration, or the text of one, in every format that has one."""
    return {form: lambda make=WITH_CONFIG[form]: make(config) for form in formats}


def with_weights(make_h5: Callable[[], bytes]) -> dict[str, Make]:
    """An HDF5 file in the place of weights in the layout of Keras 3."""
    return {form: lambda make=make: make(make_h5()) for form, make in WITH_WEIGHTS.items()}


def with_changed(change: Callable[[h5py.File], Any], **options: Any) -> dict[str, Make]:
    """A change to the weights in the layout of Keras 3."""
    return with_weights(lambda: weights(change, **options))


def with_legacy(change: Callable[[h5py.File, Any], Any], **options: Any) -> dict[str, Make]:
    """A change to a file, and the group with the weights in it, in the layout of Keras 1 and 2."""
    return {form: lambda make=make: make(change, **options) for form, make in WITH_LEGACY.items()}


def model(make: Callable[[], bytes], form: str) -> dict[str, Make]:
    """One file in one format."""
    return {form: lambda: {"model": make()}}
