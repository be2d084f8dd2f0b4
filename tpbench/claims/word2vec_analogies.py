"""Wide word2vec under muP answers analogies as the infinite network does; in the kernel regime it learns nothing.

The accuracy on word analogies after every epoch approaches that of muP's limit, the width-V network started at the
identity (arXiv:2011.14522, experiments with word2vec). In the kernel regime embeddings stand still, so the accuracy is
that of random vectors, 1/(V - 3): a question's own three words are no answers. ``accuracy-gap`` is 0 at the accuracy of
muP's limit and 1 at that chance. All networks and the limit follow one path of windows and negatives: the intervals are
over initialisations, and say nothing of other paths or texts.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table
from tpbench.claims.word2vec_config import SMALL_PLAN, features_of, sweep
from tpbench.parametrization import Parametrization, Role
from tpbench.parametrization.word2vec import learns_features

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
    "base_width": 1,
    "epochs": 4,
    "record": [0, 1, 2, 3, 4],
    "groups": ["cities", "states"],
}
FIRST_JUDGED = {"packaged": 2}
"""Corpus -> the first epoch whose accuracy is judged: after one epoch of the packaged text the infinite network itself
answers less than 1% of the questions, so that there is nothing to measure a gap by."""
SWEEPS = {
    "smoke": sweep(TABLES, {16: 4, 32: 4, 64: 4, 128: 3, 256: 3}, PLANTED),
    "nightly": sweep(TABLES, {64: 12, 128: 6, 256: 4, 512: 3, 1024: 3}, PACKAGED, block=4),
    "full": sweep(
        TABLES,
        {64: 4, 256: 4, 1024: 4, 4096: 4},
        {**PACKAGED, "corpus": "text8", "top": None, "asked": False, "epochs": 15, "record": [0, 1, 2, 5, 10, 15]},
        block=4,
    ),
}


def judged_epochs(c: Config) -> list[int]:
    """Return the recorded epochs after which something is claimed of the accuracy."""
    return [epoch for epoch in c["record"] if epoch >= FIRST_JUDGED.get(c["corpus"], 1)]


def predict(c: Config) -> tuple[Prediction, ...]:
    table, learns = features_of(c)
    end = 0.0 if learns else 1.0
    return tuple(
        Prediction(table.name, "accuracy-gap", Kind.VALUE, end, 1 - end, tolerance=0.1, step=epoch)
        for epoch in judged_epochs(c)
    )


def other_regime(table: Parametrization, c: Config) -> Parametrization:
    """Give the embedding of muP a kernel regime's learning rate, and that of a kernel regime muP's."""
    e = table.input
    learns = learns_features(table, zero_output=c["zero_output"])
    return table.replacing(Role.INPUT, c=e.c + 1 if learns else -1 - 2 * e.a)


CLAIM = Claim(
    name="word2vec-analogies",
    statement="word2vec's accuracy on analogies approaches, epoch by epoch, that of muP's limit under muP, and that of "
    "random vectors in the kernel regime.",
    source="Yang & Hu 2021, arXiv:2011.14522, experiments with word2vec",
    rival="Networks of each regime end at the accuracy of the other.",
    experiment="word2vec-epochs",
    sweeps=SWEEPS,
    predict=predict,
    faults=(
        Fault(
            "other-regime", "the embedding's learning rate is that of the other regime", replacing_table(other_regime)
        ),
    ),
    figures=(Figure.EPOCHS,),
)
