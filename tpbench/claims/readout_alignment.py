"""What the initial read-out makes of the features' change grows like sqrt(n) under SP with Adam's rates a layer.

A sign-like update moves the last features along ``sign(W_0^{L+1})``, coordinate by coordinate, so that all n terms of

    W_0^{L+1} Δx^L ~ n^(omega - (a + b)_{L+1} - r),   r = 0 the features' movement,

have one sign: omega = 1 (Yang & Littwin 2023, arXiv:2308.01814: Tensor Programs), which is n^(1/2) under SP and Θ(1) under
muP. Everett et al. 2024 (arXiv:2407.05872) argue that features do not align with the initial read-out (omega = 1/2), which
makes SP with these rates stable: n^0 there and n^(-1/2) under muP. That is the rival.

While dL/df stays what it was the alignment is full at every step. Cross-entropy answers outputs that grow: once
they are large, dL/df is large where they are wrong and nothing where they are right, and this comes sooner in wide
networks than in narrow ones. Under SP the first step is as without feedback; of later steps the theory does not give
an exponent at finite widths, where both phases mix. They are judged by a bound half-way between the two
readings: measured exponents come down from 1/2 as training goes on (0.36 to 0.50 in 20 steps, the least where rates
are large but not so large that all widths are saturated from the first step), and stay nearer to 1/2 than to 0.
Under muP outputs stay Θ(1), and so does everything else, at every step.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import replacing_table, rule_of, sweep, table_of
from tpbench.parametrization import READOUT_UNALIGNED, Family, Parametrization, Role, exponent

TABLES = ("sp-adam", "mup-adam")
SETTINGS = {
    "activation": "gelu",
    "sigma_w": 1.4,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "base_width": 64,
    "outputs": 10,
    "examples": 64,
    "train": 64,
    "batch": 16,
    "centred": True,
    "steps": 20,
    "record": [0, 1, 5, 20],
}
VARIANTS = {"fixed derivative": {"loss": "linear"}, "cross-entropy": {"loss": "cross-entropy"}}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, rule = table_of(c), rule_of(c)
    if rule.family is not Family.ADAM:
        raise ValueError(f"the claim is about sign-like optimizers, and this one is {rule.family}")
    return tuple(_at(table, c, step) for step in c["record"][1:])


def _at(table: Parametrization, c: Config, step: int) -> Prediction:
    depth, rule, first = c["depth"], rule_of(c), step == 1
    power, rival = (
        float(exponent(table, "initial-weight-on-change", depth=depth, first_step=first, rule=each))
        for each in (rule, replace(rule, alignment=READOUT_UNALIGNED))
    )
    found = Prediction(
        table.name, "initial-weight-on-change", Kind.EXPONENT, power, rival, tolerance=0.1, layer=depth + 1, step=step
    )
    grows = exponent(table, "output-change", depth=depth, first_step=first, rule=rule) > 0
    if first or c["loss"] == "linear" or not grows:
        return found
    return replace(found, predicted=(power + rival) / 2, side=Side.AT_LEAST)


def exchange_readouts(table: Parametrization, c: Config) -> Parametrization:
    """Give SP the smaller initial read-out of muP, and muP the larger one of SP."""
    e = table.output
    return table.replacing(Role.OUTPUT, b=Fraction(3, 2) - e.b - 2 * e.a)


CLAIM = Claim(
    name="readout-alignment",
    statement="Under Adam the features' change aligns with the initial read-out: it moves SP's output like n^(1/2).",
    source="Yang & Littwin 2023, arXiv:2308.01814, against Everett et al. 2024, arXiv:2407.05872",
    rival="They do not align: exponent 0 under SP, -1/2 under muP.",
    experiment="training",
    sweeps={
        "smoke": sweep(TABLES, {64: 12, 128: 8, 256: 4}, SETTINGS, variants=VARIANTS),
        "nightly": sweep(TABLES, {64: 96, 128: 64, 256: 32, 512: 16, 1024: 6}, SETTINGS, variants=VARIANTS),
        "full": sweep(
            TABLES, {64: 256, 128: 256, 256: 128, 512: 64, 1024: 64, 2048: 32, 4096: 16}, SETTINGS, variants=VARIANTS
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "exchanged-readouts",
            "the initial read-out has muP's size under SP, and SP's under muP",
            replacing_table(exchange_readouts),
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="Under cross-entropy SP's later steps are judged by a bound: feedback lowers the exponent, not down to 0.",
)
