"""Arrays as older Kerases kept them in .h5 files, and what becomes of them in the layers of today."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.legacy_layers import Writer

Shape = tuple[int, ...]
Arrays = list[Array]

_CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "ConvLSTM2D"}


class Leaf(NamedTuple):
    """A layer that holds weights itself, or a wrapper around one: no model.

    ``class_name`` and ``config`` are in Keras 3's form, ``shapes`` those of its weights in Keras 3's order.
    ``who`` names it in errors.
    """

    who: str
    class_name: str
    config: dict[str, Any]
    shapes: list[Shape]


class Form(NamedTuple):
    """One way in which a layer's weights are stored: the arrays' shapes, and how to make the weights of them.

    The last ``skipped`` arrays are not weights: they need not be read, and ``convert`` does not take them.
    """

    shapes: list[Shape]
    convert: Callable[[Arrays], Arrays]
    skipped: int = 0


class Place(NamedTuple):
    """Where a layer's weights are: indices among the arrays of its group, and the form they have there."""

    indices: list[int]
    form: Form


def arrange(leaves: list[Leaf], stored: list[Shape], writer: Writer, backend: str | None) -> list[Place]:
    """Which of the arrays in a group of an .h5 file belong to which layer, told by their shapes alone.

    Parameters
    ----------
    leaves : list of Leaf
        The layers in the group, in the model's order: one, or all those of a model inside the model.
    stored : list of tuple of int
        The arrays' shapes in the order of the attribute ``weight_names``. Keras puts what is trained
        first, for all layers, then what is not: the averages of BatchNormalization, and frozen layers.
    writer : Writer
    backend : str or None
        The file's attribute of that name; Theano kept convolutions' kernels back to front.

    Returns
    -------
    list of Place
        One for each leaf.

    Raises
    ------
    ModelFileError
        The shapes are not those of these layers' weights in any form that Keras wrote.
    """
    places: list[Place | None] = [None] * len(leaves)
    at = 0
    for part in (_trained, _untrained):
        for i, leaf in enumerate(leaves):
            shapes = part(leaf)
            if not shapes:
                continue
            forms = stored_forms(leaf.class_name, leaf.config, shapes, writer, backend)
            form = next((f for f in forms if f.shapes == stored[at : at + len(f.shapes)]), None)
            if form is None:
                found = shown(stored[at : at + len(shapes)])
                raise ModelFileError(f"{leaf.who}: its arrays have the shapes {found}; expected {forms[0].shapes}")
            indices = list(range(at, at + len(form.shapes)))
            before = places[i]
            if before is not None:  # averages after what is trained, each stored as it is
                indices, form = before.indices + indices, Form(before.form.shapes + form.shapes, list)
            places[i] = Place(indices, form)
            at += len(form.shapes) if before is None else len(shapes)
    if at != len(stored):
        whose = leaves[0].who if leaves else "a layer without weights"
        raise ModelFileError(f"{whose}: has {len(stored)} arrays; expected {at}")
    return [place or Place([], Form([], list)) for place in places]


def stored_forms(
    class_name: str, config: dict[str, Any], shapes: list[Shape], writer: Writer, backend: str | None
) -> list[Form]:
    """The forms in which a layer's weights may be stored, the likeliest first."""
    inner, half = config.get("layer"), len(shapes) // 2
    if class_name == "TimeDistributed" and isinstance(inner, dict):
        return stored_forms(inner["class_name"], inner["config"], shapes, writer, backend)
    if class_name == "Bidirectional" and isinstance(inner, dict) and 2 * half == len(shapes):
        other = config.get("backward_layer") or inner
        forward = stored_forms(inner["class_name"], inner["config"], shapes[:half], writer, backend)
        backward = stored_forms(other["class_name"], other["config"], shapes[half:], writer, backend)
        return [_both(*pair) for pair in product(forward, backward)]
    if class_name in _CONVOLUTIONS and writer.generation < 3:
        return _convolution_forms(class_name, config, shapes, writer, backend == "theano")
    forms = [Form(shapes, list)]
    if class_name in ("LSTM", "GRU") and len(shapes) == 3 and writer.generation < 3:
        (features, gated), (units, _), bias = shapes
        count = gated // units
        if class_name == "LSTM" or len(bias) == 2:
            forms.append(Form([*shapes[:2], (2 * gated,)], partial(_from_cudnn, gates=count, bias=bias)))
        if writer.generation == 1:
            gates = [(features, units), (units, units), (units,)] * count
            order = (0, 2, 1, 3) if class_name == "LSTM" else (0, 1, 2)  # Keras 1 put c before f
            forms.append(Form(gates, partial(_joined, order=order)))
    if class_name == "Normalization" and len(shapes) == 2:
        forms.append(Form([*shapes, ()], list, skipped=1))  # how many samples its averages are of
    return forms


