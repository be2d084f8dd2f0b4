"""The dynamical dichotomy: a table that learns at all either moves its features and its kernel, or neither.

Yang & Hu 2021 (arXiv:2011.14522, section 3): a stable, non-trivial table is in the kernel regime or learns features,
never both. For each of the sampled tables both are measured, each for itself: how features move (the largest
exponent over layers) and how the tangent kernel does, relative to itself. Where r = 0 both are Θ(1); where r >= 1/4
both vanish by n^(-1/4) at least. The theorem is about networks of nonlinear activation that train all layers.

Kernel movement has powers of its own: n^(-2r) of second order in the movement, n^(-r-1/2) of first order where signs
are random, and n^(-r) once the read-out is made of its own updates, whose signs are those of the features. So only
a bound is judged.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.abc_classification import LEAST, prediction, swap, sweeps, tables
from tpbench.claims.config import replacing_table, table_of
from tpbench.claims.coordinate_size import stable_table
from tpbench.parametrization import Regime, analyse

LEARNING = (Regime.KERNEL, Regime.FEATURE_LEARNING)


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    found = analyse(table, c["depth"])
    if found.regime is Regime.TRIVIAL:
        raise ValueError(f"{table.name!r} is trivial: its output does not move, so it learns in neither way")
    [power] = [-condition.slack for condition in found.conditions if condition.quantity == "Δh"]
    if -LEAST < power < 0:
        raise ValueError(f"features of {table.name!r} move by n^({power}), which is too near to n^0 to be told from it")
    return (
        prediction(table.name, "activation-change", Kind.LARGEST, power, c["steps"]),
        prediction(table.name, "kernel-movement", Kind.EXPONENT, power, c["steps"]),
    )


def resolved(name: str) -> bool:
    return True


CLAIM = Claim(
    name="dichotomy",
    statement="Every stable, non-trivial abc table moves both its features and its tangent kernel by Θ(1), or neither.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="Features move while the kernel freezes, or the kernel moves while features freeze.",
    experiment="regimes",
    sweeps=sweeps(tables(LEARNING)),
    predict=predict,
    faults=(
        Fault(
            "other-regime",
            "muP is trained in place of tables of the kernel regime, and NTP in place of those that learn features",
            replacing_table(swap),
        ),
    ),
    figures=(Figure.EXPONENTS,),
)
