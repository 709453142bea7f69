"""Nanoseconds a step inside a block, one feature: Stream.run over 4,096 steps, beside RTNeural where it is.

    python bench/block.py [--rtneural DIR] [--isa NAME]

One thread, pinned to one processor; medians. RTNeural is built from DIR (github.com/jatinchowdhury18/RTNeural) with
Eigen, its fast-math and this processor's instructions; it and fastlstm take turns, and its best build counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from machine import describe, heading

UNITS = (8, 16, 20, 32, 40, 64)
STEPS, TURNS, ROUNDS = 4096, 40, 3
FLAGS = ["-std=c++17", "-O3", "-ffast-math", "-DRTNEURAL_USE_EIGEN=1", "-DRTNEURAL_DEFAULT_ALIGNMENT=32"]
BUILDS = {"all of this processor's instructions": ["-march=native"], "AVX2": ["-mavx2", "-mfma"]}


def own(isa: str | None) -> dict[int, float]:
    """Median nanoseconds a step by units."""
    from fastlstm import LSTM
    from fastlstm.bench import time_in_turns

    times = {}
    for units in UNITS:
        layer = LSTM(units, isa=isa, threads=1)
        layer.build((None, None, 1))
        stream, x = layer.stream(), np.random.default_rng(units).standard_normal((STEPS, 1)).astype(np.float32)
        out = stream.run(x)
        samples = time_in_turns({"block": lambda s=stream, x=x, out=out: s.run(x, out)}, 1, calls=TURNS)["block"]
        times[units] = float(np.median(samples)) * 1e3 / STEPS
    return times


def build(checkout: Path, place: Path) -> list[Path]:
    """RTNeural's programs, one a set of flags."""
    programs = []
    for number, flags in enumerate(BUILDS.values()):
        programs.append(place / f"rtneural{number}")
        source = Path(__file__).with_name("rtneural.cpp")
        includes = [f"-I{checkout}", f"-I{checkout / 'RTNeural'}", "-I/usr/include/eigen3"]
        try:
            subprocess.run(["g++", *FLAGS, *flags, *includes, source, "-o", programs[-1]], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"RTNeural: needs g++, Eigen (Debian: libeigen3-dev) and a checkout ({error})") from None
    return programs


def theirs(program: Path) -> dict[int, float]:
    lines = subprocess.check_output([program], text=True).splitlines()
    return {int(units): float(time) for units, time, _ in map(str.split, lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtneural", type=Path, metavar="DIR")
    parser.add_argument("--isa")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    facts = describe(("numpy",))
    facts["isa"] = arguments.isa or facts["isa"]
    print(heading(facts))
    with tempfile.TemporaryDirectory() as place:
        programs = build(arguments.rtneural, Path(place)) if arguments.rtneural else []
        rounds = [(own(arguments.isa), *map(theirs, programs)) for _ in range(ROUNDS)]
    ours, *builds = (
        {units: float(np.median([run[units] for run in runs])) for units in UNITS} for runs in zip(*rounds, strict=True)
    )
    print(f"\n{'units':>6} {'fastlstm':>9}" + (f" {'RTNeural':>9} {'ratio':>6}" if builds else ""))
    ratios = []
    for units in UNITS:
        best = min((b[units] for b in builds), default=None)
        ratios += [best / ours[units]] if best else []
        print(f"{units:6} {ours[units]:9.1f}" + (f" {best:9.1f} {ratios[-1]:6.2f}" if best else ""))
    if ratios:
        print(f"geometric mean {np.exp(np.mean(np.log(ratios))):.2f}")


if __name__ == "__main__":
    main()
