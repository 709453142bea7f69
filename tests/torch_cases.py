"""Drawn calls of torch.nn.LSTM, and what torch gives for them: ``python tests/torch_cases.py`` records some.

Recorded are also cells, how torch packs and names, and files that it saved. Importing this needs NumPy alone, so that
machines without torch can check what is recorded.
"""

from __future__ import annotations

import io
import json
import pathlib
import sys
from typing import Any, NamedTuple

import numpy as np

RECORDED = pathlib.Path(__file__).parent / "data" / "torch_cases.npz"
FORMS = ("batch", "unbatched", "sorted", "unsorted")  # the latter two of different lengths


class Case(NamedTuple):
    """One call.

    Attributes
    ----------
    options : dict
        Arguments of ``torch.nn.LSTM``, without dtype and device.
    form : str
        One of ``FORMS``.
    weights : dict of str to ndarray
        In torch's names and order, of the case's dtype.
    x : ndarray
        Padded where lengths differ.
    states : tuple of ndarray, or None
    lengths : ndarray, or None
    """

    options: dict[str, Any]
    form: str
    weights: dict[str, np.ndarray]
    x: np.ndarray
    states: tuple[np.ndarray, np.ndarray] | None
    lengths: np.ndarray | None

    @property
    def steps(self) -> int:
        """Of all layers together, for bounds of rounding."""
        return self.x.shape[0 if self.form == "unbatched" or not self.options["batch_first"] else 1] * self.layers

    @property
    def layers(self) -> int:
        return self.options["num_layers"]

    def __str__(self) -> str:
        return f"{self.form} {self.x.dtype} {self.x.shape} {self.options}"


