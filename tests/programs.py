"""Programs for the C library, of one layer or several: drawn, and run in memory of any kind."""

import itertools
from ctypes import byref, c_void_p
from dataclasses import dataclass, replace

import clib
import numpy as np

# the kernels' own cell, one of theirs where it is simple, and one that they do not hold
CELLS = {"tanh": "sigmoid", "relu": "sigmoid", "relu6": "sigmoid"}
PLAIN = ("y", "last", "h")


@dataclass(frozen=True)
class Layer:
    units: int
    cell: str = "tanh"
    mask: bool = False
    state: bool = True  # a given one
    backwards: bool = False
    zero_output: bool = False
    outputs: tuple[str, ...] = ("y", "last", "h", "c")
    kind: str = "lstm"
    precision: str = "float32"

    @property
    def possible(self):
        """The outputs that there are."""
        return (*PLAIN, "c") if self.kind == "lstm" else PLAIN

    def bias_shape(self):
        columns = clib.GATES[self.kind] * self.units
        return (2, columns) if self.kind == "gru" else (columns,)


@dataclass(frozen=True)
class Program:
    dtype: str
    batch: int
    steps: int
    features: int
    layers: tuple[Layer, ...]
    stacked: bool = False

    def widths(self):
        """What each layer reads."""
        return [self.layers[n - 1].units if n and self.stacked else self.features for n in range(len(self.layers))]


def draw(r, most_layers=5):
    """A small program, by a random.Random."""
    dtype, narrow = r.choice(["float32", "float32", "float64"]), r.random() < 0.5
    precisions = clib.PRECISIONS if dtype == "float32" and narrow else ["float32"]  # alike or not, as kinds are
    stacked, many = r.random() < 0.5, r.random() < 0.7
    count = r.randint(2, most_layers) if many else 1
    units, same, masked = r.randint(1, 70), r.random() < 0.6, r.random() < 0.3
    kinds = [r.choice(clib.CELLS)] * count if r.random() < 0.7 else r.choices(clib.CELLS, k=count)
    layers = tuple(
        Layer(
            units if same else r.randint(1, 70), r.choice(["relu", "relu6"]) if r.random() < 0.15 else "tanh", masked,
            r.random() < 0.5, not (stacked and n) and r.random() < 0.4, r.random() < 0.3,
            tuple(name for name in Layer(1, kind=kind).possible if r.random() < 0.7), kind, r.choice(precisions),
        )
        for n, kind in enumerate(kinds)
    )  # fmt: skip
    batch = r.choice([1, 1, 2, 3, 5, 13, 30, 47, 70])
    return Program(dtype, batch, r.choice([1, 2, 7, 20, 41]), r.choice([1, 3, 9, 20]), layers, stacked)


def fill(program, rng):
    """For each layer its arrays by name; a layer that reads another has no x."""
    b, t, filled = program.batch, program.steps, []
    for n, (layer, width) in enumerate(zip(program.layers, program.widths(), strict=True)):
        u, columns = layer.units, clib.GATES[layer.kind] * layer.units
        data = {
            "kernel": rng.uniform(-1, 1, (width, columns)) / np.sqrt(width),
            "recurrent_kernel": rng.uniform(-1, 1, (u, columns)) / np.sqrt(u),
            "bias": rng.uniform(-1, 1, layer.bias_shape()),
        }
        if not (program.stacked and n):
            data["x"] = rng.standard_normal((b, t, width))
        if layer.state:
            data["h0"], data["c0"] = rng.uniform(-1, 1, (2, b, u))
            if "c" not in layer.possible:
                del data["c0"]
        data = {name: values.astype(program.dtype) for name, values in data.items()}
        if layer.mask:
            data["mask"] = (rng.random((b, t)) < 0.6).astype(np.uint8)
        filled.append(data)
    return filled


def anywhere(name, count, dtype, alignment):
    """``count`` elements of ordinary memory, full of NaNs."""
    raw = np.full(count * np.dtype(dtype).itemsize + alignment, 0xFF, np.uint8)
    first = -raw.ctypes.data % alignment
    return raw[first : first + count * np.dtype(dtype).itemsize].view(dtype)


