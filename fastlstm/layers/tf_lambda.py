"""The operations of tf.keras 2's Functional models: TFOpLambda and SlicingOpLambda nodes, which name TensorFlow's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.op_arguments import as_python, checked_config, checked_index
from fastlstm.layers.op_shapes import Spec, shape_of
from fastlstm.layers.op_table import TABLE, Entry
from fastlstm.layers.ops import CalledOperation


class _Function(NamedTuple):
    """How one of TensorFlow's functions is an operation.

    Attributes
    ----------
    operation : str
        Keras 3's name for it.
    parameters : str
        TensorFlow's names for the arguments, in order, and after ``=`` the operation's own for those of
        its configuration.
    """

    operation: str
    parameters: str


_X = "x"
_XY = "x y"
_REDUCTION = "input_tensor axis=axis keepdims=keepdims"


def _each(parameters: str, **names: str) -> dict[str, _Function]:
    return {name: _Function(operation, parameters) for operation, many in names.items() for name in many.split()}


#: TensorFlow's functions by the names that files have. Nothing else is ever looked up.
FUNCTIONS: dict[str, _Function] = {
    **_each(
        _XY,
        Add="math.add __operators__.add",
        Subtract="math.subtract",
        Multiply="math.multiply",
        TrueDivide="math.truediv math.divide",
        DivideNoNan="math.divide_no_nan",
        FloorDivide="math.floordiv compat.v1.floor_div",
        Mod="math.floormod",
        Power="math.pow",
        Maximum="math.maximum",
        Minimum="math.minimum",
        Greater="math.greater",
        GreaterEqual="math.greater_equal",
        Less="math.less",
        LessEqual="math.less_equal",
        Equal="math.equal",
        NotEqual="math.not_equal",
        LogicalAnd="math.logical_and",
        LogicalOr="math.logical_or",
        LogicalXor="math.logical_xor",
    ),
    **_each("self other", Equal="__operators__.eq", NotEqual="__operators__.ne"),
    **_each(
        _X,
        Absolute="math.abs",
        Negative="math.negative",
        Exp="math.exp",
        Expm1="math.expm1",
        Log="math.log",
        Log1p="math.log1p",
        Sqrt="math.sqrt",
        Rsqrt="math.rsqrt",
        Square="math.square",
        Reciprocal="math.reciprocal",
        Sign="math.sign",
        Sin="math.sin",
        Cos="math.cos",
        Floor="math.floor",
        Ceil="math.ceil",
        Round="math.round",
        Tanh="math.tanh",
        Sigmoid="math.sigmoid",
        LogSigmoid="math.log_sigmoid",
        LogicalNot="math.logical_not",
        Isnan="math.is_nan",
    ),
    **_each(
        "features",
        Relu="nn.relu",
        Relu6="nn.relu6",
        Selu="nn.selu",
        Softplus="math.softplus nn.softplus",
        Softsign="nn.softsign",
        Silu="nn.silu nn.swish",
    ),
    **_each("features", Elu="nn.elu"),
    **_each("features alpha=negative_slope", LeakyRelu="nn.leaky_relu"),
    **_each("features approximate=approximate", Gelu="nn.gelu"),
    **_each("logits axis=axis", Softmax="nn.softmax", LogSoftmax="nn.log_softmax"),
    **_each(
        _REDUCTION,
        Sum="math.reduce_sum",
        Mean="math.reduce_mean",
        Max="math.reduce_max",
        Min="math.reduce_min",
        Prod="math.reduce_prod",
        Var="math.reduce_variance",
        Std="math.reduce_std",
        Any="math.reduce_any",
        All="math.reduce_all",
        Logsumexp="math.reduce_logsumexp",
    ),
    **_each("input axis=axis", Argmax="math.argmax", Argmin="math.argmin", ExpandDims="expand_dims"),
    **_each("input axis=axis", Squeeze="squeeze compat.v1.squeeze"),
    **_each("tensor shape=newshape", Reshape="reshape"),
    **_each("a perm=axes", Transpose="transpose compat.v1.transpose"),
    **_each("values axis=axis", Concatenate="concat", Stack="stack"),
    **_each("value num_or_size_splits=indices_or_sections axis=axis", Split="split"),
    **_each("value num=num axis=axis", Unstack="unstack"),
    **_each("t clip_value_min=x_min clip_value_max=x_max", Clip="clip_by_value"),
    **_each("a b", Matmul="linalg.matmul"),
    **_each("x dtype=dtype", Cast="cast"),
    **_each("condition x y", Where="where"),
    **_each("input multiples=repeats", Tile="tile"),
    **_each("input repeats=repeats axis=axis", Repeat="repeat"),
    **_each("tensor axis=axis", Flip="reverse"),
    **_each("input dtype=dtype", ZerosLike="zeros_like", OnesLike="ones_like"),
    **_each("params indices axis=axis", Take="gather compat.v1.gather"),
    **_each("x axis=axis", Cumsum="math.cumsum"),
    **_each("tensor paddings=pad_width mode=mode constant_values", Pad="pad compat.v1.pad"),
    **_each("input", StopGradient="stop_gradient identity"),
    **_each("x axis=axis epsilon=epsilon", L2Normalize="math.l2_normalize"),
    **_each("input", Shape="shape compat.v1.shape"),
    **_each("tensor slice_spec", GetItem="__operators__.getitem"),
}
#: Arguments that change nothing as long as they have one of these values.
_INERT: dict[str, tuple[Any, ...]] = {
    "name": (),
    "validate_indices": (),
    "conjugate": (False,),
    "batch_dims": (0,),
    "exclusive": (False,),
    "reverse": (False,),
    "beta": (1.0,),
    "out_type": ("int32", None),
    "layout": (None,),
    **dict.fromkeys(("adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse", "grad_a", "grad_b"), (False,)),
}
#: What TensorFlow takes where a file has no such argument, if that is not the operation's own default.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "math.argmax": {"axis": 0},
    "math.argmin": {"axis": 0},
    "math.cumsum": {"axis": 0},
    "nn.gelu": {"approximate": False},
    "nn.softmax": {"axis": -1},
    "nn.log_softmax": {"axis": -1},
}


class TFOperation(CalledOperation):
    """A TFOpLambda or SlicingOpLambda layer: called with TensorFlow's arguments, most of them by name.

    Parameters
    ----------
    function : str
        TensorFlow's name, such as ``"math.add"`` or ``"__operators__.getitem"``.
    name : str, optional
        Defaults to ``tf.`` and the function.

    Notes
    -----
    As in tf.keras a mask stops here, but for a cast to the type that the argument has.
    """

    def __init__(self, function: str, /, name: str | None = None) -> None:
        if not isinstance(function, str) or function not in FUNCTIONS:
            raise UnsupportedLayerError(
                f"layer {name!r} is TensorFlow's {function!r}; fastlstm computes {', '.join(sorted(FUNCTIONS))}"
            )
        super().__init__(name=f"tf.{function}" if name is None else name)
        self.function = function
        self._names = [part.split("=") for part in FUNCTIONS[function].parameters.split()]

    @property
    def class_name(self) -> str:
        return "SlicingOpLambda" if self.function == "__operators__.getitem" else "TFOpLambda"

    @property
    def who(self) -> str:
        return f"{self.class_name} {self.name!r} of {self.function}"

    def resolve(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Entry, list[Any], dict[str, Any]]:
        given = self._named(args, kwargs)
        values = [as_python(given.pop(name), self.who) for name, *own in self._names if not own and name in given]
        config = {own[0]: _plain(given.pop(name)) for name, *own in self._names if own and name in given}
        if self.function == "linalg.matmul":
            values = [_swapped(x, given.pop(name, False)) for x, name in zip(values, _TRANSPOSED, strict=False)]
        for name, value in given.items():
            if name not in _INERT or (_INERT[name] and value not in _INERT[name]):
                raise UnsupportedLayerError(f"{self.who}: {name} is {value!r}, which fastlstm does not compute")
        if self.function == "__operators__.getitem":
            values = values[:1] + [checked_index(key, self.who) for key in values[1:]]
        entry = TABLE[FUNCTIONS[self.function].operation]
        return entry, values, checked_config(entry.run, _as_keras(config), self.who)

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """All arguments by TensorFlow's names."""
        names = [name for name, *_ in self._names]
        if len(args) > len(names) or set(kwargs) & set(names[: len(args)]):
            raise FastLSTMError(
                f"{self.who}: got {len(args)} arguments and {sorted(kwargs)}; expected {names}, each once"
            )
        return {**_DEFAULTS.get(self.function, {}), **dict(zip(names, args, strict=False)), **kwargs}

    def call(self, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        y = super().call(*args, **kwargs)
        return y.astype(np.int64) if self.function in ("math.argmax", "math.argmin") else y

    def call_masked(self, args: tuple[Any, ...], kwargs: dict[str, Any], mask: Any, previous: Any) -> tuple[Any, Any]:
        y = self.call(*args, **kwargs)
        kept = self.function == "cast" and y.dtype == getattr(args[0], "dtype", None)
        return y, previous if kept else None

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype, "function": self.function}