def drawn(rng: np.random.Generator, largest: int = 40) -> Case:
    """A call with sizes up to ``largest``, everything in it drawn."""
    hidden = int(rng.integers(1, largest + 1))
    projection = int(rng.integers(1, hidden)) if hidden > 1 and rng.random() < 0.3 else 0
    options: dict[str, Any] = {
        "input_size": int(rng.integers(1, largest // 2 + 1)),
        "hidden_size": hidden,
        "num_layers": int(rng.integers(1, 4)),
        "bias": bool(rng.random() < 0.8),
        "batch_first": bool(rng.random() < 0.5),
        "bidirectional": bool(rng.random() < 0.5),
        "proj_size": projection,
    }
    dtype = rng.choice(["float32", "float32", "float64"])
    form = str(rng.choice(FORMS))
    batch, steps = int(rng.integers(1, 12)), int(rng.integers(1, largest // 2 + 1))
    width, directions = projection or hidden, 2 if options["bidirectional"] else 1

    def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (rng.uniform(-1, 1, shape) * scale).astype(dtype)

    weights = {}
    scale = hidden**-0.5 * rng.uniform(0.5, 2)
    for layer in range(options["num_layers"]):
        for end in (f"l{layer}", f"l{layer}_reverse")[:directions]:
            weights[f"weight_ih_{end}"] = numbers(4 * hidden, width * directions if layer else options["input_size"])
            weights[f"weight_hh_{end}"] = numbers(4 * hidden, width)
            if options["bias"]:
                weights |= {f"bias_{part}_{end}": numbers(4 * hidden) for part in ("ih", "hh")}
            if projection:
                weights[f"weight_hr_{end}"] = numbers(projection, hidden)
    weights = {name: (array * scale).astype(dtype) for name, array in weights.items()}
    rows = () if form == "unbatched" else (batch,)
    lead = (batch, steps) if options["batch_first"] else (steps, batch)
    x = numbers(*(lead if rows else (steps,)), options["input_size"], scale=2)
    states = None
    if rng.random() < 0.5:
        count = options["num_layers"] * directions
        states = numbers(count, *rows, width), numbers(count, *rows, hidden)
    lengths = None
    if form in ("sorted", "unsorted"):
        lengths = rng.integers(1, steps + 1, batch)
        lengths[rng.integers(batch)] = steps
        lengths = np.sort(lengths)[::-1].copy() if form == "sorted" else lengths
    return Case(options, form, weights, x, states, lengths)


def by_torch(case: Case, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output, padded where lengths differ, h_n and c_n, computed in a dtype."""
    import torch

    real = getattr(torch, dtype)
    module = torch.nn.LSTM(**case.options, dtype=real).eval()
    module.load_state_dict({name: torch.tensor(array, dtype=real) for name, array in case.weights.items()})
    x = torch.tensor(case.x, dtype=real)
    states = None if case.states is None else tuple(torch.tensor(state, dtype=real) for state in case.states)
    first = case.options["batch_first"]
    with torch.no_grad():
        if case.lengths is None:
            output, (h, c) = module(x, states)
        else:
            rnn = torch.nn.utils.rnn
            packed = rnn.pack_padded_sequence(x, torch.tensor(case.lengths), first, case.form == "sorted")
            output, (h, c) = module(packed, states)
            output, _ = rnn.pad_packed_sequence(output, first)
    return output.numpy(), h.numpy(), c.numpy()


# -- recorded calls -----------------------------------------------------------------------------------


def _coarse(case: Case) -> Case:
    """The call with multiples of 2**-10 for numbers, which take two bytes each."""

    def coarse(array: np.ndarray) -> np.ndarray:
        return (np.round(array * 1024) / 1024).astype(array.dtype)

    states = None if case.states is None else (coarse(case.states[0]), coarse(case.states[1]))
    weights = {name: coarse(array) for name, array in case.weights.items()}
    return case._replace(weights=weights, x=coarse(case.x), states=states)


class Record(NamedTuple):
    """A recorded call.

    Attributes
    ----------
    case : Case
    wanted : list of ndarray
        Output, h_n and c_n that torch gave in float64.
    said : str
        ``repr`` of torch's module.
    packing : list
        batch_sizes, sorted_indices and unsorted_indices of the packed input, where lengths differ.
    """

    case: Case
    wanted: list[np.ndarray]
    said: str
    packing: list[Any]


def recorded() -> list[Record]:
    """The recorded calls."""
    cases = []
    with np.load(RECORDED) as arrays:
        for number, fact in enumerate(json.loads(str(arrays["facts"]))):
            given = _parts(arrays[f"given{number}"] / 1024, fact["given"])
            given = {name: array.astype(fact["dtype"]) for name, array in given.items()}
            x, states = given.pop("x"), None
            if "h_0" in given:
                states = given.pop("h_0"), given.pop("c_0")
            lengths = None if fact["lengths"] is None else np.array(fact["lengths"])
            case = Case(fact["options"], fact["form"], given, x, states, lengths)
            wanted = list(_parts(arrays[f"wanted{number}"], fact["wanted"]).values())
            cases.append(Record(case, wanted, fact["said"], fact["packing"]))
    return cases


def recorded_cells() -> list[list[np.ndarray]]:
    """x, h, c, the four weights, and what torch's LSTMCell gave in float64: h and c."""
    with np.load(RECORDED) as arrays:
        return [[arrays[f"cell{n}_{part}"] for part in range(9)] for n in range(int(arrays["cells"]))]


def recorded_files() -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Files that torch saved of one state dict, and what is in it."""
    with np.load(RECORDED) as arrays:
        files = {name[5:]: arrays[name].tobytes() for name in arrays.files if name.startswith("file_")}
        return files, {name[6:]: arrays[name] for name in arrays.files if name.startswith("state_")}


def _parts(row: np.ndarray, shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """The arrays that were joined to one row."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(row, ends[:-1])
    return {name: part.reshape(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def record(count: int = 80) -> None:
    """Draw small calls, and write them with what torch gives in float64."""
    import torch

    rng = np.random.default_rng(20261122)
    facts: list[dict[str, Any]] = []
    arrays = {**_cells(rng), **_files()}
    for number in range(count):
        case = _coarse(drawn(rng, largest=8))
        states = {} if case.states is None else dict(zip(("h_0", "c_0"), case.states, strict=True))
        given = {"x": case.x, **states, **case.weights}
        wanted = dict(zip(("output", "h_n", "c_n"), by_torch(case, "float64"), strict=True))
        arrays[f"given{number}"] = np.concatenate([array.ravel() * 1024 for array in given.values()]).astype(np.int16)
        arrays[f"wanted{number}"] = np.concatenate([array.ravel() for array in wanted.values()])
        fact = {"options": case.options, "form": case.form, "dtype": str(case.x.dtype)}
        shapes = {"given": {n: a.shape for n, a in given.items()}, "wanted": {n: a.shape for n, a in wanted.items()}}
        fact |= {"said": repr(torch.nn.LSTM(**case.options)), "packing": [], "lengths": None}
        if case.lengths is not None:
            lengths, first = torch.tensor(case.lengths), case.options["batch_first"]
            pack = torch.nn.utils.rnn.pack_padded_sequence
            packed = pack(torch.tensor(case.x), lengths, first, case.form == "sorted")
            fact |= {"packing": [None if p is None else p.tolist() for p in packed[1:]], "lengths": lengths.tolist()}
        facts.append({**fact, **shapes})
    RECORDED.parent.mkdir(exist_ok=True)
    np.savez_compressed(RECORDED, facts=np.array(json.dumps(facts)), **arrays)
    print(f"{RECORDED}: {count} calls, {RECORDED.stat().st_size} bytes")


def _cells(rng: np.random.Generator, count: int = 10) -> dict[str, np.ndarray]:
    import torch

    arrays = {"cells": np.array(count)}
    for n in range(count):
        inputs, hidden = (int(size) for size in rng.integers(1, 9, 2))
        cell = torch.nn.LSTMCell(inputs, hidden, dtype=torch.float64)
        given = [torch.tensor(rng.uniform(-2, 2, (3, size))) for size in (inputs, hidden, hidden)]
        with torch.no_grad():
            parts = [*given, *cell.state_dict().values(), *cell(given[0], tuple(given[1:]))]
        arrays |= {f"cell{n}_{place}": part.numpy() for place, part in enumerate(parts)}
    return arrays


def _files() -> dict[str, np.ndarray]:
    """A checkpoint in both formats, and what is in it."""
    import torch

    parts = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(2, 3, bidirectional=True), "norm": torch.nn.BatchNorm1d(6)})
    half = torch.arange(6).to(torch.bfloat16).reshape(2, 3).T
    given = {"model": parts.state_dict(), "half": half, "epoch": 3, "optimizer": torch.optim.Adam(parts.parameters())}
    given["optimizer"] = given["optimizer"].state_dict()
    arrays = {f"state_model.{name}": part.numpy() for name, part in given["model"].items()}
    arrays["state_half"] = half.float().numpy()
    for name, zipped in (("zip", True), ("legacy", False)):
        file = io.BytesIO()
        torch.save(given, file, _use_new_zipfile_serialization=zipped)
        arrays[f"file_{name}"] = np.frombuffer(file.getvalue(), np.uint8)
    return arrays


if __name__ == "__main__":
    record(*map(int, sys.argv[1:]))
