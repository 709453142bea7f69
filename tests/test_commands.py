"""inspect, verify, convert and predict: files of every kind in, Keras's numbers out, refusals in one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest
from samples import architecture, keras_file, node, numbers
from test_cli import DATA, SUNSPOTS, put, refused, run

import fastlstm
from fastlstm import Functional, Input, Sequential, load_model, sampling, verifying
from fastlstm import layers as F

# TensorFlow's own tensors provoke it in NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MODELS = Path("/work/shared/models")
NUMBER = r"\d\.\de[+-]\d\d"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def several():
    """Two inputs, ids and numbers; two outputs."""
    ids, x = Input((4,), name="ids"), Input((None, 3), name="x")
    y = F.Concatenate()([F.LSTM(3)(F.Embedding(6, 2, mask_zero=True)(ids)), F.LSTM(2)(x)])
    return Functional([ids, x], [F.Dense(2, name="first")(y), F.Dense(1, name="second")(y)], name="several")


def legacy(path, version="2.2.4"):
    """An .h5 file as Keras 2 wrote it: a stacked LSTM with hard_sigmoid gates, and a Dense."""
    gates = {"units": 3, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True}
    layers = [
        {"class_name": "LSTM", "config": {"name": "a", "batch_input_shape": [None, 4, 2], "dtype": "float32", **gates}},
        {"class_name": "Dense", "config": {"name": "b", "units": 1, "activation": "linear", "use_bias": True}},
    ]
    config = {"class_name": "Sequential", "config": {"name": "old", "layers": layers}}
    weights = {"a": [(2, 12), (3, 12), (12,)], "b": [(3, 1), (1,)]}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, shapes in weights.items():
            names = [f"{name}/{kind}:0" for kind, _ in zip(("kernel", "rest", "bias"), shapes, strict=False)]
            group.create_group(name).attrs["weight_names"] = [n.encode() for n in names]
            for n, shape in zip(names, shapes, strict=True):
                group[name][n] = numbers(shape)
    return str(path)


# -- inspect ----------------------------------------------------------------------------------------


def test_inspect_says_what_a_file_holds(capsys):
    code, out, err = run(capsys, "inspect", SUNSPOTS)
    assert (code, err) == (0, "")
    head, table = out.split("\n\n")
    assert dict(line.split(None, 1) for line in head.splitlines()[2:]) == {
        "class": "Sequential",
        "inputs": "input_layer_1  (None, 22, 1)  float32",
        "outputs": "dense  (None, 1)  float32",
        "weights": "7,505 parameters, 29.32 KB",
    }
    assert head.startswith("file        a .keras file\nwritten by  Keras 3.15.1\n")
    shown = []
    load_model(SUNSPOTS).summary(print_fn=shown.append)
    assert table == shown[0]  # as of the model itself, though no weights were read


def test_inspect_is_for_programs_as_well(capsys, here):
    several().save("m.npz")
    code, out, err = run(capsys, "inspect", "m.npz", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    layers = facts.pop("layers")
    assert {"name": "first", "class_name": "Dense", "output_shape": [None, 2], "params": 12} in layers
    model = load_model("m.npz")
    assert facts == {
        "file": "an .npz file of fastlstm",
        "keras_version": model.written_by,
        "class_name": "Functional",
        "name": "several",
        "inputs": [
            {"name": "ids", "shape": [None, 4], "dtype": "float32"},
            {"name": "x", "shape": [None, None, 3], "dtype": "float32"},
        ],
        "outputs": [
            {"name": "first", "shape": [None, 2], "dtype": "float32"},
            {"name": "second", "shape": [None, 1], "dtype": "float32"},
        ],
        "params": model.count_params(),
        "trainable_params": model.count_params(),
        "bytes": 4 * model.count_params(),
    }


def test_inspect_reads_no_weights(capsys, here):
    members = architecture()
    put("m.keras", keras_file(members, h5=b"no weights at all"))
    assert run(capsys, "inspect", "m.keras")[0] == 0
    put("m.json", json.dumps(members).encode())
    code, out, _ = run(capsys, "inspect", "m.json")
    assert code == 0 and out.startswith("file        an architecture as JSON\n")


def test_inspect_names_old_kerases(capsys, here):
    code, out, _ = run(capsys, "inspect", legacy("m.h5"))
    assert code == 0
    assert out.startswith("file        a whole model in HDF5\nwritten by  Keras 2.2.4\nclass       Sequential\n")


def test_inspect_names_a_layer_that_it_lacks(capsys, here):
    config = architecture()
    config["config"]["layers"].insert(1, node("ConvLSTM3D", name="odd", filters=2))
    put("m.keras", keras_file(config))
    refused(run(capsys, "inspect", "m.keras"), 1, "'m.keras': layer 'odd' is a 'ConvLSTM3D', which fastlstm does not")


@pytest.mark.parametrize("name", ["no.keras", ".", "x.txt"])
def test_inspect_refuses_what_is_no_model(capsys, here, name):
    put("x.txt", b"text")
    refused(run(capsys, "inspect", name), 1, f"'{re.escape(name)}': ")


def test_a_version_that_is_no_version_is_shown_without_its_tricks(capsys, here):
    legacy("m.h5", "2.2.4\x1b[2J" + "x" * 99)
    code, out, _ = run(capsys, "inspect", "m.h5")
    assert code == 0 and "\x1b" not in out and "Keras 2.2.4?[2Jxxx" in out and "x" * 50 not in out


# -- convert ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["keras", "npz"])
@pytest.mark.parametrize("source", ["keras", "old", "split"])
def test_convert_keeps_the_numbers(capsys, here, source, ending):
    path, weights = SUNSPOTS, None
    if source == "old":
        path = legacy("m.h5")
    elif source == "split":
        path, weights = "m.json", legacy("w.h5")
        with h5py.File("w.h5") as file:
            put(path, str(file.attrs["model_config"]).encode())
    more = [] if weights is None else ["--weights", weights]
    model = load_model(path, weights=weights)
    code, out, err = run(capsys, "convert", path, f"out.{ending}", *more)
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"out.{ending}: [\d,]+ parameters; reads back with an error of {NUMBER}\n", out)
    x = sampling.sample_inputs(model)
    ((_, relative),) = sampling.errors([load_model(f"out.{ending}")(x)], [model(x)])
    assert relative <= sampling.TOLERANCE
    assert not list(here.glob("*.part"))


def test_convert_leaves_no_file_that_would_be_another_model(capsys, monkeypatch, here):
    put("out.keras", b"old")
    right = fastlstm.load_model

    def wrong(path, **options):
        model = right(path, **options)
        if os.fspath(path).endswith(".part"):
            model.set_weights([w + 0.5 for w in model.get_weights()])
        return model

    monkeypatch.setattr(fastlstm, "load_model", wrong)
    pattern = f"'out.keras': not written, since it would read back as another model: dense differs by {NUMBER}, allowed"
    refused(run(capsys, "convert", SUNSPOTS, "out.keras"), 1, pattern)
    assert [(p.name, p.read_bytes()) for p in here.iterdir()] == [("out.keras", b"old")]


def test_convert_of_a_stateful_model(capsys, here):
    Sequential([F.InputLayer(batch_shape=(2, 3, 1)), F.LSTM(4, stateful=True)]).save("m.npz")
    assert run(capsys, "convert", "m.npz", "m.keras")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "pattern"),
    [
        (["m.npz", "out.h5"], 2, "'out.h5': does not end in .keras or .npz"),
        (["m.npz", "m.npz"], 2, "the output would replace 'm.npz'"),
        (["m.npz", "no/out.npz"], 1, "'no/out.npz': cannot be written: No such file"),
        (["no.h5", "out.npz"], 1, "'no.h5': cannot be read: No such file"),
        (["m.npz"], 2, "required: OUT"),
    ],
)
def test_convert_refuses(capsys, here, arguments, code, pattern):
    several().save("m.npz")
    refused(run(capsys, "convert", *arguments), code, pattern)
    assert os.listdir() == ["m.npz"]


# -- verify -----------------------------------------------------------------------------------------


def vectors(model, path, change=0.0):
    x = sampling.sample_inputs(model)
    inputs, outputs = x if isinstance(x, list) else [x], model(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    arrays = {f"in{i}": a for i, a in enumerate(inputs)} | {f"out{i}": a for i, a in enumerate(outputs)}
    arrays["out0"] = arrays["out0"] + np.float32(change)
    np.savez(path, **arrays)


def test_verify_compares_with_stored_vectors(capsys, here):
    model = several()
    model.save("m.npz")
    vectors(model, "v.npz")
    code, out, err = run(capsys, "verify", "m.npz", "--vectors", "v.npz")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].endswith("compared with v.npz")
    assert lines[1].split(maxsplit=2)[:2] == ["output", "shape"]
    assert [re.fullmatch(rf"(\w+) +(\(.*?\)) +({NUMBER}) +{NUMBER}  (\w+)", line).groups() for line in lines[2:]] == [
        ("first", "(5, 2)", "0.0e+00", "yes"),
        ("second", "(5, 1)", "0.0e+00", "yes"),
    ]


@pytest.mark.parametrize("change", [1e-3, np.nan, np.inf])
def test_verify_fails_where_an_output_differs(capsys, here, change):
    model = several()
    model.save("m.npz")
    vectors(model, "v.npz", change)
    code, out, err = run(capsys, "verify", "m.npz", "--vectors", "v.npz")
    assert (code, err) == (1, "")
    assert [line.split()[-1] for line in out.splitlines()[2:]] == ["NO", "yes"]


@pytest.mark.parametrize(
    ("arrays", "pattern"),
    [
        ({"in0": np.zeros((2, 4))}, "'v.npz': holds in0; out0, out1 is missing"),
        ({"out0": np.zeros((2, 2)), "out1": np.zeros((2, 1)), "ids": np.zeros((2, 4))}, "expected ids, x, or in0, in1"),
        (
            {"in0": np.zeros((2, 4)), "in1": np.zeros((2, 3, 3)), "out0": np.zeros((2, 3)), "out1": np.zeros((2, 1))},
            r"outputs have the shapes \[\(2, 2\), \(2, 1\)\]; the reference's are \[\(2, 3\), \(2, 1\)\]",
        ),
    ],
)
def test_verify_refuses_vectors_that_do_not_fit(capsys, here, arrays, pattern):
    several().save("m.npz")
    np.savez("v.npz", **arrays)
    refused(run(capsys, "verify", "m.npz", "--vectors", "v.npz"), 1, pattern)


@pytest.mark.parametrize("source", ["keras", "HDF5 named .keras", "JSON", "npz"])
def test_verify_runs_a_live_keras(keras, capsys, here, source):
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4), keras.layers.Dense(2, name="out")])
    more = []
    if source == "JSON":
        put("m.json", model.to_json().encode())
        model.save_weights("m.weights.h5")
        more = ["--weights", "m.weights.h5"]
    elif source == "HDF5 named .keras":
        with warnings.catch_warnings(), h5py.File("m.keras", "w") as file:
            warnings.simplefilter("ignore")
            from keras.src.legacy.saving import legacy_h5_format

            legacy_h5_format.save_model_to_hdf5(model, file)
    else:
        model.save("m.keras")
        if source == "npz":
            load_model("m.keras").save("m.npz")
    path = {"JSON": "m.json", "npz": "m.npz"}.get(source, "m.keras")
    code, out, err = run(capsys, "verify", path, *more)
    assert (code, err) == (0, "")
    assert f"compared with keras {keras.__version__}" in out
    assert re.search(rf"^out +\(5, 2\) +{NUMBER} +{NUMBER}  yes$", out, re.MULTILINE)


def test_verify_runs_keras_2_for_what_it_wrote(capsys, here):
    pytest.importorskip("tf_keras")
    code, out, err = run(capsys, "verify", legacy("m.h5"))
    assert (code, err) == (0, "")
    assert f"written by Keras 2.2.4, compared with tf_keras {metadata.version('tf_keras')}" in out


def test_verify_says_which_keras_it_would_need(capsys, monkeypatch, here):
    def absent(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(verifying.metadata, "version", absent)
    monkeypatch.setattr(verifying, "_run", lambda *_: pytest.fail("ran what is not there"))
    refused(run(capsys, "verify", SUNSPOTS), 1, r'written by Keras .3\.15\.1., .* pip install "keras>=3" tensorflow')
    refused(run(capsys, "verify", legacy("m.h5")), 1, r"pip install \"tf_keras\" tensorflow, or give --vectors")


def test_verify_says_what_keras_said(capsys, monkeypatch, here):
    broken = put("broken.py", b"import sys\nsys.exit('noise\\nValueError: no such layer\\nmore noise')")
    monkeypatch.setattr(verifying.Path, "with_name", lambda self, name: Path(broken).resolve())
    refused(run(capsys, "verify", SUNSPOTS), 1, "keras cannot run it, .* compare with: ValueError: no such layer")


def test_what_runs_keras_imports_nothing_of_ours():
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); assert 'fastlstm' not in sys.modules"
    program = Path(fastlstm.__file__).with_name("keras_process.py")
    subprocess.run([sys.executable, "-P", "-c", code, str(program)], check=True)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the models are not here")
@pytest.mark.parametrize("path", sorted(MODELS.glob("expected/*.npz")), ids=lambda path: path.name[:30])
def test_models_found_in_public_verify_and_convert(capsys, here, path):
    model, more = MODELS / path.name.removesuffix(".npz"), []
    if "weightsonly" in path.name:
        model, more = model.with_suffix(".json"), ["--weights", model]
    code, out, err = run(capsys, "verify", model, *more, "--vectors", path)
    assert (code, err) == (0, ""), out
    for name in ("out.keras", "out.npz"):
        assert run(capsys, "convert", model, name, *more)[::2] == (0, "")
        assert run(capsys, "verify", name, "--vectors", path)[0] == 0


# -- predict ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("ids", "x"), ("in0", "in1")])
def test_predict_takes_and_gives_several_arrays(capsys, here, names):
    model = several()
    model.save("m.npz")
    inputs = sampling.sample_inputs(model, rows=40)
    np.savez("in.npz", **dict(zip(names, inputs, strict=True)), other=np.zeros(3))
    code, out, err = run(capsys, "predict", "m.npz", "in.npz", "-o", "out.npz")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"out.npz: \(40, 4\), \(40, 6, 3\) -> \(40, 2\), \(40, 1\) in [\d.e-]+ s\n", out)
    with np.load("out.npz") as found:
        assert found.files == ["out0", "out1"]
        for name, wanted in zip(found.files, model.predict(inputs, verbose=0), strict=True):
            assert found[name].tobytes() == wanted.tobytes()


def test_predict_takes_the_one_array_of_a_file_by_any_name(capsys, here):
    x = np.random.default_rng(0).normal(size=(3, 22, 1))
    np.savez("in.npz", x)
    assert run(capsys, "predict", SUNSPOTS, "in.npz", "-o", "out.npz")[0] == 0
    with np.load("out.npz") as found:
        assert np.array_equal(found["out0"], load_model(SUNSPOTS).predict(x))


TABLES = {
    "rows": (lambda: [F.InputLayer((3,)), F.Dense(2)], "1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
    "header": (lambda: [F.InputLayer((3,)), F.Dense(2)], "a,b,c\n1,2,3\n\n", [[1, 2, 3]]),
    "steps": (lambda: [F.InputLayer((None, 2)), F.LSTM(2)], "x,y\r\n1,2\r\n3,4\r\n5,6\r\n", [[[1, 2], [3, 4], [5, 6]]]),
    "ids": (lambda: [F.InputLayer((3,)), F.Embedding(9, 2), F.LSTM(2)], "1,2,3\n8,7,0", [[1, 2, 3], [8, 7, 0]]),
    "windows": (lambda: [F.InputLayer((3, 1)), F.LSTM(2)], "\ufeff1,2.5,-3e2\n", [[[1], [2.5], [-300]]]),
    "one column": (lambda: [F.InputLayer((None, 1)), F.LSTM(2)], "1\n2\n", [[[1], [2]]]),
    "one number": (lambda: [F.InputLayer((1,)), F.Dense(2)], "4", [[4]]),
}


@pytest.mark.parametrize("what", TABLES)
def test_predict_reads_tables(capsys, here, what):
    layers, text, array = TABLES[what]
    model = Sequential(layers())
    model.save("m.npz")
    put("in.csv", text.encode())
    code, _, err = run(capsys, "predict", "m.npz", "in.csv", "-o", "out.npy")
    assert (code, err) == (0, "")
    assert np.array_equal(np.load("out.npy"), model.predict(np.array(array)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_writes_tables_that_give_the_numbers_back(capsys, here, dtype):
    model = Sequential([F.InputLayer((5, 3)), F.LSTM(4, return_sequences=True, dtype=dtype)])
    model.save("m.npz")
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.save("in.npy", x)
    assert run(capsys, "predict", "m.npz", "in.npy", "-o", "out.csv")[0] == 0
    found = np.loadtxt("out.csv", delimiter=",", dtype=dtype)
    assert np.array_equal(found, model.predict(x).reshape(10, 4))


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("no.csv", None, "'no.csv': cannot be read: No such file"),
        ("e.csv", b"", "'e.csv': (holds no numbers|is not a .csv file)"),
        ("h.csv", b"a,b,c\n", "'h.csv': (holds no numbers|is not a .csv file)"),
        ("t.csv", b"1,2,3\n4,five,6\n", "'t.csv': is not a .csv file of numbers"),
        ("r.csv", b"1,2,3\n4,5\n", "'r.csv': is not a .csv file of numbers"),
        ("b.csv", b"\xff\xfe\0", "'b.csv': is not a .csv file of numbers"),
        ("w.csv", b"1,2\n", r"input has shape \(1, 2\); expected \(None, 3\)"),
        ("no.npz", None, "'no.npz': cannot be read: No such file"),
        ("e.npz", b"PK\x03\x04", "'e.npz': is not a complete .npz file of numbers"),
    ],
)
def test_predict_refuses_tables_and_archives_without_numbers(capsys, here, name, content, pattern):
    Sequential([F.InputLayer((3,)), F.Dense(2)]).save("m.npz")
    if content is not None:
        put(name, content)
    refused(run(capsys, "predict", "m.npz", name, "-o", "y.npy"), 1, pattern)
    assert not os.path.exists("y.npy") and not list(here.glob("*.part"))


def test_predict_runs_nothing_that_is_pickled_in_an_archive(capsys, here):
    class Gadget:
        def __reduce__(self):
            return os.mkdir, ("ran",)

    np.savez("in.npz", x=np.array([Gadget()], dtype=object))
    refused(run(capsys, "predict", SUNSPOTS, "in.npz", "-o", "y.npy"), 1, "not a complete .npz file of numbers")
    assert os.listdir() == ["in.npz"]


def test_predict_refuses_files_that_cannot_hold_it(capsys, here):
    several().save("m.npz")
    np.save("x.npy", np.zeros((2, 4)))
    refused(run(capsys, "predict", "m.npz", "x.npy", "-o", "y.npz"), 1, "the model has 2 inputs, ids, x: put them into")
    for name in ("y.npy", "y.csv"):
        refused(run(capsys, "predict", "m.npz", "x.npy", "-o", name), 1, "the model has 2 outputs; name a .npz file")
    Sequential([F.InputLayer((4,)), F.Reshape((1, 2, 2))]).save("deep.npz")
    refused(run(capsys, "predict", "deep.npz", "x.npy", "-o", "y.csv"), 1, "a .csv file holds a table: name a .npy")


def test_predict_takes_weights_from_another_file(capsys, here):
    legacy("w.h5")
    with h5py.File("w.h5") as file:
        put("m.json", str(file.attrs["model_config"]).encode())
    np.save("x.npy", np.ones((2, 4, 2)))
    refused(run(capsys, "predict", "m.json", "x.npy", "-o", "y.npy"), 1, "without weights: pass the file")
    assert run(capsys, "predict", "m.json", "x.npy", "-o", "y.npy", "--weights", "w.h5")[0] == 0
    assert np.array_equal(np.load("y.npy"), load_model("w.h5").predict(np.ones((2, 4, 2))))
    refused(run(capsys, "predict", "m.json", "x.npy", "-o", "w.h5", "--weights", "w.h5"), 2, "would replace 'w.h5'")


def test_sunspots_survive_all_of_it(capsys, here):
    shutil.copy(DATA / "sunspots.keras", "a.keras")
    for given, made in (("a.keras", "b.npz"), ("b.npz", "c.keras"), ("c.keras", "d.npz")):
        assert run(capsys, "convert", given, made)[0] == 0
    for a, b in zip(load_model("a.keras").get_weights(), load_model("d.npz").get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