def _trained(leaf: Leaf) -> list[Shape]:
    return leaf.shapes[: _count_trained(leaf)]


def _untrained(leaf: Leaf) -> list[Shape]:
    return leaf.shapes[_count_trained(leaf) :]


def _count_trained(leaf: Leaf) -> int:
    name, inner = leaf.class_name, leaf.config.get("layer")
    inner = inner if isinstance(inner, dict) else {"class_name": name, "config": leaf.config}
    if name == "TimeDistributed":
        name = inner["class_name"]
    if leaf.config.get("trainable") is False or inner["config"].get("trainable") is False or name == "Normalization":
        return 0
    return len(leaf.shapes) - 2 if name == "BatchNormalization" else len(leaf.shapes)


# -- forms -------------------------------------------------------------------------------------------


def _both(forward: Form, backward: Form) -> Form:
    """Of a Bidirectional: one layer's arrays, then the other's."""
    count = len(forward.shapes)
    return Form(
        forward.shapes + backward.shapes,
        lambda arrays: forward.convert(arrays[:count]) + backward.convert(arrays[count:]),
    )


def _joined(arrays: Arrays, order: tuple[int, ...]) -> Arrays:
    """Keras 1's kernel, recurrent kernel and bias of each gate, side by side in Keras 3's order of gates."""
    return [np.concatenate([arrays[3 * gate + kind] for gate in order], axis=-1) for kind in range(3)]


def _from_cudnn(arrays: Arrays, gates: int, bias: Shape) -> Arrays:
    """CuDNN keeps each gate's kernels transposed, and two biases, which only GRU needs apart."""
    kernel, recurrent, biases = arrays
    kernels = [part.T.reshape(part.shape, order="F") for part in np.split(kernel, gates, axis=1)]
    recurrents = [part.T for part in np.split(recurrent, gates, axis=1)]
    halves = biases.reshape(2, -1)
    with np.errstate(all="ignore"):  # of numbers that are none
        one = halves[0] + halves[1]
    return [np.concatenate(kernels, axis=1), np.concatenate(recurrents, axis=1), halves if len(bias) == 2 else one]


def _convolution_forms(
    class_name: str, config: dict[str, Any], shapes: list[Shape], writer: Writer, back_to_front: bool
) -> list[Form]:
    """Kernels with the axes of Keras 1, and those that Theano convolves with rather than correlates."""
    kernels = 2 if class_name == "ConvLSTM2D" else 1
    kernel = shapes[0]
    orders: list[tuple[Shape, tuple[int, ...]]] = [(kernel, tuple(range(len(kernel))))]
    if writer.generation == 1 and class_name == "Conv1D" and len(kernel) == 3:
        length, features, filters = kernel
        orders = [((length, 1, features, filters), (0, 1, 2, 3)), ((filters, features, length, 1), (2, 3, 1, 0))]
    elif writer.generation == 1 and class_name == "Conv2D" and config.get("data_format") == "channels_first":
        orders = [((kernel[3], kernel[2], kernel[0], kernel[1]), (2, 3, 1, 0))]

    def convert(arrays: Arrays, axes: tuple[int, ...]) -> Arrays:
        made = list(arrays)
        for i in range(kernels):
            found = arrays[i].transpose(axes).reshape(shapes[i])
            turned = (slice(None, None, -1),) * (found.ndim - 2)
            made[i] = np.ascontiguousarray(found[turned] if back_to_front else found)
        return made

    return [Form([found, *shapes[1:]], partial(convert, axes=axes)) for found, axes in orders]
