"""The LSTMs of TensorFlow Lite files compute what the interpreter does, for every option that operators have."""

from __future__ import annotations

import os
import pathlib
import warnings
from functools import partial

import numpy as np
import pytest

pytest.importorskip("flatbuffers")
import tflite_files as files
from reference import rounding_bound
from tflite_files import BOTH_WAYS, FLOAT16, FLOAT32, INT8, ONE_WAY, UINT8

import fastlstm
from fastlstm import FastLSTMError
from fastlstm.layers import LSTM, Bidirectional
from fastlstm.tflite import lstm_layers

MODELS = pathlib.Path(os.environ.get("FASTLSTM_MODELS", pathlib.Path(__file__).parents[2] / "shared" / "models"))
PAIR = MODELS / "529669517__HAR_LSTM__lstm.tflite"


@pytest.fixture
def layers_of(tmp_path):
    """The LSTMs of a file with these bytes, or of the model that these dictionaries describe."""
    return partial(files.read, tmp_path)


class Interpreter:
    """TensorFlow Lite's own: a model's outputs for x, from where the call before stopped or from zeros."""

    def __init__(self, data, **options):
        import tensorflow as tf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells people to move to LiteRT
            self.own = tf.lite.Interpreter(model_content=data, num_threads=1, **options)
        self.own.allocate_tensors()

    def __call__(self, x, *, reset=False, tensors=None):
        if reset:
            self.own.reset_all_variables()
        self.own.set_tensor(self.own.get_input_details()[0]["index"], x)
        self.own.invoke()
        wanted = [d["index"] for d in self.own.get_output_details()] if tensors is None else tensors
        return [self.own.get_tensor(index) for index in wanted]


def batch_first(arrays, time_major):
    return [array.swapaxes(0, 1) if time_major else array for array in arrays]


def called(layer, x):
    """A layer's outputs for x of shape (batch, steps, features), whichever way it takes them."""
    turned = getattr(layer, "time_major", False)
    found = layer(*batch_first([x], turned))
    return batch_first([found] if isinstance(found, np.ndarray) else found, turned)


# -- what the operators compute -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ONE_WAY, BOTH_WAYS])
@pytest.mark.parametrize("stored", [FLOAT32, FLOAT16], ids=["float32", "float16"])
def test_drawn_operators_compute_what_the_interpreter_does(keras, layers_of, rng, kind, stored):
    for _ in range(100):
        case = files.drawn(rng, kind, stored)
        (layer,) = layers_of(case.data)
        turned = case.options["time_major"]
        theirs = batch_first(Interpreter(case.data)(*batch_first([case.x], turned)), turned)
        exact, plain = case.expected(), case.expected(np.float32)
        for ours, other, e, p in zip(called(layer, case.x), theirs, exact, plain, strict=True):
            bound = rounding_bound(e, p, case.x.shape[1])
            assert ours.shape == e.shape and (np.abs(ours - e) <= bound).all(), case.options
            assert (np.abs(other - e) <= bound).all(), case.options


@pytest.mark.parametrize("kind", [ONE_WAY, BOTH_WAYS])
@pytest.mark.parametrize("stored", [INT8, UINT8], ids=["int8", "uint8"])
def test_weights_in_bytes_are_those_that_the_interpreter_multiplies(keras, layers_of, rng, kind, stored):
    """It rounds inputs to bytes as well, which the layers do not: then its results are theirs, but for ties."""
    cases, equal = 60, 0
    for _ in range(cases):
        case = files.drawn(rng, kind, stored)
        (layer,) = layers_of(case.data)
        steps, turned = case.x.shape[1], case.options["time_major"]
        for ours, e, p in zip(called(layer, case.x), case.expected(), case.expected(np.float32), strict=True):
            assert (np.abs(ours - e) <= rounding_bound(e, p, steps)).all(), case.options
        theirs = batch_first(Interpreter(case.data)(*batch_first([case.x], turned)), turned)
        rounded = case.expected(quantized=files.in_bytes)
        equal += all(
            (np.abs(t - r) <= rounding_bound(r, r.astype(np.float32), steps)).all()
            for t, r in zip(theirs, rounded, strict=True)
        )
    assert equal >= 0.9 * cases


