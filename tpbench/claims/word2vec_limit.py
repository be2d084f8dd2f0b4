"""word2vec converges, path by path, to the limit of its regime.

Under muP the limit is the network as wide as its vocabulary, started at the identity, along the same blocks and
negatives (arXiv:2011.14522, on linear networks); a finite network is a random sketch of it, so Gram matrix and logits
are off by n^(-1/2). In the kernel regime the Gram matrix stands still and logits follow a fixed kernel (derived in
``tpbench.networks.word2vec.kernel_limit``). Each regime's rival is the other's limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.word2vec_config import SMALL_PLAN, features_of, sweep
from tpbench.parametrization import Role, from_config

TABLES = ("mup", "ntp")
SETTINGS = {
    "plan": SMALL_PLAN,
    "tokens": 40_000,
    "window": 5,
    "negatives": 10,
    "subsample": 1e-2,
    "epochs": 2,
    "record": [5, 20],
    "test_blocks": 4,
}
# At rate 0.05 the sums over a block overshoot in skip-gram, whose positions make as many pairs as they have neighbours.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "random output": {"zero_output": False},
    "skip-gram": {"architecture": "skip-gram", "rate": 0.005},
}


def predict(c: Config) -> tuple[Prediction, ...]:
    name = features_of(c)[0].name
    found = []
    for step in c["record"]:
        for quantity in ("gram-error", "output-error", "loss-error"):
            found.append(Prediction(name, quantity, Kind.EXPONENT, -0.5, 0.0, tolerance=0.1, step=step))
        found.append(Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=step))
    return tuple(found)


def slow_read_out(c: Config) -> Config:
    """Raise the learning-rate exponent of the networks' read-out by one half, and leave their limit as it was."""
    table = from_config(c["parametrization"])
    slowed = table.replacing(Role.OUTPUT, c=table.output.c + Fraction(1, 2))
    return {**c, "parametrization": slowed.as_config(), "limit_parametrization": c["parametrization"]}


CLAIM = Claim(
    name="word2vec-limit",
    statement="On one path of batches, word2vec converges like n^(-1/2) to the identity network's training under muP, "
    "and to a fixed kernel's under NTP.",
    source="Yang & Hu 2021, arXiv:2011.14522, on linear networks; the kernel limit is derived here",
    rival="It converges to the other regime's limit.",
    experiment="word2vec-limit",
    sweeps={
        "smoke": sweep(TABLES, {32: 64, 64: 64, 128: 64, 256: 48, 512: 16}, SETTINGS, block=16),
        "nightly": sweep(TABLES, {64: 32, 128: 32, 256: 32, 512: 24, 1024: 16, 2048: 12}, SETTINGS, variants=VARIANTS),
        "full": sweep(
            TABLES,
            {64: 256, 128: 256, 256: 128, 512: 128, 1024: 64, 2048: 64, 4096: 32},
            SETTINGS,
            variants=VARIANTS,
            block=16,
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "wrong-limit", "the networks are compared with the other regime's limit", lambda c: {**c, "limit": "rival"}
        ),
        Fault("slow-read-out", "the read-out's learning rate carries an extra n^(-1/2)", slow_read_out),
    ),
    figures=(Figure.EXPONENTS, Figure.CONVERGENCE),
)
