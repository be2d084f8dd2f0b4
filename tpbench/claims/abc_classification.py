"""The map of regimes: measured exponents sort abc tables into the regimes that theory gives them.

A table with a = 0 is a point of the six-dimensional (b, c) space of the three-layer network. Yang & Hu 2021
(arXiv:2011.14522, section 3) divide it by a few inequalities (``parametrization.sample`` has them) into four regimes:
*unstable*: something grows with width, or pre-activations vanish at the start; *trivial*: after O(1) steps the output
has not moved; *kernel*: the output moves and features do not; *feature learning*: both do. A designed sample of
tables is trained, and what is measured must agree: where theory says that a quantity grows or vanishes, its exponent
is at least 1/4 from 0, and else it is 0, to ±1/8.

A sum of powers has no clean exponent, so parts are kept apart: ``growth`` and ``activation-change`` are each the
largest exponent over their parts, ``initial-size`` the smallest over layers. A quantity that grows or vanishes by less
than 1/4 is not judged; the tables an eighth away from a boundary keep the rows that can be.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Prediction
from tpbench.claims.config import replacing_table, table_of
from tpbench.claims.coordinate_size import forget_root
from tpbench.claims.ntk_frozen import swap
from tpbench.claims.regime_atlas import atlas
from tpbench.claims.regimes import NOT_VANISHING, chosen, decided, exponents, prediction, resolved, sweeps


def predict(c: Config) -> tuple[Prediction, ...]:
    table, last = table_of(c), c["steps"]
    return tuple(
        prediction(table.name, quantity, kind, power, 0 if quantity == NOT_VANISHING else last)
        for quantity, kind, power in exponents(table, c["depth"])
        if resolved(power)
    )


CLAIM = Claim(
    name="abc-classification",
    statement="Measured exponents sort abc tables into unstable, trivial, kernel and feature learning as theory does.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3; the boundaries in (b, c) space derived here",
    rival="The table is on the other side of its boundary: what grows or vanishes keeps its size, or the reverse.",
    experiment="regimes",
    sweeps=sweeps(chosen(lambda point: True)),
    predict=predict,
    faults=(
        Fault(
            "other-regime",
            "muP is trained in place of tables that do not learn features, and NTP in place of those that do",
            replacing_table(swap),
            spares=chosen(lambda point: not decided(point)),
        ),
        Fault(
            "forgotten-root",
            "the last hidden layer is initialised without its 1/sqrt(n)",
            replacing_table(forget_root),
            # where something grows already and nothing vanishes at the start, a larger start falsifies nothing
            spares=chosen(lambda point: not point.stable and point.b1 <= 0 and point.b2 <= Fraction(1, 2)),
        ),
    ),
    figures=(Figure.REGIMES, Figure.RANKED),
    notes="A sampled table's name has its (b, c) numbers; +a says that it is written with multipliers a ≠ 0.",
    atlas=atlas,
)
