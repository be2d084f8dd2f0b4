"""A read-out that starts at 0 costs NTP its features once more, and leaves muP's exponents alone.

With ``W_0^{L+1} = 0`` the output starts at exactly 0, the first step moves the read-out alone, and from the second on
only its update sends a signal back: ``g = 2a + c`` of the read-out in place of ``min(a + b, 2a + c)``. Under muP both
are 1, and hidden layers move by Θ(1) either way. Under NTP and SP with rate eta/n ``a + b = 1/2`` but ``2a + c = 1``:
every hidden layer's own update is smaller by n^(1/2), n^(-1) under NTP instead of n^(-1/2). The output moves by Θ(1)
in all of them.

That a zero read-out "changes nothing in the limit" is right for muP alone: the exponents of the others are derived
here, from the equations of Yang & Hu 2021, arXiv:2011.14522 (``tpbench.parametrization.predict``).
"""

from __future__ import annotations

from dataclasses import replace

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, rule_of, sweep
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.feature_movement import slow_down
from tpbench.parametrization import exponent

TABLES = ("mup", "ntp", "sp-over-n")
SETTINGS = {
    "sigma_w": 2**0.5,
    "activation": "gelu",
    "examples": 8,
    "train": 8,
    "learning_rate": 0.5,
    "zero_output": True,
    "steps": 4,
    "record": [0, 2, 4],
}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = stable_table(c), c["depth"], rule_of(c)
    if not rule.zero_output:
        raise ValueError("the claim is about networks whose read-out starts at 0")
    quantities = [("weight-update", layer) for layer in range(1, depth + 1)] + [("output-change", depth + 1)]
    found = []
    for step in c["record"]:
        for quantity, layer in quantities if step > 1 else ():
            power, usual = (
                float(exponent(table, quantity, depth=depth, layer=layer, rule=each))
                for each in (rule, replace(rule, zero_output=False))
            )
            rival = usual if usual != power else power - 0.5
            found.append(Prediction(table.name, quantity, Kind.EXPONENT, power, rival, 0.1, layer, step))
    return tuple(found)


CLAIM = Claim(
    name="zero-readout",
    statement="A read-out that starts at 0 slows NTP's hidden layers from n^(-1/2) to 1/n; muP's move by Θ(1) as ever.",
    source="exponents derived; Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="It changes no exponent of NTP and SP; or muP's layers stand still.",
    experiment="training",
    sweeps={
        "smoke": sweep(TABLES, {64: 64, 128: 48, 256: 24, 512: 8}, SETTINGS),
        "nightly": sweep(
            TABLES,
            {64: 256, 128: 256, 256: 128, 512: 64, 1024: 16},
            SETTINGS,
            lazy={2**10: 32, 2**12: 32, 2**14: 8, 2**16: 2},
        ),
        "full": sweep(
            TABLES,
            {64: 256, 128: 256, 256: 128, 512: 64, 1024: 64, 2048: 32},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 32, 2**16: 16, 2**18: 8, 2**20: 4},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "random-readout",
            "the read-out starts at random",
            lambda c: {**c, "zero_output": False},
            spares=("mup",),
        ),
        Fault(
            "wrong-rate-exponent",
            "the learning rates of the hidden layers carry an extra n^(-1/2)",
            replacing_table(slow_down),
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="Judged from the second step on: the first moves the read-out alone.",
)
