"""What ``fastlstm bench`` does: some standard shapes held against float64, then timed beside plain NumPy."""

from __future__ import annotations

import itertools
import time
import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastlstm
from fastlstm.console import Progress, write
from fastlstm.errors import FastLSTMError
from fastlstm.layers import LSTM, Bidirectional
from fastlstm.precision import COST

Array = NDArray[Any]
Run = Callable[[], Any]


class Shape(NamedTuple):
    """One layer's size; with one step it is timed as a stream."""

    batch: int
    steps: int
    features: int
    units: int
    directions: int = 1


#: By their names in bench/shapes.json, where the others stand.
SHAPES = {
    "amp8": Shape(1, 1, 1, 8),
    "vad128": Shape(1, 1, 128, 128),
    "od837a": Shape(1, 63, 24, 32, 2),
    "kws118": Shape(1, 49, 10, 118),
    "ocv192": Shape(1, 100, 64, 192),
    "db256": Shape(1, 150, 256, 256),
    "gen128b64": Shape(64, 100, 128, 128),
}
#: Largest difference from float64 that passes; outputs lie within 1. 64 roundings of float32.
TOLERANCE = 64 * float(np.finfo(np.float32).eps)
TURN, SAMPLE = 20e-3, 10e-6  # seconds
PAUSE = 50e-3  # seconds, until threads that wait for more work have stopped spinning


def run(names: list[str], rounds: int, precision: str = "float32") -> dict[str, Any]:
    """Check and time some shapes; print what they ran on and a table.

    Parameters
    ----------
    names : list of str
        Of :data:`SHAPES`.
    rounds : int
        Turns that fastlstm and NumPy take, each.
    precision : str
        Of fastlstm's weights.

    Returns
    -------
    dict
        ``machine``, as ``show_config`` gives it, ``precision``, and ``rows``: what the table holds and more.

    Raises
    ------
    FastLSTMError
        A result differs from float64's by more than :data:`TOLERANCE`, and of ours than the precision may cost.
    """
    machine = fastlstm.show_config()
    progress, turns = Progress(len(names) * 2 * (rounds + 1), "auto"), itertools.count(1)

    def before(_: str) -> None:
        progress.step(next(turns))
        time.sleep(PAUSE)

    rows = [_row(name, rounds, before, precision) for name in names]
    write(
        "\nMicroseconds a call, after every result was held against float64. NumPy: a loop over the steps in float32,"
        "\non the threads of its own BLAS; ratio: its median over ours.\n\n"
        f"{'' if precision == 'float32' else f'Weights of fastlstm in {precision}.' + chr(10) * 2}"
        f"{'shape':10} {'batch':>5} {'steps':>5} {'features':>8} {'units':>6} {'call':5}"
        f" {'median':>10} {'p99':>10} {'min':>10} {'NumPy':>10} {'ratio':>7}\n"
    )
    for name, row in zip(names, rows, strict=True):
        shape, ours = SHAPES[name], row["fastlstm"]
        units = f"{shape.units} x 2" if shape.directions == 2 else shape.units
        write(
            f"{name:10} {shape.batch:5} {shape.steps:5} {shape.features:8} {units:>6} {row['call']:5}"
            f" {ours['median']:10.2f} {ours['p99']:10.2f} {ours['min']:10.2f}"
            f" {row['numpy']['median']:10.2f} {row['ratio']:7.2f}\n"
        )
    return {"machine": machine, "precision": precision, "rows": rows}


