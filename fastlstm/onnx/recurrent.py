"""LSTM, GRU, SimpleRNN and Bidirectional as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlstm.activations import Curve
from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers import GRU, LSTM, SimpleRNN
from fastlstm.layouts import keras_to_onnx
from fastlstm.onnx.graph import Graph

Array = NDArray[Any]
States = Sequence[str] | None

#: Our activations by ONNX's names for them, with the alpha and beta that Keras's stand for.
_ACTIVATIONS: dict[str, tuple[str, list[float], list[float]]] = {
    "elu": ("Elu", [1.0], []),
    "hard_sigmoid": ("HardSigmoid", [1 / 6], [0.5]),
    "hard_sigmoid_keras2": ("HardSigmoid", [0.2], [0.5]),
    "leaky_relu": ("LeakyRelu", [0.2], []),
    "linear": ("Affine", [1.0], [0.0]),
    "relu": ("Relu", [], []),
    "sigmoid": ("Sigmoid", [], []),
    "softplus": ("Softplus", [], []),
    "softsign": ("Softsign", [], []),
    "tanh": ("Tanh", [], []),
}
#: The same of curves, and whether ONNX's have a beta.
_CURVES = {
    "affine": ("Affine", True), "elu": ("Elu", False), "hard_sigmoid": ("HardSigmoid", True),
    "leaky_relu": ("LeakyRelu", False), "scaled_tanh": ("ScaledTanh", True),
    "thresholded_relu": ("ThresholdedRelu", False),
}  # fmt: skip
#: What an LSTM may compute and ONNX's does not.
_REFUSED = ("projection", "layer_norm", "cell_clip")


class Side(NamedTuple):
    """One direction: its operator and attributes, its activations, its weights with an axis of directions in front."""

    op: str
    attributes: dict[str, Any]
    functions: dict[str, list[Any]]  # the attributes of which two directions have one after the other
    weights: tuple[Array | None, ...]  # W, R, B and perhaps P


class Run(NamedTuple):
    """What one direction gives: (steps, batch, units) in the input's order, and its states, each (batch, units)."""

    y: str
    states: list[str]


def draw_recurrent(graph: Graph, layer: Any, x: str, states: States) -> Any:
    """An LSTM, GRU or SimpleRNN: its output, or that and its states."""
    x = _turned(graph, layer, graph.cast(x, layer.dtype))
    (run,) = _run(graph, [layer], x, states)
    output = _turned(graph, layer, _processed(graph, layer, run)) if layer.return_sequences else run.states[0]
    return (output, *run.states) if layer.return_state else output


def draw_bidirectional(graph: Graph, layer: Any, x: str, states: States) -> Any:
    """A Bidirectional: its output, or two of them, then the states of both sides."""
    sides = [layer.forward_layer, layer.backward_layer]
    for side in sides:
        if type(side) not in (LSTM, GRU, SimpleRNN) or side.dtype != layer.dtype:
            raise UnsupportedLayerError(f"to_onnx: {layer.who}: {side.who} inside is no LSTM, GRU or SimpleRNN like it")
    x = _turned(graph, sides[0], graph.cast(x, layer.dtype))
    runs = _run(graph, sides, x, states)
    if layer.return_sequences:
        ys = [_processed(graph, sides[0], runs[0]), runs[1].y]
        if not sides[1].go_backwards:  # Keras turns the second one round, whichever it is
            ys[1] = graph.flip(ys[1], 0)
    else:
        ys = [run.states[0] for run in runs]
    outputs = ys if layer.merge_mode is None else [_merged(graph, layer.merge_mode, ys)]
    if layer.return_sequences:
        outputs = [_turned(graph, sides[0], y) for y in outputs]
    if layer.return_state:
        return (*outputs, *runs[0].states, *runs[1].states)
    return tuple(outputs) if layer.merge_mode is None else outputs[0]


def _merged(graph: Graph, mode: str, ys: list[str]) -> str:
    if mode == "concat":
        return graph.add("Concat", *ys, axis=-1)
    if mode == "mul":
        return graph.add("Mul", *ys)
    y = graph.add("Add", *ys)
    return y if mode == "sum" else graph.add("Mul", y, graph.number(0.5, y))


def _turned(graph: Graph, layer: Any, tensor: str) -> str:
    """(batch, steps, ...) as (steps, batch, ...) and back, where the layer is not time-major itself."""
    return tensor if layer.time_major else graph.add("Transpose", tensor, perm=[1, 0, 2])


def _processed(graph: Graph, layer: Any, run: Run) -> str:
    """The sequence in the order in which the layer went through it."""
    return graph.flip(run.y, 0) if layer.go_backwards else run.y


# -- nodes ------------------------------------------------------------------------------------------


def _run(graph: Graph, layers: list[Any], x: str, states: States) -> list[Run]:
    """Each layer over x (steps, batch, features): by one node with two directions, where there is one for both."""
    sides = [_side(layer) for layer in layers]
    left = iter(states or ())
    given = [list(islice(left, layer.state_count)) or None for layer in layers]
    together = len(sides) == 2 and [layer.go_backwards for layer in layers] == [False, True]
    if together and _kind(sides[0]) == _kind(sides[1]):
        return _node(graph, layers, sides, x, given, "bidirectional")
    return [
        run
        for layer, side, state in zip(layers, sides, given, strict=True)
        for run in _node(graph, [layer], [side], x, [state], "reverse" if layer.go_backwards else "forward")
    ]


def _kind(side: Side) -> Any:
    """What the directions of one node have in common."""
    return side.op, side.attributes, [weight is None for weight in side.weights]


