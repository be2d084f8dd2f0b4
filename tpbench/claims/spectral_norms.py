"""Spectral norms of weights and updates: ``sqrt(fan_out/fan_in)`` is feature learning, in every layer.

A matrix of entries n^(-(a+b)) has the spectral norm ``n^(-(a+b)) (sqrt(fan_in) + sqrt(fan_out))`` at the start. An
update that moves its layer's output by ``ΔW^l x ~ n^(-r_l)`` is aligned with its input, so that it takes a vector of
length sqrt(fan_in) to one of length ``n^(-r_l) sqrt(fan_out)``:

    |W_0| ~ n^(1/2 - (a+b)),     |ΔW| ~ n^(-r_l) sqrt(fan_out/fan_in),

with sqrt(fan_out/fan_in) of size n^(1/2), 1 and n^(-1/2) in the input, hidden and output layers. Features are learnt
where both are of that size (Yang, Simon & Bernstein 2023, arXiv:2310.17813): r_l = 0, which is muP. NTP's read-out
starts larger by n^(1/2), and its updates of the first two layers are smaller by as much. Spectral descent, whose
updates have singular values of one size, moves by ``n^(-a-c)`` in spectral norm whatever the gradient's size is; the
exponents follow from the same r_l (``tpbench.parametrization.rule``).

At finite width |W_0| of the first layer has the factor 1 + sqrt(fan_in/n), and that of the read-out 1 +
sqrt(fan_out/n): a correction by n^(-1/2) is fitted.

All networks are dense: W_0 of a lazy one is never built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.adam_exponents import bounded_table
from tpbench.claims.config import replacing_table, rule_of, sweep
from tpbench.parametrization import Parametrization, Role, equivalent, exponent, named, role_of

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
BRIEF = {**SETTINGS, "record": [0, 3]}
VARIANTS = {"": {}, "spectral descent": {"optimizer": "spectral", "learning_rate": 1.0}}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = bounded_table(c), c["depth"], rule_of(c)
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
    """Return a prediction; its rival is an initial weight that is larger, or an update that is smaller, by sqrt(n)."""
    initial = quantity == "initial-norm"
    return Prediction(
        name,
        quantity,
        Kind.EXPONENT,
        float(power),
        rival=float(power) + (0.5 if initial else -0.5),
        tolerance=0.1,
        layer=layer,
        step=step,
        correction=0.5 if initial else 1.0,  # 1 + sqrt(fan_in/fan_out) of the first layer, and likewise of the last
    )


def exchange(table: Parametrization, c: Config) -> Parametrization:
    """Train NTP in place of muP, and muP in place of all else."""
    mup = named("mup")
    return replace(named("ntp") if equivalent(table, mup, rule_of(c)) else mup, name=table.name)


CLAIM = Claim(
    name="spectral-norms",
    statement="Under muP weights and updates have spectral norms of size sqrt(fan_out/fan_in) in every layer.",
    source="Yang, Simon & Bernstein 2023, arXiv:2310.17813; NTP's exponents derived",
    rival="Initial weights are larger, or updates smaller, by n^(1/2).",
    experiment="spectra",
    sweeps={
        "smoke": sweep(TABLES, {64: 128, 96: 96, 128: 64, 256: 24, 512: 4}, BRIEF, variants=VARIANTS),
        "nightly": sweep(TABLES, {64: 128, 128: 128, 256: 64, 512: 32, 1024: 12}, SETTINGS, variants=VARIANTS),
        "full": sweep(
            TABLES, {64: 256, 128: 256, 256: 128, 512: 64, 1024: 32, 2048: 16, 4096: 8}, SETTINGS, variants=VARIANTS
        ),
    },
    predict=predict,
    faults=(
        Fault("exchanged-tables", "NTP is trained in place of muP, and muP in place of NTP", replacing_table(exchange)),
    ),
    figures=(Figure.EXPONENTS,),
)
