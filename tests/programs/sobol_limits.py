"""Limits by Sobol' points, with few points, and how far they are from what is known or sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from tpbench.programs import Program
from tpbench.programs.infinite import Limit, Value, limit

POINTS = (2**8, 2**9, 2**10)
MANY = 4.5
"""Standard errors that count as a difference: about one in 10^5."""


def solved(p: Program, points: tuple[int, ...] = POINTS, replicates: int = 32, **options: str) -> Limit:
    return limit(p, method="sobol", points=points, replicates=replicates, **options)  # type: ignore[arg-type]


def off(found: Value, wanted: float, error: float = 0.0) -> float:
    """Return a difference in standard errors."""
    return abs(found.mean - wanted) / math.hypot(found.error, error)


def largest_off(found: Mapping[str, Value], sampled: Mapping[str, Tensor]) -> float:
    """Return the largest difference of scalars between a limit and samples, in standard errors."""
    means = {name: (float(s.mean()), float(s.std()) / len(s) ** 0.5) for name, s in sampled.items()}
    return max(off(found[name], *pair) for name, pair in means.items())
