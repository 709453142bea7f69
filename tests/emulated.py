"""The calls that tests/client.c makes, and that program on this machine and, under qemu, on aarch64."""

import itertools
import subprocess
from dataclasses import astuple, dataclass

import clib
import numpy as np
from recurrent import ORACLES

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
CLIENT = clib.CSRC.parent / "tests" / "client.c"
LIMIT = 300  # seconds of any one program
DTYPES = ["float32", "float64"]
TANH, SIGMOID, RELU = 0, 1, 3  # as activations.inc has them
UNITS, BATCHES, FEATURES = [1, 3, 4, 5, 16, 20, 33, 128], [1, 2, 5, 7, 33], [1, 3, 40, 600]


@dataclass
class Request:
    """What tests/client.c reads before the arrays."""

    dtype: int = 0
    cell: int = -1
    activation: int = TANH
    recurrent_activation: int = SIGMOID
    reproducible: int = 1
    batch: int = 1
    steps: int = 1
    features: int = 1
    units: int = 0
    bias: int = 0
    state: int = 0
    mask: int = 0
    backwards: int = 0
    zero_output: int = 0
    block: int = 0
    precision: int = 0
    variant: int = 0

    def bytes(self, *arrays):
        return np.array(astuple(self), np.int64).tobytes() + b"".join(a.tobytes() for a in arrays)


@dataclass
class Case:
    """A layer's call: the request, its arrays by name."""

    request: Request
    data: dict

    @property
    def kind(self):
        return clib.CELLS[self.request.cell]

    @property
    def dtype(self):
        return np.dtype(DTYPES[self.request.dtype])

    def bytes(self):
        return self.request.bytes(*self.data.values())

    def take(self, output):
        """y, h and, of an LSTM, c from the beginning of all the output; and the rest of it."""
        r, found = self.request, []
        for shape in [(r.batch, r.steps, r.units), *[(r.batch, r.units)] * (1 + (self.kind == "lstm"))]:
            count = int(np.prod(shape))
            found.append(np.frombuffer(output, self.dtype, count).reshape(shape))
            output = output[count * self.dtype.itemsize :]
        return found, output

    def oracle(self, dtype):
        names = ("x", "kernel", "recurrent_kernel", "bias", "h0", *["c0"] * (self.kind == "lstm"), "mask")
        arguments = {name: self.data.get(name) for name in names}
        if self.request.backwards:
            arguments = {n: a[:, ::-1] if n in ("x", "mask") and a is not None else a for n, a in arguments.items()}
        activation = np.tanh if self.request.activation == TANH else lambda z: np.maximum(z, 0)
        arguments = (*arguments.values(), self.request.zero_output, activation)
        y, _, *states = ORACLES[self.kind](*arguments, dtype=dtype)
        return y, *states


def fill(rng, request, scale=1.0):
    """The case's arrays, in the order of tests/client.c; x, biases and states are of that scale."""
    r, kind, dtype = request, clib.CELLS[request.cell], DTYPES[request.dtype]
    columns = clib.GATES[kind] * r.units
    data = {
        "x": rng.standard_normal((r.batch, r.steps, r.features)) * scale,
        "kernel": rng.uniform(-1, 1, (r.features, columns)) / np.sqrt(r.features),
        "recurrent_kernel": rng.uniform(-1, 1, (r.units, columns)) / np.sqrt(r.units),
    }
    if r.bias:
        data["bias"] = rng.uniform(-1, 1, (2, columns) if kind == "gru" else columns) * scale
    if r.state:
        for name in ("h0", "c0") if kind == "lstm" else ("h0",):
            data[name] = rng.standard_normal((r.batch, r.units)) * scale
    data = {name: values.astype(dtype) for name, values in data.items()}
    if r.mask:
        data["mask"] = (rng.random((r.batch, r.steps)) < 0.6).astype(np.uint8)
    return Case(r, data)


def drawn(rng, cell, dtype, batch, features, units, **options):
    chosen = {name: int(rng.random() < share) for name, share in
              {"bias": 0.9, "state": 0.5, "mask": 0.4, "backwards": 0.3, "zero_output": 0.3}.items()}  # fmt: skip
    chosen |= {"activation": RELU if rng.random() < 0.2 else TANH, "steps": int(rng.choice([1, 2, 3, 9]))}
    return Request(dtype, cell, batch=batch, features=features, units=units, **{**chosen, **options})


def spread(rng, cell, dtype):
    """Every size with every other, once."""
    for units, batch, features in itertools.product(UNITS, BATCHES, FEATURES):
        yield fill(rng, drawn(rng, cell, dtype, batch, features, units))


def cases_of(rng, **options):
    """A few cases of every cell and dtype, without a mask."""
    return [fill(rng, drawn(rng, cell, dtype, batch, features, units, mask=0, **options))
            for cell, dtype in itertools.product(range(len(clib.CELLS)), range(2))
            for batch, features, units in ((1, 3, 20), (3, 7, 33), (5, 1, 4))]  # fmt: skip


# ---- the program ----------------------------------------------------------------------------------


def cross(*arguments):
    """Run the compiler for aarch64."""
    command = [COMPILER, *clib.FLAGS, *clib.WARNINGS, f"-I{clib.CSRC}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def build_there():
    """The command that starts the program on aarch64; the library's sources are in it."""
    place, stricter = clib.scratch() / "aarch64", ["-Wpedantic", "-Wconversion", "-Wstrict-prototypes"]
    place.mkdir()
    target, objects = place / "client", clib.compiled([CLIENT, *clib.SOURCES], place / "there", *stricter, run=cross)
    cross("-static", *objects, "-lm", "-pthread", "-o", target)
    return [EMULATOR, target]


def build_here():
    """The command that starts it on this machine."""
    target = clib.scratch() / "client"
    clib.cc(*clib.FLAGS, *clib.WARNINGS, f"-I{clib.CSRC}", CLIENT, *clib.link(), "-o", target)
    return [target]


def run(program, isa, requests, environment="0"):
    """All the output of requests, one after the other."""
    done = subprocess.run([*program, isa, environment], input=b"".join(requests), capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, f"{isa} ended with {done.returncode}: {done.stderr.decode()}"
    return done.stdout


def run_cases(program, isa, cases, environment="0"):
    output, results = memoryview(run(program, isa, (case.bytes() for case in cases), environment)), []
    for case in cases:
        found, output = case.take(output)
        results.append(found)
    assert not output
    return results


def apply(program, isa, number, x, rows=1, environment="0"):
    request = Request(DTYPES.index(x.dtype), activation=number, batch=rows, features=x.size // rows)
    return np.frombuffer(run(program, isa, [request.bytes(x)], environment), x.dtype)
