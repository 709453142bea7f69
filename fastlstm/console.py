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
    weights: list[tuple[int, int, bool]]  # of each array its scalars, bytes of one, whether training changes it
    connected: str | None = None  # what it reads, where the model is no plain sequence
    trainable: str | None = None  # whether training would change it, where that is asked for

    def cells(self, connected: bool) -> tuple[str, ...]:
        """The texts of its columns."""
        shape = "?" if self.shape is None else str(self.shape)
        cells = [self.label, shape, "0 (unbuilt)" if self.params is None else f"{self.params:,}"]
        if connected:
            cells.append("-" if self.connected is None else self.connected)
        return (*cells, *([] if self.trainable is None else [self.trainable]))


def summary(name: str, rows: Sequence[Row], line_length: int | None) -> str:
    """A model's layers as a table and its numbers of weights, laid out as Keras's ``summary``.

    Parameters
    ----------
    line_length : int, optional
        Width of the table; by default 88 (108 with connections), or the terminal's less 4 where that is narrower.
    """
    connected, shown = (any(getattr(row, key) is not None for row in rows) for key in ("connected", "trainable"))
    length = (108 if connected else 88) + 12 * shown
    length = line_length or min(length, shutil.get_terminal_size().columns - 4)
    text = f'Model: "{name}"\n' + _table([row.cells(connected) for row in rows], length, connected, shown)
    weights = [w for row in rows for w in row.weights]
    for kind, trainable in (("Total", (True, False)), ("Trainable", (True,)), ("Non-trainable", (False,))):
        counted = [(size, itemsize) for size, itemsize, trains in weights if trains in trainable]
        count, size = sum(n for n, _ in counted), sum(n * itemsize for n, itemsize in counted)
        text += f" {kind} params: {count:,} ({readable_size(size)})\n"
    return text


def _table(rows: Sequence[Sequence[str]], length: int, connected: bool, trainable: bool) -> str:
    parts: tuple[float, ...] = (0, 0.3, 0.56, 0.74, 1.0) if connected else (0, 0.45, 0.80, 1.0)
    if trainable:
        parts = (*(0.9 * part for part in parts), 1.0)
    edges = [int(part * length) for part in parts]
    # Frame and margins: three off each column, and one more off the last but one.
    widths = [b - a - 3 - (i == len(edges) - 3) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    if min(widths) < 4:
        raise FastLSTMError(f"summary: line_length is {length}; expected {60 if connected else 40} or more")

    def rule(left: str, line: str, cross: str, right: str) -> str:
        return left + cross.join(line * (width + 2) for width in widths) + right

    def row(cells: Sequence[str], bar: str) -> list[str]:
        columns = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
        lines = []
        for texts in itertools.zip_longest(*columns, fillvalue=""):
            aligned = [align(text, width) for align, text, width in zip(alignments, texts, widths, strict=True)]
            lines.append(f"{bar} " + f" {bar} ".join(aligned) + f" {bar}")
        return lines

    alignments = [str.ljust, str.ljust, str.rjust] + [str.ljust] * connected + [str.center] * trainable
    header = ["Layer (type)", "Output Shape", "Param #"]
    header += ["Connected to"] * connected + ["Trainable"] * trainable
    lines = [rule("┏", "━", "┳", "┓"), *row(header, "┃")]
    between = [rule("┡", "━", "╇", "┩")]
    for cells in rows:
        lines += between + row(cells, "│")
        between = [rule("├", "─", "┼", "┤")]
    return "\n".join([*lines, rule("└", "─", "┴", "┘"), ""])


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of whole words; a word that is too long is cut short."""
    lines = [text[: len(text) - len(text.lstrip())]]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1].strip() else lines[-1] + word
        if len(longer) <= width or not lines[-1].strip():
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
    total : int or None
        Number of steps; None where nobody knows.
    verbose : {"auto", 0, 1, 2}
        1 and ``"auto"`` show a bar if there are two steps or more and a terminal to show it on; 2
        writes one line at the end.
    """

    _WIDTH = 30
    _EVERY = 0.1  # seconds

    def __init__(self, total: int | None, verbose: str | int) -> None:
        self.total = total
        shown = sys.stderr is not None and sys.stderr.isatty()
        self._bar = verbose in ("auto", 1) and total != 1 and shown
        self._line = verbose == 2 and sys.stderr is not None
        self._start = self._shown = time.monotonic()

    def step(self, done: int) -> None:
        """Say that ``done`` steps are finished."""
        now = time.monotonic()
        if done == self.total:
            self.end(done)
        elif self._bar and now - self._shown >= self._EVERY:
            self._shown = now
            spent = now - self._start
            if self.total is None:
                self._write(f"{done} steps, {spent:.0f}s")
            else:
                self._write(f"{self._drawn(done)} {spent / done * (self.total - done):.0f}s left")

    def end(self, done: int) -> None:
        """Say that there are no more steps, which an unknown total does not tell."""
        spent = time.monotonic() - self._start
        if self._line and done:
            print(f"{done}/{done} - {spent:.0f}s - {1e3 * spent / done:.3g}ms/step", file=sys.stderr)
        elif self._bar:
            self.total = done
            self._write(f"{self._drawn(done)} {spent:.0f}s", end="\n")

    def _drawn(self, done: int) -> str:
        full = self._WIDTH * done // max(1, self.total or 1)
        return f"{done}/{self.total} [{'=' * full}{'.' * (self._WIDTH - full)}]"

    @staticmethod
    def _write(text: str, end: str = "") -> None:
        print(f"\r{text:<60}".rstrip(" ") if end else f"\r{text:<60}", end=end, file=sys.stderr, flush=True)
