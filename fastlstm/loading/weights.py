"""Which array of an HDF5 file is which weight of a model; each is checked before its numbers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array, Layer
from fastlstm.loading.contents import Weights
from fastlstm.loading.hdf5 import Dataset, Group
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.legacy import writer_of
from fastlstm.loading.legacy_h5 import legacy_layout, weights_group
from fastlstm.loading.legacy_layers import Writer
from fastlstm.loading.legacy_weights import Leaf, arrange

if TYPE_CHECKING:
    from fastlstm.model import Model

Stored = list[tuple[str, Dataset]]
Layout = list[tuple[str, Stored]]

_ROOTS = ("layers", "_layer_checkpoint_dependencies")  # since Keras 2.14; in 2.12 and 2.13


def modern_weights(root: Group, model: Model) -> Weights:
    """The arrays of all layers from Keras 3's layout, where the classes of the layers name the groups.

    The names that the file gives its layers must be the model's, unless the model was built in code.

    Raises
    ------
    ModelFileError
        A weight is missing, is one too many, has another shape or type or belongs to another layer.
    """
    container = next((name for name in _ROOTS if name in root), None)
    if container is None:
        raise ModelFileError("weights: the HDF5 file has no group 'layers'; expected one that Keras 3 wrote")
    groups: dict[str, Group | None] = {"": root}

    def group_at(path: str) -> Group | None:
        if path not in groups:
            above, _, name = path.rpartition("/")
            inside = group_at(above)
            groups[path] = inside.group(name) if inside is not None and name in inside else None
        return groups[path]

    found = []
    for place, layer in model.tree():
        if place:
            parts = [container if part == "layers" else part for part in place.split("/")]
            found.append((layer, _layer(layer, "/".join(parts), group_at, model.written_by is not None)))
    return found


def _layer(layer: Layer, path: str, group_at: Callable[[str], Group | None], named: bool) -> dict[str, Array]:
    """One layer's own weights from its group."""
    own = group_at(f"{path}/vars")
    name = None if own is None else own.string("name")
    if named and name not in (None, layer.name):
        raise ModelFileError(
            f"weights: {path} is for a layer named {shown(name)}; expected {shown(layer.name)}"
        )
    shapes: dict[str, dict[str, tuple[int, ...]]] = {"": {}}
    for weight, shape in layer._expected.items():  # a weight may name a group inside the layer's
        shapes.setdefault(weight.rpartition("/")[0], {})[weight] = shape
    arrays: dict[str, Array] = {}
    for inner, wanted in shapes.items():
        place = "/".join(part for part in (path, layer.weights_group, inner, "vars") if part)
        group = group_at(place) or (group_at(f"{path}/_{inner}/vars") if inner else None)  # as tf.keras 2 has it
        if group is None and not wanted:
            continue
        if group is None:
            raise ModelFileError(f"weights: layer {shown(layer.name)}: {place} is missing")
        numbers = [str(i) for i in range(len(wanted))]
        if sorted(group.names) != sorted(numbers):
            raise ModelFileError(
                f"weights: layer {shown(layer.name)}: {place} holds {shown(sorted(group.names))}; "
                f"expected {len(wanted)} arrays: 0, 1, ..."
            )
        for number, (weight, shape) in zip(numbers, wanted.items(), strict=True):
            who = f"layer {shown(layer.name)}: {place}/{number} ({weight})"
            arrays[weight] = group.dataset(number).array(shape, layer.dtype, who)
    return arrays


def legacy_weights(root: Group, model: Model, version: str) -> Weights:
    """The arrays of all layers from the layout of Keras 1 and 2, where attributes give names and order.

    Raises
    ------
    ModelFileError
        As of :func:`modern_weights`.
    """
    found: Weights = []
    group = weights_group(root)
    backend, writer = group.string("backend"), writer_of(None, version)
    for layer, stored in _matched(model, legacy_layout(root)):
        shapes = [dataset.shape for _, dataset in stored]

        def read(i: int, dtype: str, stored: Stored = stored, shapes: list[tuple[int, ...]] = shapes) -> Array:
            return stored[i][1].array(shapes[i], dtype, shown(stored[i][0]))

        found += _arranged(layer, shapes, read, writer, backend)
    return found


