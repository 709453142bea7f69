"""TFOpLambda and SlicingOpLambda nodes, as tf.keras 2 wrote them, compute what TensorFlow's functions do."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from test_keras import assert_same

from fastlstm import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.ops import Spec, operation_from_config
from fastlstm.layers.tf_lambda import FUNCTIONS, from_tf_lambda

ALL = {"start": None, "stop": None, "step": None}

#: As files have them: the function, its first argument and the others by name. "a" and "b" are tensors.
NODES = [
    ("math.multiply", "b", {"y": 2, "name": None}),
    ("__operators__.add", "a", {"y": "b", "name": None}),
    ("__operators__.add", "a", {"y": [1.0, 1.0, 1.0], "name": None}),
    ("math.subtract", 2.0, {"y": "a", "name": None}),
    ("math.truediv", 1.0, {"y": "a", "name": None}),
    ("math.truediv", "a", {"y": 3, "name": None}),
    ("math.pow", "a", {"y": 2, "name": None}),
    ("math.negative", "a", {"name": None}),
    ("math.abs", "a", {}),
    ("compat.v1.floor_div", "a", {"y": 2, "name": None}),
    ("math.floormod", "a", {"y": 2, "name": None}),
    ("math.maximum", "a", {"y": 0.0, "name": None}),
    ("math.minimum", "a", {"y": "b"}),
    ("math.greater", "a", {"y": "b", "name": None}),
    ("math.greater_equal", "a", {"y": 0, "name": None}),
    ("math.not_equal", "a", {"y": 0}),
    ("math.reduce_mean", "a", {"axis": 1}),
    ("math.reduce_sum", "a", {"axis": [1, 2], "keepdims": True}),
    ("math.reduce_max", "a", {"axis": -1, "keepdims": False}),
    ("math.reduce_variance", "a", {"axis": 1, "keepdims": False}),
    ("math.reduce_std", "a", {"axis": 1}),
    ("math.reduce_logsumexp", "a", {"axis": 1}),
    ("math.argmax", "a", {"axis": -1}),
    ("math.argmax", "a", {}),
    ("math.exp", "a", {}),
    ("math.square", "a", {"name": None}),
    ("math.tanh", "a", {"name": None}),
    ("math.sigmoid", "a", {}),
    ("nn.relu", "a", {"name": None}),
    ("nn.leaky_relu", "a", {"alpha": 0.3}),
    ("nn.leaky_relu", "a", {}),
    ("nn.elu", "a", {"name": None}),
    ("nn.gelu", "a", {}),
    ("nn.gelu", "a", {"approximate": True}),
    ("nn.silu", "a", {"beta": 1.0}),
    ("nn.softmax", "a", {"axis": 1}),
    ("nn.softmax", "a", {}),
    ("expand_dims", "a", {"axis": -1}),
    ("reshape", "a", {"shape": [-1, 12]}),
    ("compat.v1.transpose", "a", {"perm": [0, 2, 1], "name": "transpose", "conjugate": False}),
    ("concat", ["a", "b"], {"axis": -1}),
    ("stack", ["a", "b"], {"axis": 1}),
    ("clip_by_value", "a", {"clip_value_min": -1, "clip_value_max": 1}),
    ("linalg.matmul", "a", {"b": "b", "transpose_b": True}),
    ("linalg.matmul", "a", {"b": "b", "transpose_a": True, "name": None}),
    ("cast", "a", {"dtype": "float64"}),
    ("cast", "a", {"dtype": "int32"}),
    ("math.l2_normalize", "a", {"axis": -1}),
    ("split", "a", {"num_or_size_splits": 2, "axis": 1}),
    ("split", "a", {"num_or_size_splits": [1, 3], "axis": 1}),
    ("unstack", "a", {"axis": 1}),
    ("tile", "a", {"multiples": [1, 2, 1], "name": None}),
    ("repeat", "a", {"repeats": 2, "axis": 1}),
    ("reverse", "a", {"axis": [1], "name": None}),
    ("zeros_like", "a", {}),
    ("ones_like", "a", {"dtype": None, "name": None}),
    ("compat.v1.gather", "a", {"indices": [0, 2], "validate_indices": None, "name": None, "axis": 1, "batch_dims": 0}),
    ("math.cumsum", "a", {"axis": 1}),
    (
        "compat.v1.pad",
        "a",
        {"paddings": [[0, 0], [1, 1], [0, 0]], "mode": "CONSTANT", "name": None, "constant_values": 0},
    ),
    ("compat.v1.shape", "a", {"name": None, "out_type": "int32"}),
    ("__operators__.getitem", "a", {"slice_spec": [ALL, -1]}),
    ("__operators__.getitem", "a", {"slice_spec": [ALL, {"start": 1, "stop": None, "step": None}, ALL]}),
    ("__operators__.getitem", "a", {"slice_spec": [{"class_name": "__ellipsis__"}, 0]}),
    ("__operators__.getitem", "a", {"slice_spec": [ALL, None, {"class_name": "__ellipsis__"}]}),
    ("__operators__.getitem", "a", {"slice_spec": [ALL, {"start": None, "stop": None, "step": -1}]}),
    ("__operators__.getitem", "a", {"slice_spec": 0}),
]


def filled(value, tensors):
    """The argument with arrays for the names of tensors."""
    if isinstance(value, list):
        return [filled(v, tensors) for v in value]
    return tensors.get(value, value) if isinstance(value, str) else value


def tensorflows(function, first, others):
    import tensorflow as tf

    if function == "__operators__.getitem":
        spec = others["slice_spec"]
        key = [
            Ellipsis if isinstance(s, dict) and "class_name" in s else slice(*s.values()) if isinstance(s, dict) else s
            for s in (spec if isinstance(spec, list) else [spec])
        ]
        return tf.convert_to_tensor(first)[tuple(key)]
    if function == "__operators__.add":
        function = "math.add"
    call = functools.reduce(getattr, function.split("."), tf)
    if function == "compat.v1.shape":
        others = {}
    return call(first if isinstance(first, list) else tf.convert_to_tensor(first), **others)


@pytest.mark.parametrize("node", NODES, ids=lambda node: f"{node[0]}{node[2]}")
def test_tensorflows_functions(keras, rng, node):
    function, first, others = node
    arrays = {name: rng.standard_normal((2, 4, 3)).astype("float32") for name in "ab"}
    layer = from_tf_lambda({"name": "op", "trainable": True, "dtype": "float32", "function": function})
    call = filled(first, arrays), {key: filled(value, arrays) for key, value in others.items() if key != "name"}
    wanted = tensorflows(function, *call)
    given = {key: filled(value, arrays) if key != "name" else value for key, value in others.items()}
    found = layer.call(call[0], **given)
    specs = dict.fromkeys("ab", Spec((None, 4, 3)))
    named = {key: filled(value, specs) if key != "name" else value for key, value in others.items()}
    shapes = layer.compute_output_shape(filled(first, specs), **named)
    many = isinstance(wanted, list | tuple)
    for y, theirs, shape in zip(*((found, wanted, shapes) if many else ([found], [wanted], [shapes])), strict=True):
        theirs = np.asarray(theirs)
        if theirs.dtype.kind == "f":
            assert_same(y, theirs, theirs.dtype.name)
        else:
            assert y.dtype == theirs.dtype and np.array_equal(y, theirs)
        assert len(shape) == theirs.ndim and all(n in (None, size) for n, size in zip(shape, theirs.shape, strict=True))


def test_sizes_that_are_computed(rng):
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    shape = from_tf_lambda({"name": "s", "function": "compat.v1.shape"}).call(x)
    size = from_tf_lambda({"name": "i", "function": "__operators__.getitem"}).call(shape, slice_spec=0)
    reshape = from_tf_lambda({"name": "r", "function": "reshape"})
    assert np.array_equal(reshape.call(x, shape=[size, 12]), x.reshape(2, 12))
    assert reshape.compute_output_shape(Spec((None, 4, 3)), shape=[Spec(()), 12]) == (None, 12)
    assert reshape.compute_output_shape(Spec((None, None, 3)), shape=[Spec(()), Spec(()), 3]) == (None, None, 3)


HOSTILE = [None, True, "1", 1.5, float("nan"), -7, 10**9, 10**400, [], {}, [[1, [2]]], ["a"], [None], [-5, 3], ALL]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_hostile_arguments_give_our_error_only(function):
    x = np.ones((2, 4, 3), "float32")
    layer = from_tf_lambda({"name": "op", "function": function})
    names = [part.split("=")[0] for part in FUNCTIONS[function].parameters.split()]
    for value in HOSTILE:
        for args, kwargs in [
            ((value,), {}),
            ((x, value), {}),
            ((x,), {"y": value}),
            ((x,) * 9, {}),
            ((), {}),
            ((x,), {"surprise": value}),
            *(((x,), {name: value}) for name in names[1:]),
            *(((x, x), {name: value}) for name in names[2:]),
            ((x,), {"transpose_b": value, "b": x}),
        ]:
            for run in (layer.call, layer.compute_output_shape):
                try:
                    run(*args, **kwargs)
                except FastLSTMError:
                    pass


@pytest.mark.parametrize("config", [None, [], "math.add", {}, {"name": "x"}])
def test_what_is_no_configuration_is_refused(config):
    with pytest.raises(FastLSTMError):
        from_tf_lambda(config)


@pytest.mark.parametrize("function", [None, 1, "", "math.erf", "einsum", "os.system", [], {}])
def test_functions_outside_the_table_are_refused(function):
    with pytest.raises(UnsupportedLayerError, match="fastlstm computes"):
        from_tf_lambda({"name": "x", "function": function})


def test_arguments_that_would_change_the_result_are_refused():
    x = np.ones((2, 4, 3), "float32")
    for function, arguments in [
        ("math.cumsum", {"axis": 1, "reverse": True}),
        ("gather", {"indices": [0], "axis": 1, "batch_dims": 1}),
        ("math.add", {"y": 1, "z": 2}),
        ("shape", {"out_type": "int64"}),
    ]:
        with pytest.raises(UnsupportedLayerError, match="does not compute"):
            from_tf_lambda({"name": "x", "function": function}).call(x, **arguments)


def test_a_mask_stops_but_at_a_cast_to_the_same_type():
    x, mask = np.ones((2, 4, 3), "float32"), np.ones((2, 4), bool)
    for function, arguments, kept in [
        ("math.add", {"y": 1}, False),
        ("cast", {"dtype": "float64"}, False),
        ("cast", {"dtype": "float32"}, True),
    ]:
        layer = operation_from_config({"class_name": "TFOpLambda", "config": {"name": "x", "function": function}})
        assert layer.call_masked((x,), arguments, None, mask)[1] is (mask if kept else None)
        assert layer.class_name == "TFOpLambda" and from_tf_lambda(layer.get_config()).name == "x"
