"""bench/ holds every answer against float64, works out the limit as it says, prints in columns and draws."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import lstm

sys.path.append(str(Path(__file__).parents[1] / "bench"))

import limits
import machine
import peers
import rows
import table

import fastlstm
from fastlstm import bench

BENCH = Path(__file__).parents[1] / "bench"
K, M = 1 << 10, 1 << 20
SHAPES = {shape["id"]: shape for shape in json.loads((BENCH / "shapes.json").read_text())["shapes"]}
#: 3 GHz, 32 multiply-adds a cycle, 128, 48 and 12 bytes a cycle from the first level, the second and beyond.
MADE_UP = limits.Constants(
    lanes=16, fma=96, latency=4 / 3, sizes=[40 * K, int(1.8 * M), 64 * M], forward=[384, 144, 30],
    zigzag=[380, 140, 36], handover=100, caches=[48 * K, 2 * M],
)  # fmt: skip


@pytest.fixture(autouse=True)
def threads_as_before():
    threads = fastlstm.get_num_threads()
    yield
    fastlstm.set_num_threads(threads)


def measured(name, names=(), threads=1):
    return rows.measure(SHAPES[name], list(names), None, threads, 1, MADE_UP)


# -- the limit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "cycles"),
    [
        (40 * K, 40 * K / 128),
        (256 * K, 256 * K / 48),
        (1.8 * M, 1.8 * M / 48),
        (16 * M, 1.8 * M / 48 + 14.2 * M / 12),
    ],
)
def test_weights_are_read_at_the_rate_of_the_place_they_fit(size, cycles):
    assert MADE_UP.reading(size) == pytest.approx(cycles / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [  # cycles, by hand; two threads: a half of the work and 600 cycles for two handovers, where that is less
        ("amp8", 16 + 2 + 120, 16 + 2 + 120),
        ("vad128", 512 * K / 48 + 120, 256 * K / 48 + 120 + 600),
        ("trade-small", (1.8 * M / 48 + 4.2 * M / 12) + 3 * 120, (1.8 * M / 48 + 1.2 * M / 12) + 3 * 720),
        ("amp40-block", 2048 * (240 + 90 + 120 + 6), 2048 * (240 + 90 + 120 + 6)),
        ("od837a", 2 * 63 * (128 + 45 + 120 + 96), 63 * (128 + 45 + 120 + 96)),  # a direction each
        ("ts64", 100 * (2 * (64 * K / 48 + 120) + 8 + 512), 100 * (2 * (256 + 45 + 120 + 600) + 4 + 256)),
        ("db256", 150 * (1 * M / 48 + 120 + 8192), 150 * (512 * K / 48 + 120 + 600 + 4096)),
        ("gen128b64", 100 * (131072 + 23040 + 120 + 131072), 100 * (65536 + 11520 + 120 + 65536)),  # half the rows each
    ],
)
def test_the_limit_is_the_sum_that_its_docstring_tells(name, one, two):
    for threads, cycles in ((1, one), (2, two)):
        assert limits.limit(SHAPES[name], MADE_UP, threads) == pytest.approx(cycles / 3000, rel=1e-6)


def test_the_machine_is_measured():
    cpus = sorted(os.sched_getaffinity(0))[:2]
    isa = fastlstm.show_config(print_it=False)["isa"]
    found = limits.measure(cpus, isa, {"L1": "32K", "L2": "1024K"}, seconds=1e-4)
    assert found.caches == [32 * K, 1 * M]
    assert found.sizes == [n * K for n in (24, 32, 128, 256, 512, 1024, 2048, 4096, 16384, 131072)]
    assert min(found.fma, found.latency, *found.forward, *found.zigzag) > 0
    assert (found.handover > 0) == (len(cpus) == 2)
    # twelve chains of multiply-adds side by side are sooner done than one after the other
    assert found.fma > found.lanes / found.latency
    assert json.loads(json.dumps(found._asdict())) == found._asdict()
    assert "multiply-adds a ns" in found.sentence()


def test_a_machine_without_a_compiler_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="needs a C compiler"):
        limits.measure([0], "avx2", {"L1": "32K"})


# -- rows and their table ---------------------------------------------------------------------------


class Slow(peers.TimeMajor):
    """The oracle as a peer."""

    name = "slow"

    def __init__(self, stack, threads=1):
        self.weights = stack[0][0]

    def call(self, x):
        return lstm(x.transpose(1, 0, 2), *self.weights)[0].transpose(1, 0, 2)


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "slow", Slow)
    monkeypatch.setattr(rows, "BLOCKS", 2)
    monkeypatch.setattr(rows, "PAUSE", 0)
    return Slow


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_holds_what_was_measured(slow, threads):
    row = measured("amp8", ["slow"], threads)
    runs = {"fastlstm", "step", "slow"} | ({rows.ALONE} if threads > 1 else set())
    assert all(set(row[key]) == runs for key in ("median", "p99", "min", "times", "latency"))
    assert all(0 < row["min"][run] <= row["median"][run] for run in runs)
    assert all(np.all(np.diff(row["latency"][run]) >= 0) for run in runs)
    assert (row["ours"], row["best"]) == ("step", "slow")
    assert row["ratio"] == row["median"]["slow"] / row["median"]["step"] > 1
    assert row["limit_ratio"] == row["median"]["step"] / limits.limit(SHAPES["amp8"], MADE_UP, threads)
    assert (row["gain"] is None) == (threads == 1)
    assert fastlstm.get_num_threads() <= threads
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("names", [[], ["slow"]])
def test_the_lines_of_a_table_stay_in_their_columns(slow, names, threads):
    taken = [measured(name, names, threads) for name in ("amp8", "ts32")]
    columns = table.columns(names, threads)
    lines = [table.line(columns), *(table.line(columns, row) for row in taken)]
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[1:]] == ["amp8", "ts32"]
    assert ("best peer" in lines[0]) == bool(names)
    assert (rows.ALONE in lines[0]) == (threads > 1)
    *told, _ = table.summary(taken).splitlines()
    assert [line.split(":")[0] for line in told] == ["streaming, units up to 48", "sequence, units up to 64"]
    for line in told:
        assert [word for word in ("ratio", "gain", "x limit") if word in line] == (
            ["ratio"] * bool(names) + ["gain"] * (threads > 1) + ["x limit"]
        )


def test_a_wrong_answer_ends_the_run(slow, monkeypatch):
    monkeypatch.setattr(slow, "call", lambda self, x: np.full((len(x), 1, 8), np.nan))
    monkeypatch.setattr(rows, "time_in_turns", lambda *_: pytest.fail("timed a wrong result"))
    with pytest.raises(SystemExit, match=r"amp8: wrong results.*'slow': nan"):
        measured("amp8", ["slow"])


# -- the program and its pictures -------------------------------------------------------------------


def test_the_program_measures_prints_and_writes(tmp_path):
    path = tmp_path / "there" / "a.json"
    options = ["--peers", "", "--id", "amp8", "--id", "ts32", "--shape", "2,3,1,4", "--rounds", "1", "--json", path]
    done = subprocess.run(
        [sys.executable, "-W", "error", BENCH / "compare.py", *options], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "threads: 1, on processors " in done.stdout
    assert "\ncall overhead, 1 unit, 1 step: fastlstm " in done.stdout
    result = json.loads(path.read_text())
    assert [row["shape"]["id"] for row in result["rows"]] == ["amp8", "ts32", "2,3,1,4"]
    assert result["machine"]["threads"] == len(result["machine"]["cpus"]) == 1
    assert set(result["overhead"]["median"]) == {"fastlstm", "step"}
    limits.Constants(**result["machine"]["constants"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--threads", "4096"], "--threads is 4096; this process may use "),
        (["--id", "big"], "--id big: not in bench/shapes.json"),
        (["--peers", "abacus"], "--peers is 'abacus'; installed here: "),
    ],
)
def test_the_program_says_what_it_cannot_do(options, why):
    done = subprocess.run([sys.executable, BENCH / "compare.py", *options], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(why)


def test_the_pictures_are_drawn(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    import plots

    facts = {**machine.describe(), "constants": MADE_UP._asdict()}
    percentiles = list(range(1, 1 + len(rows.PERCENTILES)))
    files = []
    for threads, names in ((1, ["amp8", "ts32", "ts64", "db256b4"]), (2, ["kws118"])):
        drawn = []
        for name in names:
            ours = "step" if name == "amp8" else "fastlstm"
            median = {ours: 10.0, "onnxruntime": 9.0, "jax": 20.0}
            row = {"shape": SHAPES[name], "median": median, "ours": ours, "ratio": 0.9, "best": "onnxruntime"}
            drawn.append(row | ({"latency": dict.fromkeys(median, percentiles)} if name == "amp8" else {}))
        files.append(tmp_path / f"{threads}.json")
        files[-1].write_text(json.dumps({"machine": {**facts, "threads": threads}, "rows": drawn}))
    monkeypatch.setattr(sys, "argv", ["plots.py", *map(str, files), "--to", str(tmp_path)])
    plots.main()
    wanted = ["ratio-1.png", "units-1.png", "latency-1.png", "ratio-2.png", "units-2.png"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in wanted]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for name in wanted)


# -- what it shares with the package ----------------------------------------------------------------


def test_the_packages_shapes_are_standard_ones():
    for name, shape in bench.SHAPES.items():
        assert {**SHAPES[name], **shape._asdict()} == SHAPES[name]
        assert SHAPES[name]["layers"] == 1


@pytest.mark.parametrize("directions", [1, 2])
def test_the_packages_peer_is_an_lstm(rng, directions):
    shapes = [(3, 20), (5, 20), (20,)] * directions
    x, *weights = (rng.standard_normal(shape) for shape in [(2, 7, 3), *shapes])
    wanted = lstm(x, *weights[:3])[0]
    if directions == 2:
        wanted = np.concatenate([wanted, lstm(x[:, ::-1], *weights[3:])[0][:, ::-1]], axis=-1)
    assert np.abs(bench.numpy_lstm(x, *weights) - wanted).max() <= 64 * np.finfo(float).eps


def test_everything_takes_its_turn():
    happened = []
    runs = {name: lambda name=name: happened.append(name) for name in "ab"}
    times = bench.time_in_turns(runs, 2, lambda name: happened.append(f"before {name}"), calls=3)
    finding_out = ["before a", *"aaaa", "before b", *"bbbb"]
    assert happened == finding_out + ["before a", *"aaaa", "before b", *"bbbb"] * 2
    assert {name: taken.shape for name, taken in times.items()} == {"a": (2, 3), "b": (2, 3)}
    assert bench.figures(np.array([[1.0, 2], [3, 4]])) == {"median": 2.5, "p99": pytest.approx(3.97), "min": 1}


def test_a_class_is_told_by_group_and_units():
    told = {table.class_of({"group": g, "units": units}) for g in ("sequence", "batch") for units in (64, 65, 351)}
    assert told == {"sequence, units up to 64", "sequence, units up to 350", "sequence, units over 350", "batch"}
