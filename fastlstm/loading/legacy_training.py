"""What only training reads in a layer's config, from Keras 1 and 2: initializers, regularizers, constraints."""

from __future__ import annotations

from typing import Any

_INITIALIZERS = {
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Ones",
    "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros",
}  # fmt: skip
_NAMES = {
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "ones", "orthogonal",
    "zeros",
}  # fmt: skip
_KERAS_1_NAMES = {"normal": "random_normal", "one": "ones", "uniform": "random_uniform", "zero": "zeros"}
_PENALTIES = {
    "L1": "regularizers", "L1L2": "regularizers", "L2": "regularizers", "MaxNorm": "constraints",
    "MinMaxNorm": "constraints", "NonNeg": "constraints", "UnitNorm": "constraints",
}  # fmt: skip


def modern_initializer(value: Any) -> Any:
    """An initializer in the form of Keras 3; None for one that Keras 3 does not have."""
    if isinstance(value, str):
        value = _KERAS_1_NAMES.get(value, value)
        return value if value in _NAMES or value in _KERAS_1_NAMES.values() else None
    name = value.get("class_name") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in _INITIALIZERS or not isinstance(value.get("config"), dict):
        return None
    config = {key: item for key, item in value["config"].items() if key != "dtype"}  # which tf.keras 1 saved
    if config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
    return _object("initializers", name, config)


def modern_penalty(value: Any) -> Any:
    """A regularizer or constraint in the form of Keras 3; None for one that Keras 3 does not have."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    name, config = value.get("class_name"), value.get("config")
    if value.get("name") in ("WeightRegularizer", "L1L2Regularizer"):  # of Keras 1
        name, config = "L1L2", {key: value.get(key, 0.0) for key in ("l1", "l2")}
    if not isinstance(name, str) or name not in _PENALTIES or not isinstance(config, dict):
        return None
    return _object(_PENALTIES[name], name, config)


def _object(room: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": f"keras.{room}", "class_name": name, "config": config, "registered_name": None}
