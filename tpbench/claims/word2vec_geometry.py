"""The infinite muP network puts two groups of words furthest apart, a narrow one less far, the kernel limit not at all.

Cities and states of the USA (in the planted corpus, countries and languages) in the plane of the first two principal
components of their normalised embeddings, as in the picture of arXiv:2011.14522. The score is the distance of the two
groups' means in that plane in standard deviations within groups (Mahalanobis). The infinite networks have their
principal components from their Gram matrices; the kernel limit's is a multiple of the identity, whose plane is that of
very wide Gaussian vectors: a uniformly random one.

``separation-gap`` is 0 at the score of muP's limit and 1 at that of the kernel limit. ``separation-excess`` and
``separation-lack`` are the distances beyond either end; at the narrowest width both are negative. NTP's base width n0
is small, 1 in real text: its Gram matrix moves by n0/n where a random sketch has noise n^(-1/2), so that its plane
becomes random at n well above n0² only. The intervals are over initialisations, on one path through one text.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import replacing_table
from tpbench.claims.word2vec_analogies import SWEEPS, other_regime
from tpbench.claims.word2vec_config import features_of, only

TABLES = ("mup", "ntp")


def predict(c: Config) -> tuple[Prediction, ...]:
    table, learns = features_of(c)
    last, end = c["record"][-1], 0.0 if learns else 1.0
    limit = Prediction(table.name, "separation-gap", Kind.VALUE, end, 1 - end, tolerance=0.2, step=last)
    if not learns:
        return (limit,)
    between = (
        Prediction(table.name, quantity, Kind.NARROWEST, -0.1, 0.1, tolerance=0.1, step=last, side=Side.AT_MOST)
        for quantity in ("separation-excess", "separation-lack")
    )
    return (limit, *between)


CLAIM = Claim(
    name="word2vec-geometry",
    statement="In the plane of two principal components two groups of words lie furthest apart in muP's limit, less "
    "far at narrow width, and not in the kernel limit.",
    source="Yang & Hu 2021, arXiv:2011.14522, experiments with word2vec",
    rival="Networks of each regime end at the other's limit; narrow ones do not lie between both.",
    experiment="word2vec-epochs",
    sweeps={
        "smoke": only(SWEEPS["smoke"], TABLES),
        "nightly": only(SWEEPS["nightly"], TABLES, {64: 24}),
        "full": only(SWEEPS["full"], TABLES, {64: 24}),
    },
    predict=predict,
    faults=(
        Fault(
            "other-regime", "the embedding's learning rate is that of the other regime", replacing_table(other_regime)
        ),
    ),
    figures=(Figure.MAP,),
)
