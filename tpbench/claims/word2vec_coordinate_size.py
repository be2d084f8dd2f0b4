"""word2vec keeps coordinates of size Θ(1), at the start and in training.

Embeddings and the means of contexts have coordinates of size n^0. The logits start at n^(1/2 - a_2 - b_2), so at
n^(-1/2) under muP, and stay O(1) (arXiv:2011.14522, section 3, for one hidden layer without activation); that they
reach Θ(1) is for word2vec-feature-movement, which looks at their change alone. The natural mistake is a forgotten
1/sqrt(n) in the read-out.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side
from tpbench.claims.config import replacing_table
from tpbench.claims.word2vec_config import SMALL_PLAN, stable_table, sweep
from tpbench.parametrization import Parametrization, Role, exponent

STABLE = ("sp-over-n", "ntp", "mup", "mean-field")
SETTINGS = {
    "plan": SMALL_PLAN,
    "tokens": 40_000,
    "zero_output": False,
    "window": 5,
    "negatives": 10,
    "subsample": 1e-2,
    "epochs": 5,
    "decay": 0.0,  # decay shrinks embeddings by a width-free share, which would hide how training moves them
    "record": [0, 1, 8],
}


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    start = float(exponent(table, "output-initial", depth=1))
    found = []
    for step in c["record"]:
        for quantity in ("embedding", "preactivation") if step else ("preactivation",):
            found.append(Prediction(table.name, quantity, Kind.EXPONENT, 0.0, 0.5, tolerance=0.1, layer=1, step=step))
        power, side = (start, Side.EQUAL) if step == 0 else (0.0, Side.AT_MOST)
        found.append(
            Prediction(
                table.name, "output", Kind.EXPONENT, power, power + 0.5, tolerance=0.1, layer=2, step=step, side=side
            )
        )
    return tuple(found)


def forget_root(table: Parametrization, c: Config) -> Parametrization:
    """Leave 1/sqrt(n) out of the read-out's initialisation."""
    return table.replacing(Role.OUTPUT, b=table.output.b - Fraction(1, 2))


CLAIM = Claim(
    name="word2vec-coordinate-size",
    statement="word2vec's embeddings, context means and logits keep their sizes at every width, trained or not.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="They grow faster by n^(1/2), as when a 1/sqrt(n) is forgotten.",
    experiment="word2vec-sizes",
    sweeps={
        "smoke": sweep(STABLE, {64: 16, 128: 16, 256: 16, 512: 8, 1024: 8}, SETTINGS),
        "nightly": sweep(STABLE, {64: 32, 128: 32, 256: 16, 512: 16, 1024: 8, 2048: 8, 4096: 4}, SETTINGS),
        "full": sweep(STABLE, {64: 64, 256: 64, 1024: 32, 4096: 16, 16384: 8}, SETTINGS),
    },
    predict=predict,
    faults=(
        Fault("forgotten-root", "the read-out is initialised without its 1/sqrt(n)", replacing_table(forget_root)),
    ),
    figures=(Figure.EXPONENTS,),
)
