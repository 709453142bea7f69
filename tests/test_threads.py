"""Several threads: how many a call uses, that it uses them, and that no bit, exception or fork depends on it."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_reproducible import AT_ONCE, interrupted

import fastlstm
from fastlstm import FastLSTMError, Sequential, threads
from fastlstm.layers import Bidirectional, Dense, InputLayer

HERE = Path(__file__).parent
WRONG = [0, -1, 1.5, True, "2", None]


def python(code, *arguments, **environment):
    """Run code in a process of its own; its output, or what it ended with."""
    command = [sys.executable, "-P", "-c", code, *arguments]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(HERE)]))
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if skipped := re.search(r"Skipped: (.*)", done.stderr):
        pytest.skip(skipped[1])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- how many -------------------------------------------------------------------------------------


@pytest.fixture
def default():
    """The number of threads by default, put back afterwards."""
    before = fastlstm.get_num_threads()
    yield before
    fastlstm.set_num_threads(before)


def test_the_default_is_what_was_set_up_to_the_processors_at_hand(default):
    assert default <= threads.available()
    for number in (1, threads.available(), 1000):
        fastlstm.set_num_threads(number)
        assert fastlstm.get_num_threads() == min(number, threads.available())


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_number_is_refused_by_name(default, wrong):
    with pytest.raises(FastLSTMError, match=r"set_num_threads: threads is .*expected a positive integer"):
        fastlstm.set_num_threads(wrong)
    assert fastlstm.get_num_threads() == default
    for kind in (fastlstm.LSTM, fastlstm.LSTMCell):
        if wrong is not None:
            with pytest.raises(FastLSTMError, match=f"{kind.__name__} 'a': threads is .*expected a positive integer"):
                kind(3, threads=wrong, name="a")


def test_threads_are_no_part_of_a_saved_configuration():
    layer = Bidirectional(fastlstm.LSTM(3, threads=1))
    assert layer.forward_layer.threads == layer.backward_layer.threads == 1
    assert "threads" not in str(layer.get_config())
    with pytest.raises(FastLSTMError, match="threads"):
        fastlstm.LSTM.from_config({"units": 3, "threads": 2})


ASK = "import fastlstm; print(fastlstm.get_num_threads())"
REFUSED = """
import fastlstm
for ask in (fastlstm.get_num_threads, lambda: fastlstm.LSTM(3)([[[1.0]]])):
    try:
        ask()
    except fastlstm.FastLSTMError as error:
        print(error)
