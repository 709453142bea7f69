"""The caller's floating-point environment (MXCSR) neither changes results nor changes itself."""

import ctypes
import functools
import platform
import subprocess
import sys

import clib
import numpy as np
import pytest

import fastlstm
from fastlstm import _core
from fastlstm.config import kernel_number

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="MXCSR is x86's")

HELPER = """
#include <xmmintrin.h>
unsigned get_csr(void);
void set_csr(unsigned);
unsigned get_csr(void) { return _mm_getcsr(); }
void set_csr(unsigned csr) { _mm_setcsr(csr); }
"""
FORMS = [("float32", "float32"), ("float64", "float32"), *(("float32", name) for name in clib.PRECISIONS[1:])]
USUAL = 0x1F80  # round to nearest, all exceptions masked
CONTROL = 0xFFC0  # the rest are sticky exception flags, which any arithmetic may raise
ENVIRONMENTS = {
    "flush-to-zero": 0x9FC0, "round-down": 0x3F80, "round-up": 0x5F80, "round-to-zero": 0x7F80,
    "flags-raised": 0x1FBF, "traps": 0x1900, "all-but-traps": 0xFFFF,
}  # fmt: skip


@functools.cache
def helper_path():
    return clib.compile_text(HELPER, "mxcsr.so", "-shared", "-fPIC")


@functools.cache
def helper():
    return ctypes.CDLL(str(helper_path()))


def under(csr, call):
    """(what the call returns, MXCSR after it), with ``csr`` before it; the call is bare C."""
    own = helper().get_csr()
    helper().set_csr(csr)
    try:
        result = call()
        return result, helper().get_csr()
    finally:
        helper().set_csr(own)


@pytest.fixture(scope="module")
def library():
    return clib.load(clib.build())


class Layer:
    """A plan over random weights that make denormals and inexact sums, and arrays to run it on."""

    BATCH, STEPS, FEATURES, UNITS = 3, 40, 6, 21

    def __init__(self, library, isa, dtype="float32", activation="tanh", precision="float32", kind="lstm", csr=USUAL):
        b, t, i, u = self.BATCH, self.STEPS, self.FEATURES, self.UNITS
        columns, cell = clib.GATES[kind] * u, clib.CELLS.index(kind)
        rng = np.random.default_rng(5)
        number = clib.listing(library.flstm_activation_name).index(activation)
        config = clib.Config(dtype == "float64", i, u, number, 1, isa.encode(), 0, cell,
                             clib.PRECISIONS.index(precision))  # fmt: skip
        self.weights = [rng.standard_normal(n).astype(dtype) for n in (i * columns, u * columns, 2 * columns)]
        created, after = under(csr, lambda: clib.create_plan(library, config, *self.weights))
        assert (created[0], after) == (clib.OK, csr)
        self.plan = created[1]
        tiny = np.finfo(dtype).tiny
        self.x = rng.standard_normal((b, t, i)).astype(dtype)
        self.x[:, ::7] *= tiny
        self.state = (tiny * rng.standard_normal((2, b, u))).astype(dtype)
        self.y, self.last = np.empty((b, t, u), dtype), np.empty((b, u), dtype)
        self.library, self.memory = library, aligned(library.flstm_workspace_size(self.plan, b, t))
        self.stream = aligned(library.flstm_stream_size(self.plan, b))
        self.x_at = [self.x.ctypes.data, t * i, i]
        self.y_at = [self.y.ctypes.data, t * u, u]
        self.states_at = [s.ctypes.data for s in self.state][: 2 if kind == "lstm" else 1] + [None] * (kind != "lstm")
        self.call = clib.Call(b, t, *self.x_at, *self.states_at, None, None, *self.y_at, self.last.ctypes.data)

    def run(self):
        return self.library.flstm_run(self.plan, self.call, self.memory.ctypes.data)

    def run_stream(self):
        stream = self.stream.ctypes.data
        self.library.flstm_stream_set(self.plan, stream, self.BATCH, *self.states_at)
        arguments = (self.BATCH, self.STEPS, *self.x_at, *self.y_at)
        status = self.library.flstm_stream_run(self.plan, stream, *arguments, 1)
        self.library.flstm_stream_get(self.plan, stream, self.BATCH, self.last.ctypes.data, None)
        return status


def aligned(size):
    memory = np.empty(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :]


@pytest.mark.parametrize("activation", ["tanh", "softplus", "softmax"])
@pytest.mark.parametrize(("dtype", "precision"), FORMS)
@pytest.mark.parametrize("how", ["run", "run_stream"])
def test_results_and_environment_do_not_depend_on_each_other(library, isa, dtype, precision, activation, how):
    layer = Layer(library, isa, dtype, activation, precision)
    status, after = under(USUAL, getattr(layer, how))
    assert (status, after) == (clib.OK, USUAL)
    wanted = layer.y.tobytes(), layer.last.tobytes()
    assert np.isfinite(layer.y).all() and layer.y.any()
    for name, csr in ENVIRONMENTS.items():
        layer.y[:], layer.last[:] = np.nan, np.nan
        assert under(csr, getattr(layer, how)) == (clib.OK, csr), name
        assert (layer.y.tobytes(), layer.last.tobytes()) == wanted, name


