"""fastlstm and its peers behind one call each: NumPy in, NumPy out, on as many threads as told."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastlstm.bench import Run


class Weights(NamedTuple):
    """One LSTM in Keras's layout, gates i, f, c, o."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray


#: Layers from the input up, each with one or two directions.
Stack = list[list[Weights]]


def draw_weights(rng: np.random.Generator, features: int, units: int) -> Weights:
    """PyTorch's initialisation, U(+-1/sqrt(units)), in float32."""
    bound = 1 / np.sqrt(units)
    shapes = ((features, 4 * units), (units, 4 * units), (4 * units,))
    return Weights(*(rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes))


def draw_stack(rng: np.random.Generator, features: int, units: int, layers: int = 1, directions: int = 1) -> Stack:
    """Every layer after the first reads the directions of the one below side by side."""
    widths = [features] + [directions * units] * (layers - 1)
    return [[draw_weights(rng, width, units) for _ in range(directions)] for width in widths]


def gates(a: np.ndarray, order: str) -> np.ndarray:
    """Keras's columns i f c o, in another order, as rows."""
    parts = dict(zip("ifco", np.split(a, 4, axis=-1), strict=True))
    return np.ascontiguousarray(np.concatenate([parts[g] for g in order], axis=-1).T)


class Fastlstm:
    """The layer or model's call, as a user writes it; a stream's step for sequences of one step."""

    name = "fastlstm"

    def __init__(self, stack: Stack, isa: str | None = None, precision: str = "float32") -> None:
        import fastlstm

        layers: list[Any] = []
        for directions in stack:
            units = directions[0].recurrent_kernel.shape[0]
            layer: Any = fastlstm.LSTM(units, return_sequences=True, isa=isa, precision=precision)
            layer = fastlstm.layers.Bidirectional(layer) if len(directions) == 2 else layer
            layer.set_weights([array for w in directions for array in w])
            layers.append(layer)
        features = stack[0][0].kernel.shape[0]
        inputs = fastlstm.layers.InputLayer(shape=(None, features))
        self.model = layers[0] if len(layers) == 1 else fastlstm.Sequential([inputs, *layers])

    def prepare(self, x: np.ndarray) -> Run:
        """A call on x (B,T,I) that gives (B,T,U)."""
        return lambda: self.model(x)

    def prepare_step(self, x: np.ndarray) -> Run:
        """One step of a stream on x (B,I), the first from zeros."""
        stream = self.model.stream(len(x))
        out = np.empty_like(stream.step(x))
        stream.reset()
        return lambda: stream.step(x, out)


