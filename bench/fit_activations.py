"""Finds the polynomials of csrc/activations_tpl.h and prints them as C constants. Needs mpmath.

    e^r - 1 = r + r^2 P(r)    on |r| <= ln(2)/2, with P(0) = 1/2 held
    tanh(x) = x + x^3 Q(x^2)  on |x| <= 1/2

Lawson's iteration (least squares whose weights grow where the error is largest, which tends to the
smallest maximum) in 60 digits, on the error relative to the function.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def lawson(target, weight, low, high, terms, points=121, rounds=40):
    """Coefficients of the polynomial nearest to ``target``, and its largest weighted error."""
    middle, half = (low + high) / 2, (high - low) / 2
    grid = [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * points)) for i in range(points)]
    grid = [r for r in grid if abs(r) > mp.mpf("1e-6")]
    scale = [weight(r) for r in grid]
    rows = mp.matrix([[r**j * s for j in range(terms)] for r, s in zip(grid, scale, strict=True)])
    wanted = mp.matrix([target(r) * s for r, s in zip(grid, scale, strict=True)])
    share = [mp.mpf(1)] * len(grid)
    for _ in range(rounds):
        w = mp.diag(share)
        coefficients = mp.lu_solve(rows.T * w * rows, rows.T * w * wanted)
        errors = [abs(e) for e in rows * coefficients - wanted]
        share = [a * e for a, e in zip(share, errors, strict=True)]
        total = mp.fsum(share)
        share = [a / total for a in share]
    return list(coefficients), max(errors)


def exp_polynomial(degree):
    """c1.. match (e^r - 1 - r - r^2/2) / r^3; an error there counts r^3 / (e^r - 1) times."""
    half_ln2 = mp.log(2) / 2
    found, error = lawson(
        lambda r: (mp.expm1(r) - r - r * r / 2) / r**3, lambda r: r**3 / mp.expm1(r), -half_ln2, half_ln2, degree
    )
    return [mp.mpf(1) / 2, *found], error


def tanh_polynomial(terms):
    """Matches (tanh(x) - x) / x^3 in u = x^2; an error there counts x^3 / tanh(x) times."""

    def target(u):
        x = mp.sqrt(u)
        return (mp.tanh(x) - x) / x**3

    return lawson(target, lambda u: mp.sqrt(u) ** 3 / mp.tanh(mp.sqrt(u)), mp.mpf(0), mp.mpf(1) / 4, terms)


if __name__ == "__main__":
    for title, (found, error), real in (
        ("exp, float", exp_polynomial(4), np.float32),
        ("exp, double", exp_polynomial(9), np.float64),
        ("tanh, float", tanh_polynomial(4), np.float32),
        ("tanh, double", tanh_polynomial(10), np.float64),
    ):
        print(f"{title}: relative error 2^{float(mp.log(error, 2)):.1f}")
        print("  " + ", ".join(f"{float(real(float(c))).hex()}" for c in found))
