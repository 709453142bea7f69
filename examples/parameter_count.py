"""How many weights an LSTM has, where they are, and why the number of steps is not among what decides it."""

from __future__ import annotations

import numpy as np

import fastlstm


def expected(features: int, units: int) -> int:
    """Four gates, each with a matrix over [x; h] and a bias."""
    return 4 * ((features + units) * units + units)


def counted(features: int, units: int) -> tuple[list[int], int, int]:
    """Of the layer: each array's numbers, and all of them; and those of a model with a Dense(1) behind it."""
    layer = fastlstm.LSTM(units)
    model = fastlstm.Sequential([fastlstm.Input((5, features)), layer, fastlstm.layers.Dense(1)])
    return [array.size for array in layer.get_weights()], layer.count_params(), model.count_params()


def any_number_of_steps() -> list[tuple[int, ...]]:
    """Shapes that a layer built for five steps returns for four steps, and for a thousand."""
    layer = fastlstm.LSTM(1)
    layer.build((None, 5, 1))
    return [layer(np.ones((1, steps, 1))).shape for steps in (4, 1000)]


def main() -> None:
    for features, units in ((1, 1), (2308, 32)):
        (kernel, recurrent, bias), total, with_head = counted(features, units)
        print(f"{features} features, {units} units: kernel {kernel}, recurrent kernel {recurrent}, bias {bias}")
        print(f"    together {total} = {expected(features, units)}; with a Dense(1) behind it {with_head}")
    print(f"4 and 1000 steps through a layer built for 5: {any_number_of_steps()}")


if __name__ == "__main__":
    main()
