"""What to_onnx writes is valid, and onnxruntime computes from it what the layer or model computes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import SEED
from onnx.reference import ReferenceEvaluator
from onnx_cases import LARGEST, checked, run_onnxruntime
from reference import rounding_bound

from fastlstm import FastLSTMError, Input, Model, Sequential, UnsupportedLayerError, layers, load_model
from fastlstm.activations import Curve
from fastlstm.onnx import LSTM as Operator
from fastlstm.onnx import to_onnx

MODELS = pathlib.Path(os.environ.get("FASTLSTM_MODELS", pathlib.Path(__file__).parents[2] / "shared" / "models"))
STORED = [file for file in sorted(MODELS.glob("*.*")) if (MODELS / "expected" / f"{file.name}.npz").is_file()
          and file.suffix in (".h5", ".keras") and not file.with_suffix(".json").is_file()]  # fmt: skip
STEPS = 6
RECURRENT = ("elu", "hard_sigmoid", "hard_sigmoid_keras2", "leaky_relu", "linear", "relu", "sigmoid", "softplus",
             "softsign", "tanh")  # fmt: skip
ANY = (*RECURRENT, "celu", "exponential", "gelu", "hard_shrink", "hard_silu", "hard_tanh", "log_sigmoid", "log_softmax",
       "mish", "relu6", "selu", "silu", "soft_shrink", "softmax", "sparse_sigmoid", "tanh_shrink")  # fmt: skip
CURVES = (Curve("affine", 0.3, 0.2), Curve("elu", 0.7), Curve("hard_sigmoid", 0.3, 0.4), Curve("leaky_relu", 0.2),
          Curve("scaled_tanh", 0.8, 0.6), Curve("thresholded_relu", -9.0))  # fmt: skip


def filled(rng, layer, *shape):
    """The layer, built, with weights that leave no gate at its middle."""
    layer.build(shape or (None, None, 4))
    layer.set_weights([(0.4 * rng.normal(size=w.shape)).astype(np.float32) for w in layer.get_weights()])
    return layer


def assert_exports(layer, *inputs, opset=17, depth=1):
    """The model that onnx finds valid and onnxruntime runs to what the layer gives, for other batches too."""
    model = checked(to_onnx(layer, opset=opset))
    names = [entry.name for entry in model.graph.input]
    for rows in (slice(None), slice(1)):
        given = [array[rows] for array in inputs]
        ours = layer(given if len(given) > 1 else given[0])
        ours = list(ours) if isinstance(ours, list | tuple) else [ours]
        found = run_onnxruntime(model, dict(zip(names, given, strict=True)))
        for theirs, wanted in zip(found, ours, strict=True):
            assert theirs.shape == wanted.shape and theirs.dtype == wanted.dtype
            bound = depth * rounding_bound(wanted.astype(np.float64), wanted, STEPS)
            assert (np.abs(theirs - wanted) <= bound).all(), np.abs(theirs - wanted).max()
    return model


def sequences(rng, *shape):
    return rng.normal(size=shape or (3, STEPS, 4)).astype(np.float32)


# -- recurrent layers -------------------------------------------------------------------------------


@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_recurrent_layers(rng, cls, return_sequences, go_backwards, return_state):
    options = {"return_sequences": return_sequences, "go_backwards": go_backwards, "return_state": return_state}
    assert_exports(filled(rng, cls(5, **options)), sequences(rng))
    assert_exports(filled(rng, cls(5, use_bias=False, **options)), sequences(rng))


@pytest.mark.parametrize("activation", RECURRENT)
def test_activations_of_recurrent_layers(rng, activation):
    x = sequences(rng)
    assert_exports(filled(rng, layers.LSTM(5, activation=activation)), x)
    assert_exports(filled(rng, layers.LSTM(5, recurrent_activation=activation)), x)
    assert_exports(filled(rng, layers.LSTM(5, output_activation=activation)), x)
    assert_exports(filled(rng, layers.GRU(5, activation=activation, reset_after=False)), x)
    assert_exports(filled(rng, layers.SimpleRNN(5, activation=activation)), x)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
@pytest.mark.parametrize("place", ["activation", "recurrent_activation", "output_activation"])
def test_curves_of_an_lstm(rng, curve, place):
    assert_exports(filled(rng, layers.LSTM(5, **{place: curve})), sequences(rng))


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_where_the_reset_gate_of_a_gru_acts(rng, reset_after, use_bias):
    assert_exports(filled(rng, layers.GRU(5, reset_after=reset_after, use_bias=use_bias)), sequences(rng))


def variant(rng):
    """An LSTM with any of the options that ONNX has."""
    pick = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    functions = (*RECURRENT, *CURVES)
    return layers.LSTM(
        int(rng.integers(1, 12)), activation=pick("tanh", *functions), recurrent_activation=pick("sigmoid", *functions),
        output_activation=pick(None, *functions), use_bias=pick(True, False), peepholes=pick(True, False),
        coupled_gates=pick(None, "forget"), input_clip=pick(None, 0.5), return_sequences=pick(True, False),
        go_backwards=pick(True, False), return_state=pick(True, False),
    )  # fmt: skip


@pytest.mark.parametrize("part", range(4))
def test_random_lstms_with_every_option_that_onnx_has(part):
    rng = np.random.default_rng([SEED, part])
    for _ in range(40):
        features = int(rng.integers(1, 6))
        layer = filled(rng, variant(rng), None, None, features)
        layer.set_weights([w / 2 for w in layer.get_weights()])
        x = sequences(rng, 3, STEPS, features)
        outputs = layer(x)
        if max(np.abs(part).max() for part in (outputs if layer.return_state else [outputs])) < LARGEST:
            assert_exports(layer, x, depth=4)


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_bidirectional_layers_merge(rng, cls, mode):
    for return_sequences in (True, False):
        for return_state in (True, False):
            inner = cls(5, return_sequences=return_sequences, return_state=return_state)
            model = assert_exports(filled(rng, layers.Bidirectional(inner, merge_mode=mode)), sequences(rng))
            assert sum(node.op_type in ("LSTM", "GRU", "RNN") for node in model.graph.node) == 1


@pytest.mark.parametrize("return_sequences", [True, False])
def test_directions_that_are_unlike(rng, return_sequences):
    def pair(forward, backward, **options):
        for layer in (forward, backward):
            layer.return_sequences = return_sequences
        return filled(rng, layers.Bidirectional(forward, backward_layer=backward, **options))

    x = sequences(rng)
    back = {"go_backwards": True, "return_sequences": return_sequences}
    on = {"return_sequences": return_sequences}
    assert_exports(pair(layers.LSTM(5, **on), layers.LSTM(3, **back)), x)
    assert_exports(pair(layers.LSTM(5, **on), layers.GRU(5, **back), merge_mode="sum"), x)
    assert_exports(pair(layers.LSTM(5, **on), layers.LSTM(5, activation="relu", use_bias=False, **back)), x)
    assert_exports(pair(layers.LSTM(5, peepholes=True, **on), layers.LSTM(5, **back)), x)
    assert_exports(pair(layers.LSTM(5, input_clip=1.0, **on), layers.LSTM(5, **back)), x)
    assert_exports(pair(layers.LSTM(5, **back), layers.LSTM(5, **on)), x)  # the first one backwards


def test_states_to_begin_with_go_to_directions_that_are_unlike(rng):
    x, h, c, other = Input((STEPS, 4)), Input((5,)), Input((5,)), Input((3,))
    back = layers.GRU(3, go_backwards=True, return_state=True)
    pair = layers.Bidirectional(layers.LSTM(5, return_state=True), backward_layer=back)
    model = Model([x, h, c, other], pair(x, initial_state=[h, c, other]))
    assert_exports(model, sequences(rng), *(sequences(rng, 3, units) for units in (5, 5, 3)))


def test_time_major_layers_take_and_give_steps_first(rng):
    layer = filled(rng, layers.LSTM(5, time_major=True, return_sequences=True, return_state=True))
    x = sequences(rng, STEPS, 3, 4)
    model = checked(to_onnx(layer))
    for ours, theirs in zip(layer(x), run_onnxruntime(model, {model.graph.input[0].name: x}), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=16 * np.finfo(np.float32).eps)
    assert not any(node.op_type == "Transpose" for node in model.graph.node)


def test_what_is_written_is_read_back_as_the_same_operator(rng, tmp_path):
    options = {"return_sequences": True, "return_state": True, "zero_output_for_mask": True}
    for extra in ({}, {"peepholes": True, "input_clip": 0.7}, {"coupled_gates": "forget", "use_bias": False}):
        layer = filled(rng, layers.LSTM(5, **options, **extra))
        to_onnx(layer, tmp_path / "layer.onnx")
        x = sequences(rng)
        y, h, c = layer(x)
        y2, h2, c2 = Operator.from_model(tmp_path / "layer.onnx")(x.swapaxes(0, 1))
        for ours, read in ((y, y2[:, 0].swapaxes(0, 1)), (h, h2[0]), (c, c2[0])):
            np.testing.assert_allclose(read, ours, rtol=0, atol=16 * np.finfo(np.float32).eps)


# -- other layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [*ANY, None])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_and_activation_layers(rng, activation, use_bias):
    for shape in ((3, 4), (3, STEPS, 4)):
        layer = filled(rng, layers.Dense(5, activation=activation, use_bias=use_bias), None, *shape[1:])
        assert_exports(layer, sequences(rng, *shape), depth=4)
    layer = layers.Activation(activation)
    layer.build((None, 4))
    assert_exports(layer, 3 * sequences(rng, 3, 4), depth=4)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dropout(0.5), layers.SpatialDropout1D(0.5), layers.GaussianNoise(0.1), layers.GaussianDropout(0.1),
        layers.AlphaDropout(0.1), layers.ActivityRegularization(0.1), layers.Identity(), layers.ReLU(),
        layers.ReLU(negative_slope=0.3), layers.ReLU(max_value=1.0), layers.LeakyReLU(0.3), layers.ELU(0.5),
        layers.Softmax(), layers.Softmax(axis=1), layers.Flatten(), layers.Reshape((12, 2)), layers.Reshape((-1, 2)),
        layers.Dense(3, activation=layers.LeakyReLU(0.2)), layers.TimeDistributed(layers.Dense(3, activation="relu")),
        layers.TimeDistributed(layers.Dropout(0.5)), layers.BatchNormalization(), layers.BatchNormalization(axis=1),
    ],
    ids=lambda layer: layer.name,
)  # fmt: skip
def test_layers_around_them(rng, layer):
    layer.build((None, STEPS, 4))
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    assert_exports(layer, sequences(rng))


def test_embedding_and_repeat_vector(rng):
    table = filled(rng, layers.Embedding(7, 4), None, None)
    assert_exports(table, rng.integers(0, 7, (3, STEPS)).astype(np.int32))
    repeat = layers.RepeatVector(4)
    repeat.build((None, 5))
    assert_exports(repeat, sequences(rng, 3, 5))


# -- models -----------------------------------------------------------------------------------------


def test_a_model_of_words(rng):
    model = Sequential([
        Input((None,)), layers.Embedding(11, 4), layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
        layers.Dropout(0.5), layers.LSTM(3), layers.Dense(11, activation="softmax"),
    ], name="words")  # fmt: skip
    ids = rng.integers(0, 11, (3, STEPS))
    written = assert_exports(model, ids.astype(np.float32), depth=4)
    assert written.graph.name == "words" and [out.name for out in written.graph.output] == [model.layers[-1].name]


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_ids_of_any_type(rng, dtype):
    model = Sequential([Input((STEPS,), dtype=dtype), layers.Embedding(11, 4), layers.GRU(5), layers.Dense(2)])
    assert_exports(model, rng.integers(0, 11, (3, STEPS)).astype(dtype), depth=4)


@pytest.mark.parametrize("opset", range(14, 23))
def test_every_opset_and_the_oldest_reader_that_knows_it(rng, opset):
    model = Sequential([
        Input((STEPS, 4)), layers.LSTM(5, return_sequences=True, go_backwards=True),
        layers.GRU(5, return_sequences=True), layers.Bidirectional(layers.SimpleRNN(5), merge_mode="ave"),
        layers.Dense(3, "hard_silu"), layers.RepeatVector(2), layers.Flatten(), layers.Dense(2, "gelu"),
        layers.Softmax(),
    ])  # fmt: skip
    written = assert_exports(model, sequences(rng), opset=opset, depth=8)
    assert written.opset_import[0].version == opset
    assert written.ir_version <= 10 and written.producer_name == "fastlstm"


def test_a_model_that_hands_its_states_on(rng):
    words, start = Input((None, 4), name="words"), Input((None, 3), name="start")
    _, h, c = layers.LSTM(5, return_state=True)(words)
    decoded = layers.LSTM(5, return_sequences=True)(start, initial_state=[h, c])
    _, *states = layers.Bidirectional(layers.GRU(2, return_state=True))(start)
    again = layers.Bidirectional(layers.GRU(2))(start, initial_state=states)
    model = Model([words, start], [layers.Dense(2)(decoded), again])
    written = assert_exports(model, sequences(rng), sequences(rng, 3, 2, 3), depth=4)
    assert [entry.name for entry in written.graph.input] == ["words", "start"]


def test_a_model_with_shared_layers_merges_and_models_inside(rng):
    x = Input((STEPS, 4))
    shared = layers.LSTM(5, return_sequences=True)
    once = shared(layers.Dense(4, name="odd/name:0")(x))
    twice = shared(layers.Activation("tanh")(x))
    merged = [cls()([once, twice]) for cls in (layers.Add, layers.Average, layers.Maximum, layers.Minimum,
                                               layers.Multiply, layers.Subtract, layers.Concatenate)]  # fmt: skip
    inner = Sequential([Input((STEPS, 10)), layers.Dense(3), layers.Dropout(0.1)])
    whole = layers.Concatenate()([*merged[:-1], inner(merged[-1])])
    assert_exports(Model(x, [whole, layers.Multiply()([once, twice, once]), x]), sequences(rng), depth=8)


@pytest.mark.parametrize("part", range(3))
def test_random_models(part):
    rng = np.random.default_rng([SEED, 100 + part])
    pick = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    for _ in range(20):
        stack = [Input((pick(None, STEPS), 4))]
        for _ in range(int(rng.integers(1, 4))):
            units, on = int(rng.integers(1, 9)), {"return_sequences": True, "go_backwards": pick(True, False)}
            cls = pick(layers.LSTM, layers.GRU, layers.SimpleRNN)
            stack.append(pick(
                cls(units, **on), layers.Bidirectional(cls(units, return_sequences=True), pick("concat", "sum", "ave")),
                layers.Dense(units, pick(*RECURRENT, "gelu", "silu")), layers.Dropout(0.2),
                layers.Activation(pick("softsign", "mish")),
            ))  # fmt: skip
        stack += pick([], [layers.LSTM(3)], [layers.GRU(3), layers.Dense(2, "softmax")])
        assert_exports(Sequential(stack), sequences(rng), depth=4 * len(stack))


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.name.split("__")[1])
def test_published_models_give_in_onnxruntime_what_they_gave(file):
    try:
        written = checked(to_onnx(load_model(file)))
    except UnsupportedLayerError as error:
        pytest.skip(str(error)[:100])
    with np.load(MODELS / "expected" / f"{file.name}.npz") as arrays:
        inputs = [arrays[name] for name in sorted(arrays.files) if name.startswith("in")]
        wanted = [arrays[name] for name in sorted(arrays.files) if name.startswith("out")]
    kinds = [onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type) for entry in written.graph.input]
    names = [entry.name for entry in written.graph.input]
    feeds = {name: x.astype(kind) for name, kind, x in zip(names, kinds, inputs, strict=True)}
    for found, exact in zip(run_onnxruntime(written, feeds), wanted, strict=True):
        assert (np.abs(found - exact) <= 1e-5 * np.maximum(1, np.abs(exact))).all()  # the bound against Keras


def test_float64_is_written_as_float64(rng):
    x = Input((STEPS, 4), dtype="float64")
    layer = layers.LSTM(5, dtype="float64", return_sequences=True)
    model = Model(x, layers.Dense(2, "tanh", dtype="float64")(layer(x)))
    written = checked(to_onnx(model))  # which onnxruntime does not run, and onnx itself does
    values = rng.normal(size=(3, STEPS, 4))
    (found,) = ReferenceEvaluator(written).run(None, {written.graph.input[0].name: values})
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, model(values), rtol=0, atol=64 * np.finfo(float).eps)


def test_a_layer_of_another_type_than_its_input_gets_a_cast(rng):
    x = Input((STEPS, 4), dtype="float64")
    assert_exports(Model(x, layers.LSTM(5)(x)), rng.normal(size=(3, STEPS, 4)), depth=2)


# -- files ------------------------------------------------------------------------------------------


def test_the_file_holds_the_model_and_takes_the_place_of_an_older_one(rng, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    layer = filled(rng, layers.LSTM(5))
    model = to_onnx(layer, path)
    assert onnx.load(path) == model and [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    to_onnx(layer, str(path), opset=22)
    assert onnx.load(path).opset_import[0].version == 22


def test_what_cannot_be_written_leaves_no_file(rng, tmp_path):
    with pytest.raises(UnsupportedLayerError):
        to_onnx(filled(rng, layers.LSTM(5, cell_clip=1.0)), tmp_path / "model.onnx")
    with pytest.raises(FastLSTMError, match="cannot be written"):
        to_onnx(filled(rng, layers.LSTM(5)), tmp_path)
    assert not list(tmp_path.iterdir())


# -- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.LSTM(3, projection=2, name="a"), "LSTM 'a': projection=2"),
        (layers.LSTM(3, layer_norm="gates"), "layer_norm='gates'"),
        (layers.LSTM(3, cell_clip=1.0), r"cell_clip=1\.0"),
        (layers.LSTM(3, coupled_gates="input"), "coupled_gates='input'"),
        (layers.LSTM(3, return_gates=True), "return_gates=True"),
        (layers.LSTM(3, stateful=True), "stateful=True"),
        (layers.GRU(3, stateful=True), "stateful=True"),
        (layers.LSTM(3, activation="gelu"), "gelu.*none that ONNX's recurrent operators have"),
        (layers.LSTM(3, recurrent_activation="softmax"), "softmax"),
        (layers.LSTM(3, activation=Curve("celu", 2.0)), "celu"),
        (layers.SimpleRNN(3, activation="selu"), "selu"),
        (layers.Bidirectional(layers.LSTM(3, cell_clip=1.0)), "cell_clip"),
        (layers.Bidirectional(layers.RNN(layers.LSTMCell(3))), "RNN"),
        (layers.RNN(layers.LSTMCell(3)), "RNN .*cannot be exported; only these can: .*LSTM"),
        (layers.Masking(), "Masking .*cannot be exported"),
        (layers.LayerNormalization(), "LayerNormalization"),
        (layers.Conv1D(3, 2), "Conv1D"),
        (layers.Dense(3, activation="sparsemax"), "activation 'sparsemax' cannot be exported"),
        (layers.Activation("sparse_plus"), "sparse_plus"),
        (layers.ReLU(threshold=1.0), "threshold"),
        (layers.ReLU(max_value=1.0, negative_slope=0.5), "slope and maximum"),
        (layers.Softmax(axis=None), "axis is None"),
        (layers.Softmax(axis=[1, 2]), r"axis is \[1, 2\]"),
        (layers.Flatten(data_format="channels_first"), "channels_first"),
        (layers.TimeDistributed(layers.Softmax(axis=1)), "Softmax"),
        (Sequential([Input((2, 4)), layers.UpSampling1D()]), "UpSampling1D"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_onnx_cannot_say_is_refused_by_name(layer, message):
    if not layer.built:
        layer.build((2 if getattr(layer, "stateful", False) else None, STEPS, 4))
    with pytest.raises(UnsupportedLayerError, match=f"^to_onnx: .*{message}"):
        to_onnx(layer)


def test_masks_are_refused_by_name():
    ids = layers.Embedding(5, 4, mask_zero=True, name="words")
    with pytest.raises(UnsupportedLayerError, match="Embedding 'words': mask_zero=True"):
        to_onnx(Sequential([Input((None,)), ids, layers.LSTM(3)]))
    x, mask = Input((STEPS, 4)), Input((STEPS,), dtype="bool")
    with pytest.raises(UnsupportedLayerError, match="is called with mask"):
        to_onnx(Model([x, mask], layers.LSTM(3)(x, mask=mask)))
    x, y = Input((STEPS, 4)), Input((4,))
    with pytest.raises(UnsupportedLayerError, match="different numbers of axes"):
        to_onnx(Model([x, y], layers.Add()([x, y])))


def test_operations_in_a_graph_are_refused():
    x = Input((STEPS, 4))
    with pytest.raises(UnsupportedLayerError, match="cannot be exported"):
        to_onnx(Model(x, layers.LSTM(3)(x) * 2))


def test_wrong_arguments_are_named(rng):
    with pytest.raises(FastLSTMError, match=r"LSTM .*is not built"):
        to_onnx(layers.LSTM(3))
    with pytest.raises(FastLSTMError, match="got 'model'; expected a layer or model"):
        to_onnx("model")
    for opset in (13, 23, 0, True, "17", None):
        with pytest.raises(FastLSTMError, match=r"opset is .*expected"):
            to_onnx(filled(rng, layers.LSTM(3)), opset=opset)
    with pytest.raises(FastLSTMError, match="not built"):
        to_onnx(Sequential())


def test_onnx_is_named_where_it_is_missing():
    code = """
import sys
sys.modules["onnx"] = None
from fastlstm import layers
from fastlstm.onnx import to_onnx
layer = layers.LSTM(3)
layer.build((None, None, 2))
try:
    to_onnx(layer)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "pip install fastlstm[onnx]" in done.stdout
