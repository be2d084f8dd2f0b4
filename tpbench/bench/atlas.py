"""Charts of a space of parametrizations, and the regime that measured exponents put each of them in.

This package knows no theory: the charts, with the regimes predicted on them, are data that a claim supplies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tpbench.bench.claim import ABSENT, Estimate, Judged, Kind, Prediction

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[float, float]

UNSTABLE, TRIVIAL, KERNEL, FEATURES = REGIMES = ("unstable", "trivial", "kernel", "feature learning")
UNDECIDED = "undecided"
"""What a parametrization is called whose intervals reach over a threshold."""
THRESHOLD = 0.125
"""An exponent counts as 0 when its interval lies within so much of it, and as another when it lies outside."""


@dataclass(frozen=True)
class Region:
    """Where a chart has a regime: the corners of a polygon, the ends of a line, or one point."""

    regime: str
    corners: tuple[Place, ...]


@dataclass(frozen=True)
class Chart:
    """A plane with regions drawn over an unstable ground.

    ``box`` is (left, right, bottom, top), ``spots`` says where parametrizations lie, by label, and ``marks`` where a
    text is written.
    """

    title: str
    axes: tuple[str, str]
    box: tuple[float, float, float, float]
    regions: tuple[Region, ...]
    spots: Mapping[str, Place]
    marks: Mapping[str, Place]


@dataclass(frozen=True)
class Atlas:
    """Charts, the predicted regime of every parametrization by label, and those too near to a boundary to be told."""

    charts: tuple[Chart, ...]
    predicted: Mapping[str, str]
    near: frozenset[str] = frozenset()


class Findings(NamedTuple):
    """The four estimates that decide a regime."""

    growth: Estimate
    start: Estimate
    output: Estimate
    features: Estimate


QUANTITIES = (
    ("growth", Kind.LARGEST),
    ("initial-size", Kind.SMALLEST),
    ("output-change", Kind.EXPONENT),
    ("activation-change", Kind.LARGEST),
)
"""The rows that each of ``Findings`` is made of, and how."""


def measured_regime(found: Findings, threshold: float = THRESHOLD) -> str:
    """Return the regime that intervals alone tell, or ``UNDECIDED`` where one reaches over a threshold.

    Unstable: something grows (or was not finite at some width), or the start vanishes. Otherwise trivial where the
    output's change vanishes; otherwise feature learning or kernel, as features move or not.
    """
    growth, start, output, features = found
    if growth.diverged or growth.low > threshold or start.high < -threshold:
        return UNSTABLE
    if not (growth.high < threshold and start.low > -threshold):
        return UNDECIDED
    if output.high < -threshold:
        return TRIVIAL
    if not output.low > -threshold:
        return UNDECIDED
    if features.high < -threshold:
        return KERNEL
    return FEATURES if features.low > -threshold else UNDECIDED


def measured_regimes(labels: Sequence[str], judged: Sequence[Judged], rows: pd.DataFrame) -> dict[str, str]:
    """Return the measured regime of every label that has rows; what was judged is not estimated again."""
    known = {
        (row.estimate.prediction.parametrization, row.estimate.prediction.quantity, row.estimate.prediction.kind): row
        for row in judged
    }
    parts = dict(list(rows.groupby("parametrization", sort=False)))
    return {label: measured_regime(_findings(label, known, parts[label])) for label in labels if label in parts}


def _findings(label: str, known: Mapping[tuple[str, str, Kind], Judged], rows: pd.DataFrame) -> Findings:
    from tpbench.bench.estimate import estimate

    found = []
    for quantity, kind in QUANTITIES:
        if (label, quantity, kind) in known:
            found.append(known[label, quantity, kind].estimate)
        else:
            step = int(rows["step"][rows["quantity"] == quantity].max())
            asked = Prediction(label, quantity, kind, 0.0, 1.0, tolerance=THRESHOLD, layer=ABSENT, step=step)
            found.append(estimate(asked, rows))
    return Findings(*found)


def confusion(predicted: Mapping[str, str], measured: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """Return how many parametrizations have a predicted and a measured regime, of those that were measured."""
    return Counter((predicted[label], found) for label, found in measured.items())