"""


@pytest.mark.parametrize("given", ["", "1", " 2 ", "1000"])
def test_the_environment_sets_the_default(given):
    wanted = min(int(given or 1000), threads.available())
    assert python(ASK, FASTLSTM_NUM_THREADS=given) == str(wanted)


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "2,", pytest.param("9" * 5000, id="5000 digits")])
def test_a_wrong_environment_is_refused_by_name(given):
    lines = python(REFUSED, FASTLSTM_NUM_THREADS=given).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("FASTLSTM_NUM_THREADS is ") and line.endswith("expected a positive integer")


def test_the_affinity_mask_is_a_limit():
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    assert python(one + ASK, FASTLSTM_NUM_THREADS="8") == "1"
    layer = "print(fastlstm.LSTM(3, threads=8).threads, fastlstm.set_num_threads(8), fastlstm.get_num_threads())"
    assert python(one + "import fastlstm; " + layer) == "1 None 1"


@pytest.mark.parametrize(("limit", "wanted"), [(0.3, 1), (1.0, 1), (1.2, 2), (np.inf, 8), (100.0, 8)])
def test_the_quota_is_a_limit(monkeypatch, limit, wanted):
    monkeypatch.setattr(threads, "quota", lambda: limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert threads.available() == wanted


CGROUPS = {
    "version 2": ("0::/a/b", {"a/b/cpu.max": "150000 100000"}, 1.5),
    "version 2, without a limit": ("0::/a/b", {"a/b/cpu.max": "max 100000", "cpu.max": "max 100000"}, np.inf),
    "version 2, limited further out": ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
    "version 2, the least counts": ("0::/a/b", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "400000 100000"}, 3.0),
    "version 2, inside a container": ("0::/not/mounted/here", {"cpu.max": "200000 100000"}, 2.0),
    "version 2, of its root": ("0::/", {"cpu.max": "200000 50000"}, 4.0),
    "version 2, without files": ("0::/a/b", {}, np.inf),
    "version 2, damaged": ("0::/a", {"a/cpu.max": "", "cpu.max": "100000 0"}, np.inf),
    "version 1": (
        "5:memory:/m\n3:cpu,cpuacct:/a",
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        2.5,
    ),
    "version 1, without a limit": (
        "3:cpu,cpuacct:/a",
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        np.inf,
    ),
    "version 1, limited further out": (
        "3:cpu:/a/b",
        {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "200000", "cpu/a/b/cpu.cfs_quota_us": "-1"},
        0.5,
    ),
    "version 1, of another controller": (
        "3:cpuset:/a",
        {"cpuset/a/cpu.cfs_quota_us": "100000", "cpuset/a/cpu.cfs_period_us": "100000"},
        np.inf,
    ),
    "version 1, without the period": ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "100000"}, np.inf),
}


@pytest.mark.parametrize("name", CGROUPS)
def test_the_quota_is_the_least_of_all_groups_around_this_process(tmp_path, name):
    groups, files, wanted = CGROUPS[name]
    membership = tmp_path / "cgroup"
    membership.write_text(groups + "\n")
    for path, text in files.items():
        (tmp_path / "fs" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / path).write_text(text + "\n")
    assert threads.quota(tmp_path / "fs", membership) == wanted


def test_there_is_no_quota_without_groups(tmp_path):
    assert threads.quota(tmp_path, tmp_path / "missing") == np.inf


# ---- that they are used ---------------------------------------------------------------------------

needs_two = pytest.mark.skipif(threads.available() < 2, reason="this process has one processor: nothing is shared")


def lstm(units, number, **options):
    return fastlstm.LSTM(units, threads=number, **options)


def stack(number, **options):
    below, above = lstm(128, number, return_sequences=True, **options), lstm(128, number, **options)
    return Sequential([InputLayer((None, 16)), below, above])


# what the threads share: what runs then, on so many threads, and its rows
KINDS = {
    "rows": (lambda n, **options: lstm(64, n, **options), 48),
    "units": (lambda n, **options: lstm(512, n, **options), 1),
    "layers": (stack, 1),
    "directions": (lambda n, **options: Bidirectional(lstm(128, n, **options)), 1),
}


def made(name, number, **options):
    """What runs, with the same weights whatever the number of threads."""
    runs = KINDS[name][0](number, **options)
    runs.build((None, None, 16))
    rng = np.random.default_rng(5)
    runs.set_weights([rng.standard_normal(w.shape) / 8 for w in runs.get_weights()])
    return runs


def sequences(name, steps):
    return np.random.default_rng(6).standard_normal((KINDS[name][1], steps, 16)).astype(np.float32)


def is_shared(call):
    """Whether the other threads' processor time, which some systems count in ticks, shows that they took part."""
    own, whole = -time.thread_time(), -time.process_time()
    while own + time.thread_time() < 0.05:
        call()
    own, whole = own + time.thread_time(), whole + time.process_time()
    return whole > 1.25 * own


class Neighbours:
    """What other programs do on this machine from now on: where they hold a thread up, it is not counted on."""

    def __init__(self):
        self.time, self.used = time.monotonic(), self.use()

    @staticmethod
    def use():
        """Their seconds of processor time."""
        user, nice, system, _, _, *other = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
        return (user + nice + system + sum(other)) / os.sysconf("SC_CLK_TCK") - time.process_time()

    def blame(self):
        """No second thread took part in anything."""
        busy = (self.use() - self.used) / (time.monotonic() - self.time)
        if busy > 0.1:
            pytest.skip(f"other programs kept {busy:.1f} processors busy, and the second thread from its work")
        pytest.fail("no second thread took part, with nothing in its way")


