"""The tests of the kernels pass in a build that reports every bad access and every undefined operation."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clib
import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ["csrc", "fastlstm", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE"]
TESTS = [
    "test_kernels.py", "test_precision.py", "test_activations.py", "test_stream.py", "test_dense.py",
    "test_variants.py",
]  # fmt: skip
# without what needs Keras, what only takes long, and the kernel whose source is scalar's
CHOSEN = "not keras and not live_functions and not 1000_steps and not scalar_fma"

# the binding trusts its caller with the sizes: y is one step short
OVERFLOW = """
import numpy as np
from fastlstm import _core
f = np.float32
plan = _core.Plan(np.zeros((2, 64), f), np.zeros((16, 64), f), None, 0, 1, {isa!r}, False)
none = (None,) * 4
_core.run_layer((plan, np.zeros((1, 40, 2), f), None, None, np.empty((1, 39, 16), f), *none, False, False))
"""
UNDEFINED = "int add(int, int); int add(int a, int b) { return a + b; }"
CALL_UNDEFINED = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).add(2**31 - 1, 1)"


@pytest.fixture(scope="module")
def environment():
    """Variables under which Python can load a sanitized module, whose allocations must be the sanitizer's."""
    return {
        **os.environ,
        "LD_PRELOAD": clib.runtime("libasan.so"),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own, at exit
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
        "OPENBLAS_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def sanitized(environment, tmp_path_factory):
    """A copy of the sources with the extension built in place by setup.py's own switch."""
    copy = tmp_path_factory.mktemp("sanitized")
    unwanted = shutil.ignore_patterns("*.so", "__pycache__")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
        else:
            shutil.copy2(ROOT / name, copy / name)
    command, switch = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], {"FASTLSTM_SANITIZE": "1"}
    built = subprocess.run(command, cwd=copy, env={**os.environ, **switch}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return copy


def run(sanitized, environment, *arguments):
    """(exit status, all output) of Python in the copy, whose package comes before the installed one."""
    environment = {**environment, "PYTHONPATH": str(sanitized)}
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=sanitized, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    return done.returncode, done.stdout


def test_the_sanitized_build_is_what_runs(sanitized, environment):
    script = "from fastlstm import _core; print(_core.__file__, _core.build_info()[1])"
    status, output = run(sanitized, environment, "-c", script)
    assert status == 0 and str(sanitized) in output and "-fsanitize=address,undefined" in output, output


def test_kernels_activations_and_streams_are_clean(sanitized, environment):
    """A process for each file, as many at a time as there are processors."""
    options = ("-q", "-p", "no:cacheprovider", "-k", CHOSEN)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(run, sanitized, environment, "-m", "pytest", *options, f"tests/{name}") for name in TESTS]
    for status, output in (done.result() for done in runs):
        assert status == 0, output
        assert "AddressSanitizer" not in output and "runtime error" not in output, output


def test_an_overflow_in_a_kernel_is_caught(sanitized, environment, isa):
    status, output = run(sanitized, environment, "-c", OVERFLOW.format(isa=isa))
    assert status != 0 and "AddressSanitizer: heap-buffer-overflow" in output, output


def test_an_undefined_operation_is_caught(sanitized, environment):
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-shared", "-fPIC")
    library = clib.compile_text(UNDEFINED, "undefined.so", *flags)
    status, output = run(sanitized, environment, "-c", CALL_UNDEFINED, library)
    assert status != 0 and "runtime error: signed integer overflow" in output, output
