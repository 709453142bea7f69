"""The C library built alone, with one compiler call, and its public API through ctypes."""

import atexit
import ctypes
import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_ssize_t, c_void_p
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[1] / "csrc"
SOURCES = sorted(CSRC.glob("*.c"))
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]

OK, ARGUMENT, SIZE, MEMORY, ISA, INTERRUPTED, RANGE = range(7)
F32, F64 = range(2)
CELLS = ["lstm", "gru", "gru_before", "simple"]  # as fastlstm.h numbers them
GATES = {"lstm": 4, "gru": 3, "gru_before": 3, "simple": 1}
PRECISIONS = ["float32", "bfloat16", "float16", "int8"]  # likewise; the first is the dtype's own
POLL = ctypes.CFUNCTYPE(c_int, c_void_p)


class Config(ctypes.Structure):
    _fields_ = [
        ("dtype", c_int), ("features", c_size_t), ("units", c_size_t), ("activation", c_int),
        ("recurrent_activation", c_int), ("isa", c_char_p), ("reproducible", c_int), ("cell", c_int),
        ("precision", c_int), ("variant", c_void_p),
    ]  # fmt: skip


class Function(ctypes.Structure):
    _fields_ = [("activation", c_int), ("alpha", ctypes.c_double), ("beta", ctypes.c_double)]


class Variant(ctypes.Structure):
    _fields_ = [
        ("gate", Function), ("candidate", Function), ("output", Function), ("coupling", c_int), ("outputs", c_size_t),
        ("projection", c_void_p), ("projection_bias", c_void_p), ("peepholes", c_void_p), ("norm", c_void_p),
        ("state_norm", c_void_p), ("norm_epsilon", ctypes.c_double), ("input_clip", ctypes.c_double),
        ("cell_clip", ctypes.c_double), ("projection_clip", ctypes.c_double),
    ]  # fmt: skip


PLAIN_VARIANT = {"gate": (1, 0, 0), "candidate": (0, 0, 0), "output": (0, 0, 0)}  # sigmoid, tanh, tanh


class Call(ctypes.Structure):
    _fields_ = [
        ("batch", c_size_t), ("steps", c_size_t),
        ("x", c_void_p), ("x_batch", c_ssize_t), ("x_step", c_ssize_t),
        ("h0", c_void_p), ("c0", c_void_p), ("h", c_void_p), ("c", c_void_p),
        ("y", c_void_p), ("y_batch", c_ssize_t), ("y_step", c_ssize_t), ("last", c_void_p),
        ("mask", c_void_p), ("mask_batch", c_ssize_t), ("mask_step", c_ssize_t),
        ("go_backwards", c_int), ("zero_output_for_mask", c_int),
        ("trace", c_void_p), ("trace_batch", c_ssize_t), ("trace_step", c_ssize_t),
        ("poll", POLL), ("poll_arg", c_void_p),
    ]  # fmt: skip


class Program(ctypes.Structure):
    _fields_ = [
        ("layers", c_size_t), ("plans", POINTER(c_void_p)), ("calls", POINTER(Call)), ("stacked", c_int),
        ("threads", c_size_t), ("wide", c_int),
    ]  # fmt: skip


STRIDED = [c_void_p, c_ssize_t, c_ssize_t]
SIGNATURES = {
    "flstm_kernel_name": (c_char_p, [c_size_t]),
    "flstm_kernel_runs": (c_int, [c_size_t]),
    "flstm_kernel_fused": (c_int, [c_size_t]),
    "flstm_curve": (c_char_p, [c_int, POINTER(ctypes.c_double), POINTER(ctypes.c_double)]),
    "flstm_plan_create": (c_int, [POINTER(c_void_p), POINTER(Config), c_void_p, c_void_p, c_void_p]),
    "flstm_plan_destroy": (None, [c_void_p]),
    "flstm_plan_widen": (c_int, [c_void_p, c_size_t]),
    "flstm_plan_isa": (c_char_p, [c_void_p]),
    "flstm_plan_bytes": (c_size_t, [c_void_p]),
    "flstm_dense_create": (c_int, [POINTER(c_void_p), POINTER(Config), c_void_p, c_void_p]),
    "flstm_workspace_size": (c_size_t, [c_void_p, c_size_t, c_size_t]),
    "flstm_run": (c_int, [c_void_p, POINTER(Call), c_void_p]),
    "flstm_stream_size": (c_size_t, [c_void_p, c_size_t]),
    "flstm_stream_set": (None, [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p]),
    "flstm_stream_get": (None, [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p]),
    "flstm_stream_run": (c_int, [c_void_p, c_void_p, c_size_t, c_size_t, *STRIDED, *STRIDED, c_size_t]),
    "flstm_program_workspace_size": (c_size_t, [POINTER(Program)]),
    "flstm_program_run": (c_int, [POINTER(Program), c_void_p]),
    "flstm_threads_end": (None, []),
    "flstm_activation_name": (c_char_p, [c_int]),
    "flstm_activate": (c_int, [c_int, c_int, c_size_t, c_size_t, c_size_t, c_void_p, c_void_p]),
}


