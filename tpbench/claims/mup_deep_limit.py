"""muP of deep nonlinear networks converges to its infinite-width limit along the whole trajectory.

The limit of a network with two or more nonlinear hidden layers has no closed form: every step adds Gaussian vectors
that depend on all earlier ones (Yang & Hu 2021, arXiv:2011.14522, by the Master Theorem of Tensor Programs). It is
computed here by ``tpbench.limit``: the network's own forward and backward passes on scrambled Sobol' points, with a
standard error from independent scrambles. Networks scatter around it like n^(-1/2) and miss it on average by 1/n.

The rival takes the W of the forward and the Wᵀ of the backward pass for independent matrices. That is right at the
start and wrong from the first step on: the features' movement is correlated with the weights it came through.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tpbench.bench.claim import Claim, Config, Fault, Figure, Prediction
from tpbench.claims.config import sweep, table_of
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.trajectories import convergence
from tpbench.parametrization import Regime, Role, regime

SETTINGS: dict[str, Any] = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 8,
    "train": 6,
    "probes": 8,
    "learning_rate": 0.5,
    "steps": 5,
    "record": [1, 3, 5],
    "limit": "corrected",
    "rival": "forgetful",
}
TANH: dict[str, Any] = {"activation": "tanh", "sigma_w": 1.5, "learning_rate": 0.5}
RELU: dict[str, Any] = {"activation": "relu", "sigma_w": 2**0.5, "learning_rate": 0.25}
FEW: dict[str, dict[str, Any]] = {
    "tanh 2 digits": {**TANH, "depth": 2, "dataset": "digits"},
    "relu 3 gaussian": {**RELU, "depth": 3, "dataset": "gaussian"},
}
ALL: dict[str, dict[str, Any]] = {
    f"{name} {depth} {data}": {**settings, "depth": depth, "dataset": data}
    for name, settings in (("tanh", TANH), ("relu", RELU))
    for depth in (2, 3)
    for data in ("digits", "gaussian")
}
COARSE = {**SETTINGS, "limit_points": [2**11, 2**12], "limit_replicates": 32, "limit_error": 2e-3}
FINE = {**SETTINGS, "limit_points": [2**14, 2**16], "limit_replicates": 32, "limit_error": 3e-4}


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    if regime(table, c["depth"]) is not Regime.FEATURE_LEARNING:
        raise ValueError(f"{table.name!r} learns no features: its limit is a kernel's, see ntk-dynamics and sp-kernel")
    if c["depth"] < 2:
        raise ValueError("a network with one hidden layer has no width × width matrix, so nothing to forget")
    return convergence(table.name, c["record"])


def slow_down(c: Config) -> Config:
    """Raise the learning-rate exponent of the networks' hidden layers by one half, not that of the limit."""
    table = table_of(c)
    slow = table.replacing(Role.HIDDEN, c=table.of(Role.HIDDEN).c + Fraction(1, 2))
    return {**c, "parametrization": slow.as_config(), "limit_parametrization": c["parametrization"]}


CLAIM = Claim(
    name="mup-deep-limit",
    statement="Deep nonlinear muP networks follow their infinite-width limit, step by step.",
    source="Yang & Hu 2021, arXiv:2011.14522; conditioning as in Yang 2020, arXiv:2009.10685",
    rival="They follow the limit in which the forward W and the backward Wᵀ are independent.",
    experiment="deep-limit-trajectory",
    sweeps={
        "smoke": sweep(("mup",), {32: 512, 64: 256, 128: 128, 256: 64}, COARSE, variants=FEW),
        "nightly": sweep(
            ("mup",),
            {16: 32768, 32: 32768, 64: 32768, 128: 16384, 256: 2048},
            FINE,
            lazy={1024: 128, 4096: 64, 16384: 16},
            variants=ALL,
        ),
        "full": sweep(
            ("mup",),
            {16: 65536, 32: 65536, 64: 65536, 128: 32768, 256: 8192, 512: 2048},
            FINE,
            lazy={1024: 1024, 4096: 256, 16384: 64, 65536: 16},
            variants=ALL,
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "forgotten-transpose",
            "the limit takes W and Wᵀ for independent matrices",
            lambda c: {**c, "limit": c["rival"], "rival": c["limit"]},
        ),
        Fault(
            "wrong-rate-exponent",
            "the hidden layers' learning rate carries an extra n^(-1/2)",
            slow_down,
        ),
    ),
    figures=(Figure.TRAJECTORIES, Figure.CONVERGENCE),
    notes="The limit's own standard error is in the rows as limit-error, and no run counts where it exceeds the bound "
    "of the sweep, about the standard error of the networks' most accurate mean; the intervals do not contain it.",
)