def until_shared(call):
    """Call until a second thread takes its part."""
    neighbours = Neighbours()
    if not any(is_shared(call) for _ in range(100)):
        neighbours.blame()


@needs_two
@pytest.mark.parametrize("name", KINDS)
def test_a_second_thread_takes_its_part_where_it_may(name):
    one, two, x = made(name, 1), made(name, 2), sequences(name, 300)
    until_shared(lambda: two(x))
    assert not any(is_shared(lambda: one(x)) for _ in range(3))


# ---- that no bit depends on them ------------------------------------------------------------------

UNITS, BATCHES = [1, 3, 5, 20, 118, 128, 200, 256], [1, 2, 5, 13, 40, 130]
FEATURES, STEPS = [1, 3, 64], [0, 1, 2, 50, 77]
WORK = 4e7  # multiply-adds of a call, about; where one step takes more, of that


def drawn(rng, isa):
    """Sizes, and a layer's options: (units, batch, features, steps, options)."""
    units, batch, features = (int(rng.choice(sizes)) for sizes in (UNITS, BATCHES, FEATURES))
    most = WORK / (4 * batch * units * (units + features)) / (10 if isa.startswith("scalar") else 1)
    steps = int(rng.choice([n for n in STEPS if n <= max(most, 1)]))
    chance = {name: bool(rng.random() < p) for name, p in (
        ("return_sequences", 0.6), ("go_backwards", 0.3), ("stateful", 0.2), ("zero_output_for_mask", 0.3),
    )}  # fmt: skip
    cell = {"activation": "relu", "recurrent_activation": "hard_sigmoid"} if rng.random() < 0.2 else {}
    dtype = "float64" if rng.random() < 0.3 else "float32"
    return units, batch, features, steps, {"return_state": True, "dtype": dtype, "isa": isa, **chance, **cell}


def alike(makers, features, rng):
    """What each of ``makers`` makes, all with the same weights."""
    twins = [make() for make in makers]
    twins[0].build((None, None, features))
    weights = [rng.uniform(-1, 1, w.shape) / np.sqrt(w.shape[-1] / 4) for w in twins[0].get_weights()]
    for twin in twins:
        twin.build((None, None, features))
        twin.set_weights(weights)
    return twins


def call_arguments(rng, x, units, states):
    """A mask and an initial state of that many arrays, or not."""
    arguments = {}
    if rng.random() < 0.4:
        arguments["mask"] = rng.random(x.shape[:2]) < rng.choice([0.0, 0.6])
    if rng.random() < 0.5:
        arguments["initial_state"] = [rng.uniform(-1, 1, (len(x), units)).astype(x.dtype) for _ in range(states)]
    return arguments


def numbers_of_threads():
    return range(1, min(threads.available(), 4) + 1)


def draw_layers(rng, isa):
    units, batch, features, steps, options = drawn(rng, isa)
    twins = alike([lambda n=n: fastlstm.LSTM(units, threads=n, **options) for n in numbers_of_threads()], features, rng)
    x = rng.standard_normal((batch, steps, features)).astype(options["dtype"])
    arguments = call_arguments(rng, x, units, 2)
    return [lambda layer=layer: layer(x, **arguments) for layer in twins]


def draw_directions(rng, isa):
    units, batch, features, steps, options = drawn(rng, isa)
    options |= {"go_backwards": False}
    merge = ["concat", "sum", "mul", "ave", None][rng.integers(5)]
    twins = alike([
        lambda n=n: Bidirectional(fastlstm.LSTM(units, threads=n, **options), merge, dtype=options["dtype"])
        for n in numbers_of_threads()
    ], features, rng)  # fmt: skip
    x = rng.standard_normal((batch, steps, features)).astype(options["dtype"])
    arguments = call_arguments(rng, x, units, 4)
    return [lambda layer=layer: layer(x, **arguments) for layer in twins]


