"""Reading a .keras file or directory: config.json says what the model is, model.weights.h5 holds its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from fastlstm.errors import ModelFileError
from fastlstm.loading import jsonrules
from fastlstm.loading.contents import Contents, Weights
from fastlstm.loading.jsonrules import shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastlstm.model import Model

WEIGHTS = ("model.weights.h5", "variables.h5")  # since Keras 2.12; in 2.11
MAX_MEMBERS = 64

# What the HDF5 file of a model may have besides its weights: an optimizer's copies of them, up to
# seven times eight bytes a weight, and the tables that name the groups.
_BYTES_PER_WEIGHT = 64
_BYTES_PER_LAYER = 2**16
_BYTES_AT_LEAST = 2**20


class Members(Protocol):
    """Files by name: a zip archive or a directory."""

    @property
    def members(self) -> Collection[str]: ...

    def read(self, name: str, limit: int) -> bytes: ...


def contents(files: Members, kind: str) -> Contents:
    """What the files say; the weights are read when the model has been described, and then at once."""
    if len(files.members) > MAX_MEMBERS:
        raise ModelFileError(f"has {len(files.members)} members; a .keras file has at most {MAX_MEMBERS}")
    if "config.json" not in files.members:
        raise ModelFileError("is no model: it has neither config.json nor config.npy")
    config = jsonrules.parse(files.read("config.json", jsonrules.MAX_BYTES), "config.json")
    version = None
    if "metadata.json" in files.members:
        metadata = jsonrules.parse(files.read("metadata.json", jsonrules.MAX_BYTES), "metadata.json")
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        if version is not None and not isinstance(version, str):
            raise ModelFileError(f"metadata.json: keras_version is {shown(version)}; expected a string")
    return Contents(kind, config, version or "3", lambda model: _weights(files, model))


def _weights(files: Members, model: Model) -> Weights:
    name = next((name for name in WEIGHTS if name in files.members), None)
    if name is None:
        other = "model.weights.npz" in files.members
        found = "model.weights.npz, which holds pickled objects and is never read" if other else "none"
        raise ModelFileError(f"weights: found {found}; expected {WEIGHTS[0]}, which Keras writes by default")
    layers = [layer for _, layer in model.tree()]
    params = sum(math.prod(shape) for layer in layers for shape in layer._expected.values())
    limit = _BYTES_AT_LEAST + _BYTES_PER_LAYER * len(layers) + _BYTES_PER_WEIGHT * params
    from fastlstm.loading.hdf5 import File  # here: our own files need none of it
    from fastlstm.loading.weights import modern_weights

    return modern_weights(File(files.read(name, limit), len(layers)).root, model)