def _row(name: str, rounds: int, before: Callable[[str], None], precision: str) -> dict[str, Any]:
    shape = SHAPES[name]
    rng = np.random.default_rng(shape.units)
    layer: Any = LSTM(shape.units, return_sequences=True, precision=precision)
    layer = Bidirectional(layer) if shape.directions == 2 else layer
    layer.build((None, None, shape.features))
    bound = shape.units**-0.5
    weights = [rng.uniform(-bound, bound, w.shape).astype(np.float32) for w in layer.get_weights()]
    layer.set_weights(weights)
    x = rng.standard_normal((shape.batch, shape.steps, shape.features)).astype(np.float32)
    exact = numpy_lstm(x.astype(np.float64), *(w.astype(np.float64) for w in weights))
    runs: dict[str, Run] = {"fastlstm": lambda: layer(x), "numpy": lambda: numpy_lstm(x, *weights)}
    if shape.steps == 1:
        stream, x_t, out = layer.stream(shape.batch), x[:, 0].copy(), np.empty_like(exact[:, 0], np.float32)
        runs["fastlstm"] = lambda: stream.step(x_t, out)
    errors = {by: float(np.abs(call().reshape(exact.shape) - exact).max()) for by, call in runs.items()}
    for by, error in errors.items():
        allowed = TOLERANCE + (COST[precision] if by == "fastlstm" else 0)
        if not error <= allowed:  # NaN too
            raise FastLSTMError(f"bench: {name}: {by} differs from float64 by {error:.1e}; allowed: {allowed:.1e}")
    times = {by: figures(samples) for by, samples in time_in_turns(runs, rounds, before).items()}
    return {
        "id": name,
        **shape._asdict(),
        "call": "step" if shape.steps == 1 else "layer",
        "errors": errors,
        **times,
        "ratio": times["numpy"]["median"] / times["fastlstm"]["median"],
    }


# -- the peer ---------------------------------------------------------------------------------------


def numpy_lstm(x: Array, *weights: Array) -> Array:
    """An LSTM as one writes it in NumPy with some care, in the dtype of what it is given.

    Parameters
    ----------
    x : ndarray, shape (B, T, I)
    *weights : ndarray
        Kernel (I, 4U), recurrent kernel (U, 4U), bias (4U,), gates in Keras's order i, f, c, o; for two
        directions another three.

    Returns
    -------
    ndarray, shape (B, T, U) or (B, T, 2U)
    """
    if len(weights) == 6:
        return np.concatenate([numpy_lstm(x, *weights[:3]), numpy_lstm(x[:, ::-1], *weights[3:])[:, ::-1]], axis=-1)
    kernel, recurrent_kernel, bias = weights
    units, inputs = len(recurrent_kernel), x @ kernel + bias
    outputs = np.empty((*x.shape[:2], units), x.dtype)
    h, c = np.zeros((2, len(x), units), x.dtype)
    for t in range(x.shape[1]):
        a = inputs[:, t] + h @ recurrent_kernel
        gates = 1 / (1 + np.exp(-a))  # of all columns, which costs less than to pick those of i, f and o
        i, f, o = gates[:, :units], gates[:, units : 2 * units], gates[:, 3 * units :]
        c = f * c + i * np.tanh(a[:, 2 * units : 3 * units])
        h = outputs[:, t] = o * np.tanh(c)
    return outputs


# -- timing, for bench/ too -------------------------------------------------------------------------


def time_in_turns(
    runs: dict[str, Run], rounds: int, before: Callable[[str], None] = lambda name: None, calls: int | None = None
) -> dict[str, Array]:
    """Time several things in turns, so that whatever else the machine does meets them all alike.

    Parameters
    ----------
    runs : dict of callables
        What to time, by name.
    rounds : int
        Turns of each, after one that only finds out how long a call takes.
    before : callable, optional
        Is given the name ahead of each turn. What it takes is not counted, nor is a turn's first call.
    calls : int, optional
        Time so many single calls a turn. By default a turn lasts 20 ms or one call, and what is timed is
        a call, or as many together as last 10 microseconds, beside which a reading of the clock is little.

    Returns
    -------
    dict of ndarray, shape (rounds, samples)
        Microseconds a call.
    """
    sizes = {}
    for name, call in runs.items():
        before(name)
        once = min(timeit.repeat(call, number=1, repeat=4))
        together = 1 if calls else max(1, round(SAMPLE / once))
        sizes[name] = together, calls or max(1, round(TURN / (once * together)))
    times: dict[str, list[list[float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, call in runs.items():
            together, samples = sizes[name]
            before(name)
            call()
            times[name].append(timeit.repeat(call, number=together, repeat=samples))
    return {name: np.array(turns) * (1e6 / sizes[name][0]) for name, turns in times.items()}


def figures(samples: Array) -> dict[str, float]:
    """``median``, ``p99`` and ``min`` of what ``time_in_turns`` gives for one run."""
    median, p99, least = np.percentile(samples, (50, 99, 0))
    return {"median": float(median), "p99": float(p99), "min": float(least)}
