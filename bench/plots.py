"""Pictures of what bench/compare.py measured.

    python bench/plots.py bench/results/streaming.json bench/results/sequence.json bench/results/batch.json

Files with as many threads go together into ratio-N.png (the best peer over fastlstm), units-N.png (a step's time
against units, with the limit) and latency-N.png (single calls of streams), N the threads, in bench/results or where
--to says. A file of bench/precision.py becomes precision.png: error against time.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from limits import Constants, limit
from machine import heading
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rows import PERCENTILES

Row = dict[str, Any]

OURS, LOST = "#d1495b", "#8d99ae"
COLOURS = {
    "onnxruntime": "#1d6996", "openvino": "#38a6a5", "torch": "#e17c05", "jax": "#94346e",
    "openvino-bf16": "#38a6a5", "onnxruntime-int8": "#1d6996",
}  # fmt: skip
MARKERS = {
    "onnxruntime": "s", "openvino": "^", "torch": "D", "jax": "v", "openvino-bf16": "^", "onnxruntime-int8": "s",
}  # fmt: skip
GROUPS = {"streaming": "one step a call", "sequence": "one sequence a call", "batch": "a batch a call"}


def style(run: str) -> dict[str, Any]:
    """How lines and points of a run look, in every picture."""
    if run not in COLOURS:
        return {"color": OURS, "marker": "o", "zorder": 3}
    return {"color": COLOURS[run], "marker": MARKERS[run]}


def save(figure: Figure, title: str, machine: dict[str, Any], path: Path) -> None:
    """Put what was measured above the picture, and on what below it."""
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    own = machine.get("precision", "float32")
    kept = "" if own == "float32" else f", our weights in {own}"
    figure.suptitle(f"{title}, {threads}{kept}", fontsize=12, x=0.01, ha="left")
    figure.supxlabel(heading(machine), fontsize=6.5, color="0.4", x=0.01, ha="left")
    figure.savefig(path, dpi=150)
    print(path)


def bare(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, color="0.9", which="major")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def ratio(rows: list[Row], machine: dict[str, Any], path: Path) -> None:
    """Bars of the best peer's time over fastlstm's, a panel for each group."""
    rows = [row for row in rows if row["ratio"]]
    groups = {group: [row for row in rows if row["shape"].get("group") == group] for group in GROUPS}
    groups = {group: members for group, members in groups.items() if members}
    if not groups:
        return
    heights = [len(members) + 1 for members in groups.values()]
    figure = Figure(figsize=(8, 1.6 + 0.21 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (group, members) in zip(panels, groups.items(), strict=True):
        ratios = [row["ratio"] for row in members]
        names = [row["shape"]["id"] for row in members]
        # bars start at 1 and so point to the side that won
        axes.barh(names, [r - 1 for r in ratios], left=1, color=[OURS if r >= 1 else LOST for r in ratios], height=0.7)
        for y, row in enumerate(members):
            text = f" {row['ratio']:.2f}  {row['best']}"
            axes.text(max(1, row["ratio"]), y, text, va="center", fontsize=7, color="0.3")
        axes.axvline(1, color="0.2", linewidth=1)
        axes.set_xscale("log")
        axes.set_title(GROUPS[group], fontsize=9, loc="left")
        axes.tick_params(axis="y", labelsize=8, length=0)
        axes.set_ylim(len(members) - 0.4, -0.6)
        bare(axes, "x")
    least, most = min(row["ratio"] for row in rows), max(row["ratio"] for row in rows)
    left, right = min(0.9, 0.9 * least), 3 * max(1, most)  # at the right there is room for a peer's name
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200) if left < t < right]
    panels[-1].set_xlim(left, right)
    panels[-1].set_xticks(ticks, [f"{t:g}" for t in ticks])
    panels[-1].minorticks_off()
    panels[-1].set_xlabel("best peer's time / fastlstm's (grey: the peer is faster)", fontsize=9)
    save(figure, "Best peer over fastlstm", machine, path)


def units(rows: list[Row], machine: dict[str, Any], path: Path) -> None:
    """A step's time against units for sequences of batch 1, one direction, beside the limit."""
    rows = [row for row in rows if row["shape"].get("group") == "sequence" and row["shape"]["directions"] == 1]
    if not rows:
        return
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for run in ["fastlstm", *(name for name in COLOURS if name in rows[0]["median"])]:
        x = [row["shape"]["units"] for row in rows]
        y = [row["median"][run] / (row["shape"]["steps"] * row["shape"]["layers"]) for row in rows]
        axes.scatter(x, y, label=run, s=26, alpha=0.85, linewidths=0, **style(run))
    sizes = [round(2 ** (n / 8)) for n in range(8 * 4, 8 * 11 + 1)]
    shape = {"batch": 1, "steps": 100, "features": 1, "layers": 1, "directions": 1}
    constants = Constants(**machine["constants"])
    bound = [limit({**shape, "units": size}, constants, machine["threads"]) / 100 for size in sizes]
    axes.plot(sizes, bound, color="0.2", linewidth=1.2, label="limit, one feature", zorder=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = [2**n for n in range(4, 12)]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.set_xlabel("units", fontsize=9)
    axes.set_ylabel("microseconds a step and layer", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    bare(axes, "both")
    save(figure, "Sequences at batch 1: time of a step", machine, path)


def latency(rows: list[Row], machine: dict[str, Any], path: Path) -> None:
    """Percentiles of single calls, a panel for each streaming shape."""
    rows = [row for row in rows if "latency" in row]
    if not rows:
        return
    across = min(4, len(rows))
    down = math.ceil(len(rows) / across)
    figure = Figure(figsize=(1.8 + 2.4 * across, 1.3 + 2.3 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, squeeze=False).ravel()
    labels = {0: "min", 100: "max"}
    shown = [n for n, p in enumerate(PERCENTILES) if p in (0, 10, 50, 90, 99, 100)]
    for axes, row in zip(panels, rows, strict=False):
        for run in [row["ours"], *(name for name in COLOURS if name in row["latency"])]:
            name = "fastlstm" if run == row["ours"] else run
            axes.plot(row["latency"][run], label=name, markersize=3, linewidth=1.2, **style(run))
        axes.set_yscale("log")
        axes.set_title(row["shape"]["id"], fontsize=9, loc="left")
        axes.set_xticks(shown, [labels.get(PERCENTILES[n], f"{PERCENTILES[n]:g}") for n in shown], fontsize=7)
        axes.tick_params(axis="y", labelsize=7)
        bare(axes, "both")
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    for axes in panels[::across]:
        axes.set_ylabel("microseconds a call", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    save(figure, "Streams: percentiles of single calls", machine, path)


def precision(rows: list[Row], machine: dict[str, Any], path: Path) -> None:
    """What narrow weights gain and what they cost: a line for each shape, a point for each precision."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    names = list(rows[0]["median"])
    markers = dict(zip(names, "osD^", strict=True))
    for n, row in enumerate(rows):
        points = [(row["errors"][name], row["median"][names[0]] / row["median"][name], name) for name in names]
        errors, faster, ordered = zip(*sorted(points), strict=True)
        colour = f"C{n}"
        axes.plot(faster, errors, color=colour, linewidth=1, alpha=0.6, label=row["shape"]["id"])
        for x, y, name in zip(faster, errors, ordered, strict=True):
            axes.scatter(x, y, color=colour, marker=markers[name], s=30, zorder=3)
    for name, marker in markers.items():
        axes.scatter([], [], color="0.3", marker=marker, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("times as fast as float32", fontsize=9)
    axes.set_ylabel("largest difference from float64", fontsize=9)
    axes.legend(frameon=False, fontsize=8, title="batch, steps, features, units; weights", title_fontsize=8)
    bare(axes, "both")
    save(figure, "Narrow weights: error against time", machine, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", metavar="FILE.json")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "results", metavar="DIRECTORY")
    arguments = parser.parse_args()
    results = [json.loads(path.read_text()) for path in arguments.results]
    for result in results:
        if "steps_1000" in result:
            precision(result["rows"], result["machine"], arguments.to / "precision.png")
    compared = [result for result in results if "steps_1000" not in result]
    kinds = {(result["machine"]["threads"], result["machine"].get("precision", "float32")) for result in compared}
    for threads, own in sorted(kinds):
        same = [result for result in compared if result["machine"]["threads"] == threads]
        same = [result for result in same if result["machine"].get("precision", "float32") == own]
        rows = [row for result in same for row in result["rows"]]
        kept = "" if own == "float32" else f"-{own}"
        for draw in (ratio, units, latency):
            draw(rows, same[0]["machine"], arguments.to / f"{draw.__name__}-{threads}{kept}.png")


if __name__ == "__main__":
    main()
