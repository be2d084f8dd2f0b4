"""A program's study as a picture: bias and spread against width, and values extrapolated to infinite width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import Claim, Figure, Judged, Sweep, Verdict
from tpbench.bench.plot import draw
from tpbench.program_study import SAMPLED, Study, output_of, slowest_powers

MOST_DRAWN = 3
"""Outputs in one picture, each with a panel of errors and one of values."""
NAMED = 8
"""Outputs that are named where they are left out."""
WORST_FIRST = (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.SUPPORTED)


def picture(found: Study) -> Picture:
    """Return the picture; of many outputs the refuted ones come first, then the inconclusive, and it says the rest."""
    chosen = drawn_outputs(found.result.judged)
    judged = tuple(row for row in found.result.judged if output_of(row.estimate.prediction) in chosen)
    result = replace(found.result, judged=judged)
    [only] = draw(_claim(found, result.judged), result, found.rows).values()
    return only


def drawn_outputs(judged: Sequence[Judged]) -> list[str]:
    """Return the outputs that are drawn: at most ``MOST_DRAWN``, those with the worst verdicts, otherwise the first."""
    worst: dict[str, int] = {}
    for row in judged:
        name, rank = output_of(row.estimate.prediction), WORST_FIRST.index(row.verdict)
        worst[name] = min(rank, worst.get(name, rank))
    return sorted(worst, key=worst.__getitem__)[:MOST_DRAWN]


def _claim(found: Study, judged: Sequence[Judged]) -> Claim:
    """Return the claim that the study is about."""
    sweep = Sweep((SAMPLED,), tuple(found.values), (len(found.rows),) * len(found.values), {})
    return Claim(
        name=found.name,
        statement=" ".join(text for text in (_statement(found), _left_out(found)) if text),
        source="",
        rival="",
        experiment="program",
        sweeps=dict.fromkeys(("smoke", "nightly", "full"), sweep),
        predict=lambda _: tuple(row.estimate.prediction for row in judged),
        faults=(),
        figures=(Figure.CONVERGENCE,),
    )


def _statement(found: Study) -> str:
    if found.limit is None:
        return (
            f"The program {found.name} at width n, whose limit is unknown: an error is the sample itself, and only the "
            "spread over seeds is judged."
        )
    slow = max(slowest_powers(found.asked).values())
    as_slowly = f", or n^(−{Fraction(-slow)}) where a constant does" if slow > -1 else ""
    return (
        f"The program {found.name} at width n: a sample's error is its distance from the limit. The mean error (bias) "
        f"falls like 1/n or faster{as_slowly}, the spread of errors over seeds like n^(−1/2)."
    )


def _left_out(found: Study) -> str:
    judged = dict.fromkeys(output_of(row.estimate.prediction) for row in found.result.judged)
    drawn = drawn_outputs(found.result.judged)
    names = [name for name in judged if name not in drawn]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"Judged as well, and not drawn: {', '.join(names[:NAMED])}{more}." if names else ""
