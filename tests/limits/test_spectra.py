"""Laws of random matrices: moments against densities, convolutions against sums over non-crossing partitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tpbench.limits import Array
from tpbench.limits.spectra import (
    catalan,
    free_cumulants,
    free_moments,
    free_product,
    free_sum,
    fuss_catalan,
    gaussian_moments,
    independent_product,
    independent_sum,
    jacobian_moments,
    marchenko_pastur_density,
    marchenko_pastur_distribution,
    marchenko_pastur_edges,
    marchenko_pastur_moments,
    narayana,
    quantiles,
    semicircle_density,
    semicircle_distribution,
    semicircle_moments,
)

Partition = tuple[tuple[int, ...], ...]
RATIOS = (Fraction(1, 4), Fraction(1), Fraction(2))
LAWS: dict[str, list[Fraction]] = {
    "semicircle": semicircle_moments(6, Fraction(2)),
    "marchenko-pastur": marchenko_pastur_moments(6, Fraction(1, 3)),
    "bernoulli": [Fraction(1, 3)] * 6,
    "gaussian": gaussian_moments(6, Fraction(1, 2)),
}


def partitions(points: tuple[int, ...]) -> Iterator[Partition]:
    """Yield all partitions of some points."""
    if not points:
        yield ()
        return
    first, *rest = points
    for of_rest in partitions(tuple(rest)):
        yield ((first,), *of_rest)
        for at, block in enumerate(of_rest):
            yield ((first, *block), *of_rest[:at], *of_rest[at + 1 :])


def crosses(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return any(a < c < b < d or c < a < d < b for a in one for b in one for c in other for d in other)


def is_noncrossing(partition: Partition) -> bool:
    return not any(crosses(one, other) for at, one in enumerate(partition) for other in partition[:at])


def product_over(partition: Partition, values: list[Fraction]) -> Fraction:
    return math.prod((values[len(block) - 1] for block in partition), start=Fraction(1))


def by_partitions(cumulants: list[Fraction], n: int) -> Fraction:
    """m_n = Σ over non-crossing partitions of κ_π: the second road to moments."""
    found = (p for p in partitions(tuple(range(n))) if is_noncrossing(p))
    return sum((product_over(p, cumulants) for p in found), Fraction(0))


def complement(partition: Partition, n: int) -> Partition:
    """Kreweras: the coarsest partition of the odd places that does not cross one of the even places."""
    even = tuple(tuple(2 * i for i in block) for block in partition)
    best: Partition = ()
    for other in partitions(tuple(range(1, 2 * n, 2))):
        if is_noncrossing(even + other) and (not best or len(other) < len(best)):
            best = other
    return best


def product_by_partitions(first: list[Fraction], second: list[Fraction], n: int) -> Fraction:
    """φ((ab)^n) = Σ_π κ_π[a] m_K(π)[b] (Nica & Speicher 1996): the second road to free products."""
    cumulants = free_cumulants(first)
    found = (p for p in partitions(tuple(range(n))) if is_noncrossing(p))
    return sum((product_over(p, cumulants) * product_over(complement(p, n), second) for p in found), Fraction(0))


def integral(density: Callable[[Array], Array], low: float, high: float) -> float:
    """∫ density over [low, high], with nodes that crowd at both ends, where densities have roots or poles."""
    angle, weights = np.polynomial.legendre.leggauss(400)
    theta = (angle + 1) * math.pi / 2
    x = (low + high) / 2 - (high - low) / 2 * np.cos(theta)
    return float((weights * math.pi / 2 * (high - low) / 2 * np.sin(theta) * density(x)).sum())


def test_catalan_numbers_follow_their_recurrence_and_narayana_sums() -> None:
    for k in range(8):
        assert catalan(k + 1) == sum(catalan(i) * catalan(k - i) for i in range(k + 1))
        assert k == 0 or narayana(k, Fraction(1)) == catalan(k) == fuss_catalan(1, k)


def test_catalan_and_fuss_catalan_count_noncrossing_partitions() -> None:
    for k in range(1, 6):
        found = [p for p in partitions(tuple(range(k))) if is_noncrossing(p)]
        assert len(found) == catalan(k)
        assert sum(Fraction(2) ** (len(p) - 1) for p in found) == narayana(k, Fraction(2))
    divided = [p for p in partitions(tuple(range(6))) if is_noncrossing(p) and all(len(b) % 2 == 0 for b in p)]
    assert len(divided) == fuss_catalan(2, 3) == 12


@pytest.mark.parametrize("k", range(7))
def test_semicircle_moments_are_integrals_of_its_density(k: int) -> None:
    for variance in (1.0, 2.5):
        edge = 2 * variance**0.5
        found = integral(lambda x, v=variance: x**k * semicircle_density(x, v), -edge, edge)  # type: ignore[misc]
        assert found == pytest.approx([1, *semicircle_moments(6, variance)][k], abs=1e-9)


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
@pytest.mark.parametrize("k", range(1, 5))
def test_marchenko_pastur_moments_are_integrals_of_its_density(k: int, ratio: Fraction) -> None:
    low, high = marchenko_pastur_edges(float(ratio))
    found = integral(lambda x: x**k * marchenko_pastur_density(x, float(ratio)), low, high)
    assert found == pytest.approx(float(narayana(k, ratio)), rel=1e-8)


@pytest.mark.parametrize("ratio", [0.25, 0.9, 1.0, 2.0])
def test_distribution_functions_are_integrals_of_densities(ratio: float) -> None:
    low, high = marchenko_pastur_edges(ratio)
    zeros = max(0.0, 1 - 1 / ratio)
    for x in np.linspace(low, high, 7)[1:]:
        found = integral(lambda y: marchenko_pastur_density(y, ratio), low, high) - _above(ratio, float(x), high)
        assert marchenko_pastur_distribution(x, ratio) == pytest.approx(zeros + found, abs=2e-5)
    assert marchenko_pastur_distribution(np.array([-0.1, low / 2, high, 9.0]), ratio) == pytest.approx(
        [0.0, zeros, 1.0, 1.0], abs=1e-12
    )
    for x in np.linspace(-1.9, 2.0, 5):
        found = integral(semicircle_density, -2.0, float(x))
        assert semicircle_distribution(x) == pytest.approx(found, abs=2e-5)


def _above(ratio: float, x: float, high: float) -> float:
    return integral(lambda y: marchenko_pastur_density(y, ratio), x, high) if x < high else 0.0


def test_quantiles_invert_the_distribution() -> None:
    found = quantiles(semicircle_distribution, -2.0, 2.0, 5)
    assert semicircle_distribution(found) == pytest.approx(np.array([0.1, 0.3, 0.5, 0.7, 0.9]), abs=1e-12)
    low, high = marchenko_pastur_edges(2.0)
    found = quantiles(lambda x: marchenko_pastur_distribution(x, 2.0), low, high, 4, below=0.5)
    assert marchenko_pastur_distribution(found, 2.0) == pytest.approx(0.5 + np.array([1, 3, 5, 7]) / 16, abs=1e-12)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_cumulants_and_moments_invert_one_another_and_agree_with_partitions(law: list[Fraction]) -> None:
    cumulants = free_cumulants(law)
    assert free_moments(cumulants) == law
    assert [by_partitions(cumulants, n) for n in range(1, 7)] == law


def test_cumulants_that_are_known() -> None:
    """The semicircle has only a second one, Marchenko and Pastur's law of ratio y has κ_k = y^(k-1)."""
    assert free_cumulants(semicircle_moments(6, Fraction(3))) == [0, 3, 0, 0, 0, 0]
    assert free_cumulants(marchenko_pastur_moments(5, Fraction(1, 2))) == [Fraction(1, 2**k) for k in range(5)]


