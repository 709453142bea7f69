"""The layout of weights in .h5 files, the same since Keras 1: a group per layer, names in attributes."""

from __future__ import annotations

from fastlstm.errors import ModelFileError
from fastlstm.loading.hdf5 import MAX_LAYERS, Dataset, Group

WEIGHTS = "model_weights"
MAX_NESTING = 32  # of names, whose slashes are groups


def legacy_layout(root: Group) -> list[tuple[str, list[tuple[str, Dataset]]]]:
    """The layers of a file and their weights, in the order that the attributes give; no number is read.

    Parameters
    ----------
    root : Group
        Of the file.

    Returns
    -------
    list of (layer name, list of (weight name, Dataset))
        Layers without weights too. Only the order says which layer of the model each one belongs to:
        Keras matches those that have weights, one after the other.

    Raises
    ------
    ModelFileError
        The file is not in this layout, or a weight that it lists is missing.
    """
    group = weights_group(root)
    names = group.strings("layer_names")
    if names is None:
        raise ModelFileError(f"HDF5: {group.path} has no attribute layer_names; expected weights as Keras writes them")
    if len(names) > MAX_LAYERS:
        raise ModelFileError(f"HDF5: {group.path} lists {len(names)} layers; expected at most {MAX_LAYERS}")
    return [(name, _weights(_inside(group, name, {}))) for name in names]


def weights_group(root: Group) -> Group:
    """Where a file's layers are: in itself where it lists them, else in the group that a whole model has."""
    return root.group(WEIGHTS) if WEIGHTS in root and root.strings("layer_names") is None else root


def _weights(group: Group) -> list[tuple[str, Dataset]]:
    names = group.strings("weight_names")
    if names is None:
        raise ModelFileError(f"HDF5: {group.path} has no attribute weight_names")
    opened: dict[str, Group] = {}
    found = []
    for name in names:
        folder, _, last = name.rpartition("/")
        found.append((name, _inside(group, folder, opened).dataset(last)))
    return found


def _inside(group: Group, path: str, opened: dict[str, Group]) -> Group:
    """The group at a path, whose slashes nest; each is opened once."""
    parts = path.split("/") if path else []
    if len(parts) > MAX_NESTING:
        raise ModelFileError(f"HDF5: {group.path} lists a name of {len(parts)} parts; expected at most {MAX_NESTING}")
    for i in range(len(parts)):
        part = "/".join(parts[: i + 1])
        if part not in opened:
            opened[part] = group.group(parts[i])
        group = opened[part]
    return group
