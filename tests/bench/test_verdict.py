"""Verdicts: equivalence with the band, rejection of the rival, and rare false alarms over a whole claim."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import ClaimResult, Estimate, Judged, Kind, Prediction, Side, Verdict
from tpbench.bench.verdict import FALSE_ALARM, _holm, _surprise, band, judge

Array = NDArray[np.float64]
S, R, I = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE  # noqa: E741
CRITICAL = float(stats.t.ppf(0.975, 50.0))


def estimated(value: float, reach: float, *, freedom: float = 50.0, rival: float = 0.5, **options: Any) -> Estimate:
    """Return an estimate with its 95% interval; the prediction is 0 ± 0.1."""
    diverged = options.pop("diverged", ())
    prediction = Prediction("mup", "size", Kind.EXPONENT, 0.0, rival, 0.1, **options)
    error = reach / float(stats.t.ppf(0.975, freedom))
    return Estimate(prediction, value, error, freedom, value - reach, value + reach, (64, 128, 256), diverged=diverged)


def verdict(estimate: Estimate) -> Verdict:
    return judge("claim", [estimate]).judged[0].verdict


@pytest.mark.parametrize(
    ("value", "reach", "expected"),
    [
        (0.0, 0.05, S),
        (0.04, 0.05, S),
        (0.0, 0.0999, S),
        (0.0, 0.1001, I),  # the interval leaves the band on both sides
        (0.06, 0.05, I),  # on one side
        (-0.06, 0.05, I),
        (0.2, 0.05, R),
        (-0.2, 0.03, R),
        (0.2, 0.0999, I),  # disjoint from the band, but not surely enough for an alarm
        (0.5, 0.01, R),
        (0.5, 0.45, I),  # holds the rival and touches the band
        (5.0, 0.01, R),
        (0.0, 4.0, I),
    ],
)
def test_equality(value: float, reach: float, expected: Verdict) -> None:
    assert verdict(estimated(value, reach)) is expected
    assert verdict(estimated(-value, reach, rival=-0.5)) is expected


@pytest.mark.parametrize(
    ("value", "reach", "expected"),
    [
        (0.0, 0.05, S),
        (-0.5, 0.05, S),
        (-9.0, 3.0, S),  # a bound has no lower end
        (0.06, 0.05, I),
        (0.2, 0.05, R),
        (1.0, 0.1, R),
        (1.0, 1.5, I),
        (-2.0, 3.0, I),
    ],
)
def test_an_upper_bound(value: float, reach: float, expected: Verdict) -> None:
    estimate = estimated(value, reach, side=Side.AT_MOST)
    assert band(estimate) == (-math.inf, 0.1)
    assert verdict(estimate) is expected


def test_the_rival_of_a_bound_must_lie_above_the_interval() -> None:
    """A rival below the prediction is never rejected by a bound: every value below it satisfies the bound too."""
    assert verdict(estimated(-0.2, 0.05, rival=0.2, side=Side.AT_MOST)) is S
    assert verdict(estimated(-0.2, 0.05, rival=-0.5, side=Side.AT_MOST)) is I
    assert verdict(estimated(-0.9, 0.05, rival=-0.5, side=Side.AT_MOST)) is S


@pytest.mark.parametrize("side", Side)
def test_what_could_not_be_estimated_is_inconclusive(side: Side) -> None:
    prediction = Prediction("mup", "size", Kind.EXPONENT, 0.0, 0.5, 0.1, side=side)
    nan = math.nan
    assert verdict(Estimate(prediction, nan, nan, nan, nan, nan, (), "nothing")) is I


def test_a_row_with_a_diverged_width_may_be_refuted_but_is_never_supported() -> None:
    assert verdict(estimated(0.0, 0.01)) is S
    assert verdict(estimated(0.0, 0.01, diverged=(2048,))) is I
    assert verdict(estimated(0.5, 0.01, diverged=(2048,))) is R


def test_an_exact_value_is_judged_without_a_standard_error() -> None:
    assert verdict(estimated(0.0, 0.0)) is S
    assert verdict(estimated(0.1, 0.0)) is S
    assert verdict(estimated(0.1001, 0.0)) is R


# Laws


@given(
    st.floats(-3, 3),
    st.floats(0, 3),
    st.floats(1, 1000),
    st.sampled_from([-0.5, 0.5, 0.2]),
    st.sampled_from(list(Side)),
)
@settings(deadline=None, max_examples=300)
def test_supported_and_refuted_mean_what_they_say(
    value: float, reach: float, freedom: float, rival: float, side: Side
) -> None:
    estimate = estimated(value, reach, freedom=freedom, rival=rival, side=side)
    low, high = band(estimate)
    found = verdict(estimate)
    if found is R:
        assert estimate.high < low or estimate.low > high
    if found is S:
        assert low <= estimate.low
        assert estimate.high <= high
        assert rival > estimate.high or rival < estimate.low


@given(st.floats(0.11, 3), st.floats(0.001, 3), st.floats(1.0, 4.0))
@settings(deadline=None)
def test_a_row_that_is_not_refuted_stays_so_with_more_noise(value: float, reach: float, factor: float) -> None:
    if verdict(estimated(value, reach)) is not R:
        assert verdict(estimated(value, reach * factor)) is not R


def test_more_rows_make_a_refutation_harder_and_never_a_support() -> None:
    """Holm: 1e-3 for the whole claim, so that a row which alone is refuted need not be among 42."""
    error = 0.05
    reach = CRITICAL * error
    alone = estimated(0.1 + error * float(stats.t.isf(0.9 * FALSE_ALARM, 50.0)), reach)
    among = judge("claim", [alone, *[estimated(0.0, 0.05)] * 41])
    assert verdict(alone) is R
    assert among.judged[0].verdict is I
    assert {row.verdict for row in among.judged[1:]} == {S}
    sure = estimated(0.1 + error * float(stats.t.isf(0.9 * FALSE_ALARM / 42, 50.0)), reach)
    assert judge("claim", [sure, *[estimated(0.0, 0.05)] * 41]).judged[0].verdict is R


# Holm's procedure


def closed_test(p_values: list[float]) -> list[bool]:
    """Reject what every intersection hypothesis that holds it rejects by Bonferroni: Holm's procedure by definition."""
    indices = range(len(p_values))
    subsets = [s for size in indices for s in itertools.combinations(indices, size + 1)]
    return [all(min(p_values[j] for j in s) <= FALSE_ALARM / len(s) for s in subsets if i in s) for i in indices]


