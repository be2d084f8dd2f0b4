"""Wide word2vec under muP answers analogies as the infinite network does; in the kernel regime it learns nothing.

The accuracy on word analogies after every epoch approaches that of muP's limit, the width-V network started at the
identity (arXiv:2011.14522, section 6 and figure 2). In the kernel regime embeddings stand still, so the accuracy falls
to that of random vectors; NTP and SP with rate eta/n are the muP network at the base width, and lose what it knows as
they grow wider. ``accuracy-gap`` is 0 at the accuracy of muP's limit and 1 at that of the kernel limit.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table
from tpbench.claims.word2vec_config import SMALL_PLAN, stable_table, sweep
from tpbench.parametrization import Parametrization, Regime, Role, regime

TABLES = ("mup", "ntp", "sp-over-n")
PLANTED = {
    "plan": SMALL_PLAN,
    "tokens": 40_000,
    "window": 5,
    "negatives": 10,
    "subsample": 1e-2,
    "rate": 0.1,
    "base_width": 4,
    "epochs": 3,
    "record": [0, 1, 2, 3],
    "groups": ["country", "language"],
}
PACKAGED = {
    **PLANTED,
    "corpus": "packaged",
    "plan": {},
    "tokens": None,
    "rate": 0.05,
    "top": 3000,
    "asked": True,
    "window": 8,
    "negatives": 25,
    "subsample": 1e-4,
    "base_width": 16,
    "epochs": 4,
    "record": [0, 1, 2, 3, 4],
    "judged_from": 2,  # after one epoch the infinite network itself answers less than 1% of the questions
    "groups": ["cities", "states"],
    "block": 256,
}
SWEEPS = {
    "smoke": sweep(TABLES, {16: 4, 32: 4, 64: 4, 128: 4, 256: 4, 512: 4}, PLANTED),
    "nightly": sweep(TABLES, {64: 12, 128: 6, 256: 4, 512: 3, 1024: 3}, PACKAGED, block=4),
    "full": sweep(
        TABLES,
        {64: 4, 256: 4, 1024: 4, 4096: 4},
        {**PACKAGED, "corpus": "text8", "top": None, "asked": False, "epochs": 15, "record": [0, 1, 2, 5, 10, 15]},
        block=4,
    ),
}


def judged_epochs(c: Config) -> list[int]:
    """Return the recorded epochs after which something is claimed."""
    return [epoch for epoch in c["record"] if epoch >= c["judged_from"]]


def gap(table: Parametrization) -> float:
    """Return where a table's networks end as they grow wider, between muP's limit (0) and the kernel limit (1)."""
    return 0.0 if regime(table, 1) is Regime.FEATURE_LEARNING else 1.0


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    end = gap(table)
    return tuple(
        Prediction(table.name, "accuracy-gap", Kind.VALUE, end, 1 - end, tolerance=0.1, step=epoch)
        for epoch in judged_epochs(c)
    )


def slow_down(table: Parametrization, c: Config) -> Parametrization:
    """Raise the embedding's learning-rate exponent by one under muP; lower it by as much under a kernel table."""
    by = 1 if regime(table, 1) is Regime.FEATURE_LEARNING else -1
    return table.replacing(Role.INPUT, c=table.input.c + Fraction(by))


CLAIM = Claim(
    name="word2vec-analogies",
    statement="word2vec's accuracy on analogies approaches, epoch by epoch, that of muP's limit under muP, and that of "
    "random vectors in the kernel regime.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 6",
    rival="Networks of each regime end at the accuracy of the other.",
    experiment="word2vec-epochs",
    sweeps=SWEEPS,
    predict=predict,
    faults=(
        Fault("wrong-rate", "the embedding's learning rate carries a wrong power of n", replacing_table(slow_down)),
    ),
    figures=(Figure.EPOCHS,),
)
