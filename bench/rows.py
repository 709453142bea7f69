"""One shape measured: every answer held against float64 first, then all timed in turns."""

from __future__ import annotations

import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from limits import Constants, limit
from peers import PEERS, Fastlstm, Stack, draw_stack
from reference import lstm

import fastlstm
from fastlstm.bench import PAUSE, TOLERANCE, Run, figures, time_in_turns
from fastlstm.precision import COST

#: fastlstm on one thread, beside more.
ALONE = "own 1 thread"
PERCENTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)
BLOCKS, CALLS = 25, 200  # single calls of a stream, timed each


def oracle(x: np.ndarray, stack: Stack) -> np.ndarray:
    """The stack in float64."""
    y = x.astype(np.float64)
    for directions in stack:
        outputs = [lstm(y, *directions[0])[0]]
        if len(directions) == 2:
            outputs.append(lstm(y[:, ::-1], *directions[1])[0][:, ::-1])
        y = np.concatenate(outputs, axis=-1)
    return y


def use_threads(name: str, threads: int) -> None:
    """Let fastlstm have the threads that a run by this name is to show."""
    fastlstm.set_num_threads(1 if name == ALONE else threads)


def checked_runs(
    shape: dict[str, Any], peers: list[str], isa: str | None, threads: int, precision: str = "float32"
) -> tuple[dict[str, Run], dict[str, float]]:
    """What is to be timed, and how far each answer is from float64; ends the program where one is wrong."""
    rng = np.random.default_rng(shape["units"])
    stack = draw_stack(rng, shape["features"], shape["units"], shape["layers"], shape["directions"])
    x = rng.standard_normal((shape["batch"], shape["steps"], shape["features"])).astype(np.float32)
    exact = oracle(x, stack)
    ours, streams = Fastlstm(stack, isa, precision), shape["steps"] == shape["directions"] == 1
    x_t = np.ascontiguousarray(x[:, 0])
    runs = {"fastlstm": ours.prepare(x)}
    if streams:
        runs["step"] = ours.prepare_step(x_t)
    if threads > 1:
        runs[ALONE] = ours.prepare_step(x_t) if streams else runs["fastlstm"]
    answers = {}
    for name, run in runs.items():
        use_threads(name, threads)
        answers[name] = run().reshape(exact.shape)
    for name in peers:
        peer = PEERS[name](stack, threads)
        runs[name] = peer.prepare(x)
        answers[name] = peer.batch_major(runs[name]())
    errors = {name: float(np.abs(answer - exact).max()) for name, answer in answers.items()}
    costs = {name: COST[PEERS[name].precision if name in PEERS else precision] for name in errors}
    if not all(error <= TOLERANCE + costs[name] for name, error in errors.items()):  # NaN too
        raise SystemExit(f"{shape['id']}: wrong results, these are the differences from float64: {errors}")
    return runs, errors


def measure(
    shape: dict[str, Any],
    peers: list[str],
    isa: str | None,
    threads: int,
    rounds: int,
    machine: Constants,
    precision: str = "float32",
) -> dict[str, Any]:
    """One row of the table, in microseconds.

    Parameters
    ----------
    shape : dict
        As in shapes.json.
    peers : list of str
        Of ``PEERS``; may be empty.
    isa : str, optional
        fastlstm's kernel.
    threads : int
        For all; beside more than one, fastlstm is timed on one as well.
    rounds : int
        Turns of each.
    machine : Constants
        For the limit.
    precision : str
        Of fastlstm's weights; only float32 has a limit.

    Returns
    -------
    dict
        By name of a run ``errors``, ``median``, ``p99``, ``min``, ``times`` (each round's median) and, of the
        group streaming, ``latency`` (PERCENTILES of single calls, each with a reading of the clock in it; p99 is
        then theirs). ``ours`` names the run that counts: the step of a stream where there is one; ``ratio`` is
        the ``best`` peer's median over that, ``limit_ratio`` that over the ``limit``, ``gain`` what the
        threads gain.
    """
    runs, errors = checked_runs(shape, peers, isa, threads, precision)

    def before(name: str) -> None:
        use_threads(name, threads)
        time.sleep(PAUSE if threads > 1 else 0)

    samples = time_in_turns(runs, rounds, before)
    row: dict[str, Any] = {"shape": shape, "errors": errors, "median": {}, "p99": {}, "min": {}, "times": {}}
    for name, taken in samples.items():
        for key, value in figures(taken).items():
            row[key][name] = value
        row["times"][name] = [float(f"{t:.5g}") for t in np.median(taken, axis=1)]
    if shape.get("group") == "streaming":
        calls = time_in_turns(runs, BLOCKS, before, CALLS)
        row["latency"] = {name: np.percentile(taken, PERCENTILES).tolist() for name, taken in calls.items()}
        row["p99"] = {name: percentiles[PERCENTILES.index(99)] for name, percentiles in row["latency"].items()}
    row["ours"] = "step" if "step" in runs else "fastlstm"
    ours = row["median"][row["ours"]]
    row["best"] = min(peers, key=row["median"].__getitem__, default=None)
    row["ratio"] = row["median"][row["best"]] / ours if peers else None
    row["limit"] = limit(shape, machine, threads) if precision == "float32" else None
    row["limit_ratio"] = ours / row["limit"] if row["limit"] else None
    row["gain"] = row["median"][ALONE] / ours if threads > 1 else None
    return row


def measure_model(rounds: int, steps: int = 1000) -> dict[str, float]:
    """Median microseconds of a step of the demo's model, loaded from its file: in a call of its own, and in a block
    of many steps, which is what its kernels take."""
    with as_file(files("fastlstm") / "data" / "sunspots.keras") as path:
        model = fastlstm.load_model(path)
    alone, whole = model.stream(), model.stream()
    x = np.linspace(-1, 1, steps, dtype=np.float32)[:, None]
    out = alone.step(x[0])
    samples = time_in_turns({"step": lambda: alone.step(x[0], out), "block": lambda: whole.run(x)}, rounds)
    taken = {name: figures(times)["median"] for name, times in samples.items()}
    return {"step": taken["step"], "kernels": taken["block"] / steps}
