"""What ``fastlstm demo`` does: a packaged Keras model forecasts sunspots and is checked against Keras."""

from __future__ import annotations

import os
import time
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastlstm
from fastlstm.errors import FastLSTMError

Floats = NDArray[np.floating[Any]]

#: Largest difference from Keras's stored output v that passes, in units of max(1, |v|).
TOLERANCE = 1e-5
PICTURE = "sunspots.png"
ROWS = 20  # years in the printed table
REPEATS = 500  # timed calls; the median is printed


def run(plot: str | None = None) -> int:
    """Forecast the held-back sunspot numbers, print them beside the truth, and draw them.

    Parameters
    ----------
    plot : str, optional
        File for the picture; its ending chooses the format. Default :data:`PICTURE`, where there is
        matplotlib and the directory can be written to.

    Returns
    -------
    int
        0, or 1 where the forecasts differ from Keras's by more than :data:`TOLERANCE`.

    Raises
    ------
    FastLSTMError
        The picture asked for cannot be made.
    """
    data = resources.files("fastlstm") / "data"
    with resources.as_file(data / "sunspots.keras") as path:
        model = fastlstm.load_model(path)
    with (data / "sunspots.npz").open("rb") as file, np.load(file) as stored:
        series, years = stored["sunspots"], stored["years"]
        centre, spread, keras_output = stored["centre"], stored["spread"], stored["keras_forecast"]
        window, first_year = int(stored["window"]), int(stored["first_held_back_year"])

    # Each row is one window: the years before a held-back one, scaled as in training.
    start = int(np.argmax(years >= first_year))
    scaled = (np.sqrt(series) - centre) / spread
    windows = np.lib.stride_tricks.sliding_window_view(scaled, window)[start - window : -1, :, None]
    windows = np.ascontiguousarray(windows)
    output = model.predict(windows, verbose=0)[:, 0]

    forecast = np.maximum(output * spread + centre, 0) ** 2
    truth, before = series[start:], series[start - 1 : -1]
    difference = float(np.max(np.abs(output - keras_output) / np.maximum(1, np.abs(keras_output))))
    same = difference <= TOLERANCE  # False for NaN too

    print(f"Sunspots, yearly: each year from {years[start]} forecast from the {window} years before it.\n")
    _print_table(years[start:], truth, forecast)
    print()
    print(f"RMSE, all {len(truth)} years          {_rmse(forecast - truth):.2f} sunspots")
    print(f"  next year = this year    {_rmse(before - truth):.2f} sunspots")
    print(f"largest difference         {difference:.1e} from Keras's own output (allowed: {TOLERANCE:.0e})")
    print(f"one forecast takes         {1e6 * _median_seconds(model, windows[:1]):.1f} us")
    print(f"instruction set            {fastlstm.show_config(print_it=False)['isa']}")
    if not same:
        print(f"\nFAILED: the output differs from Keras's by {difference:.1e}; allowed: {TOLERANCE:.0e}")
    picture = PICTURE if plot is None else plot
    try:
        _draw(picture, years[start:], truth, forecast)
        print(f"\nPicture: {picture}")
    except FastLSTMError as error:
        if plot is not None:
            raise
        print(f"\nNo picture: {error}")
    return 0 if same else 1


def _rmse(errors: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))


def _print_table(years: NDArray[Any], truth: Floats, forecast: Floats) -> None:
    errors = forecast - truth
    print("year   truth  forecast   error")
    rest = len(years) - ROWS
    if rest > 0:
        print(f"{years[0]} to {years[rest - 1]}: {rest} years, RMSE {_rmse(errors[:rest]):.1f}")
    for row in zip(years[-ROWS:], truth[-ROWS:], forecast[-ROWS:], errors[-ROWS:], strict=True):
        print("{:4d}  {:6.1f}  {:8.1f}  {:+6.1f}".format(*row))


def _median_seconds(model: Any, window: Floats) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        model(window)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _draw(path: str, years: NDArray[Any], truth: Floats, forecast: Floats) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FastLSTMError('pip install "fastlstm[plot]" adds what draws it') from None
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(years, truth, color="0.25", marker="o", markersize=3.5, linewidth=1, label="counted")
    axes.plot(years, forecast, color="tab:orange", linewidth=2, label="forecast one year ahead")
    axes.set(
        title=f"Sunspots, {years[0]} to {years[-1]}: years held back from training",
        ylabel="yearly sunspot number",
        xlim=(years[0] - 1, years[-1] + 1),
        ylim=(0, None),
    )
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=150, format=os.path.splitext(path)[1][1:] or "png")
    except (OSError, ValueError) as error:  # ValueError: no format of that name
        why = getattr(error, "strerror", None) or error
        raise FastLSTMError(f"{path!r} cannot be written: {why}") from None
