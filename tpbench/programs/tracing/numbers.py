"""Numbers that depend on the width: c · n^p, fitted to what was recorded at several widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tpbench.programs.instructions import Number
from tpbench.programs.tracing.noun import TraceError

DENOMINATORS = (1, 2, 3, 4, 6)
DYADIC = 2**12
TIDY = 1000
STEEPEST = 12.0
AGREE = 1e-9


@dataclass(frozen=True)
class Monomial:
    """``number · n^power``, n the program's width."""

    number: Number
    power: Fraction = Fraction(0)


@dataclass(frozen=True)
class Shifted:
    """``number · n^power (1 − gap/n)``, or divided by the bracket: n − 1, and 1/(n − 1)."""

    number: Number
    power: Fraction
    gap: Fraction
    inverse: bool


def exactly(value: float) -> Number:
    """Return a number as a fraction where it is a whole number or a small binary fraction, and else as it is.

    Only such decimals are surely what the code meant; 0.1 is not a tenth.
    """
    if not math.isfinite(value):
        raise TraceError(f"the number {value} entered the computation: programs are made of finite numbers")
    return Fraction(value) if float(value * DYADIC).is_integer() else float(value)


def fit(values: Sequence[float], widths: Sequence[int], agree: float = AGREE) -> Monomial | None:
    """Return ``c · n^p`` with small p through all values, or None where there is none.

    ``agree`` is the relative error to which it must hold; c is made a tidy fraction where it is one to that precision.
    """
    first = values[0]
    if all(value == first for value in values):
        return Monomial(exactly(first)) if math.isfinite(first) else None
    if not all(math.isfinite(value) and value * first > 0 for value in values):
        return None
    steep = _steepness(values, widths)
    if abs(steep) > STEEPEST:
        return None
    for denominator in DENOMINATORS:
        power = Fraction(round(steep * denominator), denominator)
        factors = [value / n ** float(power) for value, n in zip(values, widths, strict=True)]
        if max(factors) - min(factors) <= agree * abs(factors[0]) or max(factors) == min(factors):
            return Monomial(tidy(sum(factors) / len(factors), agree), power)
    return None


def fit_shifted(values: Sequence[float], widths: Sequence[int]) -> Shifted | None:
    """Return ``c · n^p (1 − d/n)^±1`` through all values, or None where there is none."""
    if not all(math.isfinite(value) and value * values[0] > 0 for value in values):
        return None
    steep = _steepness(values, widths)
    if abs(steep) > STEEPEST:
        return None
    power = Fraction(round(2 * steep), 2)
    level = [value / n ** float(power) for value, n in zip(values, widths, strict=True)]
    for inverse in (False, True):
        heights = [1 / value for value in level] if inverse else level
        slope = (heights[-1] - heights[0]) / (1 / widths[-1] - 1 / widths[0])
        top = heights[0] - slope / widths[0]
        line = [top + slope / n for n in widths]
        gap = Fraction(-slope / top).limit_denominator(TIDY) if top else Fraction(0)
        near = all(abs(a - b) <= AGREE * abs(b) for a, b in zip(line, heights, strict=True))
        if near and abs(float(gap) + slope / top) <= AGREE:
            return Shifted(tidy(1 / top if inverse else top, AGREE), power, gap, inverse)
    return None


def _steepness(values: Sequence[float], widths: Sequence[int]) -> float:
    return (math.log(abs(values[-1])) - math.log(abs(values[0]))) / math.log(widths[-1] / widths[0])


def tidy(value: float, agree: float = AGREE) -> Number:
    """Return a fraction with a small denominator where a number is one to a relative precision."""
    near = Fraction(value).limit_denominator(TIDY)
    return near if near and abs(float(near) - value) <= agree * abs(value) else value
