"""Operations in Functional models compute what Keras's do: values, types, shapes, and what is refused."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from test_keras import assert_same

from fastlstm import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.core import InputLayer
from fastlstm.layers.graph import Node
from fastlstm.layers.op_arguments import parameters
from fastlstm.layers.op_table import TABLE
from fastlstm.layers.ops import Operation, Spec, operation_from_config
from fastlstm.structure import map_structure

# -- models of operations, run node by node ---------------------------------------------------------


def named(name, positive=False, **arguments):
    """One function of keras.ops, of the first tensor or of its distance from zero."""
    return lambda o, a, b: getattr(o, name)(o.abs(a) + 0.1 if positive else a, **arguments)


ARITHMETIC = {
    "a + b * 2": lambda o, a, b: a + b * 2,
    "2 - a": lambda o, a, b: 2 - a,
    "a / 3": lambda o, a, b: a / 3,
    "1.5 / a": lambda o, a, b: 1.5 / a,
    "a**2": lambda o, a, b: a**2,
    "-a": lambda o, a, b: -a,
    "abs": lambda o, a, b: abs(a),
    "a // 0.7": lambda o, a, b: a // 0.7,
    "a % 0.7": lambda o, a, b: a % 0.7,
    "a @ b": lambda o, a, b: a @ o.transpose(b, (0, 2, 1)),
    "array": lambda o, a, b: a + np.array([1, 2, 3], "float32"),
    "tensor": lambda o, a, b: a * o.ones((4, 1)),
    "add": lambda o, a, b: o.add(a, b),
    "subtract": lambda o, a, b: o.subtract(a, b),
    "multiply": lambda o, a, b: o.multiply(a, 0.1),
    "divide": lambda o, a, b: o.divide(a, b),
    "true_divide": lambda o, a, b: o.true_divide(a, b),
    "divide_no_nan": lambda o, a, b: o.divide_no_nan(a, o.maximum(b, 0)),
    "power": lambda o, a, b: o.power(o.abs(a), b),
    "maximum": lambda o, a, b: o.maximum(a, 0.1),
    "minimum": lambda o, a, b: o.minimum(a, b),
    "arctan2": lambda o, a, b: o.arctan2(a, b),
    "logaddexp": lambda o, a, b: o.logaddexp(a, b),
    "matmul": lambda o, a, b: o.matmul(a, o.transpose(b, (0, 2, 1))),
    "dot": lambda o, a, b: o.dot(a, np.arange(6, dtype="float32").reshape(3, 2)),
    "einsum": lambda o, a, b: o.einsum("btf,bsf->bts", a, b),
    "clip": lambda o, a, b: o.clip(a, -0.5, 0.3),
    "where": lambda o, a, b: o.where(a > 0, a, b),
    "where number": lambda o, a, b: o.where(a > 0, a, 0.1),
    "cast": lambda o, a, b: o.cast(a * 3, "int32"),
    "cast bool": lambda o, a, b: o.cast(o.cast(a > 0, "float32") + 1, "float64"),
    "stop": lambda o, a, b: o.stop_gradient(a),
    "convert": lambda o, a, b: o.convert_to_tensor(a),
    "bool like": lambda o, a, b: o.logical_or(o.zeros_like(a, dtype="bool"), o.expand_dims(o.any(a > 1, -1), -1)),
    "zeros_like": lambda o, a, b: o.zeros_like(a) + o.ones_like(b),
    **{
        name: named(name)
        for name in (
            "exp exp2 expm1 sin cos tan sinh cosh arctan arcsinh tanh square sign floor ceil isnan isfinite isinf "
            "negative reciprocal relu relu6 sigmoid softplus softsign silu log_sigmoid hard_sigmoid hard_silu "
            "hard_tanh selu gelu leaky_relu elu celu squareplus soft_shrink hard_shrink sparse_plus "
            "sparse_sigmoid tanh_shrink"
        ).split()
    },
    **{name: named(name, positive=True) for name in ("log", "log10", "log1p", "log2", "sqrt", "rsqrt")},
    "round": lambda o, a, b: o.round(a, 1),
    "leaky": lambda o, a, b: o.leaky_relu(a, negative_slope=0.3),
    "elu alpha": lambda o, a, b: o.elu(a, alpha=0.5),
    "gelu erf": lambda o, a, b: o.gelu(a, approximate=False),
}
COMPARISONS = {
    "a > b": lambda o, a, b: a > b,
    "a >= 0.1": lambda o, a, b: a >= 0.1,
    "a < 0": lambda o, a, b: a < 0,
    "a <= b": lambda o, a, b: a <= b,
    "a != b": lambda o, a, b: a != b,
    "equal": lambda o, a, b: o.equal(o.round(a), 0),
    "and": lambda o, a, b: (a > 0) & (b > 0),
    "or": lambda o, a, b: (a > 0) | (b > 0),
    "xor": lambda o, a, b: (a > 0) ^ (b > 0),
    "not": lambda o, a, b: ~(a > 0),
    "any": lambda o, a, b: o.any(a > 1, axis=1),
    "all": lambda o, a, b: o.all(a > -1, axis=(1, 2), keepdims=True),
}
REDUCTIONS = {
    f"{name} {arguments}": named(name, **arguments)
    for name in "sum mean max min prod var std amax amin logsumexp".split()
    for arguments in ({"axis": 1}, {"axis": -1, "keepdims": True}, {"axis": (1, 2)}, {})
    if not (name == "prod" and arguments.get("axis") == (1, 2))
} | {
    "argmax": lambda o, a, b: o.argmax(a, axis=-1),
    "argmin": lambda o, a, b: o.argmin(a, axis=1, keepdims=True),
    "argmax all": lambda o, a, b: o.argmax(a),
    "max initial": lambda o, a, b: o.max(a, axis=1, initial=0.5),
    "norm": lambda o, a, b: o.norm(a, axis=-1),
    "norm 1": lambda o, a, b: o.norm(a, ord=1, axis=1, keepdims=True),
    "normalize": lambda o, a, b: o.normalize(a, axis=1),
    "normalize 3": lambda o, a, b: o.normalize(a, order=3),
    "softmax": lambda o, a, b: o.softmax(a, axis=1),
    "log_softmax": lambda o, a, b: o.log_softmax(a),
    "cumsum": lambda o, a, b: o.cumsum(a, axis=1),
    "cumprod": lambda o, a, b: o.cumprod(a, axis=-1),
    "sum of bool": lambda o, a, b: o.sum(a > 0, axis=1),
    "mean of bool": lambda o, a, b: o.mean(a > 0, axis=1),
    "int / int": lambda o, a, b: o.argmax(a, axis=1) / 2,
    "int + float": lambda o, a, b: o.argmax(a, axis=1) + 0.5,
    "bool + int": lambda o, a, b: (a > 0) + 1,
    "sqrt of int": lambda o, a, b: o.sqrt(o.argmax(a, axis=1)),
    "int * float tensor": lambda o, a, b: o.cast(a, "int64") * b,
}
SHAPES = {
    "last": lambda o, a, b: a[:, -1],
    "steps": lambda o, a, b: a[:, 1:, :],
    "ellipsis": lambda o, a, b: a[..., 0],
    "new axis": lambda o, a, b: a[:, None],
    "backwards": lambda o, a, b: a[:, ::-1, 1:2],
    "batch": lambda o, a, b: a[0],
    "batch steps": lambda o, a, b: a[1:, 0],
    "expand": lambda o, a, b: o.expand_dims(a, 1),
    "expand two": lambda o, a, b: o.expand_dims(a, (1, -1)),
    "squeeze": lambda o, a, b: o.squeeze(o.expand_dims(a, -1), -1),
    "reshape": lambda o, a, b: o.reshape(a, (-1, 12)),
    "reshape up": lambda o, a, b: o.reshape(a, (-1, 2, 2, 3)),
    "transpose": lambda o, a, b: o.transpose(a, (0, 2, 1)),
    "reverse axes": lambda o, a, b: o.transpose(a),
    "concatenate": lambda o, a, b: o.concatenate([a, b, a], axis=-1),
    "concatenate steps": lambda o, a, b: o.concatenate([a, b], axis=1),
    "stack": lambda o, a, b: o.stack([a, b], axis=1),
    "stack last": lambda o, a, b: o.stack([a, b], axis=-1),
    "split": lambda o, a, b: o.split(a, 2, axis=1)[1],
    "split at": lambda o, a, b: o.split(a, [1, 3], axis=1)[1],
    "unstack": lambda o, a, b: o.unstack(a, axis=1)[2],
    "flip": lambda o, a, b: o.flip(a, axis=1),
    "roll": lambda o, a, b: o.roll(a, 1, axis=1),
    "repeat": lambda o, a, b: o.repeat(a, 2, axis=1),
    "tile": lambda o, a, b: o.tile(a, (1, 2, 1)),
    "broadcast": lambda o, a, b: o.broadcast_to(o.expand_dims(a[0], (0, 1)), (2, 1, 4, 3)),
    "swapaxes": lambda o, a, b: o.swapaxes(a, 1, 2),
    "moveaxis": lambda o, a, b: o.moveaxis(a, 1, -1),
    "pad": lambda o, a, b: o.pad(a, ((0, 0), (1, 2), (0, 0))),
    "pad value": lambda o, a, b: o.pad(a, ((0, 0), (1, 2), (0, 0)), constant_values=7),
    "pad reflect": lambda o, a, b: o.pad(a, ((0, 0), (1, 2), (0, 0)), mode="reflect"),
    "take": lambda o, a, b: o.take(a, [2, 0, -1], axis=1),
    "take one": lambda o, a, b: o.take(a, 0, axis=1),
    "slice": lambda o, a, b: o.slice(a, (0, 1, 0), (1, 2, 3)),
    "one_hot": lambda o, a, b: o.one_hot(o.argmax(a, axis=-1), 3),
    "ravel": lambda o, a, b: o.ravel(a),
}


def values_of(nodes, given, call):
    """The values of all tensors: ``call(node, args, kwargs)`` for each node once what it reads is there."""
    values = {(name, 0): value for name, value in given.items()}

    def ready(x):
        if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
            name, _, index = x["config"]["keras_history"]
            return values[name, index]
        if isinstance(x, dict):
            return x
        return [ready(v) for v in x] if isinstance(x, list) else x

    left = [n for n in nodes if n["class_name"] != "InputLayer"]
    while left:
        for node in left:
            (inbound,) = node["inbound_nodes"]
            try:
                args = [ready(arg) for arg in inbound["args"]]
                kwargs = {key: ready(value) for key, value in inbound["kwargs"].items()}
            except KeyError:
                continue
            result = call(node, args, kwargs)
            many = isinstance(result, list)
            values.update({(node["name"], i): y for i, y in enumerate(result if many else [result])})
            left.remove(node)
            break
    return values


def run(keras, function, dtype="float32", batch=2):
    """The same function as a Keras model and through our operations: values, and the shapes of both."""
    rng = np.random.default_rng(5)
    a, b = (keras.Input((4, 3), name=name, dtype=dtype) for name in "ab")
    model = keras.Model([a, b], function(keras.ops, a, b))
    arrays = {name: rng.standard_normal((batch, 4, 3)).astype(dtype) for name in "ab"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = np.asarray(model([arrays["a"], arrays["b"]]))
    config = json.loads(model.to_json())["config"]
    operations = {n["name"]: operation_from_config(n) for n in config["layers"] if is_operation(n)}
    assert len(operations) == len(config["layers"]) - 2
    end = config["output_layers"]
    name, _, index = end if isinstance(end[0], str) else end[0]
    found = values_of(config["layers"], arrays, lambda n, x, k: operations[n["name"]].call(*x, **k))[name, index]
    specs = values_of(
        config["layers"],
        {name: Spec((None, 4, 3)) for name in "ab"},
        lambda n, x, k: as_specs(operations[n["name"]].compute_output_shape(*x, **k)),
    )
    for node in config["layers"]:
        if is_operation(node):
            operation = operations[node["name"]]
            theirs = {k: v for k, v in node["config"].items()}
            assert json.loads(json.dumps(operation.get_config())) == theirs
            assert operation.module == node["module"]
    return found, wanted, specs[name, index].shape, model.output_shape


def is_operation(node):
    return node["module"].startswith(("keras.src.ops", "keras.src.activations"))


def as_specs(shapes):
    return [Spec(shape) for shape in shapes] if isinstance(shapes, list) else Spec(shapes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS, *REDUCTIONS, *SHAPES])
def test_models_of_operations(keras, name, dtype):
    function = {**ARITHMETIC, **COMPARISONS, **REDUCTIONS, **SHAPES}[name]
    found, wanted, shape, their_shape = run(keras, function, dtype)
    assert found.dtype == wanted.dtype, (found.dtype, wanted.dtype)
    if wanted.dtype.kind == "f":
        assert_same(found, wanted, wanted.dtype.name)
    else:
        assert np.array_equal(found, wanted)
    assert shape == their_shape


def test_activations_that_are_operations(keras):
    act = keras.activations
    for function in (
        lambda o, a, b: act.relu(a),
        lambda o, a, b: act.relu(a, negative_slope=0.1, max_value=0.5, threshold=0.2),
        lambda o, a, b: act.gelu(a),
        lambda o, a, b: act.softmax(a),
        lambda o, a, b: act.tanh(a),
    ):
        found, wanted, shape, their_shape = run(keras, function)
        assert_same(found, wanted)
        assert shape == their_shape


def test_a_mask_stops_at_an_operation_but_for_a_cast_to_the_same_type(keras):
    x, mask = np.ones((2, 3, 1), "float32"), np.ones((2, 3), bool)
    assert Operation("Add").compute_mask(x, mask) is None
    assert Operation("Cast", dtype="float64").compute_mask(x, mask) is None
    assert Operation("Cast", dtype="float32").compute_mask(x, mask) is mask
    with_mask = keras.layers.Masking()(x)
    for function, kept in [
        (lambda t: t + 0, False),
        (lambda t: keras.ops.relu(t), False),
        (lambda t: t[:, :], False),
        (lambda t: keras.ops.cast(t, "float64"), False),
        (lambda t: keras.ops.cast(t, "float32"), True),
    ]:
        assert (getattr(function(with_mask), "_keras_mask", None) is not None) is kept


# -- what is refused --------------------------------------------------------------------------------

X = np.ones((2, 4, 3), "float32")
HOSTILE = [
    None,
    True,
    "1",
    "a" * 5000,
    1.5,
    float("nan"),
    -7,
    10**9,
    10**400,
    [],
    {},
    [[1, [2]]],
    ["a"],
    {"class_name": "x"},
    [None],
    [-5, 3],
]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_hostile_arguments_give_our_error_only(name):
    names = list(parameters(TABLE[name].run))
    good = {
        "axis": 1, "axes": [0, 2, 1], "newshape": [2, 12], "x_min": 0, "x_max": 1, "indices_or_sections": 2,
        "repeats": 2, "shape": [2, 4, 3], "axis1": 0, "axis2": 1, "source": 0, "destination": 1, "pad_width": 1,
        "dtype": "float32", "subscripts": "abc->ab", "num_classes": 3, "shift": 1,
    }  # fmt: skip
    for key in names:
        for value in HOSTILE:
            config = {k: good[k] for k in names if k in good} | {key: value}
            call_quietly(name, config, [X], [X, X], [[X, X]])
    config = {k: good[k] for k in names if k in good}
    for value in [
        *HOSTILE,
        np.array("a"),
        np.array([None]),
        np.zeros((0, 5)),
        X[0, 0],
        Spec((None,)),
        lambda: 1,
        slice(0, 1, 0),
    ]:
        call_quietly(name, config, [value], [X, value], [value, X], [X, X, value], [[X, value]], [])
    for key in ("surprise", "self", "function", "cls"):
        with pytest.raises(FastLSTMError):
            Operation(name, **config, **{key: 1})
    for bad in (1, [], {}, True):
        with pytest.raises(FastLSTMError, match="name"):
            Operation(name, name=bad, **config)


def call_quietly(name, config, *calls):
    """Whatever comes, it is a result or a FastLSTMError."""
    try:
        operation = Operation(name, **config)
    except FastLSTMError:
        return
    for args in calls:
        try:
            operation.compute_output_shape(*(Spec(x.shape) if x is X else x for x in args))
        except FastLSTMError:
            pass
        try:
            operation.call(*args)
        except FastLSTMError:
            pass


@pytest.mark.parametrize("name", ["Nonsense", "", None, 3, [], True, "Erf", "Map", "__import__"])
def test_operations_outside_the_table_are_refused(name):
    with pytest.raises(UnsupportedLayerError, match="fastlstm computes"):
        Operation(name)
    with pytest.raises(FastLSTMError):
        operation_from_config({"module": "keras.src.ops.numpy", "class_name": name, "config": {}})
    with pytest.raises(FastLSTMError):
        operation_from_config({"module": "keras.src.ops.numpy", "class_name": "Add", "config": name})


@pytest.mark.parametrize(
    "name, config, args",
    [
        ("Tile", {"repeats": [1, 10**6, 10**6]}, [X]),
        ("Repeat", {"repeats": 10**9, "axis": 1}, [X]),
        ("Pad", {"pad_width": 10**9}, [X]),
        ("BroadcastTo", {"shape": [10**6, 10**6, 2, 4, 3]}, [X]),
        ("OneHot", {"num_classes": 10**9}, [X]),
        ("Einsum", {"subscripts": "abc,def,ghi->abcdefghi"}, [np.ones((20, 20, 20))] * 3),
        ("Reshape", {"newshape": [10**9, 10**9]}, [X]),
        ("Unstack", {"num": 10**9}, [X]),
        ("Split", {"indices_or_sections": 10**9, "axis": 0}, [X]),
    ],
)
def test_results_of_any_size_are_refused_before_they_are_allocated(name, config, args):
    with pytest.raises(FastLSTMError, match=name):
        Operation(name, **config).call(*args)
    with pytest.raises(FastLSTMError, match=name):
        Operation(name, **config).compute_output_shape(*(Spec(x.shape) for x in args))


@pytest.mark.parametrize(
    "name, config, args",
    [
        ("Add", {}, [X, np.ones((2, 5, 3))]),
        ("Matmul", {}, [X, X]),
        ("Concatenate", {"axis": 1}, [[X, X[0]]]),
        ("Stack", {}, [[X, X[0]]]),
        ("Reshape", {"newshape": [5, -1]}, [X]),
        ("Reshape", {"newshape": [-1, -1]}, [X]),
        ("Transpose", {"axes": [0, 1]}, [X]),
        ("Squeeze", {"axis": 1}, [X]),
        ("Sum", {"axis": 3}, [X]),
        ("Sum", {"axis": [1, 1]}, [X]),
        ("GetItem", {}, [X, 9]),
        ("GetItem", {}, [X, [0, 0, 0, 0]]),
        ("GetItem", {}, [X, "a"]),
        ("GetItem", {}, [X, [True, 0]]),
        ("GetItem", {}, [X, X]),
        ("GetItem", {}, [X, {"class_name": "__slice__", "config": {"start": "a", "stop": None, "step": None}}]),
        ("Take", {"axis": 1}, [X, 9]),
        ("Where", {}, [X]),
        ("Split", {"indices_or_sections": 3, "axis": 1}, [X]),
        ("Einsum", {"subscripts": "ab->a"}, [X]),
        ("Add", {}, [X, "1"]),
        ("Add", {}, [X, None]),
        ("Add", {}, [X]),
        ("Add", {}, [X, X, X]),
    ],
)
def test_arguments_that_do_not_go_together_are_refused_and_named(name, config, args):
    with pytest.raises(FastLSTMError, match=name):
        Operation(name, **config).call(*args)


def test_a_graph_of_tensors_is_drawn():
    layer = InputLayer(shape=(4, 3))
    x = Node(layer, (), {}, layer.batch_shape).outputs
    y = (2 - x)[:, -1] / 3
    assert y.shape == (None, 3) and y.name.startswith("true_divide")
    parts = Operation("Split", indices_or_sections=2, axis=1)(x)
    assert [part.shape for part in parts] == [(None, 2, 3)] * 2
    assert map_structure(lambda t: t.shape, Operation("Stack", axis=1)([x, x])) == (None, 2, 4, 3)
