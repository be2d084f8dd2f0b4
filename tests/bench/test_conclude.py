"""Jobs concluded in several processes: the same as in one, and what goes wrong there is told here."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tpbench.bench import conclude as module
from tpbench.bench.claim import PROFILES, Claim, Config, Fault, Figure, Kind, Point, Prediction, Row, Sweep
from tpbench.bench.conclude import conclude, conclude_all, judge_rows
from tpbench.bench.engine import WorkersDied
from tpbench.bench.estimate import estimate
from tpbench.bench.jobs import Job
from tpbench.bench.store import MissingRuns, load, write_run

WIDTHS, SEEDS = (64, 128, 256, 512, 1024), tuple(range(6))


def predict(c: Config) -> tuple[Prediction, ...]:
    return tuple(Prediction(name, "size", Kind.EXPONENT, -0.5, 0.0, tolerance=0.1) for name in ("mup", "ntp"))


def a_job(name: str, quantities: tuple[str, ...] = ("size",)) -> Job:
    """Return a job whose claim and points hold what does not travel between processes."""
    sweep = Sweep(("mup", "ntp"), WIDTHS, (len(SEEDS),) * len(WIDTHS), {})
    fault = Fault("grown", "grows", lambda c: c)
    sweeps = dict.fromkeys(PROFILES, sweep)
    claim = Claim(name, "Shrinks.", "derived", "Stays.", "x", sweeps, predict, (fault,), (Figure.EXPONENTS,))
    config: Mapping[str, Any] = MappingProxyType({"of": name})
    points = [Point("x", label, width, SEEDS, config, "") for label in ("mup", "ntp") for width in WIDTHS]
    wanted = [p for q in quantities for p in (Prediction("mup", q, Kind.EXPONENT, -0.5, 0.0, 0.1),)]
    return Job(claim, tuple(points), (*wanted, Prediction("ntp", "size", Kind.EXPONENT, -0.5, 0.0, 0.1)), "a note")


def store(job: Job, runs: Path) -> Job:
    """Write runs of what the job predicts, with a factor of each seed."""
    quantities = {prediction.quantity for prediction in job.predictions}
    for point in job.points:
        rng = np.random.default_rng([point.width, len(job.claim.name), len(point.parametrization)])
        rows = [
            Row(q, float(point.width**-0.5 * np.exp(0.05 * rng.standard_normal())), seed=seed)
            for q in sorted(quantities)
            for seed in point.seeds
        ]
        write_run(runs, point, rows, {}, 1.0)
    return job


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    full = [store(a_job(name), tmp_path) for name in ("one", "other one")]
    return [full[0], Job(full[0].claim, (), (), "nothing applies"), full[1]]


@pytest.mark.slow
def test_two_processes_conclude_as_one_does(jobs: list[Job], tmp_path: Path) -> None:
    alone = conclude_all(jobs, tmp_path, pictures=True, workers=1)
    together = conclude_all(jobs, tmp_path, pictures=True, workers=2)
    assert together == alone
    assert [each.result.claim for each in together] == ["one", "one", "other one"]
    assert [bool(each.pictures) for each in together] == [True, False, True]
    assert [[name for name, _ in each.pictures] for each in together][2] == ["other one-exponents"]
    assert together[0].pictures[0][1].startswith(b"\x89PNG")
    assert together[1].result.note == "nothing applies"


def test_pictures_are_drawn_only_where_they_are_asked_for(jobs: list[Job], tmp_path: Path) -> None:
    found = conclude_all(jobs, tmp_path, pictures=False, workers=1)
    assert not any(each.pictures for each in found)
    assert found[0].result == conclude(jobs[0], tmp_path, pictures=True).result


def test_parting_the_rows_changes_no_estimate(jobs: list[Job], tmp_path: Path) -> None:
    rows = load(tmp_path, jobs[0].points)
    found = [row.estimate for row in judge_rows(jobs[0], rows).judged]
    assert found == [estimate(prediction, rows) for prediction in jobs[0].predictions]


def test_costs_are_those_of_timings_alone(tmp_path: Path) -> None:
    timed = store(a_job("timed", ("step-seconds", "peak-bytes", "size")), tmp_path)
    [cost, *_] = costs = conclude(timed, tmp_path, pictures=False).costs
    assert [(each["parametrization"], each["width"]) for each in costs] == [
        (label, width) for label in ("mup", "ntp") for width in WIDTHS
    ]
    rows = load(tmp_path, timed.points)
    seconds = rows[(rows["quantity"] == "step-seconds") & (rows["width"] == 64) & (rows["parametrization"] == "mup")]
    assert cost["seconds"] == pytest.approx(float(np.median(seconds["value"])))
    untimed = store(a_job("untimed"), tmp_path)
    assert conclude(untimed, tmp_path, pictures=False).costs == ()


@pytest.mark.parametrize("workers", [1, 2])
def test_missing_runs_are_told_from_any_process(jobs: list[Job], tmp_path: Path, workers: int) -> None:
    [path] = [path for path in tmp_path.iterdir() if path.name.startswith(jobs[2].points[3].digest)]
    path.unlink()
    with pytest.raises(MissingRuns, match="1 of 10 runs are missing") as caught:
        conclude_all(jobs, tmp_path, pictures=False, workers=workers)
    assert [point.digest for point in caught.value.points] == [jobs[2].points[3].digest]


def die(threads: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_told(jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_begin", die)
    with pytest.raises(WorkersDied, match="no run is lost: `tpbench report`"):
        conclude_all(jobs, tmp_path, pictures=False, workers=2)


def test_rows_are_those_of_the_store(jobs: list[Job], tmp_path: Path) -> None:
    """A second road: the estimate agrees with a straight line through the logarithms."""
    rows = load(tmp_path, jobs[0].points)
    result = conclude(jobs[0], tmp_path, pictures=False).result
    for judged in result.judged:
        own = rows[rows["parametrization"] == judged.estimate.prediction.parametrization]
        sizes = own.groupby("width")["value"].apply(lambda values: float(np.sqrt((values**2).mean())))
        slope = np.polyfit(np.log2(sizes.index.to_numpy(float)), np.log2(sizes.to_numpy()), 1)[0]
        assert judged.estimate.low - 0.05 <= slope <= judged.estimate.high + 0.05
    assert isinstance(rows, pd.DataFrame)
