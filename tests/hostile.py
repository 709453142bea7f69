"""Model files made to do harm or merely damaged; ``python tests/hostile.py DIR`` writes them out."""

from __future__ import annotations

import pathlib
import random
import sys
from collections.abc import Iterator

from hostile_config import architecture_cases
from hostile_weights import h5_cases, npz_cases
from hostile_zip import json_cases, zip_cases
from samples import archive, keras_file, keras_members, npz_members


def refused() -> dict[str, bytes]:
    """Every file that must be refused, by name."""
    kinds = {
        "zip": zip_cases,
        "json": json_cases,
        "net": architecture_cases,
        "h5": h5_cases,
        "npz": npz_cases,
    }
    cases = {f"{kind}-{name}": data for kind, make in kinds.items() for name, data in make()}
    for kind, good in (("keras", keras_file()), ("npz", archive(npz_members()))):
        for part in range(1, 24):
            cases[f"{kind}-cut-{part}"] = good[: len(good) * part // 24]
        cases[f"{kind}-cut-last-byte"] = good[:-1]
    return cases


def mutants(count: int, seed: int = 20260) -> Iterator[bytes]:
    """Valid files with a few bits flipped: in the zip file, or in a member before it is packed."""
    chance = random.Random(seed)
    for i in range(count):
        members = keras_members() if i % 4 else npz_members()
        if i % 2:
            name = chance.choice([n for n in members if n != "metadata.json"])
            members[name] = flipped(members[name], chance)
            yield archive(members)
        else:
            yield flipped(archive(members), chance)


def flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case, content in refused().items():
        (folder / f"{case}.bin").write_bytes(content)
