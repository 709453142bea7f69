"""fastlstm beside the peers that are installed, on one thread: checks all against float64, then times in turns.

    python bench/compare.py                          the twelve shapes of the README
    python bench/compare.py --group streaming        shapes.json's streaming, sequence or batch group
    python bench/compare.py --id kws118 --id db256   some of its shapes
    python bench/compare.py --shape 1,50,8,64        B,T,I,U of your own
    options: [--peers onnxruntime,openvino,torch] [--isa NAME] [--rounds N] [--json FILE]

Microseconds of a whole call from Python, NumPy in and NumPy out, median over the rounds (each lasts some
milliseconds and all take turns within it). `step` is one step of a stream, which keeps its state; the peers'
calls on sequences of one step start from zeros and hand no state over, which is less work.
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
from peers import PEERS, Fastlstm, Stack, draw_stack, installed
from reference import lstm

TWELVE = [
    (1, 1, 1, 32), (1, 1, 32, 128), (1, 64, 1, 32), (1, 50, 8, 64), (1, 100, 128, 128), (1, 100, 256, 256),
    (1, 50, 512, 512), (1, 25, 1024, 1024), (1, 25, 2048, 2048), (4, 50, 256, 256), (8, 50, 128, 256),
    (32, 100, 64, 128),
]  # fmt: skip


def plain(shape: tuple[int, ...]) -> dict[str, Any]:
    """B,T,I,U in the form of shapes.json."""
    sizes = dict(zip(("batch", "steps", "features", "units"), shape, strict=True))
    return {"id": ",".join(map(str, shape)), **sizes, "layers": 1, "directions": 1}


def chosen(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    listed = json.loads((Path(__file__).parent / "shapes.json").read_text())["shapes"]
    shapes = [s for s in listed if s["group"] in (arguments.group or []) or s["id"] in (arguments.id or [])]
    shapes += [plain(tuple(map(int, s.split(",")))) for s in arguments.shape or []]
    return shapes or [plain(shape) for shape in TWELVE]


def oracle(x: np.ndarray, stack: Stack) -> np.ndarray:
    """The stack in float64."""
    y = x.astype(np.float64)
    for directions in stack:
        outputs = [lstm(y, *directions[0])[0]]
        if len(directions) == 2:
            outputs.append(lstm(y[:, ::-1], *directions[1])[0][:, ::-1])
        y = np.concatenate(outputs, axis=-1)
    return y


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


def measure(shape: dict[str, Any], peers: list[str], isa: str | None, rounds: int) -> dict[str, Any]:
    """One row: errors against float64 first, then the times."""
    rng = np.random.default_rng(shape["units"])
    stack = draw_stack(rng, shape["features"], shape["units"], shape["layers"], shape["directions"])
    x = rng.standard_normal((shape["batch"], shape["steps"], shape["features"])).astype(np.float32)
    exact, ours = oracle(x, stack), Fastlstm(stack, isa)
    runs: dict[str, Callable[[], Any]] = {"fastlstm": ours.prepare(x)}
    errors = {"fastlstm": float(np.abs(runs["fastlstm"]() - exact).max())}
    for name in peers:
        peer = PEERS[name](stack)
        runs[name] = peer.prepare(x)
        errors[name] = float(np.abs(peer.batch_major(runs[name]()) - exact).max())
    assert max(errors.values()) < 1e-5, f"{shape['id']}: wrong results {errors}"
    if shape["steps"] == 1 and shape["directions"] == 1:
        runs["step"] = ours.prepare_step(np.ascontiguousarray(x[:, 0]))
    times = time_in_turns(runs, rounds)
    median = {name: float(np.median(t)) for name, t in times.items()}
    best = min((n for n in peers), key=lambda n: median[n])
    ratio = median[best] / median.get("step", median["fastlstm"])
    return {"shape": shape, "errors": errors, "times": times, "median": median, "best": best, "ratio": ratio}


def print_row(row: dict[str, Any], peers: list[str]) -> None:
    median, errors = row["median"], row["errors"]
    step = f"{median['step']:8.2f}" if "step" in median else " " * 8
    columns = " ".join(f"{median[name]:12.1f}" for name in peers)
    print(
        f"{row['shape']['id']:>16} {median['fastlstm']:10.1f} {step} {columns} {row['ratio']:6.2f} {row['best']:>12} "
        f"  {errors['fastlstm']:.1e} {errors[row['best']]:.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", choices=["streaming", "sequence", "batch"])
    parser.add_argument("--id", action="append")
    parser.add_argument("--shape", action="append")
    parser.add_argument("--peers", default=",".join(installed()), help="default: all that are installed")
    parser.add_argument("--isa")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    peers = [name for name in arguments.peers.split(",") if name]
    if not peers or set(peers) - set(installed()):
        parser.error(f"--peers is {arguments.peers!r}; installed here: {', '.join(installed()) or 'none'}")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    facts = {**describe(("numpy", *peers)), "threads": 1}
    facts["isa"] = arguments.isa or facts["isa"]
    print(heading(facts), "\none thread, pinned to one core; microseconds a call, median; ratio: best peer / ours\n")
    names = " ".join(f"{name:>12}" for name in peers)
    print(f"{'B,T,I,U or id':>16} {'fastlstm':>10} {'step':>8} {names} {'ratio':>6} {'best peer':>12}   errors: both")
    rows = []
    for shape in chosen(arguments):
        rows.append(measure(shape, peers, arguments.isa, arguments.rounds))
        print_row(rows[-1], peers)
    ratios = [row["ratio"] for row in rows]
    print(f"\nratio: least {min(ratios):.2f}, geometric mean {np.exp(np.mean(np.log(ratios))):.2f}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
