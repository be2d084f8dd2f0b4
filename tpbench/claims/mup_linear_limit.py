"""muP of a linear network with one hidden layer converges to its exact limit along the whole trajectory.

The limit is a network of width d_in + d_out started at the identity blocks (arXiv:2011.14522; see
``tpbench.limits.mup``), here with minibatches, momentum and weight decay. The rival is kernel descent by the kernel at
initialisation, as if muP too were a kernel machine; its first step is nearly right. Mean-field scaling is muP in
another gauge and converges to the same limit.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Prediction
from tpbench.claims.config import replacing_table, sweep
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.trajectories import convergence
from tpbench.parametrization import Parametrization, Role

TABLES = ("mup", "mean-field")
SETTINGS = {
    "activation": "identity",
    "depth": 1,
    "examples": 12,
    "train": 8,
    "probes": 8,
    "learning_rate": 1.0,
    "momentum": 0.5,
    "weight_decay": 0.01,
    "batch": 4,
    "steps": 12,
    "record": [3, 6, 12],
    "limit": "mup",
    "rival": "kernel",
}
SMOKE = {16: 2048, 32: 2048, 64: 1024, 128: 512, 256: 128, 512: 32}
NIGHTLY = {16: 16384, 32: 8192, 64: 8192, 128: 4096, 256: 2048, 512: 512, 1024: 256, 2048: 64}
FULL = {16: 32768, 32: 16384, 64: 16384, 128: 8192, 256: 4096, 512: 2048, 1024: 512, 2048: 256, 4096: 128}


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    first, out = table.input, table.output
    if not (2 * first.a + first.c == -1 and out.a + out.b == 1 and 2 * out.a + out.c == 1):
        raise ValueError(f"{table.name!r} is not muP in another gauge, so this limit is not its limit")
    return convergence(table.name, c["record"])


def slow_down(table: Parametrization, c: Config) -> Parametrization:
    """Raise the learning-rate exponent of the first layer by one half."""
    return table.replacing(Role.INPUT, c=table.input.c + Fraction(1, 2))


CLAIM = Claim(
    name="mup-linear-limit",
    statement="A linear network with one hidden layer under muP follows its exact infinite-width limit.",
    source="Yang & Hu 2021, arXiv:2011.14522, the limit of linear networks with one hidden layer",
    rival="It follows gradient descent by its kernel at initialisation (without weight decay).",
    experiment="linear-mup-trajectory",
    sweeps={
        "smoke": sweep(TABLES, SMOKE, SETTINGS),
        "nightly": sweep(TABLES, NIGHTLY, SETTINGS),
        "full": sweep(TABLES, FULL, SETTINGS),
    },
    predict=predict,
    faults=(
        Fault(
            "kernel-limit",
            "the limit is kernel descent on the kernel at the start",
            lambda c: {**c, "limit": c["rival"], "rival": c["limit"]},
        ),
        Fault("frozen-features", "the limit forgets that the first layer moves", lambda c: {**c, "limit": "frozen"}),
        Fault(
            "wrong-rate-exponent",
            "the first layer's learning rate carries an extra n^(-1/2)",
            replacing_table(slow_down),
        ),
    ),
    figures=(Figure.TRAJECTORIES, Figure.CONVERGENCE),
)
