"""Every command does what it says; whatever is wrong ends in one line and an exit code, never a traceback."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_console import Terminal

import fastlstm
from fastlstm import Sequential, bench, cli, demo
from fastlstm.layers import LSTM, Dense, InputLayer

DATA = Path(fastlstm.__file__).parent / "data"
SUNSPOTS = str(DATA / "sunspots.keras")
COMMANDS = ("demo", "info", "inspect", "predict", "verify", "convert", "bench")
HEADER = 128  # bytes of a small .npy file's header


def run(capsys, *arguments):
    """Exit code, standard output and standard error."""
    code = cli.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def command(*arguments, **options):
    options = {"capture_output": True, "text": True, "timeout": 60} | options
    return subprocess.run([sys.executable, "-P", "-W", "error", "-m", "fastlstm", *map(str, arguments)], **options)


def refused(result, code, pattern):
    """The result of ``run`` is one line on the standard error that says what is wrong."""
    assert result[:2] == (code, "")
    assert re.fullmatch(r"fastlstm: [^\n]+\n", result[2])
    assert re.search(pattern, result[2]), result[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory that holds 50 windows in ``x.npy``."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(3).normal(size=(50, 22, 1)).astype("float32"))
    return tmp_path


# -- the command itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], *([name, "-h"] for name in COMMANDS)])
def test_help_gives_an_example(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    assert out.startswith("usage: fastlstm")
    assert re.search(r"\nexample: .*fastlstm \w+", out)


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"fastlstm {fastlstm.__version__}\n", "")


def test_no_command_is_wrong_usage_and_shows_the_help(capsys):
    code, out, err = run(capsys)
    assert (code, out) == (2, "")
    assert err.startswith("usage: fastlstm")


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["forecast"], "invalid choice: 'forecast'"),
        (["predict"], "required: MODEL, INPUT, -o/--output; fastlstm predict --help"),
        (["predict", "m", "x", "-o", "y", "--batch-size", "0"], "'0' is not a positive integer"),
        (["predict", "m", "x", "-o", "y", "--batch-size", "many"], "'many' is not a positive integer"),
        (["bench", "--shape", "big"], "'big' is not one of amp8, vad128, od837a, kws118, ocv192, db256, gen128b64"),
        (["bench", "--rounds", "0"], "'0' is not a positive integer"),
        (["bench", "--threads", "-1"], "'-1' is not a positive integer"),
        (["demo", "more"], "unrecognized arguments: more"),
        (["info", "--plot", "a\nb"], "unrecognized arguments: --plot a b"),
    ],
)
def test_wrong_usage_is_one_line_and_2(capsys, arguments, pattern):
    refused(run(capsys, *arguments), 2, pattern)


def test_arguments_come_from_the_command_line():
    result = command("--version")
    assert (result.returncode, result.stdout) == (0, f"fastlstm {fastlstm.__version__}\n")
    assert command().returncode == 2


def test_help_imports_no_more_than_the_package_itself():
    code = (
        "import sys, fastlstm.cli; fastlstm.cli.main(['--help'])\n"
        "assert not {'h5py', 'matplotlib', 'fastlstm.demo', 'fastlstm.bench', "
        "'fastlstm.verifying', 'fastlstm.saving_keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)


def test_info_prints_the_configuration(capsys, monkeypatch):
    monkeypatch.setenv("FASTLSTM_ISA", "scalar")
    code, out, err = run(capsys, "info")
    assert (code, err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    shown = fastlstm.show_config(print_it=False)
    assert facts == {k: " ".join(v) if isinstance(v, list) else str(v) for k, v in shown.items()}
    assert facts["isa"] == "scalar"
    assert facts["numpy"] == np.__version__


@pytest.mark.parametrize("arguments", [["info"], ["demo"], ["bench"], ["predict", SUNSPOTS, "x.npy", "-o", "y.npy"]])
def test_an_impossible_instruction_set_is_one_line_in_every_command(capsys, monkeypatch, here, arguments):
    monkeypatch.setenv("FASTLSTM_ISA", "mmx")
    refused(run(capsys, *arguments), 1, "FASTLSTM_ISA='mmx' is not a kernel of this build; these run here: ")
    assert sorted(os.listdir()) == ["x.npy"]


def test_ctrl_c_is_130_without_a_traceback(capsys, monkeypatch):
    def interrupted(plot):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    refused(run(capsys, "demo"), 130, "interrupted")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main(["demo"]) == 130
    assert sys.stderr.getvalue() == "\nfastlstm: interrupted\n"


def test_too_little_memory_is_one_line(capsys, monkeypatch):
    def starved(plot):
        raise MemoryError

    monkeypatch.setattr(demo, "run", starved)
    refused(run(capsys, "demo"), 1, "out of memory")


@pytest.mark.parametrize(
    ("argument", "unbuffered", "code"),
    # The last: argparse itself passes over what it cannot print.
    [("info", "", 141), ("info", "1", 141), ("--help", "", 141), ("--help", "1", 0)],
)
def test_a_reader_that_leaves_is_told_nothing(argument, unbuffered, code):
    reading, writing = os.pipe()
    os.close(reading)
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open(writing, "wb") as pipe:
        result = command(argument, stdout=pipe, stderr=subprocess.PIPE, capture_output=False, env=env)
    assert (result.returncode, result.stderr) == (code, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "wb") as full:
        result = command("info", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    refused((result.returncode, "", result.stderr), 1, "No space left")


# -- demo -------------------------------------------------------------------------------------------


def check_demo(out):
    rows = re.findall(r"^(\d{4}) +(\d+\.\d) +(\d+\.\d) +([+-]\d+\.\d)$", out, re.MULTILINE)
    assert [int(year) for year, *_ in rows] == list(range(1989, 2009))
    assert all(abs(float(f) - float(t) - float(e)) < 0.16 for _, t, f, e in rows)
    model, naive = (float(x) for x in re.findall(r"(\d+\.\d\d) sunspots", out))
    assert model < naive / 2
    (difference,) = re.findall(r"^largest difference +(\S+) from Keras's own output", out, re.MULTILINE)
    assert float(difference) <= demo.TOLERANCE
    assert "FAILED" not in out


def test_demo_forecasts_as_keras_does_and_draws(capsys, here):
    pytest.importorskip("matplotlib")
    code, out, err = run(capsys, "demo")
    assert (code, err) == (0, "")
    check_demo(out)
    assert out.endswith("\nPicture: sunspots.png\n")
    assert (here / "sunspots.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    ("name", "start"), [("ü.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("bare", b"\x89PNG")]
)
def test_demo_draws_where_and_as_it_is_told(capsys, here, name, start):
    pytest.importorskip("matplotlib")
    code, out, err = run(capsys, "demo", "--plot", name)
    assert (code, err) == (0, "")
    assert out.endswith(f"\nPicture: {name}\n")
    assert (here / name).read_bytes().startswith(start)
    assert sorted(os.listdir()) == sorted([name, "x.npy"])


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("no/a.png", "No such file"), (".", "Is a directory"), ("a.xyz", "'xyz' is not supported")],
)
def test_demo_fails_where_a_picture_asked_for_cannot_be_written(capsys, here, name, pattern):
    pytest.importorskip("matplotlib")
    code, out, err = run(capsys, "demo", "--plot", name)
    check_demo(out)
    refused((code, "", err), 1, pattern)


def test_demo_does_without_a_picture_that_nobody_asked_for(capsys, here):
    pytest.importorskip("matplotlib")
    os.mkdir("sunspots.png")
    code, out, err = run(capsys, "demo")
    assert (code, err) == (0, "")
    check_demo(out)
    assert "\nNo picture: 'sunspots.png' cannot be written: " in out


def test_demo_runs_without_matplotlib(capsys, monkeypatch, here):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    code, out, err = run(capsys, "demo")
    assert (code, err) == (0, "")
    check_demo(out)
    assert out.endswith('\nNo picture: pip install "fastlstm[plot]" adds what draws it\n')
    code, out, err = run(capsys, "demo", "--plot", "a.png")
    refused((code, "", err), 1, r'pip install "fastlstm\[plot\]"')


def test_demo_passes_on_every_instruction_set(isa, here):
    result = command("demo", env=os.environ | {"FASTLSTM_ISA": isa})
    assert (result.returncode, result.stderr) == (0, "")
    check_demo(result.stdout)
    assert re.search(rf"^instruction set +{isa}$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("change", [1e-3, np.nan])
def test_demo_fails_where_the_result_is_not_keras_own(capsys, monkeypatch, here, change):
    data = here / "package" / "data"
    data.mkdir(parents=True)
    shutil.copy(SUNSPOTS, data)
    with np.load(DATA / "sunspots.npz") as stored:
        arrays = dict(stored)
    arrays["keras_forecast"][7] += change
    np.savez(data / "sunspots.npz", **arrays)
    # The series and the model stay as they are; only what Keras is said to have given changes.
    monkeypatch.setattr(demo.resources, "files", lambda package: here / "package")
    code, out, err = run(capsys, "demo")
    assert (code, err) == (1, "")
    assert re.search(
        r"^FAILED: the output differs from Keras's by (\d\.\de-04|nan); allowed", out, re.MULTILINE
    )


# -- bench ------------------------------------------------------------------------------------------

QUICK = ("bench", "--rounds", "1", "--shape", "amp8")


@pytest.fixture
def threads_as_before():
    threads = fastlstm.get_num_threads()
    yield
    fastlstm.set_num_threads(threads)


def test_bench_prints_a_table_and_writes_what_it_measured(capsys, here, threads_as_before):
    code, out, err = run(capsys, *QUICK, "--shape", "od837a", "--threads", "1", "--json", "b.json")
    assert (code, err) == (0, "")
    assert re.search(r"^threads +1$", out, re.MULTILINE)
    table = out[out.index("\nshape ") + 1 :].splitlines()
    assert [line.split()[0] for line in table] == ["shape", "amp8", "od837a"]
    assert len({len(line) for line in table}) == 1
    result = json.loads(Path("b.json").read_text())
    assert result["machine"]["threads"] == 1
    assert [(row["id"], row["call"], row["directions"]) for row in result["rows"]] == [
        ("amp8", "step", 1),
        ("od837a", "layer", 2),
    ]
    for row in result["rows"]:
        assert max(row["errors"].values()) <= bench.TOLERANCE
        for by in ("fastlstm", "numpy"):
            assert 0 < row[by]["min"] <= row[by]["median"] <= row[by]["p99"]
        assert row["ratio"] == row["numpy"]["median"] / row["fastlstm"]["median"]


def test_bench_shows_a_bar_on_a_terminal_only(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main([*QUICK]) == 0
    assert sys.stderr.getvalue().rstrip(" s0\n").endswith(f"4/4 [{'=' * 30}]")


@pytest.mark.parametrize(("by", "error"), [("fastlstm", "nan"), ("numpy", r"1\.0e\+00")])
def test_bench_refuses_to_time_a_wrong_result(capsys, monkeypatch, here, by, error):
    right = bench.numpy_lstm
    if by == "numpy":
        monkeypatch.setattr(bench, "numpy_lstm", lambda x, *w: right(x, *w) + (x.dtype == np.float32))
    else:
        monkeypatch.setattr(fastlstm.Stream, "step", lambda self, x, out: np.full_like(out, np.nan))
    monkeypatch.setattr(bench, "time_in_turns", lambda *_: pytest.fail("timed a wrong result"))
    code, _, err = run(capsys, *QUICK, "--json", "b.json")
    refused((code, "", err), 1, f"bench: amp8: {by} differs from float64 by {error}; allowed: 7.6e-06")
    assert os.listdir() == ["x.npy"]


def test_bench_says_at_once_that_it_cannot_write(capsys, monkeypatch):
    monkeypatch.setattr(bench, "run", lambda *_: pytest.fail("measured for nothing"))
    refused(run(capsys, *QUICK, "--json", "no/b.json"), 1, "'no/b.json': cannot be written: No such file")


# -- predict ----------------------------------------------------------------------------------------

FORMS = {
    "float64": lambda x: x.astype("float64"),
    "int8": lambda x: (9 * x).astype("int8"),
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran order": lambda x: np.asfortranarray(x.repeat(2, 0)),
    "no rows": lambda x: x[:0],
    "last axis left out": lambda x: x[:, :, 0],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["keras", "npz"])
def test_predict_writes_what_the_model_predicts(capsys, here, kind, form):
    model, path = fastlstm.load_model(SUNSPOTS), SUNSPOTS
    if kind == "npz":
        path = "model.npz"
        model.save(path)
    x = FORMS[form](np.load("x.npy"))
    np.save("in.npy", x)
    code, out, err = run(capsys, "predict", path, "in.npy", "-o", "out.npy")
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"out.npy: {re.escape(f'{x.shape} -> ({len(x)}, 1)')} in [\d.e-]+ s\n", out)
    y, wanted = np.load("out.npy", allow_pickle=False), model.predict(x, verbose=0)
    assert (y.dtype, y.shape, y.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
    assert not list(here.glob("*.part"))


def test_predict_takes_rows_as_many_at_a_time_as_told(capsys, monkeypatch, here):
    sizes = []
    monkeypatch.setattr(Sequential, "__call__", lambda self, x: sizes.append(len(x)) or x[:, 0])
    for size in ([], ["--batch-size", 20], ["--batch-size", 10**30]):
        assert run(capsys, "predict", SUNSPOTS, "x.npy", "-o", "y.npy", *size)[0] == 0
    assert sizes == [32, 18, 20, 20, 10, 50]


def test_predict_shows_a_bar_on_a_terminal(capsys, monkeypatch, here):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main(["predict", SUNSPOTS, "x.npy", "-o", "y.npy"]) == 0
    assert sys.stderr.getvalue().startswith("\r2/2 [====")


@pytest.mark.parametrize("name", ["y", "y.dat", "y.npy", "ü y.npy.", "y\udce9.npy"])
def test_predict_writes_exactly_where_it_is_told(here, name):
    result = command("predict", SUNSPOTS, "x.npy", "-o", name)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(os.listdir()) == sorted(["x.npy", name])
    assert np.load(name).shape == (50, 1)


def test_predict_replaces_an_older_output_and_follows_a_link(capsys, here):
    os.mkdir("there")
    Path("there/old.npy").write_text("old")
    os.symlink("there/old.npy", "link.npy")
    mask = os.umask(0o027)
    try:
        assert run(capsys, "predict", SUNSPOTS, "x.npy", "-o", "link.npy")[0] == 0
    finally:
        os.umask(mask)
    assert os.path.islink("link.npy") and os.listdir("there") == ["old.npy"]
    assert np.load("there/old.npy").shape == (50, 1)
    assert os.stat("there/old.npy").st_mode & 0o777 == 0o640


def put(name, content):
    Path(name).write_bytes(content)
    return name


def stored(array):
    np.save("in.npy", array)
    return "in.npy"


INPUTS = {
    "missing": (lambda: "no.npy", "'no.npy': cannot be read: No such file"),
    "directory": (lambda: os.mkdir("d") or "d", "'d': cannot be read: not a regular file"),
    "pipe": (lambda: os.mkfifo("p") or "p", "'p': cannot be read: not a regular file"),
    "empty": (lambda: put("e.npy", b""), "'e.npy': is not a complete .npy file of numbers"),
    "text": (lambda: put("t.npy", b"1,2,3\n"), "'t.npy': is not a complete .npy file of numbers"),
    "npz": (lambda: shutil.copy(DATA / "sunspots.npz", "s.npy"), "is not a complete .npy file of numbers"),
    "pickle": (lambda: put("p.npy", pickle.dumps([1.0])), "'p.npy': is not a complete .npy file"),
    "cut short": (lambda: put("c.npy", Path("x.npy").read_bytes()[:-1]), "is not a complete .npy file"),
    "long header": (lambda: put("l.npy", b"\x93NUMPY\x01\0\xff\xff" + b"{" * 65535), "is not a complete"),
    "objects": (lambda: stored(np.array([None, 1.0])), "not a complete .npy file of numbers .*objects"),
    "text array": (lambda: stored(np.array(["a"])), r"input is <U1 of shape \(1,\); expected numbers"),
    "records": (lambda: stored(np.zeros(3, [("a", "f4")])), "expected numbers"),
    "complex": (lambda: stored(np.zeros((3, 22, 1), complex)), "input is complex128"),
    "scalar": (lambda: stored(np.float32(1)), "expected numbers"),
    "shape": (lambda: stored(np.zeros((3, 22, 2))), r"shape \(3, 22, 2\); expected \(None, 22, 1\)"),
    "rank": (lambda: stored(np.zeros(5)), r"shape \(5,\); expected \(None, 22, 1\)"),
}


@pytest.mark.parametrize("what", INPUTS)
def test_predict_refuses_what_is_no_input(capsys, here, what):
    make, pattern = INPUTS[what]
    put("y.npy", b"old")
    refused(run(capsys, "predict", SUNSPOTS, make(), "-o", "y.npy"), 1, pattern)
    assert Path("y.npy").read_bytes() == b"old"
    assert not list(here.glob("*.part"))


def test_predict_runs_nothing_that_is_pickled_in_its_input(capsys, here):
    class Gadget:
        def __reduce__(self):
            return os.mkdir, ("ran",)

    np.save("in.npy", np.array([Gadget()], dtype=object), allow_pickle=True)
    refused(run(capsys, "predict", SUNSPOTS, "in.npy", "-o", "y.npy"), 1, "objects")
    put("in.npy", pickle.dumps(Gadget()))
    refused(run(capsys, "predict", SUNSPOTS, "in.npy", "-o", "y.npy"), 1, "not a complete")
    assert sorted(os.listdir()) == ["in.npy", "x.npy"]


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        ("no.keras", "'no.keras': cannot be read: No such file"),
        (".", "'.': is no model"),
        ("x.npy", "'x.npy': is no model file"),
    ],
)
def test_predict_refuses_what_is_no_model(capsys, here, model, pattern):
    refused(run(capsys, "predict", model, "x.npy", "-o", "y.npy"), 1, pattern)


def test_predict_refuses_a_model_with_several_outputs(capsys, here):
    Sequential([InputLayer((22, 1)), LSTM(4, return_state=True)]).save("m.npz")
    pattern = "'y.npy': the model has 3 outputs; name a .npz file"
    refused(run(capsys, "predict", "m.npz", "x.npy", "-o", "y.npy"), 1, pattern)
    assert not os.path.exists("y.npy")


@pytest.mark.parametrize(
    ("output", "pattern"),
    [
        ("no/y.npy", "'no/y.npy': cannot be written: No such file"),
        ("x.npy/y.npy", "'x.npy/y.npy': cannot be written: Not a directory"),
        (".", "'.': cannot be written: not a regular file"),
        ("", "'': cannot be written: not a regular file"),
        ("/dev/null", "'/dev/null': cannot be written: not a regular file"),
        ("a" * 300, "cannot be written: File name too long"),
    ],
)
def test_predict_says_at_once_that_it_cannot_write(capsys, monkeypatch, here, output, pattern):
    monkeypatch.setattr(Sequential, "predict", lambda *_, **__: pytest.fail("predicted for nothing"))
    refused(run(capsys, "predict", SUNSPOTS, "x.npy", "-o", output), 1, pattern)
    assert sorted(os.listdir()) == ["x.npy"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is protected from the superuser")
def test_predict_leaves_what_is_write_protected(capsys, here):
    put("y.npy", b"old")
    os.chmod("y.npy", 0o444)
    refused(run(capsys, "predict", SUNSPOTS, "x.npy", "-o", "y.npy"), 1, "write-protected")
    os.chmod(here, 0o555)
    try:
        refused(run(capsys, "predict", SUNSPOTS, "x.npy", "-o", "z.npy"), 1, "Permission denied")
    finally:
        os.chmod(here, 0o755)
    os.chmod("x.npy", 0)
    refused(run(capsys, "predict", SUNSPOTS, "x.npy", "-o", "z.npy"), 1, "cannot be read: Permission denied")


@pytest.mark.parametrize("output", ["x.npy", "./x.npy", "link.npy", "m.npz"])
def test_predict_does_not_write_over_what_it_reads(capsys, here, output):
    fastlstm.load_model(SUNSPOTS).save("m.npz")
    os.symlink("x.npy", "link.npy")
    before = [Path(name).read_bytes() for name in ("x.npy", "m.npz")]
    refused(
        run(capsys, "predict", "m.npz", "x.npy", "-o", output), 2, "the output would replace '[xm].np[yz]'"
    )
    assert before == [Path(name).read_bytes() for name in ("x.npy", "m.npz")]


def test_a_full_disk_leaves_the_older_output(here):
    put("y.npy", b"old")
    room = HEADER + 100  # for half of the 50 numbers

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    result = command("predict", SUNSPOTS, "x.npy", "-o", "y.npy", preexec_fn=fill)
    refused((result.returncode, result.stdout, result.stderr), 1, "'y.npy': cannot be written: ")
    assert Path("y.npy").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["x.npy", "y.npy"]


def test_ctrl_c_ends_a_long_prediction_and_leaves_no_file(here):
    Sequential([InputLayer((None, 2)), LSTM(4), Dense(3)]).save("m.npz")
    np.lib.format.open_memmap("long.npy", "w+", "f4", (1, 30_000_000, 2))  # zeros that take no room on disk
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "fastlstm", "predict", "m.npz", "long.npy", "-o", "y.npy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while not list(here.glob("y.npy.*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"fastlstm: interrupted\n")
    assert process.returncode == 130
    assert sorted(os.listdir()) == ["long.npy", "m.npz", "x.npy"]
