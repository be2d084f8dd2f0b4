"""A program's study as JSON for scripts."""

from __future__ import annotations

import math
from typing import Any

from tpbench.bench.claim import Estimate
from tpbench.program_study import Study, output_of


def as_json(found: Study) -> dict[str, Any]:
    """Return a study as what JSON holds; numbers that are not finite are null."""
    return {
        "name": found.name,
        "program": str(found.program),
        "fragment": found.program.fragment,
        "method": found.limit.method if found.limit else None,
        "refused": dict(found.limit.refused) if found.limit else {"all": found.why},
        "weights": {str(width): weights for width, weights in found.weights.items()},
        "outputs": {name: _output_json(found, name) for name in found.asked.outputs},
        "estimates": [_estimate_json(row.estimate) | {"verdict": row.verdict} for row in found.result.judged],
        "notes": list(found.notes),
        "verdict": found.verdict,
    }


def _output_json(found: Study, name: str) -> dict[str, Any]:
    known = found.limit.scalars[name] if found.limit else None
    means = [found.mean(width, name) for width in found.values]
    return {
        "limit": None if known is None else _finite(known.mean),
        "limit_error": None if known is None else _finite(known.error),
        "exact": None if known is None or known.exact is None else str(known.exact),
        "width": list(found.values),
        "mean": [_finite(each.mean) for each in means],
        "standard_error": [_finite(each.error) for each in means],
    }


def _estimate_json(e: Estimate) -> dict[str, Any]:
    p = e.prediction
    return {
        "output": output_of(p),
        "kind": p.kind,
        "side": p.side,
        "prediction": p.predicted,
        "tolerance": p.tolerance,
        "rival": p.rival,
        "estimate": _finite(e.value),
        "low": _finite(e.low),
        "high": _finite(e.high),
        "note": e.note,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
