"""Comparing what a model computes with what a live Keras computes, or with stored vectors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastlstm.array_files import inputs_among, read_npz
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.loading import MAX_FILE_SIZE
from fastlstm.loading.contents import contents_of
from fastlstm.loading.legacy import writer_of
from fastlstm.model import Model
from fastlstm.program import Slot
from fastlstm.sampling import TOLERANCE, errors, sample_inputs
from fastlstm.structure import flatten, unflatten


class Reference(NamedTuple):
    """What a model is to give.

    Attributes
    ----------
    source : str
        Where it comes from, for people.
    inputs, outputs : list of ndarray
        In flat order.
    """

    source: str
    inputs: list[Array]
    outputs: list[Array]


class Row(NamedTuple):
    """One output compared: the greatest difference, and in units of max(1, |reference|)."""

    name: str
    shape: tuple[int, ...]
    error: float
    relative: float
    allowed: float

    @property
    def passes(self) -> bool:
        """Whether the output is the reference's within what is allowed."""
        return self.relative <= self.allowed


def compare(model: Model, inputs: list[Array], expected: list[Array], allowed: float = TOLERANCE) -> list[Row]:
    """Each output of a model beside what it is to be.

    Raises
    ------
    FastLSTMError
        The outputs are others in number or shape.
    """
    structure = model.program.inputs
    given = inputs[0] if isinstance(structure, Slot) else unflatten(structure, inputs)
    found = [np.asarray(array) for array in flatten(model.predict(given, batch_size=max(1, len(inputs[0])), verbose=0))]
    shapes = [array.shape for array in found], [array.shape for array in expected]
    if shapes[0] != shapes[1]:
        raise FastLSTMError(f"{model.who}: outputs have the shapes {shapes[0]}; the reference's are {shapes[1]}")
    rows = zip(model.program.output_names(), shapes[0], errors(found, expected), strict=True)
    return [Row(name, shape, *pair, allowed) for name, shape, pair in rows]


def stored_reference(path: str, model: Model) -> Reference:
    """Inputs by the names of the model's or as in0, in1, ..., and outputs as out0, out1, ..., from an .npz file."""
    arrays = read_npz(path)
    count = len(flatten(model.program.outputs))
    names = [f"out{i}" for i in range(count)]
    if missing := [name for name in names if name not in arrays]:
        raise FastLSTMError(f"{path!r}: holds {', '.join(sorted(arrays))}; {', '.join(missing)} is missing")
    return Reference(path, inputs_among(arrays, model.input_names, path), [arrays[name] for name in names])


# -- a live Keras -----------------------------------------------------------------------------------


def live_reference(model: Model, path: str, weights: str | None = None) -> Reference:
    """What the generation of Keras that wrote a file computes on made-up inputs, in a process of its own.

    Parameters
    ----------
    model : Model
        Loaded from the file.
    path, weights : str
        As :func:`fastlstm.load_model` was given them. What fastlstm itself wrote, Keras 3 reads as ``.keras``.

    Raises
    ------
    FastLSTMError
        This Keras is not installed, or fails.
    """
    with ExitStack() as files, tempfile.TemporaryDirectory(prefix="fastlstm-") as folder:
        own = contents_of(path, MAX_FILE_SIZE, files).own
        modern = own or writer_of(None, model.written_by).generation == 3
        package = _package(path, model, modern)
        inputs = [np.asarray(array) for array in flatten(sample_inputs(model))]
        np.savez(f"{folder}/inputs.npz", **{f"in{i}": array for i, array in enumerate(inputs)})  # type: ignore[arg-type]
        job = {"package": package, "inputs": f"{folder}/inputs.npz", "outputs": f"{folder}/outputs.npz"}
        if own:
            model.save(f"{folder}/model.keras")
            job |= {"model": f"{folder}/model.keras", "weights": None}  # type: ignore[dict-item]
        else:
            job |= {
                "model": _linked(path, f"{folder}/model"),
                "weights": None if weights is None else _linked(weights, f"{folder}/weights"),  # type: ignore[dict-item]
            }
        _run(job, f"{path!r}: {package}")
        arrays = read_npz(f"{folder}/outputs.npz")
    version = str(arrays.pop("version"))
    through = ", which reads it as .keras" if own else ""
    return Reference(f"{package} {version}{through}", inputs, [arrays[f"out{i}"] for i in range(len(arrays))])


def _package(path: str, model: Model, modern: bool) -> str:
    """The package of the Keras that wrote the file."""
    for package in ("keras", "tf_keras"):
        try:
            major = int(metadata.version(package).split(".")[0])
        except (metadata.PackageNotFoundError, ValueError):
            continue
        if (major >= 3) is modern:
            return package
    wanted, version = "keras>=3" if modern else "tf_keras", str(model.written_by)[:40]
    raise FastLSTMError(
        f"{path!r}: was written by Keras {version!r}, and there is none of its generation to compare with: "
        f'pip install "{wanted}" tensorflow, or give --vectors'
    )


def _linked(path: str, place: str) -> str:
    """A link to the file by a name that ends as its content is, by which Keras goes; the file's own name may not."""
    if os.path.isdir(path):
        return path
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        ending = ".keras"
    elif start.lstrip().startswith(b"{"):
        ending = ".json"
    else:
        with ExitStack() as files:
            modern = contents_of(path, MAX_FILE_SIZE, files).kind.endswith("in the layout of Keras 3")
        ending = ".weights.h5" if modern else ".h5"
    os.symlink(os.path.abspath(path), place + ending)
    return place + ending


def _run(job: dict[str, Any], who: str) -> None:
    """Run :mod:`fastlstm.keras_process`; what it prints is not shown."""
    settings = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    program = Path(__file__).with_name("keras_process.py")
    # -P: the modules beside the program must not be taken for others of the same name
    command = [sys.executable, "-P", "-B", str(program), json.dumps(job)]
    ended = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False)
    if ended.returncode:
        lines = [line.strip() for line in ended.stderr.decode(errors="replace").splitlines() if line.strip()]
        why = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "no reason given")
        raise FastLSTMError(f"{who} cannot run it, so there is nothing to compare with: {why[:300]}")
