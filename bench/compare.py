"""fastlstm beside onnxruntime on one thread: checks both against float64, then times them in turns.

    python bench/compare.py [--isa NAME] [--rounds N] [--json FILE] [--shape B,T,I,U ...]

One table: microseconds of a whole call from Python, NumPy in and NumPy out, median over the rounds
(each round lasts some milliseconds and the two take turns within it); `step` is one step of a stream.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from machine import describe, heading
from peers import Fastlstm, Onnxruntime, draw_weights
from reference import lstm

SHAPES = [
    (1, 1, 1, 32), (1, 1, 32, 128), (1, 64, 1, 32), (1, 50, 8, 64), (1, 100, 128, 128), (1, 100, 256, 256),
    (1, 50, 512, 512), (1, 25, 1024, 1024), (1, 25, 2048, 2048), (4, 50, 256, 256), (8, 50, 128, 256),
    (32, 100, 64, 128),
]  # fmt: skip


def time_in_turns(runs: dict[str, Callable[[], Any]], rounds: int, least: float = 0.02) -> dict[str, list[float]]:
    """Microseconds a call for each run, once a round; a run repeats until a round of it lasts long enough."""
    repeats = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, round(least / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1e6)
    return times


def measure(shape: tuple[int, ...], isa: str | None, rounds: int) -> dict[str, Any]:
    """One row: errors against float64 first, then the times."""
    batch, steps, features, units = shape
    rng = np.random.default_rng(units)
    w = draw_weights(rng, features, units)
    x = rng.standard_normal((batch, steps, features)).astype(np.float32)
    ours, peer = Fastlstm(w, isa), Onnxruntime(w)
    runs: dict[str, Callable[[], Any]] = {"fastlstm": ours.prepare(x), "onnxruntime": peer.prepare(x)}
    exact = lstm(x, *w)[0]
    errors = {
        "fastlstm": float(np.abs(runs["fastlstm"]() - exact).max()),
        "onnxruntime": float(np.abs(peer.batch_major(runs["onnxruntime"]()) - exact).max()),
    }
    assert max(errors.values()) < 1e-5, f"{shape}: wrong results {errors}"
    if steps == 1:
        runs["step"] = ours.prepare_step(np.ascontiguousarray(x[:, 0]))
    return {"shape": shape, "errors": errors, "times": time_in_turns(runs, rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shape", action="append", help="B,T,I,U; default: the twelve standard ones")
    arguments = parser.parse_args()
    shapes = [tuple(map(int, s.split(","))) for s in arguments.shape or []] or SHAPES
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    facts = {**describe(), "threads": 1}
    facts["isa"] = arguments.isa or facts["isa"]
    print(heading(facts), "\none thread, pinned to one core; microseconds a call, median\n")
    print(f"{'B,T,I,U':>16} {'fastlstm':>10} {'step':>8} {'onnxruntime':>12} {'ratio':>6}   error: ours, onnxruntime's")
    rows = []
    for shape in shapes:
        row = measure(shape, arguments.isa, arguments.rounds)
        rows.append(row)
        median = {name: float(np.median(times)) for name, times in row["times"].items()}
        row["ratio"] = median["onnxruntime"] / median["fastlstm"]
        step = f"{median['step']:8.2f}" if "step" in median else " " * 8
        print(
            f"{','.join(map(str, shape)):>16} {median['fastlstm']:10.1f} {step} {median['onnxruntime']:12.1f} "
            f"{row['ratio']:6.2f}   {row['errors']['fastlstm']:.1e} {row['errors']['onnxruntime']:.1e}",
            flush=True,
        )
    ratios = [row["ratio"] for row in rows]
    mean = np.exp(np.mean(np.log(ratios)))
    print(f"\nratio onnxruntime / fastlstm: least {min(ratios):.2f}, geometric mean {mean:.2f}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
