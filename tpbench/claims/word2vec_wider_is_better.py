"""Under muP, wider word2vec is better at every epoch of training.

At fixed hyperparameters a wider muP network has no larger loss and no lower accuracy at any time of training (Yang et
al. 2022, arXiv:2203.03466, section 8; for word2vec arXiv:2011.14522, figure 2). What is judged is the largest step back
from one width to the next wider one, of the loss and of the accuracy as a share of the way from the kernel limit's to
muP's limit's. In the kernel regime accuracy is lost with width, which is the planted fault.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import replacing_table
from tpbench.claims.word2vec_analogies import SWEEPS, judged_epochs
from tpbench.claims.word2vec_config import only, stable_table
from tpbench.parametrization import Parametrization, Regime, Role, regime

STEPS_BACK = (("accuracy-gap", 0.1, 0.5), ("loss", 0.01, 0.05))
"""Quantity that should not rise with width, tolerance and rival: shares of the way to the kernel limit, nats a pair."""


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    if regime(table, 1) is not Regime.FEATURE_LEARNING:
        raise ValueError(f"{table.name!r} is in the kernel regime, where wider networks learn fewer features")
    return tuple(
        Prediction(table.name, quantity, Kind.RISE, 0.0, rival, tolerance, step=epoch, side=Side.AT_MOST)
        for epoch in judged_epochs(c)
        for quantity, tolerance, rival in STEPS_BACK
    )


def slow_down(table: Parametrization, c: Config) -> Parametrization:
    """Raise the embedding's learning-rate exponent by one: the kernel regime."""
    return table.replacing(Role.INPUT, c=table.input.c + Fraction(1))


CLAIM = Claim(
    name="word2vec-wider-is-better",
    statement="Under muP a wider word2vec has no larger loss and no lower accuracy at any epoch.",
    source="Yang et al. 2022, arXiv:2203.03466, section 8; Yang & Hu 2021, arXiv:2011.14522, section 6",
    rival="A wider network loses half of what the infinite one knows, or 0.05 nats a pair.",
    experiment="word2vec-epochs",
    sweeps={profile: only(sweep, ("mup",)) for profile, sweep in SWEEPS.items()},
    predict=predict,
    faults=(Fault("slow-embedding", "the embedding's learning rate carries an extra 1/n", replacing_table(slow_down)),),
    figures=(Figure.EPOCHS,),
)
