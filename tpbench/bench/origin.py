"""Where the runs of a judgement come from, told once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tpbench.bench.claim import Point
from tpbench.bench.store import path_of, read_header


def origin(points: Sequence[Point], runs: Path, wall_seconds: float) -> dict[str, Any]:
    """Return the provenance of the first run, with all commits, dtypes and seeds of the runs, and the wall time.

    Raises ``FileNotFoundError`` and ``DamagedRun`` as ``store.read_header`` does.
    """
    wanted = {point.digest: point for point in points}.values()
    headers = [read_header(path_of(runs, point))["provenance"] for point in wanted]
    first = min(headers, key=lambda header: str(header["started"]))
    return {
        **first,
        "commit": ", ".join(sorted({_commit(header) for header in headers})),
        "dtype": "+".join(sorted({str(header["dtype"]) for header in headers})),
        "seeds": _spans(sorted({seed for point in wanted for seed in point.seeds})),
        "wall_seconds": wall_seconds,
    }


def _spans(seeds: Sequence[int]) -> str:
    """Write sorted seeds as ``0 to 9, 1048576 to 1048580``."""
    firsts = [seed for before, seed in zip([None, *seeds], seeds, strict=False) if seed - 1 != before]
    lasts = [seed for seed, after in zip(seeds, [*seeds[1:], None], strict=True) if seed + 1 != after]
    return ", ".join(f"{first} to {last}" for first, last in zip(firsts, lasts, strict=True))


def _commit(header: Mapping[str, Any]) -> str:
    if header["commit"] is None:
        return f"none (installed version {header['tpbench']})"
    return str(header["commit"]) + ("+changes" if header["dirty"] else "")
