"""Largest and smallest exponents: intervals cover, p-values are honest both ways, and verdicts know lower bounds."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import Estimate, Judged, Kind, Point, Prediction, Row, Side, Verdict, distance
from tpbench.bench.estimate import ESTIMATORS, Sample, estimate
from tpbench.bench.extremes import TAIL, largest, smallest
from tpbench.bench.table import join, tabulate
from tpbench.bench.verdict import band, judge
from tpbench.bench.words import theory

Array = NDArray[np.float64]
WIDTHS = (512, 2048, 8192, 32768)
SEEDS = (16, 8, 4, 2)
TRUTHS = {
    "ties": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "one above": (0.0, -0.5, -0.5, -0.25),
    "two close": (0.0, -0.02, -1.0),
    "single": (0.25,),
}
TIMES = 400


def drawn(
    generator: np.random.Generator,
    exponents: tuple[float, ...],
    spread: float = 0.2,
    seeds: tuple[int, ...] = SEEDS,
    share: float = 0.6,
) -> list[Sample]:
    """Return sizes that follow power laws exactly but for a relative noise a seed, partly shared by the indices."""
    found = []
    for width, count in zip(WIDTHS, seeds, strict=True):
        shared = generator.standard_normal((count, 1))
        own = generator.standard_normal((count, len(exponents)))
        noise = 1 + spread * (share * shared + (1 - share**2) ** 0.5 * own)
        found.append(Sample(width, float(width) ** np.array(exponents) * np.abs(noise)))
    return found


@functools.cache
def repeated(name: str) -> tuple[Array, ...]:
    """Return value, error, freedom, low and high of many estimates of the largest exponent."""
    generator = np.random.default_rng(1)
    return tuple(np.array([ESTIMATORS[Kind.LARGEST](drawn(generator, TRUTHS[name]), 1.0) for _ in range(TIMES)]).T)


def most_often(level: float) -> float:
    """Return the share of alarms at which the level is surely exceeded."""
    return float(stats.binom.isf(1e-4, TIMES, level)) / TIMES


@pytest.mark.parametrize("name", TRUTHS)
def test_intervals_cover_the_largest_true_exponent(name: str) -> None:
    *_, low, high = repeated(name)
    assert ((low > max(TRUTHS[name])) | (high < max(TRUTHS[name]))).mean() <= most_often(0.05)


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("level", [0.025, 1e-3])
def test_p_values_of_verdicts_are_honest_both_ways(name: str, level: float) -> None:
    value, error, freedom, *_ = repeated(name)
    for sign in (1, -1):
        p_values = stats.t.sf(sign * (value - max(TRUTHS[name])) / error, freedom)
        assert (p_values <= level).mean() <= most_often(level)


def test_the_largest_by_its_own_interval_is_not_honest() -> None:
    """Planted: of equal exponents the largest measured one, with its own error, lies above them far too often."""
    generator, above = np.random.default_rng(2), 0
    for _ in range(TIMES):
        samples = drawn(generator, TRUTHS["ties"], seeds=(32, 32, 32, 32), share=0.0)
        each = [[Sample(s.width, s.values[:, [i]]) for s in samples] for i in range(7)]
        value, error, freedom = max(ESTIMATORS[Kind.EXPONENT](one, 1.0) for one in each)[:3]
        above += value - error * float(stats.t.isf(TAIL, freedom)) > 0
    assert above / TIMES > most_often(0.05)


def test_the_largest_is_found_with_its_interval_by_hand() -> None:
    values, errors, freedom = np.array([0.0, 0.3]), np.array([0.1, 0.02]), np.array([5.0, 9.0])
    found = largest(values, errors, freedom)
    assert found.value == 0.3
    assert found.low == pytest.approx(0.3 - 0.02 * stats.t.isf(TAIL / 2, 9))
    assert found.high == pytest.approx(0.3 + 0.02 * stats.t.isf(TAIL, 9))
    assert found.freedom == 5.0
    assert found.error == pytest.approx(0.1 * stats.t.isf(TAIL / 2, 5) / stats.t.isf(TAIL, 5))


def test_a_badly_known_index_raises_the_high_end_alone() -> None:
    sure = largest(np.array([0.3]), np.array([0.02]), np.array([9.0]))
    found = largest(np.array([0.3, 0.2]), np.array([0.02, 0.5]), np.array([9.0, 9.0]))
    assert found.high > 1 > sure.high
    assert 0.2 < found.low < sure.low


def test_the_smallest_mirrors_the_largest() -> None:
    generator = np.random.default_rng(3)
    values, errors, freedom = (generator.uniform(1, 2, 5) for _ in range(3))
    one, other = smallest(values, errors, freedom), largest(-values, errors, freedom)
    assert (one.value, one.low, one.high) == (-other.value, -other.high, -other.low)
    assert (one.error, one.freedom) == (other.error, other.freedom)
    samples = drawn(generator, (0.0, -0.5, 0.5), spread=0.01)
    assert ESTIMATORS[Kind.SMALLEST](samples, 1.0)[0] == pytest.approx(-0.5, abs=0.02)
    assert ESTIMATORS[Kind.LARGEST](samples, 1.0)[0] == pytest.approx(0.5, abs=0.02)


def test_one_index_is_the_usual_exponent() -> None:
    samples = drawn(np.random.default_rng(4), TRUTHS["single"])
    value, error, freedom, low, high = ESTIMATORS[Kind.LARGEST](samples, 1.0)
    assert (value, error, freedom) == pytest.approx(ESTIMATORS[Kind.EXPONENT](samples, 1.0))
    reach = error * float(stats.t.isf(TAIL, freedom))
    assert (low, high) == pytest.approx((value - reach, value + reach))


def asked(kind: Kind, predicted: float, rival: float, side: Side) -> Prediction:
    return Prediction("mup", "growth", kind, predicted, rival, tolerance=0.125, side=side)


def measured(prediction: Prediction, samples: list[Sample]) -> Estimate:
    """Return the estimate through the front door, from rows."""
    tables = []
    for sample in samples:
        rows = [Row("growth", float(x), seed=s, index=i) for (s, i), x in np.ndenumerate(sample.values)]
        tables.append(tabulate(Point("x", "mup", sample.width, tuple(range(len(sample.values))), {}, ""), rows))
    return estimate(prediction, join(tables))


def verdict(kind: Kind, side: Side, predicted: float, rival: float, exponents: tuple[float, ...]) -> Verdict:
    samples = drawn(np.random.default_rng(5), exponents, spread=0.003)
    [row] = judge("c", [measured(asked(kind, predicted, rival, side), samples)]).judged
    return row.verdict


def test_what_must_grow_is_judged_from_below() -> None:
    grows = functools.partial(verdict, Kind.LARGEST, Side.AT_LEAST, 0.25, 0.0)
    assert grows((0.0, 0.25)) is grows((0.0, 3.0)) is Verdict.SUPPORTED
    assert grows((0.0, 0.0)) is grows((-1.0, -0.5)) is Verdict.REFUTED
    bounded = functools.partial(verdict, Kind.LARGEST, Side.AT_MOST, 0.0, 0.25)
    assert bounded((0.0, -2.0)) is Verdict.SUPPORTED
    assert bounded((0.5, -2.0)) is Verdict.REFUTED
    slowest = functools.partial(verdict, Kind.SMALLEST, Side.AT_MOST, -0.25, 0.0)
    assert slowest((0.0, -0.5)) is Verdict.SUPPORTED
    assert slowest((0.0, 0.0)) is Verdict.REFUTED


def test_a_lower_bound_has_no_upper_end_and_is_told_so() -> None:
    prediction = asked(Kind.LARGEST, 0.25, 0.0, Side.AT_LEAST)
    found = measured(prediction, drawn(np.random.default_rng(6), (1.0,)))
    assert band(found) == (0.125, math.inf)
    assert theory(prediction) == "≥ 1/4"
    assert distance(Judged(found, Verdict.SUPPORTED)) < 0


def test_an_index_that_is_zero_everywhere_has_no_exponent() -> None:
    samples = drawn(np.random.default_rng(7), (0.0, 0.0))
    samples[1].values[:, 1] = 0.0
    found = measured(asked(Kind.LARGEST, 0.0, 0.5, Side.EQUAL), samples)
    assert math.isnan(found.value)
    assert "identically zero at width 2048" in found.note