@given(st.lists(st.one_of(st.floats(0, 1), st.floats(0, 2e-3), st.sampled_from([0.0, 1e-3, 5e-4, 2.5e-4, 2e-4]))))
@settings(deadline=None, max_examples=300)
def test_holm_agrees_with_closed_testing(p_values: list[float]) -> None:
    assert _holm(p_values[:7]) == closed_test(p_values[:7])


def test_a_claim_of_42_true_rows_is_refuted_falsely_at_most_once_in_a_thousand() -> None:
    """The worst truth: every row lies on the very edge of its band. Errors are Student's, of many freedoms."""
    claims, rows = 100_000, 42
    generator = np.random.default_rng(0)
    freedom = generator.choice([2.0, 5.0, 13.0, 60.0, 500.0], rows)
    error = generator.choice([0.001, 0.02, 0.3], rows)
    errors: Array = np.asarray(generator.standard_t(freedom, (claims, rows)))
    p_values: Array = np.asarray(stats.t.sf(errors, freedom))
    alarms = np.array([any(_holm(row.tolist())) for row in p_values[p_values.min(axis=1) < 10 * FALSE_ALARM / rows]])
    expected = 1 - (1 - FALSE_ALARM / rows) ** rows
    spread = math.sqrt(claims * expected)
    assert abs(alarms.sum() - claims * expected) < 3.5 * spread

    # These are the p-values that judge uses.
    value = 0.1 + error * errors[0]
    estimates = [
        estimated(v, e * float(stats.t.ppf(0.975, f)), freedom=f) for v, e, f in zip(value, error, freedom, strict=True)
    ]
    above = errors[0] > 0
    assert np.allclose(np.array([_surprise(e) for e in estimates])[above], p_values[0][above])


def test_false_alarms_of_whole_claims_through_judge() -> None:
    """The same, through the front door with fewer claims, and a truth in the middle of the band."""
    generator = np.random.default_rng(1)
    refuted = 0
    for _ in range(150):
        errors = 0.1 * generator.standard_t(13.0, 42)
        refuted += judge("claim", [estimated(float(e), 0.1 * 2.16, freedom=13.0) for e in errors]).verdict is R
    assert refuted == 0


# Planted faults


@pytest.mark.parametrize("error", [0.003, 0.02, 0.04, 0.1, 1.0])
@pytest.mark.parametrize("rival", [0.5, -0.5])
def test_an_exponent_that_is_wrong_by_one_half_is_never_supported(error: float, rival: float) -> None:
    generator = np.random.default_rng(2)
    freedom = 13.0
    reach = error * float(stats.t.ppf(0.975, freedom))
    found = [
        verdict(estimated(0.5 + error * float(e), reach, freedom=freedom, rival=rival))
        for e in generator.standard_t(freedom, 1000)
    ]
    assert S not in found
    if error <= 0.04:
        assert found.count(R) > 990


# Results


def result(*verdicts: Verdict) -> ClaimResult:
    return ClaimResult("claim", tuple(Judged(estimated(0.0, 0.05), verdict) for verdict in verdicts))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [((), I), ((S,), S), ((S, S), S), ((S, I), I), ((I, R), R), ((S, R), R), ((S, I, R), R), ((I,), I), ((R,), R)],
)
def test_a_claim_is_as_good_as_its_worst_row(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    for order in itertools.permutations(verdicts):
        assert result(*order).verdict is expected


def test_a_result_keeps_the_order_of_rows_and_finds_those_of_a_parametrization() -> None:
    values = (0.3, 0.0, -0.05)
    found = judge("claim", [estimated(value, 0.01) for value in values], note="few widths")
    assert [row.estimate.value for row in found.judged] == list(values)
    assert [row.verdict for row in found.judged] == [R, S, S]
    assert found.note == "few widths"
    assert found.of("mup") == found.judged
    assert found.of("ntp") == ()


def test_a_claim_without_rows_is_inconclusive_and_has_no_furthest_row() -> None:
    assert judge("claim", []).verdict is I
    assert judge("claim", []).furthest is None


def test_the_furthest_row_is_measured_in_tolerances_and_one_sided_for_a_bound() -> None:
    bound = estimated(-9.0, 0.01, side=Side.AT_MOST)
    near, far = estimated(0.05, 0.01), estimated(-0.2, 0.01)
    nothing = dataclasses.replace(near, value=math.nan)
    for rows, expected in [([bound, near, far], far), ([bound, near], near), ([far, nothing, near], nothing)]:
        furthest = judge("claim", rows).furthest
        assert furthest is not None
        assert furthest.estimate is expected
