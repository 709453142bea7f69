"""An LSTM's variants beside the peers that have them.

    python bench/variants.py [--isa NAME] [--rounds N] [--json FILE]

Microseconds of a whole call that returns the sequence, one thread on one processor, medians; all take turns.
Projections (LSTMP, units > width of h) beside torch, peepholes, coupled gates and clips beside onnxruntime, large
stacks and the RNN-T prediction network beside both. `plain` is fastlstm's own LSTM of the same sizes without the
variant. Every answer is held against float64 first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from compare import pin

sys.path.append(str(Path(__file__).parents[1] / "tests"))


class Shape(NamedTuple):
    """A measured LSTM, or a stack of equal ones."""

    id: str
    batch: int
    steps: int
    features: int
    units: int
    layers: int
    options: dict[str, Any]


SHAPES = [
    Shape("kws 144>98", 1, 25, 10, 144, 1, {"projection": 98}),
    Shape("kws 280>130", 1, 25, 10, 280, 1, {"projection": 130}),
    Shape("kws 500>188", 1, 25, 10, 500, 1, {"projection": 188}),
    Shape("lstmp 1024>512", 1, 50, 512, 1024, 1, {"projection": 512}),
    Shape("lstmp b16", 16, 50, 256, 512, 1, {"projection": 256}),
    *(
        Shape(f"{name} {units}{f' b{batch}' if batch > 1 else ''}", batch, 50, units, units, 1, options)
        for name, options in (
            ("peep", {"peepholes": True}),
            ("cifg", {"coupled_gates": "forget"}),
            ("clip", {"input_clip": 3.0}),
            ("all", {"peepholes": True, "coupled_gates": "forget", "input_clip": 3.0}),
        )
        for units, batch in ((32, 1), (128, 1), (512, 1), (128, 16))
    ),
    Shape("gnmt 8x1024", 1, 25, 1024, 1024, 8, {}),
    Shape("rnn-t 2x320", 1, 1, 320, 320, 2, {}),
    Shape("rnn-t 2x320 T50", 1, 50, 320, 320, 2, {}),
]


def torch_run(layers: list[Any], x: np.ndarray) -> Any:
    """torch.nn.LSTM with the layers' weights."""
    import torch

    from fastlstm.layouts import keras_to_torch

    torch.set_num_threads(1)
    first = layers[0]
    module = torch.nn.LSTM(x.shape[2], first.units, len(layers), proj_size=first.variant.projection or 0)
    for n, layer in enumerate(layers):
        w = layer.arrays
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        project = w.get("projection_kernel")
        own = keras_to_torch(w["kernel"], w["recurrent_kernel"], w["bias"], projection_kernel=project)
        for name, array in zip(names, own, strict=False):
            if array is not None:
                getattr(module, f"{name}_l{n}").data = torch.from_numpy(np.ascontiguousarray(array))
    turned = torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)))

    def call() -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = module(turned)[0].numpy()
        return found

    return call


def onnxruntime_run(layers: list[Any], x: np.ndarray) -> Any:
    """onnxruntime with the layers as fastlstm exports them."""
    import onnxruntime

    import fastlstm
    from fastlstm.onnx import to_onnx

    model = to_onnx(fastlstm.Sequential([fastlstm.Input((None, x.shape[2])), *layers]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def call() -> np.ndarray:
        found: np.ndarray = session.run(None, {name: x})[0]
        return found

    return call


def runs_of(shape: Shape, isa: str | None) -> tuple[dict[str, Any], dict[str, float]]:
    """What is timed, and how far each answer is from float64; ends the program where one is wrong."""
    from lstm_variants import oracle

    import fastlstm
    from fastlstm.bench import TOLERANCE

    rng = np.random.default_rng(shape.units)
    x = rng.standard_normal((shape.batch, shape.steps, shape.features)).astype(np.float32)
    layers, plain, exact, features = [], [], x, shape.features
    for _ in range(shape.layers):
        layer = fastlstm.LSTM(shape.units, return_sequences=True, isa=isa, threads=1, **shape.options)
        layer.build((None, None, features))
        bound = shape.units**-0.5
        layer.set_weights([rng.uniform(-bound, bound, w.shape) for w in layer.get_weights()])
        layers.append(layer)
        exact, features = oracle(layer, exact)[0], layer.output_size
        plain.append(fastlstm.LSTM(shape.units, return_sequences=True, isa=isa, threads=1))
    inputs = fastlstm.Input((None, shape.features))
    model, usual = (fastlstm.Sequential([inputs, *stack]) for stack in (layers, plain))
    runs: dict[str, Any] = {"fastlstm": lambda: model(x), "plain": lambda: usual(x)}
    if "projection" in shape.options or not shape.options:
        runs["torch"] = torch_run(layers, x)
    if "projection" not in shape.options:
        runs["onnxruntime"] = onnxruntime_run(layers, x)
    errors = {}
    for name, run in runs.items():
        found = run()
        found = found.transpose(1, 0, 2) if name == "torch" else found
        errors[name] = 0.0 if name == "plain" else float(np.abs(found - exact).max())
    if not all(error <= TOLERANCE for error in errors.values()):
        raise SystemExit(f"{shape.id}: wrong results, these are the differences from float64: {errors}")
    return runs, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", help="fastlstm's kernel; default: the best that runs")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each; default: 15")
    parser.add_argument("--json", metavar="FILE", help="what was measured, and on what; replaced if there")
    arguments = parser.parse_args()
    pin(1)  # before NumPy and the peers start their threads

    from machine import describe, heading

    from fastlstm.bench import figures, time_in_turns

    facts = describe(("numpy", "onnxruntime", "torch"))
    print(heading(facts))
    print("one thread; microseconds a call, median")
    peers = ("torch", "onnxruntime")
    print(f"{'shape':>16}{'fastlstm':>11}{'plain':>11}{'torch':>11}{'onnxruntime':>13}{'ratio':>7}{'error':>9}")
    rows = []
    for shape in SHAPES:
        runs, errors = runs_of(shape, arguments.isa)
        taken = {name: figures(times)["median"] for name, times in time_in_turns(runs, arguments.rounds).items()}
        ratio = min(taken[peer] for peer in peers if peer in taken) / taken["fastlstm"]
        rows.append({"shape": shape._asdict(), "median": taken, "errors": errors, "ratio": ratio})
        cells = [f"{taken[name]:.1f}" if name in taken else "" for name in ("fastlstm", "plain", *peers)]
        print(f"{shape.id:>16}{cells[0]:>11}{cells[1]:>11}{cells[2]:>11}{cells[3]:>13}{ratio:7.2f}"
              f"{errors['fastlstm']:9.1e}", flush=True)  # fmt: skip
    ratios = [row["ratio"] for row in rows]
    print(f"ratio to the best peer: worst {min(ratios):.2f}, geometric mean {np.exp(np.mean(np.log(ratios))):.2f}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
