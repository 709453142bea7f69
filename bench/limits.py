"""What the machine allows: its cores measured by limits.c, and from that the time a shape needs at least."""

from __future__ import annotations

import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

#: float32 numbers in a vector of each kernel; the plain C ones get those of every x86-64 processor.
LANES = {"avx512": 16, "avx2": 8}
CHAIN, GATES = 120, 45  # cycles: from one step's h to the next's; the gates of a vector of units
FLAGS = ["-O2", "-march=native", "-ffp-contract=fast", "-pthread"]


class Constants(NamedTuple):
    """Of one core while all that are measured work; rates are per nanosecond, times in nanoseconds."""

    lanes: int
    fma: float  # multiply-adds
    latency: float  # of one multiply-add
    sizes: list[int]  # bytes, of which there follow
    forward: list[float]  # bytes read, over and over in one order
    zigzag: list[float]  # the same there and back
    handover: float  # until another core sees what one wrote; 0 where only one was measured
    caches: list[int]  # bytes, from the first level

    @property
    def cycle(self) -> float:
        """A multiply-add takes four of them."""
        return self.latency / 4

    def reading(self, size: float) -> float:
        """Nanoseconds for one sweep over weights of so many bytes that is repeated at every step.

        Each level of the caches keeps five sixths (the first) or nine tenths (the others) of itself for the
        weights, and gives them at the rate measured for the largest size within that. Weights that fit the first
        level come from there, those that fit the second from there. Of larger ones the second level keeps its
        share, as sweeps there and back allow, the third keeps its share of the rest, and memory sends what is left.
        """
        levels = [cache * (9 / 10 if n else 5 / 6) for n, cache in enumerate(self.caches)]
        levels = [level for level in levels if level < self.sizes[-1]] + [math.inf]
        measured = [max(0, sum(s <= level for s in self.sizes) - 1) for level in levels]
        rates = [max(self.forward[n], self.zigzag[n]) for n in measured]
        if size <= levels[0]:
            return size / rates[0]
        time = below = 0.0
        for level, rate in zip(levels[1:], rates[1:], strict=True):
            time += max(0.0, min(size, level) - below) / rate
            below = level
        return time

    def sentence(self) -> str:
        """The constants in one line."""
        rates = map(max, self.forward, self.zigzag)
        reads = ", ".join(f"{readable(size)} {rate:.0f}" for size, rate in zip(self.sizes, rates, strict=True))
        other = f"; to the other core {self.handover:.0f} ns" if self.handover else ""
        return (
            f"a core: {self.fma:.0f} multiply-adds a ns in vectors of {self.lanes}, each after {self.latency:.2f} ns; "
            f"reads GB/s: {reads}{other}"
        )


def readable(size: int) -> str:
    """A size in K or M."""
    return f"{size >> 20}M" if size >= 1 << 20 else f"{size >> 10}K"


def measure(cpus: list[int], isa: str, caches: dict[str, str], seconds: float = 0.01) -> Constants:
    """Compile limits.c and run it.

    Parameters
    ----------
    cpus : list of int
        The processors to measure; of more than two the first two.
    isa : str
        The kernel whose vectors to use.
    caches : dict
        As machine.describe gives them: ``{"L1": "48K", "L2": "1024K", ...}``; of a system that does not tell,
        32K and 1024K are taken, and no third level.
    seconds : float
        How long each repeat of a probe lasts.
    """
    caches = caches or {"L1": "32K", "L2": "1024K"}
    lanes = LANES.get(isa, 4)
    with tempfile.TemporaryDirectory() as place:
        program = f"{place}/limits"
        source = str(Path(__file__).with_suffix(".c"))
        try:
            subprocess.run(["cc", *FLAGS, f"-DLANES={lanes}", source, "-o", program], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"limits: needs a C compiler that the command cc starts ({error})") from None
        command = [program, str(seconds), *map(str, cpus[:2])]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = {"sizes": [], "forward": [], "zigzag": [], "handover": 0.0}
    for line in printed.splitlines():
        name, *numbers = line.split()
        if name == "read":
            for key, number in zip(("sizes", "forward", "zigzag"), numbers, strict=True):
                found[key].append(int(number) if key == "sizes" else float(number))
        else:
            found[name] = float(numbers[0])
    sizes = [int(caches[level].removesuffix("K")) << 10 for level in sorted(caches)]
    return Constants(lanes=lanes, caches=sizes, **found)


def limit(shape: dict[str, Any], machine: Constants, threads: int = 1) -> float:
    """Microseconds that an excellent implementation of this kind would need on this machine: the goal.

    One step of one layer and direction costs the larger of two times:

    - the multiply-adds of the recurrent product (units rounded up to whole vectors) at the peak rate, and beside
      them the gates, 45 cycles for each vector of units; of a single row the first vector's gates count
      in the next item instead;
    - one sweep over the recurrent weights, from where they fit (``Constants.reading``);

    and after that, since the next step waits for it, 120 cycles for the chain from h through the products' sums,
    sigmoid and tanh to the next h, and the input's product at the peak rate, done for many steps at once. A cycle is
    a quarter of a multiply-add's latency. Layers, directions and steps follow each other.

    Streams (fewer than eight rows times steps) cannot take the input's product out of the steps: the multiply-adds
    of all layers, or one sweep over all their weights, whichever takes longer, and the chain of each layer.

    Several threads first take a direction each or not, whichever ends sooner; those that are left share the rows, or
    the units, which costs two handovers between cores a step. Where none of that helps one thread does it all.
    """
    batch, steps, units = shape["batch"], shape["steps"], shape["units"]
    directions, layers = shape["directions"], shape["layers"]
    widths = [shape["features"]] + [directions * units] * (layers - 1)
    vectors = math.ceil(units / machine.lanes)

    def one_direction(rows: float, share: float, waiting: float) -> float:
        """Nanoseconds for all layers and steps on a core that has so many rows and such a share of the units."""

        def products(width: int) -> float:
            return 4 * vectors * machine.lanes * width * rows * share / machine.fma

        gates = GATES * machine.cycle * vectors * rows * share
        if batch == 1:
            gates = max(0.0, gates - GATES * machine.cycle)
        chain = CHAIN * machine.cycle + waiting
        if batch * steps < 8:
            work = sum(products(width + units) + gates for width in widths)
            sweep = machine.reading(sum(16 * units * (width + units) * share for width in widths))
            return steps * (max(work, sweep) + layers * chain)
        cell = max(products(units) + gates, machine.reading(16 * units * units * share)) + chain
        return steps * sum(cell + products(width) for width in widths)

    times = [directions * one_direction(batch, 1.0, 0.0)]
    for apart in {1, min(threads, directions)}:
        turns, left = directions / apart, threads // apart
        times.append(turns * one_direction(max(1.0, batch / left), 1.0, 0.0))
        times.append(turns * one_direction(batch, 1 / left, 2 * machine.handover if left > 1 else 0.0))
    return min(times) / 1000
