"""A training step costs O(n²) time and memory.

Of the matrix products of an SGD step on a batch of B, the hidden layers' 6 B n² operations outgrow all others, and
so do their n² weights in memory. Time is a bound: small products run below the machine's full rate, so the fitted
exponent comes from below. The planted fault squares a weight matrix in every step: O(n³).
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import sweep, table_of

SETTINGS = {"examples": 32, "train": 32, "outputs": 10, "sigma_w": 2**0.5, "steps": 6, "record": [6], "waste": "none"}


def predict(c: Config) -> tuple[Prediction, ...]:
    name = table_of(c).name
    if c["depth"] < 2:
        raise ValueError(f"a network of depth {c['depth']} has no n × n weight, so its step costs O(n)")
    return (
        Prediction(name, "step-seconds", Kind.EXPONENT, 2.0, 3.0, tolerance=0.25, side=Side.AT_MOST),
        Prediction(name, "peak-bytes", Kind.EXPONENT, 2.0, 1.0, tolerance=0.1),
    )


CLAIM = Claim(
    name="cost",
    statement="A training step of a network of width n takes O(n²) time, and memory that grows like n².",
    source="operation count of dense layers",
    rival="Time grows like n³, or memory like n.",
    experiment="cost",
    sweeps={
        "smoke": sweep(("mup",), {256: 6, 512: 6, 1024: 6, 2048: 5, 4096: 3}, SETTINGS),
        "nightly": sweep(("mup",), {256: 12, 512: 12, 1024: 12, 2048: 10, 4096: 8, 8192: 4}, SETTINGS),
        "full": sweep(("mup",), {512: 12, 1024: 12, 2048: 10, 4096: 8, 8192: 6, 16384: 4}, SETTINGS),
    },
    predict=predict,
    faults=(Fault("cubic-step", "every step also squares a hidden weight matrix", lambda c: {**c, "waste": "cubic"}),),
    figures=(Figure.COST,),
)
