"""From estimates to verdicts: equivalence with the prediction, rejection of the rival, Holm's correction.

*Supported*: the whole 95% interval lies within the tolerance of the prediction and excludes the rival (two one-sided
tests, so a false support has probability at most 2.5% a row; a claim is supported only when all its rows are, which
needs no correction). *Refuted*: the interval is disjoint from the tolerance band, at a level of 1e-3 for the
whole claim after Holm's correction. Anything else is *inconclusive*. A row that leaves out diverged widths is
never supported: what it says of all large widths failed at one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from tpbench.bench.claim import ClaimResult, Estimate, Judged, Side, Verdict

FALSE_ALARM = 1e-3


def judge(claim: str, estimates: Sequence[Estimate], note: str = "") -> ClaimResult:
    """Return the claim's estimates with their verdicts."""
    alarms = _holm([_surprise(estimate) for estimate in estimates])
    judged = tuple(
        Judged(estimate, _verdict(estimate, alarm)) for estimate, alarm in zip(estimates, alarms, strict=True)
    )
    return ClaimResult(claim, judged, note)


def band(estimate: Estimate) -> tuple[float, float]:
    """Return the interval of values that agree with the prediction; a bound has one end only."""
    prediction = estimate.prediction
    low, high = prediction.predicted - prediction.tolerance, prediction.predicted + prediction.tolerance
    return {Side.AT_MOST: (-math.inf, high), Side.AT_LEAST: (low, math.inf)}.get(prediction.side, (low, high))


def _verdict(estimate: Estimate, alarm: bool) -> Verdict:
    if math.isnan(estimate.value):
        return Verdict.INCONCLUSIVE
    low, high = band(estimate)
    if alarm and (estimate.high < low or estimate.low > high):
        return Verdict.REFUTED
    agrees = low <= estimate.low and estimate.high <= high and not estimate.diverged
    return Verdict.SUPPORTED if agrees and _rival_rejected(estimate) else Verdict.INCONCLUSIVE


def _rival_rejected(estimate: Estimate) -> bool:
    rival = estimate.prediction.rival
    if estimate.prediction.side is Side.AT_MOST:
        return estimate.high < rival
    if estimate.prediction.side is Side.AT_LEAST:
        return estimate.low > rival
    return not estimate.low <= rival <= estimate.high


def _surprise(estimate: Estimate) -> float:
    """Return the p-value of the hypothesis that the true value lies in the band."""
    if math.isnan(estimate.value):
        return 1.0
    low, high = band(estimate)
    distance = max(low - estimate.value, estimate.value - high)
    if distance <= 0:
        return 1.0
    return float(stats.t.sf(distance / estimate.error, estimate.freedom)) if estimate.error > 0 else 0.0


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Return which hypotheses Holm's step-down procedure rejects at the level ``FALSE_ALARM``."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > FALSE_ALARM / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
