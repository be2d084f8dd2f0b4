"""What has to be judged: a claim with its runs and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tpbench.bench.atlas import Atlas
from tpbench.bench.claim import Claim, Point, Prediction

Labels = Callable[[], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Job:
    """One claim to be judged: its points, its predictions, and why some parametrizations were left out.

    ``labels`` says what the indices of its rows stand for, group by group, and ``atlas`` where its parametrizations
    lie on charts; both are asked when pictures are drawn.
    """

    claim: Claim
    points: tuple[Point, ...]
    predictions: tuple[Prediction, ...]
    note: str
    labels: Labels | None = None
    atlas: Callable[[], Atlas] | None = None
