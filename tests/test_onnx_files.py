"""Nodes and files of ONNX give fastlstm.onnx.LSTM, with no onnx installed; bad ones are refused, and cost little."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import SEED
from hostile_watch import watched
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import (
    CALL,
    NAMES,
    WEIGHTS,
    Case,
    batch_first,
    called,
    cases,
    checked,
    made,
    model_of,
    node_of,
    one,
    run_onnxruntime,
)

from fastlstm import FastLSTMError, ModelFileError
from fastlstm.onnx import LSTM

MODELS = pathlib.Path(os.environ.get("FASTLSTM_MODELS", pathlib.Path(__file__).parents[2] / "shared" / "models"))


def assert_same(layer, case):
    """The layer is the one that the case's arrays make."""
    for ours, other in zip(called(layer, case), called(made(case), case), strict=True):
        assert np.array_equal(ours, other)


def write(model, path):
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


@pytest.mark.parametrize("opset", [1, 7, 14, 22])
def test_nodes_of_every_version_are_read(rng, tmp_path, opset):
    for case, _ in cases([SEED, opset], 40):
        model = model_of(case, opset)
        (node,) = model.graph.node
        assert_same(LSTM.from_node(node, model.graph.initializer), case)
        assert_same(LSTM.from_node(node, case.inputs), case)
        assert_same(LSTM.from_model(write(model, tmp_path / "one.onnx")), case)
        if opset >= 14:
            turned = batch_first(case)
            assert_same(LSTM.from_model(write(model_of(turned, opset), tmp_path / "turned.onnx")), turned)


def test_version_1_says_whether_the_sequence_is_wanted(rng):
    case = one(rng)
    assert_same(LSTM.from_node(node_of(case, output_sequence=1), case.inputs), case)


def test_constants_of_the_graph_serve_calls_that_are_given_no_others(rng, tmp_path):
    case = one(rng, initial_h=np.ones((1, 3, 5), np.float32), initial_c=np.ones((1, 3, 5), np.float32),
               sequence_lens=np.array([4, 2, 0], np.int32))  # fmt: skip
    path = write(model_of(case, constants=WEIGHTS + CALL), tmp_path / "model.onnx")
    layer = LSTM.from_model(path)
    for ours, wanted in zip(layer(case.inputs["X"]), called(made(case), case), strict=True):
        assert np.array_equal(ours, wanted)
    other = Case(case.attributes, case.inputs | {"initial_h": -case.inputs["initial_h"]})
    y, _, _ = layer(case.inputs["X"], initial_h=other.inputs["initial_h"])
    assert np.array_equal(y, called(made(other), other)[0])
    with pytest.raises(FastLSTMError, match=r"the graph's initial_h has shape \(1, 3, 5\); expected \(1, 1, 5\)"):
        layer(case.inputs["X"][:, :1], sequence_lens=[4])


def test_weights_in_constant_nodes_and_in_every_field_are_read(rng, tmp_path):
    case = one(rng, B=rng.normal(size=(1, 40)).astype(np.float32))
    model = model_of(case, constants=("W",))
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("X", TensorProto.FLOAT, case.inputs["X"].shape))
    r = numpy_helper.from_array(case.inputs["R"])
    b = helper.make_tensor("b", TensorProto.FLOAT, (1, 40), case.inputs["B"].ravel())  # in float_data
    model.graph.node.insert(0, helper.make_node("Identity", ["kept"], ["R"]))
    for name, tensor in (("kept", r), ("B", b)):
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    assert_same(LSTM.from_model(write(checked(model), tmp_path / "model.onnx")), case)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_every_float_type_are_read(rng, kind, raw):
    case = one(rng)
    number = getattr(TensorProto, kind)
    tensors = {}
    for name in ("W", "R"):
        array = case.inputs[name].astype(np.float64 if kind == "DOUBLE" else np.float32)
        if kind == "BFLOAT16":
            array = (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
        elif kind == "FLOAT16":
            array = array.astype(np.float16).astype(np.float32)
        case.inputs[name] = array
        if raw and kind == "BFLOAT16":
            data = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            data = array.astype(np.float16).tobytes() if kind == "FLOAT16" else array.tobytes()
        tensors[name] = helper.make_tensor(name, number, array.shape, data if raw else array.ravel(), raw=raw)
    assert_same(LSTM.from_node(node_of(case), tensors), case)


def test_one_of_several_nodes_is_chosen_by_its_name_or_its_output(rng, tmp_path):
    two = [one(rng), one(rng, units=3)]
    models = [model_of(case, name=name) for case, name in zip(two, ("first", ""), strict=True)]
    for i, model in enumerate(models):
        renamed = {name: f"{name}{i}" for name in ("W", "R", *NAMES)}
        (node,) = model.graph.node
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
        for part in (*model.graph.initializer, *model.graph.output):
            part.name = renamed[part.name]
    graph = models[0].graph
    for field in ("node", "initializer", "output"):
        getattr(graph, field).extend(getattr(models[1].graph, field))
    path = write(checked(models[0]), tmp_path / "two.onnx")
    assert_same(LSTM.from_model(path, "first"), two[0])
    assert_same(LSTM.from_model(path, "Y_h0"), two[0])
    assert_same(LSTM.from_model(str(path), "Y1"), two[1])
    for name in (None, "third"):
        with pytest.raises(ModelFileError, match=r"two\.onnx'.*has [02] LSTM nodes.*'first', 'Y1'"):
            LSTM.from_model(path, name)


def test_a_tensor_in_another_file_is_refused_and_that_file_not_opened(rng, tmp_path):
    model = model_of(one(rng))
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="/etc/passwd"[1:].replace("/", "_"),
              size_threshold=0)  # fmt: skip
    with pytest.raises(ModelFileError, match=r"model\.onnx'.*'W', lies in another file \(external data\)"):
        LSTM.from_model(tmp_path / "model.onnx")


