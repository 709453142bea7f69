"""The small examples with printed figures: each is reproduced to the digits that were printed."""

import json
from pathlib import Path

import numpy as np
import pytest
from reference import lstm

import fastlstm

CASES = {c["name"]: c for c in json.loads((Path(__file__).parent / "worked_examples.json").read_text())["cases"]}
PRINTED = 6e-8  # half a unit of the seventh or eighth printed digit, and float32's own rounding


def from_tf1(case):
    """A TF1 cell's matrix over [x; h], gates i, j, f, o -> Keras's three arrays, gates i, f, c, o."""
    matrix, bias = (np.array(case[k]) for k in ("tf1_kernel_i_j_f_o", "tf1_bias_i_j_f_o"))

    def reorder(a):
        i, j, f, o = np.split(a, 4, axis=-1)
        return np.concatenate([i, f, j, o], axis=-1)

    features = len(matrix) - case["units"]
    return [reorder(matrix[:features]), reorder(matrix[features:]), reorder(bias)]


def test_every_case_is_here():
    assert set(CASES) == {
        "one_unit_one_step", "basic_lstm_cell_two_steps", "basic_lstm_cell_default_forget_bias",
        "stacked_cells_4_5", "next_word_softmax", "parameter_count",
    }  # fmt: skip


def test_one_unit_one_step(isa):
    case = CASES["one_unit_one_step"]
    layer = fastlstm.LSTM(1, return_sequences=True, return_state=True, isa=isa)
    layer.set_weights([case["kernel"], case["recurrent_kernel"], case["bias"]])
    y, h, c = layer(case["x"])
    np.testing.assert_allclose(y, case["expected_sequences"], atol=PRINTED)
    np.testing.assert_allclose(h, case["expected_h"], atol=PRINTED)
    np.testing.assert_allclose(c, case["expected_c"], atol=PRINTED)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_basic_lstm_cell_two_steps(isa, dtype):
    case = CASES["basic_lstm_cell_two_steps"]
    weights = from_tf1(case)
    steps = np.array(case["x_steps"])
    cell = fastlstm.LSTMCell(3, isa=isa, dtype=dtype)
    cell.set_weights(weights)
    states = cell.get_initial_state(len(steps[0]))
    for n, x in enumerate(steps, 1):
        h, states = cell(x, states)
        np.testing.assert_allclose(h, case[f"expected_h_step{n}"], atol=2 * PRINTED)
        np.testing.assert_allclose(states[1], case[f"expected_c_step{n}"], atol=2 * PRINTED)
    layer = fastlstm.LSTM(3, isa=isa, dtype=dtype)
    layer.set_weights(weights)
    np.testing.assert_allclose(layer(steps.swapaxes(0, 1)), case["expected_h_step2"], atol=2 * PRINTED)


def test_basic_lstm_cell_default_forget_bias(keras, rng):
    """forget_bias is added to f at run time: the same as adding it to the bias. Oracle: TF's BlockLSTM."""
    import tensorflow as tf

    case = CASES["basic_lstm_cell_default_forget_bias"]
    units, x = case["units"], np.array(case["x"], np.float32)
    w = rng.standard_normal((x.shape[1] + units, 4 * units)).astype(np.float32) / 3  # gates i, c, f, o
    b = rng.standard_normal(4 * units).astype(np.float32) / 3
    zeros, none = np.zeros((1, units), np.float32), np.zeros(units, np.float32)
    op = tf.raw_ops.BlockLSTM(
        seq_len_max=np.int64(1), x=x[None], cs_prev=zeros, h_prev=zeros, w=w, wci=none, wcf=none, wco=none, b=b,
        forget_bias=1.0, cell_clip=-1.0, use_peephole=False,
    )  # fmt: skip
    case = {"units": units, "tf1_kernel_i_j_f_o": w, "tf1_bias_i_j_f_o": b}
    kernel, recurrent, bias = from_tf1(case)
    bias[units : 2 * units] += 1.0
    cell = fastlstm.LSTMCell(units)
    cell.set_weights([kernel, recurrent, bias])
    output, (h, c) = cell(x, cell.get_initial_state(1))
    shapes = CASES["basic_lstm_cell_default_forget_bias"]["shapes"]
    assert list(output.shape) == shapes["output"] and list(h.shape) == shapes["h"] and list(c.shape) == shapes["c"]
    np.testing.assert_allclose(h, op.h[0], atol=4 * PRINTED)
    np.testing.assert_allclose(c, op.cs[0], atol=4 * PRINTED)


def test_stacked_cells_4_5(keras):
    case = CASES["stacked_cells_4_5"]
    x = np.array(case["x"], np.float32)
    theirs = keras.layers.RNN(
        keras.layers.StackedRNNCells([keras.layers.LSTMCell(n) for n in case["units"]]), return_sequences=True
    )
    wanted = np.asarray(theirs(x))
    assert list(wanted.shape) == case["shapes"]["output"]
    weights, y = theirs.get_weights(), x
    for n, units in enumerate(case["units"]):
        layer = fastlstm.LSTM(units, return_sequences=True)
        layer.set_weights(weights[3 * n : 3 * n + 3])
        y = layer(y)
    np.testing.assert_allclose(y, wanted, atol=1e-6)


def test_next_word_softmax():
    case = CASES["next_word_softmax"]
    model = fastlstm.Sequential([fastlstm.LSTM(1, unroll=True), fastlstm.layers.Dense(5, activation="softmax")])
    model.build((None, 2, 1))
    model.set_weights([
        case["kernel"], case["recurrent_kernel"], case["bias"], case["dense_kernel"], case["dense_bias"],
    ])  # fmt: skip
    np.testing.assert_allclose(model.predict(case["x"], verbose=0), case["expected_softmax"], atol=2 * PRINTED)
    counts = case["expected_param_count"]
    assert [layer.count_params() for layer in model.layers] == [counts["lstm"], counts["dense"]]
    assert model.count_params() == counts["total"]


def test_parameter_counts_and_another_number_of_steps():
    case = CASES["parameter_count"]
    for count in case["counts"]:
        layer = fastlstm.LSTM(count["units"])
        layer.build((None, 5, count["features"]))
        assert layer.count_params() == count["total"]
        if "W" in count:
            assert [w.size for w in layer.get_weights()] == [count["W"], count["U"], count["b"]]
        if "with_dense_1" in count:
            model = fastlstm.Sequential([layer, fastlstm.layers.Dense(1)])
            model.build((None, 5, count["features"]))
            assert model.count_params() == count["with_dense_1"]
    layer = fastlstm.LSTM(1)
    layer.build((None, 5, 1))
    x = np.array(case["x"])  # four steps, where the layer was built for five
    exact = lstm(x, *layer.get_weights())[1]
    np.testing.assert_allclose(layer(x), exact, atol=PRINTED)
