"""At infinite width training on squared error converges exactly below the learning rate 2/λ_max of the NTK.

Full-batch gradient descent multiplies the residual along the top eigenvector of Θ(X, X)/N by ``1 - eta λ_max`` in
every step: at c · 2/λ_max by 1 - 2c, a growth of 2c - 1 with alternating signs (Lee et al. 2019, arXiv:1902.06720,
whose theorems ask for rates below 2/(λ_min + λ_max)). Momentum μ moves the edge to 2 (1 + μ)/λ_max (Polyak 1964).
A network of width n has the edge of its own kernel, which scatters by n^(-1/2). Above it, up to 4/λ_max, finite
networks may yet converge, by bending their kernel: the catapult of Lewkowycz et al. 2020 (arXiv:2003.02218), which
takes O(log n) steps and so is beyond every fixed number of steps at infinite width; its threshold is the rival.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import sweep
from tpbench.claims.ntk_dynamics import kernel_shares

SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 8,
    "train": 8,
    "centred": True,
    "steps": 4,
    "record": [4],
    "edge_rates": [0.9, 1.0, 1.1],
    "shares": [1, 1, 1],
    "rival_shares": [0, 1, 1],
}
VARIANTS = {"": {}, "momentum": {"momentum": 0.2}}
TABLES = ("ntp",)


def predict(c: Config) -> tuple[Prediction, ...]:
    name, step = c["parametrization"]["name"], c["steps"]
    if kernel_shares(c) != [1] * (c["depth"] + 1):
        raise ValueError(f"the kernel of {name!r} lacks a layer's term, so its edge is not that of the NTK")
    found = [
        Prediction(name, "critical-rate", Kind.VALUE, 1.0, 2.0, tolerance=0.05, step=step),
        Prediction(name, "critical-rate", Kind.SPREAD, -0.5, 0.0, tolerance=0.1, step=step),
    ]
    if c["momentum"]:  # its growth near the edge is a mixture of two modes of a step
        return tuple(found)
    for quantity, rate in (("growth-below-edge", c["edge_rates"][0]), ("growth-above-edge", c["edge_rates"][-1])):
        found.append(Prediction(name, quantity, Kind.VALUE, 2 * rate - 1, 1.0, tolerance=0.05, step=step))
    return tuple(found)


CLAIM = Claim(
    name="edge-of-stability-at-infinity",
    statement="At infinite width training diverges exactly above the rate 2/λ_max, or 2(1 + μ)/λ_max with momentum.",
    source="Lee et al. 2019, arXiv:1902.06720; Lewkowycz et al. 2020, arXiv:2003.02218",
    rival="The edge is at 4/λ_max, where finite networks stop catapulting.",
    experiment="edge-of-stability",
    sweeps={
        "smoke": sweep(TABLES, {128: 128, 256: 48}, SETTINGS, lazy={1024: 12, 4096: 3}, variants=VARIANTS),
        "nightly": sweep(TABLES, {256: 512}, SETTINGS, lazy={2**10: 192, 2**12: 48, 2**14: 12}, variants=VARIANTS),
        "full": sweep(TABLES, {256: 4096}, SETTINGS, lazy={2**11: 512, 2**14: 128, 2**17: 16}, variants=VARIANTS),
    },
    predict=predict,
    faults=(
        Fault(
            "missing-layer",
            "the kernel whose edge it is lacks the first layer's term",
            lambda c: {**c, "shares": c["rival_shares"]},
        ),
        Fault(
            "twice-the-edge",
            "the networks train at rates about 4/λ_max",
            lambda c: {**c, "shares": [0.5 * share for share in c["shares"]]},
        ),
        Fault(
            "summed-batch",
            "the edge is that of a loss summed over the batch",
            lambda c: {**c, "shares": [c["train"] * share for share in c["shares"]]},
        ),
    ),
    figures=(Figure.RESIDUALS, Figure.CONVERGENCE),
    notes="The residuals are those of the output along the kernel's top eigenvector, whose target is 1: a step "
    "multiplies them by 0.8, 1 and 1.2 at infinite width, and with momentum by a mixture of two such factors.",
    outputs=("0.9 of the edge", "at the edge", "1.1 of the edge"),
)
