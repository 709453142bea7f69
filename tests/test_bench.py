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

import compare
import limits
import machine
import peers
import precision
import rows
import table

import fastlstm
from fastlstm import bench
from fastlstm.precision import COST, PRECISIONS

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


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_narrow_weights_are_held_against_what_they_cost(slow, monkeypatch, precision):
    options = (SHAPES["vad128"], ["slow"], None, 1, 1, MADE_UP, precision)
    row = rows.measure(*options)
    assert row["errors"]["slow"] < 1e-6 < row["errors"]["step"] <= COST[precision]
    assert row["limit"] is row["limit_ratio"] is None
    columns = table.columns(["slow"], 1, limited=False)
    lines = [table.line(columns), table.line(columns, row)]
    assert "limit" not in lines[0] and len({len(line) for line in lines}) == 1
    assert "limit" not in table.summary([row])
    json.dumps(row, allow_nan=False)
    monkeypatch.setattr(slow, "call", lambda self, x: np.full((1, 1, 128), 5e-4))  # the peer's must be exact
    with pytest.raises(SystemExit, match="vad128: wrong results"):
        rows.measure(*options)


def test_peers_are_chosen_by_precision():
    found = [peers.installed(precision) for precision in PRECISIONS]
    assert [name for names in found for name in names] == sorted(peers.installed(), key=list(peers.PEERS).index)
    assert set(found[1]) <= {"openvino-bf16"} and not found[2] and set(found[3]) <= {"onnxruntime-int8"}


@pytest.mark.parametrize("name", ["openvino-bf16", "onnxruntime-int8"])
def test_narrow_peers_give_what_their_precision_may_cost(name, rng):
    if name not in peers.installed():
        pytest.skip(f"{name} is not installed")
    stack, x = peers.draw_stack(rng, 8, 32), rng.standard_normal((2, 20, 8)).astype(np.float32)
    peer = peers.PEERS[name](stack)
    error = np.abs(peer.batch_major(peer.prepare(x)()) - rows.oracle(x, stack)).max()
    assert 1e-5 < error <= COST[peer.precision]


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
        (["--precision", "half"], "--precision: precision is 'half'; expected one of float32, bfloat16, float16, int8"),
    ],
)
def test_the_program_says_what_it_cannot_do(options, why):
    done = subprocess.run([sys.executable, BENCH / "compare.py", *options], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(why)


def test_precisions_are_measured_printed_written_and_drawn(tmp_path, monkeypatch, capsys):
    path, options = tmp_path / "p.json", ["--shape", "1,3,40,33", "--shape", "2,1,20,64", "--rounds", "1"]
    monkeypatch.setattr(precision, "UNITS", (8,))
    monkeypatch.setattr(precision, "STEPS", 20)
    monkeypatch.setattr(precision, "pin", lambda threads: [0])
    monkeypatch.setattr(sys, "argv", ["precision.py", *options, "--json", str(path)])
    precision.main()
    _, *shown = capsys.readouterr().out.split("\n\n")
    heading, *lines = shown[0].splitlines()
    assert len(lines) == 2 * len(PRECISIONS) and {len(line) for line in lines} == {len(heading)}
    assert [line.split()[1] for line in shown[2].splitlines()[1:]] == ["PyTorch", "Keras"] * 4
    result = json.loads(path.read_text())
    assert [row["shape"]["id"] for row in result["rows"]] == ["1,3,40,33", "2,1,20,64"]
    for row in result["rows"]:
        assert all(list(row[key]) == list(PRECISIONS) for key in ("errors", "median", "min", "bytes"))
        assert row["bytes"]["int8"] < row["bytes"]["float16"] < row["bytes"]["float32"]
        assert row["errors"]["float32"] < row["errors"]["float16"] < row["errors"]["int8"] <= COST["int8"]
    assert len(result["steps_1000"]) == 8
    pytest.importorskip("matplotlib")
    import plots

    monkeypatch.setattr(sys, "argv", ["plots.py", str(path), "--to", str(tmp_path)])
    plots.main()
    assert capsys.readouterr().out == f"{tmp_path / 'precision.png'}\n"
    assert (tmp_path / "precision.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_wrong_result_of_a_precision_ends_the_run(monkeypatch):
    monkeypatch.setitem(COST, "int8", -1.0)
    with pytest.raises(SystemExit, match="1,3,4,5: wrong result: int8 differs from float64 by"):
        precision.measure(compare.plain((1, 3, 4, 5)), None, 1)


def test_the_pictures_are_drawn(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    import plots

    facts = {**machine.describe(), "constants": MADE_UP._asdict()}
    percentiles = list(range(1, 1 + len(rows.PERCENTILES)))
    files = []
    for threads, own, names in (
        (1, "float32", ["amp8", "ts32", "ts64", "db256b4"]), (2, "float32", ["kws118"]), (2, "int8", ["db256b4"])
    ):  # fmt: skip
        drawn = []
        for name in names:
            ours = "step" if name == "amp8" else "fastlstm"
            median = {ours: 10.0, "onnxruntime": 9.0, "jax": 20.0}
            row = {"shape": SHAPES[name], "median": median, "ours": ours, "ratio": 0.9, "best": "onnxruntime"}
            drawn.append(row | ({"latency": dict.fromkeys(median, percentiles)} if name == "amp8" else {}))
        files.append(tmp_path / f"{threads}-{own}.json")
        files[-1].write_text(json.dumps({"machine": {**facts, "threads": threads, "precision": own}, "rows": drawn}))
    monkeypatch.setattr(sys, "argv", ["plots.py", *map(str, files), "--to", str(tmp_path)])
    plots.main()
    wanted = ["ratio-1.png", "units-1.png", "latency-1.png", "ratio-2.png", "units-2.png", "ratio-2-int8.png"]
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
