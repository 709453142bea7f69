"""fastlstm.onnx.LSTM is ONNX's operator: its own node tests, onnxruntime over random nodes, NumPy in float64."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import SEED
from onnx_cases import (
    ACTIVATIONS,
    NAMES,
    SLOTS,
    WEIGHTS,
    Case,
    batch_first,
    bounds,
    called,
    cases,
    made,
    model_of,
    one,
    operator,
    run_onnxruntime,
)

from fastlstm import FastLSTMError
from fastlstm.onnx import LSTM


def assert_exact(found, case, exact):
    """Within the rounding of a plain computation in the operator's type."""
    real = np.float64 if case.inputs["W"].dtype == np.float64 else np.float32
    for name, ours, wanted, bound in zip(NAMES, found, exact, bounds(case, exact, real), strict=True):
        assert ours.shape == wanted.shape and ours.dtype == real, name
        assert np.abs(ours - wanted).max(initial=0) <= bound, (name, np.abs(ours - wanted).max(), case.attributes)


# -- the operator -----------------------------------------------------------------------------------


def own_node_tests():
    """Nodes, inputs and outputs of the test cases that the onnx package has."""
    from onnx.backend.test.case.node import lstm

    found = []
    record = lambda node, inputs, outputs, name: found.append((name, node, inputs, outputs))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lstm, "expect", record)
        for name in dir(lstm.LSTM):
            if name.startswith("export_"):
                getattr(lstm.LSTM, name)()
    return found


def test_the_onnx_packages_own_node_tests_hold():
    found = own_node_tests()
    assert {name.removeprefix("test_lstm_") for name, *_ in found} >= {
        "defaults", "with_initial_bias", "with_peepholes", "batchwise", "reverse", "bidirectional"
    }  # fmt: skip
    for _, node, arrays, wanted in found:
        inputs = dict(zip(node.input, arrays, strict=True))
        layer = LSTM.from_node(node, {name: inputs[name] for name in WEIGHTS if name in inputs})
        outputs = dict(zip(NAMES, called(layer, Case({}, inputs)), strict=True))
        ours = [outputs[name] for name, label in zip(NAMES, node.output, strict=False) if label]
        for mine, theirs in zip(ours, wanted, strict=True):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=16 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("part", range(4))
def test_random_nodes_give_what_onnxruntime_gives(part):
    for case, exact in cases([SEED, part], 150):
        found = called(made(case), case)
        assert_exact(found, case, exact)
        theirs = run_onnxruntime(model_of(case), case.inputs)
        for ours, other, bound in zip(found, theirs, bounds(case, exact), strict=True):
            assert ours.shape == other.shape
            assert np.abs(ours - other).max(initial=0) <= 2 * bound, (np.abs(ours - other).max(), case.attributes)


def test_every_activation_and_attribute_is_among_the_random_nodes():
    drawn = [case for part in range(4) for case, _ in cases([SEED, part], 150)]
    seen = {name.lower() for case in drawn for name in case.attributes.get("activations", ())}
    assert seen == {name.lower() for name in ACTIVATIONS}
    assert {name for case in drawn for name in case.attributes} == {
        "hidden_size", "direction", "activations", "activation_alpha", "activation_beta", "clip", "input_forget"
    }  # fmt: skip
    assert {name for case in drawn for name in case.inputs} == set(SLOTS)
    assert any(0 in case.inputs.get("sequence_lens", ()) for case in drawn)


def test_random_nodes_in_float64_are_exact():
    for case, exact in cases([SEED, 64], 100, np.float64):
        assert_exact(called(made(case), case), case, exact)


def test_layout_1_is_layout_0_with_the_rows_first():
    for case, _ in cases([SEED, 1], 60):
        y, *states = called(made(case), case)
        turned = batch_first(case)
        other, *others = called(made(turned), turned)
        assert np.array_equal(other, y.transpose(2, 0, 1, 3))
        for state, mine in zip(others, states, strict=True):
            assert np.array_equal(state, mine.swapaxes(0, 1))


def test_every_kernel_is_the_same_operator(isa):
    for case, exact in cases([SEED, 2], 20):
        assert_exact(called(made(case, isa=isa), case), case, exact)


def test_how_to_run_changes_no_shape_and_reproducible_no_bit(rng):
    case = one(rng, directions=2, attributes={"direction": "bidirectional"})
    plain = called(made(case, reproducible=True), case)
    for ours, other in zip(called(made(case, reproducible=True, threads=2), case), plain, strict=True):
        assert np.array_equal(ours, other)
    narrow = called(made(case, precision="bfloat16"), case)
    assert all(np.allclose(ours, other, atol=0.05) for ours, other in zip(narrow, plain, strict=True))


