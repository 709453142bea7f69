"""Keras 3 as the oracle of what an older configuration means: it is given the modern one."""

from __future__ import annotations

import json
from typing import Any


def hard_sigmoid_keras2(x):
    import keras

    return keras.ops.clip(0.2 * x + 0.5, 0, 1)


def for_keras(value: Any) -> Any:
    """What a test needs to have Keras 3 read it: shapes of tensors, no words of our own."""
    if isinstance(value, list):
        return [for_keras(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: for_keras(item) for key, item in value.items() if key != "mask_merging"}
    if made.get("class_name") == "__keras_tensor__":
        made["config"] |= {"shape": [None], "dtype": "float32"}
    return made


def rebuilt(keras: Any, modern: dict[str, Any]) -> Any:
    from keras.src.activations import ALL_OBJECTS_DICT

    keras.saving.register_keras_serializable("tests")(hard_sigmoid_keras2)
    ALL_OBJECTS_DICT["hard_sigmoid_keras2"] = hard_sigmoid_keras2
    try:
        return keras.models.model_from_json(json.dumps(for_keras(modern)))
    finally:
        del ALL_OBJECTS_DICT["hard_sigmoid_keras2"]
