"""Distance of the smoke sweep's numbers from theory, claim by claim. Lower is better, so an increase is a regression.

The same code gives the same number on one machine, whatever else it does: the seeds are fixed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tpbench.bench.claim import Judged, Kind

from .running import compute, jobs_of, judge, worst_distance

TRAINING = ("sp-over-n", "ntp", "mup", "mean-field")
# Spelled out, not read from the claims: asv's history needs the same cases at every commit.
EXPONENTS = {
    "coordinate-size": TRAINING,
    "feature-movement": TRAINING,
    "sp-blowup": ("sp",),
    "zero-output": ("sp", "ntp", "mup", "mean-field"),
    "ntk-frozen": ("ntp", "mup"),
    "ntk-dynamics": ("ntp",),
    "mup-linear-limit": ("mup",),
}
LIMITS = {"ntk-frozen": ("ntp",), "ntk-dynamics": ("ntp",), "mup-linear-limit": ("mup",)}
Cache = dict[str, tuple[Judged, ...]]


def cases(tables: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the parameters of a benchmark, "claim under parametrization"."""
    return [f"{claim} under {table}" for claim, names in tables.items() for table in names]


def setup_cache() -> Cache:
    """Run the smoke sweep of every claim here, once for all benchmarks of this file."""
    found = {}
    with tempfile.TemporaryDirectory() as out:
        for claim in EXPONENTS:
            (job,) = jobs_of(claim)
            compute(job, Path(out))
            found[claim] = judge(job, Path(out))
    return found


setup_cache.timeout = 900.0  # type: ignore[attr-defined]


class Exponents:
    """The worst |fitted exponent - theory| of a claim: sizes, spreads and biases against width."""

    params = (cases(EXPONENTS),)
    param_names = ("claim",)
    timeout = 120.0

    def track_distance(self, cache: Cache, case: str) -> float:
        claim, table = case.split(" under ")
        return worst_distance(cache[claim], table, frozenset({Kind.EXPONENT, Kind.SPREAD, Kind.BIAS}))

    track_distance.version = "1"  # type: ignore[attr-defined]
    track_distance.unit = "|exponent - theory|"  # type: ignore[attr-defined]


class Limits:
    """The distance from the analytic limit, extrapolated to infinite width; 1 is where the rival limit lies."""

    params = (cases(LIMITS),)
    param_names = ("claim",)
    timeout = 120.0

    def track_distance(self, cache: Cache, case: str) -> float:
        claim, table = case.split(" under ")
        return worst_distance(cache[claim], table, frozenset({Kind.VALUE}))

    track_distance.version = "1"  # type: ignore[attr-defined]
    track_distance.unit = "of the rival's distance"  # type: ignore[attr-defined]
