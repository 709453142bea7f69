"""Train in Keras the sunspot forecaster that fastlstm ships and ``fastlstm demo`` runs."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import statsmodels.api as sm
import tensorflow as tf
from numpy.typing import NDArray
from statsmodels.tsa.ar_model import AutoReg

Array = NDArray[np.float32]

DATA = Path(__file__).resolve().parents[1] / "fastlstm" / "data"
WINDOW = 22  # years: two cycles of about eleven
FIRST_VALIDATION_YEAR = 1910  # from here to the next line's year: tells training when to stop
FIRST_HELD_BACK_YEAR = 1950  # from here on: seen by nothing but the final comparison
# Cycles differ in height, and the highest one is held back: training on scaled copies of the series
# teaches the shape of a cycle at any height.
HEIGHTS = (0.6, 0.8, 1.0, 1.25, 1.6)
SEED = 1


def rmse(forecast: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Root mean square of the errors, in sunspots."""
    return float(np.sqrt(np.mean((np.asarray(forecast, float) - truth) ** 2)))


def build() -> keras.Sequential:
    """The network: ``WINDOW`` scaled years in, the next scaled year out."""
    return keras.Sequential(
        [
            keras.layers.Input((WINDOW, 1)),
            keras.layers.LSTM(32, return_sequences=True),
            keras.layers.Dropout(0.2),
            keras.layers.LSTM(16),
            keras.layers.Dense(1),
        ],
        name="sunspots",
    )


def ar9(years: NDArray[np.integer], series: NDArray[np.floating]) -> NDArray[np.floating]:
    """One-step forecasts for the held-back years from an AR(9) fitted on all years before them."""
    constant, *factors = AutoReg(series[years < FIRST_HELD_BACK_YEAR], lags=9).fit().params
    first = int(np.argmax(years >= FIRST_HELD_BACK_YEAR))
    return constant + sum(a * series[first - k : len(series) - k] for k, a in enumerate(factors, start=1))


def main() -> None:
    """Train, compare on the held-back years, and write the model and its data for the demo."""
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()

    table = sm.datasets.sunspots.load_pandas().data
    years = table["YEAR"].to_numpy(np.int32)
    sunspots = table["SUNACTIVITY"].to_numpy(np.float32)

    # The spread of a count grows with its height; that of its square root does not.
    known = np.sqrt(sunspots[years < FIRST_HELD_BACK_YEAR])
    centre, spread = known.mean(dtype=np.float32), known.std(dtype=np.float32)

    def scaled(values: Array) -> Array:
        return ((np.sqrt(values) - centre) / spread).astype(np.float32)

    # Each row: WINDOW years and the year to forecast; year[i] is that last one.
    rows = np.lib.stride_tricks.sliding_window_view(sunspots, WINDOW + 1)
    year = years[WINDOW:]
    fit_rows = rows[year < FIRST_VALIDATION_YEAR]
    fit = np.concatenate([scaled(fit_rows * np.float32(height)) for height in HEIGHTS])
    validation = scaled(rows[(year >= FIRST_VALIDATION_YEAR) & (year < FIRST_HELD_BACK_YEAR)])
    held_back = rows[year >= FIRST_HELD_BACK_YEAR]

    model = build()
    model.compile(keras.optimizers.Adam(0.003), "mse")
    model.fit(
        fit[:, :WINDOW, None],
        fit[:, WINDOW:],
        validation_data=(validation[:, :WINDOW, None], validation[:, WINDOW:]),
        epochs=400,
        batch_size=64,
        callbacks=[keras.callbacks.EarlyStopping(patience=40, restore_best_weights=True)],
        verbose=2,
    )
    output = model.predict(scaled(held_back)[:, :WINDOW, None], verbose=0)[:, 0]

    truth = held_back[:, -1]
    print(f"RMSE over the {len(truth)} held-back years, {FIRST_HELD_BACK_YEAR} to {years[-1]}, in sunspots:")
    print(f"  this model              {rmse(np.maximum(output * spread + centre, 0) ** 2, truth):6.2f}")
    print(f"  next year = this year   {rmse(held_back[:, -2], truth):6.2f}")
    print(f"  AR(9)                   {rmse(ar9(years, sunspots), truth):6.2f}")
    print(f"  AR(9) on square roots   {rmse(ar9(years, np.sqrt(sunspots)) ** 2, truth):6.2f}")

    # The same layers in a model that was never compiled: its file holds no optimizer state.
    bare = keras.Sequential([keras.layers.Input((WINDOW, 1)), *model.layers], name="sunspots")
    DATA.mkdir(exist_ok=True)
    bare.save(DATA / "sunspots.keras")
    np.savez_compressed(
        DATA / "sunspots.npz",
        years=years,
        sunspots=sunspots,
        centre=centre,
        spread=spread,
        window=WINDOW,
        first_held_back_year=FIRST_HELD_BACK_YEAR,
        keras_forecast=output,
    )


if __name__ == "__main__":
    main()
