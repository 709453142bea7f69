"""Trained models found in public repositories: do they load, how near are the results, how long does one take.

``python bench/models.py FOLDER`` reads the model files in FOLDER and, from its ``expected/NAME.npz``, inputs
``in0..`` and what the Keras that wrote the model gives for them, ``out0..``. Times are of one call on these
inputs, medians of calls in turns: ``predict`` of ours, and of Keras 3 or of tf_keras (Keras 2) where one of
them is installed and loads the file; a file that both load is timed with the one that computes what is expected.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
from machine import describe, heading

import fastlstm

MODELS = {".h5", ".hdf5", ".keras", ".json"}
ROUNDS = 9
BOUND = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    kerases = {name: module for name in ("keras", "tf_keras") if (module := imported(name))}
    print(heading(describe(("numpy", "tensorflow", *kerases))))
    columns = f"{'written by':>10} {'difference':>10} {'ours ms':>8} {'Keras ms':>9} {'times':>6}"
    print(f"{'file':60} {columns}  by, how near")
    loaded = equal = 0
    for path in sorted(p for p in folder.iterdir() if p.suffix in MODELS):
        if path.suffix == ".json":
            continue  # read with its weights
        row = Row(path, folder / "expected" / f"{path.name}.npz")
        print(row.text(kerases), flush=True)
        loaded += row.model is not None
        equal += row.difference is not None and row.difference <= BOUND
    print(f"{loaded} loaded, {equal} equal to what is expected within {BOUND:g} relative to max(1, |v|)")


def imported(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return __import__(name)
    except ImportError:
        return None


class Row:
    """One file."""

    def __init__(self, path: Path, expected: Path) -> None:
        self.path, self.refused, self.model, self.difference = path, "", None, None
        architecture = path.with_suffix(".json")
        try:
            if architecture.exists():
                self.model = fastlstm.load_model(architecture, weights=path)
            else:
                self.model = fastlstm.load_model(path)
        except fastlstm.FastLSTMError as error:
            self.refused = str(error).partition(": ")[2]
        self.inputs: Any = None
        if expected.exists():
            with np.load(expected) as stored:
                inputs = [stored[name] for name in sorted(stored) if name.startswith("in")]
                self.outputs = [stored[name] for name in sorted(stored) if name.startswith("out")]
            self.inputs = inputs if len(inputs) > 1 else inputs[0]
        if self.model is not None and self.inputs is not None:
            self.difference = difference(self.model.predict(self.inputs, verbose=0), self.outputs)

    def text(self, kerases: dict[str, Any]) -> str:
        name = self.path.name if len(self.path.name) <= 60 else self.path.name[:57] + "..."
        if self.model is None:
            return f"{name:60} {'':10} refused: {self.refused[:150]}"
        writer = self.model.written_by or "?"
        if self.inputs is None:
            return f"{name:60} {writer:>10} loads; there is nothing to compare with"
        ours, theirs, by, near = self.times(kerases)
        times = f"{1e3 * ours:8.3f}"
        if theirs is not None:
            times += f" {1e3 * theirs:9.3f} {theirs / ours:6.0f}  {by}, {near:.1e}"
        else:
            times += f" {'-':>9} {'-':>6}  {by}"
        return f"{name:60} {writer:>10} {self.difference:10.1e} {times}"

    def times(self, kerases: dict[str, Any]) -> tuple[float, float | None, str, float]:
        """Median seconds of ours and of the Keras that is nearest to what is expected."""
        candidates, why = [], "no Keras loads it"
        for name, module in kerases.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    other = module.models.load_model(self.path, compile=False)
                    found = other.predict(self.inputs, verbose=0)
                candidates.append((difference(found, self.outputs), name, other))
            except Exception as error:
                why = f"not {name}: {type(error).__name__}" if why.startswith("no Keras") else f"{why}, not {name}"
        calls = [lambda: self.model.predict(self.inputs, verbose=0)]
        if candidates:
            near, by, other = min(candidates, key=lambda c: c[0])
            calls.append(lambda: other.predict(self.inputs, verbose=0))
        spent: list[list[float]] = [[] for _ in calls]
        for _ in range(ROUNDS):
            for call, times in zip(calls, spent, strict=True):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
        ours, *theirs = (statistics.median(times) for times in spent)
        return (ours, theirs[0], by, near) if theirs else (ours, None, why, 0.0)


def difference(found: Any, expected: list[Any]) -> float:
    """The largest, relative to max(1, |v|)."""
    parts = found if isinstance(found, list | tuple) else [found]
    return max(
        float(np.max(np.abs(np.asarray(a, float) - b) / np.maximum(1, np.abs(b))))
        for a, b in zip(parts, expected, strict=True)
    )


if __name__ == "__main__":
    main()