@pytest.mark.parametrize("first", ["marchenko-pastur", "bernoulli", "gaussian"])
@pytest.mark.parametrize("second", ["marchenko-pastur", "bernoulli", "gaussian"])
def test_free_products_agree_with_kreweras(first: str, second: str) -> None:
    a, b = LAWS[first][:4], LAWS[second][:4]
    assert free_product(a, b) == [product_by_partitions(a, b, n) for n in range(1, 5)]


def test_free_convolutions_that_are_known() -> None:
    assert free_sum(LAWS["semicircle"], LAWS["semicircle"]) == semicircle_moments(6, Fraction(4))
    signs: list[Any] = [Fraction(0), Fraction(1)] * 3  # ±1 plus a free ±1 is the arcsine law, binomial(2k, k)
    assert free_sum(signs, signs) == [0, 2, 0, 6, 0, 20]
    half = [Fraction(1, 2)] * 4  # two free projections p, q on half of the space: pqp is arcsine on [0, 1], and 0
    assert free_product(half, half) == [Fraction(1, 4), Fraction(3, 16), Fraction(5, 32), Fraction(35, 256)]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_linear_jacobians_are_fuss_catalan(depth: int) -> None:
    plain = [Fraction(1)] * 5
    assert jacobian_moments([(Fraction(1), plain)] * depth) == [fuss_catalan(depth, k) for k in range(1, 6)]
    scaled = jacobian_moments([(4.0, [1.0] * 3)] * depth)
    assert scaled == pytest.approx([4.0 ** (depth * k) * fuss_catalan(depth, k) for k in range(1, 4)])


def test_convolutions_take_arrays_of_laws() -> None:
    second = [np.array([float(a), float(b)]) for a, b in zip(LAWS["bernoulli"], LAWS["gaussian"], strict=True)]
    for convolve in (free_sum, free_product, independent_sum, independent_product):
        found = np.array(convolve([float(m) for m in LAWS["marchenko-pastur"]], second))
        for at, name in enumerate(("bernoulli", "gaussian")):
            alone = convolve(LAWS["marchenko-pastur"], LAWS[name])
            assert found[:, at] == pytest.approx([float(m) for m in alone])


def test_ordinary_convolutions_are_those_of_numbers() -> None:
    wide = [Fraction(m) for m in gaussian_moments(6, variance=Fraction(2))]
    assert independent_sum(gaussian_moments(6), gaussian_moments(6)) == wide == [0, 2, 0, 12, 0, 120]
    assert independent_product([2, 5], [3, 7]) == [6, 35]


def test_laws_of_mean_zero_have_no_product() -> None:
    with pytest.raises(ValueError, match="mean 0 was asked for"):
        free_product(LAWS["semicircle"], LAWS["bernoulli"])
    with pytest.raises(ValueError, match="got 6 and 2"):
        free_product(LAWS["bernoulli"], LAWS["bernoulli"][:2])
