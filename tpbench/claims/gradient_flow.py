"""Networks trained with many small steps follow the differential equation of the kernel regime, each from its own f_0.

``df/dt = -Θ(·, X) ∂L/∂f(X)`` (Jacot et al. 2018, arXiv:1806.07572; Lee et al. 2019, arXiv:1902.06720), in three
variants:

* *squared error*: ``f_t = f_0 + Θ(·, X) Θ(X, X)^(-1) (1 - e^(-Θ(X, X) t/N)) (y - f_0(X))`` at t = rate · steps; the
  rival takes two large steps instead.
* *cross-entropy*: the equation has no closed form and is integrated to ten digits; the rival is squared error towards
  the same probabilities.
* *momentum*: SGD whose momentum is near 1 is a ball with inertia, ``d²f/dt² + γ df/dt = -Θ(·, X) ∂L/∂f(X)`` (Polyak
  1964), a damped oscillator in every mode. With h the time of a step, γ = 2 (1 - μ)/((1 + μ) h) and the rate is
  h² (1 + μ)/2; the rival says that momentum only multiplies the rate by 1/(1 - μ).

Networks approach it with a spread of n^(-1/2). Their own rivals are far away, so the shares of these would not show a
flow of slightly the wrong speed; ``progress-ratio``, how far the networks have come over how far the flow has, does, at
the first step recorded: later both near the targets. Its rival is the kernel without the first layer's term. What the
finite steps themselves are off by (about 0.005 and less, in outputs of size 1; 1% of the progress) is far below that at
every width that is trained.
"""

from __future__ import annotations

from collections.abc import Mapping

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import sweep
from tpbench.claims.ntk_dynamics import kernel_shares

SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 12,
    "train": 8,
    "probes": 4,
    "outputs": 10,
    "steps": 64,
    "record": [8, 32, 64],
    "shares": [1, 1, 1],
    "rival_shares": [0, 1, 1],
    "limit": "flow",
    "rival": "few-steps",
}
VARIANTS: Mapping[str, Config] = {
    "squared error": {"learning_rate": 0.03125},
    "cross-entropy": {"loss": "cross-entropy", "learning_rate": 0.2, "rival": "squared-error"},
    "momentum": {
        "learning_rate": 0.0086,
        "momentum": 0.95,
        "limit": "heavy-ball",
        "rival": "effective-rate",
        "record": [16, 48],  # where the two differ most: they cross in between
    },
}
TABLES = ("ntp",)
WITHOUT_FIRST_LAYER = 0.7
"""What the flow of the kernel without the first layer's term progresses at most, over what the whole kernel's does."""


def predict(c: Config) -> tuple[Prediction, ...]:
    name = c["parametrization"]["name"]
    if kernel_shares(c) != [1] * (c["depth"] + 1):
        raise ValueError(f"the kernel of {name!r} lacks a layer's term, so its flow is not that of the NTK")
    first, other = min(c["record"]), WITHOUT_FIRST_LAYER
    found = [Prediction(name, "progress-ratio", Kind.VALUE, 1.0, other, tolerance=0.05, step=first)]
    for step in c["record"]:
        found.append(Prediction(name, "output-error", Kind.SPREAD, -0.5, 0.0, tolerance=0.1, step=step))
        found.append(Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=step))
    return tuple(found)


CLAIM = Claim(
    name="gradient-flow",
    statement="Many small steps follow the kernel's gradient flow: squared error, cross-entropy, and with momentum.",
    source="Jacot et al. 2018, arXiv:1806.07572; Lee et al. 2019, arXiv:1902.06720",
    rival="Two large steps do as well; the loss makes no difference; momentum only speeds up.",
    experiment="gradient-flow",
    sweeps={
        "smoke": sweep(TABLES, {32: 64, 64: 40, 128: 24, 256: 8}, SETTINGS, variants=VARIANTS),
        "nightly": sweep(TABLES, {128: 384, 256: 160, 512: 56, 1024: 16}, SETTINGS, variants=VARIANTS),
        "full": sweep(TABLES, {128: 2048, 256: 1024, 512: 512, 1024: 256}, SETTINGS, variants=VARIANTS),
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
            "the networks train with twice the learning rate of the flow",
            lambda c: {**c, "shares": [0.5 * share for share in c["shares"]]},
        ),
        Fault(
            "kernel-too-large",
            "the limit's kernel is a fifth too large",
            lambda c: {**c, "shares": [1.2 * share for share in c["shares"]]},
        ),
        Fault(
            "exchanged-flows",
            "the flow is the rival's",
            lambda c: {**c, "limit": c["rival"], "rival": c["limit"]},
        ),
    ),
    figures=(Figure.TRAJECTORIES, Figure.CONVERGENCE),
    notes="The trajectories are drawn without the part that each network's own f_0 contributes to its limit. The "
    "progress ratio is the component of the networks' change f_t - f_0 along the flow's, over the flow's length: 1 "
    "where networks go at the flow's speed, judged at the first step recorded, since later both are near the targets.",
)
