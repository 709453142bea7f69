"""Writing a model as Keras 3 does: a .keras file that ``keras.models.load_model`` opens."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Layer, snake_case
from fastlstm.layers.serialization import LAYERS, layer_to_config
from fastlstm.saving import as_json
from fastlstm.saving_legacy import modern

if TYPE_CHECKING:
    from fastlstm.model import Model

#: Of the Keras whose format this is.
KERAS_VERSION = "3.15.1"


def write_keras(model: Model, file: BinaryIO) -> None:
    """Write a ``.keras`` file: configuration, and weights in HDF5, neither of them compressed.

    Parameters
    ----------
    model : Model
        Built. Of what an older Keras computed otherwise than Keras 3, the weights and calls are changed
        so that Keras 3 gives the same numbers.
    file : binary file
        Open for writing.

    Raises
    ------
    UnsupportedLayerError
        A layer that Keras 3 does not have, or that cannot be made to give the same numbers there.
    FastLSTMError
        There is no h5py, which writes HDF5.
    """
    h5py = _h5py()
    written = modern(model)
    for layer in _layers(written):
        _refuse_unknown(layer)
    _refuse_lengths(written)
    metadata = {"keras_version": KERAS_VERSION, "date_saved": datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    members = {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": as_json(layer_to_config(written)),
        "model.weights.h5": _weights(written, h5py),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _h5py() -> Any:
    try:
        import h5py  # here: only what writes .keras files needs it
    except ImportError as error:
        raise FastLSTMError(
            f'save: writing .keras files needs h5py ({error}): pip install "fastlstm[keras]", or write .npz'
        ) from None
    return h5py


def _layers(model: Model) -> Iterator[Layer]:
    """All layers, and the operations in the graphs."""
    for _, layer in model.tree():
        yield layer
        if hasattr(layer, "program"):
            yield from (step.layer for step in layer.program.steps if step.layer.is_operation)


def _refuse_lengths(model: Model) -> None:
    """Refuse calls with an argument that Keras's layers have not."""
    for _, inner in model.tree():
        for step in inner.program.steps if hasattr(inner, "program") else ():
            if step.kwargs.get("lengths") is not None:
                raise UnsupportedLayerError(
                    f"{step.layer.who} is called with lengths, which Keras 3 has not; give a mask, or write .npz"
                )


def _refuse_unknown(layer: Layer) -> None:
    """Refuse a class of which Keras could make nothing."""
    known = layer.module.startswith("keras.") if layer.is_operation else LAYERS.get(layer.class_name) is type(layer)
    own = getattr(layer, "beyond_keras", ())
    if own:
        raise UnsupportedLayerError(f"{layer.who}: Keras 3 has no {', '.join(own)} like this; write .npz instead")
    if layer.saved_as is None and not known:
        raise UnsupportedLayerError(f"{layer.who}: Keras 3 has no layer of this class; write .npz instead")


def _weights(model: Model, h5py: Any) -> bytes:
    """The HDF5 file: for each layer a group ``vars`` with its name, and with its arrays by their numbers."""
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for place, layer in model.tree():
            file.require_group("/".join(part for part in (place, "vars") if part)).attrs["name"] = layer.name
            for weight, array in layer._weights.items():
                parts = (place, layer.weights_group, weight.rpartition("/")[0], "vars")
                group = file.require_group("/".join(part for part in parts if part))
                group[str(len(group))] = array
            if layer.weights_group and layer._weights:
                inner = f"{snake_case(layer.class_name)}_{layer.weights_group}"
                file[f"{place}/{layer.weights_group}/vars"].attrs["name"] = inner
    return data.getvalue()
