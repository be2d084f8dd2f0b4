"""Expectations of polynomials in independent Gaussian variables.

Independence costs nothing: vectors are made orthogonal without being normalised, which needs no square roots, so that
rational numbers stay rational. Expectations of monomials are then products of ``E ξ^k = (k−1)!! v^{k/2}`` (Isserlis).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tpbench.programs.infinite.polynomial import Coefficient, Monomial, Polynomial, check_pairs, product_monomial


def mean(p: Polynomial, variances: Sequence[Coefficient]) -> Coefficient:
    """Return the expectation of a polynomial whose variables are independent N(0, variance)."""
    total = p.ring.coefficient(0)
    for monomial, value in p.terms.items():
        if all(power % 2 == 0 for _, power in monomial):
            total += value * _monomial_mean(monomial, variances)
    return p.ring.coefficient(total)


def mean_product(p: Polynomial, q: Polynomial, variances: Sequence[Coefficient]) -> Coefficient:
    """Return E p q without keeping the product."""
    check_pairs(p, q)
    parities: dict[tuple[int, ...], list[tuple[Monomial, Coefficient]]] = {}
    for monomial, value in q.terms.items():
        parities.setdefault(_odd(monomial), []).append((monomial, value))
    total = p.ring.coefficient(0)
    for monomial, value in p.terms.items():
        for other, factor in parities.get(_odd(monomial), ()):
            total += value * factor * _monomial_mean(product_monomial(monomial, other), variances)
    return p.ring.coefficient(total)


def mean_derivatives(p: Polynomial, variances: Sequence[Coefficient]) -> dict[int, Coefficient]:
    """Return E ∂p/∂ξ for every variable ξ for which it may not be 0.

    The derivative of a monomial has an expectation only where ξ alone has an odd power.
    """
    found: dict[int, Coefficient] = {}
    for monomial, value in p.terms.items():
        odd = _odd(monomial)
        if len(odd) == 1:
            power = dict(monomial)[odd[0]]
            lower = tuple((v, k - (v == odd[0])) for v, k in monomial if (v, k) != (odd[0], 1))
            found[odd[0]] = found.get(odd[0], 0) + power * value * _monomial_mean(lower, variances)
    return found


def _monomial_mean(monomial: Monomial, variances: Sequence[Coefficient]) -> Coefficient:
    """The expectation of a monomial, all of whose powers are even."""
    found: Coefficient = 1
    for index, power in monomial:
        found *= double_factorial(power - 1) * variances[index] ** (power // 2)
    return found


@lru_cache(maxsize=1024)
def double_factorial(k: int) -> int:
    """Return k!! = k (k − 2) (k − 4) …, which is 1 for k = −1 and k = 0."""
    return 1 if k < 1 else k * double_factorial(k - 2)


def _odd(monomial: Monomial) -> tuple[int, ...]:
    return tuple(index for index, power in monomial if power % 2)
