"""Configurations of every Keras get the names and meanings of today; what has none is refused by name."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legacy_oracle import rebuilt

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.loading.legacy import modernize

# -- what Keras 1 and the first Keras 2 wrote, by hand from their sources -----------------------------


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": class_name.lower(), **config}}


def sequential(layers: list[Any], **rest: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": layers, **rest}


KERAS_1_LSTM = {
    "output_dim": 8, "init": "glorot_uniform", "inner_init": "orthogonal", "forget_bias_init": "one",
    "activation": "tanh", "inner_activation": "hard_sigmoid", "U_regularizer": None, "b_regularizer": None,
    "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}, "dropout_W": 0.1, "dropout_U": 0.2,
    "return_sequences": True, "go_backwards": False, "stateful": False, "unroll": False, "consume_less": "gpu",
    "input_dim": 3, "input_length": 5, "trainable": True,
}  # fmt: skip


KERAS_1_GRU = {key: value for key, value in KERAS_1_LSTM.items() if key != "forget_bias_init"}


def configs(modern: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(node["class_name"], node["config"]) for node in modern["config"]["layers"]]


def test_keras_1_arguments_get_their_names_of_today(keras):
    old = sequential(
        [
            layer("LSTM", batch_input_shape=[None, 5, 3], input_dtype="float32", **KERAS_1_LSTM),
            layer("Convolution1D", nb_filter=4, filter_length=3, init="he_normal", activation="relu",
                  border_mode="same", subsample_length=2, W_constraint=None, bias=True, input_dim=8, input_length=5),
            layer("MaxPooling1D", stride=2, pool_length=2, border_mode="valid"),
            layer("BatchNormalization", epsilon=1e-3, mode=0, axis=-1, momentum=0.99, gamma_regularizer=None),
            layer("TimeDistributedDense", output_dim=2, init="uniform", activation="linear", bias=False),
            layer("Bidirectional", merge_mode="ave", layer=layer("GRU", **{**KERAS_1_GRU, "output_dim": 4})),
            layer("TimeDistributed", layer=layer("Dense", output_dim=3, init="normal", bias=True, input_dim=4)),
            layer("Dropout", p=0.4),
            layer("GaussianNoise", sigma=0.4),
            layer("LeakyReLU", alpha=0.25),
        ]
    )  # fmt: skip
    modern = modernize(old, "1.2.2")
    found = configs(modern)
    assert [name for name, _ in found] == [
        "InputLayer", "LSTM", "Conv1D", "MaxPooling1D", "BatchNormalization", "Dense", "Bidirectional",
        "TimeDistributed", "Dropout", "GaussianNoise", "LeakyReLU",
    ]  # fmt: skip
    assert found[0][1] == {"batch_shape": [None, 5, 3], "dtype": "float32", "sparse": False, "name": "lstm_input"}
    assert found[1][1] == {
        "name": "lstm", "units": 8, "kernel_initializer": "glorot_uniform", "recurrent_initializer": "orthogonal",
        "unit_forget_bias": True, "activation": "tanh", "recurrent_activation": "hard_sigmoid_keras2",
        "recurrent_regularizer": None, "bias_regularizer": None, "kernel_regularizer": {
            "module": "keras.regularizers", "class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01},
            "registered_name": None}, "dropout": 0.1, "recurrent_dropout": 0.2, "return_sequences": True,
        "go_backwards": False, "stateful": False, "unroll": False, "trainable": True,
    }  # fmt: skip
    inner = found[6][1]["layer"]
    assert inner["class_name"] == "GRU" and inner["config"]["units"] == 4 and inner["config"]["reset_after"] is False
    assert found[10][1]["negative_slope"] == 0.25
    assert rebuilt(keras, modern).output_shape == (None, 1, 3)


@pytest.mark.parametrize(
    ("first", "shape", "dtype"),
    [
        (layer("Embedding", input_dim=9, output_dim=2, input_length=7, dtype="int32"), [None, 7], "int32"),
        (layer("Embedding", input_dim=9, output_dim=2, batch_input_shape=[4, None]), [4, None], "float32"),
        (layer("LSTM", units=2, input_shape=[5, 3]), [None, 5, 3], "float32"),
        (layer("LSTM", units=2, batch_input_shape=[2, 5, 3], dtype="float64"), [2, 5, 3], "float32"),
        (layer("Bidirectional", layer=layer("LSTM", units=2, batch_input_shape=[None, 5, 3])), [None, 5, 3], "float32"),
        (sequential([layer("Dense", units=2, batch_input_shape=[None, 3])]), [None, 3], "float32"),
    ],
)
def test_the_first_layer_says_what_the_input_is(first, shape, dtype):
    for version in ("2.0.2", "2.2.4-tf"):
        made = configs(modernize(sequential([first]), version))[0]
        assert made[0] == "InputLayer"
        assert (made[1]["batch_shape"], made[1]["dtype"]) == (shape, dtype)


def test_a_name_that_is_taken_is_not_given_again():
    old = sequential([{**layer("Dense", units=2, input_shape=[3])}, layer("Dense", units=2)])
    old["config"][1]["config"]["name"] = "dense_input"
    names = [config["name"] for _, config in configs(modernize(old, "2.1.0"))]
    assert names == ["dense_input_", "dense", "dense_input"]


def test_a_model_without_any_shape_gets_no_input():
    assert [name for name, _ in configs(modernize(sequential([layer("Dense", units=2)]), "2.1.0"))] == ["Dense"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.2.2", "hard_sigmoid_keras2"), ("2.0.8", "hard_sigmoid_keras2"), ("2.2.5", "hard_sigmoid_keras2"),
        ("2.3.0", "sigmoid"), ("2.3.1", "sigmoid"), ("2.2.4-tf", "sigmoid"), ("2.15.0", "sigmoid"), ("3.1.0", None),
    ],
)  # fmt: skip
def test_what_was_not_said_is_what_it_was_by_default(version, expected):
    made = configs(modernize({"class_name": "Sequential", "config": {"layers": [layer("LSTM", units=2)]}}, version))
    assert made[-1][1].get("recurrent_activation") == expected


@pytest.mark.parametrize("name", ["Activation", "Dense", "GRU", "SimpleRNN", "Conv1D"])
def test_hard_sigmoid_was_another_function_before_keras_3(name):
    node = layer(name, units=2, activation="hard_sigmoid")
    saved = {"module": "builtins", "class_name": "function", "config": "hard_sigmoid", "registered_name": "function"}
    for version, expected in (("2.15.0", "hard_sigmoid_keras2"), ("3.0.0", "hard_sigmoid")):
        assert configs(modernize(sequential([node]), version))[-1][1]["activation"] == expected
    node["config"]["activation"] = saved
    assert configs(modernize(sequential([node]), "2.15.0"))[-1][1]["activation"] == "hard_sigmoid_keras2"


def test_cudnn_layers_are_ordinary_ones(keras):
    old = sequential(
        [layer("CuDNNGRU", units=3, return_sequences=True, batch_input_shape=[None, 5, 2]), layer("CuDNNLSTM", units=4)]
    )
    modern = modernize(old, "2.2.4")
    (_, gru), (_, lstm) = configs(modern)[1:]
    assert gru["reset_after"] is True
    assert (lstm["activation"], lstm["recurrent_activation"]) == ("tanh", "sigmoid")
    assert rebuilt(keras, modern).count_params() == 3 * 3 * (2 + 3 + 2) + 4 * 4 * (3 + 4 + 1)


def functional(*nodes: dict[str, Any], outputs: Any = None) -> dict[str, Any]:
    names = [node["name"] if "name" in node else node["config"]["name"] for node in nodes]
    layers = [{"inbound_nodes": [], **node, "name": name} for node, name in zip(nodes, names, strict=True)]
    outputs = outputs or [[layers[-1]["name"], 0, 0]]
    config = {"name": "m", "layers": layers, "input_layers": [["a", 0, 0]], "output_layers": outputs}
    return {"class_name": "Model", "config": config}


def calls(modern: dict[str, Any], name: str) -> list[Any]:
    """``inbound_nodes`` of a layer, its tensors as tuples."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                return tuple(value["config"]["keras_history"])
            return {key: short(item) for key, item in value.items()}
        return [short(item) for item in value] if isinstance(value, list) else value

    (node,) = [node for node in modern["config"]["layers"] if node["name"] == name]
    return [short(call) for call in node["inbound_nodes"]]


