"""LSTM weights from one system's layout to another's: Keras, TensorFlow 1, PyTorch, ONNX, OpenVINO, oneDNN, cuDNN.

Everything goes through Keras's layout, which is that of ``fastlstm.LSTM``: I features, U units, H what a step
reads of the one before it (U, or P with a projection). All functions take one layer in one direction, check every
shape, keep the dtype of floats, and return new arrays in a NamedTuple with None for what there is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.errors import FastLSTMError
from fastlstm.layout_parts import (
    ORDERS,
    CudnnWeights,
    KerasWeights,
    OneDNNWeights,
    ONNXWeights,
    OpenVINOWeights,
    TF1Weights,
    TorchWeights,
    as_list,
    checked_array,
    checked_forget_bias,
    checked_index,
    checked_keras,
    copied,
    gates,
    optional_array,
    refuse,
    rows_of,
    turned,
    units_of,
)

__all__ = [
    "ORDERS",
    "CudnnWeights",
    "KerasWeights",
    "ONNXWeights",
    "OneDNNWeights",
    "OpenVINOWeights",
    "TF1Weights",
    "TorchWeights",
    "cudnn_to_keras",
    "gates",
    "keras_to_cudnn",
    "keras_to_onednn",
    "keras_to_onnx",
    "keras_to_openvino",
    "keras_to_tf1",
    "keras_to_torch",
    "onednn_to_keras",
    "onnx_to_keras",
    "openvino_to_keras",
    "tf1_to_keras",
    "torch_to_keras",
]


# -- TensorFlow 1 ---------------------------------------------------------------------------------


def tf1_to_keras(
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    w_f_diag: ArrayLike | None = None,
    w_i_diag: ArrayLike | None = None,
    w_o_diag: ArrayLike | None = None,
    projection: ArrayLike | None = None,
    *,
    forget_bias: float = 1.0,
) -> KerasWeights:
    """From the variables of a TensorFlow 1 cell: see :class:`TF1Weights`.

    ``forget_bias`` is the cell's argument, which TensorFlow 1 adds when it runs and keeps in no checkpoint; Keras's
    bias has it. The kernels of BasicLSTMCell, LSTMCell, LSTMBlockCell and LSTMBlockFusedCell are alike; the peepholes
    of the latter two come in the order i, f, o: pass them by name.
    """
    matrix = checked_array(kernel, "tf1_to_keras: kernel", None, None)
    units = units_of(matrix.shape[1], "tf1_to_keras: kernel", matrix)
    project = optional_array(projection, "tf1_to_keras: projection", units, None)
    state = units if project is None else project.shape[1]
    if len(matrix) <= state:
        raise FastLSTMError(
            f"tf1_to_keras: kernel has shape {matrix.shape}; expected rows of the features, then {state} of the state"
        )
    given = {"w_i_diag": w_i_diag, "w_f_diag": w_f_diag, "w_o_diag": w_o_diag}
    peepholes = [checked_array(v, f"tf1_to_keras: {name}", units) for name, v in given.items() if v is not None]
    if len(peepholes) not in (0, 3):
        raise FastLSTMError(f"tf1_to_keras: there are {len(peepholes)} peepholes; expected all three or none")
    opened = np.zeros(4 * units, matrix.dtype)
    opened[units : 2 * units] = checked_forget_bias(forget_bias, matrix.dtype, "tf1_to_keras")
    if bias is not None:
        opened = opened + gates(checked_array(bias, "tf1_to_keras: bias", 4 * units), "tf1", "keras")
    split = len(matrix) - state
    both = gates(matrix, "tf1", "keras")
    return KerasWeights(
        both[:split], both[split:], opened, np.stack(peepholes) if peepholes else None, copied(project)
    )


def keras_to_tf1(
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
    *,
    forget_bias: float = 1.0,
) -> TF1Weights:
    """To the variables of a TensorFlow 1 cell that has this ``forget_bias``, which its bias is then without."""
    w = checked_keras("keras_to_tf1", kernel, recurrent_kernel, bias, peephole_kernel, projection_kernel)
    units = w.kernel.shape[1] // 4
    closed = np.zeros(4 * units, w.kernel.dtype) if w.bias is None else w.bias.copy()
    closed[units : 2 * units] -= checked_forget_bias(forget_bias, closed.dtype, "keras_to_tf1")
    i, f, o = (None,) * 3 if w.peephole_kernel is None else map(np.copy, w.peephole_kernel)
    both = np.concatenate([w.kernel, w.recurrent_kernel])
    return TF1Weights(gates(both, "keras", "tf1"), gates(closed, "keras", "tf1"), f, i, o, copied(w.projection_kernel))


# -- PyTorch --------------------------------------------------------------------------------------


def torch_to_keras(
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    weight_hr: ArrayLike | None = None,
) -> KerasWeights:
    """From one layer and direction of ``torch.nn.LSTM``, or an LSTMCell; Keras's bias is the sum of both."""
    ih = checked_array(weight_ih, "torch_to_keras: weight_ih", None, None)
    units = units_of(len(ih), "torch_to_keras: weight_ih", ih)
    hr = optional_array(weight_hr, "torch_to_keras: weight_hr", None, units)
    hh = checked_array(weight_hh, "torch_to_keras: weight_hh", 4 * units, units if hr is None else len(hr))
    halves = {"bias_ih": bias_ih, "bias_hh": bias_hh}
    given = [checked_array(b, f"torch_to_keras: {name}", 4 * units) for name, b in halves.items() if b is not None]
    bias = np.sum(given, axis=0) if given else None
    return KerasWeights(turned(ih), turned(hh), bias, None, None if hr is None else turned(hr))


