"""Under muP, wider word2vec is better at every epoch of training.

At fixed hyperparameters a wider muP network has no larger loss and no lower accuracy at any time of training (Yang et
al. 2022, arXiv:2203.03466; for word2vec arXiv:2011.14522). What is judged is the largest step back
from one width to the next wider one, of the loss and of the accuracy as a share of the way from the kernel limit's to
muP's limit's. In the kernel regime accuracy is lost with width, which is the planted fault.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.word2vec_analogies import SWEEPS, judged_epochs
from tpbench.claims.word2vec_config import features_of, only
from tpbench.parametrization import Role, from_config

STEP_BACK = {"accuracy-gap": 0.05, "loss": 0.01}
"""Quantity that should not rise with width -> tolerance: shares of the way to the kernel limit, nats a pair."""
RIVALS = 5
"""The rival takes a step back of so many tolerances."""


def predict(c: Config) -> tuple[Prediction, ...]:
    table, learns = features_of(c)
    if not learns:
        raise ValueError(f"{table.name!r} is in the kernel regime, where wider networks learn fewer features")
    judged = {"accuracy-gap": judged_epochs(c), "loss": [epoch for epoch in c["record"] if epoch > 0]}
    return tuple(
        Prediction(table.name, quantity, Kind.RISE, 0.0, RIVALS * most, most, step=epoch, side=Side.AT_MOST)
        for quantity, most in STEP_BACK.items()
        for epoch in judged[quantity]
    )


def slow_embedding(c: Config) -> Config:
    """Raise the embedding's learning-rate exponent by one, and keep its rate at width 64: wider networks know less."""
    table = from_config(c["parametrization"])
    slowed = table.replacing(Role.INPUT, c=table.input.c + 1)
    return {**c, "parametrization": slowed.as_config(), "base_width": 64}


CLAIM = Claim(
    name="word2vec-wider-is-better",
    statement="Under muP a wider word2vec has no larger loss and no lower accuracy at any epoch.",
    source="Yang et al. 2022, arXiv:2203.03466; Yang & Hu 2021, arXiv:2011.14522",
    rival="A wider network loses a quarter of what the infinite one knows, or 0.05 nats a pair.",
    experiment="word2vec-epochs",
    sweeps={profile: only(sweep, ("mup",)) for profile, sweep in SWEEPS.items()},
    predict=predict,
    faults=(Fault("slow-embedding", "the embedding's learning rate carries an extra 1/n", slow_embedding),),
    figures=(Figure.EPOCHS,),
)