A = layer("InputLayer", batch_input_shape=[None, 5, 3], dtype="float32", sparse=False) | {"name": "a"}
A["config"]["name"] = "a"


@pytest.mark.parametrize(
    ("class_name", "old", "args", "kwargs"),
    [
        ("Dense", [["a", 0, 0]], [("a", 0, 0)], {}),
        ("Dense", [["a", 0, 0, {"training": False}]], [("a", 0, 0)], {"training": False}),
        ("Add", [["a", 0, 0], ["a", 0, 0]], [[("a", 0, 0), ("a", 0, 0)]], {}),
        ("LSTM", [["a", 0, 0, {}], ["a", 0, 0, {}], ["a", 0, 0, {}]], [("a", 0, 0)],
         {"initial_state": [("a", 0, 0), ("a", 0, 0)]}),
        ("LSTM", [["a", 0, 0, {"initial_state": [["a", 0, 0], ["a", 0, 0]]}]], [("a", 0, 0)],
         {"initial_state": [("a", 0, 0), ("a", 0, 0)]}),
        ("TFOpLambda", ["a", 0, 0, {"y": ["a", 0, 0], "name": None}], [("a", 0, 0)], {"y": ("a", 0, 0), "name": None}),
        ("TFOpLambda", ["_CONSTANT_VALUE", -1, 2.5, {"y": ["a", 0, 0]}], [2.5], {"y": ("a", 0, 0)}),
        ("Thing", {"k": ["a", 0, 0, {}], "l": [["a", 0, 0, {}]]}, [{"k": ("a", 0, 0), "l": [("a", 0, 0)]}], {}),
        ("Thing", [["a", 0, 0, {"names": ["b", 0, 0], "axes": [0, 1]}]], [("a", 0, 0)],
         {"names": ["b", 0, 0], "axes": [0, 1]}),
    ],
)  # fmt: skip
def test_calls_of_every_form(class_name, old, args, kwargs):
    node = layer(class_name, name="it") | {"inbound_nodes": [old]}
    assert calls(modernize(functional(A, node), "2.4.0"), "it") == [{"args": args, "kwargs": kwargs}]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({"mode": "sum"}, ("Add", {})), ({"mode": "mul"}, ("Multiply", {})), ({"mode": "ave"}, ("Average", {})),
        ({"mode": "max"}, ("Maximum", {})), ({"mode": "concat", "concat_axis": 2}, ("Concatenate", {"axis": 2})),
        ({"mode": "dot", "dot_axes": [2, 2]}, ("Dot", {"axes": [2, 2]})),
    ],
)  # fmt: skip
def test_keras_1_merges_become_layers_of_their_own(mode, expected):
    merge = layer("Merge", mode_type="raw", output_shape=None, arguments={}, **mode)
    node = {**merge, "inbound_nodes": [[["a", 0, 0], ["a", 0, 0]]]}
    name, config = configs(modernize(functional(A, node), "1.2.2"))[1]
    assert (name, config) == (expected[0], {"name": "merge", "mask_merging": "all", **expected[1]})


