"""Values that JSON can hold, and layers to give them to."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from samples import node

from fastlstm.layers.serialization import LAYERS

NAMES = sorted(set(LAYERS) - {"Sequential", "Functional"})
CELL = node("LSTMCell", name="l", units=2)
#: What the arguments without a default are given.
NEEDED: dict[str, Any] = {
    "activation": "tanh", "axes": 1, "cell": CELL, "cells": [CELL], "dims": [2, 1], "filters": 2, "input_dim": 9,
    "kernel_size": 2, "key_dim": 2, "layer": node("LSTM", name="l", units=2), "n": 2, "num_heads": 2, "output_dim": 2,
    "pool_size": 2, "rate": 0.1, "scale": 2.0, "stddev": 0.1, "target_shape": [8], "units": 3,
}  # fmt: skip
#: Values of every type that JSON has, small and extreme, and the forms in which Keras saves objects.
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 65536, 2**31 - 1, 2**31, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 0.0, -0.0, 0.5,
    2.5, 1e-300, 1e308, -1e308, "", "a", "same", "valid", "tanh", "float32", "(2,2)f4", "auto", "channels_first",
    "relu\0", "\ud800", "x" * 100_000, "a->b", [], [[]], [0], [1], [-1], [1, 2], [2, 1], [1, 2, 3], [None], [None, 1],
    [1.5], ["a"], [True], [[1, 2], [3, 4]], [[1], [1, 2]], [[[1]]], [1] * 1000, [2**62] * 8, [2**31 - 1] * 3,
    ["a" * 100_000] + [1] * 1000, list(range(100)), {}, {"a": 1}, {str(i): i for i in range(1000)}, CELL, [CELL],
    {"class_name": "Zeros", "config": {}}, {"class_name": "Constant", "config": {"value": [1] * 1000}},
    {"class_name": "Constant", "config": {"value": ["a" * 100_000] + [1] * 1000}}, {"class_name": ["x"], "config": 3},
    {"class_name": "LSTM", "config": {"units": 2}}, {"class_name": "__numpy__", "config": {"value": [1, 2]}},
    {"class_name": "__numpy__", "config": {"value": "x", "dtype": "O"}},
    {"class_name": "__tensor__", "config": {"value": [[1], [1, 2]], "dtype": "(2,2)f4"}},
    {"class_name": "__numpy__", "config": {"value": ["a" * 100_000] + [1] * 1000, "dtype": "float32"}},
    {"type": "ndarray", "value": ["a" * 100_000] + [1] * 1000}, {"class_name": "LeakyReLU", "config": {}},
    {"class_name": "DTypePolicy", "config": {"name": "float32"}}, {"class_name": "function", "config": "relu"},
    {"class_name": "__lambda__", "config": {"code": "x"}},
]  # fmt: skip


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    """The arguments of a constructor, with those that it hands on to the classes above it."""
    found: dict[str, inspect.Parameter] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and base is not object:
            found |= inspect.signature(vars(base)["__init__"]).parameters
    return {name: p for name, p in found.items() if name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


@cache
def minimal(name: str) -> dict[str, Any]:
    """The least that a layer of this class can be made from."""
    own = inspect.signature(LAYERS[name].__init__).parameters
    needed = [p.name for p in own.values() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    config = {argument: NEEDED[argument] for argument in needed if argument != "self"}
    return {"name": "x", **config} | ({"batch_shape": [None, 4, 2]} if name == "InputLayer" else {})
