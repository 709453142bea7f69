"""Writing a model to fastlstm's own file: one uncompressed .npz that NumPy alone can read.

Member ``config`` holds UTF-8 JSON as uint8: ``{"format": "fastlstm", "version": 1, "class_name": ...,
"config": ..., "keras_version": ...}`` with the model's configuration in Keras's form and, where it was
loaded from a file, the version of the Keras that wrote that one. Member ``I/NAME`` holds weight NAME of
layer I, counted from 0 without InputLayers and operations, as float32 or float64; weights of layers inside
a layer have their places in it in front of their names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Layer

if TYPE_CHECKING:
    from fastlstm.model import Model

FORMAT, VERSION = "fastlstm", 1


def places(model: Model) -> Iterator[tuple[str, Layer]]:
    """Every layer with weights, once, and where the file keeps them."""
    seen: set[int] = set()
    layers = [layer for layer in model.layers if layer.class_name != "InputLayer"]
    for i, layer in enumerate(layers):
        yield from layer.tree(str(i), seen)


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the file; one that exists is replaced only when the new one is complete.

    Parameters
    ----------
    model : Model
        Built.
    path : str or path-like
        Must end in ``.npz``.
    """
    path = os.fspath(path)
    if not path.endswith(".npz"):
        raise FastLSTMError(f"save: {path!r} does not end in .npz, the one format that fastlstm writes")
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    head |= {"class_name": model.class_name, "config": model.get_config()}
    if model.written_by is not None:
        head["keras_version"] = model.written_by
    try:
        text = json.dumps(head, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FastLSTMError(f"save: the model's configuration cannot be written as JSON: {error}") from None
    arrays = {f"{place}/{name}": w for place, layer in places(model) for name, w in layer._weights.items()}
    arrays["config"] = np.frombuffer(text.encode(), dtype=np.uint8)
    partial = f"{path}.part"
    try:
        with open(partial, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
