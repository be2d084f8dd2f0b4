"""What the claims about random matrices share: Wigner's scaling, read from an abc table, and an error in it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tpbench.bench.claim import Config, Fault, Sweep
from tpbench.claims.config import replacing_table, table_of
from tpbench.parametrization import Parametrization, Role

TABLE = "ntp"
SETTINGS: Mapping[str, Any] = {
    "weights": "dense",
    "dtype": "float64",
    "device": "cpu",
    "program_weights": "dense",  # of the programs: dense, or lazy ones of the same law
    "excess": 1.0,  # planted: what the variance of the entries is multiplied by
    "spectral_every": 4,  # eigenvalues are computed for one seed in so many
}
HALF = Fraction(1, 2)


def checked_table(c: Config) -> Parametrization:
    """Return the configuration's table; ``ValueError`` unless its hidden weights have entries of variance 1/n."""
    table = table_of(c)
    hidden = table.of(Role.HIDDEN)
    if hidden.a + hidden.b != HALF:
        raise ValueError(
            f"hidden weights of {table.name!r} have entries of size n^(-{hidden.a + hidden.b}); eigenvalues have a "
            "limit for n^(-1/2), Wigner's scaling"
        )
    return table


def sweep(
    sizes: Mapping[int, int],
    settings: Mapping[str, Any],
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    every: int = 4,
) -> Sweep:
    """Return a sweep over width -> seeds, with eigenvalues for one seed in ``every``."""
    config = {**SETTINGS, **settings, "spectral_every": every}
    return Sweep((TABLE,), tuple(sizes), tuple(sizes.values()), config, variants=variants or {"": {}})


def _too_large(table: Parametrization, _: Config) -> Parametrization:
    return table.replacing(Role.HIDDEN, b=table.of(Role.HIDDEN).b - Fraction(1, 10))


WRONG_SCALING = Fault(
    "wrong-wigner-scaling", "entries of matrices are n^(-2/5) w, not n^(-1/2) w", replacing_table(_too_large)
)
LARGE_VARIANCE = Fault(
    "large-variance", "entries have a variance that is 15% too large", lambda c: {**c, "excess": 1.15}
)
