"""Rows of different lengths beside as many full ones: what is masked should cost nothing.

    python bench/ragged.py [--lengths uniform|short|sorted] [--steps T] [--isa NAME] [--rounds N] [--peers '']

Microseconds of a whole call of an LSTM that returns its last output, one thread on one processor, medians; all take
turns. `full` runs all B rows over all T steps; `right` and `left` are the same call with masks that leave out the
padding behind or before each row; `list` is the call with a list of the rows' arrays, padding and all. `share` is how
many steps are unmasked, and `eff` how near the call comes to costing only those: the full call's time times the share
over its own. Lengths are uniform in 1..T; or short, most of a tenth of that; or uniform and sorted. Behind them, where
it is installed, onnxruntime with `sequence_lens`. Each row's answer is first held against the row alone.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from compare import pin

SHAPES = [
    (64, 64, 64), (64, 64, 256), (256, 64, 64), (256, 64, 256), (1000, 8, 16), (32, 64, 128), (8, 64, 128),
    (4, 128, 128),
]  # fmt: skip


def lengths_of(rng: np.random.Generator, kind: str, batch: int, steps: int) -> np.ndarray:
    n = np.ceil(rng.exponential(steps / 10, batch)) if kind == "short" else rng.integers(1, steps + 1, batch)
    n = np.clip(n, 1, steps).astype(int)
    n[0] = steps
    return -np.sort(-n) if kind == "sorted" else n


def with_lengths(stack: Any, threads: int) -> Any:
    """onnxruntime's session for a stack of one layer whose node takes the lengths."""
    import onnx
    import onnxruntime
    from peers import onnx_model

    model = onnx.load_from_string(onnx_model(stack))
    model.graph.node[0].input.append("L")
    model.graph.input.append(onnx.helper.make_tensor_value_info("L", onnx.TensorProto.INT32, [None]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def runs_of(
    shape: tuple[int, int, int], arguments: argparse.Namespace, peers: list[str]
) -> tuple[dict[str, Any], float]:
    """What is timed, by name, and the share of unmasked steps; ends the program where a row is wrong."""
    from peers import draw_stack

    import fastlstm
    from fastlstm.bench import TOLERANCE

    (batch, features, units), steps = shape, arguments.steps
    rng = np.random.default_rng(units)
    stack = draw_stack(rng, features, units)
    layer = fastlstm.LSTM(units, isa=arguments.isa, threads=1)
    layer.set_weights(list(stack[0][0]))
    lengths = lengths_of(rng, arguments.lengths, batch, steps)
    x = rng.standard_normal((batch, steps, features)).astype(np.float32)
    right = np.arange(steps) < lengths[:, None]
    left, ragged = np.ascontiguousarray(right[:, ::-1]), [row[:n] for row, n in zip(x, lengths, strict=True)]
    shifted = np.zeros_like(x)
    shifted[left] = x[right]
    runs = {
        "full": lambda: layer(x),
        "right": lambda: layer(x, mask=right),
        "left": lambda: layer(shifted, mask=left),
        "list": lambda: layer(ragged),
    }
    alone = np.concatenate([layer(row[None]) for row in ragged])
    if not all(np.abs(runs[name]() - alone).max() <= TOLERANCE for name in ("right", "left", "list")):
        raise SystemExit(f"{shape}: a row is not as it is alone")
    if peers:
        session, turned = with_lengths(stack, 1), np.ascontiguousarray(x.transpose(1, 0, 2))
        whole, own = np.full(batch, steps, np.int32), lengths.astype(np.int32)
        runs["ort full"] = lambda: session.run(None, {"X": turned, "L": whole})[0]
        runs["ort"] = lambda: session.run(None, {"X": turned, "L": own})[0]
    return runs, float(right.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", choices=["uniform", "short", "sorted"], default="uniform")
    parser.add_argument("--steps", type=int, default=100, metavar="T", help="default: 100")
    parser.add_argument("--isa", help="fastlstm's kernel; default: the best that runs")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each; default: 15")
    parser.add_argument("--peers", help="'' for none; default: onnxruntime where it is installed")
    arguments = parser.parse_args()
    pin(1)  # before NumPy and the peer start their threads

    from machine import describe, heading
    from peers import installed

    from fastlstm.bench import figures, time_in_turns

    peers = ["onnxruntime"] if arguments.peers != "" and "onnxruntime" in installed() else []
    print(heading(describe(("numpy", *peers))))
    print(f"one thread; T={arguments.steps}, lengths: {arguments.lengths}; microseconds a call, median")
    names = ["right", "left", "list", *peers]
    print(f"{'B,I,U':>12} share      full" + "".join(f"{name:>{max(10, len(name) + 2)}}   eff" for name in names))
    for shape in SHAPES:
        runs, share = runs_of(shape, arguments, peers)
        taken = {name: figures(times)["median"] for name, times in time_in_turns(runs, arguments.rounds).items()}
        line = f"{','.join(map(str, shape)):>12} {share:5.2f}{taken['full']:10.1f}"
        for name in names:
            key, whole = ("ort", "ort full") if name in peers else (name, "full")
            line += f"{taken[key]:{max(10, len(name) + 2)}.1f}{taken[whole] * share / taken[key]:6.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
