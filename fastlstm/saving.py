"""Writing a model to a file: which format, and a new file in the place of an older one only when it is complete.

fastlstm's own format is one uncompressed .npz that NumPy alone can read. Member ``config`` holds UTF-8 JSON as
uint8: ``{"format": "fastlstm", "version": 1, "class_name": ..., "config": ..., "keras_version": ...}`` with the
model's configuration in Keras's form and, where it was loaded from a file, the version of the Keras that wrote
that one. Member ``I/NAME`` holds weight NAME of layer I, counted from 0 without InputLayers and operations, as
float32 or float64; weights of layers inside a layer have their places in it in front of their names.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Layer

if TYPE_CHECKING:
    from fastlstm.model import Model

    Writer = Callable[[Model, BinaryIO], None]

FORMAT, VERSION = "fastlstm", 1


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the file; one that exists is replaced only when the new one is complete.

    Parameters
    ----------
    model : Model
        Built.
    path : str or path-like
        Must end in ``.npz`` or ``.keras``.
    """
    path = os.fspath(path)
    write = writer_for(path)
    with replacing(path) as file:
        write(model, file)


def writer_for(path: str) -> Writer:
    """What writes files of the kind that the path's ending names."""
    if path.endswith(".npz"):
        return write_npz
    if path.endswith(".keras"):
        from fastlstm.saving_keras import write_keras  # here, so that importing fastlstm stays quick

        return write_keras
    raise FastLSTMError(f"save: {path!r} does not end in .npz or .keras, the formats that fastlstm writes")


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` once it is complete, and only then.

    Raises
    ------
    FastLSTMError
        There is something that is no regular file, or must not be written to.
    OSError
        It cannot be written.
    """
    target = os.path.realpath(path)  # a link stays, and leads to the new file
    if os.path.exists(target) and not (os.path.isfile(target) and os.access(target, os.W_OK)):
        raise FastLSTMError(f"{path!r}: cannot be written: not a regular file, or write-protected")
    partial = f"{target}.{secrets.token_hex(4)}.part"
    try:
        with open(partial, "x+b") as file:
            yield file
        os.replace(partial, target)
    finally:
        with suppress(OSError):
            os.remove(partial)


def as_json(value: Any) -> bytes:
    """A configuration as JSON that every reader takes."""
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise FastLSTMError(f"save: the model's configuration cannot be written as JSON: {error}") from None


# -- fastlstm's own format --------------------------------------------------------------------------


def places(model: Model) -> Iterator[tuple[str, Layer]]:
    """Every layer with weights, once, and where the file keeps them."""
    seen: set[int] = set()
    layers = [layer for layer in model.layers if layer.class_name != "InputLayer"]
    for i, layer in enumerate(layers):
        yield from layer.tree(str(i), seen)


def write_npz(model: Model, file: BinaryIO) -> None:
    """Write fastlstm's own format."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    head |= {"class_name": model.class_name, "config": model.get_config()}
    if model.written_by is not None:
        head["keras_version"] = model.written_by
    arrays = {f"{place}/{name}": w for place, layer in places(model) for name, w in layer._weights.items()}
    arrays["config"] = np.frombuffer(as_json(head), dtype=np.uint8)
    np.savez(file, allow_pickle=False, **arrays)
