"""From the stored runs of jobs to verdicts, costs and pictures, several jobs at once.

A job's rows are read, judged and drawn in one process, which holds no other's: what goes between processes is a job,
and what came of it.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpbench.bench.claim import ClaimResult
from tpbench.bench.engine import WorkersDied
from tpbench.bench.jobs import Job
from tpbench.bench.processes import interrupts_held, processes
from tpbench.bench.store import load, path_of

if TYPE_CHECKING:
    import pandas as pd

COSTS = frozenset({"step-seconds", "peak-bytes"})
"""Quantities of which costs are made; a claim that predicts less has none."""

BYTES_A_PREDICTION = 40_000
"""A prediction takes as long to judge and draw as so many bytes of a run take to read and judge, roughly."""

OBJECTS_BETWEEN_COLLECTIONS = 100_000

Pictures = tuple[tuple[str, bytes], ...]
"""Name and PNG of each picture of a claim."""


@dataclass(frozen=True)
class Conclusion:
    """What came of a job: its verdicts, the costs it measured, and its pictures where they were asked for."""

    result: ClaimResult
    costs: tuple[Mapping[str, Any], ...] = ()
    pictures: Pictures = ()


def judge_rows(job: Job, rows: pd.DataFrame | None) -> ClaimResult:
    """Return the verdicts of a job from its rows; None stands for a job without points."""
    from tpbench.bench.estimate import estimate
    from tpbench.bench.verdict import judge

    if rows is None:
        return ClaimResult(job.claim.name, (), job.note)
    labels = dict.fromkeys(prediction.parametrization for prediction in job.predictions)
    # Parted once: each estimate looks through all the rows it is given.
    parts = {label: rows[rows["parametrization"] == label] for label in labels} if len(labels) > 1 else {}
    found = [estimate(each, parts.get(each.parametrization, rows)) for each in job.predictions]
    return judge(job.claim.name, found, job.note)


def conclude(job: Job, runs: Path, *, pictures: bool) -> Conclusion:
    """Read, judge and, where ``pictures`` says so, draw one job; ``MissingRuns`` when runs are not in the store."""
    if not job.points:
        return Conclusion(judge_rows(job, None))
    rows = load(runs, job.points)
    result = judge_rows(job, rows)
    return Conclusion(result, _costs(job, rows), _drawn(job, result, rows) if pictures else ())


def conclude_all(jobs: Sequence[Job], runs: Path, *, pictures: bool, workers: int) -> list[Conclusion]:
    """Do ``conclude`` for every job, in so many processes; in this one where a single job has any points.

    Raises ``MissingRuns`` when runs are not in the store, ``WorkersDied`` when a process was killed or crashed.
    """
    full = [place for place, job in enumerate(jobs) if job.points]
    if min(workers, len(full)) < 2:
        return [conclude(job, runs, pictures=pictures) for job in jobs]
    order = sorted(full, key=lambda place: _length(jobs[place], runs), reverse=True)
    found: dict[int, Future[Conclusion]] = {}
    try:
        with processes(min(workers, len(full)), 1, _begin) as executor:
            for place in order:
                with interrupts_held():
                    found[place] = executor.submit(conclude, _portable(jobs[place]), runs, pictures=pictures)
            done = {place: future.result() for place, future in found.items()}
    except BrokenProcessPool as error:
        raise WorkersDied(
            "a process was killed or crashed (out of memory, perhaps) while it judged or drew; no run is lost: "
            "`tpbench report` judges and draws them again"
        ) from error
    return [done[place] if place in done else conclude(job, runs, pictures=pictures) for place, job in enumerate(jobs)]


def _begin(threads: int) -> None:
    """Prepare a process: the number of threads is in its environment, and nothing here knows a library to tell.

    A picture is many thousand objects. Looked through after every 700 new ones, as Python's collector does unless told
    otherwise, they take a tenth of the time.
    """
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def _costs(job: Job, rows: pd.DataFrame) -> tuple[Mapping[str, Any], ...]:
    from tpbench.bench.costs import costs_of

    predicted = {prediction.quantity for prediction in job.predictions}
    return tuple(costs_of(rows)) if predicted >= COSTS else ()


def _drawn(job: Job, result: ClaimResult, rows: pd.DataFrame) -> Pictures:
    from tpbench.bench.plot import draw, encode

    labels = None if job.labels is None else job.labels()
    atlas = None if job.atlas is None else job.atlas()
    drawn = draw(job.claim, result, rows, labels=labels, atlas=atlas)
    return tuple((name, encode(picture)) for name, picture in drawn.items())


def _length(job: Job, runs: Path) -> float:
    """Return about how long a job takes, in bytes of its runs."""
    size = BYTES_A_PREDICTION * len(job.predictions)
    for path in {path_of(runs, point) for point in job.points}:
        with suppress(OSError):  # a missing run is told of by who reads it
            size += path.stat().st_size
    return size


def _portable(job: Job) -> Job:
    """Return the job without what does not travel between processes: faults and read-only mappings."""
    points = tuple(replace(point, config=dict(point.config)) for point in job.points)
    return replace(job, claim=replace(job.claim, faults=()), points=points)
