"""Text for terminals: the table that summarises a model, and the progress bar of a long run."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastlstm.errors import FastLSTMError

#: For a terminal whose encoding has no box characters.
_ASCII = str.maketrans("┏━┳┓┃┡╇┩│├─┼┤└┴┘…", "+-++|+++|+-+++++.")


class Row(NamedTuple):
    """A layer in a summary; shape and params are None while it is not built."""

    label: str
    shape: Any
    params: int | None
    itemsize: int
    trainable: bool

    def cells(self) -> tuple[str, str, str]:
        """The texts of its three columns."""
        shape = "?" if self.shape is None else str(self.shape)
        return self.label, shape, "0 (unbuilt)" if self.params is None else f"{self.params:,}"


def summary(name: str, rows: Sequence[Row], line_length: int | None) -> str:
    """A model's layers as a table and its numbers of weights, laid out as Keras's ``summary``.

    Parameters
    ----------
    line_length : int, optional
        Width of the table; by default 88, or the terminal's less 4 where that is narrower.
    """
    length = line_length or min(88, shutil.get_terminal_size().columns - 4)
    text = f'Model: "{name}"\n' + _table([row.cells() for row in rows], length)
    for kind, trainable in (("Total", (True, False)), ("Trainable", (True,)), ("Non-trainable", (False,))):
        counted = [(row.params or 0, row.itemsize) for row in rows if row.trainable in trainable]
        count, size = sum(n for n, _ in counted), sum(n * itemsize for n, itemsize in counted)
        text += f" {kind} params: {count:,} ({readable_size(size)})\n"
    return text


def _table(rows: Sequence[Sequence[str]], length: int) -> str:
    edges = [int(part * length) for part in (0, 0.45, 0.80, 1.0)]
    # Frame and margins take ten characters in all: three, four and three off the columns.
    widths = [b - a - 3 - (i == 1) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    if min(widths) < 4:
        raise FastLSTMError(f"summary: line_length is {length}; expected 40 or more")

    def rule(left: str, line: str, cross: str, right: str) -> str:
        return left + cross.join(line * (width + 2) for width in widths) + right

    def row(cells: Sequence[str], bar: str) -> list[str]:
        columns = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
        lines = []
        for first, second, third in itertools.zip_longest(*columns, fillvalue=""):
            texts = (first.ljust(widths[0]), second.ljust(widths[1]), third.rjust(widths[2]))
            lines.append(f"{bar} " + f" {bar} ".join(texts) + f" {bar}")
        return lines

    lines = [rule("┏", "━", "┳", "┓"), *row(("Layer (type)", "Output Shape", "Param #"), "┃")]
    between = [rule("┡", "━", "╇", "┩")]
    for cells in rows:
        lines += between + row(cells, "│")
        between = [rule("├", "─", "┼", "┤")]
    return "\n".join([*lines, rule("└", "─", "┴", "┘"), ""])


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of whole words; a word that is too long is cut short."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def readable_size(n_bytes: float) -> str:
    """``1.48 KB`` for 1512: two decimals in the largest unit that fits, of 1,024 each."""
    power = 0
    while n_bytes >= 1024 and power < 4:
        n_bytes, power = n_bytes / 1024, power + 1
    return f"{n_bytes:.2f} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"


def write(text: str) -> None:
    """Print to the standard output, in plain ASCII where it can show no more."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode("ascii", "replace").decode()
    sys.stdout.write(text)


class Progress:
    """Shows how far a run of equal steps has come, on the standard error.

    Parameters
    ----------
    total : int
        Number of steps.
    verbose : {"auto", 0, 1, 2}
        1 and ``"auto"`` show a bar if there are two steps or more and a terminal to show it on; 2
        writes one line at the end.
    """

    _WIDTH = 30
    _EVERY = 0.1  # seconds

    def __init__(self, total: int, verbose: str | int) -> None:
        self.total = total
        self._bar = verbose in ("auto", 1) and total > 1 and sys.stderr is not None and sys.stderr.isatty()
        self._line = verbose == 2 and sys.stderr is not None
        self._start = self._shown = time.monotonic()

    def step(self, done: int) -> None:
        """Say that ``done`` steps are finished."""
        now = time.monotonic()
        spent, last = now - self._start, done == self.total
        if self._line and last:
            print(f"{done}/{done} - {spent:.0f}s - {1e3 * spent / done:.3g}ms/step", file=sys.stderr)
        elif self._bar and (last or now - self._shown >= self._EVERY):
            self._shown = now
            full = self._WIDTH * done // self.total
            note = f"{spent:.0f}s" if last else f"{spent / done * (self.total - done):.0f}s left"
            bar = "=" * full + "." * (self._WIDTH - full)
            print(
                f"\r{done}/{self.total} [{bar}] {note:<10}",
                end="\n" if last else "",
                file=sys.stderr,
                flush=True,
            )
