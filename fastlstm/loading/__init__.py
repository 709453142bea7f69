"""Opening model files; nothing in a file is ever imported, evaluated or trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from fastlstm.errors import FastLSTMError, ModelFileError
from fastlstm.precision import checked, set_precision

if TYPE_CHECKING:
    from fastlstm.loading.contents import Contents
    from fastlstm.model import Model

Path = str | os.PathLike[str]

MAX_FILE_SIZE = 2 * 2**30
MAX_PARAMS = 2**28


def load_model(
    path: Path,
    *,
    weights: Path | None = None,
    custom_layers: Mapping[str, Any] | None = None,
    mask_propagation: str = "3.15",
    precision: str = "float32",
    max_file_size: int = MAX_FILE_SIZE,
    max_params: int = MAX_PARAMS,
) -> Model:
    """Open a trained model that any Keras wrote; it computes what that Keras computed.

    Parameters
    ----------
    path : str or path-like
        A ``.keras`` file or directory, a whole model in HDF5 (``.h5``, ``.hdf5``) of Keras 1, 2, 3 or tf.keras,
        an architecture as JSON, or an ``.npz`` file that ``model.save`` wrote. The content decides which it
        is, not the name.
    weights : str or path-like, optional
        The file that holds the weights, where that is another one. Needed with an architecture alone.
    custom_layers : mapping of str to Layer subclass or callable, optional
        What computes the classes that the file names and fastlstm lacks, by class name (for a ``Lambda`` also
        by the layer's name). A subclass of :class:`fastlstm.layers.Layer` is made by its ``from_config`` and
        has its weights read; any other callable takes and returns NumPy arrays.
    mask_propagation : {"3.15", "3.16"}
        Whether RNN layers, Bidirectional and TimeDistributed hand a mask on to the layer after them, as up to
        Keras 3.15, or drop it, as from Keras 3.16 on.
    precision : {"float32", "bfloat16", "float16", "int8"}
        How the weights of recurrent layers are kept, wherever in the model they are; all others stay float32.
        ``model.precision_report(x)`` says what that costs.
    max_file_size : int
        Limit in bytes for the file and for what it unpacks to.
    max_params : int
        Limit for the number of weights.

    Returns
    -------
    Model
        A :class:`fastlstm.Sequential` or :class:`fastlstm.Functional`.

    Raises
    ------
    UnsupportedLayerError
        The model, or a layer or option in it, is one that fastlstm does not compute.
    ModelFileError
        The file is missing, damaged, too large, made to do harm, or no model file.
    FastLSTMError
        The precision is none, or not for this model: no layer is recurrent, or one computes in float64.
    """
    checked(precision, "load_model")
    with ExitStack() as files:
        with _named(path):
            found = _contents(path, max_file_size, files)
            if found.config is None:
                raise ModelFileError(
                    f"is {found.kind}, without an architecture: build the model in code and use "
                    "model.load_weights, or pass this file as weights= beside the architecture"
                )
            if weights is None and found.weights is None:
                raise ModelFileError(f"is {found.kind}, without weights: pass the file that holds them as weights=")
            model = _described(found, max_params, custom_layers, mask_propagation)
            set_precision(model, precision)
            if weights is None:
                _take(model, found)
        if weights is not None:
            with _named(weights):
                _take(model, _contents(weights, max_file_size, files))
    return model


def load_weights(model: Model, path: Path, *, max_file_size: int = MAX_FILE_SIZE) -> None:
    """Read the weights of a model that has been built in code; see :meth:`fastlstm.Model.load_weights`."""
    with ExitStack() as files, _named(path):
        _take(model, _contents(path, max_file_size, files))


def describe(
    path: Path,
    *,
    custom_layers: Mapping[str, Any] | None = None,
    max_file_size: int = MAX_FILE_SIZE,
    max_params: int = MAX_PARAMS,
) -> tuple[str, Model]:
    """What kind of file this is, and the model that it describes; no weights are read."""
    with ExitStack() as files, _named(path):
        found = _contents(path, max_file_size, files)
        if found.config is None:
            raise ModelFileError(f"is {found.kind}, without an architecture")
        return found.kind, _described(found, max_params, custom_layers)


def _contents(path: Path, max_file_size: int, files: ExitStack) -> Contents:
    from fastlstm.loading.contents import contents_of  # here, so that importing fastlstm stays quick

    return contents_of(path, max_file_size, files)


def built_from_config(
    config: Any, version: str | None, custom: Mapping[str, Any] | None = None, mask_propagation: str = "3.15"
) -> Model:
    """The model that a configuration of any Keras describes; its weights have no values yet."""
    from fastlstm.loading.contents import Contents

    return _described(Contents("a configuration", config, version), MAX_PARAMS, custom, mask_propagation)


def _described(
    found: Contents, max_params: int, custom: Mapping[str, Any] | None, mask_propagation: str = "3.15"
) -> Model:
    from fastlstm.loading.architecture import described
    from fastlstm.loading.legacy import modernize, writer_of

    if mask_propagation not in ("3.15", "3.16"):
        raise FastLSTMError(f"mask_propagation is {mask_propagation!r}; expected '3.15' or '3.16'")
    config = found.config if found.own else modernize(found.config, found.version)
    model = described(config, max_params, custom)
    writer = writer_of(None if found.own else found.config, found.version or ("3" if found.own else None))
    model.written_by = found.version or f"{writer.generation}.{writer.minor}.0"
    if writer.generation < 3:
        _as_before_keras_3(model, writer.tf)
    if mask_propagation == "3.16":
        _drop_masks(model)
    return model


def _as_before_keras_3(model: Model, tf: bool) -> None:
    """What older Kerases computed otherwise, and no configuration says."""
    from fastlstm.layers import Bidirectional

    for _, layer in model.tree():
        layer.mask_comes_alone = False
        if hasattr(layer, "mask_merging"):
            layer.mask_merging = "all"
        if layer.class_name in ("Identity", "Normalization", "Rescaling"):  # where a mask ended
            layer.supports_masking = layer.passes_through = False
        if isinstance(layer, Bidirectional) and not tf:  # standalone Keras held outputs; TensorFlow's zeroed them
            for side in (layer.forward_layer, layer.backward_layer):
                side.zero_output_for_mask = False


def _drop_masks(model: Model) -> None:
    from fastlstm.layers import RNN, Bidirectional, TimeDistributed
    from fastlstm.layers.recurrent import Recurrent

    for _, layer in model.tree():
        if isinstance(layer, Recurrent | RNN | Bidirectional | TimeDistributed):
            layer.supports_masking = False


def _take(model: Model, found: Contents) -> None:
    """Put a file's weights into the model, all or none."""
    if found.weights is None:
        raise ModelFileError(f"is {found.kind}, without weights")
    given = {id(layer): (layer, arrays) for layer, arrays in found.weights(model)}
    without = [layer.who for _, layer in model.tree() if layer._expected and id(layer) not in given]
    if without:
        raise ModelFileError(f"holds no weights for {', '.join(without[:3])}")
    for layer, arrays in given.values():
        layer.store(arrays)
    model.fill()  # layers without weights of their own are then built


@contextmanager
def _named(path: object) -> Iterator[None]:
    """Errors begin with the path; whatever a damaged file provokes below becomes one."""
    shown = repr(os.fspath(path)) if isinstance(path, str | os.PathLike) else repr(path)
    try:
        yield
    except FastLSTMError as error:
        raise type(error)(f"{shown}: {_readable(error)}") from error.__cause__
    except Exception as error:
        raise ModelFileError(f"{shown}: cannot be read ({type(error).__name__}: {_readable(error)})") from error


def _readable(error: Exception) -> str:
    """A message that may repeat something out of the file, cut to a readable length."""
    text = str(error)
    text = text if len(text) <= 1000 else f"{text[:900]} ... {text[-90:]}"
    return "".join(c if c.isprintable() else "?" for c in text)
