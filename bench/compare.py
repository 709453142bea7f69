"""fastlstm beside the peers that are installed: checks all against float64, then times them in turns.

    python bench/compare.py                          the twelve shapes of the README
    python bench/compare.py --group streaming        shapes.json's streaming, sequence or batch group
    python bench/compare.py --id kws118 --id db256   some of its shapes
    python bench/compare.py --shape 1,50,8,64        B,T,I,U of your own
    options: [--threads N] [--peers onnxruntime,openvino,torch,jax] [--isa NAME] [--rounds N] [--json FILE]
             [--precision bfloat16|float16|int8], beside openvino-bf16 or onnxruntime-int8

Microseconds of a whole call from Python, NumPy in and NumPy out: medians. All take turns, and all have so many threads
on as many processors, the last that the process may use. `step` is one step of a stream, which keeps its state; the
peers' calls on sequences of one step start from zeros and hand no state over, which is less work. What follows is
of `step` where there is one: p99 (in the group streaming of single calls, with a reading of the clock in each) and
min; `ratio`, the best peer over it; `limit`, what the machine as measured at the start allows (bench/limits.py), and
`x limit`, how many times that it takes. With several threads `own 1 thread` is fastlstm on one, and `gain` is that
over fastlstm on all. With a precision that is not float32 the peers are those of that precision, answers may
differ from float64 by what it costs (docs/precision.md), and there is no limit, which is float32's.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

TWELVE = [
    (1, 1, 1, 32), (1, 1, 32, 128), (1, 64, 1, 32), (1, 50, 8, 64), (1, 100, 128, 128), (1, 100, 256, 256),
    (1, 50, 512, 512), (1, 25, 1024, 1024), (1, 25, 2048, 2048), (4, 50, 256, 256), (8, 50, 128, 256),
    (32, 100, 64, 128),
]  # fmt: skip
SMALLEST = (1, 1, 1, 1)  # all of its time is the call


def plain(shape: tuple[int, ...]) -> dict[str, Any]:
    """B,T,I,U in the form of shapes.json."""
    sizes = dict(zip(("batch", "steps", "features", "units"), shape, strict=True))
    return {"id": ",".join(map(str, shape)), **sizes, "layers": 1, "directions": 1}


def chosen(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    listed = json.loads((Path(__file__).parent / "shapes.json").read_text())["shapes"]
    unknown = set(arguments.id or []) - {s["id"] for s in listed}
    if unknown:
        raise SystemExit(f"--id {', '.join(unknown)}: not in bench/shapes.json")
    shapes = [s for s in listed if s["group"] in (arguments.group or []) or s["id"] in (arguments.id or [])]
    shapes += [plain(tuple(map(int, s.split(",")))) for s in arguments.shape or []]
    return shapes or [plain(shape) for shape in TWELVE]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", choices=["streaming", "sequence", "batch"])
    parser.add_argument("--id", action="append")
    parser.add_argument("--shape", action="append")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--precision", default="float32", metavar="NAME", help="of fastlstm's weights")
    parser.add_argument("--peers", help="default: all of the precision that are installed; '' for none")
    parser.add_argument("--isa", help="fastlstm's kernel; default: the best that runs")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each; default: 15")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured, and on what")
    return parser.parse_args()


def pin(threads: int) -> list[int]:
    """Keep this process to so many processors, the last ones it may use."""
    cpus = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(cpus):
        raise SystemExit(f"--threads is {threads}; this process may use {len(cpus)} processors")
    os.sched_setaffinity(0, cpus[-threads:])
    return cpus[-threads:]


def main() -> None:
    arguments = parsed()
    shapes, threads = chosen(arguments), arguments.threads
    cpus = pin(threads)  # before NumPy and the peers start their threads, which inherit it

    import limits
    from machine import describe, heading
    from peers import installed
    from rows import measure, measure_model
    from table import columns, line, summary

    from fastlstm.errors import FastLSTMError
    from fastlstm.precision import checked

    try:
        precision = checked(arguments.precision, "--precision")
    except FastLSTMError as error:
        raise SystemExit(str(error)) from None
    peers = installed(precision) if arguments.peers is None else [name for name in arguments.peers.split(",") if name]
    if set(peers) - set(installed()):
        raise SystemExit(f"--peers is {arguments.peers!r}; installed here: {', '.join(installed()) or 'none'}")
    facts = describe(("numpy", *dict.fromkeys(name.split("-")[0] for name in peers)))
    facts["isa"] = arguments.isa or facts["isa"]
    constants = limits.measure(cpus, facts["isa"], facts["caches"])
    facts |= {"threads": threads, "cpus": cpus, "precision": precision, "constants": constants._asdict()}
    print(heading(facts))
    print(constants.sentence())
    print(f"threads: {threads}, on processors {', '.join(map(str, cpus))}; microseconds a call, median")
    if precision != "float32":
        print(f"fastlstm's weights are {precision}")

    options = (peers, arguments.isa, threads, arguments.rounds, constants, precision)
    overhead = measure(plain(SMALLEST), *options)
    print("call overhead, 1 unit, 1 step: " + ", ".join(f"{by} {t:.2f}" for by, t in overhead["median"].items()))
    model = measure_model(arguments.rounds)
    print(f"a step of the demo's model: {model['step']:.2f}, of which its kernels take {model['kernels']:.2f}")
    table, rows = columns(peers, threads, limited=precision == "float32"), []
    print("\n" + line(table))
    for shape in shapes:
        rows.append(measure(shape, *options))
        print(line(table, rows[-1]), flush=True)
    print("\n" + summary(rows))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": facts, "overhead": overhead, "model": model, "rows": rows}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