@functools.cache
def scratch():
    """A directory that lives as long as this process."""
    path = tempfile.mkdtemp(prefix="fastlstm-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def cc(*arguments):
    """Run the C compiler, return what it prints; what it says on failure becomes the error."""
    command = [*shlex.split(os.environ.get("CC", "cc")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    return done.stdout


def compile_text(text, name, *flags):
    """Build ``name`` from C source text that may include fastlstm.h."""
    source, target = scratch() / f"{name}.c", scratch() / name
    source.write_text(text)
    cc("-std=c11", *WARNINGS, f"-I{CSRC}", source, *flags, "-o", target)
    return target


def runtime(name):
    """The path of a sanitizer's runtime library."""
    path = cc(f"-print-file-name={name}").strip()
    if not os.path.isabs(path):
        pytest.skip(f"the C compiler has no {name}: install gcc's sanitizer runtime")
    return path


@functools.cache
def build():
    """The shared library's path."""
    return shared(scratch() / "libfastlstm.so", *FLAGS, *SOURCES)


def compiled(sources, prefix, *flags, run=cc):
    """Object files, made as many at a time as there are processors."""
    objects = [prefix.with_name(f"{prefix.name}-{source.stem}.o") for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda a, o: run(*WARNINGS, "-fPIC", *flags, "-c", a, "-o", o), sources, objects))
    return objects


def shared(target, *arguments):
    """Build a shared library."""
    sources = [a for a in arguments if Path(a).suffix == ".c"]
    rest = [a for a in arguments if a not in sources]
    flags = [a for a in rest if Path(a).suffix != ".o" and not str(a).startswith("-Wl,")]
    cc("-shared", *compiled(sources, target.with_suffix(""), *flags), *rest, "-lm", "-pthread", "-o", target)
    return target


@functools.cache
def plenty(*flags):
    """The library on a machine of plenty.c, with every size at which it changes its ways made small; its
    headers lie beside it.

    No bit of a result depends on either; but small programs go every way that large ones would.
    """
    where = scratch() / re.sub(r"\W+", "-", " ".join(["plenty", *flags]))
    shutil.copytree(CSRC, where)
    for path in where.iterdir():
        path.write_text(with_small_sizes(path.name, path.read_text()))
    wrapped = "-Wl,--wrap=flstm_together,--wrap=clock_gettime,--wrap=sched_getaffinity"
    sources = [*sorted(where.glob("*.c")), Path(__file__).with_name("plenty.c")]
    return shared(where / "libfastlstm.so", *FLAGS, "-O1", *flags, f"-I{where}", *sources, wrapped)


@functools.cache
def with_tiles():
    """The library with AMX in plain C (tiles_emulated.h) for processors that have the rest of what it needs."""
    where, tests = scratch() / "tiles", Path(__file__).parent
    where.mkdir()
    tiled = [s for s in SOURCES if s.name.startswith("kernel_amx")]
    objects = compiled(tiled, where / "tiled", *FLAGS, "-include", tests / "tiles_emulated.h")
    sources = [s for s in SOURCES if s not in tiled]
    believing = ["-O1", f"-I{CSRC}", tests / "tiles_emulated.c", "-Wl,--wrap=flstm_cpu_features"]
    return shared(where / "libfastlstm.so", *FLAGS, *sources, *objects, *believing)


SMALL = {
    "schedule.c": {"SHARED_TIME": 1, "MEETING_WORK": 1, "OWN_BYTES": 20000, "WAVE_STEPS": 5, "LEAST_WAVE": 2},
    "work.c": {"CHUNK_BYTES": 2000, "CHUNK_STEPS": 3, "STATE_BYTES": 900, "LEAST_ROWS": 20, "PANEL_BYTES": 9000,
               "CHUNK_ROWS": 40},
    "steps.c": {"SOME_BYTES": 9000},
}


def with_small_sizes(name, text):
    for size, value in SMALL.get(name, {}).items():
        text, count = re.subn(rf"\b{size} = [\w *<]+", f"{size} = {value} ", text)
        assert count == 1, f"{name} has no {size} any more: plenty() needs the sizes at which csrc changes its ways"
    # threads that wait make room for each other: there may be more of them than processors
    return text.replace("__builtin_ia32_pause()", "flstm_yield()") if name == "pool.h" else text


def link(library=None):
    """Arguments that link a program with a shared library."""
    library = library or build()
    return [library, f"-Wl,-rpath,{library.parent}"]


def load(path):
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def listing(name_of):
    """The names that ``flstm_kernel_name`` or ``flstm_activation_name`` gives up to its NULL."""
    names = []
    while (name := name_of(len(names))) is not None:
        names.append(name.decode())
    return names


def create_plan(library, config, kernel, recurrent_kernel, bias):
    """(status, plan); weights are arrays, addresses or None."""
    plan = c_void_p(0xBAD)  # so that an error that leaves it alone shows
    weights = (getattr(a, "ctypes", a) for a in (kernel, recurrent_kernel, bias))
    addresses = (getattr(a, "data", a) for a in weights)
    return library.flstm_plan_create(byref(plan), byref(config), *addresses), plan
