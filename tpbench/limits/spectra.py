"""Laws of large random matrices by their moments: semicircle, Marchenko-Pastur, and free convolutions of any two.

A law is the sequence of its moments m_1, m_2, …; numbers are fractions, floats or NumPy arrays (one law an entry), and
fractions stay fractions. With M(z) = 1 + Σ_k m_k z^k and C(z) = 1 + Σ_k κ_k z^k the free cumulants are defined by
``M(z) = C(z M(z))`` (Voiculescu 1986; Speicher 1994). Sums of free variables add their cumulants. For products of free
variables, χ the inverse series of M(z) - 1, the S-transforms ``S(z) = χ(z) (1 + z)/z`` multiply (Voiculescu 1987).

Independent large random matrices are free; numbers that are independent in the ordinary sense are what the rivals say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from tpbench.limits import Array

Moments = Sequence[Any]
"""m_1, m_2, … (or free cumulants κ_1, κ_2, …)."""
BISECTIONS = 60


# --- laws --------------------------------------------------------------------------------------------------------


def catalan(k: int) -> int:
    """Return the Catalan number C_k, the moment of order 2k of the semicircle of variance 1: 1, 1, 2, 5, 14, …"""
    return math.comb(2 * k, k) // (k + 1)


def fuss_catalan(factors: int, k: int) -> int:
    """Return the k-th moment of JᵀJ for a product J of square matrices with independent entries of variance 1/n."""
    return math.comb((factors + 1) * k, k) // (factors * k + 1)


def narayana(k: int, ratio: Fraction) -> Fraction:
    """Return ``Σ_r ratio^r N(k, r + 1)``, the k-th moment of the Marchenko-Pastur law of a ratio n/m.

    N(k, r + 1) are Narayana's numbers; with ratio 1 they add up to Catalan's.
    """
    return sum((ratio**r * Fraction(math.comb(k, r) * math.comb(k - 1, r), r + 1) for r in range(k)), Fraction(0))


def semicircle_moments(count: int, variance: Any = 1) -> list[Any]:
    """Return the first moments of the semicircle."""
    return [variance ** (k // 2) * catalan(k // 2) if k % 2 == 0 else 0 * variance for k in range(1, count + 1)]


def marchenko_pastur_moments(count: int, ratio: Fraction = Fraction(1)) -> list[Fraction]:
    """Return the first moments of X Xᵀ for X n × m with entries of variance 1/m and ratio n/m."""
    return [narayana(k, ratio) for k in range(1, count + 1)]


def semicircle_density(x: Array, variance: float = 1.0) -> Array:
    """Return the semicircle's density, on [-2 sqrt(variance), 2 sqrt(variance)]."""
    return np.asarray(np.sqrt(np.clip(4 * variance - x**2, 0, None)) / (2 * math.pi * variance))


def semicircle_distribution(x: Array, variance: float = 1.0) -> Array:
    """Return P(λ ≤ x) under the semicircle."""
    half = np.clip(np.asarray(x) / (2 * math.sqrt(variance)), -1, 1)
    return np.asarray(0.5 + (half * np.sqrt(1 - half**2) + np.arcsin(half)) / math.pi)


