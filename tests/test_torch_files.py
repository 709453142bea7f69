"""Files of torch.save and safetensors are read as torch reads them, and weights taken from them."""

from __future__ import annotations

import faulthandler
import os
import pathlib

import numpy as np
import pytest
import torch_cases
import torch_writing as w
from hostile_watch import no_hanging, watched
from reference import lstm, rounding_bound
from torch_writing import Call, loaded, tensor

from fastlstm import FastLSTMError
from fastlstm.layouts import keras_to_torch, onnx_to_keras
from fastlstm.torch import LSTM, LSTMCell, load

MODELS = pathlib.Path(os.environ.get("FASTLSTM_MODELS", pathlib.Path(__file__).parents[2] / "shared" / "models"))
PUBLISHED = MODELS / "AlessandroVaraldi__LSTM_ACCELERATOR__best_lstm.pth"
GOOD = w.good()


@pytest.fixture(autouse=True)
def ends():
    no_hanging()
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Import what a load needs, once, so that the tests can ask for no import at all."""
    path = tmp_path_factory.mktemp("warm") / "x"
    for data in GOOD.values():
        path.write_bytes(data)
        load(path)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for name, array in found.items():
        assert not array.flags.writeable
        assert array.dtype == wanted[name].dtype and np.array_equal(array, wanted[name]), name


# -- good files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", GOOD)
def test_files_written_by_hand_are_read(tmp_path, form):
    assert_same(loaded(tmp_path, GOOD[form]), w.arrays())


def test_files_that_torch_saved_are_read(tmp_path):
    files, wanted = torch_cases.recorded_files()
    assert set(files) == {"zip", "legacy"}
    for data in files.values():
        assert_same(loaded(tmp_path, data), wanted)
        ours = LSTM(2, 3, bidirectional=True)
        ours.load_state_dict(tmp_path / "file", prefix="lstm.")
        assert np.array_equal(ours.bias_hh_l0_reverse, wanted["model.lstm.bias_hh_l0_reverse"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_are_read(torch, tmp_path, zipped, protocol):
    module = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 5, 2), "norm": torch.nn.BatchNorm1d(5)})
    wide = torch.arange(24.0).reshape(4, 6)
    given = {
        "model": module.state_dict(),
        "parts": [wide[1:3, ::2], wide.T, wide[3], torch.nn.Parameter(wide[:, 4])],
        "epoch": 3, "loss": 0.5, "name": "best", "done": True, "more": (None, {"empty": torch.zeros(0, 4)}),
        "optimizer": torch.optim.Adam(module.parameters()).state_dict(),
    }  # fmt: skip
    path = tmp_path / "x.pt"
    torch.save(given, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    wanted = {f"model.{name}": part.numpy() for name, part in given["model"].items()}
    wanted |= {f"parts.{i}": part.detach().numpy() for i, part in enumerate(given["parts"])}
    with watched(tmp_path):
        found = load(path)
    assert_same(found, {**wanted, "more.1.empty": np.zeros((0, 4), np.float32)})


@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_of_number_is_read(torch, tmp_path, zipped):
    names = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    given = {name: (torch.randn(3, 4) * 9).to(getattr(torch, name)) for name in names}
    path = tmp_path / "x.pt"
    torch.save(given, path, _use_new_zipfile_serialization=zipped)
    wanted = {name: part.float().numpy() if name == "bfloat16" else part.numpy() for name, part in given.items()}
    with watched(tmp_path):
        found = load(path)
    assert_same(found, wanted)


def test_numbers_of_the_other_byte_order_are_turned(tmp_path):
    given = w.arrays()
    turned = {key: np.frombuffer(data, "<f4").astype(">f4").tobytes() for key, data in w.raw(given).items()}
    assert_same(loaded(tmp_path, w.zipped(w.described(given), turned, {"m/byteorder": b"big"})), given)


def test_types_of_safetensors_are_read(tmp_path):
    rng = np.random.default_rng(3)
    types = {"F16": "f2", "F32": "f4", "F64": "f8", "I8": "i1", "I16": "i2", "I32": "i4", "I64": "i8", "U8": "u1",
             "U16": "u2", "U32": "u4", "U64": "u8", "BOOL": "?"}  # fmt: skip
    wanted = {name: (rng.standard_normal((2, 3)) * 9).astype(dtype) for name, dtype in types.items()}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in reversed(wanted.items()):
        header[name] = {"dtype": name, "shape": [2, 3], "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    halves = np.array([1.5, -2.25, np.inf], np.float32)
    header["BF16"] = {"dtype": "BF16", "shape": [3], "data_offsets": [len(data), len(data) + 6]}
    header["none"] = {"dtype": "F32", "shape": [0, 5], "data_offsets": [len(data) + 6, len(data) + 6]}
    data += (halves.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    wanted |= {"BF16": halves, "none": np.zeros((0, 5), np.float32)}
    assert_same(loaded(tmp_path, w.safetensors(header, data)), wanted)


def test_storages_may_be_shared_and_python_2_wrote_pairs(tmp_path):
    wide = np.arange(6, dtype=np.float32)
    value = Call(w.DICT, ([["a", tensor(w.Place("0", 6), (2, 2), (3, 1), 1)], ["b", tensor(w.Place("0", 6), (6,))],
                           ["c", tensor(w.Place("0", 6), (1, 3), (2**40, 2))]],))  # fmt: skip
    found = loaded(tmp_path, w.with_second_end(w.zipped(value, {"0": wide.tobytes()})))
    assert_same(found, {"a": np.float32([[1, 2], [4, 5]]), "b": wide, "c": np.float32([[0, 2, 4]])})


# -- weights out of files ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", GOOD)
def test_weights_are_taken_from_a_file(tmp_path, form):
    path = tmp_path / "weights"
    path.write_bytes(GOOD[form])
    for given in (path, str(path)):
        ours = LSTM(2, 3)
        with watched(tmp_path):
            assert ours.load_state_dict(given) == ([], [])
        assert_same(ours.state_dict(), w.arrays())
    with pytest.raises(FastLSTMError, match=r"weights'.*'weight_ih_l0' has shape \(12, 2\), expected \(16, 2\)"):
        LSTM(2, 4).load_state_dict(path)
    with pytest.raises(FastLSTMError, match=r"missing 'weight_ih_l1'.*'bias_hh_l1'"):
        LSTM(2, 3, 2).load_state_dict(path)
    with pytest.raises(FastLSTMError, match="no 'weight_ih'; there are 'weight_ih_l0'"):
        LSTMCell(2, 3).load_state_dict(path)
    with pytest.raises(FastLSTMError, match=r"unexpected 'bias_ih_l0', 'bias_hh_l0'"):
        LSTM(2, 3, bias=False).load_state_dict(path)
    assert LSTM(2, 3, bias=False).load_state_dict(path, strict=False).unexpected_keys == ["bias_ih_l0", "bias_hh_l0"]


def nested(first, *others):
    """A checkpoint with state dicts under names, and other things."""
    parts, storages = {"epoch": 3, "note": None}, {}
    for i, name in enumerate((first, *others)):
        given = w.arrays(i)
        keys = {key: f"{i}{key}" for key in w.raw(given)}
        inner = {n: tensor(w.Place(keys[str(k)], a.size), a.shape) for k, (n, a) in enumerate(given.items())}
        for part in reversed(name.split("/")):
            inner = {part.replace("*", f"{part[1:]}") + key: value for key, value in inner.items()} \
                if part.startswith("*") else {part: inner}  # fmt: skip
        parts |= inner
        storages |= {keys[key]: data for key, data in w.raw(given).items()}
    return w.zipped(parts, storages)


def test_state_dicts_inside_others_are_found(tmp_path):
    path = tmp_path / "x.pth"

    def first(name, prefix="", *others):
        path.write_bytes(nested(name, *others))
        ours = LSTM(2, 3)
        ours.load_state_dict(path, prefix=prefix)
        return np.array_equal(ours.weight_ih_l0, w.arrays(0)["weight_ih_l0"])

    assert first("state_dict") and first("model") and first("model", "model.")
    assert first("a/b/c") and first("a/b/c", "c.") and first("a/b/c", "b.c.")
    assert first("lstm", "lstm.", "other") and first("lstm", "lstm.", "ema/lstm")
    for name, prefix, others, message in (
        ("a", "", ("b",), "several such modules: give as prefix one of 'a.', 'b.'"),
        ("x/lstm", "lstm.", ("y/lstm",), "'x.lstm.', 'y.lstm.'"),
        ("mylstm", "lstm.", (), "no 'lstm.weight_ih_l0'; prefixes that would do: 'mylstm.'"),
        ("lstm", "lstm", (), "prefixes that would do: 'lstm.'"),
    ):
        with pytest.raises(FastLSTMError, match=message):
            first(name, prefix, *others)


def test_what_is_not_asked_for_is_not_read(tmp_path):
    """Nor is what does not fit: this file says that it has 3 GB of numbers."""
    path, given = tmp_path / "x", w.arrays()
    header = w.entries({f"lstm.{name}": array for name, array in given.items()})
    end = sum(array.nbytes for array in given.values())
    size = 1800 * 2**20
    header["other"] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
    path.write_bytes(w.safetensors(header, b"".join(w.raw(given).values())))
    os.truncate(path, path.stat().st_size + size)
    ours = LSTM(2, 3)
    with watched(tmp_path):
        ours.load_state_dict(path, prefix="lstm.")
    assert_same(ours.state_dict(), given)
    header = {"weight_ih_l0": {"dtype": "F32", "shape": [size // 16, 4], "data_offsets": [0, size]}}
    path.write_bytes(w.safetensors(header, b""))
    os.truncate(path, path.stat().st_size + size)
    with watched(tmp_path), pytest.raises(FastLSTMError, match=r"has shape \(117964800, 4\)"):
        ours.load_state_dict(path, strict=False)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the models are not here")
def test_a_published_file_computes_what_its_weights_say(rng):
    held = load(PUBLISHED)
    assert {name: array.shape for name, array in held.items() if name.startswith("fc")} == {
        "fc_out.weight": (5, 3), "fc_out.bias": (5,)
    }  # fmt: skip
    ours = LSTM(5, 3, batch_first=True)
    ours.load_state_dict(PUBLISHED)
    assert np.array_equal(ours.weight_hh_l0, held["lstm.weight_hh_l0"])
    x = rng.standard_normal((50, 10, 5)).astype(np.float32)
    ih, hh, bias = ours.weight_ih_l0.T, ours.weight_hh_l0.T, ours.bias_ih_l0 + ours.bias_hh_l0
    exact, plain = (lstm(x, ih, hh, bias, dtype=dtype) for dtype in (np.float64, np.float32))
    output, (h, c) = ours(x)
    for mine, wanted, loose in zip((output, h[0], c[0]), (exact[0], *exact[2:]), (plain[0], *plain[2:]), strict=True):
        assert (np.abs(mine - wanted) <= rounding_bound(wanted, loose, 10)).all()


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the models are not here")
def test_a_published_model_of_the_same_shape_computes_what_onnxruntime_does(rng):
    """PyTorch's own export of an LSTM and a linear layer, whose weights are others."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path = PUBLISHED.with_name(PUBLISHED.name.replace("best_lstm.pth", "model.onnx"))
    graph = onnx.load(path).graph
    held = {part.name: onnx.numpy_helper.to_array(part) for part in graph.initializer}
    (node,) = (node for node in graph.node if node.op_type == "LSTM")
    weights = keras_to_torch(*onnx_to_keras(*(held[name] for name in node.input[1:4]))[:3])
    ours = LSTM(5, 3, batch_first=True)
    ours.load_state_dict({f"{name}_l0": array for name, array in weights._asdict().items() if array is not None})
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = rng.standard_normal(session.get_inputs()[0].shape).astype(np.float32)
    (wanted,) = session.run(None, {session.get_inputs()[0].name: x})
    h = ours(x)[1][0][0]
    found = h.astype(float) @ held["fc_out.weight"].T + held["fc_out.bias"]
    scale = np.abs(held["fc_out.weight"]).sum(axis=1).max() + 1  # what rounding of h may become
    assert (np.abs(found - wanted) <= 2 * scale * rounding_bound(wanted, wanted, 10)).all()
