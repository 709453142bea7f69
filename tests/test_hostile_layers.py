"""No value that JSON can hold harms a layer's constructor: it is taken, or refused by FastLSTMError, at once."""

from __future__ import annotations

import copy
import inspect
import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fastlstm import FastLSTMError
from fastlstm.layers import Layer
from fastlstm.layers.graph import Tensor
from fastlstm.layers.op_arguments import parameters
from fastlstm.layers.op_table import TABLE
from fastlstm.layers.ops import Operation
from fastlstm.layers.serialization import LAYERS, layer_from_config

SECONDS = 0.5  # of the processor's time, for one layer
MEMORY = 8 * 2**20
NAMES = sorted(set(LAYERS) - {"Sequential", "Functional"})


def node(class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


CELL = node("LSTMCell", name="l", units=2)
#: What the arguments without a default are given.
NEEDED: dict[str, Any] = {
    "activation": "tanh", "axes": 1, "cell": CELL, "cells": [CELL], "dims": [2, 1], "filters": 2, "input_dim": 9,
    "kernel_size": 2, "key_dim": 2, "pool_size": 2, "layer": node("LSTM", name="l", units=2), "n": 2, "num_heads": 2, "output_dim": 2,
    "rate": 0.1, "scale": 2.0, "stddev": 0.1, "target_shape": [8], "units": 3,
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
SHAPES: list[Any] = [(None, 4, 2), (2, 6, 6, 3), (None, None), (), [(None, 4, 2), (None, 4, 2)], (None, 2**31 - 1, 2**31 - 1)]
#: Arguments that say nothing of shapes, by the ends of their names.
INERT = ("_initializer", "_regularizer", "_constraint", "name", "trainable", "dtype", "autocast", "seed", "lora_alpha",
         "implementation", "use_cudnn", "weights", "input_dim", "input_shape")  # fmt: skip


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    """The arguments of a constructor, with those that it hands on to the classes above it."""
    found: dict[str, inspect.Parameter] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and base is not object:
            found |= inspect.signature(vars(base)["__init__"]).parameters
    return {name: p for name, p in found.items() if name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def minimal(name: str) -> dict[str, Any]:
    """The least that a layer of this class can be made from."""
    own = inspect.signature(LAYERS[name].__init__).parameters
    needed = [p.name for p in own.values() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    config = {argument: NEEDED[argument] for argument in needed if argument != "self"}
    return {"name": "x", **config} | ({"batch_shape": [None, 4, 2]} if name == "InputLayer" else {})


@contextmanager
def bounded(shown: str, memory: bool) -> Iterator[None]:
    """Little time for what is done inside, and where it is asked for little memory."""
    if memory:
        tracemalloc.start()
    start = time.thread_time()
    try:
        yield
    finally:
        seconds, (_, peak) = time.thread_time() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seconds < SECONDS, shown
    assert peak < MEMORY, shown


def drawn(layer: Layer, shapes: Any) -> None:
    """Have the layer settle its weights and the shape of its output for inputs of these shapes."""
    nest = shapes if isinstance(shapes, list) else [shapes]
    tensors = [Tensor(shape, "float32", layer, 0, 0) for shape in nest]
    layer.connect((tensors if isinstance(shapes, list) else tensors[0],), {})


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_takes_or_refuses_every_value_of_every_argument(name):
    cls, base = LAYERS[name], minimal(name)
    assert isinstance(layer_from_config(node(name, **base)), cls)
    for argument in arguments(cls):
        inert = argument.endswith(INERT)
        for text in map(json.dumps, VALUES):
            for shapes in [None] if inert else [None, *SHAPES]:
                config = {**copy.deepcopy(base), argument: json.loads(text)}
                with bounded(f"{argument}={text[:50]} for {shapes}", shapes is None):
                    try:
                        layer = cls.from_config(config)
                        if shapes is not None:
                            drawn(layer, shapes)
                        layer.get_config()
                    except FastLSTMError:
                        if shapes is None:
                            break


@pytest.mark.parametrize("function", sorted(TABLE))
def test_an_operation_takes_or_refuses_every_value_of_every_argument(function):
    own = parameters(TABLE[function].run)
    inputs = [Tensor((None, 4, 2), "float32", Operation("Add"), 0, 0), 2.0, [1, 2]]
    for argument in (None, *own):
        for value in VALUES:
            config = {} if argument is None else {argument: json.loads(json.dumps(value))}
            others = [value, *inputs] if argument is None else inputs
            start = time.thread_time()
            try:
                operation = Operation(function, name="x", **config)
                for other in others:
                    for args in ((inputs[0],), (inputs[0], other), (other, inputs[0]), ([inputs[0], other],)):
                        try:
                            operation.connect(args, {})
                        except FastLSTMError:
                            pass
            except FastLSTMError:
                pass
            assert time.thread_time() - start < SECONDS, f"{argument}={repr(value)[:50]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_refused_by_name(name):
    with pytest.raises(FastLSTMError, match=f"{name}.*surprise"):
        layer_from_config(node(name, **minimal(name), surprise=1))