def arranged(layer: Layer, arrays: Sequence[Array], version: str) -> Weights:
    """What a layer of a live Keras of this version gives as its weights, as ours has them."""

    def read(i: int, dtype: str) -> Array:
        return np.asarray(arrays[i], dtype)

    writer = writer_of(None, version)
    if writer.generation < 3:
        return _arranged(layer, [array.shape for array in arrays], read, writer, None)
    slots = [slot for _, leaf in layer.tree() for slot in _slots(leaf)]
    if [array.shape for array in arrays] != [shape for _, _, shape in slots]:
        raise ModelFileError(
            f"weights: layer {shown(layer.name)} has arrays of shapes {shown([a.shape for a in arrays])}; "
            f"expected {shown([shape for _, _, shape in slots])}"
        )
    return _by_layer(slots, list(arrays))


def _arranged(
    layer: Layer,
    shapes: list[tuple[int, ...]],
    read: Callable[[int, str], Array],
    writer: Writer,
    backend: str | None,
) -> Weights:
    """One layer's arrays, of which ``read`` gives one in a dtype, converted to what the layers of today hold."""
    leaves = list(_leaves(layer, writer.generation))
    places = arrange([_described(leaf, trained) for leaf, trained in leaves], shapes, writer, backend)
    weights: Weights = []
    for (leaf, _), (indices, form) in zip(leaves, places, strict=True):
        needed = indices[: len(indices) - form.skipped]
        weights += _by_layer(_slots(leaf), form.convert([read(i, leaf.dtype) for i in needed]))
    return weights


def _described(leaf: Layer, trained: bool) -> Leaf:
    config = {**leaf.get_config(), "trainable": trained}
    return Leaf(f"layer {shown(leaf.name)}", leaf.class_name, config, [shape for _, _, shape in _slots(leaf)])


def _by_layer(slots: list[tuple[Layer, str, tuple[int, ...]]], arrays: list[Array]) -> Weights:
    own: dict[int, tuple[Layer, dict[str, Array]]] = {}
    for (layer, name, shape), array in zip(slots, arrays, strict=True):
        if array.shape != shape:
            raise ModelFileError(
                f"weights: layer {shown(layer.name)}: {name} has shape {array.shape}; expected {shape}"
            )
        own.setdefault(id(layer), (layer, {}))[1][name] = np.array(array, layer.dtype, order="C")
    return list(own.values())


def _matched(model: Model, layout: Layout) -> list[tuple[Layer, Stored]]:
    """The layers with weights and their groups: by name where all names agree, else, as Keras does, in order."""
    layers = [layer for layer in model.layers if any(inner._expected for _, inner in layer.tree())]
    stored = [(name, weights) for name, weights in layout if weights]
    by_name = dict(stored)
    if len(layers) != len(stored):
        raise ModelFileError(
            f"weights: the file has {len(stored)} layers with weights ({shown([n for n, _ in stored])}); "
            f"the model has {len(layers)} ({shown([layer.name for layer in layers])})"
        )
    if len(by_name) == len(stored) and all(layer.name in by_name for layer in layers):
        return [(layer, by_name[layer.name]) for layer in layers]
    return [(layer, weights) for layer, (_, weights) in zip(layers, stored, strict=True)]


def _leaves(layer: Layer, generation: int) -> Iterator[tuple[Layer, bool]]:
    """The layer and those inside it that hold weights themselves, and whether training changes these.

    What is inside a layer that is not trained is not trained either. In Keras 3 so it is only for the outermost.
    """

    def inside(layer: Layer, trained: bool) -> Iterator[tuple[Layer, bool]]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if layer._expected:
            yield layer, trained and layer.trainable
        for inner in layer.sublayers().values():
            yield from inside(inner, trained and (layer.trainable or generation == 3))

    seen: set[int] = set()
    yield from inside(layer, layer.trainable)


def _slots(leaf: Layer) -> list[tuple[Layer, str, tuple[int, ...]]]:
    """The weights that a layer holds itself: whose, which, of what shape."""
    return [(leaf, name, shape) for name, shape in leaf._expected.items()]
