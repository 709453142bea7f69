"""What a path holds, told by its content: a configuration, weights, or both."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from fastlstm.errors import ModelFileError
from fastlstm.layers.base import Array, Layer
from fastlstm.loading import jsonrules
from fastlstm.loading.archive import Archive
from fastlstm.loading.folder import Folder
from fastlstm.loading.jsonrules import shown

if TYPE_CHECKING:
    from fastlstm.loading.hdf5 import Group
    from fastlstm.model import Model

#: The arrays of each layer, none of them stored yet.
Weights = list[tuple[Layer, dict[str, Array]]]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_KNOWN = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"\x80", "a Python pickle, which is never read: save the model with Keras's model.save"),
    (b"\x93NUMPY", "a single NumPy array, not a model"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"<", "an HTML page, or XML: the download went wrong"),
)


class Contents(NamedTuple):
    """What was found.

    Attributes
    ----------
    kind : str
        For people: what sort of file it is.
    config : object or None
        The parsed configuration as it was written.
    version : str or None
        Of the Keras that wrote it, where the file says.
    weights : callable or None
        Reads the arrays for a model that has been described; nothing is read before.
    own : bool
        Whether fastlstm wrote it.
    """

    kind: str
    config: Any = None
    version: str | None = None
    weights: Callable[[Model], Weights] | None = None
    own: bool = False


def contents_of(path: str | os.PathLike[str], max_file_size: int, files: ExitStack) -> Contents:
    """Look into a model file of any kind; only as much is read as says what it is.

    ``files`` keeps open what the weights will be read from.

    Raises
    ------
    ModelFileError
        The path cannot be read, is too large, or holds no model.
    """
    try:
        status = os.stat(path)  # before open(), which would wait for ever on a pipe
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a null character in the name
        raise ModelFileError(f"cannot be read: {error}") from None
    if stat.S_ISDIR(status.st_mode):
        return _bundle(Folder(path, max_file_size), "a directory as Keras 3 writes")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError("is not a regular file")
    if status.st_size > max_file_size:
        raise ModelFileError(f"has {status.st_size} bytes; max_file_size is {max_file_size}")
    try:
        file = files.enter_context(open(path, "rb"))
        start = file.read(64)
        if start.startswith(_HDF5):
            return _hdf5(file)
        if start.lstrip().startswith(b"{"):
            return _json(start + file.read(jsonrules.MAX_BYTES))
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}") from None
    if start.startswith(b"PK\x03\x04"):
        archive = files.enter_context(Archive(path, max_file_size))
        if "config.npy" in archive.members:
            from fastlstm.loading import npz

            return npz.contents(archive)
        return _bundle(archive, "a .keras file")
    known = next((text for magic, text in _KNOWN if start.startswith(magic)), None)
    if start[4:8] == b"TFL3":
        known = "a TensorFlow Lite model, whose LSTMs fastlstm.tflite.lstm_layers reads"
    raise ModelFileError(
        f"is no model file of Keras: it is {known or f'a file that begins with {start[:8]!r}'}; "
        "expected .keras, .h5, .weights.h5, an architecture as JSON, or .npz of fastlstm. LSTMs of other systems are "
        "read by fastlstm.torch, fastlstm.onnx, fastlstm.tf1 and fastlstm.tflite"
    )


def _bundle(members: Archive | Folder, kind: str) -> Contents:
    from fastlstm.loading import keras_file

    return keras_file.contents(members, kind)


def _json(data: bytes) -> Contents:
    """An architecture alone: ``model.to_json()``."""
    config = jsonrules.parse(data, "the architecture")
    version = config.get("keras_version") if isinstance(config, dict) else None
    if version is not None and not isinstance(version, str):
        raise ModelFileError(f"the architecture: keras_version is {shown(version)}; expected a string")
    return Contents("an architecture as JSON", config, version)


def _hdf5(file: BinaryIO) -> Contents:
    """A whole model or weights alone, of any Keras."""
    from fastlstm.loading.hdf5 import File  # here: few callers read HDF5
    from fastlstm.loading.legacy_h5 import WEIGHTS
    from fastlstm.loading.weights import legacy_weights, modern_weights

    root = File(file).root
    version = _version(root, WEIGHTS)
    text = root.string("model_config")
    if WEIGHTS in root or root.strings("layer_names") is not None:
        kind = "a whole model in HDF5" if text is not None else "weights in HDF5, in the layout of Keras 1 and 2"
        config = None if text is None else jsonrules.parse(text.encode(), "model_config")
        written = version or "1.0.0"  # which did not say
        return Contents(kind, config, written, lambda model: legacy_weights(root, model, written))
    kind = "weights in HDF5, in the layout of Keras 3"
    return Contents(kind, None, version, lambda model: modern_weights(root, model))


def _version(root: Group, inner: str) -> str | None:
    found = root.string("keras_version")
    return root.group(inner).string("keras_version") if found is None and inner in root else found
