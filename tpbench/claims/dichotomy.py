"""The dynamical dichotomy: a table that learns at all either moves its features and its kernel, or neither.

Yang & Hu 2021 (arXiv:2011.14522, section 3): a stable, non-trivial table is in the kernel regime or learns features,
never both. Both are measured under each of the sampled tables, each for itself: how features move (the largest
exponent over layers), and the tangent kernel relative to itself. Where r = 0 both are Θ(1); where r >= 1/4 both
vanish by n^(-1/4) at least. The theorem is about networks of nonlinear activation that train all layers.

Kernel movement has powers of its own: n^(-2r) of second order in the movement, n^(-r-1/2) of first order where signs
are random, and n^(-r) once the read-out is made of its own updates, whose signs are those of the features: so a bound
is judged where it vanishes. Under feature learning with ``1 < c3 < 3/2`` the read-out's own update adds a term of first
order n^(1-c3) to the kernel's movement, of the other sign than the Θ(1) term of second order where one layer alone
learns; from widths 2^9 to 2^15 their sum had exponents from -0.43 to 0.00, which says nothing of the limit. Features
alone are judged there: a choice made after the first run.

The dichotomy needs a nonlinear activation, and there it can fail: a *linear* network in which one hidden layer alone
learns and the read-out hardly moves has moving features and a kernel that freezes like n^(1-c3). That is a planted
fault. Where the read-out or both layers move, the kernel of a linear network moves, too, and nothing is tested by it.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.ntk_frozen import swap
from tpbench.claims.regimes import alone, chosen, prediction, resolved, sweeps
from tpbench.parametrization import Regime, analyse, movement
from tpbench.parametrization.rule import HALF
from tpbench.parametrization.sample import Coordinates


def learning(point: Coordinates) -> bool:
    """Return whether a table learns, and how its features move can be told from its r."""
    r1, r2, own, passed = point.slacks
    return point.stable and min(own, passed) == 0 and resolved(min(r1, r2))


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, last = stable_table(c), c["depth"], c["steps"]
    found = analyse(table, depth)
    if found.regime is Regime.TRIVIAL:
        raise ValueError(f"{table.name!r} is trivial: its output does not move, so it learns in neither way")
    [power] = [-condition.slack for condition in found.conditions if condition.quantity == "Δh"]
    features = prediction(table.name, "activation-change", Kind.LARGEST, power, last)
    if power == 0 and 0 < movement(table, depth + 1, depth) < HALF:
        return (features,)
    return features, prediction(table.name, "kernel-movement", Kind.EXPONENT, power, last)


CLAIM = Claim(
    name="dichotomy",
    statement="Every stable, non-trivial abc table moves both its features and its tangent kernel by Θ(1), or neither.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="Features move while the kernel freezes, or the kernel moves while features freeze.",
    experiment="regimes",
    sweeps=sweeps(chosen(learning)),
    predict=predict,
    faults=(
        Fault(
            "other-regime",
            "muP is trained in place of tables of the kernel regime, and NTP in place of those that learn features",
            replacing_table(swap),
        ),
        Fault(
            "linear",
            "the networks are linear: features move, and the kernel freezes",
            lambda c: {**c, "activation": "identity"},
            spares=chosen(lambda point: learning(point) and not alone(point)),
        ),
    ),
    figures=(Figure.RANKED,),
    notes="Where features move and 1 < c3 < 3/2 the kernel's movement mixes two powers, and features alone are judged.",
)
