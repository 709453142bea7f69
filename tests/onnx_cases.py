"""ONNX's LSTM in NumPy, written like its equations, random nodes of it, and onnxruntime to run them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from reference import rounding_bound, sigmoid

from fastlstm.onnx import LSTM

NAMES = ("Y", "Y_h", "Y_c")
WEIGHTS = ("W", "R", "B", "P")
CALL = ("sequence_lens", "initial_h", "initial_c")
SLOTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu",
               "Softsign", "Softplus")  # fmt: skip
#: Those that take an alpha, a beta; and onnxruntime's values where there is none.
ALPHAS = {"Affine": 0.0, "LeakyRelu": 0.01, "ThresholdedRelu": 0.0, "ScaledTanh": 0.0, "HardSigmoid": 0.2, "Elu": 1.0}
BETAS = {"Affine": 0.0, "ScaledTanh": 0.0, "HardSigmoid": 0.5}
JUMPS = 1e-3  # no case has a sum nearer to where ThresholdedRelu jumps: rounding could take it to the other side

LARGEST = 30.0  # of what a case gives: gates without a bound, multiplied step by step, soon leave any type's range


class NearJump(Exception):
    """The case cannot be compared."""


def functions(attributes: dict[str, Any], directions: int) -> list[Any]:
    """F, G, H of each direction as functions of arrays."""
    alphas = iter(attributes.get("activation_alpha", ()))
    betas = iter(attributes.get("activation_beta", ()))
    names = {name.lower(): name for name in ACTIVATIONS}
    found = []
    for given in attributes.get("activations", ["Sigmoid", "Tanh", "Tanh"] * directions):
        name = names[given.lower()]
        a = next(alphas, ALPHAS[name]) if name in ALPHAS else None
        b = next(betas, BETAS[name]) if name in BETAS else None
        found.append(_function(name, a, b))
    return found


def _function(name, a, b):
    def thresholded(x):
        if x.size and np.abs(x - a).min() < JUMPS:
            raise NearJump
        return np.where(x > a, x, 0).astype(x.dtype)

    return {
        "Relu": lambda x: np.maximum(x, 0),
        "Tanh": np.tanh,
        "Sigmoid": sigmoid,
        "Affine": lambda x: (a * x + b).astype(x.dtype),
        "LeakyRelu": lambda x: np.where(x < 0, a * x, x).astype(x.dtype),
        "ThresholdedRelu": thresholded,
        "ScaledTanh": lambda x: (a * np.tanh(b * x)).astype(x.dtype),
        "HardSigmoid": lambda x: np.clip(a * x + b, 0, 1).astype(x.dtype),
        "Elu": lambda x: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x).astype(x.dtype),
        "Softsign": lambda x: x / (1 + np.abs(x)),
        "Softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    }[name]


def operator(attributes, inputs, dtype=np.float64):
    """Y, Y_h, Y_c of a node with these attributes, its inputs in a dictionary."""
    given = {k: v if k == "sequence_lens" else np.asarray(v, dtype) for k, v in inputs.items()}
    layout = attributes.get("layout", 0)
    x, w, r = given["X"], given["W"], given["R"]
    x = x.swapaxes(0, 1) if layout else x
    directions, units = len(w), r.shape[2]
    steps, batch = x.shape[:2]
    lengths = np.asarray(given.get("sequence_lens", [steps] * batch))
    zeros = np.zeros((directions, batch, units), dtype)
    h0, c0 = (given.get(name, zeros.swapaxes(0, 1) if layout else zeros) for name in ("initial_h", "initial_c"))
    h0, c0 = (s.swapaxes(0, 1) if layout else s for s in (h0, c0))
    clip, coupled = attributes.get("clip", np.inf), attributes.get("input_forget", 0)
    curves = functions(attributes, directions)
    y = np.zeros((steps, directions, batch, units), dtype)
    ends = np.zeros((2, directions, batch, units), dtype)
    for d in range(directions):
        f_, g_, h_ = curves[3 * d : 3 * d + 3]
        b = given["B"][d].reshape(2, -1).sum(0) if "B" in given else np.zeros(4 * units, dtype)
        p_i, p_o, p_f = given["P"][d].reshape(3, -1) if "P" in given else np.zeros((3, units), dtype)
        backwards = attributes.get("direction") == "reverse" or d == 1
        for row in range(batch):
            h, c = h0[d, row], c0[d, row]
            for t in range(lengths[row])[:: -1 if backwards else 1]:
                i, o, f, g = np.split(w[d] @ x[t, row] + r[d] @ h + b, 4)
                i = f_(np.clip(i + p_i * c, -clip, clip))
                f = 1 - i if coupled else f_(np.clip(f + p_f * c, -clip, clip))
                c = f * c + i * g_(np.clip(g, -clip, clip))
                h = f_(np.clip(o + p_o * c, -clip, clip)) * h_(c)
                y[t, d, row] = h
            if lengths[row]:
                ends[:, d, row] = h, c
    return (y.transpose(2, 0, 1, 3), *ends.swapaxes(1, 2)) if layout else (y, *ends)


class Case(NamedTuple):
    """A node's attributes, and arrays for the inputs it has."""

    attributes: dict[str, Any]
    inputs: dict[str, Any]