def test_environment_is_put_back_after_errors(library, isa):
    layer = Layer(library, isa)
    layer.call.x = None
    for csr in ENVIRONMENTS.values():
        assert under(csr, layer.run) == (clib.ARGUMENT, csr)
        assert under(csr, lambda: library.flstm_stream_run(None, None, 1, 1, *layer.x_at, *layer.y_at, 1)) == (
            clib.ARGUMENT, csr)  # fmt: skip
        config = clib.Config(0, 2**40, 2**40)
        assert under(csr, lambda c=config: clib.create_plan(library, c, 64, 64, 64)[0]) == (clib.SIZE, csr)


def test_poll_runs_in_the_callers_environment(library, isa):
    """A signal handler is the caller's code; and a run that it stops puts the environment back too."""
    layer, seen = Layer(library, isa), []

    def stop(_):
        seen.append(helper().get_csr())
        return len(seen) == 2

    layer.call.poll = clib.POLL(stop)
    layer.call.steps, layer.call.x_step, layer.call.y_step = 20_000, 0, 0  # enough work for three polls
    memory = aligned(library.flstm_workspace_size(layer.plan, layer.BATCH, layer.call.steps))
    layer.memory = memory
    csr = ENVIRONMENTS["round-down"]
    assert under(csr, layer.run) == (clib.INTERRUPTED, csr)
    assert [csr & CONTROL for csr in seen] == [csr & CONTROL] * 2


def test_activations_leave_the_environment(library, isa):
    kernel = clib.listing(library.flstm_kernel_name).index(isa)
    x, y = np.linspace(-9, 9, 77, dtype=np.float32), np.empty(77, np.float32)
    at = x.ctypes.data, y.ctypes.data
    for number in range(len(clib.listing(library.flstm_activation_name))):
        for csr in (USUAL, ENVIRONMENTS["flush-to-zero"], ENVIRONMENTS["round-up"]):
            status, after = under(csr, lambda n=number: library.flstm_activate(0, n, kernel, 1, 77, *at))
            assert status == clib.OK and after & CONTROL == csr & CONTROL


@pytest.mark.parametrize("kind", ["lstm", "gru"])  # a GRU's two biases are added
@pytest.mark.parametrize(("dtype", "precision"), FORMS)
def test_making_a_plan_and_the_environment_do_not_depend_on_each_other(library, isa, dtype, precision, kind):
    found = []
    for csr in (USUAL, *ENVIRONMENTS.values()):
        layer = Layer(library, isa, dtype, "tanh", precision, kind, csr)
        assert layer.run() == clib.OK
        found.append(layer.y.tobytes())
    assert set(found) == {found[0]}


@pytest.mark.parametrize("precision", clib.PRECISIONS[1:])
def test_a_weight_that_is_refused_leaves_the_environment(library, isa, precision):
    config = clib.Config(0, 1, 1, 0, 1, isa.encode(), 0, 0, clib.PRECISIONS.index(precision))
    weights = [np.array([1, 2, np.nan, 1e38], np.float32)] * 3
    for csr in ENVIRONMENTS.values():
        assert under(csr, lambda: clib.create_plan(library, config, *weights)[0]) == (clib.RANGE, csr)


def test_import_leaves_the_environment():
    script = (
        "import ctypes, sys, numpy\n"
        "get = ctypes.CDLL(sys.argv[1]).get_csr\n"
        "before = get()\n"
        "import fastlstm\n"
        "print(before, get())"
    )
    printed = subprocess.check_output([sys.executable, "-P", "-c", script, helper_path()], text=True)
    before, after = map(int, printed.split())
    assert before & CONTROL == after & CONTROL == USUAL & CONTROL


def test_calls_from_python_leave_the_environment(isa, rng):
    layer = fastlstm.LSTM(40, isa=isa, return_sequences=True, return_state=True)
    layer.set_weights([rng.standard_normal(shape) for shape in ((3, 160), (40, 160), (160,))])
    x = rng.standard_normal((5, 200, 3)).astype(np.float32)
    stream, step, out = layer.stream(5), x[:, 0].copy(), np.empty((5, 40), np.float32)
    for csr in (USUAL, ENVIRONMENTS["flush-to-zero"]):
        calls = (lambda: layer(x, mask=x[:, :, 0] > 0), lambda: stream.step(step, out), lambda: stream.run(x))
        for call in calls:
            assert under(csr, call)[1] & CONTROL == csr & CONTROL
        number, kernel = _core.activation_names().index("softplus"), kernel_number(isa)
        assert under(csr, lambda n=number, k=kernel: _core.activate(n, k, step, step))[1] & CONTROL == csr & CONTROL
