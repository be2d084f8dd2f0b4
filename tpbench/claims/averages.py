"""What three claims about averages over the coordinates of programs' vectors share: predictions, settings, faults.

An average c_n over n coordinates scatters by n^(-1/2) around a mean that is off its limit by 1/n: coordinates are
independent but for what they share, which is averages of the same kind, and what is of second order in the fluctuation
of those has a mean of 1/n (derived here; the Master Theorem says that c_n converges, and no rate).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tpbench.bench.claim import Config, Fault, Kind, Prediction, Sweep
from tpbench.claims.config import replacing_table, table_of
from tpbench.parametrization import Parametrization, Role

EXPERIMENT = "program-moments"
TABLE = "ntp"
NO_CORRECTION = math.inf
SETTINGS: Mapping[str, Any] = {
    "scatter": 0.0,
    "limit_error": 3e-4,  # the largest error that the limit may have, where averages are of order 1
    "limit_points": [2**10, 2**11, 2**12],
    "limit_replicates": 16,
    "weights": "dense",
    "dtype": "float32",
    "device": "cpu",
}
"""What a run's configuration says besides ``programs``, ``limit`` and ``rival``."""
BLOCK = 4096


def hidden_is_critical(table: Parametrization) -> None:
    """Raise ``ValueError`` unless entries of hidden matrices are of size n^(-1/2), as those of programs are."""
    exponents = table.of(Role.HIDDEN)
    if exponents.a + exponents.b != Fraction(1, 2):
        raise ValueError(
            f"{table.name!r} has hidden entries of size n^(-{exponents.a + exponents.b}), and those of a program's "
            "matrices are of size n^(-1/2): with others the same instructions have another limit, or none"
        )


def predict(c: Config) -> tuple[Prediction, ...]:
    """Return spread n^(-1/2), bias 1/n and nothing of the rival; the fit of the spread gives up the narrowest width."""
    table = table_of(c)
    hidden_is_critical(table)
    return (
        Prediction(table.name, "moment-error", Kind.SPREAD, -0.5, 0.0, 0.1, step=0, correction=NO_CORRECTION),
        Prediction(table.name, "mean-moment-error", Kind.BIAS, -1.0, -0.5, 0.25, step=0),
        Prediction(table.name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=0),
    )


def limit_of(*programs: Config, transposes: str = "dependent") -> Config:
    """Return how a configuration describes a limit; "independent" forgets that W and Wᵀ are one matrix."""
    return {"programs": list(programs), "transposes": transposes}


def against(programs: Sequence[Config], rival: Config, limit: Config | None = None) -> Config:
    """Return a variant: programs that are run, and the limits that they are compared with."""
    return {"programs": list(programs), "limit": limit or limit_of(*programs), "rival": rival}


def sweep(sizes: Mapping[int, int], variants: Mapping[str, Config]) -> Sweep:
    """Return a sweep from a table width -> number of networks."""
    first = next(iter(variants.values()))
    return Sweep((TABLE,), tuple(sizes), tuple(sizes.values()), {**SETTINGS, **first}, block=BLOCK, variants=variants)


def _narrowed(table: Parametrization, c: Config) -> Parametrization:
    return table.replacing(Role.HIDDEN, b=table.of(Role.HIDDEN).b + Fraction(1, 8))


RIVAL_LIMIT = Fault(
    "rival-limit", "the limit is the rival's", lambda c: {**c, "limit": c["rival"], "rival": c["limit"]}
)
FALLING_ENTRIES = Fault(
    "falling-entries", "entries of matrices are of size n^(-5/8), not n^(-1/2)", replacing_table(_narrowed)
)
SCATTERED = Fault(
    "scattered-matrices",
    "the matrices of every other network are 1.4 times as large, those of the rest 0.6 times",
    lambda c: {**c, "scatter": 0.4},
)
FAULTS = (RIVAL_LIMIT, FALLING_ENTRIES, SCATTERED)