def test_the_interpreter_keeps_a_state_that_a_layer_is_given(keras, layers_of, rng):
    sizes = 3, 5, 4
    inputs = files.weights(rng, sizes, projected=True, peepholes=True)
    data = files.serialized(files.model_of(ONE_WAY, inputs, files.TANH, 2, 6, sizes))
    (layer,) = layers_of(data)
    interpreter = Interpreter(data)
    x = rng.standard_normal((2, 18, 3)).astype(np.float32)
    theirs = np.concatenate([interpreter(x[:, t : t + 6])[0] for t in (0, 6, 12)], 1)
    bound = rounding_bound(layer(x), layer(x), 18)
    assert (np.abs(layer(x) - theirs) <= 2 * bound).all()
    assert (np.abs(layer(x[:, 6:12]) - interpreter(x[:, 6:12], reset=True)[0]) <= 2 * bound[:, 6:12]).all()
    layer.return_state = True
    first, h, c = layer(x[:, :6])
    second = layer(x[:, 6:], initial_state=[h, c])[0]
    assert (np.abs(np.concatenate([first, second], 1) - theirs) <= 2 * bound).all()


def test_scales_of_each_row_and_zeros_of_unpacked_bytes(layers_of, rng):
    """Which no LSTM operator multiplies by, but the operator that makes float32 of bytes does."""
    inputs = files.weights(rng, (4, 3, 3))
    model = files.model_of(ONE_WAY, inputs, files.TANH, 1, 2, (4, 3, 3), FLOAT16)
    graph = model["subgraphs"][0]
    tensor = graph["tensors"][graph["operators"][0]["inputs"][0]]  # of the input gate's kernel
    numbers = rng.integers(0, 256, (3, 4), np.uint8)
    for axis, scales, zeros in ((0, [0.5, 0.25, 2], [3, 0, 200]), (1, [0.5, 0.25, 2, 1], [7]), (0, [0.125], [9])):
        model["buffers"][tensor["buffer"]] = {"data": numbers.ravel()}
        quantization = {"scale": scales, "zero_point": zeros, "axis": axis}
        tensor |= {"type": UINT8, "quantization": quantization}
        along = (-1, 1) if axis == 0 else (1, -1)
        zero = np.reshape(zeros, along) if len(zeros) > 1 else zeros[0]
        wanted = (numbers.astype(float) - zero) * np.reshape(scales, along if len(scales) > 1 else (1, 1))
        assert np.array_equal(layers_of(model)[0].arrays["kernel"][:, :3], wanted.T)


def test_the_options_of_the_layer_are_the_operator_s(layers_of, rng):
    options = {"activation": 3, "cell_clip": 0.5, "proj_clip": 0.25, "time_major": True}
    inputs = files.weights(rng, (2, 6, 3), projected=True, coupled=True, peepholes=True, norm=True, biased=True)
    model = files.model_of(ONE_WAY, inputs, options, 1, 2, (2, 6, 3), name="model/lstm/\0\u2028")
    (layer,) = layers_of(model, isa="scalar", threads=1, precision="float16", reproducible=False)
    assert type(layer) is LSTM and layer.name == "model.lstm.??" and layer.return_sequences and layer.time_major
    assert layer.get_config()["activation"] == "relu6" and layer.isa == "scalar" and layer.precision == "float16"
    assert layer.variant.config() == {
        "peepholes": True, "projection": 3, "projection_bias": True, "coupled_gates": "input", "layer_norm": "gates",
        "cell_clip": 0.5, "projection_clip": 0.25,
    }  # fmt: skip
    sides = [files.weights(rng, (2, 6, 6)) for _ in range(2)]
    model = files.model_of(BOTH_WAYS, files.both(*sides), files.TANH, 1, 2, (2, 6, 6), name="")
    (layer,) = layers_of(model)
    assert type(layer) is Bidirectional and layer.merge_mode is None and layer.name.startswith("bidirectional")
    assert len(called(layer, np.zeros((1, 2, 2)))) == 2
    plain = files.model_of(ONE_WAY, sides[0], files.TANH, 1, 2, (2, 6, 6))
    for name, value in {"unit": 3, "name": "x", "cell_clip": None, "go_backwards": True, "dtype": "float64"}.items():
        with pytest.raises(FastLSTMError, match=rf"lstm_layers: unrecognized keyword arguments .'{name}'.; known: isa"):
            layers_of(plain, **{name: value})
    for wrong in ("x", None, 0, True):
        with pytest.raises(FastLSTMError, match="lstm_layers: max_file_size is"):
            layers_of(plain, max_file_size=wrong)