def keras_to_torch(
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
) -> TorchWeights:
    """To one layer and direction of ``torch.nn.LSTM``, which has no peepholes; ``bias_hh`` is zeros."""
    refuse("keras_to_torch", peephole_kernel=peephole_kernel)
    w = checked_keras("keras_to_torch", kernel, recurrent_kernel, bias, None, projection_kernel)
    zeros = None if w.bias is None else np.zeros_like(w.bias)
    hr = None if w.projection_kernel is None else turned(w.projection_kernel)
    return TorchWeights(turned(w.kernel), turned(w.recurrent_kernel), copied(w.bias), zeros, hr)


# -- ONNX and OpenVINO ----------------------------------------------------------------------------


def onnx_to_keras(
    W: ArrayLike, R: ArrayLike, B: ArrayLike | None = None, P: ArrayLike | None = None, *, direction: int = 0
) -> KerasWeights:
    """From one direction of the inputs of ONNX's LSTM, each with both directions or the one there is."""
    w = checked_array(W, "onnx_to_keras: W", None, None, None)
    units, count = units_of(w.shape[1], "onnx_to_keras: W", w), len(w)
    r = checked_array(R, "onnx_to_keras: R", count, 4 * units, units)
    b = optional_array(B, "onnx_to_keras: B", count, 8 * units)
    p = optional_array(P, "onnx_to_keras: P", count, 3 * units)
    d = checked_index(direction, count, "onnx_to_keras")
    bias = None if b is None else gates(b[d, : 4 * units] + b[d, 4 * units :], "onnx", "keras")
    peepholes = None if p is None else gates(p[d], "iof", "ifo").reshape(3, units)
    return KerasWeights(gates(w[d].T, "onnx", "keras"), gates(r[d].T, "onnx", "keras"), bias, peepholes)


def keras_to_onnx(
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
) -> ONNXWeights:
    """To the inputs of an ONNX LSTM of one direction, without projection; the second half of its B is zeros."""
    refuse("keras_to_onnx", projection_kernel=projection_kernel)
    w = checked_keras("keras_to_onnx", kernel, recurrent_kernel, bias, peephole_kernel)
    b = None if w.bias is None else np.concatenate([gates(w.bias, "keras", "onnx"), np.zeros_like(w.bias)])[None]
    p = None if w.peephole_kernel is None else gates(w.peephole_kernel.reshape(1, -1), "ifo", "iof")
    return ONNXWeights(rows_of(w.kernel, "onnx"), rows_of(w.recurrent_kernel, "onnx"), b, p)


def openvino_to_keras(W: ArrayLike, R: ArrayLike, B: ArrayLike | None = None, *, direction: int = 0) -> KerasWeights:
    """From one direction of the inputs of OpenVINO's LSTMSequence, or from LSTMCell's with an axis in front."""
    w = checked_array(W, "openvino_to_keras: W", None, None, None)
    units, count = units_of(w.shape[1], "openvino_to_keras: W", w), len(w)
    r = checked_array(R, "openvino_to_keras: R", count, 4 * units, units)
    b = optional_array(B, "openvino_to_keras: B", count, 4 * units)
    d = checked_index(direction, count, "openvino_to_keras")
    bias = None if b is None else gates(b[d], "openvino", "keras")
    return KerasWeights(gates(w[d].T, "openvino", "keras"), gates(r[d].T, "openvino", "keras"), bias)


def keras_to_openvino(
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
) -> OpenVINOWeights:
    """To the inputs of an OpenVINO LSTMSequence of one direction, whose bias is zeros for None; it has no more."""
    refuse("keras_to_openvino", peephole_kernel=peephole_kernel, projection_kernel=projection_kernel)
    w = checked_keras("keras_to_openvino", kernel, recurrent_kernel, bias)
    b = np.zeros(w.kernel.shape[1], w.kernel.dtype) if w.bias is None else w.bias
    return OpenVINOWeights(
        rows_of(w.kernel, "openvino"), rows_of(w.recurrent_kernel, "openvino"), gates(b, "keras", "openvino")[None]
    )