def marchenko_pastur_edges(ratio: float) -> tuple[float, float]:
    """Return (1 - sqrt(ratio))² and (1 + sqrt(ratio))²."""
    return (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2


def marchenko_pastur_density(x: Array, ratio: float) -> Array:
    """Return the Marchenko-Pastur density between its edges; for a ratio above 1 it integrates to 1/ratio."""
    low, high = marchenko_pastur_edges(ratio)
    x = np.asarray(x, dtype=np.float64)
    inside = (x > low) & (x < high)
    under = np.where(inside, (high - x) * (x - low), 0.0)
    return np.asarray(np.sqrt(under) / (2 * math.pi * ratio * np.where(inside, x, 1.0)))


def marchenko_pastur_distribution(x: Array, ratio: float) -> Array:
    """Return P(λ ≤ x) under the Marchenko-Pastur law, the share 1 - 1/ratio of zeros among it.

    With x = a + b cos θ, a = 1 + ratio and b = 2 sqrt(ratio), the density is ``2 sin²θ/(π x) dθ``, whose integral is
    elementary.
    """
    a, b, gap = 1 + ratio, 2 * math.sqrt(ratio), abs(1 - ratio)
    theta = np.arccos(np.clip((np.asarray(x, dtype=np.float64) - a) / b, -1, 1))
    bent = 2 * np.arctan2(abs(1 - math.sqrt(ratio)) * np.sin(theta / 2), (1 + math.sqrt(ratio)) * np.cos(theta / 2))
    above = 2 / math.pi * (-np.sin(theta) / b + (a * theta - gap * bent) / b**2)
    return np.asarray(np.where(np.asarray(x) < 0, 0.0, 1 - above))


def quantiles(distribution: Callable[[Array], Array], low: float, high: float, count: int, below: float = 0.0) -> Array:
    """Return where a distribution function passes ``count`` levels in the middles of equal steps from ``below`` to 1.

    It is solved by bisection between ``low`` and ``high``; ``below`` leaves out what lies under ``low``.
    """
    levels = below + (1 - below) * (np.arange(count) + 0.5) / count
    lower, upper = np.full(count, float(low)), np.full(count, float(high))
    for _ in range(BISECTIONS):
        middle = (lower + upper) / 2
        under = distribution(middle) < levels
        lower, upper = np.where(under, middle, lower), np.where(under, upper, middle)
    return np.asarray((lower + upper) / 2)


# --- free probability --------------------------------------------------------------------------------------------


def free_cumulants(moments: Moments) -> list[Any]:
    """Return the free cumulants of as many orders as there are moments."""
    found: list[Any] = []
    for n in range(1, len(moments) + 1):
        found.append(moments[n - 1] - _composed(found, moments, n))
    return found


def free_moments(cumulants: Moments) -> list[Any]:
    """Return the moments of as many orders as there are free cumulants: ``m_n = Σ_s κ_s [z^(n-s)] M(z)^s``."""
    found: list[Any] = []
    for n in range(1, len(cumulants) + 1):
        found.append(_composed(cumulants[:n], found, n))
    return found


def free_sum(first: Moments, second: Moments) -> list[Any]:
    """Return the moments of a + b for free a and b."""
    return free_moments([a + b for a, b in zip(free_cumulants(first), free_cumulants(second), strict=True)])


def free_product(first: Moments, second: Moments) -> list[Any]:
    """Return the moments of ab for free a and b, by S-transforms.

    Raises ``ValueError`` where a mean is 0, for which there is no S-transform.
    """
    if len(first) != len(second):
        raise ValueError(f"a free product takes as many moments of both laws, got {len(first)} and {len(second)}")
    one, other = _inverse(first), _inverse(second)
    # χ_ab = χ_a χ_b (1 + z)/z: both begin with z, so their product is shifted down by one.
    product = _multiply([0, *one], [0, *other], len(first) + 2)[1:]
    shifted = [product[k] + product[k - 1] for k in range(1, len(first) + 1)]
    return _inverse(shifted)


def jacobian_moments(layers: Sequence[tuple[Any, Moments]]) -> list[Any]:
    """Return the moments of JᵀJ for J = D_L W_L … D_1 W_1, D_l free of W_l, from (variance, moments of D_l²) a layer.

    W_l is square with entries of this variance over n. Freeness of the diagonals from the weights on which they depend
    is a theorem: Pastur 2020, arXiv:2001.06188; Yang 2020, arXiv:2009.10685.
    """
    factors = []
    for variance, slopes in layers:
        weights = [variance**k * narayana(k, Fraction(1)) for k in range(1, len(slopes) + 1)]
        factors += [_like(weights, slopes), list(slopes)]
    return reduce(free_product, factors)


def _like(weights: Moments, slopes: Moments) -> list[Any]:
    exact = all(isinstance(value, int | Fraction) for value in (*weights, *slopes))
    return list(weights) if exact else [float(value) for value in weights]


def _composed(cumulants: Moments, moments: Moments, n: int) -> Any:
    """Return Σ_s κ_s [z^(n-s)] M(z)^s over the cumulants that are given."""
    series, power, total = [1, *moments[: n - 1]], [1, *[0] * (n - 1)], 0
    for s, cumulant in enumerate(cumulants, start=1):
        power = _multiply(power, series, n)
        total = total + cumulant * power[n - s]
    return total


def _multiply(first: Moments, second: Moments, count: int) -> list[Any]:
    """Return the first coefficients of a product of two power series."""
    found: list[Any] = [0] * count
    for i, a in enumerate(first[:count]):
        for j, b in enumerate(second[: count - i]):
            found[i + j] = found[i + j] + a * b
    return found


def _inverse(coefficients: Moments) -> list[Any]:
    """Return the coefficients of z, z², … of the inverse of the series Σ_k c_k z^k, k ≥ 1, by comparing powers."""
    if np.any(np.asarray(coefficients[0] == 0)):
        raise ValueError(
            "a free product of a law of mean 0 was asked for: it has no S-transform; centre neither factor"
        )
    count, first = len(coefficients), coefficients[0]
    first = Fraction(first) if isinstance(first, int) else first
    found = [1 / first]
    for n in range(2, count + 1):
        series, power, total = [0, *found], [1, *[0] * n], 0
        for k in range(1, n + 1):
            power = _multiply(power, series, n + 1)
            if k > 1:
                total = total + coefficients[k - 1] * power[n]
        found.append(-total / first)
    return found


# --- the rivals' arithmetic --------------------------------------------------------------------------------------


def gaussian_moments(count: int, mean: Any = 0, variance: Any = 1) -> list[Any]:
    """Return the first moments of N(mean, variance), by ``m_(k+1) = mean m_k + k variance m_(k-1)``."""
    found: list[Any] = [1, mean]
    for k in range(1, count):
        found.append(mean * found[k] + k * variance * found[k - 1])
    return found[1:]


def independent_sum(first: Moments, second: Moments) -> list[Any]:
    """Return the moments of a + b for numbers a and b that are independent, or matrices that commute."""
    one, other = [1, *first], [1, *second]
    return [sum(math.comb(k, j) * one[j] * other[k - j] for j in range(k + 1)) for k in range(1, len(one))]


def independent_product(first: Moments, second: Moments) -> list[Any]:
    """Return the moments of ab for numbers a and b that are independent, or matrices that commute."""
    return [a * b for a, b in zip(first, second, strict=True)]