class Prepared:
    """A program with its arrays where ``place`` puts them, ready to run."""

    def __init__(self, library, isa, program, data, threads=1, place=anywhere):
        self.library, self.program, self.data = library, program, data
        self.plans, self.found, self.given = [], [], []
        calls = (clib.Call * len(data))()
        for n, (layer, arrays, width) in enumerate(zip(program.layers, data, program.widths(), strict=True)):
            shapes = {"y": (program.batch, program.steps, layer.units), **dict.fromkeys(("last", "h", "c"), (
                program.batch, layer.units))}  # fmt: skip
            given = {}
            for name, values in arrays.items():
                given[name] = place(f"{name} {n}", values.size, values.dtype, 1).reshape(values.shape)
                given[name][...] = values
            found = {name: place(f"{name} {n}", int(np.prod(shapes[name])), program.dtype, 1).reshape(shapes[name])
                     for name in layer.outputs}  # fmt: skip
            at = {name: a.ctypes.data for name, a in {**given, **found}.items()}
            names = clib.listing(library.flstm_activation_name)
            config = clib.Config(program.dtype == "float64", width, layer.units,
                                 names.index(layer.cell), names.index(CELLS[layer.cell]), isa.encode(),
                                 cell=clib.CELLS.index(layer.kind),
                                 precision=clib.PRECISIONS.index(layer.precision))  # fmt: skip
            weights = [at.pop(name) for name in ("kernel", "recurrent_kernel", "bias")]
            status, plan = clib.create_plan(library, config, *weights)
            assert status == clib.OK
            calls[n] = clib.Call(
                program.batch, program.steps, **at,
                x_batch=program.steps * width, x_step=width, y_batch=program.steps * layer.units, y_step=layer.units,
                mask_batch=program.steps, mask_step=1,
                go_backwards=layer.backwards, zero_output_for_mask=layer.zero_output,
            )  # fmt: skip
            self.plans.append(plan)
            self.given.append(given)
            self.found.append(found)
        self.calls, plans = calls, (c_void_p * len(data))(*self.plans)
        for plan in self.plans:
            assert library.flstm_plan_widen(plan, program.batch) == clib.OK
        self.call = clib.Program(len(data), plans, calls, program.stacked, threads, wide=1)
        self.workspace = place("workspace", library.flstm_program_workspace_size(byref(self.call)), np.uint8, 64)

    def __del__(self):
        for plan in self.plans:
            self.library.flstm_plan_destroy(plan)

    def run(self, misplaced=0):
        """Run it; the outputs of each layer by name. As a control, the workspace lies so many bytes off."""
        workspace = c_void_p(self.workspace.ctypes.data + misplaced)
        assert self.library.flstm_program_run(byref(self.call), workspace) == clib.OK
        for given, data in zip(self.given, self.data, strict=True):
            for name, values in data.items():
                assert given[name].tobytes() == values.tobytes(), f"{name} was written"
        return [{name: values.copy() for name, values in found.items()} for found in self.found]


def draw_stream(r):
    """A program of one layer, without what a stream cannot do."""
    layer = Layer(r.randint(1, 70), r.choice(["tanh", "tanh", "relu6"]), kind=r.choice(clib.CELLS))
    layer = replace(layer, outputs=layer.possible, precision=r.choice(clib.PRECISIONS))
    return Program("float32", r.choice([1, 2, 5, 13]), 20, r.choice([1, 3, 9]), (layer,))


def streamed(r, library, prepared, wanted, threads, place=anywhere):
    """The outputs of the program's layer by name, as a stream gives them that gets its steps in four blocks."""
    program, (data,), (plan,) = prepared.program, prepared.data, prepared.plans
    found = {name: np.full_like(wanted[name], np.nan) for name in ("y", *program.layers[0].possible[2:])}
    stream = place("stream", library.flstm_stream_size(plan, program.batch), np.uint8, 64)
    state = (plan, stream.ctypes.data, program.batch)
    library.flstm_stream_set(*state, *(data[name].ctypes.data if name in data else None for name in ("h0", "c0")))
    for first, last in itertools.pairwise([0, *sorted(r.sample(range(1, 20), 3)), 20]):
        sides = [side for a in (data["x"][:, first:], found["y"][:, first:])
                 for side in (a.ctypes.data, a.strides[0] // 4, a.strides[1] // 4)]  # fmt: skip
        assert library.flstm_stream_run(*state, last - first, *sides, threads) == clib.OK
    library.flstm_stream_get(*state, *(found[name].ctypes.data if name in found else None for name in "hc"))
    return found


def one_by_one(library, isa, program, data):
    """The outputs of each layer run by itself: of a stack, on what the one below put out."""
    outputs, below = [], None
    for layer, arrays, width in zip(program.layers, data, program.widths(), strict=True):
        layer_alone = replace(layer, outputs=layer.possible)
        alone = replace(program, layers=(layer_alone,), features=width, stacked=False)
        arrays = arrays if "x" in arrays else {**arrays, "x": below}
        (found,) = Prepared(library, isa, alone, [arrays]).run()
        below = found["y"]
        outputs.append({name: found[name] for name in layer.outputs})
    return outputs


def assert_same_bits(found, wanted, what):
    for n, (f, w) in enumerate(zip(found, wanted, strict=True)):
        for name in w:
            assert f[name].tobytes() == w[name].tobytes(), f"layer {n}: {name} differs: {what}"
