"""How a live Keras model gets to fastlstm: the files that each Keras can write of it, or itself."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastlstm


def zipped(model: Any, path: Path) -> Any:
    model.save(path / "m.keras")
    return fastlstm.load_model(path / "m.keras")


def unzipped(model: Any, path: Path) -> Any:
    model.save(path / "m.keras")
    with zipfile.ZipFile(path / "m.keras") as archive:
        archive.extractall(path / "folder")
    return fastlstm.load_model(path / "folder")


def whole_h5(model: Any, path: Path) -> Any:
    model.save(path / "m.h5")
    return fastlstm.load_model(path / "m.h5")


def json_and_weights(model: Any, path: Path) -> Any:
    (path / "m.json").write_text(model.to_json())
    model.save_weights(path / "m.weights.h5")
    return fastlstm.load_model(path / "m.json", weights=path / "m.weights.h5")


def json_and_legacy(model: Any, path: Path) -> Any:
    """The weights in the layout of Keras 1 and 2, as Keras 3 can still write them."""
    import h5py

    (path / "m.json").write_text(model.to_json())
    if type(model).__module__.startswith("tf_keras"):
        model.save_weights(path / "m.h5")
    else:
        from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

        with h5py.File(path / "m.h5", "w") as file:
            save_weights_to_hdf5_group(file, model)
    return fastlstm.load_model(path / "m.json", weights=path / "m.h5")


def weights_into_code(model: Any, path: Path) -> Any:
    """Our own model of the same configuration takes a file of weights."""
    model.save_weights(path / "m.weights.h5")
    ours = fastlstm.from_keras(model)
    ours.set_weights([np.zeros_like(w) for w in ours.get_weights()])
    ours.load_weights(path / "m.weights.h5")
    return ours


def live(model: Any, path: Path) -> Any:
    return fastlstm.from_keras(model)


LAYOUTS: dict[int, dict[str, Callable[[Any, Path], Any]]] = {
    3: {
        ".keras": zipped,
        "folder": unzipped,
        ".h5": whole_h5,
        "JSON + .weights.h5": json_and_weights,
        "JSON + legacy .h5": json_and_legacy,
        "load_weights": weights_into_code,
        "from_keras": live,
    },
    2: {
        ".keras": zipped,
        "folder": unzipped,
        ".h5": whole_h5,
        "JSON + legacy .h5": json_and_legacy,
        "from_keras": live,
    },
}
#: Not a layout: the same lines of code, with fastlstm's names.
IN_CODE = "written in code"
