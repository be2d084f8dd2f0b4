"""Comparing summaries: every planted regression is found, and nothing else is called one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.bench.claim import ClaimResult, Estimate, Judged, Kind, Prediction, Side, Verdict
from tpbench.bench.compare import SHOWN, Subject, as_json, as_text, compare
from tpbench.bench.summary import Summary, summarise

GOOD, OPEN, BAD = Verdict.SUPPORTED, Verdict.INCONCLUSIVE, Verdict.REFUTED


def row(
    value: float = 0.0, verdict: Verdict = GOOD, spread: float = 0.02, layer: int = 1, side: Side = Side.EQUAL
) -> Judged:
    prediction = Prediction("mup", "preactivation", Kind.EXPONENT, 0.0, 0.5, 0.1, layer, 10, side)
    return Judged(Estimate(prediction, value, 0.01, 9.0, value - spread, value + spread, (64, 128)), verdict)


def cost(seconds: float = 1.0, size: float = 1e6, noise: float = 0.02, **more: Any) -> dict[str, Any]:
    return {
        "parametrization": "mup",
        "width": 64,
        "seconds_low": seconds * (1 - noise),
        "seconds": seconds,
        "seconds_high": seconds * (1 + noise),
        "bytes": size,
        **more,
    }


def summary(
    *rows: Judged, costs: tuple[dict[str, Any], ...] = (), profile: str = "nightly", **provenance: Any
) -> Summary:
    return summarise([ClaimResult("exponents", rows)], profile, costs, provenance)


numbers = st.one_of(st.floats(-1, 1), st.just(math.nan), st.just(math.inf))
some_rows = st.lists(
    st.builds(row, numbers, st.sampled_from(Verdict), st.floats(0, 1), st.integers(1, 2), st.sampled_from(Side)),
    max_size=5,
)
sizes = st.one_of(st.floats(0, 9), st.just(math.nan))
some_costs = st.lists(st.builds(cost, st.floats(0, 9), sizes, st.floats(0, 0.5)), max_size=3).map(tuple)


@settings(deadline=None)
@given(rows=some_rows, costs=some_costs)
def test_a_thing_compared_with_itself_is_empty(rows: list[Judged], costs: tuple[dict[str, Any], ...]) -> None:
    one = summary(*rows, costs=costs, device="cpu")
    comparison = compare(one, one)
    assert comparison.empty
    assert not comparison.regressed
    assert as_text(comparison) == "Nothing differs."


@settings(deadline=None)
@given(first=some_rows, second=some_rows, costs=st.tuples(some_costs, some_costs))
def test_turned_round_what_was_worse_is_better(first: list[Judged], second: list[Judged], costs: Any) -> None:
    a, b = summary(*first, costs=costs[0]), summary(*second, costs=costs[1])
    there, back = compare(a, b), compare(b, a)
    assert {flip.subject: flip.worse for flip in there.flips} == {flip.subject: not flip.worse for flip in back.flips}
    assert (there.appeared, there.disappeared) == (back.disappeared, back.appeared)
    assert not {(one.step, one.measure) for one in there.growths} & {(one.step, one.measure) for one in back.growths}
    assert not {one.subject for one in there.escapes if one.worse} & {one.subject for one in back.escapes if one.worse}
    json.dumps(as_json(there), allow_nan=False)


PLANTED = {
    "supported to inconclusive": (summary(row()), summary(row(verdict=OPEN))),
    "supported to refuted": (summary(row()), summary(row(verdict=BAD))),
    "inconclusive to refuted": (summary(row(verdict=OPEN)), summary(row(verdict=BAD))),
    "one of two estimates": (summary(row(), row(layer=2)), summary(row(), row(layer=2, verdict=OPEN))),
    "no longer measured": (summary(row()), summary(row(math.nan, OPEN))),
    "an exponent above": (summary(row(0.0)), summary(row(0.05))),
    "an exponent below": (summary(row(0.0)), summary(row(-0.05))),
    "across the prediction": (summary(row(-0.05)), summary(row(0.06))),
    "a bound exceeded": (summary(row(0.0, side=Side.AT_MOST)), summary(row(0.05, side=Side.AT_MOST))),
    "slower": (summary(costs=(cost(1.0),)), summary(costs=(cost(1.2),))),
    "larger": (summary(costs=(cost(size=100.0),)), summary(costs=(cost(size=106.0),))),
}


@pytest.mark.parametrize("pair", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_regression_is_found_and_its_repair_is_none(pair: tuple[Summary, Summary]) -> None:
    before, after = pair
    comparison = compare(before, after)
    assert comparison.regressed
    assert as_text(comparison).startswith("Regressed.\nWorse:")
    assert as_json(comparison)["regressed"] is True
    repaired = compare(after, before)
    assert not repaired.regressed
    assert not as_text(repaired).startswith("Regressed")


HARMLESS = {
    "within the interval": (summary(row(0.0)), summary(row(0.015))),
    "intervals overlap": (summary(row(0.0)), summary(row(0.03))),
    "disjoint but closer": (summary(row(0.08)), summary(row(0.01))),
    "further below a bound": (summary(row(-0.1, side=Side.AT_MOST)), summary(row(-0.4, side=Side.AT_MOST))),
    "slower within noise": (summary(costs=(cost(1.0, noise=0.1),)), summary(costs=(cost(1.2, noise=0.1),))),
    "slower by less than a tenth": (summary(costs=(cost(1.0, noise=0),)), summary(costs=(cost(1.09, noise=0),))),
    "larger by less than a twentieth": (summary(costs=(cost(size=100.0),)), summary(costs=(cost(size=104.0),))),
    "a slower step of another width": (summary(costs=(cost(1.0),)), summary(costs=(cost(9.0, width=128),))),
    "bytes no longer measured": (summary(costs=(cost(),)), summary(costs=(cost(size=math.nan),))),
    "refuted to inconclusive": (summary(row(verdict=BAD)), summary(row(verdict=OPEN))),
}


@pytest.mark.parametrize("pair", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_no_worse_is_no_regression(pair: tuple[Summary, Summary]) -> None:
    assert not compare(*pair).regressed


def test_flips_are_told_of_the_claim_and_of_the_estimate() -> None:
    comparison = compare(summary(row(), row(layer=2)), summary(row(), row(layer=2, verdict=BAD)))
    claim, estimate = comparison.flips
    assert claim.subject == Subject("exponents")
    assert estimate.subject == Subject("exponents", "mup", "preactivation", "exponent", "equal", 2, 10)
    assert [(flip.before, flip.after) for flip in comparison.flips] == [(GOOD, BAD)] * 2
    assert "exponents mup preactivation exponent layer 2 step 10: supported -> refuted" in as_text(comparison)


def test_an_escape_shows_both_intervals_and_the_prediction() -> None:
    comparison = compare(summary(row(0.0)), summary(row(0.05)))
    assert "0 [-0.02, 0.02] -> 0.05 [0.03, 0.07], predicted 0" in as_text(comparison)
    (escape,) = as_json(comparison)["escapes"]
    assert escape["before"] == {"estimate": 0.0, "low": -0.02, "high": 0.02}


def test_growth_names_step_measure_and_ratio() -> None:
    comparison = compare(
        summary(costs=(cost(1.0, 100.0, experiment="steps"),)), summary(costs=(cost(2.0, 300.0, experiment="steps"),))
    )
    text = as_text(comparison)
    assert "steps mup width 64: 1 -> 2 seconds (2.00 times)" in text
    assert "steps mup width 64: 100 -> 300 bytes (3.00 times)" in text


def test_what_appears_and_disappears_is_listed() -> None:
    comparison = compare(summary(row(layer=1)), summary(row(layer=2)))
    assert [subject.layer for subject in comparison.appeared] == [2]
    assert [subject.layer for subject in comparison.disappeared] == [1]
    assert not comparison.regressed
    assert not comparison.empty


def test_estimates_alike_in_everything_are_told_apart_by_their_order() -> None:
    comparison = compare(summary(row(), row()), summary(row(), row(verdict=BAD)))
    assert [flip.subject.number for flip in comparison.flips] == [0, 1]
    assert "no. 2: supported -> refuted" in as_text(comparison)


def test_cautions_say_when_a_difference_may_mean_nothing() -> None:
    before = summary(costs=(cost(),), device="cpu", threads=1)
    after = summary(profile="full", device="cuda", threads=1)
    comparison = compare(before, after)
    assert not comparison.regressed
    profiles, device, lost = comparison.cautions
    assert "nightly and full" in profiles
    assert "device differs (cpu and cuda)" in device
    assert "1 measured costs" in lost
    assert "Caution:" in as_text(comparison)


def test_the_text_stays_short() -> None:
    rows = [row(layer=layer) for layer in range(100)]
    text = as_text(compare(summary(*rows), summary(*(row(layer=layer, verdict=BAD) for layer in range(100)))))
    assert len(text.splitlines()) == SHOWN + 3
    assert text.endswith(f"and {101 - SHOWN} more")