def draw_stacks(rng, isa):
    units, batch, features, steps, options = drawn(rng, isa)
    count, dtype, last = rng.choice([2, 3, 5]), options["dtype"], options["return_sequences"]
    options |= {"return_sequences": True, "go_backwards": False, "return_state": False}

    def make(n):
        below = [fastlstm.LSTM(units, threads=n, **options) for _ in range(count - 1)]
        top = fastlstm.LSTM(units, threads=n, **{**options, "return_sequences": last})
        return Sequential([InputLayer((None, features), dtype=dtype), *below, top, Dense(3, dtype=dtype)])

    twins = alike([lambda n=n: make(n) for n in numbers_of_threads()], features, rng)
    x = rng.standard_normal((batch, steps, features)).astype(dtype)
    mask = {"mask": rng.random((batch, steps)) < 0.6} if rng.random() < 0.3 else {}
    return [lambda model=model: [model(x, **mask)] for model in twins]


def draw_streams(rng, isa):
    units, batch, features, steps, options = drawn(rng, isa)
    options |= {"go_backwards": False}
    twins = alike([lambda n=n: fastlstm.LSTM(units, threads=n, **options) for n in numbers_of_threads()], features, rng)
    x = rng.standard_normal((batch, steps, features)).astype(options["dtype"])
    cuts = [0, *sorted(rng.integers(0, steps + 1, 2)), steps]

    def run(layer):
        stream = layer.stream(batch)
        parts = [stream.run(x[:, a:b]) for a, b in itertools.pairwise(cuts)]
        stream.reset()
        by_step = [stream.step(x[:, t]) for t in range(steps)]
        return np.concatenate(parts, axis=1), np.stack(by_step, 1) if by_step else parts[0], *stream.state

    return [lambda layer=layer: run(layer) for layer in twins]


@needs_two
@pytest.mark.parametrize("draw", [draw_layers, draw_directions, draw_stacks, draw_streams])
def test_no_bit_depends_on_the_threads(isa, rng, draw):
    own, others, neighbours = 0, time.thread_time() - time.process_time(), Neighbours()
    for n in range(400):
        alone, *shared = draw(rng, isa)
        wanted = *alone(), *alone()  # twice: a layer may be stateful
        own -= time.thread_time()
        found = [(*call(), *call()) for call in shared]
        own += time.thread_time()
        for arrays in found:
            for f, w in zip(arrays, wanted, strict=True):
                assert f.tobytes() == w.tobytes()
        if n >= 40 and others + time.process_time() - time.thread_time() > own / 10:
            return
    neighbours.blame()


@needs_two
@pytest.mark.parametrize("name", KINDS)
def test_many_threads_may_call_what_shares_its_work(name):
    runs, alone, wrong = made(name, 2), made(name, 1), []
    inputs = [sequences(name, steps) for steps in (30, 60, 90, 120)]
    wanted = [alone(x) for x in inputs]

    def work(n):
        for _ in range(20):
            if not np.array_equal(runs(inputs[n]), wanted[n]):
                wrong.append(n)

    callers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


# ---- what comes in between ------------------------------------------------------------------------

FORKS = """
import os, signal, threading
import numpy as np
import fastlstm
from test_threads import made, sequences, until_shared

runs, x = made("units", 2), sequences("units", 300)
wanted = made("units", 1)(x)

def check():
    for _ in range(3):
        assert np.array_equal(runs(x), wanted)
    assert len(os.listdir("/proc/self/task")) - threading.active_count() == 1

def fork_and_check():
    child = os.fork()
    if child == 0:
        try:
            check()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

until_shared(check)
fork_and_check()  # the pool is idle
check()

done, wrong = threading.Event(), []
def work():
    while not done.is_set():
        wrong.extend([1] * (not np.array_equal(runs(x), wanted)))
other = threading.Thread(target=work)
other.start()
for _ in range(10):  # the other thread has it, most of the time
    fork_and_check()
done.set()
other.join()
assert not wrong
check()

# a signal's handler forks inside a call: the parent's goes on; the child's does so, too, or says that it cannot
def handler(*_):
    global child
    child = os.fork()
signal.signal(signal.SIGALRM, handler)
parent, long = os.getpid(), np.broadcast_to(x[:, :1], (1, 8_000, 16))
whole = runs(long)
for _ in range(3):
    check()
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    try:
        right = np.array_equal(runs(long), whole)
    except fastlstm.FastLSTMError as error:
        right = os.getpid() != parent and "forked inside a call" in str(error)
    if os.getpid() != parent:
        check()
        os._exit(not right)
    assert right and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("all is well")
"""


