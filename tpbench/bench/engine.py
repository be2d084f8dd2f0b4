"""Runs points: which are to be computed, by one process or several, and what came of each.

``execute`` is the public function. An ``Engine`` decides only where runs are computed; each run writes its own
file, so a kill of the parent or of a worker loses no more than the runs in progress.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tpbench.bench.atomic import StoreError, check_writable
from tpbench.bench.claim import Experiment, Point
from tpbench.bench.processes import interrupts_held, processes
from tpbench.bench.provenance import count_cores, now
from tpbench.bench.store import Status, path_of, set_aside, status, write_run

Work = Callable[[Point], str]
"""Computes and stores one run; returns "" or, when the run failed, why."""

OnDone = Callable[[Point, str], None]
"""Is told each point with what ``Work`` returned for it."""

OF_A_RUN = ("device", "dtype")
"""What of the provenance the configuration of each run says for itself: runs of several dtypes are computed together.
"""

Initialise = Callable[[int], None]
"""Prepares a process for runs with that many threads (this package knows no numerical library)."""


class Engine(Protocol):
    """Computes points with ``threads`` threads a run, in any order, and returns remarks for the reader.

    Raises whatever ``work`` or ``on_done`` raise, after it has stopped the other runs.
    """

    @property
    def threads(self) -> int: ...

    def __call__(self, points: Sequence[Point], work: Work, on_done: OnDone) -> tuple[str, ...]: ...


class Progress(Protocol):
    """Is told of each finished run: ``done`` of ``total`` are reused, computed or failed, ``point`` the last."""

    def __call__(self, total: int, done: int, point: Point) -> None: ...


class Interrupted(Exception):  # noqa: N818 - what happened, and no fault
    """The user stopped the runs; ``complete`` of ``total`` are in the store."""

    def __init__(self, complete: int, total: int) -> None:
        super().__init__(
            f"interrupted with {complete} of {total} runs complete; none of those is lost: run the same command "
            f"again to compute the other {total - complete}"
        )
        self.complete = complete
        self.total = total


class WorkersDied(Exception):  # noqa: N818
    """Workers were killed or crashed, and did so again in a second pool."""


@dataclass(frozen=True)
class Execution:
    """What came of each point, the new paths of damaged files, and remarks for the reader."""

    computed: tuple[Point, ...]
    reused: tuple[Point, ...]
    set_aside: tuple[Path, ...]
    failed: tuple[tuple[Point, str], ...]
    notes: tuple[str, ...]


def execute(
    points: Iterable[Point],
    run: Experiment,
    *,
    out: Path,
    engine: Engine,
    provenance: Mapping[str, Any],
    force: bool = False,
    progress: Progress | None = None,
) -> Execution:
    """Compute the runs that the store ``out/runs`` does not hold; ``force`` computes all of them.

    A damaged file is set aside and its run computed again. A run that raises is recorded in ``failed`` with the
    last line of its traceback, and the others go on. A point given twice is run once. ``provenance`` goes into
    every header, with the engine's number of threads, the run's own start time and, where its configuration says
    them, its own device and dtype.

    Raises ``StoreError`` when the store cannot be written, ``Interrupted`` on a keyboard interrupt, and
    ``WorkersDied``.
    """
    runs = out / "runs"
    wanted = tuple({point.digest: point for point in points}.values())
    reused: list[Point] = []
    missing: list[Point] = []
    moved: list[Path] = []
    done: list[tuple[Point, str]] = []

    def tell(point: Point) -> None:
        if progress is not None:
            progress(len(wanted), len(reused) + len(done), point)

    def on_done(point: Point, failure: str) -> None:
        done.append((point, failure))
        tell(point)

    try:
        for point in wanted:
            found = status(runs, point)
            if found is Status.DAMAGED:
                moved += _put_away(path_of(runs, point))
            if found is Status.COMPLETE and not force:
                reused.append(point)
                tell(point)
            else:
                missing.append(point)
        notes = tuple(f"a damaged file was moved to {path} and its run computed again" for path in moved)
        if missing:
            check_writable(runs)
            work = StoredRun(run, runs, {**provenance, "threads": engine.threads})
            notes += engine(missing, work, on_done)
    except KeyboardInterrupt:
        # The store knows of files that workers finished and could no longer report.
        raise Interrupted(sum(path_of(runs, point).exists() for point in wanted), len(wanted)) from None
    computed = tuple(point for point, failure in done if not failure)
    failed = tuple((point, failure) for point, failure in done if failure)
    return Execution(computed, tuple(reused), tuple(moved), failed, notes)


def _put_away(path: Path) -> list[Path]:
    """Set a damaged file aside, unless another process has been quicker."""
    with suppress(FileNotFoundError):
        return [set_aside(path)]
    return []


@dataclass(frozen=True)
class StoredRun:
    """The work of an engine: does one run and writes its file."""

    run: Experiment
    runs: Path
    provenance: Mapping[str, Any]

    def __call__(self, point: Point) -> str:
        """Return "" or the last line of the traceback. Raises ``StoreError``."""
        started, clock = now(), time.perf_counter()
        try:
            rows = tuple(self.run(point))
            seconds = time.perf_counter() - clock
            own = {key: point.config[key] for key in OF_A_RUN if key in point.config}
            write_run(self.runs, point, rows, {**self.provenance, **own, "started": started}, seconds)
        except StoreError:
            raise
        except Exception:
            return traceback.format_exc().rstrip().splitlines()[-1]
        return ""


def leave_threads(threads: int) -> None:
    """Prepare nothing: the default ``Initialise``."""


def by_size(point: Point) -> float:
    """The default cost of a run: neurons of a layer, over all seeds."""
    return float(point.width) * len(point.seeds)


def serial(initialise: Initialise = leave_threads, threads: int | None = None) -> Engine:
    """Return the engine that computes one run after another in this process, with all cores or ``threads``."""
    return _Serial(threads or count_cores(), initialise)


def pool(workers: int, cost: Callable[[Point], float] = by_size, initialise: Initialise = leave_threads) -> Engine:
    """Return the engine that computes ``workers`` runs at once, each in a process with its share of the cores.

    The most expensive runs begin first. ``initialise``, and the run given to ``execute``, must be functions at
    the top level of a module. When a worker dies the pool is rebuilt once; the runs that were in progress come
    last then, since one of them may be what kills workers. Raises ``WorkersDied`` when it happens again.
    """
    if workers < 1:
        raise ValueError(f"a pool needs at least one worker, got {workers}")
    return _Pool(workers, max(1, count_cores() // workers), cost, initialise)


@dataclass(frozen=True)
class _Serial:
    threads: int
    initialise: Initialise

    def __call__(self, points: Sequence[Point], work: Work, on_done: OnDone) -> tuple[str, ...]:
        self.initialise(self.threads)
        for point in points:
            on_done(point, work(point))
        return ()


@dataclass(frozen=True)
class _Pool:
    workers: int
    threads: int
    cost: Callable[[Point], float]
    initialise: Initialise

    def __call__(self, points: Sequence[Point], work: Work, on_done: OnDone) -> tuple[str, ...]:
        _check_picklable(work, self.initialise)
        left = {point.digest: point for point in sorted(points, key=self.cost, reverse=True)}

        def tick_off(point: Point, failure: str) -> None:
            del left[point.digest]
            on_done(point, failure)

        suspects = self._compute(tuple(left.values()), work, tick_off)
        if not left:
            return ()
        note = (
            f"a worker died (killed, out of memory, or crashed); the pool was rebuilt and {len(left)} unfinished "
            f"runs resumed, those in progress last: {_names(suspects)}"
        )
        for point in suspects:
            left[point.digest] = left.pop(point.digest)
        suspects = self._compute(tuple(left.values()), work, tick_off)
        if left:
            raise WorkersDied(
                f"workers died twice (killed, out of memory, or crashed, or they could not start), the second time "
                f"while computing {_names(suspects)}; {len(points) - len(left)} of {len(points)} runs are done "
                f"and not lost. Run the same command again with fewer workers or more memory"
            )
        return (note,)

    def _compute(self, points: Sequence[Point], work: Work, on_done: OnDone) -> tuple[Point, ...]:
        """Compute points in new processes; return those in progress when a worker died, none if none did."""
        queue = iter(points)
        running: dict[Future[str], Point] = {}
        with processes(self.workers, self.threads, self.initialise) as executor:
            try:
                while True:
                    for point in islice(queue, self.workers - len(running)):
                        with interrupts_held():
                            running[executor.submit(work, _picklable(point))] = point
                    if not running:
                        return ()
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    # Those that went well first: an exception ends the loop.
                    for future in sorted(finished, key=lambda one: one.exception() is not None):
                        failure = future.result()
                        on_done(running.pop(future), failure)
            except BrokenProcessPool:
                return tuple(running.values())


def _picklable(point: Point) -> Point:
    """Return the point with a plain dict for its configuration: read-only mappings do not travel."""
    return replace(point, config=dict(point.config))


def _check_picklable(work: Work, initialise: Initialise) -> None:
    try:
        pickle.dumps((work, initialise))
    except Exception as error:
        raise TypeError(
            f"a pool hands runs to other processes, so the run and its initialise must be functions at the top "
            f"level of a module ({error}); define them there, or use the serial engine"
        ) from error


def _names(points: Iterable[Point]) -> str:
    return ", ".join(f"{one.experiment} {one.parametrization} width {one.width}" for one in points) or "none"
