"""Reading a .keras file: config.json says what the model is, model.weights.h5 holds its numbers."""

from __future__ import annotations

from fastlstm.errors import ModelFileError
from fastlstm.loading import jsonrules
from fastlstm.loading.architecture import plan
from fastlstm.loading.archive import Archive
from fastlstm.model import Sequential

WEIGHTS = "model.weights.h5"
MAX_MEMBERS = 64

# What the HDF5 file of a model may have besides its weights: an optimizer's copies of them, up to
# seven times eight bytes a weight, and the tables that name the groups.
_BYTES_PER_WEIGHT = 64
_BYTES_PER_LAYER = 2**16
_BYTES_AT_LEAST = 2**20


def read(archive: Archive, max_params: int) -> Sequential:
    """The model in an open archive that has a member ``config.json``."""
    if len(archive.members) > MAX_MEMBERS:
        raise ModelFileError(f"has {len(archive.members)} members; a .keras file has at most {MAX_MEMBERS}")
    config = jsonrules.parse(archive.read("config.json", jsonrules.MAX_BYTES), "config.json")
    described = plan(config, max_params)
    if WEIGHTS not in archive.members:
        other = "model.weights.npz" in archive.members
        found = "model.weights.npz, which holds pickled objects and is never read" if other else "none"
        raise ModelFileError(f"weights: found {found}; expected {WEIGHTS}, which Keras writes by default")
    limit = _BYTES_AT_LEAST + _BYTES_PER_LAYER * len(described.slots) + _BYTES_PER_WEIGHT * described.params
    from fastlstm.loading import weights_h5  # here, since it imports pyfive

    return described.model(weights_h5.read(archive.read(WEIGHTS, limit), described.slots))