# -- corners that the specification leaves open -------------------------------------------------------


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_row_without_steps_ends_in_zeros_as_in_onnxruntime(rng, direction):
    d = 2 if direction == "bidirectional" else 1
    state = np.ones((d, 3, 5), np.float32)
    lens = np.array([0, 4, 2], np.int32)
    case = one(rng, directions=d, attributes={"direction": direction}, initial_h=state, initial_c=2 * state,
               sequence_lens=lens)  # fmt: skip
    y, h, c = found = called(made(case), case)
    assert not y[:, :, 0].any() and not h[:, 0].any() and not c[:, 0].any()
    assert h[:, 1:].all() and not y[2:, :, 2].any() and y[:2, :, 2].all()
    for ours, theirs in zip(found, run_onnxruntime(model_of(case), case.inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("layout", [0, 1])
def test_no_steps_and_no_rows_give_empty_arrays_and_zero_states(rng, layout):
    for steps, batch in ((0, 3), (4, 0), (0, 0)):
        case = one(rng, steps=steps, batch=batch, initial_h=np.ones((1, batch, 5)))
        case = batch_first(case) if layout else case
        y, h, c = called(made(case), case)
        assert y.shape == ((batch, steps, 1, 5) if layout else (steps, 1, batch, 5))
        assert h.shape == c.shape == ((batch, 1, 5) if layout else (1, batch, 5))
        assert not h.any() and not c.any()


def test_clip_bounds_the_gates_and_not_the_cell_state(rng):
    case = one(rng, steps=30, attributes={"clip": 0.5, "activations": ["Sigmoid", "Affine", "Affine"],
                                          "activation_alpha": [1.0, 1.0], "activation_beta": [1.0, 0.0]})  # fmt: skip
    y, _, c = found = called(made(case), case)
    assert np.abs(c).max() > 0.5 and np.abs(y).max() > 0.5
    assert_exact(found, case, operator(*case))


def test_an_infinite_clip_is_none(rng):
    case = one(rng)
    free = called(made(case), case)
    bounded = called(LSTM(case.inputs["W"], case.inputs["R"], clip=float("inf")), case)
    assert all(np.array_equal(ours, other) for ours, other in zip(free, bounded, strict=True))


def test_weights_of_a_coupled_forget_gate_are_not_used(rng):
    case = one(rng, attributes={"input_forget": 1}, B=rng.normal(size=(1, 40)), P=rng.normal(size=(1, 15)))
    wanted = called(made(case), case)
    for name, rows in (("W", slice(10, 15)), ("R", slice(10, 15)), ("P", slice(10, 15))):
        case.inputs[name][0, rows] = np.nan
    case.inputs["B"][0, 10:15] = case.inputs["B"][0, 30:35] = np.nan
    assert all(np.array_equal(ours, other) for ours, other in zip(called(made(case), case), wanted, strict=True))


def test_the_arguments_stay_as_they_were_and_results_are_new(rng):
    case = one(rng, initial_h=np.ones((1, 3, 5), np.float32), sequence_lens=np.array([4, 2, 1]))
    kept = {name: array.copy() for name, array in case.inputs.items()}
    layer = made(case)
    first, second = called(layer, case), called(layer, case)
    assert all(np.array_equal(case.inputs[name], array) for name, array in kept.items())
    assert not any(np.shares_memory(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.shares_memory(a, b) for a in first for b in case.inputs.values())


def test_integers_and_lists_are_numbers_and_float64_weights_compute_in_float64(rng):
    case = one(rng)
    layer = made(case)
    whole = (3 * case.inputs["X"]).astype(int)
    for other in (whole, whole.tolist(), whole.astype(">f8"), whole.astype(np.float16)):
        assert np.array_equal(layer(other)[0], layer(whole.astype(np.float32))[0])
        assert layer(other)[0].dtype == np.float32
    double = LSTM(case.inputs["W"].astype(np.float64), case.inputs["R"])
    assert all(array.dtype == np.float64 for array in double(case.inputs["X"]))


def test_it_pickles_and_says_what_it_is(rng):
    case = one(rng, directions=2, attributes={"direction": "bidirectional"})
    layer = made(case)
    copy = pickle.loads(pickle.dumps(layer))
    assert all(np.array_equal(a, b) for a, b in zip(called(copy, case), called(layer, case), strict=True))
    assert repr(layer) == "LSTM(input_size=2, hidden_size=5, direction='bidirectional', layout=0)"
    forward, backward = layer.layers
    assert (forward.go_backwards, backward.go_backwards, forward.units) == (False, True, 5)


# -- wrong arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"W": np.zeros((1, 20))}, r"W has shape \(1, 20\); expected \(1, 4 \* hidden_size, input_size\)"),
        ({"W": np.zeros((2, 20, 2))}, r"W has shape \(2, 20, 2\)"),
        ({"W": np.zeros((1, 18, 2))}, r"W has shape \(1, 18, 2\)"),
        ({"W": np.zeros((1, 20, 0))}, r"W has shape \(1, 20, 0\)"),
        ({"W": np.zeros((1, 0, 2)), "R": np.zeros((1, 0, 0))}, r"W has shape \(1, 0, 2\)"),
        ({"W": "weights"}, "W has dtype .*expected numbers"),
        ({"W": [[1.0], [2.0, 3.0]]}, "W is not an array"),
        ({"R": np.zeros((1, 20, 4))}, r"R has shape \(1, 20, 4\); expected \(1, 20, 5\)"),
        ({"B": np.zeros((1, 20))}, r"B has shape \(1, 20\); expected \(1, 40\)"),
        ({"P": np.zeros((3, 5))}, r"P has shape \(3, 5\); expected \(1, 15\)"),
        ({"hidden_size": 4}, "hidden_size is 4; R has 5 units"),
        ({"hidden_size": "5"}, "hidden_size is '5'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"direction": "backward"}, "direction is 'backward'; expected one of forward, reverse, bidirectional"),
        ({"direction": "Forward"}, "direction is 'Forward'"),
        ({"direction": None}, "direction is None"),
        ({"direction": "bidirectional"}, r"W has shape \(1, 20, 2\); expected \(2"),
        ({"layout": 2}, "layout is 2"),
        ({"layout": "1"}, "layout is '1'"),
        ({"input_forget": -1}, "input_forget is -1"),
        ({"clip": 0}, "clip is 0; expected a number above 0"),
        ({"clip": -1.0}, "clip is -1.0"),
        ({"clip": float("nan")}, "clip is nan"),
        ({"clip": True}, "clip is True"),
        ({"clip": [1.0]}, "clip is "),
        ({"activations": ["Tanh", "Tanh"]}, "activations is .*expected 3 names"),
        ({"activations": ["Sigmoid", "Tanh", "Tanh"] * 2}, "expected 3 names"),
        ({"activations": "Tanh"}, "activations is 'Tanh'"),
        ({"activations": 3}, "activations is 3"),
        ({"activations": ["Sigmoid", "Tanh", "Gelu"]}, "unknown activation 'Gelu'; known: affine, "),
        ({"activations": ["Sigmoid", "Tanh", None]}, "unknown activation None"),
        ({"activation_alpha": ["a"]}, "activation_alpha is "),
        ({"activation_alpha": 0.5}, "activation_alpha is 0.5; expected a list"),
        ({"activation_alpha": [True]}, "activation_alpha is "),
        ({"activation_beta": [float("inf")]}, "activation_beta is "),
        ({"isa": "mmx"}, "isa"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    good = {"W": np.zeros((1, 20, 2), np.float32), "R": np.zeros((1, 20, 5), np.float32)}
    with pytest.raises(FastLSTMError, match=message):
        LSTM(**(good | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((4, 3))}, r"X has shape \(4, 3\); expected \(steps, batch, 2\)"),
        ({"X": np.zeros((4, 3, 5))}, r"X has shape \(4, 3, 5\)"),
        ({"X": "x"}, "X has dtype"),
        ({"sequence_lens": [4, 4]}, r"sequence_lens.*of shape \(2,\); expected integers of shape \(3,\)"),
        ({"sequence_lens": [4.0, 4.0, 4.0]}, "sequence_lens.*float64"),
        ({"sequence_lens": [True, True, True]}, "sequence_lens.*bool"),
        ({"sequence_lens": [4, 5, 4]}, "sequence_lens.*0 to 4"),
        ({"sequence_lens": [-1, 4, 4]}, "sequence_lens.*0 to 4"),
        ({"sequence_lens": "long"}, "sequence_lens"),
        ({"initial_h": np.zeros((3, 5))}, r"initial_h has shape \(3, 5\); expected \(1, 3, 5\)"),
        ({"initial_c": np.zeros((3, 1, 5))}, r"initial_c has shape \(3, 1, 5\)"),
        ({"initial_h": "zeros"}, "initial_h has dtype"),
    ],
)
def test_wrong_calls_are_named(rng, arguments, message):
    case = one(rng)
    with pytest.raises(FastLSTMError, match=message):
        made(case)(**({"X": case.inputs["X"]} | arguments))


def test_layout_1_names_its_own_axes(rng):
    with pytest.raises(FastLSTMError, match=r"X has shape \(2, 2\); expected \(batch, steps, 2\)"):
        made(one(rng, attributes={"layout": 1}))(np.zeros((2, 2)))