def test_weights_that_the_graph_computes_are_refused_by_name(rng, tmp_path):
    case = one(rng)
    path = write(model_of(case, constants=("W",)), tmp_path / "model.onnx")
    with pytest.raises(ModelFileError, match="R, 'R', is not among the initializers and constants"):
        LSTM.from_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, i: setattr(n, "op_type", "GRU"), "is of type 'GRU'; expected LSTM"),
        (lambda n, i: n.input.extend(["", "", "", "", "", "more"]), "has 9 inputs"),
        (lambda n, i: n.input.__delitem__(slice(2, None)), "has 2 inputs"),
        (lambda n, i: n.attribute.append(helper.make_attribute("zoneout", 0.5)), "'zoneout' is none of LSTM's"),
        (lambda n, i: n.attribute.append(helper.make_attribute("clip", 1)), "'clip' is of type 2; expected 1"),
        (lambda n, i: n.attribute.append(helper.make_attribute("direction", "up")), "direction is 'up'"),
        (lambda n, i: n.attribute.append(helper.make_attribute("direction", b"\xff")), "direction is "),
        (lambda n, i: n.attribute.append(helper.make_attribute("activations", ["Tanh"])), "expected 3 names"),
        (lambda n, i: n.attribute.append(helper.make_attribute("layout", 7)), "layout is 7"),
        (lambda n, i: setattr(n.attribute[0], "i", 6), "hidden_size is 6; R has 5 units"),
        (lambda n, i: i[0].dims.__setitem__(0, 2), "go together"),
        (lambda n, i: i[0].dims.__setitem__(0, -1), "go together"),
        (lambda n, i: i[0].dims.extend([2**62] * 1000), "go together"),
        (lambda n, i: i[0].dims.__setitem__(slice(None), [0, 2**62, 2]), "go together"),
        (lambda n, i: setattr(i[0], "data_type", TensorProto.INT8), "has data_type 3"),
        (lambda n, i: setattr(i[0], "data_type", TensorProto.STRING), "has data_type 8"),
        (lambda n, i: setattr(i[0], "data_type", 99), "has data_type 99"),
        (lambda n, i: setattr(i[0], "raw_data", i[0].raw_data[:-1]), "go together"),
        (lambda n, i: i[0].ClearField("raw_data"), "go together"),
    ],
)
def test_what_is_wrong_in_a_node_is_named(rng, tmp_path, change, message):
    model = model_of(one(rng))
    (node,) = model.graph.node
    node.name = "cell"
    change(node, model.graph.initializer)
    with pytest.raises(FastLSTMError, match=f"node 'cell': .*{message}"):
        LSTM.from_node(node, model.graph.initializer)
    path = write(model, tmp_path / "model.onnx")
    with pytest.raises(ModelFileError, match=r"^'.*model\.onnx': "):
        LSTM.from_model(path)


