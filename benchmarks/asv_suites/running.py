"""Whole claims, run in a directory of their own with one thread. Holds no benchmark itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tpbench.bench.claim import Judged, Kind
from tpbench.bench.engine import execute, serial
from tpbench.claims.experiments import run
from tpbench.claims.experiments.threads import set_threads
from tpbench.pipeline import Job, judge_job, plan, provenance_of, rows_of, select

FLOOR = 0.02
"""Distances below this are noise: they are all recorded as this, so that none of them looks like a regression."""


def jobs_of(claim: str, *, widths: Sequence[int] = (), seeds: int | None = None, planted: bool = False) -> list[Job]:
    """Return the smoke sweep of a claim, or one of other sizes; ``planted`` gives one job a planted fault."""
    return plan(select([claim], profile="smoke", device="cpu", widths=widths, seeds=seeds, planted=planted))


def compute(job: Job, out: Path) -> None:
    """Compute every run of a job anew. Raises ``RuntimeError`` when one fails."""
    engine = serial(initialise=set_threads, threads=1)  # the number of free cores must not enter the history
    done = execute(job.points, run, out=out, engine=engine, provenance=provenance_of(job.points[0]), force=True)
    if done.failed:
        raise RuntimeError(f"{len(done.failed)} of {len(job.points)} runs failed, the first with {done.failed[0][1]}")


def judge(job: Job, out: Path) -> tuple[Judged, ...]:
    """Estimate and judge every prediction of a job from its stored runs."""
    return judge_job(job, rows_of(job, out)).judged


def worst_distance(judged: Iterable[Judged], parametrization: str, kinds: frozenset[Kind]) -> float:
    """Return the largest |estimate - prediction| of some kinds under one parametrization, at least ``FLOOR``.

    Raises ``ValueError`` when there is no such prediction, or one could not be estimated.
    """
    chosen = [row.estimate for row in judged if row.estimate.prediction.parametrization == parametrization]
    distances = [abs(e.value - e.prediction.predicted) for e in chosen if e.prediction.kind in kinds]
    if not distances or any(distance != distance for distance in distances):
        raise ValueError(f"{len(distances)} predictions under {parametrization!r}, not all of them estimated")
    return max(FLOOR, *distances)
