"""What bench/compare.py prints: a line for each shape, in columns that stay under their headings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rows import ALONE

Row = dict[str, Any]
Columns = list[tuple[str, int, Callable[[Row], str]]]


def columns(peers: list[str], threads: int, limited: bool = True) -> Columns:
    """Heading, width, and what a row has there."""

    def number(key: str) -> Callable[[Row], str]:
        return lambda row: f"{row[key]:.2f}"

    def of_run(key: str, run: str, digits: int = 1) -> Callable[[Row], str]:
        return lambda row: f"{row[key][run]:.{digits}f}" if run in row[key] else ""

    def of_role(key: str, role: str, form: str) -> Callable[[Row], str]:
        return lambda row: f"{row[key][row[role]]:{form}}"

    table: Columns = [
        ("B,T,I,U or id", 15, lambda row: row["shape"]["id"]),
        ("fastlstm", 9, of_run("median", "fastlstm")),
        ("step", 8, of_run("median", "step", 2)),
        ("p99", 9, of_role("p99", "ours", ".2f")),
        ("min", 9, of_role("min", "ours", ".2f")),
    ]
    if threads > 1:
        table += [(ALONE, 12, of_run("median", ALONE, 2)), ("gain", 5, number("gain"))]
    widths = {name: max(11, len(name)) for name in peers}
    table += [(name, width, of_run("median", name)) for name, width in widths.items()]
    if peers:
        widest = max(widths.values())
        table += [("ratio", 6, number("ratio")), ("best peer", widest, lambda row: row["best"])]
    if limited:
        table += [("limit", 9, number("limit")), ("x limit", 7, number("limit_ratio"))]
    table.append(("error", 7, of_role("errors", "ours", ".1e")))
    if peers:
        table.append(("peer's", 7, of_role("errors", "best", ".1e")))
    return table


def line(table: Columns, row: Row | None = None) -> str:
    """A row of the table, or its heading."""
    return " ".join(f"{heading if row is None else text(row):>{width}}" for heading, width, text in table)


#: Units up to which shapes of a group are alike in what holds them back.
CLASSES = {"streaming": (48, 160), "sequence": (64, 350)}


def class_of(shape: dict[str, Any]) -> str:
    """The row's group, and among streams and sequences how large its layers are."""
    group = shape.get("group", "all")
    ends = CLASSES.get(group, ())
    end = next((end for end in ends if shape["units"] <= end), None)
    return group if not ends else f"{group}, units over {ends[-1]}" if end is None else f"{group}, units up to {end}"


def summary(rows: list[Row]) -> str:
    """The worst and the mean of what rows have as ratios, class by class."""
    lines = []
    for group in dict.fromkeys(class_of(row["shape"]) for row in rows):
        parts = []
        for name, key, worst in (("ratio", "ratio", min), ("gain", "gain", min), ("x limit", "limit_ratio", max)):
            values = [row[key] for row in rows if class_of(row["shape"]) == group]
            if None not in values:
                parts.append(f"{name} worst {worst(values):.2f}, mean {np.exp(np.mean(np.log(values))):.2f}")
        lines += [f"{group}: " + "; ".join(parts)] if parts else []
    return "\n".join([*lines, "(means are geometric)"])
