"""SP with a constant learning rate blows up, and theory says which quantity with which exponent.

After one step of rate eta: ``ΔW^1 x ~ n^(-1/2)`` still vanishes, ``ΔW^l x ~ n^(1/2)`` grows in every other hidden
layer, the read-out's ``ΔW x`` and ``W_0 Δx`` grow like n (arXiv:2011.14522, section 3; exponents by
``tpbench.parametrization.predict`` with g = 1/2, since the first step sees the initial read-out).

Judged after one step, on pre-activations and weight updates: later the loss derivative itself blows up, and no
power law is left.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep, table_of
from tpbench.parametrization import Parametrization, Role, exponent, violations

SETTINGS = {"sigma_w": 2**0.5, "learning_rate": 0.05, "base_width": 64, "centred": True, "steps": 1, "record": [0, 1]}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth = table_of(c), c["depth"]
    if not violations(table, depth):
        raise ValueError(f"{table.name!r} is stable at depth {depth}: nothing blows up")
    quantities = [("preactivation-change", layer) for layer in range(1, depth + 1)]
    quantities += [("weight-update", layer) for layer in range(1, depth + 2)]
    quantities += [("initial-weight-on-change", depth + 1), ("output-change", depth + 1)]
    found = []
    for quantity, layer in quantities:
        power = float(exponent(table, quantity, depth=depth, layer=layer, first_step=True))
        rival = 0.0 if power else 0.5
        found.append(Prediction(table.name, quantity, Kind.EXPONENT, power, rival, tolerance=0.15, layer=layer, step=1))
    return tuple(found)


def divide_by_width(table: Parametrization, c: Config) -> Parametrization:
    """Divide every learning rate by the width."""
    for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT):
        table = table.replacing(role, c=table.of(role).c + Fraction(1))
    return table


CLAIM = Claim(
    name="sp-blowup",
    statement="SP with a constant learning rate blows up: hidden updates grow like n^(1/2), the output's like n.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="Nothing depends on the width (exponent 0).",
    experiment="training",
    sweeps={
        "smoke": sweep(("sp",), {64: 256, 128: 192, 256: 128, 512: 64, 1024: 24}, SETTINGS),
        "nightly": sweep(
            ("sp",),
            {64: 512, 128: 512, 256: 256, 512: 128, 1024: 64, 2048: 32},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 32, 2**16: 8, 2**18: 4},
        ),
        "full": sweep(
            ("sp",),
            {64: 512, 128: 512, 256: 256, 512: 128, 1024: 64, 2048: 64, 4096: 32},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 64, 2**16: 64, 2**18: 32, 2**20: 16},
        ),
    },
    predict=predict,
    faults=(Fault("rate-over-n", "every learning rate is divided by the width", replacing_table(divide_by_width)),),
    figures=(Figure.EXPONENTS,),
    notes="Judged after one step: once the loss derivative itself blows up no power law is left.",
)
