"""How far float32 results lie from float64 after 1,000 steps: fastlstm, plain NumPy float32, onnxruntime.

    python bench/accuracy.py [--steps N]

Inputs N(0,1), as many features as units; weights initialised as Keras's layer and as PyTorch's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from machine import describe, heading
from peers import Fastlstm, Onnxruntime, Weights, draw_weights
from reference import lstm

from fastlstm import initializers
from fastlstm.config import runnable_isas

UNITS = (20, 64, 128, 300, 512)
LIMIT = 1e-6  # and at most twice plain NumPy's error


def keras_weights(rng: np.random.Generator, features: int, units: int) -> Weights:
    """Glorot uniform, orthogonal, zeros with ones for the forget gate."""
    glorot, orthogonal = (
        initializers.get({"class_name": name, "config": {"seed": int(rng.integers(1 << 30))}}, "weights")
        for name in ("GlorotUniform", "Orthogonal")
    )
    bias = np.repeat(np.array([0, 1, 0, 0], np.float32), units)
    return Weights(glorot((features, 4 * units), "float32"), orthogonal((units, 4 * units), "float32"), bias)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    print(heading(describe()), f"\nmax |h - float64| over {steps} steps, batch 1\n")
    isas = runnable_isas()
    columns = [*isas, "NumPy float32", "onnxruntime"]
    print(f"{'init':8} {'units':>5}  " + " ".join(f"{c:>14}" for c in columns) + "   within 1e-6 and 2x NumPy")
    for init, draw in (("Keras", keras_weights), ("PyTorch", draw_weights)):
        for units in UNITS:
            rng = np.random.default_rng(units)
            w = draw(rng, units, units)
            x = rng.standard_normal((1, steps, units)).astype(np.float32)
            exact = lstm(x, *w)[0]
            errors = [float(np.abs(Fastlstm([[w]], isa).prepare(x)() - exact).max()) for isa in isas]
            plain = float(np.abs(lstm(x, *w, dtype=np.float32)[0] - exact).max())
            peer = Onnxruntime([[w]])
            beside = float(np.abs(peer.batch_major(peer.prepare(x)()) - exact).max())
            held = all(e <= LIMIT and e <= 2 * plain for e in errors)
            row = " ".join(f"{e:14.2e}" for e in (*errors, plain, beside))
            print(f"{init:8} {units:5}  {row}   {'yes' if held else 'NO'}", flush=True)


if __name__ == "__main__":
    main()
