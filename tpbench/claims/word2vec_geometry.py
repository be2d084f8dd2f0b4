"""The infinite muP network puts two groups of words furthest apart, a narrow one less far, the kernel limit not at all.

Cities and states of the USA (in the planted corpus, countries and languages) in the plane of the first two principal
components of their normalised embeddings, as in figure 1 of arXiv:2011.14522. The score is the distance of the two
groups' means in that plane in standard deviations within groups (Mahalanobis). The infinite networks have their
principal components from their Gram matrices; the kernel limit's is a multiple of the identity, whose plane is that of
very wide Gaussian vectors: a uniformly random one.

``separation-gap`` is 0 at the score of muP's limit and 1 at that of the kernel limit. ``separation-excess`` and
``separation-lack`` are the distances beyond either end, judged at the narrowest width: networks of that width lie
between both, a twentieth of the way at least from each.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import replacing_table
from tpbench.claims.word2vec_analogies import SWEEPS
from tpbench.claims.word2vec_config import only, stable_table
from tpbench.claims.word2vec_wider_is_better import slow_down
from tpbench.parametrization import Regime, regime


def predict(c: Config) -> tuple[Prediction, ...]:
    table, last = stable_table(c), c["record"][-1]
    if regime(table, 1) is not Regime.FEATURE_LEARNING:
        raise ValueError(f"{table.name!r} is in the kernel regime, where embeddings end where they started")
    limit = Prediction(table.name, "separation-gap", Kind.VALUE, 0.0, 1.0, tolerance=0.2, step=last)
    between = (
        Prediction(table.name, quantity, Kind.NARROWEST, -0.1, 0.0, tolerance=0.05, step=last, side=Side.AT_MOST)
        for quantity in ("separation-excess", "separation-lack")
    )
    return (limit, *between)


CLAIM = Claim(
    name="word2vec-geometry",
    statement="In the plane of two principal components two groups of words lie furthest apart in muP's limit, less "
    "far at narrow width, and not in the kernel limit.",
    source="Yang & Hu 2021, arXiv:2011.14522, figure 1",
    rival="Narrow networks separate them as the limit does, or as random vectors do.",
    experiment="word2vec-epochs",
    sweeps={
        "smoke": only(SWEEPS["smoke"], ("mup",)),
        "nightly": only(SWEEPS["nightly"], ("mup",), {64: 24}),
        "full": only(SWEEPS["full"], ("mup",), {64: 24}),
    },
    predict=predict,
    faults=(Fault("slow-embedding", "the embedding's learning rate carries an extra 1/n", replacing_table(slow_down)),),
    figures=(Figure.MAP,),
)
