"""No value that JSON can hold harms a layer's constructor: it is taken, or refused by FastLSTMError, at once."""

from __future__ import annotations

import copy
import gc
import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hostile_values import NAMES, VALUES, arguments, minimal
from samples import node

from fastlstm import FastLSTMError
from fastlstm.layers import Layer
from fastlstm.layers.graph import Tensor
from fastlstm.layers.op_arguments import parameters
from fastlstm.layers.op_table import TABLE
from fastlstm.layers.ops import Operation
from fastlstm.layers.serialization import LAYERS, layer_from_config

SECONDS = 0.5  # of the processor's time, for one layer
MEMORY = 8 * 2**20
SHAPES: list[Any] = [(None, 4, 2), (2, 6, 6, 3), (None, None), (), [(None, 4, 2), (None, 4, 2)], (None, 2**31, 2**31)]
#: Arguments that say nothing of shapes, by the ends of their names.
INERT = ("_initializer", "_regularizer", "_constraint", "name", "trainable", "dtype", "autocast", "seed", "lora_alpha",
         "implementation", "use_cudnn", "weights", "input_dim", "input_shape")  # fmt: skip


@pytest.fixture(autouse=True)
def frozen():
    """The collector goes through what a test makes, not through all that other tests have left."""
    gc.freeze()
    yield
    gc.unfreeze()


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


def connected(operation: Operation, args: tuple[Any, ...]) -> float:
    """Seconds of the processor's time that drawing a call takes, or refusing it."""
    start = time.thread_time()
    try:
        operation.connect(args, {})
    except FastLSTMError:
        pass
    return time.thread_time() - start


@pytest.mark.parametrize("function", sorted(TABLE))
def test_an_operation_takes_or_refuses_every_value_of_every_argument(function):
    own = parameters(TABLE[function].run)
    inputs = [Tensor((None, 4, 2), "float32", Operation("Add"), 0, 0), 2.0, [1, 2]]
    for argument in (None, *own):
        for value in VALUES:
            config = {} if argument is None else {argument: json.loads(json.dumps(value))}
            others = [value, *inputs] if argument is None else inputs
            try:
                operation = Operation(function, name="x", **config)
            except FastLSTMError:
                continue
            for other in others:
                for args in ((inputs[0],), (inputs[0], other), (other, inputs[0]), ([inputs[0], other],)):
                    # once more where the machine was at something else, as when it fetches memory back
                    quick = any(connected(operation, args) < SECONDS for _ in range(2))
                    assert quick, f"{argument}={repr(value)[:50]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_refused_by_name(name):
    with pytest.raises(FastLSTMError, match=f"{name}.*surprise"):
        layer_from_config(node(name, **minimal(name), surprise=1))
