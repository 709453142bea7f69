"""HDF5 files with the weights of any model, in the layouts of every Keras, and changed a little."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from hostile_hdf5 import FLOAT, Maker, attribute

from fastlstm.layers import Layer
from fastlstm.loading.legacy_layers import Writer
from fastlstm.loading.legacy_weights import stored_forms
from fastlstm.loading.weights import _leaves
from fastlstm.model import Model

Shape = tuple[int, ...]
MOST = 20_000  # numbers in all
_FIXED = struct.pack("<4BI", 0x13, 1, 0, 0, 24)  # strings of 24 bytes
_VARIABLE = struct.pack("<4BI", 0x19, 1, 0, 0, 16) + FLOAT[:8]


def weights_for(model: Model, chance: Random, text: bytes | None) -> bytes:
    """A file for the model: in the layout of Keras 3, or with its configuration or in the older layout."""
    maker = Maker()
    numbers = maker.add(chance.randbytes(16) * MOST)
    if text is None and chance.random() < 0.5:
        return maker.file(maker.group({"layers": _modern(model, maker, numbers, chance)}))
    writer = Writer(chance.choice((1, 2, 2, 3)), 0, chance.random() < 0.5)
    inside, attributes = _older(model, maker, numbers, chance, writer)
    stated = attribute(b"keras_version\0", 1, f"{writer.generation}.0.0".encode().ljust(24), _FIXED)
    if text is None:
        return maker.file(maker.group(inside, attributes, stated))
    body = struct.pack("<H6xQ", 1, len(text)) + text + bytes(-len(text) % 8)
    heap = maker.add(b"GCOL" + struct.pack("<B3xQ", 1, 16 + len(body)) + body)
    config = attribute(b"model_config\0", 1, struct.pack("<IQI", len(text), heap, 1), _VARIABLE)
    return maker.file(maker.group({"model_weights": maker.group(inside, attributes)}, config, stated))


def small(model: Model) -> bool:
    """Whether the weights are few enough to be written here."""
    shapes = [shape for _, layer in model.tree() for shape in layer._expected.values()]
    return sum(_count(shape) for shape in shapes) < MOST // 4


def _count(shape: Shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _arrays(shapes: list[Shape], maker: Maker, numbers: int, chance: Random) -> list[int]:
    """Arrays of these shapes, one after the other in the file; now and then of another."""
    found = []
    for shape in shapes:
        if chance.random() < 0.02:
            shape = chance.choice((shape[::-1], (*shape, 1), shape[1:], (), tuple(n + 1 for n in shape)))
        count = _count(shape)
        at = len(maker.data) - 4 * count if chance.random() < 0.01 else numbers
        found.append(maker.array(shape, at))
    return found


def _modern(model: Model, maker: Maker, numbers: int, chance: Random) -> int:
    tree: dict[str, Any] = {}
    for place, layer in model.tree():
        for name, shape in layer._expected.items():
            inner = name.rpartition("/")[0]
            parts = [part for part in (place, layer.weights_group, inner, "vars") if part]
            here = tree
            for part in "/".join(parts).split("/"):
                here = here.setdefault(part, {})
            here[str(len(here))] = _arrays([shape], maker, numbers, chance)[0]
    return _grouped(tree.get("layers", {}), maker, chance)


def _grouped(tree: dict[str, Any], maker: Maker, chance: Random) -> int:
    members = {name: part if isinstance(part, int) else _grouped(part, maker, chance) for name, part in tree.items()}
    if members and chance.random() < 0.01:
        del members[chance.choice(list(members))]
    return maker.group(members)


def _older(
    model: Model, maker: Maker, numbers: int, chance: Random, writer: Writer
) -> tuple[dict[str, int], bytes]:
    groups, names = {}, []
    for layer in model.layers:
        shapes = _stored(layer, chance, writer)
        if not shapes and chance.random() < 0.5:
            continue
        arrays = _arrays(shapes, maker, numbers, chance)
        words = b"".join(b"w%022d\0" % i for i, _ in enumerate(shapes))
        listed = attribute(b"weight_names\0", len(shapes), words, _FIXED)
        name = f"layer{len(names)}"
        groups[name] = maker.group({f"w{i:022}": array for i, array in enumerate(arrays)}, listed)
        names.append(name)
    if names and chance.random() < 0.02:
        names.append(chance.choice(names))
    return groups, attribute(b"layer_names\0", len(names), b"".join(n.encode().ljust(24, b"\0") for n in names), _FIXED)


def _stored(layer: Layer, chance: Random, writer: Writer) -> list[Shape]:
    """The shapes that a layer's weights have in one of the forms in which they may be stored."""
    found = []
    for leaf, _ in _leaves(layer, writer.generation):
        shapes = list(leaf._expected.values())
        found += chance.choice(stored_forms(leaf.class_name, leaf.get_config(), shapes, writer, None)).shapes
    return found
