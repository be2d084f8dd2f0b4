"""The regime that intervals tell: thresholds, what is undecided, and that judged estimates are used as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from tpbench.bench.atlas import (
    FEATURES,
    KERNEL,
    QUANTITIES,
    THRESHOLD,
    TRIVIAL,
    UNDECIDED,
    UNSTABLE,
    Findings,
    confusion,
    measured_regime,
    measured_regimes,
)
from tpbench.bench.claim import Estimate, Judged, Kind, Prediction, Verdict

Interval = tuple[float, float]
ZERO, LESS, MORE, OVER, UNDER = (-0.05, 0.05), (-0.6, -0.4), (0.2, 0.3), (0.1, 0.2), (-0.2, -0.1)
"""Intervals that lie within the thresholds, below both, above both, over the upper and over the lower one."""


def found(interval: Interval, *, quantity: str = "growth", kind: Kind = Kind.LARGEST, label: str = "t") -> Estimate:
    prediction = Prediction(label, quantity, kind, 0.0, 1.0, tolerance=THRESHOLD)
    return Estimate(prediction, sum(interval) / 2, 0.01, 9.0, *interval, widths=(1, 2, 3))


def told(growth: Interval, start: Interval, output: Interval, features: Interval) -> str:
    return measured_regime(Findings(*map(found, (growth, start, output, features))))


@pytest.mark.parametrize(
    ("intervals", "regime"),
    [
        ((MORE, ZERO, ZERO, ZERO), UNSTABLE),
        ((ZERO, LESS, ZERO, ZERO), UNSTABLE),
        ((OVER, LESS, ZERO, ZERO), UNSTABLE),
        ((ZERO, MORE, ZERO, ZERO), FEATURES),  # a growing start is seen in ``growth``, of which it is a part
        ((ZERO, ZERO, LESS, LESS), TRIVIAL),
        ((ZERO, ZERO, LESS, ZERO), TRIVIAL),
        ((LESS, ZERO, LESS, OVER), TRIVIAL),
        ((ZERO, ZERO, ZERO, LESS), KERNEL),
        ((ZERO, ZERO, ZERO, ZERO), FEATURES),
        ((OVER, ZERO, ZERO, ZERO), UNDECIDED),
        ((ZERO, UNDER, LESS, ZERO), UNDECIDED),
        ((ZERO, ZERO, UNDER, LESS), UNDECIDED),
        ((ZERO, ZERO, ZERO, UNDER), UNDECIDED),
        (((math.nan, math.nan), ZERO, ZERO, ZERO), UNDECIDED),
        ((ZERO, ZERO, (math.nan, math.nan), ZERO), UNDECIDED),
        ((ZERO, ZERO, ZERO, (math.nan, math.nan)), UNDECIDED),
    ],
)
def test_intervals_alone_tell_the_regime(intervals: tuple[Interval, ...], regime: str) -> None:
    assert told(*intervals) == regime


def test_what_was_not_finite_has_grown() -> None:
    grown = Estimate(found(ZERO).prediction, math.nan, math.nan, math.nan, math.nan, math.nan, (), "", diverged=(512,))
    assert measured_regime(Findings(grown, found(ZERO), found(ZERO), found(ZERO))) == UNSTABLE


def test_the_threshold_decides() -> None:
    assert told(ZERO, ZERO, ZERO, (-0.12, 0.0)) == FEATURES
    assert told(ZERO, ZERO, ZERO, (-0.13, 0.0)) == UNDECIDED
    assert told(ZERO, ZERO, ZERO, (-0.3, -0.12)) == UNDECIDED
    assert told(ZERO, ZERO, ZERO, (-0.3, -0.13)) == KERNEL


def table(label: str, powers: Mapping[str, float]) -> pd.DataFrame:
    """Return rows whose quantities follow power laws."""
    generator = np.random.default_rng(0)
    rows = [
        (label, width, seed, 3, -1, index, quantity, width ** powers[quantity] * generator.uniform(0.99, 1.01))
        for quantity, _ in QUANTITIES
        for width in (256, 1024, 4096, 16384)
        for seed in range(4)
        for index in (1, 2)
    ]
    columns = ["parametrization", "width", "seed", "step", "layer", "index", "quantity", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_regimes_are_measured_from_rows_and_what_was_judged_is_not_estimated_again() -> None:
    still = {"growth": 0.0, "initial-size": 0.0, "output-change": 0.0, "activation-change": -0.5}
    rows = pd.concat([table("a", still), table("b", {**still, "activation-change": 0.0})], ignore_index=True)
    assert measured_regimes(("a", "b", "unmeasured"), (), rows) == {"a": KERNEL, "b": FEATURES}
    overruled = Judged(found(LESS, quantity="output-change", kind=Kind.EXPONENT, label="a"), Verdict.SUPPORTED)
    other_kind = Judged(found(LESS, quantity="output-change", kind=Kind.LARGEST, label="b"), Verdict.SUPPORTED)
    assert measured_regimes(("a", "b"), (overruled, other_kind), rows) == {"a": TRIVIAL, "b": FEATURES}


def test_the_confusion_table_counts_what_was_measured() -> None:
    predicted = {"a": KERNEL, "b": KERNEL, "c": TRIVIAL, "unmeasured": TRIVIAL}
    counted = confusion(predicted, {"a": KERNEL, "b": UNDECIDED, "c": TRIVIAL})
    assert counted == {(KERNEL, KERNEL): 1, (KERNEL, UNDECIDED): 1, (TRIVIAL, TRIVIAL): 1}
