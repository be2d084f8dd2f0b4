"""muP is the only stable table under which every layer learns, up to the abc symmetry.

Yang & Hu 2021 (arXiv:2011.14522, section 3): among stable tables muP alone updates every layer maximally. Measured
is the smallest exponent among the parts ``ΔW^l x`` of all layers and ``W_0 Δx`` of the read-out: 0 under muP and its
shifts, -1/4 or less under every other stable table.

``W_0 Δx`` is one of the parts, because without it muP is not unique: with ``b3 > 1`` and c = (-1, 0, 1) every
``ΔW^l x`` is Θ(1), while the initial read-out passes nothing on of what moves below it (``b3 + r > 1``).
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.regimes import chosen, prediction, resolved, sweeps
from tpbench.parametrization import NAMED, Parametrization, analyse, exponent
from tpbench.parametrization.sample import Coordinates


def slowest(table: Parametrization, depth: int) -> Fraction:
    """Return the smallest exponent among ``ΔW^l x`` of all layers and ``W_0 Δx`` of the read-out."""
    updates = [exponent(table, "weight-update", depth=depth, layer=layer) for layer in range(1, depth + 2)]
    return min(*updates, exponent(table, "initial-weight-on-change", depth=depth))


def told_apart(point: Coordinates) -> bool:
    """Return whether a table is stable, and its slowest layer either moves or vanishes fast enough."""
    return point.stable and resolved(max(point.slacks))


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    return (prediction(table.name, "layer-update", Kind.SMALLEST, slowest(table, c["depth"]), c["steps"]),)


def swap(table: Parametrization, c: Config) -> Parametrization:
    """Train NTP in place of muP, and muP in place of every other table."""
    return NAMED["ntp" if analyse(table, c["depth"]).maximal else "mup"]


CLAIM = Claim(
    name="unique-maximal",
    statement="Every stable abc table but muP and its shifts leaves some layer unmoved: the slowest part vanishes.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="Every part moves by Θ(1) under other tables too, or some part vanishes under muP.",
    experiment="regimes",
    sweeps=sweeps(chosen(told_apart)),
    predict=predict,
    faults=(
        Fault("other-table", "NTP is trained in place of muP, and muP in place of all others", replacing_table(swap)),
    ),
    figures=(Figure.RANKED,),
)
