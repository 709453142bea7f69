"""Files of TensorFlow Lite that are damaged, made to do harm, or hold what is not computed, are refused by name."""

from __future__ import annotations

import faulthandler
import os
import struct
from functools import partial

import numpy as np
import pytest

pytest.importorskip("flatbuffers")
import tflite_files as files
from hostile_watch import no_hanging, watched
from tflite_files import BOTH_WAYS, INT8, KERNEL, ONE_WAY, TANH

from fastlstm import FastLSTMError, ModelFileError, UnsupportedLayerError
from fastlstm.tflite import lstm_layers


@pytest.fixture(autouse=True)
def ends():
    no_hanging()
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def layers_of(tmp_path):
    """The LSTMs of a file with these bytes, or of the model that these dictionaries describe."""
    return partial(files.read, tmp_path)


def plain():
    """A model of one operator of one direction with 3 features and 2 units."""
    return files.model_of(ONE_WAY, files.weights(np.random.default_rng(1), (3, 2, 2)), TANH, 1, 2, (3, 2, 2))


def weight_tensor(model, number=KERNEL):
    """What describes an input of the model's one operator."""
    graph = model["subgraphs"][0]
    return graph["tensors"][graph["operators"][-1]["inputs"][number]]


def operator_of(model):
    return model["subgraphs"][0]["operators"][-1]


