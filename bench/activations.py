"""The largest error of sigmoid and tanh over all 2^32 floats, per instruction set: prints a table.

    python bench/activations.py [--stride N]      (N > 1 takes every N-th float; all take some minutes)
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reference import sigmoid, ulp_error

from fastlstm import _core

FUNCTIONS = {"sigmoid": sigmoid, "tanh": np.tanh}
BLOCK = 1 << 22


def measure(name: str, kernels: list[tuple[int, str]], stride: int) -> dict[str, tuple[float, float, int]]:
    """Per kernel: the largest error in ulp, the float where it stands, NaNs that were not kept."""
    number = _core.activation_names().index(name)
    worst = {isa: (0.0, 0.0, 0) for _, isa in kernels}
    for start in range(0, 1 << 32, BLOCK * stride):
        bits = np.arange(start, min(start + BLOCK * stride, 1 << 32), stride, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            exact = FUNCTIONS[name](x.astype(np.float64))
        nan = np.isnan(x)
        for index, isa in kernels:
            y = np.empty_like(x)
            _core.activate(number, index, x, y)
            error = np.where(nan, 0.0, ulp_error(y, np.where(nan, 1.0, exact)))
            error[np.isnan(y) & ~nan] = np.inf
            at = int(np.argmax(error))
            most, where, lost = worst[isa]
            lost += int(np.count_nonzero(nan & ~np.isnan(y)))
            worst[isa] = (float(error[at]), float(x[at]), lost) if error[at] > most else (most, where, lost)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=1)
    stride = parser.parse_args().stride
    kernels = [(i, name) for i, (name, runs, _) in enumerate(_core.kernels()) if runs]
    print(f"{-(-(1 << 32) // stride):,} float32 inputs of each function")
    print(f"{'function':9} {'isa':11} {'max ulp':>8}  {'at x =':>15}  NaN lost")
    for name in FUNCTIONS:
        for isa, (most, where, lost) in measure(name, kernels, stride).items():
            print(f"{name:9} {isa:11} {most:8.3f}  {where:15.8g}  {lost}", flush=True)


if __name__ == "__main__":
    main()
