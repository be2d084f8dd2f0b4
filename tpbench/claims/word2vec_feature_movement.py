"""word2vec's embeddings move under muP and stand still in the kernel regime.

With g the exponent of the backward signal, an update moves embeddings and context means by n^(-r), r = g + c_1 +
2 a_1: Θ(1) under muP, n^(-1/2) under NTP, n^(-3/2) under SP with rate eta/n (arXiv:2011.14522, section 3). The two
parts of the logits' movement, ``ΔC h`` and ``C_0 Δh``, are judged apart, since a sum mixes exponents; ``C_0 Δh`` after
the first update only, later updates add terms of other signs and sizes.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table
from tpbench.claims.coordinate_size import opposite
from tpbench.claims.word2vec_config import stable_table
from tpbench.claims.word2vec_coordinate_size import CLAIM as COORDINATE_SIZE
from tpbench.parametrization import Parametrization, Role, exponent

MOVED = (("weight-update", 1), ("preactivation-change", 1), ("weight-update", 2))


def measured_quantities(step: int) -> tuple[tuple[str, int], ...]:
    """Return which quantities of which layers the claim judges after a step."""
    return (*MOVED, ("initial-weight-on-change", 2)) if step == 1 else (*MOVED, ("output-change", 2))


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    found = []
    for step in c["record"][1:]:
        for quantity, layer in measured_quantities(step):
            power = float(exponent(table, quantity, depth=1, layer=layer, first_step=step == 1))
            rival = opposite(power)
            found.append(
                Prediction(table.name, quantity, Kind.EXPONENT, power, rival, tolerance=0.1, layer=layer, step=step)
            )
    return tuple(found)


def slow_down(table: Parametrization, c: Config) -> Parametrization:
    """Raise the embedding's learning-rate exponent by one half."""
    return table.replacing(Role.INPUT, c=table.input.c + Fraction(1, 2))


CLAIM = Claim(
    name="word2vec-feature-movement",
    statement="word2vec's embeddings move by Θ(1) under muP, by n^(-1/2) or less under NTP and SP with rate eta/n.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="Kernel-regime embeddings move by Θ(1), or muP's stand still like n^(-1/2).",
    experiment="word2vec-sizes",
    sweeps=COORDINATE_SIZE.sweeps,
    predict=predict,
    faults=(
        Fault(
            "wrong-rate-exponent",
            "the embedding's learning rate carries an extra n^(-1/2)",
            replacing_table(slow_down),
        ),
    ),
    figures=(Figure.EXPONENTS,),
)
