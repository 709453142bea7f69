"""Our own file gives every bit back, HDF5 is read in every form Keras writes, and little is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastlstm import FastLSTMError, Sequential
from fastlstm.layers import LSTM, Activation, Dense, Dropout, Embedding, InputLayer
from fastlstm.loading import load_model


def rng():
    return np.random.default_rng(11)


def small(**dense):
    layers = [InputLayer((5, 2)), LSTM(4, return_sequences=True, name="a"), Dropout(0.5), Dense(3, **dense)]
    model = Sequential(layers, name="small")
    model.set_weights([rng().normal(size=w.shape) for w in model.get_weights()])
    return model


def saved(model, tmp_path, name="model.npz"):
    model.save(tmp_path / name)
    return load_model(tmp_path / name)


# -- our own file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_npz_gives_every_bit_back(tmp_path, dtype):
    model = Sequential(
        [
            InputLayer((5,), dtype="int32"),
            Embedding(9, 4, mask_zero=True, dtype=dtype),
            LSTM(3, go_backwards=True, recurrent_activation="hard_sigmoid", dtype=dtype),
            Dense(2, use_bias=False, dtype=dtype),
            Activation("softmax", dtype=dtype),
        ]
    )
    weights = [rng().normal(size=w.shape).astype(dtype) for w in model.get_weights()]
    weights[0][0, :4] = [np.nan, -0.0, np.inf, np.finfo(dtype).smallest_subnormal]
    model.set_weights(weights)
    again = saved(model, tmp_path)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        assert a.dtype == b.dtype == dtype
        assert a.tobytes() == b.tobytes()
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    ids = rng().integers(1, 9, (3, 5))
    assert again.predict(ids).tobytes() == model.predict(ids).tobytes()


def test_npz_is_a_plain_npz_file(tmp_path):
    model = small()
    model.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        config = json.loads(arrays["config"].tobytes())
        names = ["0/kernel", "0/recurrent_kernel", "0/bias", "2/kernel", "2/bias"]
        assert sorted(arrays.files) == sorted(["config", *names])
        assert all(np.array_equal(arrays[n], w) for n, w in zip(names, model.get_weights(), strict=True))
    assert (config["format"], config["version"], config["class_name"]) == ("fastlstm", 1, "Sequential")


def test_the_same_model_gives_the_same_file(tmp_path):
    model = small()
    model.save(tmp_path / "a.npz")
    model.save(tmp_path / "b.npz")
    a, b = ((tmp_path / name).read_bytes() for name in ("a.npz", "b.npz"))
    assert len(a) == len(b)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.npz"
    small().save(path)
    before = path.read_bytes()
    with pytest.raises(FastLSTMError, match="JSON"):
        small(kernel_regularizer=object()).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.npz"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        small().save(tmp_path / "m.npz")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["m.h5", "m", "m.npz.zip"])
def test_only_npz_is_written(tmp_path, name):
    with pytest.raises(FastLSTMError, match=r"does not end in \.npz"):
        small().save(tmp_path / name)


def test_an_unbuilt_model_is_not_saved(tmp_path):
    with pytest.raises(FastLSTMError, match="not built"):
        Sequential([Dense(2)]).save(tmp_path / "m.npz")


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m", "m.npz"])
def test_the_content_decides_not_the_name(tmp_path, name):
    small().save(tmp_path / "x.npz")
    (tmp_path / "x.npz").rename(tmp_path / name)
    assert load_model(str(tmp_path / name)).name == "small"
    assert load_model(tmp_path / name).name == "small"


def test_a_stateful_model_is_saved_without_its_state(tmp_path):
    model = Sequential([InputLayer(batch_shape=(2, 3, 1)), LSTM(4, stateful=True)])
    x = rng().normal(size=(2, 3, 1))
    first = model(x)
    model(x)
    assert np.array_equal(saved(model, tmp_path)(x), first)


# -- HDF5 in the forms that Keras may write it ------------------------------------------------------


@pytest.fixture(scope="module")
def samples():
    pytest.importorskip("h5py")
    import samples

    return samples


def opened(tmp_path, data):
    path = tmp_path / "m.keras"
    path.write_bytes(data)
    return load_model(path)


@pytest.mark.parametrize("stored", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
def test_floats_of_any_width_and_order_are_read(tmp_path, samples, stored):
    values = {}

    def change(file):
        for path, shapes in samples.SHAPES.items():
            for i in range(len(shapes)):
                values[f"{path}/{i}"] = array = file[f"{path}/{i}"][()].astype(stored)
                del file[f"{path}/{i}"]
                file[f"{path}/{i}"] = array

    model = opened(tmp_path, samples.keras_file(h5=samples.weights(change)))
    for expected, found in zip(values.values(), model.get_weights(), strict=True):
        assert np.array_equal(expected.astype("float32"), found)


def test_files_of_keras_before_2_14_and_before_3_6_are_read(tmp_path, samples):
    expected = opened(tmp_path, samples.keras_file()).get_weights()

    def older(file):
        for path in samples.NAMES:
            del file[path].attrs["name"]
        file.move("layers", "_layer_checkpoint_dependencies")

    found = opened(tmp_path, samples.keras_file(h5=samples.weights(older))).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


# -- what a process imports -------------------------------------------------------------------------


def run(code, *arguments):
    """What a new interpreter prints, warnings being errors."""
    result = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_importing_fastlstm_imports_no_file_reader():
    heavy = ("tensorflow", "keras", "h5py", "zipfile", "asyncio", "email")
    before = set(run("import sys, numpy; print(*sys.modules)"))
    loaded = set(run("import sys, fastlstm; print(*sys.modules)")) - before
    assert not [name for name in loaded if name.split(".")[0] in heavy]


def test_a_keras_file_loads_without_keras_and_h5py(samples, tmp_path):
    (tmp_path / "m.keras").write_bytes(samples.keras_file())
    code = """
import sys, numpy
for name in ("tensorflow", "keras", "h5py"):
    sys.modules[name] = None
from fastlstm.loading import load_model
print(load_model(sys.argv[1]).predict(numpy.ones((3, 4, 2))).shape)
"""
    assert run(code, tmp_path / "m.keras") == ["(3,", "1)"]


def test_a_cold_start_takes_fifteen_megabytes_above_numpy(samples, tmp_path):
    (tmp_path / "m.keras").write_bytes(samples.keras_file())
    code = """
import sys, numpy
def used():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024
before = used()
import fastlstm
fastlstm.load_model(sys.argv[1]).predict(numpy.ones((3, 4, 2)))
print(used() - before)
"""
    (megabytes,) = run(code, tmp_path / "m.keras")
    assert float(megabytes) < 15


def test_an_npz_file_loads_with_numpy_alone(tmp_path):
    small().save(tmp_path / "m.npz")
    code = """
import sys, numpy
for name in ("tensorflow", "keras", "h5py"):
    sys.modules[name] = None
from fastlstm.loading import load_model
print(load_model(sys.argv[1]).predict(numpy.ones((3, 5, 2))).shape)
"""
    assert run(code, tmp_path / "m.npz") == ["(3,", "5,", "3)"]
