"""Finds the polynomials of csrc/activations_tpl.h: e^r - 1 = r + r^2 P(r) on |r| <= ln(2)/2.

Lawson's iteration (least squares whose weights grow where the error is largest, which tends to the
smallest maximum) in 60 digits on the error of r^2 P relative to e^r - 1, with P(0) = 1/2 held.
Needs mpmath; prints C constants and the largest relative error before they are rounded.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60
HALF_LN2 = mp.log(2) / 2


def fit(degree: int, points: int = 121, rounds: int = 40) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients c0..c_degree of P and the largest |error of r^2 P| / |e^r - 1|."""
    grid = [HALF_LN2 * mp.cos(mp.pi * (2 * i + 1) / (2 * points)) for i in range(points)]
    grid = [r for r in grid if abs(r) > mp.mpf("1e-6")]
    # c1.. has to match (e^r - 1 - r - r^2/2) / r^3, where an error counts r^3 / (e^r - 1) times
    scale = [r**3 / mp.expm1(r) for r in grid]
    rows = mp.matrix([[r**j * s for j in range(degree)] for r, s in zip(grid, scale, strict=True)])
    target = mp.matrix([(mp.expm1(r) - r - r * r / 2) / r**3 * s for r, s in zip(grid, scale, strict=True)])
    weights = [mp.mpf(1)] * len(grid)
    for _ in range(rounds):
        w = mp.diag(weights)
        coefficients = mp.lu_solve(rows.T * w * rows, rows.T * w * target)
        errors = [abs(e) for e in rows * coefficients - target]
        weights = [a * e for a, e in zip(weights, errors, strict=True)]
        total = mp.fsum(weights)
        weights = [a / total for a in weights]
    return [mp.mpf(1) / 2, *coefficients], max(errors)


if __name__ == "__main__":
    for name, degree, real in (("float", 4, np.float32), ("double", 9, np.float64)):
        coefficients, error = fit(degree)
        print(f"{name}: relative error 2^{float(mp.log(error, 2)):.1f}")
        for j, c in enumerate(coefficients):
            print(f"  c{j} = {float(real(float(c))).hex()}  /* {mp.nstr(c, 18)} */")
