"""Fuzz the loading of model files: ``python tests/fuzz_loading.py SECONDS [--seed N] [--only I]``.

Half of the inputs are configurations, half whole files of every format, each made from a valid one by
changes that the seed and the input's number determine: ``--only I`` repeats number I alone. What escapes, or takes
more than ``hostile_watch`` allows, is a finding.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import pathlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from random import Random
from typing import NamedTuple

import hostile
import samples
from fuzz_hdf5 import Builder
from fuzz_mutation import changed, garbled, seed
from fuzz_weights import small, weights_for
from hostile_watch import no_hanging, watched

from fastlstm import FastLSTMError
from fastlstm.loading import _described, _named, jsonrules, load_model
from fastlstm.loading.contents import Contents

FORMS = ("zip", "directory", "h5", "weights.h5", "legacy.h5", "json", "npz")
ROOM = 2**14  # bytes for the configuration in the .h5 files that are made from one


class Input(NamedTuple):
    """What is loaded: a configuration alone, or files."""

    form: str
    files: hostile.Files


def made(run: int, number: int) -> Input:
    """The input of that number."""
    chance = Random(f"{run}/{number}")
    if number % 2:
        return Input("configuration", {"text": _text(chance)})
    form = chance.choice(FORMS)
    members = _members(form, chance)
    if form in ("h5", "weights.h5", "legacy.h5") and chance.random() < 0.5:
        return Input(form, _fitting(form, chance))
    if form in ("zip", "npz"):
        data = samples.archive(members, chance.choice((0, 0, 8)))
        return Input(form, {"model": garbled(data, chance) if chance.random() < 0.3 else data})
    return Input(form, samples.folder(members) if form == "directory" else dict(members))


def _text(chance: Random) -> bytes:
    text = json.dumps(changed(seed(chance), chance)).encode()
    return garbled(text, chance) if chance.random() < 0.1 else text


def _fitting(form: str, chance: Random) -> samples.Members:
    """A configuration, changed or not, and weights for it."""
    config = seed(chance) if chance.random() < 0.7 else changed(seed(chance), chance)
    text = json.dumps(config).encode()
    try:
        model = _described(Contents("a configuration", json.loads(text)), 2**28, None)
        h5 = weights_for(model, chance, text if form == "h5" else None) if small(model) else Builder(chance).file()
    except Exception:  # no model: any weights will do
        h5 = Builder(chance).file()
    h5 = garbled(h5, chance) if chance.random() < 0.1 else h5
    return {"model": h5} if form == "h5" else {"model": text, "weights": h5}


def _members(form: str, chance: Random) -> samples.Members:
    """The parts of a file, or the files: one of them changed."""
    members = dict(_valid(form, chance.randrange(2)))
    name = chance.choice([name for name in members if name != "metadata.json"])
    if form == "h5" and chance.random() < 0.6:
        return {"model": Builder(chance).file() if chance.random() < 0.3 else _placed(members["model"], _text(chance))}
    if name in ("config.json", "config.npy") or (form == "json" and name == "model"):
        text = _text(chance)
        members[name] = samples.npz_members(config=text)["config.npy"] if form == "npz" else text
    elif form.endswith("h5") and name != "model" and chance.random() < 0.3:
        members[name] = Builder(chance).file()
    else:
        members[name] = garbled(members[name], chance)
    return members


@cache
def _valid(form: str, number: int) -> samples.Members:
    config = (samples.architecture(), samples.graph())[number]
    if form in ("zip", "directory"):
        return samples.keras_members(config)
    if form == "npz":
        return samples.npz_members(config=config)
    if form == "h5":
        old = json.dumps((config, samples.legacy(bool(number)))[number]).encode().ljust(ROOM)
        return {"model": samples.whole_h5(old)}
    weights = samples.legacy_weights() if form == "legacy.h5" else samples.weights()
    return {"model": samples.text_of(config), "weights": weights}


def _placed(data: bytes, text: bytes) -> bytes:
    """The .h5 file with another configuration, of which what is too long is cut off."""
    at = data.index(b"{")
    return data[:at] + text[:ROOM].ljust(ROOM) + data[at + ROOM :]


def tried(item: Input, folder: pathlib.Path) -> str:
    """What became of it: ``"loaded"``, ``"refused"``, or what is wrong."""
    given = {} if item.form == "configuration" else hostile.write(item.files, folder)
    try:
        with watched(folder):
            if given:
                model = load_model(**given)
            else:
                with _named("configuration"):
                    config = jsonrules.parse(item.files["text"], "the configuration")
                    model = _described(Contents("a configuration", config), 2**28, None)
        if given:
            model.summary(print_fn=len)
        return "loaded"
    except FastLSTMError as error:
        message = str(error)
        wrong = len(message) > 2000 or not message.isprintable()
        return f"message: {message[:300]!r}" if wrong else "refused"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fuzz(seconds: float, run: int, only: int | None = None) -> tuple[Counter[tuple[str, str]], dict[int, str]]:
    """Counts of outcomes by format, and what is wrong with which input; a hang ends the process."""
    counts: Counter[tuple[str, str]] = Counter()
    wrong: dict[int, str] = {}
    root = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None))
    try:
        for i, files in enumerate(samples.valid().values()):  # which imports what a load needs
            load_model(**hostile.write(files, root / f"warm{i}"))
        end, number = time.monotonic() + seconds, only or 0
        while time.monotonic() < end and (only is None or number == only):
            if number % 100 == 0:
                no_hanging()
            item = made(run, number)
            outcome = tried(item, root / "case")
            if outcome not in ("loaded", "refused"):
                again = tried(item, root / "case")  # another program may have had the processor's caches
                if again not in ("loaded", "refused"):
                    wrong[number], outcome = f"{item.form}: {again}", "wrong"
            counts[item.form, outcome if outcome in ("loaded", "wrong") else "refused"] += 1
            number += 1
    finally:
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(root)
    return counts, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float, nargs="?", default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    arguments = parser.parse_args()
    counts, wrong = fuzz(arguments.seconds, arguments.seed, arguments.only)
    print(f"{'':14}{'loaded':>10}{'refused':>10}{'wrong':>10}")
    for form in ("configuration", *FORMS):
        print(f"{form:14}{''.join(f'{counts[form, outcome]:10}' for outcome in ('loaded', 'refused', 'wrong'))}")
    print(f"{sum(counts.values())} executions, {len(wrong)} findings, seed {arguments.seed}")
    for number, what in wrong.items():
        print(f"--only {number}: {what}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
