"""Drawn LSTMs of other systems beside those systems themselves; as a script it prints how many and how far apart.

    python tests/systems.py [cases per system]

Differences are relative to max(1, |value|), in float32: ours and the system's own from float64, which TensorFlow and
PyTorch compute themselves and for ONNX NumPy does. A system that is not installed is left out.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

SEED = 20261122
Triple = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]  # ours, the system's, float64


def tensorflow_1(count: int) -> Iterator[Triple]:
    """Cells of all options and stacks of them, through every function that runs them."""
    import tf1_oracle as oracle

    from fastlstm import tf1

    rng = np.random.default_rng(SEED)
    for first in range(0, count, 20):
        cases = [oracle.drawn_case(rng) for _ in range(min(20, count - first))]
        (exact, _), (plain, _) = (oracle.theirs(cases, dtype) for dtype in ("float64", "float32"))
        for case, e, p in zip(cases, exact, plain, strict=True):
            cells = oracle.ours(case, dtype="float32")
            found = oracle.called(case, cells, tf1, np.asarray, tf1.LSTMStateTuple, "float32")
            yield oracle.flat(found), oracle.flat(p), oracle.flat(e)


def pytorch(count: int) -> Iterator[Triple]:
    """Modules of all options, with lengths, packed sequences and states."""
    import torch_cases
    from test_torch import module_of, run

    found = 0
    for number in range(100 * count):
        case = torch_cases.drawn(np.random.default_rng([SEED, number]))
        if case.x.dtype == np.float32 and found < count:
            found += 1
            exact, plain = (list(torch_cases.by_torch(case, dtype)) for dtype in ("float64", "float32"))
            yield list(run(module_of(case), case)), plain, exact


def onnx(count: int) -> Iterator[Triple]:
    """Nodes with every attribute, beside onnxruntime."""
    import onnx_cases as cases

    for case, exact in cases.cases(SEED, count):
        found = list(cases.called(cases.made(case), case))
        yield found, cases.run_onnxruntime(cases.model_of(case), case.inputs), list(exact)


def nudged_onnx(count: int) -> Iterator[float]:
    """How far float64 itself moves where the numbers of the same nodes move by half a float32 rounding."""
    import onnx_cases as cases

    rng = np.random.default_rng(SEED)
    for case, exact in cases.cases(SEED, count):
        inputs = {
            name: a.astype(np.float64) * (1 + 2.0**-24 * rng.uniform(-1, 1, a.shape)) if a.dtype == np.float32 else a
            for name, a in case.inputs.items()
        }
        with contextlib.suppress(cases.NearJump):  # the draw, too, leaves out what is at a jump
            yield apart(list(cases.operator(case.attributes, inputs)), list(exact))


SYSTEMS = {"tensorflow": tensorflow_1, "torch": pytorch, "onnxruntime": onnx}


def apart(found: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """The largest difference."""
    pairs = [(np.asarray(f, np.float64), np.asarray(e, np.float64)) for f, e in zip(found, exact, strict=True)]
    return max(float((np.abs(f - e) / np.maximum(1, np.abs(e))).max(initial=0)) for f, e in pairs)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    warnings.simplefilter("ignore")
    print(f"{'':>22} {'':>6} {'ours from float64':>24} {'its own from float64':>24}")
    print(f"{'system':>22} {'cases':>6}" + f" {'median':>8}{'99 %':>8}{'worst':>8}" * 2)
    for name, drawn in SYSTEMS.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name:>22} is not installed")
            continue
        pairs = np.array([(apart(ours, exact), apart(theirs, exact)) for ours, theirs, exact in drawn(count)])
        print(f"{f'{name} {version}':>22} {len(pairs):6}{_columns(pairs[:, 0])}{_columns(pairs[:, 1])}", flush=True)
        if drawn is onnx:
            moved = list(nudged_onnx(count))
            print(f"{'ONNX, inputs nudged':>22} {len(moved):6} {'(float64 from float64)':>24}{_columns(moved)}")


def _columns(differences: Any) -> str:
    return " " + "".join(f"{value:8.1e}" for value in np.percentile(differences, [50, 99, 100]))


if __name__ == "__main__":
    main()
