"""Text for terminals: the table that summarises a model, and the progress bar of a long run."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

#: For a terminal whose encoding has no box characters.
_ASCII = str.maketrans("┏━┳┓┃┡╇┩│├─┼┤└┴┘…", "+-++|+++|+-+++++.")


def summary_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], line_length: int | None) -> str:
    """A table as Keras's ``summary`` lays it out: three columns, the last aligned to the right.

    Parameters
    ----------
    line_length : int, optional
        Width of the table; by default 88, or the terminal's less 4 where that is narrower.
    """
    length = line_length or min(88, shutil.get_terminal_size().columns - 4)
    edges = [int(part * length) for part in (0, 0.45, 0.80, 1.0)]
    # The frame takes ten characters more than the columns were given: three, four and three of them.
    widths = [b - a - 1 - (i == 1) for i, (a, b) in enumerate(zip(edges, edges[1:], strict=False))]
    if min(widths) < 4:
        raise ValueError(f"line_length is {length}; a summary needs at least 40")

    def rule(left: str, line: str, cross: str, right: str) -> str:
        return left + cross.join(line * width for width in widths) + right

    def row(cells: Sequence[str], bar: str) -> list[str]:
        columns = [_wrapped(cell, width - 2) for cell, width in zip(cells, widths, strict=True)]
        lines = []
        for i in range(max(map(len, columns))):
            texts = [column[i] if i < len(column) else "" for column in columns]
            texts = [t.rjust(w - 2) if k == 2 else t.ljust(w - 2) for k, (t, w) in enumerate(zip(texts, widths, strict=True))]
            lines.append(bar + bar.join(f" {t} " for t in texts) + bar)
        return lines

    lines = [title, rule("┏", "━", "┳", "┓"), *row(header, "┃"), rule("┡", "━", "╇", "┩")]
    for k, cells in enumerate(rows):
        lines += [rule("├", "─", "┼", "┤")] * (k > 0) + row(cells, "│")
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
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if n_bytes < 1024:
            break
        n_bytes /= 1024
    return f"{n_bytes:.2f} {unit}"


def write(text: str) -> None:
    """Print to the standard output, in plain ASCII where it can show no more."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode("ascii", "replace").decode()
    sys.stdout.write(text)


class Progress:
    """A bar on a terminal that counts steps of equal length; silent where the stream is no terminal.

    Parameters
    ----------
    total : int
        Number of steps.
    stream : text file, optional
        Default: the standard error.
    """

    _WIDTH = 30
    _EVERY = 0.1  # seconds

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total = total
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream is not None and self._stream.isatty()
        self._start = self._shown = time.monotonic()

    def step(self, done: int) -> None:
        """Say that ``done`` steps are finished."""
        now = time.monotonic()
        if not self._live or (done < self.total and now - self._shown < self._EVERY):
            return
        self._shown = now
        full = self._WIDTH * done // self.total
        bar = "=" * full + "." * (self._WIDTH - full)
        spent = now - self._start
        note = f"{spent:.0f}s" if done == self.total else f"{spent / done * (self.total - done):.0f}s left"
        self._stream.write(f"\r{done}/{self.total} [{bar}] {note:<10}" + "\n" * (done == self.total))
        self._stream.flush()
