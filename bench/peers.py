"""fastlstm and its peers behind one call each: NumPy in, NumPy out, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Weights(NamedTuple):
    """One LSTM in Keras's layout, gates i, f, c, o."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray


def draw_weights(rng: np.random.Generator, features: int, units: int) -> Weights:
    """PyTorch's initialisation, U(+-1/sqrt(units)), in float32."""
    bound = 1 / np.sqrt(units)
    shapes = ((features, 4 * units), (units, 4 * units), (4 * units,))
    return Weights(*(rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes))


class Fastlstm:
    """The layer's call, as a user writes it."""

    name = "fastlstm"

    def __init__(self, w: Weights, isa: str | None = None) -> None:
        import fastlstm

        self.layer = fastlstm.LSTM(w.recurrent_kernel.shape[0], return_sequences=True, isa=isa)
        self.layer.set_weights(list(w))

    def prepare(self, x: np.ndarray) -> Callable[[], np.ndarray]:
        """A call on x (B,T,I) that gives (B,T,U)."""
        return lambda: self.layer(x)

    def prepare_step(self, x: np.ndarray) -> Callable[[], np.ndarray]:
        """One step of a stream on x (B,I) into an array made beforehand."""
        stream, out = self.layer.stream(len(x)), np.empty((len(x), self.layer.units), np.float32)
        return lambda: stream.step(x, out)


class Onnxruntime:
    """onnxruntime's LSTM operator in a session of one thread; its input is made time-major beforehand."""

    name = "onnxruntime"

    def __init__(self, w: Weights) -> None:
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
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, features])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
            initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def prepare(self, x: np.ndarray) -> Callable[[], Any]:
        """A call on x (B,T,I), here already (T,B,I), that gives (T,1,B,U)."""
        feed = {"X": np.ascontiguousarray(x.transpose(1, 0, 2))}
        return lambda: self.session.run(None, feed)[0]

    @staticmethod
    def batch_major(y: np.ndarray) -> np.ndarray:
        """(T,1,B,U) -> (B,T,U)."""
        return y[:, 0].transpose(1, 0, 2)