def onnx_model(stack: Stack) -> bytes:
    """The stack as ONNX LSTM nodes: X (T,B,I) -> Y (T,B,directions * units)."""
    from onnx import TensorProto, helper, numpy_helper

    units = stack[0][0].recurrent_kernel.shape[0]
    nodes, initializers, below = [], [], "X"
    for n, directions in enumerate(stack):
        zeros = np.zeros(4 * units, np.float32)
        bias = [np.concatenate([gates(w.bias[None], "iofc")[:, 0], zeros]) for w in directions]
        arrays = {
            f"W{n}": np.stack([gates(w.kernel, "iofc") for w in directions]),
            f"R{n}": np.stack([gates(w.recurrent_kernel, "iofc") for w in directions]),
            f"B{n}": np.stack(bias),
            f"S{n}": np.array([0, 0, -1], np.int64),
        }
        initializers += [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        direction = "bidirectional" if len(directions) == 2 else "forward"
        above = "Y" if n == len(stack) - 1 else f"H{n}"
        nodes += [  # (T,D,B,U) -> (T,B,D,U) -> (T,B,D*U)
            helper.make_node(
                "LSTM", [below, f"W{n}", f"R{n}", f"B{n}"], [f"Y{n}"], hidden_size=units, direction=direction
            ),
            helper.make_node("Transpose", [f"Y{n}"], [f"T{n}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"T{n}", f"S{n}"], [above]),
        ]
        below = above
    value = helper.make_tensor_value_info
    x = value("X", TensorProto.FLOAT, [None, None, stack[0][0].kernel.shape[0]])
    graph = helper.make_graph(nodes, "lstm", [x], [value("Y", TensorProto.FLOAT, None)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=10)
    serialized: bytes = model.SerializeToString()
    return serialized


class TimeMajor:
    """A peer that takes (T,B,I) and gives (T,B,U); the turning round is not timed."""

    name: str
    #: What it is to be compared with.
    precision = "float32"

    def __init__(self, stack: Stack, threads: int = 1) -> None:
        raise NotImplementedError

    def call(self, x: np.ndarray) -> Any:
        raise NotImplementedError

    def prepare(self, x: np.ndarray) -> Run:
        turned = np.ascontiguousarray(x.transpose(1, 0, 2))
        return lambda: self.call(turned)

    @staticmethod
    def batch_major(y: np.ndarray) -> np.ndarray:
        return y.transpose(1, 0, 2)


class Onnxruntime(TimeMajor):
    name = "onnxruntime"

    def __init__(self, stack: Stack, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(self.model(stack), options, providers=["CPUExecutionProvider"])

    @staticmethod
    def model(stack: Stack) -> bytes:
        return onnx_model(stack)

    def call(self, x: np.ndarray) -> Any:
        return self.session.run(None, {"X": x})[0]


class OnnxruntimeInt8(Onnxruntime):
    """Weights quantized by its own tool, inputs as they come."""

    name = "onnxruntime-int8"
    precision = "int8"

    @staticmethod
    def model(stack: Stack) -> bytes:
        import onnx
        from onnxruntime.quantization import quantize_dynamic

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            logging.disable(logging.WARNING)  # that a model might be simplified first
            try:
                quantize_dynamic(onnx.load_from_string(onnx_model(stack)), path, op_types_to_quantize=["LSTM"])
            finally:
                logging.disable(logging.NOTSET)
            return path.read_bytes()


class Openvino(TimeMajor):
    """In float32: on some processors its default is bfloat16."""

    name = "openvino"
    hint = "f32"

    def __init__(self, stack: Stack, threads: int = 1) -> None:
        import openvino

        core = openvino.Core()
        options = {"INFERENCE_PRECISION_HINT": self.hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        self.request = core.compile_model(core.read_model(onnx_model(stack)), "CPU", options).create_infer_request()

    def call(self, x: np.ndarray) -> Any:
        return self.request.infer([x], share_inputs=True, share_outputs=True)[0]


class OpenvinoBfloat16(Openvino):
    name = "openvino-bf16"
    precision, hint = "bfloat16", "bf16"


class Torch(TimeMajor):
    name = "torch"

    def __init__(self, stack: Stack, threads: int = 1) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        units = stack[0][0].recurrent_kernel.shape[0]
        self.lstm = torch.nn.LSTM(
            stack[0][0].kernel.shape[0], units, num_layers=len(stack), bidirectional=len(stack[0]) == 2
        )
        for n, directions in enumerate(stack):
            for w, suffix in zip(directions, ("", "_reverse"), strict=False):
                for name, array in (
                    ("weight_ih", gates(w.kernel, "ifco")),
                    ("weight_hh", gates(w.recurrent_kernel, "ifco")),
                    ("bias_ih", w.bias),
                    ("bias_hh", np.zeros_like(w.bias)),
                ):
                    getattr(self.lstm, f"{name}_l{n}{suffix}").data = torch.from_numpy(array.copy())

    def call(self, x: np.ndarray) -> Any:
        with self.torch.inference_mode():
            return self.lstm(self.torch.from_numpy(x))[0].numpy()


class Jax(TimeMajor):
    """Compiled for the stack, its weights as constants, which costs less a call than handing them over.

    How many threads it has is settled for the whole process when it is first imported: one, or as many as
    there are processors in the affinity mask.
    """

    name = "jax"

    def __init__(self, stack: Stack, threads: int = 1) -> None:
        if threads == 1:
            os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        import jax

        self.compiled = jax.jit(lambda x: jax_stack(x, stack))

    def call(self, x: np.ndarray) -> Any:
        return np.asarray(self.compiled(x))


def jax_stack(x: Any, stack: Stack) -> Any:
    """x (T,B,I) through the stack: the product with all inputs at once, then a scan over the steps."""
    from jax import lax, nn
    from jax import numpy as jnp

    def step(state: Any, inputs: Any, recurrent_kernel: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(inputs + h @ recurrent_kernel, 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    for directions in stack:
        outputs = []
        for w, backwards in zip(directions, (False, True), strict=False):
            inputs = (x.reshape(-1, x.shape[-1]) @ w.kernel + w.bias).reshape(*x.shape[:2], -1)
            # the compiler must not see the zeros: of one step it would leave out the product with them
            zeros = lax.optimization_barrier(jnp.zeros((x.shape[1], len(w.recurrent_kernel)), jnp.float32))
            one_step = partial(step, recurrent_kernel=w.recurrent_kernel)
            outputs.append(lax.scan(one_step, (zeros, zeros), inputs, reverse=backwards)[1])
        x = jnp.concatenate(outputs, axis=-1)
    return x


PEERS: dict[str, type[TimeMajor]] = {
    peer.name: peer for peer in (Onnxruntime, Openvino, Torch, Jax, OpenvinoBfloat16, OnnxruntimeInt8)
}


def installed(precision: str | None = None) -> list[str]:
    """Names of the peers that can be imported here: of all, or of those of a precision."""
    from importlib.util import find_spec

    return [
        name
        for name, peer in PEERS.items()
        if precision in (None, peer.precision) and find_spec(name.split("-")[0]) is not None
    ]
