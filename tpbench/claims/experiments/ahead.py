"""Computing what several runs share before they begin, in as many processes as they will have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tpbench.bench.claim import Point
from tpbench.bench.engine import Interrupted, Progress, WorkersDied
from tpbench.bench.processes import interrupts_held, processes
from tpbench.bench.provenance import count_cores
from tpbench.bench.store import path_of
from tpbench.claims.experiments.shared import Need, compute, keep, needs_of
from tpbench.claims.experiments.threads import set_threads


def compute_ahead(
    points: Sequence[Point], runs: Path, *, workers: int, force: bool = False, progress: Progress | None = None
) -> dict[Need, Any]:
    """Return what the runs of some points share, as far as the store under ``runs`` lacks such runs.

    ``force`` says that all of them will be computed again. What a single run needs is left to it, and so is what a
    damaged file's run needs, since files are not read here. Raises ``Interrupted`` on a keyboard interrupt and
    ``WorkersDied`` when a process was killed.
    """
    sharing = [point for point in points if needs_of(point)]
    missing = [point for point in sharing if force or not path_of(runs, point).exists()]
    asked: dict[Need, list[Point]] = {}
    for point in missing:
        for need in needs_of(point):
            asked.setdefault(need, []).append(point)
    wanted = _rarest_first({need: askers[0] for need, askers in asked.items() if len(askers) > 1})
    if not wanted:
        return {}
    known: dict[Need, Any] = {}
    try:
        with processes(workers, max(1, count_cores() // workers), set_threads) as executor:
            with interrupts_held():
                begun = {executor.submit(compute, need): need for need in wanted}
            for future in as_completed(begun):
                need = begun[future]
                known[need] = future.result()
                if progress is not None:
                    progress(len(wanted), len(known), wanted[need])
    except BrokenProcessPool as error:
        raise WorkersDied(
            f"a process was killed or crashed (out of memory, perhaps) while {len(wanted)} limits were computed, "
            f"{workers} at a time; run the same command again with fewer workers or more memory"
        ) from error
    except KeyboardInterrupt:
        raise Interrupted(len(points) - len(missing), len(points)) from None
    return known


def _rarest_first(wanted: Mapping[Need, Point]) -> dict[Need, Point]:
    """Return the computations of experiments that have few of them first.

    Those are the long ones; begun last, the last of them would keep one process busy and leave the others idle.
    """
    count = Counter(point.experiment for point in wanted.values())
    return dict(sorted(wanted.items(), key=lambda each: count[each[1].experiment]))


def begin(known: Mapping[Need, Any], threads: int) -> None:
    """Prepare a process that runs points: its threads, and what was computed ahead."""
    set_threads(threads)
    keep(known)