# -- oneDNN and cuDNN -----------------------------------------------------------------------------


def onednn_to_keras(
    weights_layer: ArrayLike,
    weights_iter: ArrayLike,
    bias: ArrayLike | None = None,
    weights_peephole: ArrayLike | None = None,
    weights_projection: ArrayLike | None = None,
    *,
    layer: int = 0,
    direction: int = 0,
) -> KerasWeights:
    """From one layer and direction of oneDNN's memories, in its formats ldigo, ldgo and ldio."""
    who = "onednn_to_keras"
    x = checked_array(weights_layer, f"{who}: weights_layer", None, None, None, 4, None)
    layers, directions, features, _, units = x.shape
    units_of(4 * units, f"{who}: weights_layer", x)
    at = checked_index(layer, layers, who, "layer"), checked_index(direction, directions, who)
    lead = (layers, directions)
    p = optional_array(weights_projection, f"{who}: weights_projection", *lead, units, None)
    h = checked_array(weights_iter, f"{who}: weights_iter", *lead, units if p is None else p.shape[-1], 4, units)
    b = optional_array(bias, f"{who}: bias", *lead, 4, units)
    peep = optional_array(weights_peephole, f"{who}: weights_peephole", *lead, 3, units)
    bias, peep, p = (None if array is None else array[at].copy() for array in (b, peep, p))
    kernels = x[at].reshape(features, -1).copy(), h[at].reshape(-1, 4 * units).copy()
    return KerasWeights(*kernels, None if bias is None else bias.reshape(-1), peep, p)


def keras_to_onednn(
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
) -> OneDNNWeights:
    """To oneDNN's memories of one layer in one direction, which must have a bias: zeros for none."""
    w = checked_keras("keras_to_onednn", kernel, recurrent_kernel, bias, peephole_kernel, projection_kernel)
    units = w.kernel.shape[1] // 4
    b = np.zeros(4 * units, w.kernel.dtype) if w.bias is None else w.bias.copy()
    x, h = (array.reshape(1, 1, -1, 4, units).copy() for array in (w.kernel, w.recurrent_kernel))
    p, peep = (None if a is None else a[None, None].copy() for a in (w.projection_kernel, w.peephole_kernel))
    return OneDNNWeights(x, h, b.reshape(1, 1, 4, units), peep, p)


def cudnn_to_keras(weights: Sequence[ArrayLike], biases: Sequence[ArrayLike]) -> KerasWeights:
    """From the canonical parameters of one layer and direction of CudnnLSTM; Keras's bias is the sum of both."""
    who = "cudnn_to_keras"
    weights, biases = as_list(weights, f"{who}: weights"), as_list(biases, f"{who}: biases")
    if len(weights) not in (8, 9) or len(biases) != 8:
        raise FastLSTMError(f"{who}: got {len(weights)} weights and {len(biases)} biases; expected 8 or 9, and 8")
    first = checked_array(weights[0], f"{who}: weights[0]", None, None)
    units, features = first.shape
    project = None if len(weights) == 8 else checked_array(weights[8], f"{who}: weights[8]", None, units)
    widths = [features] * 4 + [units if project is None else len(project)] * 4
    parts = [checked_array(weights[n], f"{who}: weights[{n}]", units, width) for n, width in enumerate(widths)]
    halves = [checked_array(bias, f"{who}: biases[{n}]", units) for n, bias in enumerate(biases)]
    x, h = (turned(np.concatenate(four)) for four in (parts[:4], parts[4:]))
    bias = np.concatenate(halves[:4]) + np.concatenate(halves[4:])
    return KerasWeights(x, h, bias, None, None if project is None else turned(project))


def keras_to_cudnn(
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    peephole_kernel: ArrayLike | None = None,
    projection_kernel: ArrayLike | None = None,
) -> CudnnWeights:
    """To the canonical parameters of one layer and direction of CudnnLSTM, without peepholes; h's biases are zeros."""
    refuse("keras_to_cudnn", peephole_kernel=peephole_kernel)
    w = checked_keras("keras_to_cudnn", kernel, recurrent_kernel, bias, None, projection_kernel)
    columns = w.kernel.shape[1]
    b = np.zeros(columns, w.kernel.dtype) if w.bias is None else w.bias
    parts = [turned(g) for array in (w.kernel, w.recurrent_kernel) for g in np.split(array, 4, axis=1)]
    parts += [] if w.projection_kernel is None else [turned(w.projection_kernel)]
    return CudnnWeights(tuple(parts), tuple(map(np.copy, np.split(np.concatenate([b, np.zeros_like(b)]), 8))))
