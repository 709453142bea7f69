"""Keras's own tests of its recurrent layers, run with our classes where they say ``layers``."""

from __future__ import annotations

import importlib.util
import sys
import unittest
from typing import Any

import pytest

import fastlstm

# TensorFlow's own tensors provoke it in NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

TRAINING = "runs a layer through Keras's own saving, symbolic calls and training"
INTERNALS = "looks into how Keras computes it"
OWN_CELL = "a cell with equations of its own, which no layer of Keras's has"
OWN_LAYER = "derives a layer from Keras's"
#: What is left out of each file, and why.
LEFT_OUT = {
    "lstm": {"test_basics": TRAINING},
    "gru": {
        "test_basics": TRAINING,
        "test_stateful_with_symbolic_batch_size": "inside a tf.function",
        "test_torch_cudnn_dispatch_fires": "another backend's",
    },
    "simple_rnn": {"test_basics": TRAINING},
    "rnn": {
        "test_basics": TRAINING,
        "test_compute_output_shape_two_states": OWN_CELL,
        "test_dynamic_shapes": OWN_CELL,
        "test_forward_pass_two_states": OWN_CELL,
        "test_passing_initial_state_two_states": OWN_CELL,
        "test_serialization": OWN_CELL,
        "test_stateful_batch_size_mismatch_raises": OWN_CELL,
        "test_statefulness_two_states": OWN_CELL,
    },
    "stacked_rnn_cells": {
        "test_basics": TRAINING,
        "test_correctness_single_state_stack": OWN_CELL,  # its state comes back alone, a SimpleRNNCell's in a list
        "test_correctness_two_states_stack": OWN_CELL,
        "test_statefullness_two_states_stack": OWN_CELL,
    },
    "bidirectional": {
        "test_basics": TRAINING,
        "test_fused_gru_eligibility": INTERNALS,
        "test_fused_gru_matches_unfused": INTERNALS,
        "test_fused_lstm_eligibility": INTERNALS,
        "test_fused_lstm_matches_unfused": INTERNALS,
    },
    "time_distributed": {"test_basics": TRAINING, "test_masking": OWN_LAYER, "test_with_mask_zero": TRAINING},
}


class OurLayers:
    """``keras.layers`` as the tests see it: ours."""

    Input = staticmethod(fastlstm.Input)

    def __getattr__(self, name: str) -> Any:
        return getattr(fastlstm.layers, name)


def linear_cell(units: int, state_size: Any = None) -> Any:
    """The tests' own cell with one state, which is a SimpleRNNCell that leaves out what makes it one."""
    return fastlstm.layers.SimpleRNNCell(
        units, activation=None, use_bias=False, kernel_initializer="ones", recurrent_initializer="ones"
    )


def suite(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """The test case of one of Keras's files, and the names of its tests."""
    monkeypatch.setitem(vars(pytest.mark), "requires_trainable_backend", lambda test: test)  # a mark of theirs
    spec = importlib.util.find_spec(f"keras.src.layers.rnn.{name}_test")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where its decorators look for it
    spec.loader.exec_module(module)
    module.layers = OurLayers()
    module.OneStateRNNCell = linear_cell
    cases = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, unittest.TestCase)]
    (case,) = [c for c in cases if c.__module__ == spec.name]
    case.assertRaisesRegex = lambda self, error, text: self.assertRaises(error)  # ours refuse in their own words
    return case, [n for n in unittest.TestLoader().getTestCaseNames(case) if n != "test_session"]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_keras_passes_its_own_tests_with_our_layers(keras, name, monkeypatch):
    case, tests = suite(name, monkeypatch)
    left_out = LEFT_OUT[name]
    assert set(left_out) <= set(tests)
    result = unittest.TestResult()
    unittest.TestSuite(case(test) for test in tests if test not in left_out).run(result)
    print(f"{name}: {result.testsRun} run, {len(result.skipped)} skipped, left out: {', '.join(sorted(left_out))}")
    wrong = [f"{test.id()}: {text}" for test, text in result.failures + result.errors]
    assert not wrong, "\n".join(wrong)
    assert result.testsRun == len(tests) - len(left_out)
