"""Reading the weights in a model.weights.h5: pyfive walks the file, everything it finds is checked here.

Only what Keras writes is accepted: groups of hard links, and contiguous arrays of IEEE floats inside
the file. pyfive parses headers; the numbers are taken from the file's bytes directly, since pyfive
1.3 fills what is missing with zeros and misplaces some large arrays that it reads from memory.
"""

from __future__ import annotations

import struct

import numpy as np
from pyfive.dataobjects import DataObjects
from pyfive.misc_low_level import SuperBlock

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array, snake_case
from fastlstm.loading.architecture import Slot
from fastlstm.loading.jsonrules import shown

#: Where in its group each class keeps its variables, one place after the other; ``vars`` if not listed.
_PLACES = {
    "LSTM": (("cell", "vars"),),
    "Bidirectional": (("forward_layer", "cell", "vars"), ("backward_layer", "cell", "vars")),
}
_ROOTS = ("layers", "_layer_checkpoint_dependencies")  # since Keras 2.14; in 2.12 and 2.13

# Types of header messages (HDF5 file format, IV.A.2).
_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _LINKS = 0x01, 0x03, 0x08, 0x0C, 0x11
_HARMLESS = {0x00, 0x04, 0x05, 0x0D, 0x0E, 0x10, 0x12, 0x16}  # padding, fill values, comments, times, counts
_ALLOWED = _HARMLESS | {_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _LINKS}
_REFUSED = {
    0x02: "a group in the newer HDF5 format",
    0x06: "a group in the newer HDF5 format",
    0x07: "numbers in another file",
    0x0B: "compressed or filtered numbers",
}
_SHARED = 0x02  # message flag: the message is elsewhere in the file

#: The exact datatype messages of IEEE floats: sign, exponent and mantissa at their standard places.
_FLOATS = {
    struct.pack(
        "<4BI2H4BI", 0x11, 0x20 | big, sign, 0, size, 0, 8 * size, mantissa, exponent, 0, mantissa, bias
    ): np.dtype(f"{'<>'[big]}f{size}")
    for size, sign, exponent, mantissa, bias in (
        (2, 15, 5, 10, 15), (4, 31, 8, 23, 127), (8, 63, 11, 52, 1023)
    )
    for big in (0, 1)
}  # fmt: skip


class _Metered:
    """The file as pyfive sees it: bytes in memory, of which only so many may be read, so often."""

    def __init__(self, data: bytes, n_layers: int) -> None:
        self._data = data
        self._at = 0
        self._reads, self._bytes = 8192 + 256 * n_layers, 2**17 + 2**14 * n_layers
        self.begin()

    def begin(self) -> None:
        """Start on a new object, whose header has limits of its own."""
        self._object_reads, self._object_bytes = 4096, 2**17

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size] if size > 0 else b""
        self._at += len(data)
        self._reads -= 1
        self._object_reads -= 1
        self._bytes -= len(data)
        self._object_bytes -= len(data)
        if min(self._reads, self._object_reads, self._bytes, self._object_bytes) < 0:
            raise ModelFileError("weights: the HDF5 headers are larger than any model's, or run in a circle")
        return data