UNSUPPORTED = {
    "in int8 throughout": (lambda m: weight_tensor(m, 0).update(type=INT8), "computes in int8"),
    "in int16 throughout": (lambda m: weight_tensor(m, 0).update(type=7), "computes in int16"),
    "an unknown type": (lambda m: weight_tensor(m).update(type=17), r"input 1 is type 17"),
    "weights in float64": (lambda m: weight_tensor(m).update(type=10), "input 1 is float64; expected .*float32"),
    "sparse": (lambda m: weight_tensor(m).update(sparsity={"block_map": [1]}), "input 1 is sparse"),
    "elsewhere": (lambda m: weight_tensor(m).update(external_buffer=1), "input 1 is in another file"),
    "around 3": (
        lambda m: weight_tensor(m).update(type=INT8, quantization={"scale": [1], "zero_point": [3]}),
        "around another number than 0",
    ),
    "no activation": (lambda m: operator_of(m)[ONE_WAY].update(activation=0), "has activation 0; expected one of"),
    "sign bits": (lambda m: operator_of(m)[ONE_WAY].update(activation=5), "has activation 5"),
    "diagonal": (lambda m: operator_of(m)[ONE_WAY].update(diagonal_recurrent_tensors=True), "diagonal"),
    "no LSTM": (lambda m: m["operator_codes"][0].update(deprecated_code=9, code=9), "no fused sequence LSTM"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_computed_is_refused_by_name(layers_of, name):
    change, message = UNSUPPORTED[name]
    model = plain()
    if "around" in name:
        model["buffers"][weight_tensor(model)["buffer"]] = {"data": np.zeros(6, np.uint8)}
    change(model)
    with pytest.raises(UnsupportedLayerError, match=message):
        layers_of(model)


def test_a_second_input_is_refused_by_name(layers_of, rng):
    sides = [files.weights(rng, (2, 3, 3)) for _ in range(2)]
    model = files.model_of(BOTH_WAYS, files.both(*sides), TANH, 1, 2, (2, 3, 3))
    operator_of(model)["inputs"][39] = 0
    with pytest.raises(UnsupportedLayerError, match=r"BIDIRECTIONAL_SEQUENCE_LSTM 'lstm/output' has an auxiliary"):
        layers_of(model)


def without(*numbers):
    def change(model):
        for number in numbers:
            operator_of(model)["inputs"][number] = -1

    return change


def shaped(number, *shape):
    return lambda model: weight_tensor(model, number).update(shape=shape)


DAMAGED = {
    "another version": (lambda m: m.update(version=4), "version 4 of the schema"),
    "a code that is missing": (lambda m: operator_of(m).update(code_index=7), "code 7; the file has 2"),
    "a tensor that is missing": (lambda m: operator_of(m)["inputs"].__setitem__(2, 99), "Tensor 99 is asked for"),
    "a tensor before the first": (lambda m: operator_of(m)["inputs"].__setitem__(2, -2), "Tensor -2 is asked for"),
    "an output that is missing": (lambda m: operator_of(m).update(outputs=[77]), "Tensor 77 is asked for"),
    "a buffer that is missing": (lambda m: weight_tensor(m).update(buffer=2**32 - 1), "Buffer 4294967295 is asked for"),
    "no options": (lambda m: operator_of(m).update({ONE_WAY: None}), "no options of its own kind"),
    "other options": (lambda m: operator_of(m).update(options_type=69), "no options of its own kind"),
    "a clip below 0": (lambda m: operator_of(m)[ONE_WAY].update(cell_clip=-1), "cell_clip is -1.0"),
    "a clip that is none": (lambda m: operator_of(m)[ONE_WAY].update(cell_clip=np.nan), "cell_clip is nan"),
    "half an input gate": (without(KERNEL), "input 5 is too many"),
    "the other half": (without(5, 12), "input 5 is missing"),
    "no forget gate": (without(KERNEL + 1), "has no input 2"),
    "no bias": (without(12, 13, 14, 15), "input 12 is missing"),
    "an output as wide as a projection": (shaped(6, 2, 1), "input 5 has shape"),
    "a vector for a matrix": (shaped(2, 6), "input 2 has shape .*; expected a matrix"),
    "another shape": (shaped(3, 3, 2), "input 3 has shape .3, 2.; expected .2, 3."),
    "a shape below 0": (shaped(2, -2, -3), "shape"),
    "a shape beyond all": (shaped(2, 2**31 - 1, 2**31 - 1), "shape"),
    "too few bytes": (
        lambda m: m["buffers"].__setitem__(weight_tensor(m)["buffer"], {"data": np.zeros(23, np.uint8)}),
        r"of float32, in 23 bytes",
    ),
    "bytes behind the end": (
        lambda m: m["buffers"].__setitem__(weight_tensor(m)["buffer"], {"offset": 2**63, "size": 24}),
        "of float32, in 0 bytes",
    ),
    "bytes without a scale": (
        lambda m: (weight_tensor(m).update(type=INT8),
                   m["buffers"].__setitem__(weight_tensor(m)["buffer"], {"data": np.zeros(6, np.uint8)})),
        "has 0 scales",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(layers_of, name):
    change, message = DAMAGED[name]
    model = plain()
    change(model)
    with pytest.raises(ModelFileError, match=message):
        layers_of(model)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is no TFL3 file"), (b"\x1c\0\0\0TFL3", "is not in the file"), (b"PK\3\4" * 20, "is no TFL3 file"),
     (b"\xff\xff\xff\xffTFL3" + b"\0" * 50, "is not in the file"), (b"\0" * 4 + b"TFL3" * 9, "version 0")],
)  # fmt: skip
def test_other_files_are_refused(layers_of, data, message):
    with pytest.raises(ModelFileError, match=message):
        layers_of(data)


def test_paths_that_are_no_file_are_refused(tmp_path, layers_of):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe", "a\0b"):
        with pytest.raises(ModelFileError):
            lstm_layers(path)
    with pytest.raises(ModelFileError, match="max_file_size is 100"):
        layers_of(plain(), max_file_size=100)


def outcome(tmp_path, data):
    """Layers, or FastLSTMError; never more time or memory than a load may take."""
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    with watched(tmp_path):
        try:
            return lstm_layers(path)
        except FastLSTMError as error:
            assert str(error).isprintable() and len(str(error)) < 2000
            return None


def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path, layers_of):
    data = files.serialized(plain())
    whole = layers_of(data)[0].get_weights()
    for size in range(len(data)):
        found = outcome(tmp_path, data[:size])
        assert found is None or all(map(np.array_equal, found[0].get_weights(), whole)), size


def test_flipped_bits_give_layers_or_a_refusal(tmp_path, rng):
    both = files.both(files.weights(rng, (2, 2, 1), projected=True), files.weights(rng, (2, 2, 1), projected=True))
    for model in (plain(), files.model_of(BOTH_WAYS, both, TANH, 1, 2, (2, 2, 1), INT8)):
        data = files.serialized(model)
        for _ in range(1000):
            damaged = bytearray(data)
            for place in rng.integers(0, 8 * len(data), rng.integers(1, 4)):
                damaged[place // 8] ^= 1 << place % 8
            for layer in outcome(tmp_path, bytes(damaged)) or []:
                with np.errstate(all="ignore"):
                    assert layer.count_params() < 1000


def test_words_of_other_numbers_give_layers_or_a_refusal(tmp_path, rng):
    """Every word of the tables replaced by what makes places, counts and sizes go wrong."""
    data = files.serialized(plain())
    outcome(tmp_path, data)
    for place in range(0, len(data) - 4, 4):
        for value in (0, 0x7FFFFFFF, 0xFFFFFFFF, len(data) - place):
            damaged = bytearray(data)
            struct.pack_into("<I", damaged, place, value)
            outcome(tmp_path, bytes(damaged))


def test_files_that_grow_when_they_are_read_are_refused(tmp_path, rng):
    sizes = 64, 64, 64
    model = files.model_of(ONE_WAY, files.weights(rng, sizes), TANH, 1, 2, sizes, INT8)
    graph = model["subgraphs"][0]
    again = graph["operators"][0]
    assert len(outcome(tmp_path, files.serialized(model))) == 1
    shared = files.serialized({**model, "subgraphs": [{**graph, "operators": [again] * 3}]})
    assert len(outcome(tmp_path, shared)) == 3  # a layer that a model calls three times
    many = {**model, "subgraphs": [{**graph, "operators": [again] * 200}]}
    with pytest.raises(ModelFileError, match="too many other weights"):
        (tmp_path / "many.tflite").write_bytes(files.serialized(many))
        lstm_layers(tmp_path / "many.tflite")
    assert outcome(tmp_path, files.serialized(many)) is None


COUNTS = {
    "256 LSTMs": lambda m: m["subgraphs"][0].update(operators=m["subgraphs"][0]["operators"] * 257),
    "16384 operators": lambda m: m["subgraphs"][0].update(operators=[{"code_index": 1}] * 16384),
    "16384 operators in subgraphs": lambda m: m.update(subgraphs=[{}] * 16385),
    "16384 kinds of operators": lambda m: m.update(operator_codes=[{"code": 1}] * 16385),
    "8 axes": shaped(2, *[1] * 200000),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_beyond_any_model_s_are_refused(tmp_path, name):
    model = plain()
    COUNTS[name](model)
    assert outcome(tmp_path, files.serialized(model)) is None
    with pytest.raises(ModelFileError, match=f"has more than {name.split(' in ')[0]}"):
        files.read(tmp_path, model)


def test_as_many_operators_as_are_read_take_no_time(tmp_path):
    model = plain()
    graph = model["subgraphs"][0]
    graph["operators"] = [{"code_index": 1, "inputs": [0], "outputs": [999]}] * 16382 + graph["operators"]
    assert len(outcome(tmp_path, files.serialized(model))) == 1