# -- files that TensorFlow and people made ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["float16", "dynamic range"])
def test_converted_keras_2_models(keras, layers_of, rng, how):
    tf_keras = pytest.importorskip("tf_keras")
    import tensorflow as tf

    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((7, 24), batch_size=1),
            tf_keras.layers.LSTM(44, return_sequences=True),
            tf_keras.layers.LSTM(3, return_sequences=True),
        ]
    )
    function = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec([1, 7, 24], tf.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if how == "float16":
            converter.target_spec.supported_types = [tf.float16]
        data = converter.convert()
    found = layers_of(data)
    assert [layer.units for layer in found] == [44, 3]
    for layer, theirs in zip(found, model.layers, strict=True):
        assert layer.variant.config() == {"cell_clip": 10.0}  # which the converter puts there of its own accord
        for ours, weight in zip(layer.get_weights(), theirs.get_weights(), strict=True):
            unit = 2**-11 if how == "float16" else 1 / 250  # half a unit in the last place, of a gate's largest
            assert ours.shape == weight.shape and (np.abs(ours - weight) <= unit * np.abs(weight).max()).all()
    quantized = any((a != b).any() for a, b in zip(found[0].get_weights(), model.layers[0].get_weights(), strict=True))
    assert quantized
    x = rng.standard_normal((1, 7, 24)).astype(np.float32)
    ours, (theirs,) = found[1](found[0](x)), Interpreter(data)(x)
    # The interpreter rounds x and h to bytes beside bytes: what docs/precision.md promises of int8.
    bound = 2 * rounding_bound(ours, ours, 7) if how == "float16" else 2e-2
    assert (np.abs(ours - theirs) <= bound).all()


@pytest.mark.skipif(not PAIR.is_file(), reason="no folder of models (FASTLSTM_MODELS)")
def test_a_published_file_beside_its_model_in_keras(keras, rng):
    (layer,) = lstm_layers(PAIR)
    model = fastlstm.load_model(PAIR.with_suffix(".h5"))
    assert layer.name == "tfl.unidirectional_sequence_lstm" and layer.units == model.layers[0].units == 64
    interpreter = Interpreter(PAIR.read_bytes(), experimental_preserve_all_tensors=True)
    index = next(d["index"] for d in interpreter.own.get_tensor_details() if d["name"] == layer.name)
    for _ in range(5):
        x = rng.standard_normal((1, 128, 9)).astype(np.float32)
        ours, (theirs,) = layer(x), interpreter(x, reset=True, tensors=[index])
        assert (np.abs(ours - theirs) <= 2 * rounding_bound(ours, ours, 128)).all()
    # The two were saved at different moments of one training: each gate is the likest to itself.
    for ours, theirs in zip(layer.get_weights(), model.layers[0].get_weights(), strict=True):
        gates = [[gate.ravel() for gate in np.split(array, 4, axis=-1)] for array in (ours, theirs)]
        likeness = np.corrcoef(*gates)[:4, 4:]
        assert likeness.argmax(0).tolist() == likeness.argmax(1).tolist() == [0, 1, 2, 3], likeness