def test_what_is_no_model_is_refused(tmp_path, rng):
    (tmp_path / "folder").mkdir()
    write(b"", tmp_path / "empty")
    write(b"PK\3\4 no model", tmp_path / "zip")
    write(helper.make_model(helper.make_graph([], "none", [], [])), tmp_path / "none")
    for name in ("folder", "empty", "zip", "none", "missing"):
        with pytest.raises(ModelFileError, match=f"^'.*{name}': "):
            LSTM.from_model(tmp_path / name)


def test_cut_and_flipped_files_give_the_layer_or_a_refusal(tmp_path, rng):
    attributes = {"activations": ["Affine", "Tanh", "Tanh"], "activation_alpha": [1.0], "clip": 3.0}
    case = one(rng, units=2, attributes=attributes, B=rng.normal(size=(1, 16)).astype(np.float32))
    whole = model_of(case, name="cell").SerializeToString()
    path = tmp_path / "model.onnx"
    ends = [whole[:n] for n in range(len(whole))]
    flips = [whole[:n] + bytes([whole[n] ^ 1 << bit]) + whole[n + 1 :] for n in range(len(whole)) for bit in (0, 4, 7)]
    refused = 0
    for data in ends + flips:
        try:
            y, h, c = LSTM.from_model(write(data, path))(np.ones((2, 1, 2)))
            assert y.shape[:1] == (2,) and h.shape == c.shape
        except ModelFileError as error:
            assert str(error).startswith(repr(str(path))) and len(str(error)) < 2000 and str(error).isprintable()
            refused += 1
        except FastLSTMError as error:  # the arrays of the call no longer fit
            assert "X has shape" in str(error)
    assert refused > len(ends)


def test_reading_needs_no_onnx(rng, tmp_path):
    case = one(rng)
    path = write(model_of(case), tmp_path / "model.onnx")
    code = f"""
import sys
sys.modules["onnx"] = sys.modules["google"] = None
from fastlstm.onnx import LSTM
print(LSTM.from_model({str(path)!r}))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(made(case))


@pytest.mark.parametrize(
    "where", ["nodes", "initializers", "attributes", "names", "graphs", "sizes", "numbers", "unknown"]
)
def test_a_file_of_nothing_but_fields_takes_little_memory_and_time(tmp_path, where):
    def field(number, data):
        length = [len(data) >> shift & 127 | (shift < 21) << 7 for shift in (0, 7, 14, 21)]
        return bytes([number << 3 | 2, *length]) + data

    many = 2**20
    empty = {number: (bytes([number << 3 | 2]) + b"\0") * many for number in (1, 5, 7, 12)}
    numbers, node = b"\1" * many, field(1, field(4, b"LSTM"))
    data = {
        "nodes": field(7, empty[1]),
        "initializers": field(7, empty[5]),
        "attributes": field(7, field(1, field(4, b"LSTM") + empty[5])),
        "names": field(7, field(1, field(4, b"LSTM") + empty[1])),
        "graphs": empty[7],
        "sizes": field(7, node + field(5, field(1, numbers))),
        "numbers": field(7, node + field(5, field(5, numbers))),
        "unknown": empty[12],
    }[where]
    (tmp_path / "many.onnx").write_bytes(data)
    with watched(tmp_path), pytest.raises(ModelFileError, match="has more than 262144"):
        LSTM.from_model(tmp_path / "many.onnx")


@pytest.mark.parametrize("file", sorted(MODELS.glob("*.onnx")) if MODELS.is_dir() else [], ids=lambda f: f.stem[-20:])
def test_the_lstms_of_published_files_compute_what_they_do_in_onnxruntime(rng, file):
    model = onnx.load(file)
    (given,) = model.graph.input
    steps, features = (size.dim_value for size in given.type.tensor_type.shape.dim[1:])
    x = rng.normal(size=(given.type.tensor_type.shape.dim[0].dim_value or 4, steps, features)).astype(np.float32)
    nodes = [node for node in model.graph.node if node.op_type == "LSTM"]
    for node in nodes:
        for name in (node.input[0], *node.output):
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    values = dict(zip((out.name for out in model.graph.output), run_onnxruntime(model, {given.name: x}), strict=True))
    assert nodes
    for node in nodes:
        layer = LSTM.from_model(file, node.name)
        for ours, name in zip(layer(values[node.input[0]]), node.output, strict=True):
            assert ours.shape == values[name].shape
            np.testing.assert_allclose(ours, values[name], rtol=0, atol=16 * np.finfo(np.float32).eps)