def test_masks_were_merged_by_and_before_keras_3():
    node = layer("Concatenate", axis=-1) | {"inbound_nodes": [[["a", 0, 0, {}], ["a", 0, 0, {}]]]}
    assert configs(modernize(functional(A, node), "2.15.0"))[1][1]["mask_merging"] == "all"
    assert "mask_merging" not in configs(modernize(functional(A, node), "3.2.0"))[1][1]


def test_what_is_given_is_not_changed():
    given_ = sequential([layer("Embedding", input_dim=5, output_dim=3, input_length=4), layer("LSTM", units=3)])
    before = json.dumps(given_)
    modernize(given_, "2.1.0")
    assert json.dumps(given_) == before


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "word"),
    [
        (sequential([layer("Highway", init="one")]), "Highway"),
        (sequential([layer("MaxoutDense", output_dim=3)]), "MaxoutDense"),
        (sequential([layer("Merge", mode="sum", layers=[])]), "Merge"),
        (sequential([layer("LSTM", units=2, time_major=True)]), "time_major"),
        (sequential([layer("LSTM", units=2, num_constants=1)]), "num_constants"),
        (sequential([layer("InputLayer", batch_input_shape=[None, 3], ragged=True)]), "ragged"),
        (sequential([layer("BatchNormalization", mode=2, border_mode="x")]), "mode"),
        (functional(A, layer("Merge", mode="cos", mode_type="raw")), "cos"),
        (functional(A, layer("Merge", mode="x", mode_type="lambda")), "merging"),
        ({"class_name": "MyModel", "config": {}}, "MyModel"),
        ({"class_name": "Sequential", "registered_name": "a>B", "module": "x", "config": {}}, "a>B"),
    ],
)
def test_what_keras_3_cannot_say_is_refused_by_name(old, word):
    with pytest.raises(UnsupportedLayerError, match=word):
        modernize(old, "1.2.2" if "mode" in json.dumps(old) else "2.2.4")