def _node(
    graph: Graph, layers: list[Any], sides: list[Side], x: str, states: Sequence[States], direction: str
) -> list[Run]:
    functions = {key: [v for side in sides for v in side.functions[key]] for key in sides[0].functions}
    own = zip(*(side.weights for side in sides), strict=True)
    w, r, b, *p = (
        "" if parts[0] is None else graph.constant(np.concatenate(parts), name)
        for name, parts in zip("WRBP", own, strict=False)
    )
    count = layers[0].state_count
    initial = [""] * count
    if states[0] is not None:
        initial = [_stacked(graph, [state[n] for state in states if state]) for n in range(count)]
    inputs = [x, w, r, b, "", *initial, *p]
    while not inputs[-1]:
        inputs.pop()
    sequences, states_too = layers[0].return_sequences, layers[0].return_state
    wanted = [sequences, states_too or not sequences, *[states_too] * (count - 1)]
    y, *ends = graph.add_several(
        sides[0].op, inputs, wanted, direction=direction, **sides[0].attributes,
        **{key: values for key, values in functions.items() if values},
    )  # fmt: skip
    return [
        Run(graph.take(y, d, 1) if y else "", [graph.take(end, d, 0) for end in ends if end]) for d in range(len(sides))
    ]


def _stacked(graph: Graph, states: list[str]) -> str:
    """States (batch, units) behind an axis of directions."""
    zero = graph.integers(0)
    lifted = [graph.add("Unsqueeze", state, zero) for state in states]
    return lifted[0] if len(lifted) == 1 else graph.add("Concat", *lifted, axis=0)


# -- what layers are --------------------------------------------------------------------------------


def _side(layer: Any) -> Side:
    if layer.stateful:
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: stateful=True cannot be exported; use return_state instead")
    side = _lstm(layer) if type(layer) is LSTM else _gru(layer) if type(layer) is GRU else _simple(layer)
    dtype = np.dtype(layer.dtype)
    weights = tuple(None if w is None else np.ascontiguousarray(w, dtype) for w in side.weights)
    return side._replace(attributes={"hidden_size": layer.units, **side.attributes}, weights=weights)


def _lstm(layer: Any) -> Side:
    variant, w, units = layer.variant, layer.arrays, layer.units
    refused = [f"{name}={getattr(variant, name)!r}" for name in _REFUSED if getattr(variant, name) is not None]
    if variant.coupled_gates == "input":
        refused.append("coupled_gates='input' (ONNX has f = 1 - i, which is 'forget')")
    if layer.return_gates:
        refused.append("return_gates=True")
    if refused:
        raise UnsupportedLayerError(f"to_onnx: {layer.who}: {', '.join(refused)} cannot be said in ONNX")
    kernels = [w["kernel"], w["recurrent_kernel"], w.get("bias", np.zeros_like(w["kernel"][0]))]
    attributes: dict[str, Any] = {}
    if variant.coupled_gates:  # ONNX has a place for the weights of f, which it does not read
        kernels = [
            np.concatenate([a[..., :units], np.zeros_like(a[..., :units]), a[..., units:]], axis=-1) for a in kernels
        ]
        attributes["input_forget"] = 1
    if variant.input_clip is not None:
        attributes["clip"] = variant.input_clip
    functions = (layer.recurrent_activation, layer.activation, variant.output_activation or layer.activation)
    kernel, recurrent_kernel, bias = kernels
    weights = keras_to_onnx(kernel, recurrent_kernel, bias, w.get("peephole_kernel"))
    return Side("LSTM", attributes, _functions(functions, layer.who), tuple(weights))


def _gru(layer: Any) -> Side:
    w = layer.arrays
    columns = layer.kernel.shape[1]
    bias = np.asarray(w.get("bias", np.zeros((2, columns), layer.dtype)))
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    functions = _functions((layer.recurrent_activation, layer.activation), layer.who)
    weights = (w["kernel"].T[None], w["recurrent_kernel"].T[None], both.reshape(1, -1))  # gates z, r, h in both
    return Side("GRU", {"linear_before_reset": int(layer.reset_after)}, functions, weights)


def _simple(layer: Any) -> Side:
    w, zeros = layer.arrays, np.zeros(layer.units, layer.dtype)
    bias = np.concatenate([w.get("bias", zeros), zeros])[None]
    weights = (w["kernel"].T[None], w["recurrent_kernel"].T[None], bias)
    return Side("RNN", {}, _functions((layer.activation,), layer.who), weights)


def _functions(activations: Sequence[Any], who: str) -> dict[str, list[Any]]:
    found = [_curve(activation, who) for activation in activations]
    return {
        "activations": [name for name, _, _ in found],
        "activation_alpha": [number for _, alpha, _ in found for number in alpha],
        "activation_beta": [number for _, _, beta in found for number in beta],
    }


def _curve(activation: Any, who: str) -> tuple[str, list[float], list[float]]:
    """ONNX's name, and the entries for its lists of alpha and beta."""
    if isinstance(activation, Curve):
        name = activation.name["config"]["name"]
        if name in _CURVES:
            op, has_beta = _CURVES[name]
            return op, [activation.alpha], [activation.beta] if has_beta else []
    elif activation.name in _ACTIVATIONS:
        return _ACTIVATIONS[activation.name]
    raise UnsupportedLayerError(
        f"to_onnx: {who}: {activation!r} is none that ONNX's recurrent operators have: {', '.join(_ACTIVATIONS)}"
    )
