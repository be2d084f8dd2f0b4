"""A training step costs O(n²) time, and memory that grows like n².

Of the matrix products of an SGD step on a batch of B, the hidden layers' 6 B n² operations outgrow all others, and so
do their n² weights in memory. Time is a bound: small products run below the machine's full rate, so its exponent comes
from below. Memory is an equality, judged where n² leads: the vectors' numbers are about 970 n at B = 128, so from
width 1024 on, with the correction 1 + c/n that such a term asks for. The planted fault squares a weight matrix in
every step: O(n³) time.
"""

from __future__ import annotations

import math

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import sweep, table_of

SETTINGS = {"examples": 128, "train": 128, "outputs": 10, "sigma_w": 2**0.5, "steps": 6, "record": [6], "waste": "none"}

SQUARE_LEADS = 1024
NO_CORRECTION = math.inf
"""No finite-width correction but at the narrowest width: where the cache ends is no power of the width."""


def predict(c: Config) -> tuple[Prediction, ...]:
    name = table_of(c).name
    if c["depth"] < 2:
        raise ValueError(f"a network of depth {c['depth']} has no n × n weight, so its step costs O(n)")
    return (
        Prediction(
            name, "step-seconds", Kind.EXPONENT, 2.0, 3.0, tolerance=0.25, side=Side.AT_MOST, correction=NO_CORRECTION
        ),
        Prediction(name, "peak-bytes", Kind.EXPONENT, 2.0, 1.0, tolerance=0.1, from_width=SQUARE_LEADS),
    )


CLAIM = Claim(
    name="cost",
    statement="A training step of a network of width n takes O(n²) time, and memory that grows like n².",
    source="operation count of dense layers",
    rival="Time grows like n³, or memory like n.",
    experiment="cost",
    sweeps={
        "smoke": sweep(("mup",), {512: 4, 768: 4, 1024: 4, 1536: 3, 2048: 3, 3072: 2}, SETTINGS),
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
