"""An epsilon that does not know the width ends Adam's learning; one that scales like the gradient keeps it.

Adam divides the gradient by its size plus epsilon. Under muP the entries of the gradient of w fall with the
width, like ``n^(-a) (dL/dh) x``:

    n^(-1/2) in the input layer,   n^(-1) in hidden layers,   n^(-1/2) in the read-out,

so a constant epsilon is larger than the gradient in wide networks, which then move by gradient/epsilon: ΔW x falls
with those exponents instead of keeping its size. With ``epsilon ~ n^(-e)``, where the gradient is ~ n^(-e), their ratio
is the same at every width, and so is the movement (Everett et al. 2024, arXiv:2407.05872; on an epsilon too large for
large models: Wortsman et al. 2023, arXiv:2309.14322).

Epsilon is far above the gradient at all widths that are measured: at the widths where it takes over two laws mix. That
is the other end of the practical case, where epsilon is 1e-8 and takes over at some large width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.adam_exponents import bounded_table
from tpbench.claims.config import rule_of, sweep
from tpbench.parametrization import Family, Role, exponent

TABLES = ("mup-adam",)
GRADIENT = {"input": "1/2", "hidden": "1", "output": "1/2"}
"""Role -> how muP's gradients fall: checked against the theory in the tests."""
SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.4,
    "optimizer": "adam",
    "learning_rate": 1.0,
    "epsilon": 3.0,
    "base_width": 64,
    "loss": "linear",
    "batch": 8,
    "steps": 5,
    "record": [0, 1, 5],
}
VARIANTS: Mapping[str, Config] = {
    "constant epsilon": {"epsilon_powers": {}},
    "scaled epsilon": {"epsilon_powers": GRADIENT},
}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = bounded_table(c), c["depth"], rule_of(c)
    if rule.family is not Family.ADAM or rule.epsilon is None:
        raise ValueError("the claim is about Adam with an epsilon that the configuration names")
    constant = dict.fromkeys(Role, Fraction(0))
    found = []
    for step in c["record"][1:]:
        for layer in range(1, depth + 2):
            power, without, falling = (
                float(
                    exponent(
                        table,
                        "weight-update",
                        depth=depth,
                        layer=layer,
                        first_step=step == 1,
                        rule=replace(rule, epsilon=epsilon),
                    )
                )
                for epsilon in (rule.epsilon, None, constant)
            )
            rival = next((each for each in (without, falling) if each != power), power - 0.5)
            found.append(Prediction(table.name, "weight-update", Kind.EXPONENT, power, rival, 0.15, layer, step))
    return tuple(found)


def exchange(c: Config) -> Config:
    """Return the configuration with a constant epsilon where it was scaled, and a scaled one where it was constant."""
    return {**c, "epsilon_powers": {} if c["epsilon_powers"] else GRADIENT}


CLAIM = Claim(
    name="adam-epsilon",
    statement="Where Adam's epsilon dominates, updates fall with the width unless epsilon scales like the gradient.",
    source="Everett et al. 2024, arXiv:2407.05872; Wortsman et al. 2023, arXiv:2309.14322; exponents derived",
    rival="Adam forgets the gradient's size, so epsilon makes no difference; or scaling it does not help.",
    experiment="training",
    sweeps={
        "smoke": sweep(TABLES, {64: 16, 128: 12, 256: 8, 512: 4}, SETTINGS, variants=VARIANTS),
        "nightly": sweep(TABLES, {64: 128, 128: 128, 256: 64, 512: 32, 1024: 12}, SETTINGS, variants=VARIANTS),
        "full": sweep(
            TABLES, {64: 256, 128: 256, 256: 128, 512: 64, 1024: 64, 2048: 32, 4096: 16}, SETTINGS, variants=VARIANTS
        ),
    },
    predict=predict,
    faults=(
        Fault("exchanged-epsilon", "epsilon is constant where it should be scaled, and scaled where not", exchange),
    ),
    figures=(Figure.EXPONENTS,),
    notes="Epsilon is above the gradient at every width that is measured, so that one law holds at all of them.",
)
