"""Under NTP the trained function is kernel gradient descent with the NTK, step by step.

``f_{t+1}(x) = f_t(x) - eta Σ_i Θ(x, x_i) ∂L/∂f(x_i)`` from each network's own f_0, in discrete steps at the same
learning rate (Jacot et al. 2018, arXiv:1806.07572, theorem 2; Lee et al. 2019, arXiv:1902.06720, theorem 2.1).
The error has spread n^(-1/2) and bias 1/n. The rival kernel lacks the first layer's term.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Prediction
from tpbench.claims.config import sweep
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.trajectories import convergence
from tpbench.parametrization import Regime, kernel_content, least_movement, regime

SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 12,
    "train": 8,
    "probes": 8,
    "steps": 10,
    "record": [1, 3, 10],
    "shares": [1, 1, 1],
    "rival_shares": [0, 1, 1],
}
SMOKE = {16: 2048, 32: 2048, 64: 1024, 128: 512, 256: 128, 512: 32}
NIGHTLY = {16: 16384, 32: 16384, 64: 16384, 128: 8192, 256: 4096, 512: 512, 1024: 64}
FULL = {16: 32768, 32: 32768, 64: 32768, 128: 16384, 256: 8192, 512: 2048, 1024: 512, 2048: 64}


def kernel_shares(c: Config) -> list[int]:
    """Return which layers' terms the limiting kernel of the configuration's table has, as 1 and 0."""
    table = stable_table(c)
    if regime(table, c["depth"]) is not Regime.KERNEL:
        raise ValueError(f"{table.name!r} learns features or nothing at all, so its limit is no kernel")
    if (movement := least_movement(table, c["depth"])) != Fraction(1, 2):
        raise ValueError(
            f"features of {table.name!r} move by n^(-{movement}), and the rates of this claim are those of n^(-1/2)"
        )
    return [int(power == 0) for power in kernel_content(table, c["depth"])]


def predict(c: Config) -> tuple[Prediction, ...]:
    if kernel_shares(c) != [1] * (c["depth"] + 1):
        raise ValueError(f"the kernel of {c['parametrization']['name']!r} lacks a layer's term: see claim sp-kernel")
    return convergence(c["parametrization"]["name"], c["record"])


CLAIM = Claim(
    name="ntk-dynamics",
    statement="Under NTP, training is kernel gradient descent with the NTK, at every step.",
    source="Jacot et al. 2018, arXiv:1806.07572, theorem 2; Lee et al. 2019, arXiv:1902.06720, theorem 2.1",
    rival="The kernel lacks the first layer's term.",
    experiment="kernel-trajectory",
    sweeps={
        "smoke": sweep(("ntp",), SMOKE, SETTINGS),
        "nightly": sweep(("ntp",), NIGHTLY, SETTINGS),
        "full": sweep(("ntp",), FULL, SETTINGS),
    },
    predict=predict,
    faults=(
        Fault(
            "missing-layer",
            "the limit's kernel lacks the first layer's term",
            lambda c: {**c, "shares": c["rival_shares"], "rival_shares": c["shares"]},
        ),
        Fault(
            "missing-batch-average",
            "the networks train with twice the learning rate of the limit",
            lambda c: {**c, "shares": [0.5 * share for share in c["shares"]]},
        ),
    ),
    figures=(Figure.TRAJECTORIES, Figure.CONVERGENCE),
    notes="The trajectories are drawn without the part that each network's own f_0 contributes to its limit.",
)
