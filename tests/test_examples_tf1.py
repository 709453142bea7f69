"""The example in TensorFlow 1's style runs, and gives the figures of the worked examples."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import rounding_bound
from tf1_oracle import quiet, tensorflow

from fastlstm import layouts
from fastlstm.layers import LSTM

FILE = Path(__file__).parents[1] / "examples" / "tf1_static_rnn.py"
CASES = {c["name"]: c for c in json.loads((Path(__file__).parent / "worked_examples.json").read_text())["cases"]}
PRINTED = 6e-8  # half a unit of the eighth printed digit, and float32's own rounding


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("tf1_static_rnn", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_basic_lstm_cell_two_steps(example):
    case = CASES["basic_lstm_cell_two_steps"]
    assert [example.X0, example.X1] == case["x_steps"]
    assert [example.KERNEL, example.BIAS] == [case["tf1_kernel_i_j_f_o"], case["tf1_bias_i_j_f_o"]]
    outputs, state = example.two_steps()
    for found, wanted in zip([*outputs, state.h, state.c], ("h_step1", "h_step2", "h_step2", "c_step2"), strict=True):
        np.testing.assert_allclose(found, case[f"expected_{wanted}"], rtol=0, atol=PRINTED)


def test_basic_lstm_cell_default_forget_bias(example, keras):
    case = CASES["basic_lstm_cell_default_forget_bias"]
    assert case["x"] == example.SIX_FEATURES
    output, state, cell = example.default_forget_bias()
    shapes = {"output": output, "c": state.c, "h": state.h}
    assert {name: list(array.shape) for name, array in shapes.items()} == case["shapes"]
    assert np.array_equal(output, state.h) and cell.forget_bias == 1
    bound = rounding_bound(output, output, 1)
    assert (np.abs(output - example.by_hand(cell)) <= bound).all()
    # A state of zeros hides the forget gate: one of ones shows that its bias is added, as TensorFlow does.
    tf, classes, _ = tensorflow()
    with quiet():
        theirs = classes.BasicLSTMCell(4)
        theirs.build((None, 6))
        theirs.set_weights(cell.get_weights())
        ones = tf.ones((1, 4))
        wanted, (c, _) = theirs(tf.constant(case["x"], tf.float32), classes.LSTMStateTuple(ones, ones))
    found, after = cell(case["x"], (np.ones((1, 4)), np.ones((1, 4))))
    assert (np.abs(found - wanted) <= bound).all() and (np.abs(after.c - c) <= 2 * bound).all()


def test_stacked_cells_4_5(example, keras):
    case = CASES["stacked_cells_4_5"]
    assert case["x"] == example.TWO_SEQUENCES
    outputs, states, cell = example.stacked_cells()
    y = np.stack(outputs, axis=1)
    assert list(y.shape) == case["shapes"]["output"] and [s.c.shape for s in states] == [(2, 4), (2, 5)]
    theirs = keras.layers.RNN([keras.layers.LSTMCell(n) for n in case["units"]], return_sequences=True)
    theirs.build((None, None, 6))
    given = cell.get_weights()
    pairs = [layouts.tf1_to_keras(*given[n : n + 2]).as_list() for n in (0, 2)]
    theirs.set_weights([array for pair in pairs for array in pair])
    assert (np.abs(y - theirs(np.array(case["x"], "float32"))) <= rounding_bound(y, y, 3)).all()
    x = np.array(case["x"], "float32")
    for weights in pairs:  # and layer on layer, which is the same
        layer = LSTM(weights[1].shape[0], return_sequences=True)
        layer.set_weights(weights)
        x = layer(x)
    assert (np.abs(y - x) <= rounding_bound(y, y, 3)).all()


def test_it_runs_as_a_script():
    done = subprocess.run([sys.executable, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[-0.361936 -0.249146  0.016719]" in done.stdout
    assert "stacked cells: 3 outputs of shape (2, 5), c of the lower (2, 4)" in done.stdout