@needs_two
def test_forked_children_have_threads_of_their_own():
    assert python(FORKS) == "all is well"


class Stopped(Exception):
    """What a signal's handler raises."""


@pytest.fixture(params=[KeyboardInterrupt, Stopped])
def error(request):
    """What a Ctrl-C raises while the test runs."""

    def raises(*_):
        raise request.param

    before = signal.signal(signal.SIGINT, raises)
    yield request.param
    signal.signal(signal.SIGINT, before)


def interrupted_while_shared(call, short, error=KeyboardInterrupt):
    """Seconds from a Ctrl-C to the end of a call that two threads share, as they do ``short``."""
    neighbours = Neighbours()
    for _ in range(5):
        until_shared(short)
        own, whole = -time.thread_time(), -time.process_time()
        seconds = interrupted(call, error)
        if whole + time.process_time() > 1.25 * (own + time.thread_time()):
            return seconds
    neighbours.blame()


@needs_two
@pytest.mark.parametrize("name", KINDS)
def test_an_exception_stops_all_threads_and_changes_no_state(name, error):
    one, two, spare = made(name, 1, stateful=True), made(name, 2, stateful=True), made(name, 2)
    x = sequences(name, 300)
    endless = np.broadcast_to(x[:, :1], (len(x), 10_000_000, 16))  # minutes of work in no memory
    assert np.array_equal(two(x), one(x))
    assert interrupted_while_shared(lambda: two(endless), lambda: spare(x), error) < AT_ONCE
    assert np.array_equal(two(x), one(x))


@needs_two
def test_an_exception_stops_a_stream_on_all_threads_and_leaves_it_where_it_was(error):
    layer, x = made("units", 2), sequences("units", 300)
    stream, twin, spare = layer.stream(), layer.stream(), layer.stream()
    assert np.array_equal(stream.run(x), twin.run(x))
    long = np.zeros((1, 200_000, 16), np.float32)
    assert interrupted_while_shared(lambda: stream.run(long), lambda: spare.run(x), error) < AT_ONCE
    assert np.array_equal(stream.run(x), twin.run(x))


@needs_two
@pytest.mark.parametrize("name", ["layers", "directions", "rows"])
def test_ctrl_c_is_heard_when_the_callers_own_part_is_done(name):
    """Where the thread that listens for it has next to nothing to do, and the other one all the work."""
    small, large = {"units": 1, "threads": 2}, {"units": 700, "threads": 2}
    runs = {
        "layers": lambda: Sequential([
            InputLayer((None, 1)), fastlstm.LSTM(**small, return_sequences=True), fastlstm.LSTM(**large),
        ]),
        "directions": lambda: Bidirectional(
            fastlstm.LSTM(**small), backward_layer=fastlstm.LSTM(**large, go_backwards=True)
        ),
        "rows": lambda: made("rows", 2),
    }[name]()  # fmt: skip
    x, steps = sequences(name, 300), 2_000_000 if name == "rows" else 200_000
    x = x[:, :, :1] if name == "layers" else x
    long, arguments = np.broadcast_to(x[:, :1], (len(x), steps, x.shape[2])), {}
    if name == "rows":
        arguments["mask"] = np.repeat([False, True], len(x) // 2)[:, None].repeat(steps, axis=1)
    assert interrupted_while_shared(lambda: runs(long, **arguments), lambda: runs(x)) < AT_ONCE
