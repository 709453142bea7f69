"""What narrow weights gain and what they cost: time, error and memory of some shapes at each precision.

    python bench/precision.py                        the shapes of docs/precision.md
    python bench/precision.py --shape 1,50,8,64      B,T,I,U of your own
    options: [--threads N] [--isa NAME] [--rounds N] [--json FILE]

Weights are PyTorch's initialisation, inputs N(0,1). Every answer is held against float64 first (`error` is the largest
difference), then all precisions are timed in turns: microseconds of a whole call from Python, medians, on processors
of their own; `gain` is the time in float32 over that. The second table has the error over 1,000 steps, batch 1, as
many features as units, of each cell with PyTorch's and with Keras's initialisation.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from compare import pin, plain

SHAPES = [
    (1, 100, 128, 128), (1, 100, 256, 256), (1, 25, 512, 512), (1, 25, 1024, 1024), (1, 12, 2048, 2048),
    (32, 100, 64, 128), (64, 25, 512, 512),
]  # fmt: skip
UNITS, STEPS = (128, 512), 1000


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--isa", help="the kernel; default: the best that runs")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each; default: 15")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured, and on what")
    return parser.parse_args()


def measure(shape: dict[str, Any], isa: str | None, rounds: int) -> dict[str, Any]:
    """One shape, by precision: ``errors``, ``median``, ``min`` in microseconds, ``bytes`` of the packed weights."""
    import numpy as np
    from peers import Fastlstm, draw_stack
    from rows import oracle

    from fastlstm.bench import TOLERANCE, figures, time_in_turns
    from fastlstm.precision import COST, PRECISIONS, recurrent_layers

    rng = np.random.default_rng(shape["units"])
    stack = draw_stack(rng, shape["features"], shape["units"])
    x = rng.standard_normal((shape["batch"], shape["steps"], shape["features"])).astype(np.float32)
    exact = oracle(x, stack)
    ours = {precision: Fastlstm(stack, isa, precision) for precision in PRECISIONS}
    runs = {precision: own.prepare(x) for precision, own in ours.items()}
    errors = {precision: float(np.abs(run() - exact).max()) for precision, run in runs.items()}
    for precision, error in errors.items():
        if not error <= TOLERANCE + COST[precision]:  # NaN too
            raise SystemExit(f"{shape['id']}: wrong result: {precision} differs from float64 by {error}")
    taken = {precision: figures(samples) for precision, samples in time_in_turns(runs, rounds).items()}
    return {
        "shape": shape,
        "errors": errors,
        "median": {precision: times["median"] for precision, times in taken.items()},
        "min": {precision: times["min"] for precision, times in taken.items()},
        "bytes": {
            precision: sum(layer._packed().nbytes for layer in recurrent_layers(own.model))
            for precision, own in ours.items()
        },
    }


def over_many_steps(isa: str | None) -> list[dict[str, Any]]:
    """Largest and root mean square error after 1,000 steps, by cell, initialisation, units and precision."""
    import numpy as np
    from recurrent import KINDS, oracle

    from fastlstm.precision import PRECISIONS

    found = []
    for kind, init, units in ((k, i, u) for k in KINDS for i in ("PyTorch", "Keras") for u in UNITS):
        rng = np.random.default_rng(units)
        seeded = ({"class_name": name, "config": {"seed": units}} for name in ("GlorotUniform", "Orthogonal"))
        layer = KINDS[kind](
            units, return_sequences=True, isa=isa, kernel_initializer=next(seeded), recurrent_initializer=next(seeded)
        )
        layer.build((None, None, units))
        if init == "PyTorch":
            layer.set_weights([rng.uniform(-1, 1, w.shape) * units**-0.5 for w in layer.get_weights()])
        x = rng.standard_normal((1, STEPS, units)).astype(np.float32)
        exact = oracle(layer, kind, x)[0]
        row: dict[str, Any] = {"cell": kind, "init": init, "units": units, "max": {}, "rms": {}}
        for precision in PRECISIONS:
            layer.precision = precision
            error = np.abs(layer(x) - exact)
            row["max"][precision], row["rms"][precision] = float(error.max()), float(np.sqrt((error**2).mean()))
        found.append(row)
    return found


def lines(row: dict[str, Any]) -> list[str]:
    """The rows of the table that a shape has, one for each precision."""
    full = row["median"]["float32"]
    return [
        f"{row['shape']['id'] if precision == 'float32' else '':>15} {precision:>9} {time:10.1f} {full / time:6.2f} "
        f"{row['errors'][precision]:8.1e} {row['bytes'][precision] / 1e6:8.2f}"
        for precision, time in row["median"].items()
    ]


def main() -> None:
    arguments = parsed()
    cpus = pin(arguments.threads)  # before NumPy starts its threads, which inherit it

    from machine import describe, heading

    import fastlstm

    fastlstm.set_num_threads(arguments.threads)
    facts = describe(("numpy",))
    facts |= {"isa": arguments.isa or facts["isa"], "threads": arguments.threads, "cpus": cpus}
    print(heading(facts))
    print(f"threads: {arguments.threads}, on processors {', '.join(map(str, cpus))}; microseconds a call, median\n")
    print(f"{'B,T,I,U':>15} {'weights':>9} {'time':>10} {'gain':>6} {'error':>8} {'MB':>8}")
    taken = []
    shapes = [tuple(map(int, text.split(","))) for text in arguments.shape or []] or SHAPES
    for shape in shapes:
        taken.append(measure(plain(shape), arguments.isa, arguments.rounds))
        print("\n".join(lines(taken[-1])), flush=True)
    print(f"\nlargest difference from float64 over {STEPS} steps\n")
    print(f"{'cell':>10} {'init':>8} {'units':>5} " + " ".join(f"{name:>9}" for name in taken[0]["median"]))
    errors = over_many_steps(arguments.isa)
    for row in errors:
        worst = " ".join(f"{error:9.1e}" for error in row["max"].values())
        print(f"{row['cell']:>10} {row['init']:>8} {row['units']:5} {worst}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": facts, "rows": taken, "steps_1000": errors}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
