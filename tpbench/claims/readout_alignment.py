"""The change of the features aligns fully with the initial read-out, at every step, whatever the loss.

A sign-like update moves the last features along ``sign(W_0^{L+1})``, coordinate by coordinate, so that all n terms of

    W_0^{L+1} Δx^L ~ n^(omega - (a + b)_{L+1} - s),   Δx^L ~ n^(-s),

have one sign: omega = 1 (Tensor Programs; Yang & Littwin 2023, arXiv:2308.01814), and with s = 0 the change passes on
n^(1/2) under SP and Θ(1) under muP. Everett et al. 2024 (arXiv:2407.05872) read practice as omega = 1/2, no alignment,
with which SP and these rates are stable: n^0, and n^(-1/2) under muP. That is the rival.

The alignment is judged by itself, as the cosine of Δx^L with the rows of ``W_0^{L+1}``, ~ n^(omega - 1): Θ(1) against
n^(-1/2). With it goes the size of ``W_0 Δx``, where s = 0 is sure: under a fixed dL/df at every step, under
cross-entropy at SP's first step and at every step of muP, whose output does not grow.

At later steps of SP under cross-entropy the size falls below n^(1/2), and not for want of alignment: the larger
outputs of wide networks fit sooner, so their features stop sooner. Its exponent in 20, 40 and 80 steps was 0.31 ±
0.02, 0.24 ± 0.02 and 0.21 ± 0.04, that of Δx^L -0.19, -0.26 and -0.29: omega = 1.00 at each. So a run that is tuned
by its loss sees a smaller exponent than 1/2, which full alignment explains as well.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.adam_exponents import bounded_table
from tpbench.claims.config import replacing_table, rule_of, sweep
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
BRIEF = {**SETTINGS, "steps": 5, "record": [0, 1, 5]}
VARIANTS = {"fixed derivative": {"loss": "linear"}, "cross-entropy": {"loss": "cross-entropy"}}


def predict(c: Config) -> tuple[Prediction, ...]:
    if rule_of(c).family is not Family.ADAM:
        raise ValueError(f"the claim is about sign-like optimizers, and this one is {rule_of(c).family}")
    return tuple(row for step in c["record"][1:] for row in _at(bounded_table(c), c, step))


def _at(table: Parametrization, c: Config, step: int) -> list[Prediction]:
    depth, rule, first = c["depth"], rule_of(c), step == 1
    both = (rule, replace(rule, alignment=READOUT_UNALIGNED))
    quantities = {"readout-alignment": [float(each.alignment.initial(Role.OUTPUT)) - 1 for each in both]}
    grows = exponent(table, "output-change", depth=depth, first_step=first, rule=rule) > 0
    if first or c["loss"] == "linear" or not grows:
        name = "initial-weight-on-change"
        quantities[name] = [float(exponent(table, name, depth=depth, first_step=first, rule=each)) for each in both]
    return [
        Prediction(table.name, quantity, Kind.EXPONENT, power, rival, tolerance=0.1, layer=depth + 1, step=step)
        for quantity, (power, rival) in quantities.items()
    ]


def exchange_readouts(table: Parametrization, c: Config) -> Parametrization:
    """Give SP the smaller initial read-out of muP, and muP the larger one of SP."""
    e = table.output
    return table.replacing(Role.OUTPUT, b=Fraction(3, 2) - e.b - 2 * e.a)


CLAIM = Claim(
    name="readout-alignment",
    statement="Under Adam the change of features aligns fully with the initial read-out, in the first 20 steps.",
    source="Yang & Littwin 2023, arXiv:2308.01814, against Everett et al. 2024, arXiv:2407.05872",
    rival="They do not align: their cosine falls like n^(-1/2), and W_0 Δx is smaller by as much.",
    experiment="alignment",
    sweeps={
        "smoke": sweep(TABLES, {32: 192, 64: 128, 128: 64, 256: 24, 512: 6}, BRIEF, variants=VARIANTS),
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
    notes="20 steps on digits: of long training of large models, of which the rival speaks, it says nothing. Under "
    "cross-entropy wide SP networks fit sooner, so that their later W_0 Δx falls below n^(1/2), as aligned as before: "
    "its size is not judged there.",
)