class _File:
    """The HDF5 file: objects by address, checked before anything in them is used."""

    def __init__(self, data: bytes, n_layers: int) -> None:
        self.data = data
        self._handle = _Metered(data, n_layers)

    def root(self) -> DataObjects:
        block = SuperBlock(self._handle, 0)
        if block.version != 0 or self.data[24:32] != bytes(8):  # the address that others count from
            raise ModelFileError("weights: the HDF5 file is not in the format that Keras writes")
        return self.object(block.offset_to_dataobjects, "the root")

    def object(self, address: int, who: str) -> DataObjects:
        self._handle.begin()
        found = DataObjects(self._handle, address)
        for message in found.msgs:
            kind = message["type"]
            if kind not in _ALLOWED:
                what = _REFUSED.get(kind, f"an HDF5 message of type {kind:#04x}")
                raise ModelFileError(f"weights: {who} has {what}, which Keras does not write")
            if message["flags"] & _SHARED:
                raise ModelFileError(f"weights: {who} shares a header message, which Keras does not write")
        return found

    def children(self, group: DataObjects, who: str) -> dict[str, int]:
        """Addresses of a group's members by name."""
        self._handle.begin()
        links: dict[str, int] = group.get_links()
        for name, target in links.items():
            if not isinstance(target, int):
                raise ModelFileError(
                    f"weights: {who} has the soft link {shown(name)}, which Keras does not write"
                )
        return links

    def child(self, group: DataObjects, name: str, who: str) -> DataObjects | None:
        links = self.children(group, who)
        return self.object(links[name], f"{who}/{name}") if name in links else None

    def name_attribute(self, group: DataObjects, who: str) -> str | None:
        """The attribute ``name``, a single string, if the group has it."""
        for message in group.find_msg_type(_ATTRIBUTE):
            at, data = message["offset_to_message"], group.msg_data
            version, _, name_size, type_size, _ = struct.unpack_from("<2B3H", data, at)
            aligned = 8 if version == 1 else 1
            kind = at + (8 if version == 1 else 9) + -(-name_size // aligned) * aligned
            rank = data[kind + -(-type_size // aligned) * aligned + 1]
            fixed, variable = data[kind] & 15 == 3, data[kind] & 15 == 9 and data[kind + 1] & 15 == 1
            # Checked before pyfive unpacks it: it would allocate whatever a shape claims.
            if version not in (1, 3) or rank or not (fixed or variable):
                raise ModelFileError(f"weights: {who} has an attribute that is no single string")
            self._handle.begin()
            name, value = group.unpack_attribute(at)
            if name == "name":
                return bytes(value).decode()
        return None

    def array(self, address: int, shape: tuple[int, ...], dtype: str, who: str) -> Array:
        """A dataset's numbers in the layer's dtype; its shape must be the one expected."""
        found = self.object(address, who)
        messages = {kind: found.find_msg_type(kind) for kind in (_SPACE, _TYPE, _LAYOUT, _LINKS)}
        if [len(messages[kind]) for kind in messages] != [1, 1, 1, 0]:
            raise ModelFileError(f"weights: {who} is not an array")
        if found.shape != shape:
            raise ModelFileError(f"weights: {who} has shape {shown(found.shape)}; expected {shape}")
        at = {kind: message[0]["offset_to_message"] for kind, message in messages.items() if message}
        stored = _FLOATS.get(found.msg_data[at[_TYPE] : at[_TYPE] + 20])
        if stored is None:
            raise ModelFileError(f"weights: {who} is not of type float16, float32 or float64")
        version, layout, address, size = struct.unpack_from("<2B2Q", found.msg_data, at[_LAYOUT])
        if version not in (3, 4) or layout != 1:
            raise ModelFileError(f"weights: {who} is not stored in one piece in this file, as Keras does")
        count = int(np.prod(shape, dtype=object))
        if size != count * stored.itemsize or address + size > len(self.data):
            raise ModelFileError(f"weights: {who} is cut short: its {count} numbers are not all in the file")
        numbers = np.frombuffer(self.data, stored, count, address).reshape(shape)
        with np.errstate(over="ignore"):  # beyond float32 is inf, as in Keras
            return np.array(numbers, dtype=dtype, order="C")


def read(data: bytes, slots: list[Slot]) -> list[list[Array]]:
    """The weights of each layer in Keras's order.

    Parameters
    ----------
    data : bytes
        The HDF5 file.
    slots : list of Slot
        The layers and the shapes that their weights must have.

    Raises
    ------
    ModelFileError
        A weight is missing, has another shape or type, or the file is not as Keras writes it.
    """
    try:
        file = _File(data, len(slots))
        return _read(file, slots)
    except ModelFileError:
        raise
    except Exception as error:  # pyfive asserts and unpacks; under -O its assertions surface elsewhere
        kind = type(error).__name__
        raise ModelFileError(f"weights: the HDF5 file is damaged or cut short ({kind})") from error


def _read(file: _File, slots: list[Slot]) -> list[list[Array]]:
    root = file.root()
    links = file.children(root, "the root")
    place = next((name for name in _ROOTS if name in links), None)
    if place is None:
        raise ModelFileError("weights: the HDF5 file has no group 'layers'; expected one that Keras 3 wrote")
    layers = file.object(links[place], place)
    groups = file.children(layers, place)
    seen: dict[str, int] = {}
    weights = []
    for slot in slots:
        kind = snake_case(type(slot.layer).__name__)
        number = seen[kind] = seen.get(kind, -1) + 1
        path = f"{place}/{kind}_{number}" if number else f"{place}/{kind}"
        weights.append(_layer(file, slot, groups.get(path.split("/")[1]), path) if slot.weights else [])
    return weights


def _layer(file: _File, slot: Slot, address: int | None, path: str) -> list[Array]:
    """One layer's weights from its group."""
    who = f"layer {shown(slot.layer.name)}: {path}"
    if address is None:
        raise ModelFileError(f"weights: {who} is missing")
    group = file.object(address, who)
    own = file.child(group, "vars", who)
    name = None if own is None else file.name_attribute(own, f"{who}/vars")
    if name not in (None, slot.layer.name):
        raise ModelFileError(
            f"weights: {path} is for a layer named {shown(name)}; expected {shown(slot.layer.name)}"
        )
    places = _PLACES.get(type(slot.layer).__name__, (("vars",),))
    arrays: list[Array] = []
    for place in places:
        shapes = slot.weights
        if len(places) > 1:  # a layer of layers names its weights by the place they are in
            shapes = {name: shape for name, shape in shapes.items() if name.startswith(f"{place[0]}/")}
        arrays += _variables(file, group, place, shapes, slot.layer.dtype, who)
    return arrays


def _variables(
    file: _File, group: DataObjects, place: tuple[str, ...], shapes: dict[str, tuple[int, ...]], dtype: str, who: str
) -> list[Array]:
    """The arrays ``0, 1, ...`` of one place in a layer's group, exactly as many as expected."""
    for part in place:
        inner, who = file.child(group, part, who), f"{who}/{part}"
        if inner is None:
            raise ModelFileError(f"weights: {who} is missing")
        group = inner
    links = file.children(group, who)
    if sorted(links) != sorted(str(i) for i in range(len(shapes))):
        raise ModelFileError(
            f"weights: {who} holds {shown(sorted(links))}; expected {len(shapes)} arrays: 0, 1, ..."
        )
    return [
        file.array(links[str(i)], shape, dtype, f"{who}/{i} ({weight})")
        for i, (weight, shape) in enumerate(shapes.items())
    ]
