"""Under Adam every layer has its own learning-rate exponent, and with it its own update keeps its size.

Adam's update of an entry has the size of the learning rate, ``n^(-a-c)`` in ``W``, whatever the gradient is. Where
it agrees in sign with what comes in, which is *full alignment*, the product with the layer's input grows by n in
hidden layers and in the read-out, and not at all in the first layer:

    ΔW^l x ~ n^(-r_l),   r_1 = a_1 + c_1,   r_l = a_l + c_l - 1  (l >= 2).

So r_l = 0 for c = (0, 1, 1) in the input, hidden and output layers of SP, (0, 1/2, 1/2) of NTP, (1/2, 1, 1/2) of muP
and (0, 1/2, 0) of mean field (Everett et al. 2024, arXiv:2407.05872; Yang & Littwin 2023, arXiv:2308.01814). *Without
alignment* (alpha = 1/2) the product grows by sqrt(n) only, these rates are too small by that, and ΔW^l x falls like
n^(-1/2): the other reading, and the rival. The first layer has no inner product over the width, so alignment says
nothing of it; its rival is a rate that is too small by sqrt(n).

Judged on ΔW x alone: pre-activations mix it with what the initial weights make of changes below. The derivative of the
loss by the output is held fixed, since SP, NTP and mean field differ in what their read-out makes of the
features' change (claim ``readout-alignment``), and that must not come back as a feedback.
"""

from __future__ import annotations

from dataclasses import replace

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, rule_of, sweep, table_of
from tpbench.parametrization import NO_ALIGNMENT, Family, Parametrization, exponent, least_movement, with_maximal_rates

TABLES = ("sp-adam", "ntp-adam", "mup-adam", "mean-field-adam")
SETTINGS = {
    "activation": "gelu",
    "sigma_w": 1.4,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "base_width": 64,
    "loss": "linear",
    "batch": 8,
    "steps": 5,
    "record": [0, 1, 5],
}


def bounded_table(c: Config) -> Parametrization:
    """Return the table of a configuration; ``ValueError`` when its optimizer makes features blow up.

    What the read-out makes of them may grow: that is what these claims dispute.
    """
    table, rule = table_of(c), rule_of(c)
    slowest = least_movement(table, c["depth"], rule=rule)
    if slowest < 0:
        raise ValueError(
            f"features grow like n^({-slowest}) under {table.name!r} and {rule.family}, so no exponent is left to "
            "judge: take the rates of this optimizer (mup-adam, sp-adam, …)"
        )
    return table


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth, rule = bounded_table(c), c["depth"], rule_of(c)
    if rule.family is not Family.ADAM:
        raise ValueError(f"the claim is about sign-like optimizers, and this one is {rule.family}")
    unaligned = replace(rule, alignment=NO_ALIGNMENT)
    found = []
    for step in c["record"][1:]:
        for layer in range(1, depth + 2):
            power, rival = (
                float(exponent(table, "weight-update", depth=depth, layer=layer, first_step=step == 1, rule=each))
                for each in (rule, unaligned)
            )
            other = power - 0.5 if rival == power else rival
            found.append(Prediction(table.name, "weight-update", Kind.EXPONENT, power, other, 0.15, layer, step))
    return tuple(found)


def rates_without_alignment(table: Parametrization, c: Config) -> Parametrization:
    """Give every layer the largest rate that would be stable if updates did not align with their inputs."""
    return with_maximal_rates(table, c["depth"], replace(rule_of(c), alignment=NO_ALIGNMENT))


CLAIM = Claim(
    name="adam-exponents",
    statement="Under Adam with the rates of full alignment every layer's own update keeps its size at every width.",
    source="Everett et al. 2024, arXiv:2407.05872; Yang & Littwin 2023, arXiv:2308.01814",
    rival="Updates do not align with their inputs: with these rates they vanish like n^(-1/2).",
    experiment="training",
    sweeps={
        "smoke": sweep(TABLES, {64: 16, 128: 12, 256: 8, 512: 4}, SETTINGS),
        "nightly": sweep(TABLES, {64: 128, 128: 128, 256: 64, 512: 32, 1024: 12}, SETTINGS),
        "full": sweep(TABLES, {64: 256, 128: 256, 256: 128, 512: 64, 1024: 64, 2048: 32, 4096: 16}, SETTINGS),
    },
    predict=predict,
    faults=(
        Fault(
            "unaligned-rates",
            "hidden and output layers get the larger rates that would be right without alignment",
            replacing_table(rates_without_alignment),
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="Updates align fully with their inputs from the first step on.",
)
