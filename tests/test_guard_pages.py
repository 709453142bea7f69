"""Not one byte outside the caller's arrays is touched: each lies flush against a page that faults."""

import ctypes
import functools
import itertools
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass

import clib
import narrow
import numpy as np
import programs
from reference import gru, lstm, rounding_bound, sigmoid, simple_rnn

UNITS = [*range(1, 21), 31, 33, 48, 63, 64, 65, 100]
BATCHES = [*range(1, 9), 13, 49, 60]
BLOCKS = [(110, 200), (130, 200), (130, 250)]  # their states are worked through in several blocks
STEPS = [1, 2, 3, 30]
FEATURES = [*range(1, 10), 17, 600]
# dtype, precision and how often every pair of batch and units
FORMS = [("float32", "float32", 4), ("float64", "float32", 4), *(("float32", name, 1) for name in narrow.ROUNDED)]
WORK = 400_000  # multiply-adds / 4 of a case, or three steps of a few features where that is more
DTYPES = ["float32", "float64"]
SIDES = ["end", "start"]
ROUGHLY = 0.05  # how far results may lie from the oracle's where x and h are rounded: test_precision.py is exact


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATIONS = {"tanh": np.tanh, "sigmoid": sigmoid, "relu6": lambda x: np.clip(x, 0, 6), "softmax": softmax,
               "softsign": lambda x: x / (1 + np.abs(x)), "relu": lambda x: np.maximum(x, 0),
               "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6}
CELLS = [("tanh", "sigmoid")] * 3
CELLS += [("relu6", "sigmoid"), ("softmax", "sigmoid"), ("softsign", "hard_sigmoid"), ("relu", "sigmoid")]
ORACLES = {"lstm": lstm, "gru": gru, "gru_before": functools.partial(gru, reset_after=False), "simple": simple_rnn}


@dataclass
class Case:
    batch: int
    steps: int
    features: int
    units: int
    dtype: str
    cell: tuple[str, str] = ("tanh", "sigmoid")
    layout: str = "tight"  # of x, y and mask
    bias: bool = True
    state: bool = True
    outputs: tuple[str, ...] = ("y", "last", "h", "c")
    in_place: bool = False  # h, c are h0, c0
    mask: bool = True
    backwards: bool = False
    zero_output: bool = False
    kind: str = "lstm"
    precision: str = "float32"
    reproducible: bool = False

    @property
    def rounds_inputs(self):
        """Whether x and h may be rounded as the weights are, which are numbers that their form has."""
        return self.precision == "int8" or (self.precision == "bfloat16" and not self.reproducible)


def draw(r, batch, units, dtype, precision="float32", fused=False):
    sizes = ((r.choice(STEPS), r.choice(FEATURES)) for _ in itertools.count())
    most = max(WORK, 3 * batch * units * (units + 9))
    steps, features = next((t, i) for t, i in sizes if batch * t * units * (units + i) <= most)
    state, kind = r.random() < 0.6, r.choice(["lstm", *clib.CELLS])
    possible = ("y", "last", "h", "c")[: 4 if kind == "lstm" else 3]
    return Case(
        batch, steps, features, units, dtype, r.choice(CELLS),
        r.choice(["tight", "tight", "gaps", "time-major", "reversed"]), r.random() < 0.8, state,
        tuple(name for name in possible if r.random() < 0.7), state and r.random() < 0.3,
        r.random() < 0.4, r.random() < 0.3, r.random() < 0.3, kind, precision, fused and r.random() < 0.5,
    )  # fmt: skip


def fill(case, rng):
    """The case's inputs by name."""
    b, t, i, u = case.batch, case.steps, case.features, case.units
    columns = clib.GATES[case.kind] * u
    data = {
        "x": rng.standard_normal((b, t, i)),
        "kernel": rng.uniform(-1, 1, (i, columns)) / np.sqrt(i),
        "recurrent_kernel": rng.uniform(-1, 1, (u, columns)) / np.sqrt(u),
    }
    if case.bias:
        data["bias"] = rng.uniform(-1, 1, (2, columns) if case.kind == "gru" else columns)
    if case.state:
        data["h0"] = rng.standard_normal((b, u))
    if case.state and case.kind == "lstm":
        data["c0"] = rng.standard_normal((b, u))
    data = {name: values.astype(case.dtype) for name, values in data.items()}
    for name in ("kernel", "recurrent_kernel"):
        data[name] = narrow.rounded(data[name], case.precision)
    if case.mask:
        data["mask"] = (rng.random((b, t)) < 0.6).astype(np.uint8)
    return data


def oracle(case, data, dtype):
    states = ("h0", "c0") if case.kind == "lstm" else ("h0",)
    arguments = {name: data.get(name) for name in ("x", "kernel", "recurrent_kernel", "bias", *states, "mask")}
    for name in ("x", "mask"):
        if case.backwards and name in data:
            arguments[name] = data[name][:, ::-1]
    activations = [ACTIVATIONS[name] for name in case.cell[: 1 if case.kind == "simple" else 2]]
    return ORACLES[case.kind](*arguments.values(), case.zero_output, *activations, dtype=dtype)


# ---- memory that faults ---------------------------------------------------------------------------


class Pen:
    """Pages between two that may not be touched."""

    def __init__(self, size=8 << 20):
        whole = np.frombuffer(mmap.mmap(-1, size + 2 * mmap.PAGESIZE), np.uint8)
        self.inside = whole[mmap.PAGESIZE : -mmap.PAGESIZE]
        for edge in (whole, whole[-mmap.PAGESIZE :]):
            at, length = ctypes.c_void_p(edge.ctypes.data), ctypes.c_size_t(mmap.PAGESIZE)
            assert ctypes.CDLL(None).mprotect(at, length, 0) == 0

    def place(self, count, dtype, side, alignment=1):
        """``count`` elements as close to that side's page as the alignment permits, all bytes 0xff."""
        size = count * np.dtype(dtype).itemsize
        first = 0 if side == "start" else (self.inside.size - size) // alignment * alignment
        array = self.inside[first : first + size]
        array[:] = 0xFF  # a NaN
        return array.view(dtype)


pen = functools.cache(lambda name: Pen())


class Scene:
    """The arrays of a case, each in a pen of its own; ``at`` holds their addresses."""

    def __init__(self, case, side, data):
        self.case, self.side, self.flat, self.view, self.at = case, side, {}, {}, {}
        for name, values in data.items():
            self.add(name, values.shape, values.dtype)[...] = values
        for name in case.outputs:
            if case.in_place and name in "hc":
                for known in (self.flat, self.view, self.at):
                    known[name] = known[name + "0"]
            else:
                steps = (case.steps,) * (name == "y")
                self.add(name, (case.batch, *steps, case.units), case.dtype)
        self.before = {name: flat.copy() for name, flat in self.flat.items()}

    def add(self, name, shape, dtype, alignment=1):
        """Place an array; x, y and mask in the case's layout, whose gaps are nobody's."""
        layout, strides = self.case.layout, [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
        if name in ("x", "y", "mask") and layout in ("gaps", "time-major"):
            batch, steps, width = (*shape, 1)[:3]
            apart = (width, batch * width) if layout == "time-major" else (steps * (width + 3) + 5, width + 3)
            strides[:2] = apart
        extent = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        flat = pen(name).place(extent, dtype, self.side, alignment)
        view = np.lib.stride_tricks.as_strided(flat, shape, [s * flat.itemsize for s in strides])
        if name in ("x", "y") and layout == "reversed":
            view = view[::-1, ::-1]
        self.flat[name], self.view[name], self.at[name] = flat, view, view.ctypes.data
        return view

    def strides(self, name):
        view = self.view.get(name)
        return (0, 0) if view is None else tuple(s // view.itemsize for s in view.strides[:2])

    def perform(self, library, isa, how, misplaced=None):
        """Create the plan, then run or stream. As a control, ``misplaced`` reaches over its page."""
        case, towards = self.case, 1 if self.side == "end" else -1
        if misplaced in self.at:
            self.at[misplaced] += towards * self.flat[misplaced].itemsize
        activations = map(clib.listing(library.flstm_activation_name).index, case.cell)
        config = clib.Config(case.dtype == "float64", case.features, case.units, *activations, isa.encode(),
                             reproducible=case.reproducible, cell=clib.CELLS.index(case.kind),
                             precision=clib.PRECISIONS.index(case.precision))  # fmt: skip
        weights = (self.at.get(name) for name in ("kernel", "recurrent_kernel", "bias"))
        status, plan = clib.create_plan(library, config, *weights)
        assert status == clib.OK
        if how == "run":
            size = library.flstm_workspace_size(plan, case.batch, case.steps)
        else:
            size = library.flstm_stream_size(plan, case.batch)
        self.add("memory", (size,), np.uint8, 64)
        if misplaced == "memory":
            self.at["memory"] += towards * (size - 64)
        (self.run if how == "run" else self.stream)(library, plan)
        library.flstm_plan_destroy(plan)

    def run(self, library, plan):
        case = self.case
        strides = {f"{name}_{axis}": n for name in ("x", "y", "mask")
                   for axis, n in zip(("batch", "step"), self.strides(name), strict=True)}  # fmt: skip
        arrays = {name: self.at.get(name) for name in ("x", "h0", "c0", "h", "c", "y", "last", "mask")}
        call = clib.Call(case.batch, case.steps, **arrays, **strides, go_backwards=case.backwards,
                         zero_output_for_mask=case.zero_output)  # fmt: skip
        assert library.flstm_run(plan, call, self.at["memory"]) == clib.OK

    def stream(self, library, plan):
        """The same steps in two blocks."""
        case, stream, at, element = self.case, self.at["memory"], self.at, np.dtype(self.case.dtype).itemsize
        arrays = [(at.get(name), self.strides(name)) for name in "xy"]
        library.flstm_stream_set(plan, stream, case.batch, at.get("h0"), at.get("c0"))
        for steps in (case.steps // 2, case.steps - case.steps // 2):
            x, y = ((address, *strides) for address, strides in arrays)
            assert library.flstm_stream_run(plan, stream, case.batch, steps, *x, *y, 1) == clib.OK
            arrays = [(a and a + steps * strides[1] * element, strides) for a, strides in arrays]
        library.flstm_stream_get(plan, stream, case.batch, at.get("h"), at.get("c"))

    def check(self, exact, plain):
        """Outputs equal the oracle's, every other byte is as before; returns the outputs."""
        found = {name: self.view[name].copy() for name in self.case.outputs}
        for name, e, p in zip(("y", "last", "h", "c"), exact, plain, strict=False):  # only an LSTM has c
            if name in found:
                bound = ROUGHLY * np.maximum(1, np.abs(e)) if self.case.rounds_inputs else rounding_bound(
                    e, p, self.case.steps)  # fmt: skip
                assert (np.abs(found[name] - e) <= bound).all(), name
                self.view[name][...] = np.frombuffer(b"\xff" * 8, self.case.dtype)[0]
        for name, before in self.before.items():
            if not (self.case.in_place and name in ("h", "c", "h0", "c0")):
                assert self.flat[name].tobytes() == before.tobytes(), f"{name}: written where it may not be"
        return {name: values.tobytes() for name, values in found.items()}


# ---- what the child process does ------------------------------------------------------------------


def sweep_calls(library, isa):
    """Every pair of batch and units; a case is printed before it runs."""
    r, rng = random.Random(1), np.random.default_rng(1)
    pairs = [*itertools.product(BATCHES, UNITS), *BLOCKS]
    forms = [(dtype, precision) for dtype, precision, rounds in FORMS for _ in range(rounds)]
    fused = library.flstm_kernel_fused(clib.listing(library.flstm_kernel_name).index(isa))
    for (batch, units), (dtype, precision) in itertools.product(pairs, forms):
        case = draw(r, batch, units, dtype, precision, fused)
        data = fill(case, rng)
        exact = oracle(case, data, np.float64)
        plain = exact if dtype == "float64" else oracle(case, data, np.float32)
        for how in ("run", "stream"):
            if how == "stream":
                if case.mask or case.backwards:
                    continue
                case.outputs = tuple(name for name in case.outputs if name != "last")
            results = []
            for side in SIDES:
                print(how, side, case, flush=True)
                scene = Scene(case, side, data)
                scene.perform(library, isa, how)
                results.append(scene.check(exact, plain))
            assert results[0] == results[1], "the place of the arrays changed a bit"


def in_pens(side):
    return lambda name, count, dtype, alignment: pen(name).place(count, dtype, side, alignment)


def sweep_programs(library, isa):
    """Programs of one layer or several, whose work threads share; the workspace is of the size that was asked for."""
    r, rng = random.Random(2), np.random.default_rng(2)
    for _ in range(60 if isa == "scalar_fma" else 150):
        program = programs.draw(r)
        data = programs.fill(program, rng)
        wanted = programs.one_by_one(library, isa, program, data)
        for threads, side in itertools.product((1, 2, r.randint(3, 9)), SIDES):
            print(threads, side, program, flush=True)
            found = programs.Prepared(library, isa, program, data, threads, in_pens(side)).run()
            programs.assert_same_bits(found, wanted, f"{threads} threads: {program}")
    for side in SIDES * 20:
        program, threads = programs.draw_stream(r), r.randint(1, 9)
        prepared = programs.Prepared(library, isa, program, programs.fill(program, rng))
        (wanted,) = prepared.run()
        print(threads, side, program, flush=True)
        found = programs.streamed(r, library, prepared, wanted, threads, in_pens(side))
        programs.assert_same_bits([found], [{name: wanted[name] for name in found}], f"{threads} threads: {program}")


# rows, units, layers, directions
SHARED = [
    programs.Program("float32", 30, 9, 3, (programs.Layer(5, mask=True),)),
    programs.Program("float32", 1, 9, 3, (programs.Layer(40, mask=True),)),
    programs.Program("float32", 1, 40, 3, (programs.Layer(5, mask=True),) * 3, True),
    programs.Program("float32", 2, 9, 9, (programs.Layer(5, mask=True),) * 2),
]


def control_programs(library, isa):
    """A workspace that lies mostly beyond its page must fault, whatever is shared, or the sweep would prove nothing."""
    for program, side in itertools.product(SHARED, SIDES):
        data = programs.fill(program, np.random.default_rng(1))
        prepared = programs.Prepared(library, isa, program, data, 2, in_pens(side))
        print(side, program, flush=True)
        child = os.fork()
        if child == 0:
            prepared.run((prepared.workspace.size - 64) * (1 if side == "end" else -1))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV


def sweep_activations(library, isa):
    kernel, rng = clib.listing(library.flstm_kernel_name).index(isa), np.random.default_rng(1)
    names = clib.listing(library.flstm_activation_name)
    for name, dtype, n, side in itertools.product(names, DTYPES, [*range(20), 33], SIDES):
        rows, number = 1 + n % 3, names.index(name)
        values, usual = rng.standard_normal((2, rows * n)).astype(dtype)
        code = DTYPES.index(dtype)
        library.flstm_activate(code, number, kernel, rows, n, values.ctypes.data, usual.ctypes.data)
        for in_place in (False, True):
            print(name, dtype, rows, n, side, in_place, flush=True)
            x, y = (pen(p).place(rows * n, dtype, side) for p in "xy")
            x[:] = values
            y = x if in_place else y
            status = library.flstm_activate(code, number, kernel, rows, n, x.ctypes.data, y.ctypes.data)
            assert status == clib.OK and y.tobytes() == usual.tobytes()
            assert in_place or x.tobytes() == values.tobytes()


def control(library, isa):
    """Each array moved over its page by one element must fault, or the sweep would prove nothing."""
    forms = [*((kind, "float32") for kind in clib.CELLS), *(("lstm", name) for name in narrow.ROUNDED)]
    for how, side, (kind, precision) in itertools.product(("run", "stream"), SIDES, forms):
        outputs = ("y", "last", "h", "c")[: 4 if kind == "lstm" else 3]
        case = Case(3, 4, 5, 19, "float32", mask=how == "run", outputs=outputs, kind=kind, precision=precision)
        data = fill(case, np.random.default_rng(1))
        if case.mask:
            data["mask"][0, 0] = data["mask"][-1, -1] = 1  # the steps at the edges are run
        for name in [*data, *case.outputs[how == "stream" :], "memory"]:
            if how == "stream" and name == "last":
                continue
            child = os.fork()
            if child == 0:
                Scene(case, side, data).perform(library, isa, how, misplaced=name)
                os._exit(0)
            print(how, side, name, flush=True)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV


# ---- the tests ------------------------------------------------------------------------------------


def in_a_process(what, isa, library=clib.build, script=__file__):
    """Run one of the above apart; its last line names the case in which it died."""
    command = [sys.executable, script, what.__name__, library(), isa]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{isa} ended with {done.returncode} in {lines[-1:]}\n{done.stderr}"
    return len(lines)


def test_every_array_of_a_call_may_border_on_nothing(isa):
    assert in_a_process(sweep_calls, isa) > 8000


def test_every_array_and_the_workspace_of_a_program_may_border_on_nothing(isa):
    assert in_a_process(sweep_programs, isa, clib.plenty) >= 400


def test_guards_catch_what_threads_do_outside_the_workspace(isa):
    assert in_a_process(control_programs, isa, clib.plenty) == 2 * len(SHARED)


def test_activations_keep_to_their_arrays(isa):
    assert in_a_process(sweep_activations, isa) > 4000


def test_guards_catch_one_element_too_many(isa):
    assert in_a_process(control, isa) == 270


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    globals()[sys.argv[1]](clib.load(sys.argv[2]), sys.argv[3])
