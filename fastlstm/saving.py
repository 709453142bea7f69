"""Writing a model to fastlstm's own file: one uncompressed .npz that NumPy alone can read.

Member ``config`` holds UTF-8 JSON as uint8: ``{"format": "fastlstm", "version": 1, "class_name": ...,
"config": ...}`` with the model's configuration in Keras's form. Member ``I/NAME`` holds weight NAME
of layer I, counted from 0 without the InputLayer, as float32 or float64.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array

FORMAT, VERSION = "fastlstm", 1


def write(
    path: str | os.PathLike[str], class_name: str, config: dict[str, Any], weights: list[dict[str, Array]]
) -> None:
    """Write the file; one that exists is replaced only when the new one is complete.

    Parameters
    ----------
    path : str or path-like
        Must end in ``.npz``.
    class_name, config
        The model's class and configuration.
    weights : list of dict
        Per layer, its arrays by name.
    """
    path = os.fspath(path)
    if not path.endswith(".npz"):
        raise FastLSTMError(f"save: {path!r} does not end in .npz, the one format that fastlstm writes")
    try:
        text = json.dumps(
            {"format": FORMAT, "version": VERSION, "class_name": class_name, "config": config},
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise FastLSTMError(f"save: the model's configuration cannot be written as JSON: {error}") from None
    arrays = {f"{i}/{name}": w for i, layer in enumerate(weights) for name, w in layer.items()}
    arrays["config"] = np.frombuffer(text.encode(), dtype=np.uint8)
    partial = f"{path}.part"
    try:
        with open(partial, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
