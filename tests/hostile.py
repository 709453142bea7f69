"""Model files made to do harm, or merely damaged: ``python tests/hostile.py`` counts them, with DIR writes them."""

from __future__ import annotations

import os
import pathlib
import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import hostile_config
import hostile_gadgets
import hostile_graph
import hostile_hdf5
import hostile_layout
import hostile_legacy
import hostile_text
import hostile_weights
import hostile_zip
from hostile_case import Attacks, Files, Link, Make, Pipe

#: What each threat is, and the rule of the loader (reliability.md, section 2) or the CVE that it stands for.
THREATS = {
    "import": "names of modules and functions: rule 1; CVE-2025-1550",
    "gadget": "Keras's own functions as gadgets: rule 1; CVE-2025-8747, -9906, CVE-2021-35958, CVE-2024-55459",
    "lambda": "code as bytes: rule 1; CVE-2024-3660, CVE-2025-9905, CVE-2026-12481",
    "pickle": "pickles: rules 1, 9; CVE-2025-49655",
    "saved-model": "other models to load: rule 1; CVE-2026-1462",
    "vocabulary": "files to read: rule 1; CVE-2025-12058",
    "structure": "configurations of another structure: rules 1, 2, 7",
    "arguments": "arguments of wrong types and ranges: rules 2, 4, 7",
    "graph": "graphs in circles, to nowhere, too large: rules 2, 6",
    "nesting": "models and wrappers in each other: rules 2, 6",
    "limits": "too many layers, weights, units: rule 6",
    "legacy": "configurations of Keras 1 and 2: rules 1, 2, 7",
    "container": "the zip container: rule 3; CVE-2024-0450, CVE-2024-8088, CVE-2025-8291",
    "bomb": "what unpacks to very much: rules 3, 6; keras#23010, #23016",
    "path": "names that leave the directory: rule 3; CVE-2025-12060, -12638, CVE-2026-12479, GHSA-hqp4-2352-xf5r",
    "links": "links, pipes and folders in place of files: rule 3; keras#22973, #23015",
    "text": "text that is no decent JSON: rule 4; CVE-2021-37678",
    "outside": "numbers in other files: rule 5; CVE-2026-1669",
    "kinds": "types and storage that Keras does not write: rules 5, 9; CVE-2025-6269 and those like it",
    "layout": "groups and arrays that are missing, too many, elsewhere: rules 2, 5",
    "attributes": "attributes that are no lists of names: rule 5",
    "shape-bomb": "shapes of any size: rules 2, 5, 6; CVE-2026-0897",
    "hdf5-bomb": "HDF5 in circles, or in itself: rules 5, 6; CVE-2025-44904, CVE-2026-17572",
    "hdf5-damage": "HDF5 whose headers lie: rules 5, 7; CVE-2025-2308, -6270, -7067",
    "impostor": "files that are something else: rules 3, 7",
    "cut": "files that end too soon: rule 7",
}
FORMATS = ("zip", "directory", "h5", "weights.h5", "legacy.h5", "json", "npz")


class Case(NamedTuple):
    """One model file that must be refused."""

    form: str
    threat: str
    name: str
    make: Make

    def __str__(self) -> str:
        return f"{self.form}-{self.threat}-{self.name}"


def refused() -> list[Case]:
    """Every file that must be refused; the content is made when it is asked for."""
    makers: list[Callable[[], Attacks]] = [
        hostile_zip.cases, hostile_text.cases, hostile_config.cases, hostile_graph.cases, hostile_gadgets.cases,
        hostile_legacy.cases, hostile_layout.cases, hostile_weights.cases, hostile_hdf5.cases,
    ]  # fmt: skip
    return [
        Case(form, threat, name, make)
        for cases in makers
        for threat, name, makes in cases()
        for form, make in makes.items()
    ]


def write(files: Files, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Put files into a folder; what ``load_model`` is to be called with."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        elif isinstance(content, Pipe):
            os.mkfifo(path)
        else:
            path.write_bytes(content)
    given = {"path": folder / "model"}
    return {**given, "weights": folder / "weights"} if "weights" in files else given


def table(cases: list[Case]) -> str:
    """How many files there are of each threat in each format."""
    counts = Counter((case.threat, case.form) for case in cases)
    lines = [f"{'':12}{''.join(f'{form:>11}' for form in FORMATS)}{'all':>8}"]
    for threat, meaning in THREATS.items():
        row = [counts[threat, form] for form in FORMATS]
        lines.append(f"{threat:12}{''.join(f'{n or chr(45):>11}' for n in row)}{sum(row):8}  {meaning}")
    row = [sum(counts[threat, form] for threat in THREATS) for form in FORMATS]
    lines.append(f"{'all':12}{''.join(f'{n:>11}' for n in row)}{sum(row):8}")
    return "\n".join(lines)


if __name__ == "__main__":
    everything = refused()
    print(table(everything))
    for case in everything if len(sys.argv) > 1 else ():
        write(case.make(), pathlib.Path(sys.argv[1]) / str(case))
