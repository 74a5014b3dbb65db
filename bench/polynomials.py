"""The polynomials of native/core/functions.h: minimax fits in float64, as they stand there rounded to float32.

Each line is one function: coefficients from the lowest power up, and the largest error relative to the function. The
fit is Lawson's algorithm: least squares whose weights grow where the error is large, until it is level.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def fit(f: Function, low: float, high: float, degree: int, weight: Function) -> tuple[Array, float]:
    """Coefficients p that make the largest |p − f| · weight on [low, high] small, and that error."""
    t = np.cos(np.pi * (np.arange(4001) + 0.5) / 4001)
    x = (low + high) / 2 + (high - low) / 2 * t
    y, w, basis = f(x), weight(x), chebyshev.chebvander(t, degree)
    emphasis = np.full(t.size, 1 / t.size)
    for _ in range(60):
        scale = np.sqrt(emphasis) * w
        found = np.linalg.lstsq(basis * scale[:, None], y * scale, rcond=None)[0]
        error = np.abs((basis @ found - y) * w)
        emphasis *= error
        emphasis /= emphasis.sum()
    line, power = np.array([-(high + low), 2.0]) / (high - low), np.zeros(1)
    for coefficient in chebyshev.cheb2poly(found)[::-1]:
        power = polynomial.polyadd(polynomial.polymul(power, line), [coefficient])
    return power[: degree + 1], float(error.max())


def _series(x: Array, near: Array, far: Function, radius: float) -> Array:
    """`near` around 0, where the formula divides nothing by nothing, `far` elsewhere."""
    return np.where(np.abs(x) < radius, near, far(np.where(np.abs(x) < radius, 1.0, x)))


def exponential(x: Array) -> Array:
    """(eˣ − 1 − x) / x²."""
    return _series(x, 0.5 + x / 6 + x**2 / 24 + x**3 / 120, lambda v: (np.expm1(v) - v) / v**2, 0.02)


def logarithm(f: Array) -> Array:
    """(ln(1 + f) − f + f² / 2) / f³."""
    near = 1 / 3 - f / 4 + f**2 / 5 - f**3 / 6 + f**4 / 7
    return _series(f, near, lambda v: (np.log1p(v) - v + v * v / 2) / v**3, 0.01)


def tangent(z: Array) -> Array:
    """(tanh(x) / x − 1) / x² over z = x²."""
    near = -1 / 3 + 2 * z / 15 - 17 * z**2 / 315
    return _series(z, near, lambda v: (np.tanh(np.sqrt(v)) / np.sqrt(v) - 1) / v, 1e-3)


FITS = {
    "exponential_tail": (exponential, -0.505 * math.log(2), 0.505 * math.log(2), 4, lambda x: x * x),
    "logarithm": (logarithm, math.sqrt(0.5) - 1, math.sqrt(2) - 1, 7, lambda f: f * f),
    "hyperbolic_tangent": (tangent, 0.0, 0.625**2, 4, lambda z: z),
    "error_function, small": (lambda z: _erf(np.sqrt(z)) / np.sqrt(z), 1e-12, 0.95**2, 6, np.ones_like),
    "error_function, large": (lambda a: np.log(_erfc(a)) / a, 0.9, 4.0, 6, lambda a: a * _erfc(a)),
}

if __name__ == "__main__":
    for name, problem in FITS.items():
        coefficients, error = fit(*problem)
        print(f"{name}: {', '.join(f'{c:.9g}' for c in coefficients)}; error {error:.1e}")
