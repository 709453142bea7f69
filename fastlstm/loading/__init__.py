"""Opening model files; nothing in a file is ever imported, evaluated or trusted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastlstm.errors import FastLSTMError, ModelFileError

if TYPE_CHECKING:
    from fastlstm.model import Sequential


def load_model(
    path: str | os.PathLike[str], *, max_file_size: int = 2 * 2**30, max_params: int = 2**28
) -> Sequential:
    """Open a trained model.

    Parameters
    ----------
    path : str or path-like
        A ``.keras`` file of a ``keras.Sequential`` model, or an ``.npz`` file that ``model.save``
        wrote. The content decides which it is, not the name.
    max_file_size : int
        Limit in bytes for the file and for what it unpacks to.
    max_params : int
        Limit for the number of weights.

    Returns
    -------
    Sequential

    Raises
    ------
    UnsupportedLayerError
        The model, or a layer or option in it, is one that fastlstm does not compute.
    ModelFileError
        The file is missing, damaged, too large, made to do harm, or no model file.
    """
    from fastlstm.loading.archive import Archive  # here, so that importing fastlstm stays quick

    try:
        with Archive(path, max_file_size) as archive:
            if "config.npy" in archive.members:
                from fastlstm.loading import npz

                return npz.read(archive, max_params)
            if "config.json" in archive.members:
                from fastlstm.loading import keras_file

                return keras_file.read(archive, max_params)
            raise ModelFileError("is a zip file, but no model: it has neither config.json nor config.npy")
    except FastLSTMError as error:
        raise type(error)(f"{_named(path)}: {error}") from error.__cause__
    except Exception as error:  # whatever a damaged file provokes below
        raise ModelFileError(f"{_named(path)}: cannot be read ({type(error).__name__}: {error})") from error


def _named(path: object) -> str:
    return repr(os.fspath(path)) if isinstance(path, str | os.PathLike) else repr(path)
