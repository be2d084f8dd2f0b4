"""Hypothesis strategies of abc tables."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from tpbench.parametrization import Exponents, Parametrization, Role

RATIONALS = st.fractions(min_value=-3, max_value=3, max_denominator=12)
NOT_NEGATIVE = st.fractions(min_value=0, max_value=2, max_denominator=6)
EXPONENTS = st.builds(Exponents, RATIONALS, RATIONALS, RATIONALS)
ANY = st.builds(Parametrization, st.just("any"), st.just("a test"), EXPONENTS, EXPONENTS, EXPONENTS, EXPONENTS)


def reduced(b: tuple[Fraction, ...], c: tuple[Fraction, ...], name: str = "reduced") -> Parametrization:
    """Return the table in the gauge a = 0."""
    first, hidden, out = (Exponents(Fraction(0), *pair) for pair in zip(b, c, strict=True))
    return Parametrization(name, "a test", first, hidden, out)


def gauge(table: Parametrization) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Return (b, c) of input, hidden and output after the shift that takes every a to 0."""
    for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT):
        table = table.shifted(role, -table.of(role).a)
    rows = [table.of(role) for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT)]
    assert all(row.a == 0 for row in rows)
    return tuple(row.b for row in rows), tuple(row.c for row in rows)


@st.composite
def startable(draw: st.DrawFn) -> Parametrization:
    """A table with the init conditions, any read-out and any rates: stable or not."""
    half = Fraction(1, 2)
    b3, c1, c2, c3 = (draw(RATIONALS) for _ in range(4))
    return reduced((Fraction(0), half, b3), (c1, c2, c3))


@st.composite
def stable(draw: st.DrawFn) -> Parametrization:
    """A table that meets the conditions of theory.md, built from its movements: m = min(b3, c3), c_l from r_l."""
    half, one = Fraction(1, 2), Fraction(1)
    least = draw(st.sampled_from([Fraction(0), half, Fraction(1, 3)]) | NOT_NEGATIVE)
    other = least + draw(st.just(Fraction(0)) | NOT_NEGATIVE)
    r1, r2 = draw(st.permutations([least, other]))
    b3 = max(half, one - least) + draw(st.just(Fraction(0)) | NOT_NEGATIVE)
    c3 = one + draw(st.just(Fraction(0)) | NOT_NEGATIVE)
    m = min(b3, c3)
    table = reduced((Fraction(0), half, b3), (r1 - m, r2 + 1 - m, c3))
    for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT):
        table = table.shifted(role, draw(RATIONALS))
    return table
