"""fastlstm and its peers behind one call each: NumPy in, NumPy out, on a stated number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Weights(NamedTuple):
    """One LSTM in Keras's layout, gates i, f, c, o."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray


Runner = Callable[[np.ndarray], np.ndarray]  # (B,T,I) -> (B,T,U)


def fastlstm_runner(w: Weights, steps: int, isa: str | None = None) -> Runner:
    """The layer's call; for sequences of one step, a stream's step with its state kept."""
    import fastlstm

    layer = fastlstm.LSTM(w.recurrent_kernel.shape[0], return_sequences=True, isa=isa)
    layer.set_weights(list(w))
    return layer


def onnxruntime_runner(w: Weights, steps: int) -> Runner:
    """onnxruntime's LSTM operator in a session of one thread; its input is made time-major beforehand."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    units, features = w.recurrent_kernel.shape[0], w.kernel.shape[0]

    def iofc(a: np.ndarray) -> np.ndarray:  # Keras's columns i f c o -> ONNX's rows i o f c
        i, f, c, o = np.split(a, 4, axis=-1)
        return np.ascontiguousarray(np.concatenate([i, o, f, c], axis=-1).T)[None]

    bias = np.concatenate([iofc(w.bias[None])[0, :, 0], np.zeros(4 * units, np.float32)])[None]
    initializers = [
        numpy_helper.from_array(array, name)
        for name, array in (("W", iofc(w.kernel)), ("R", iofc(w.recurrent_kernel)), ("B", bias))
    ]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=units)],
        "lstm",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, None, features])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(x: np.ndarray) -> Any:
        return session.run(None, {"X": x})[0]

    return run


def to_onnx_layout(x: np.ndarray) -> np.ndarray:
    """(B,T,I) -> the contiguous (T,B,I) that the operator reads."""
    return np.ascontiguousarray(x.transpose(1, 0, 2))


def from_onnx_layout(y: np.ndarray) -> np.ndarray:
    """(T,1,B,U) -> (B,T,U)."""
    return y[:, 0].transpose(1, 0, 2)
