"""Fixtures shared by the tests, and the line at the end that says which instruction sets ran."""

import os
import signal
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the oracle's small products thrash a pool; before NumPy loads

import numpy as np
import pytest

from fastlstm import _core

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores Ctrl-C, which we test

KERNELS = [name for name, _, _ in _core.kernels()]
RUNNABLE = [name for name, runs, _ in _core.kernels() if runs]
FUSED = [name for name, runs, fused in _core.kernels() if runs and fused]
SEED = int(os.environ.get("FASTLSTM_SEED", "20261121"))


@pytest.fixture(params=KERNELS)
def isa(request):
    if request.param not in RUNNABLE:
        pytest.skip(f"this processor or operating system cannot run {request.param}")
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def keras():
    """Live Keras on TensorFlow's CPU backend: the oracle of everything that claims to be Keras's."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    assert keras.backend.backend() == "tensorflow"
    return keras


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A model with recurrent layers in every place where one can be, in a file of our own."""
    from precise import everything

    path = tmp_path_factory.mktemp("saved") / "m.npz"
    everything().save(path)
    return path


def pytest_report_header():
    return f"fastlstm: instruction sets built {', '.join(KERNELS)}; seed {SEED} (FASTLSTM_SEED)"


def pytest_terminal_summary(terminalreporter):
    absent = [name for name in KERNELS if name not in RUNNABLE]
    terminalreporter.write_line(
        f"instruction sets that ran: {', '.join(RUNNABLE)}"
        + (f"; absent on this machine: {', '.join(absent)}" if absent else "")
    )
