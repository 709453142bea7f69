"""What a terminal shows: a bar where there is one, a summary that every encoding can print."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from fastlstm import FastLSTMError, Sequential
from fastlstm.layers import LSTM, Dense, InputLayer


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "verbose", "rows", "shows"),
    [
        (Terminal, "auto", 100, "\r"),
        (Terminal, 1, 100, "\r"),
        (Terminal, 1, 32, ""),
        (Terminal, 0, 100, ""),
        (Terminal, 2, 100, "4/4 - "),
        (io.StringIO, "auto", 100, ""),
        (io.StringIO, 1, 100, ""),
        (io.StringIO, 2, 32, "1/1 - "),
    ],
)
def test_predict_shows_a_bar_on_a_terminal_only(monkeypatch, stream, verbose, rows, shows):
    model = Sequential([InputLayer((2,)), Dense(1)])
    monkeypatch.setattr(sys, "stderr", stream())
    model.predict(np.zeros((rows, 2)), verbose=verbose)
    text = sys.stderr.getvalue()
    assert text.startswith(shows)
    assert bool(text) == bool(shows)
    assert not text or text.endswith("\n")


def test_summary_has_a_row_for_each_layer_and_the_totals():
    model = Sequential(
        [InputLayer((4, 2), name="in"), LSTM(3, name="lstm"), Dense(1, name="d" * 60, trainable=False)]
    )
    lines: list[str] = []
    model.summary(line_length=60, print_fn=lines.append)
    rows = lines[0].splitlines()
    assert {len(row) for row in rows[1:-3]} == {60}
    assert "│ lstm (LSTM)              │ (None, 3)         │        72 │" in rows
    assert "…" in rows[6]
    assert rows[-3:] == [
        " Total params: 76 (304.00 B)",
        " Trainable params: 72 (288.00 B)",
        " Non-trainable params: 4 (16.00 B)",
    ]
    with pytest.raises(FastLSTMError, match="line_length"):
        model.summary(line_length=10)


def test_summary_falls_back_to_ascii(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    Sequential([Dense(2, name="d")]).summary(line_length=60)
    out.flush()
    text = out.buffer.getvalue().decode()
    assert "| d (Dense)" in text
    assert "0 (unbuilt)" not in text.split("\n")[1]
    assert "+--" in text
