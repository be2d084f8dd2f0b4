"""What is shown of a claim that makes hundreds of predictions: all that is not supported, and the worst of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tpbench.bench.claim import ClaimResult, Judged, Verdict, distance

MOST_ROWS = 60
"""A claim with so many estimates is shown whole."""
WORST = 10
"""How many supported estimates are shown of one with more: those furthest from their predictions."""
MOST_TABLES = 12
"""A claim about so many parametrizations is shown with a line, or a column, for each."""


class Shown(NamedTuple):
    """The estimates to show, in their order, and how many supported ones are left out."""

    rows: tuple[Judged, ...]
    left_out: int


def shown(judged: Sequence[Judged]) -> Shown:
    """Return what to show of a claim's estimates."""
    if len(judged) <= MOST_ROWS:
        return Shown(tuple(judged), 0)
    supported = [row for row in judged if row.verdict is Verdict.SUPPORTED]
    hidden = {id(row) for row in sorted(supported, key=distance, reverse=True)[WORST:]}
    rows = tuple(row for row in judged if id(row) not in hidden)
    return Shown(rows, len(judged) - len(rows))


def names(result: ClaimResult) -> tuple[str, ...]:
    """Return the parametrizations of a claim's estimates, in their order."""
    return tuple(dict.fromkeys(row.estimate.prediction.parametrization for row in result.judged))


def columns(results: Sequence[ClaimResult]) -> tuple[str, ...]:
    """Return the parametrizations that get a column of their own: those of claims that are about few."""
    few = [names(result) for result in results if len(names(result)) <= MOST_TABLES]
    return tuple(dict.fromkeys(name for part in few for name in part))


def others(result: ClaimResult, named: Sequence[str]) -> ClaimResult:
    """Return the estimates of the parametrizations that have no column."""
    rows = tuple(row for row in result.judged if row.estimate.prediction.parametrization not in named)
    return ClaimResult(result.claim, rows)