def draw(rng: np.random.Generator, dtype: Any = np.float32) -> Case:
    """A node with any of the attributes and inputs that there are."""

    def chance(share):
        return rng.random() < share

    def normal(*shape, scale=1.0):
        return (scale * rng.normal(size=shape)).astype(dtype)

    steps, batch, features, units = (int(rng.integers(1, most)) for most in (8, 6, 8, 20))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    d = 2 if direction == "bidirectional" else 1
    attributes: dict[str, Any] = {"hidden_size": units}
    if direction != "forward" or chance(0.5):
        attributes["direction"] = direction
    if chance(0.6):
        names = [str(rng.choice(ACTIVATIONS)) for _ in range(3 * d)]
        attributes["activations"] = [str(rng.choice([n, n.lower(), n.upper()])) for n in names]
        for key, known in (("activation_alpha", ALPHAS), ("activation_beta", BETAS)):
            needed = sum(name in known for name in names)
            count = int(rng.integers(0, needed + 2)) if chance(0.3) else needed
            if count:
                attributes[key] = [float(np.float32(v)) for v in rng.uniform(0.1, 0.9, count)]
    if chance(0.4):
        attributes["clip"] = float(np.float32(rng.uniform(0.2, 2)))
    if chance(0.3):
        attributes["input_forget"] = int(rng.integers(2))
    inputs = {"X": normal(steps, batch, features), "W": normal(d, 4 * units, features, scale=features**-0.5)}
    inputs["R"] = normal(d, 4 * units, units, scale=0.7 * units**-0.5)
    if chance(0.7):
        inputs["B"] = normal(d, 8 * units, scale=0.5)
    if chance(0.5):
        inputs["sequence_lens"] = rng.integers(0 if chance(0.3) else 1, steps + 1, batch).astype(np.int32)
        inputs["sequence_lens"][rng.integers(batch)] = steps  # onnxruntime leaves Y_c unwritten where all are 0
    for name in ("initial_h", "initial_c"):
        if chance(0.5):
            inputs[name] = normal(d, batch, units)
    if chance(0.4):
        inputs["P"] = normal(d, 3 * units, scale=0.5)
    return Case(attributes, inputs)


def cases(seed: int, count: int, dtype: Any = np.float32) -> list[tuple[Case, Any]]:
    """Cases with what they give in float64, without those that rounding changes much."""
    found: list[tuple[Case, Any]] = []
    rng = np.random.default_rng(seed)
    while len(found) < count:
        case = draw(rng, dtype)
        try:
            with np.errstate(all="ignore"):
                exact = operator(*case)
        except NearJump:
            continue
        if all(np.abs(part).max(initial=0) < LARGEST for part in exact):
            found.append((case, exact))
    return found


