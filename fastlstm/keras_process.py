"""A program of its own, run by ``fastlstm verify``: what a live Keras makes of a file. It imports nothing of ours."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np


def main(job: dict[str, Any]) -> None:
    """Run a model on stored inputs and store its outputs.

    Parameters
    ----------
    job : dict
        ``package`` is ``"keras"`` or ``"tf_keras"``; ``model`` a path, and ``weights`` one or None; ``inputs`` an
        .npz file with in0, in1, ...; ``outputs`` the one to write, with out0, out1, ... and Keras's ``version``.
    """
    keras = importlib.import_module(job["package"])
    modern = int(keras.__version__.split(".")[0]) >= 3
    with np.load(job["inputs"]) as stored:
        inputs = [stored[f"in{i}"] for i in range(len(stored.files))]
    with nullcontext() if modern else _without_lambdas(job["package"]):
        model = _opened(keras, job["model"], modern)
        if job["weights"] is not None:
            model.load_weights(job["weights"])
    outputs = model.predict(inputs if len(inputs) > 1 else inputs[0], batch_size=len(inputs[0]), verbose=0)
    flat = keras.tree.flatten(outputs) if modern else importlib.import_module("tensorflow").nest.flatten(outputs)
    arrays: dict[str, Any] = {f"out{i}": np.asarray(array) for i, array in enumerate(flat)}
    np.savez(job["outputs"], version=np.array(keras.__version__), **arrays)


def _opened(keras: Any, path: str, modern: bool) -> Any:
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            return keras.models.model_from_json(file.read())
    # code in the file is never run
    return keras.models.load_model(path, compile=False, **({"safe_mode": True} if modern else {}))


def _without_lambdas(package: str) -> Any:
    """Keras 2 itself refuses the code in a Lambda only in its newest format, unless it is told so."""
    return importlib.import_module(f"{package}.src.saving.serialization_lib").SafeModeScope(True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
