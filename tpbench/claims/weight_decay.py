"""Decoupled weight decay is coupled to the learning rate: a constant lambda fades where the rate falls with the width.

AdamW as torch has it (Loshchilov & Hutter 2019, arXiv:1711.05101) takes ``w <- (1 - lr lambda) w - lr m/(sqrt(v) +
epsilon)``. With ``lr ~ n^(-c)`` and ``lambda ~ n^(-d)`` a step shrinks the initial weights by a share

    S = 1 - <W_t, W_0>/|W_0|^2 ~ n^(-(c + d)):

n^(-1) in hidden layers and n^(-1/2) in muP's first and last for a constant lambda (d = 0), so that the decay of wide
networks fades, and the same at every width for ``lambda ~ n^c``: what has to be kept is the time scale 1/(lr lambda)
(Wang & Aitchison 2024, arXiv:2405.13698). The update itself adds a sum of random signs to <W_t, W_0>, which a large
lambda keeps small beside the decay.
"""

from __future__ import annotations

from collections.abc import Mapping

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import rule_of, sweep, table_of
from tpbench.parametrization import role_of, shrinkage

TABLES = ("sp-adam", "mup-adam")
SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.4,
    "optimizer": "adam",
    "learning_rate": 0.002,
    "weight_decay": 10.0,
    "base_width": 64,
    "loss": "linear",
    "batch": 8,
    "steps": 5,
    "record": [0, 1, 5],
}
VARIANTS: Mapping[str, Config] = {"constant decay": {"decay_powers": {}}, "decay over rate": {"decay_powers": None}}
"""Without powers lambda makes up for the rate of each layer: d = -c."""


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = table_of(c), c["depth"], rule_of(c)
    if not c["weight_decay"]:
        raise ValueError("the claim is about weight decay, and the configuration has none")
    found = []
    for step in c["record"][1:]:
        for layer in range(1, depth + 2):
            role = role_of(layer, depth)
            power, rate = float(-shrinkage(table, role, rule)), float(table.of(role).c)
            rival = next((each for each in (0.0, -rate) if each != power), power - 0.5)
            found.append(Prediction(table.name, "shrinkage", Kind.EXPONENT, power, rival, 0.1, layer, step))
    return tuple(found)


def exchange(c: Config) -> Config:
    """Return the configuration with a constant decay where it made up for the rate, and the reverse."""
    return {**c, "decay_powers": {} if c["decay_powers"] is None else None}


CLAIM = Claim(
    name="weight-decay",
    statement="AdamW's decay fades with the learning rate at a constant lambda, and not if lambda makes up for it.",
    source="Loshchilov & Hutter 2019, arXiv:1711.05101; Wang & Aitchison 2024, arXiv:2405.13698",
    rival="Decoupled decay does not depend on the learning rate; or making up for it does not help.",
    experiment="shrinkage",
    sweeps={
        "smoke": sweep(TABLES, {64: 12, 128: 8, 256: 6, 512: 3}, SETTINGS, variants=VARIANTS),
        "nightly": sweep(TABLES, {64: 96, 128: 64, 256: 32, 512: 16, 1024: 6}, SETTINGS, variants=VARIANTS),
        "full": sweep(
            TABLES, {64: 256, 128: 256, 256: 128, 512: 64, 1024: 64, 2048: 32, 4096: 16}, SETTINGS, variants=VARIANTS
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "exchanged-decay", "lambda is constant where it should make up for the rate, and not where not", exchange
        ),
    ),
    notes="Decay is a hundred times the usual, so that it is seen beside the gradient's own share of W_0: what is "
    "tested is the bookkeeping of rates and decays, not an effect on learning.",
    figures=(Figure.EXPONENTS,),
)
