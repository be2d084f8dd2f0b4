"""What runs share is computed once, ahead and in several processes, and gives the rows it gave before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tpbench.bench.claim import Point
from tpbench.bench.engine import Interrupted
from tpbench.bench.store import write_run
from tpbench.bench.sweep import Selection
from tpbench.claims.experiments import ahead, shared
from tpbench.claims.experiments.ahead import begin, compute_ahead
from tpbench.claims.experiments.deep_limit import run
from tpbench.claims.experiments.shared import Need, compute, found, keep, needs_of
from tpbench.pipeline import plan

DOUBLE = Need(f"{__name__}:double", (21,))


def double(number: int) -> int:
    return 2 * number


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin and end without anything found."""
    monkeypatch.setattr(shared, "_FOUND", {})


@pytest.fixture(scope="module")
def points() -> list[Point]:
    """Return two small points of each of two variants; their limits are coarse and quick."""
    [job] = plan(Selection(("mup-deep-limit",), "smoke", "cpu", widths=(8, 16, 32), seeds=2))
    coarse = {"limit_points": [2**5, 2**6], "limit_replicates": 4, "limit_error": 1.0, "steps": 1, "record": [1]}
    small = [dataclasses.replace(point, config={**point.config, **coarse}) for point in job.points]
    return [point for point in small if point.width in (8, 16)]


def test_runs_of_one_variant_need_the_same_and_others_do_not(points: list[Point]) -> None:
    by_label: dict[str, set[Need]] = {}
    for point in points:
        by_label.setdefault(point.parametrization, set()).update(needs_of(point))
    assert [len(needs) for needs in by_label.values()] == [2, 2]
    assert len(set.union(*by_label.values())) == 4
    lazy = dataclasses.replace(points[0], config={**points[0].config, "weights": "lazy", "dtype": "float64"})
    assert needs_of(lazy) == needs_of(points[0])
    faster = dataclasses.replace(points[0], config={**points[0].config, "learning_rate": 0.1})
    assert not set(needs_of(faster)) & set(needs_of(points[0]))
    other = dataclasses.replace(points[0], experiment="training")
    assert needs_of(other) == ()


def test_what_is_kept_is_not_computed_again() -> None:
    assert compute(DOUBLE) == 42
    assert found(DOUBLE) == 42
    keep({DOUBLE: 43})
    assert found(DOUBLE) == 43


@pytest.mark.slow
def test_limits_computed_ahead_are_those_a_run_computes(points: list[Point], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(total: int, done: int, point: Point) -> None:
        told.append((total, done))

    alone = [list(run(point)) for point in points]
    known = compute_ahead(points, tmp_path, workers=2, progress=progress)
    assert told == [(4, 1), (4, 2), (4, 3), (4, 4)]
    for need, limit in known.items():
        again = compute(need)
        np.testing.assert_array_equal(limit.mean, again.mean)
        np.testing.assert_array_equal(limit.error, again.error)
    shared._FOUND.clear()
    begin(known, 1)
    assert [list(run(point)) for point in points] == alone


@pytest.mark.slow
def test_only_what_several_missing_runs_share_is_computed_ahead(points: list[Point], tmp_path: Path) -> None:
    first = points[0].parametrization
    for point in points:
        if point.parametrization == first:
            write_run(tmp_path, point, [], {}, 1.0)
    known = compute_ahead(points, tmp_path, workers=2)
    assert set(known) == {need for point in points if point.parametrization != first for need in needs_of(point)}
    assert compute_ahead(points[:1], tmp_path, workers=2, force=True) == {}, "a single run computes its own"
    assert compute_ahead([p for p in points if p.parametrization == first], tmp_path, workers=2) == {}


def test_an_interrupt_says_how_many_runs_there_are(
    points: list[Point], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "as_completed", interrupt)
    with pytest.raises(Interrupted, match="0 of 4 runs complete"):
        compute_ahead(points, tmp_path, workers=2)