_TRANSPOSED = ("transpose_a", "transpose_b")


def _swapped(x: Any, swap: Any) -> Any:
    """A matrix, or its transpose."""
    if not swap:
        return x
    shape = shape_of(x)
    return Spec((*shape[:-2], *shape[:-3:-1])) if isinstance(x, Spec) else np.swapaxes(x, -1, -2)


def _plain(value: Any) -> Any:
    """A computed size as a number, or None where it is not known yet."""
    if isinstance(value, list | tuple) and not isinstance(value, Spec):
        return [_plain(v) for v in value]
    if isinstance(value, Spec):
        return None
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value


def _as_keras(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration where TensorFlow's has another form."""
    config = {key: value for key, value in config.items() if key != "dtype" or value is not None}
    if isinstance(mode := config.get("mode"), str):
        config["mode"] = mode.lower()
    sizes = config.get("indices_or_sections")
    if isinstance(sizes, list) and all(isinstance(n, int) for n in sizes):  # sizes of parts, not where they end
        config["indices_or_sections"] = [sum(sizes[:i]) for i in range(1, len(sizes))]
    return config


def from_tf_lambda(config: dict[str, Any]) -> TFOperation:
    """The operation that a TFOpLambda or SlicingOpLambda layer's configuration describes.

    Parameters
    ----------
    config : dict
        ``{"name": "tf.math.add", "trainable": true, "dtype": "float32", "function": "math.add"}``.

    Raises
    ------
    UnsupportedLayerError
        A function that fastlstm does not have.
    """
    if not isinstance(config, dict) or "function" not in config:
        raise FastLSTMError(f"a TFOpLambda layer has the config {config!r}; expected a function")
    return TFOperation(config["function"], name=config.get("name"))