@pytest.mark.parametrize(
    "node",
    [
        {"class_name": "package>Name", "config": {"units": 3}},
        {"class_name": "MyLayer", "config": {"units": 3}, "module": "x.y", "registered_name": "p>MyLayer"},
        {"class_name": "Dense", "config": {"units": 3}, "module": "keras_hub.layers", "registered_name": None},
        {"class_name": "Dense", "config": {"init": 3}, "module": "keras.layers", "registered_name": "mine>Dense"},
        {"class_name": "Sequential", "config": 3, "module": "elsewhere"},
    ],
)
def test_layers_of_other_people_are_left_as_they_are(node):
    assert modernize(sequential([layer("Dense", units=2), node]), "2.9.0")["config"]["layers"][-1] == node
    assert modernize(sequential([node]), "3.1.0")["config"]["layers"] == [node]
    kept = modernize(functional(A, {**node, "name": "it", "config": {"name": "it"}}), "2.9.0")["config"]["layers"][-1]
    assert kept == {**node, "name": "it", "config": {"name": "it"}, "inbound_nodes": []}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from(
        ["", "a", "LSTM", "Sequential", "Functional", "Merge", "keras", "float32", "hard_sigmoid", "name", "config"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["class_name", "config", "layers", "name", "layer", "inbound_nodes", "module", "dtype", "cells",
                         "activation", "axis", "mode", "batch_input_shape", "registered_name"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON, st.sampled_from([None, "1.2.2", "2.2.4", "2.15.0", "3.15.1", "", "x"]))
def test_any_json_is_a_configuration_or_is_refused(value, version):
    refused_or_done(value, version)


@pytest.mark.parametrize("seed", range(40))
def test_changed_configurations_are_done_or_refused(seed):
    chance = random.Random(seed)
    call = {"inbound_nodes": [[["a", 0, 0], ["a", 0, 0]]]}
    merged = functional(A, layer("Merge", mode="sum", mode_type="raw") | call)
    stack = sequential([layer("LSTM", **KERAS_1_LSTM)])
    nested = functional(A, {**stack, "name": "s", "inbound_nodes": [[["a", 0, 0]]]})
    wrapped = sequential([layer("Bidirectional", layer=layer("LSTM", **KERAS_1_LSTM), input_shape=[3])])
    for old in (merged, nested, wrapped):
        for _ in range(50):
            version = chance.choice(["1.2.2", "2.2.4", "3.0.0", None])
            refused_or_done(changed(json.loads(json.dumps(old)), chance), version)


def refused_or_done(value: Any, version: str | None) -> None:
    try:
        made = modernize(value, version)
    except FastLSTMError as error:
        assert len(str(error)) < 1000 and str(error).isprintable()
    else:
        assert made["class_name"] in ("Sequential", "Functional")
        json.dumps(made)


def changed(value: Any, chance: random.Random) -> Any:
    """With something inside replaced by what does not belong there."""
    others = [None, True, -1, 2**62, 0.5, "", "Sequential", [], {}, [[]], [None], {"class_name": 3}, ["a", 0, 0]]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = list(pairs)
    if not inside or chance.random() < 0.1:
        return chance.choice(others)
    key, item = chance.choice(inside)
    value[key] = changed(item, chance)
    return value
