"""Checkpoints that TensorFlow writes are read as it reads them."""

import os

import numpy as np
import pytest
from bundle_writing import save
from conftest import SEED
from tf1_oracle import quiet

from fastlstm import ModelFileError
from fastlstm.loading.sorted_table import crc32c
from fastlstm.loading.tensor_bundle import read_checkpoint

DTYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "bool", "complex64", "complex128"]  # fmt: skip


@pytest.fixture
def tf(keras):
    import tensorflow

    return tensorflow


def assert_same(found, wanted):
    assert set(found) == set(wanted) and len(found) == len(wanted)
    for name, array in wanted.items():
        assert name in found and found.shapes[name] == array.shape
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name


def drawn_arrays(rng, count=30):
    arrays = {}
    for number in range(count):
        shape = tuple(int(n) for n in rng.integers(0, 6, rng.integers(0, 4)))
        values = rng.standard_normal(shape) * 50
        name = "/".join(str(part) for part in rng.choice(["rnn", "lstm_cell", "kernel", "bias", "ü"], 3))
        arrays[f"{name}_{number}"] = np.asarray(np.abs(values)).astype(DTYPES[number % len(DTYPES)])
    return arrays


def test_every_type_and_shape(tf, tmp_path, rng):
    arrays = drawn_arrays(rng) | {"large": rng.standard_normal((300, 400)).astype("float32"), "scalar": np.float32(3)}
    save(tf, tmp_path / "model.ckpt", arrays)
    assert_same(read_checkpoint(tmp_path / "model.ckpt"), arrays)
    assert_same(read_checkpoint(tmp_path / "model.ckpt.index"), arrays)
    assert_same(read_checkpoint(tmp_path), arrays)
    with pytest.raises(KeyError):
        read_checkpoint(tmp_path)["nowhere"]


def test_bfloat16_becomes_float32(tf, tmp_path, rng):
    values = tf.cast(rng.standard_normal((3, 7)), tf.bfloat16)
    tf.raw_ops.SaveV2(prefix=str(tmp_path / "b"), tensor_names=["x"], shape_and_slices=[""], tensors=[values])
    found = read_checkpoint(tmp_path / "b")["x"]
    assert found.dtype == np.float32 and np.array_equal(found, tf.cast(values, tf.float32).numpy())


def test_several_files_of_data(tf, tmp_path, rng):
    arrays = drawn_arrays(rng)
    names = sorted(arrays)
    parts = [{name: arrays[name] for name in names[n::3]} for n in range(3)]
    for number, part in enumerate(parts):
        save(tf, tmp_path / f"part{number}", part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / f"part{n}") for n in range(3)], destination_prefix=str(tmp_path / "all"),
        delete_old_dirs=False,
    )  # fmt: skip
    assert sum(name.startswith("all.data") for name in os.listdir(tmp_path)) == 3
    assert_same(read_checkpoint(tmp_path / "all"), arrays)


def test_a_table_of_many_blocks(tf, tmp_path):
    arrays = {f"model/layer_{n}/lstm_cell/kernel": np.full(3, n, "float32") for n in range(3000)}
    save(tf, tmp_path / "m", arrays)
    assert_same(read_checkpoint(tmp_path / "m"), arrays)


def test_a_saver_objects_and_a_saved_model(tf, keras, tmp_path, rng):
    v1 = tf.compat.v1
    value = rng.standard_normal((4, 5)).astype("float32")
    with tf.Graph().as_default(), quiet(), v1.Session() as session:
        v1.get_variable("scope/x", initializer=value)
        session.run(v1.global_variables_initializer())
        path = v1.train.Saver().save(session, str(tmp_path / "saver"), global_step=3)
    assert_same(read_checkpoint(path), {"scope/x": value})

    path = tf.train.Checkpoint(x=tf.Variable(value)).save(tmp_path / "objects")
    found = read_checkpoint(path)
    assert np.array_equal(found["x/.ATTRIBUTES/VARIABLE_VALUE"], value)
    with pytest.raises(ModelFileError, match="_CHECKPOINTABLE_OBJECT_GRAPH' is strings; expected numbers"):
        found["_CHECKPOINTABLE_OBJECT_GRAPH"]

    module = tf.Module()
    module.x = tf.Variable(value)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    assert np.array_equal(read_checkpoint(tmp_path / "saved")["x/.ATTRIBUTES/VARIABLE_VALUE"], value)


def test_a_partitioned_variable_is_refused_by_name(tf, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), quiet(), v1.Session() as session:
        v1.get_variable("whole", initializer=np.ones(3, "float32"))
        v1.get_variable("parts", (6, 2), partitioner=v1.fixed_size_partitioner(3))
        session.run(v1.global_variables_initializer())
        path = v1.train.Saver().save(session, str(tmp_path / "p"))
    found = read_checkpoint(path)
    assert list(found) == ["parts", "whole"] and found.shapes["parts"] == (6, 2)
    assert np.array_equal(found["whole"], [1, 1, 1])
    with pytest.raises(ModelFileError, match="'parts' is saved in 3 slices"):
        found["parts"]


def test_the_checksum_is_that_of_rfc_3720():
    assert crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
    assert crc32c(np.zeros(32, np.uint8)) == 0x8A9136AA
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
        table.append(crc)
    data = np.random.default_rng(SEED).integers(0, 256, 20_000).astype(np.uint8)
    for size in (1, 255, 4095, 4096, 4097, 5000, 8191, 20_000):
        crc = 0xFFFFFFFF
        for byte in data[:size].tolist():
            crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
        assert crc32c(data[:size]) == crc ^ 0xFFFFFFFF
