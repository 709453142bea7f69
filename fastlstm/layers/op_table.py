"""The closed table of operations: Keras's class name, where Keras has it, what it computes and what shape it gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastlstm.layers import op_array_shapes as r
from fastlstm.layers import op_arrays as a
from fastlstm.layers import op_functions as f
from fastlstm.layers import op_shapes as s
from fastlstm.layers.op_functions import Function


class Entry(NamedTuple):
    """One operation.

    Attributes
    ----------
    run, shape : callable
        The result, and its shape. Both take the call's arguments in order and the configuration by name.
    module : str
        Where Keras has the class, as its files name it.
    """

    run: Function
    shape: Function
    module: str


def _same(**functions: Function) -> dict[str, tuple[Function, Function]]:
    return {name: (function, s.same) for name, function in functions.items()}


def _together(**functions: Function) -> dict[str, tuple[Function, Function]]:
    return {name: (function, s.elementwise) for name, function in functions.items()}


def _reduced(**functions: Function) -> dict[str, tuple[Function, Function]]:
    return {name: (function, s.reduced) for name, function in functions.items()}


_UNARY_FLOAT = {
    "Exp": np.exp, "Exp2": np.exp2, "Expm1": np.expm1, "Log": np.log, "Log10": np.log10, "Log1p": np.log1p,
    "Log2": np.log2, "Sqrt": np.sqrt, "Reciprocal": np.reciprocal, "Sin": np.sin, "Cos": np.cos, "Tan": np.tan,
    "Sinh": np.sinh, "Cosh": np.cosh, "Arcsin": np.arcsin, "Arccos": np.arccos, "Arctan": np.arctan,
    "Arcsinh": np.arcsinh, "Arccosh": np.arccosh, "Arctanh": np.arctanh, "Floor": np.floor, "Ceil": np.ceil,
    "Isnan": np.isnan, "Isinf": np.isinf, "Isfinite": np.isfinite,
}  # fmt: skip
_UNARY: dict[str, Function] = {
    "Absolute": np.abs, "Abs": np.abs, "Negative": np.negative, "Square": np.square, "Sign": np.sign,
    "Trunc": np.trunc, "Copy": np.array, "Conjugate": np.conjugate, "Real": np.real,
}  # fmt: skip
_BINARY = {
    "Add": np.add, "Subtract": np.subtract, "Multiply": np.multiply, "Power": np.power,
    "Maximum": np.maximum, "Minimum": np.minimum,
}  # fmt: skip
_BINARY_FLOAT = {"TrueDivide": np.divide, "Divide": np.divide}
_STRONG = {
    "Mod": np.mod, "Arctan2": np.arctan2, "Logaddexp": np.logaddexp,
    "Equal": np.equal, "NotEqual": np.not_equal, "Greater": np.greater, "GreaterEqual": np.greater_equal,
    "Less": np.less, "LessEqual": np.less_equal,
}  # fmt: skip
_LOGICAL = {"LogicalAnd": np.logical_and, "LogicalOr": np.logical_or, "LogicalXor": np.logical_xor}
_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "SparseSigmoid": "sparse_sigmoid", "Softplus": "softplus",
    "Softsign": "softsign", "SparsePlus": "sparse_plus", "Silu": "silu", "LogSigmoid": "log_sigmoid",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh", "Selu": "selu",
    "TanhShrink": "tanh_shrink",
}  # fmt: skip

_NUMPY: dict[str, tuple[Function, Function]] = {
    **_same(**{name: f.unary_float(g) for name, g in _UNARY_FLOAT.items()}),
    **_same(**{name: f.unary(g) for name, g in _UNARY.items()}),
    **_same(Tanh=f.named("tanh"), LogicalNot=f.logical(np.logical_not), Round=f.round_),
    **_same(ZerosLike=a.like(0), OnesLike=a.like(1)),
    **_together(**{name: f.binary(g) for name, g in _BINARY.items()}),
    **_together(**{name: f.binary(g, at_least_float=True) for name, g in _BINARY_FLOAT.items()}),
    **_together(**{name: f.strong(g) for name, g in _STRONG.items()}),
    **_together(**{name: f.logical(g) for name, g in _LOGICAL.items()}),
    **_together(FloorDivide=f.floor_divide, DivideNoNan=f.divide_no_nan),
    **_reduced(Mean=f.mean, Var=f.var, Std=f.std, Sum=f.total, Prod=f.product),
    **_reduced(Max=f.extreme(np.max, np.maximum), Min=f.extreme(np.min, np.minimum)),
    **_reduced(Amax=f.reduction(np.max), Amin=f.reduction(np.min)),
    **_reduced(Any=f.reduction(np.any), All=f.reduction(np.all)),
    "Argmax": (f.place(np.argmax), s.placed),
    "Argmin": (f.place(np.argmin), s.placed),
    "Where": (f.where, s.where),
    "Clip": (f.clip, s.clipped),
    "Cumsum": (f.cumulative(np.cumsum), s.accumulated),
    "Cumprod": (f.cumulative(np.cumprod), s.accumulated),
    "Matmul": (f.binary(np.matmul), s.matmul),
    "Dot": (a.dot, s.dot),
    "Einsum": (a.einsum, s.einsum),
    "Reshape": (a.reshape, r.reshape),
    "Ravel": (lambda x: np.ravel(x), lambda x: r.reshape(x, newshape=[-1])),
    "Transpose": (a.transpose, r.transpose),
    "ExpandDims": (a.expand_dims, r.expand_dims),
    "Squeeze": (a.squeeze, r.squeeze),
    "Concatenate": (a.concatenate, r.concatenate),
    "Stack": (a.stack, r.stack),
    "Split": (a.split, r.split),
    "Flip": (a.flip, s.along),
    "Roll": (a.roll, r.roll),
    "Repeat": (a.repeat, r.repeat),
    "Tile": (a.tile, r.tile),
    "BroadcastTo": (a.broadcast_to, r.broadcast_to),
    "Swapaxes": (lambda x, *, axis1, axis2: np.swapaxes(x, axis1, axis2), r.swapaxes),
    "Moveaxis": (lambda x, *, source, destination: np.moveaxis(x, source, destination), r.moveaxis),
    "Pad": (a.pad, r.pad),
    "Take": (a.take, r.take),
    "GetItem": (lambda x, key: np.asarray(np.asarray(x)[key]), r.get_item),
}
_NN: dict[str, tuple[Function, Function]] = {
    **_same(**{name: f.named(name_of) for name, name_of in _ACTIVATIONS.items()}),
    **_same(LeakyRelu=f.leaky_relu, Elu=f.elu, Gelu=f.gelu),
    **_same(Celu=f.default_only("celu", "alpha", 1.0), Squareplus=f.default_only("squareplus", "b", 4)),
    **_same(SoftShrink=f.default_only("soft_shrink", "threshold", 0.5)),
    **_same(HardShrink=f.default_only("hard_shrink", "threshold", 0.5)),
    "Softmax": (f.softmax, s.along),
    "LogSoftmax": (f.log_softmax, s.along),
    "Normalize": (f.normalize, s.along),
    "OneHot": (a.one_hot, r.one_hot),
}
_CORE: dict[str, tuple[Function, Function]] = {
    **_same(Cast=f.cast, ConvertToTensor=f.convert, StopGradient=lambda variable: np.asarray(variable)),
    "Slice": (a.slice_, r.slice_),
    "Unstack": (a.unstack, r.unstack),
}
_MATH = {**_reduced(Logsumexp=f.logsumexp), **_same(Rsqrt=f.unary_float(lambda x: 1 / np.sqrt(x)))}

#: What Keras 3 has no class for.
_TENSORFLOW: dict[str, tuple[Function, Function]] = {
    "L2Normalize": (f.l2_normalize, s.along),
    "Shape": (a.shape_as_array, lambda x: (len(s.shape_of(x)),)),
}

#: Every operation by its class name in Keras. Nothing else is ever looked up.
TABLE: dict[str, Entry] = {
    name: Entry(run, shape, module)
    for module, group in (
        ("keras.src.ops.numpy", _NUMPY),
        ("keras.src.ops.nn", _NN),
        ("keras.src.ops.core", _CORE),
        ("keras.src.ops.math", _MATH),
        ("keras.src.ops.linalg", _reduced(Norm=f.norm)),
        ("keras.src.activations.activations", _same(ReLU=f.relu, Mish=f.named("mish"))),
        ("", _TENSORFLOW),
    )
    for name, (run, shape) in group.items()
}
