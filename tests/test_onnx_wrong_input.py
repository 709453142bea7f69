"""What fastlstm.onnx cannot take is refused by name, whatever is given; what NumPy and torch have beside is taken."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_cases import called, made, model_of, node_of, one, run_onnxruntime

from fastlstm import FastLSTMError, Input, ModelFileError, Sequential, layers
from fastlstm.onnx import LSTM, to_onnx


def refused(cases):
    """Each case is a call, and what its error says."""
    return pytest.mark.parametrize(("call", "message"), cases, ids=[message for _, message in cases])


def written(rng, path, dtype=np.float32):
    case = one(rng)
    for name in ("W", "R"):
        case.inputs[name] = case.inputs[name].astype(dtype)
    path.write_bytes(model_of(case).SerializeToString())
    return case


# -- arguments ------------------------------------------------------------------------------------------


def test_tensors_are_arrays(rng):
    torch, ml_dtypes = pytest.importorskip("torch"), pytest.importorskip("ml_dtypes")
    case = one(rng, initial_h=np.ones((1, 3, 5), np.float32), sequence_lens=np.array([4, 2, 1]))
    tensors = {name: torch.tensor(array) for name, array in case.inputs.items()}
    graded = {name: t.requires_grad_() if t.is_floating_point() else t for name, t in tensors.items()}
    call = {name: graded[name] for name in ("X", "sequence_lens", "initial_h")}
    for layer in (LSTM(graded["W"], graded["R"]), LSTM.from_node(node_of(case), graded)):
        for ours, wanted in zip(layer(**call), called(made(case), case), strict=True):
            assert np.array_equal(ours, wanted)
    halves = case.inputs["W"].astype(ml_dtypes.bfloat16)
    for w in (halves, graded["W"].bfloat16()):
        found = LSTM(w, case.inputs["R"])(case.inputs["X"])
        assert np.array_equal(found[0], LSTM(halves.astype(np.float32), case.inputs["R"])(case.inputs["X"])[0])
    with pytest.raises(FastLSTMError, match="X is not an array"):
        made(case)(torch.empty(4, 3, 2, device="meta"))


def test_weights_of_float64_in_any_form_compute_in_float64(rng):
    case = one(rng)
    torch = pytest.importorskip("torch")
    w = case.inputs["W"].astype(np.float64)
    for given in (w, w.astype(">f8"), torch.tensor(w), w.tolist()):
        assert LSTM(given, case.inputs["R"])(case.inputs["X"])[0].dtype == np.float64
    for given in (w.astype(">f4"), w.astype(np.float16), (3 * w).astype(np.int64), torch.tensor(w).float()):
        assert LSTM(given, case.inputs["R"])(case.inputs["X"])[0].dtype == np.float32


def test_numbers_of_numpy_are_numbers(rng):
    w, r = (one(rng).inputs[name] for name in "WR")
    curved = {"activations": ["HardSigmoid", "LeakyRelu", "Tanh"]}
    ours = LSTM(w, r, layout=np.int64(1), input_forget=np.bool_(False), clip=np.int64(2), hidden_size=np.int32(5),
                activation_alpha=np.array([1, 2]), activation_beta=[np.float32(0.5)], **curved)  # fmt: skip
    same = LSTM(w, r, layout=1, clip=2.0, activation_alpha=[1.0, 2.0], activation_beta=[0.5], **curved)
    x = rng.standard_normal((3, 4, 2))
    assert np.array_equal(ours(x)[0], same(x)[0])
    assert LSTM(w, r, clip=np.float32("inf")).layers[0].variant.input_clip is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": 2}, "layout is 2; expected 0 or 1"),
        ({"layout": 1.0}, "layout is 1.0; expected 0 or 1"),
        ({"input_forget": "1"}, "input_forget is '1'; expected 0 or 1"),
        ({"clip": 10**400}, "clip is 1000"),
        ({"clip": "much"}, "clip is 'much'"),
        ({"activation_alpha": np.array(1.0)}, "activation_alpha is .*expected a list of finite numbers"),
        ({"activation_alpha": np.array([[1.0]])}, "expected a list of finite numbers"),
        ({"activation_beta": [10**400]}, "activation_beta is "),
        ({"reproducible": "no"}, "reproducible is 'no'; expected True or False"),
        ({"R": None}, "R has dtype object; expected numbers"),
    ],
)
def test_wrong_arguments_are_named(rng, arguments, message):
    case = one(rng)
    with pytest.raises(FastLSTMError, match=message):
        LSTM(**{"W": case.inputs["W"], "R": case.inputs["R"], **arguments})


# -- nodes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", [None, 3, "LSTM", {"op_type": "LSTM"}, helper.make_graph([], "g", [], [])], ids=str)
def test_what_is_no_node_is_refused(rng, node):
    with pytest.raises(FastLSTMError, match="expected a node, with op_type, input and attribute"):
        LSTM.from_node(node, one(rng).inputs)


def test_a_node_of_another_domain_is_refused(rng):
    case = one(rng)
    node = node_of(case)
    node.domain = "com.x"
    with pytest.raises(FastLSTMError, match=r"is of domain 'com\.x'; expected the LSTM of ONNX itself"):
        LSTM.from_node(node, case.inputs)
    plain = SimpleNamespace(op_type="LSTM", input=["X", "W", "R"], attribute=[])
    assert LSTM.from_node(plain, case.inputs).hidden_size == 5


def test_wrong_initializers_are_named(rng):
    case = one(rng)
    node, given = node_of(case), case.inputs
    for wrong, message in (
        (None, "initializers is NoneType; expected arrays by their names, or TensorProtos"),
        (3, "initializers is int"),
        ("WR", "initializers is str"),
        ([given["W"], given["R"]], "initializers is list"),
        (given["W"], "initializers is ndarray"),
        ({**given, "W": [[1.0], [1.0, 2.0]]}, "W, 'W' is not an array"),
        ({**given, "R": None}, "R has dtype object"),
        ({**given, "R": "words"}, "R has dtype"),
        ({}, "W, 'W', is not among the initializers"),
    ):
        with pytest.raises(FastLSTMError, match=f"^node '.*': .*{message}"):
            LSTM.from_node(node, wrong)
    tensors = (numpy_helper.from_array(given[name], name) for name in "WR")  # any iterable will do
    assert np.array_equal(LSTM.from_node(node, tensors)(given["X"])[0], made(case)(given["X"])[0])


def test_how_to_run_changes_nothing_that_a_node_says(rng, tmp_path):
    case = written(rng, tmp_path / "x.onnx")
    for name, value in (("direction", "reverse"), ("layout", 1), ("hidden_size", 5), ("W", case.inputs["W"])):
        with pytest.raises(TypeError, match=name):
            LSTM.from_node(node_of(case), case.inputs, **{name: value})
        with pytest.raises(TypeError, match=name):
            LSTM.from_model(tmp_path / "x.onnx", **{name: value})
    found = LSTM.from_model(tmp_path / "x.onnx", isa="scalar", reproducible=False, threads=1, precision="bfloat16")
    assert found.layers[0].isa == "scalar" and found.layers[0].precision == "bfloat16"


# -- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_is_not_blamed_for_how_it_is_to_run(rng, tmp_path, dtype):
    path = tmp_path / "x.onnx"
    written(rng, path, dtype)
    wrong = [({"isa": "mmx"}, "isa='mmx'"), ({"threads": 0}, "threads is 0"), ({"precision": "int4"}, "precision is"),
             ({"reproducible": "no"}, "reproducible is 'no'")]  # fmt: skip
    if dtype == np.float64:
        wrong.append(({"precision": "int8"}, "precision='int8' needs dtype float32"))
    for how, message in wrong:
        with pytest.raises(FastLSTMError, match=message) as caught:
            LSTM.from_model(path, **how)
        assert type(caught.value) is FastLSTMError and "x.onnx" not in str(caught.value)


def test_an_open_files_number_is_no_path(rng, tmp_path):
    path = tmp_path / "x.onnx"
    written(rng, path)
    number = os.open(path, os.O_RDONLY)
    for wrong in (number, None, -1, ["a"], open, "a\0b"):
        with pytest.raises(FastLSTMError, match=r"from_model: path is .*; expected a str, bytes or path-like"):
            LSTM.from_model(wrong)
    os.close(number)  # which nobody has closed
    assert repr(LSTM.from_model(os.fsencode(path))) == repr(LSTM.from_model(path))
    with pytest.raises(ModelFileError, match=r"^'missing': "):
        LSTM.from_model(b"missing")


# -- to_onnx --------------------------------------------------------------------------------------------


def test_only_a_path_is_written_to(tmp_path):
    layer = layers.LSTM(3)
    layer.build((None, None, 2))
    for path in (3, True, ["a"], "a\0b"):
        with pytest.raises(FastLSTMError, match=r"to_onnx: path is .*; expected a str, bytes or path-like"):
            to_onnx(layer, path)
    with pytest.raises(FastLSTMError, match=r"missing/x.onnx': there is no such directory$"):
        to_onnx(layer, tmp_path / "missing" / "x.onnx")
    to_onnx(layer, os.fsencode(tmp_path / "x.onnx"))
    assert [file.name for file in tmp_path.iterdir()] == ["x.onnx"]
    assert onnx.load(tmp_path / "x.onnx") == to_onnx(layer)


def test_weights_are_written_as_they_were_given_and_ids_in_the_inputs_type(rng):
    layer = layers.LSTM(3, precision="int8")
    layer.build((None, None, 2))
    x = rng.standard_normal((2, 4, 2)).astype(np.float32)
    (found,) = run_onnxruntime(to_onnx(layer), {f"{layer.name}_input": x})
    layer.precision = "float32"
    np.testing.assert_allclose(found, layer(x), rtol=0, atol=16 * np.finfo(np.float32).eps)
    for given, kind in ((Input((None,)), np.float32), (Input((None,), dtype="int64"), np.int64)):
        graph = to_onnx(Sequential([given, layers.Embedding(5, 2)])).graph
        assert helper.tensor_dtype_to_np_dtype(graph.input[0].type.tensor_type.elem_type) == kind
