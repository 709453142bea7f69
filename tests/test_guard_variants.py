"""Not one byte outside the caller's arrays is touched by an LSTM's variants and traces: each lies against a page."""

import ctypes
import itertools
import os
import random
import resource
import signal
import sys

import clib
import numpy as np
from test_guard_pages import SIDES, in_a_process, pen

SIZES = {"batch": [1, 2, 3, 6, 7, 13, 60], "steps": [1, 2, 3, 17], "features": [1, 3, 9, 40], "units": range(1, 70)}


def draw(r, curves):
    """A case: sizes, what the variant has, and which arrays the call has."""
    case = {name: r.choice(list(sizes)) for name, sizes in SIZES.items()}
    has = {name for name in ("projection", "projection_bias", "peepholes", "norm", "state_norm") if r.random() < 0.5}
    if "projection" not in has:
        has -= {"projection_bias"}
    outputs = r.randint(1, 90) if "projection" in has else case["units"]
    functions = [(r.choice([0, 1, 3, 26, *curves]), 0.5, 0.25) for _ in range(3)]
    functions = [(1, 0, 0), (0, 0, 0), (0, 0, 0)] if r.random() < 0.5 else functions  # which the kernels have
    arrays = {name for name in ("bias", "h0", "c0", "y", "last", "h", "c", "mask", "trace") if r.random() < 0.7}
    return {**case, "dtype": r.choice(["float32", "float64"]), "has": has, "outputs": outputs, "functions": functions,
            "coupling": r.randrange(3), "arrays": arrays, "clips": [r.choice([0, 0.5]) for _ in range(3)],
            "backwards": r.random() < 0.3, "precision": r.choice([0, 0, 0, 1, 2, 3])}  # fmt: skip


def shapes_of(case):
    b, t, i, u, p = (case[name] for name in ("batch", "steps", "features", "units", "outputs"))
    gates = (3 if case["coupling"] else 4) * u
    return {
        "x": (b, t, i), "kernel": (i, gates), "recurrent_kernel": (p, gates), "bias": (gates,), "h0": (b, p),
        "c0": (b, u), "y": (b, t, p), "last": (b, p), "h": (b, p), "c": (b, u), "mask": (b, t), "trace": (b, t, 5 * u),
        "projection": (u, p), "projection_bias": (p,), "peepholes": (3, u), "norm": (gates,), "state_norm": (2, u),
    }  # fmt: skip


def run(library, isa, case, side, misplaced=None):
    """The outputs' bytes, from a whole call and then from a stream of two blocks."""
    rng, at, arrays = np.random.default_rng(3), {}, {}
    always = {"x", "kernel", "recurrent_kernel"}
    for name, shape in shapes_of(case).items():
        if name in always | case["has"] | case["arrays"]:
            dtype = np.uint8 if name == "mask" else case["dtype"]
            arrays[name] = pen(name).place(int(np.prod(shape)), dtype, side)
            if name not in ("y", "last", "h", "c", "trace"):
                values = rng.uniform(-0.5, 0.5, shape).astype(np.float32)  # the same numbers in either dtype
                arrays[name][:] = (values > -0.2 if name == "mask" else values).ravel()
            at[name] = arrays[name].ctypes.data
    if misplaced:
        at[misplaced] += (1 if side == "end" else -1) * arrays[misplaced].itemsize
    functions = dict(zip(("gate", "candidate", "output"), case["functions"], strict=True))
    clips = dict(zip(("input_clip", "cell_clip", "projection_clip"), case["clips"], strict=True))
    if "projection" not in case["has"]:
        clips["projection_clip"] = 0
    variant = clib.Variant(**functions, **clips, coupling=case["coupling"], outputs=case["outputs"], norm_epsilon=1e-3,
                           **{name: at[name] for name in case["has"]})  # fmt: skip
    config = clib.Config(case["dtype"] == "float64", case["features"], case["units"], 0, 1, isa.encode(),
                         precision=0 if case["dtype"] == "float64" else case["precision"],
                         variant=ctypes.addressof(variant))  # fmt: skip
    status, plan = clib.create_plan(library, config, *(at.get(name) for name in ("kernel", "recurrent_kernel", "bias")))
    assert status == clib.OK and library.flstm_plan_widen(plan, case["batch"]) == clib.OK
    t, i, u, p = (case[name] for name in ("steps", "features", "units", "outputs"))
    given = {name: at.get(name) for name in ("x", "h0", "c0", "h", "c", "y", "last", "mask", "trace")}
    call = clib.Call(case["batch"], t, **given, x_batch=t * i, x_step=i, y_batch=t * p, y_step=p, mask_batch=t,
                     mask_step=1, trace_batch=t * 5 * u, trace_step=5 * u, go_backwards=case["backwards"])  # fmt: skip
    program = clib.Program(1, ctypes.pointer(plan), ctypes.pointer(call), 0, 1, 1)
    memory = pen("memory").place(library.flstm_program_workspace_size(program), np.uint8, side, 64)
    assert library.flstm_program_run(program, memory.ctypes.data) == clib.OK
    outputs = [arrays[name].tobytes() for name in ("y", "last", "h", "c", "trace") if name in arrays]
    if "mask" not in at and not case["backwards"]:
        stream = pen("memory").place(library.flstm_stream_size(plan, case["batch"]), np.uint8, side, 64).ctypes.data
        library.flstm_stream_set(plan, stream, case["batch"], at.get("h0"), at.get("c0"))
        element, y = np.dtype(case["dtype"]).itemsize, at.get("y")
        for first, end in ((0, t // 2), (t // 2, t)):
            parts = (at["x"] + first * i * element, t * i, i, y and y + first * p * element, t * p, p)
            assert library.flstm_stream_run(plan, stream, case["batch"], end - first, *parts, 1) == clib.OK
        library.flstm_stream_get(plan, stream, case["batch"], at.get("h"), at.get("c"))
        outputs += [arrays[name].tobytes() for name in ("y", "h", "c") if name in arrays]
    library.flstm_plan_destroy(plan)
    return outputs


def curves_of(library):
    parameters = ctypes.c_double(), ctypes.c_double()
    return [n for n in range(200) if library.flstm_curve(n, *map(ctypes.byref, parameters))]


def sweep_variants(library, isa):
    r, curves = random.Random(5), curves_of(library)
    for _ in range(600):
        case = draw(r, curves)
        results = []
        for side in SIDES:
            print(side, case, flush=True)
            results.append(run(library, isa, case, side))
        assert results[0] == results[1], "the place of the arrays changed a bit"


def control_variants(library, isa):
    """Each array moved over its page by one element must fault."""
    case = {"batch": 2, "steps": 3, "features": 5, "units": 19, "dtype": "float32", "outputs": 9, "coupling": 0,
            "has": {"projection", "projection_bias", "peepholes", "norm", "state_norm"}, "clips": [0, 0, 0],
            "functions": [(1, 0, 0)] * 3, "backwards": False, "precision": 0,
            "arrays": {"bias", "h0", "c0", "y", "last", "h", "c", "trace"}}  # fmt: skip
    for name, side in itertools.product((n for n in shapes_of(case) if n != "mask"), SIDES):
        print(name, side, flush=True)
        child = os.fork()
        if child == 0:
            run(library, isa, case, side, name)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV


def test_every_array_of_a_variant_may_border_on_nothing(isa):
    assert in_a_process(sweep_variants, isa, script=__file__) == 1200


def test_guards_catch_one_element_too_many(isa):
    assert in_a_process(control_variants, isa, script=__file__) == 32


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    globals()[sys.argv[1]](clib.load(sys.argv[2]), sys.argv[3])
