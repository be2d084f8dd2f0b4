"""A training step costs O(n²) time and memory.

Of the matrix products of an SGD step on a batch of B, the hidden layers' 6 B n² operations outgrow all others, and
so do their n² weights in memory. Both are bounds: small products run below the machine's full rate and the vectors'
B n numbers still count, so fitted exponents come from below. The planted fault squares a weight matrix in
every step: O(n³) time.
"""

from __future__ import annotations

import math

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import sweep, table_of

SETTINGS = {"examples": 128, "train": 128, "outputs": 10, "sigma_w": 2**0.5, "steps": 6, "record": [6], "waste": "none"}

NONE = math.inf
"""No finite-width correction but at the narrowest width: where the cache ends is no power of the width."""


def predict(c: Config) -> tuple[Prediction, ...]:
    name = table_of(c).name
    if c["depth"] < 2:
        raise ValueError(f"a network of depth {c['depth']} has no n × n weight, so its step costs O(n)")
    return tuple(
        Prediction(name, quantity, Kind.EXPONENT, 2.0, 3.0, tolerance=0.25, side=Side.AT_MOST, correction=NONE)
        for quantity in ("step-seconds", "peak-bytes")
    )


CLAIM = Claim(
    name="cost",
    statement="A training step of a network of width n takes O(n²) time and memory.",
    source="operation count of dense layers",
    rival="Time or memory grows like n³.",
    experiment="cost",
    sweeps={
        "smoke": sweep(("mup",), {512: 6, 768: 6, 1024: 6, 1536: 5, 2048: 5, 3072: 4, 4096: 3}, SETTINGS),
        "nightly": sweep(
            ("mup",),
            {512: 16, 768: 16, 1024: 16, 1536: 16, 2048: 12, 3072: 12, 4096: 8, 6144: 6, 8192: 4},
            SETTINGS,
        ),
        "full": sweep(
            ("mup",),
            {1024: 16, 1536: 16, 2048: 12, 3072: 12, 4096: 8, 6144: 8, 8192: 6, 12288: 4, 16384: 4},
            SETTINGS,
        ),
    },
    predict=predict,
    faults=(Fault("cubic-step", "every step also squares a hidden weight matrix", lambda c: {**c, "waste": "cubic"}),),
    figures=(Figure.COST,),
)