def bounds(case: Case, exact: Any, dtype: Any = np.float32) -> list[float]:
    """How far each output may lie from the exact one: what :func:`rounding_bound` says for a case's largest number.

    Gates above 1 make a small number the difference of large ones, and let what each step rounds grow in the next:
    for these it is four times as much.
    """
    steps, share = case.inputs["X"].shape[0], np.finfo(dtype).eps / np.finfo(np.float32).eps
    gates = case.attributes.get("activations", ["Sigmoid"])[::3]
    share *= 1 if {name.lower() for name in gates} <= {"sigmoid", "hardsigmoid", "tanh", "softsign"} else 4
    plain = operator(*case, dtype=np.float32)
    largest = max(np.abs(part).max(initial=0) for part in exact)
    slack = rounding_bound(np.float64(largest), np.float32(largest), steps)
    return [
        float(share * max(slack, rounding_bound(wanted, found, steps).max(initial=0)))
        for wanted, found in zip(exact, plain, strict=True)
    ]


def batch_first(case: Case) -> Case:
    """The same in layout 1."""
    turned = {"X", "initial_h", "initial_c"} & case.inputs.keys()
    inputs = case.inputs | {name: np.ascontiguousarray(case.inputs[name].swapaxes(0, 1)) for name in turned}
    return Case({**case.attributes, "layout": 1}, inputs)


def node_of(case: Case, **extra: Any) -> Any:
    """The NodeProto; inputs that there are not have no name."""
    names = [slot if slot in case.inputs else "" for slot in SLOTS]
    while not names[-1]:
        names.pop()
    return helper.make_node("LSTM", names, list(NAMES), **case.attributes, **extra)


def model_of(case: Case, opset: int = 14, constants: tuple[str, ...] = WEIGHTS, **extra: Any) -> Any:
    """A model of one node; all but ``constants`` are its inputs."""
    kinds = {name: TensorProto.INT32 if name == "sequence_lens" else helper.np_dtype_to_tensor_dtype(array.dtype)
             for name, array in case.inputs.items()}  # fmt: skip
    free = [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in case.inputs.items()
            if name not in constants]  # fmt: skip
    axes = {"Y": 4, "Y_h": 3, "Y_c": 3}
    outputs = [helper.make_tensor_value_info(name, kinds["X"], [None] * count) for name, count in axes.items()]
    tensors = [numpy_helper.from_array(case.inputs[name], name) for name in constants if name in case.inputs]
    graph = helper.make_graph([node_of(case, **extra)], "one", free, outputs, tensors)
    return helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", opset)])


def run_onnxruntime(model: Any, feeds: dict[str, Any]) -> list[Any]:
    """All outputs of a model, on one thread of the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {entry.name for entry in session.get_inputs()}
    return session.run(None, {name: value for name, value in feeds.items() if name in wanted})


def checked(model: Any) -> Any:
    """The model, once onnx has found nothing wrong in it."""
    onnx.checker.check_model(model, full_check=True)
    return model


def made(case, **how_to_run):
    """Ours, with a case's attributes and weights."""
    return LSTM(**{name: case.inputs.get(name) for name in WEIGHTS}, **case.attributes, **how_to_run)


def called(layer, case):
    """What it gives for a case's other inputs."""
    return layer(case.inputs["X"], **{name: case.inputs[name] for name in CALL if name in case.inputs})


def one(rng, steps=4, batch=3, features=2, units=5, directions=1, dtype=np.float32, attributes=(), **inputs):
    """A plain node, with whatever else is given."""

    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    weights = {"W": normal(directions, 4 * units, features), "R": 0.3 * normal(directions, 4 * units, units)}
    return Case({"hidden_size": units, **dict(attributes)}, {"X": normal(steps, batch, features), **weights, **inputs})
