"""Features move under muP and stand still in the kernel regime.

With g the exponent of the backward signal and ``r_l = g + c_l + 2 a_l - 1 + [l = 1]``, a layer's own update moves
its pre-activation by ``ΔW^l x ~ n^(-r_l)`` and ``Δh^l, Δx^l ~ n^(-min_{m <= l} r_m)`` (arXiv:2011.14522, section 3,
in the notation of ``tpbench.parametrization.predict``): 0 under muP, -1/2 under NTP; SP with rate eta/n moves its
first layer by n^(-3/2) and the others by n^(-1/2). ``W_0 Δx`` and ``ΔW x`` are measured apart, since a sum mixes
exponents.

The rival of a moving layer is one that stands still like n^(-1/2); that of a still one is Θ(1) movement.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, scaled_roles
from tpbench.claims.coordinate_size import CLAIM as COORDINATE_SIZE
from tpbench.claims.coordinate_size import opposite, stable_table
from tpbench.parametrization import Parametrization, exponent

HIDDEN = ("preactivation-change", "activation-change", "weight-update")


def measured_quantities(depth: int, step: int) -> list[tuple[str, int]]:
    """Return which quantities of which layers the claim judges after a step."""
    found = [(quantity, layer) for quantity in HIDDEN for layer in range(1, depth + 1)]
    found += [("initial-weight-on-change", layer) for layer in range(2, depth + 1)]
    return found if step == 1 else [*found, ("output-change", depth + 1)]


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth = stable_table(c), c["depth"]
    found = []
    for step in c["record"][1:]:
        for quantity, layer in measured_quantities(depth, step):
            power = float(exponent(table, quantity, depth=depth, layer=layer, first_step=step == 1))
            rival = opposite(power)
            found.append(
                Prediction(table.name, quantity, Kind.EXPONENT, power, rival, tolerance=0.1, layer=layer, step=step)
            )
    return tuple(found)


def slow_down(table: Parametrization, c: Config) -> Parametrization:
    """Raise the learning-rate exponent of every hidden layer by one half."""
    for role in scaled_roles(c["depth"]):
        table = table.replacing(role, c=table.of(role).c + Fraction(1, 2))
    return table


CLAIM = Claim(
    name="feature-movement",
    statement="Features move by Θ(1) under muP, by n^(-1/2) or less in the kernel regime (NTP, SP with rate eta/n).",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="Kernel-regime layers move by Θ(1), or muP's stand still like n^(-1/2).",
    experiment="training",
    sweeps=COORDINATE_SIZE.sweeps,
    predict=predict,
    faults=(
        Fault(
            "wrong-rate-exponent",
            "the learning rates of the hidden layers carry an extra n^(-1/2)",
            replacing_table(slow_down),
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="The centred output f - f_0 is trained, so that the residual at the start is the same for every seed.",
)
