"""Spectral norms of weights and updates: ``sqrt(fan_out/fan_in)`` is feature learning, in every layer.

A matrix of entries n^(-(a+b)) has the spectral norm ``n^(-(a+b)) (sqrt(fan_in) + sqrt(fan_out))`` at the start. An
update that moves its layer's output by ``ΔW^l x ~ n^(-r_l)`` is aligned with its input, so that it takes a vector of
length sqrt(fan_in) to one of length ``n^(-r_l) sqrt(fan_out)``:

    |W_0| ~ n^(max(1/2, …) - (a+b)),     |ΔW| ~ n^(-r_l) sqrt(fan_out/fan_in),

with sqrt(fan_out/fan_in) of size n^(1/2), 1 and n^(-1/2) in the input, hidden and output layers. Features are learnt where both
are of size sqrt(fan_out/fan_in) (Yang, Simon & Bernstein 2023, arXiv:2310.17813): r_l = 0, which is muP. NTP's read-out
starts larger by n^(1/2), and its updates of the first two layers are smaller by as much. Spectral descent, whose
updates have one size of all singular values, moves by ``n^(-a-c)`` in spectral norm whatever the gradient's size is;
the exponents follow from the same r_l (``tpbench.parametrization.rule``).

W_0 of a lazy network is never built, so its norm is measured on dense ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, rule_of, sweep, table_of
from tpbench.parametrization import Parametrization, Role, exponent, role_of

HALF = Fraction(1, 2)
SHAPE: Mapping[Role, Fraction] = {Role.INPUT: HALF, Role.HIDDEN: Fraction(0), Role.OUTPUT: -HALF}
"""Role -> the exponent of sqrt(fan_out/fan_in)."""
TABLES = ("mup", "ntp")
SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.4,
    "learning_rate": 0.5,
    "base_width": 64,
    "examples": 8,
    "train": 8,
    "loss": "linear",
    "steps": 3,
    "record": [0, 1, 3],
}
VARIANTS = {"": {}, "spectral descent": {"optimizer": "spectral", "learning_rate": 1.0}}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = table_of(c), c["depth"], rule_of(c)
    found = []
    for layer in range(1, depth + 2):
        role = role_of(layer, depth)
        power = HALF - table.of(role).a - table.of(role).b
        found.append(_row(table.name, "initial-norm", power, layer, 0))
        for step in c["record"][1:]:
            moved = exponent(table, "weight-update", depth=depth, layer=layer, first_step=step == 1, rule=rule)
            found.append(_row(table.name, "update-norm", moved + SHAPE[role], layer, step))
    return tuple(found)


def _row(name: str, quantity: str, power: Fraction, layer: int, step: int) -> Prediction:
    """Return a prediction; its rival is the Frobenius norm's exponent for W_0, and an update that is too small."""
    rival = float(power) + (0.5 if quantity == "initial-norm" else -0.5)
    # |W_0| of the first layer has the factor 1 + sqrt(inputs/n), that of the read-out 1 + sqrt(outputs/n)
    correction = 0.5 if quantity == "initial-norm" else 1.0
    return Prediction(
        name,
        quantity,
        Kind.EXPONENT,
        float(power),
        rival,
        tolerance=0.1,
        layer=layer,
        step=step,
        correction=correction,
    )


def wrong_everywhere(table: Parametrization, c: Config) -> Parametrization:
    """Make every initial weight larger by n^(1/2), and every learning rate smaller."""
    for layer in range(1, c["depth"] + 2):
        role = role_of(layer, c["depth"])
        e = table.of(role)
        table = table.replacing(role, b=e.b - HALF, c=e.c + HALF)
    return table
