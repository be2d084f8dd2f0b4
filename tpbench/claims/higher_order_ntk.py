"""Taylor models of higher order are nobody's limit: where they differ from the linear one, the network differs, too.

The model of order k around the initial weights is ``F_k(w) = Σ_{j ≤ k} D^j f(w_0)[(w - w_0)^j]/j!``, trained by
gradient descent on its own w. Order 1 is NTK dynamics; orders 2 and 3 are the tangent hierarchy truncated after its
first kernels (Huang & Yau 2020, arXiv:1909.08156; Dyer & Gur-Ari 2020, arXiv:1909.11304). Yang & Hu 2021
(arXiv:2011.14522): no such dynamics of higher order is the infinite-width limit of any abc parametrization.

A term of the expansion in which m derivatives of f are contracted over the weights (f moved once by the step η∂f has
m = 2) is under NTP of size n^(1 - ceil(m/2)): 1, 1/n, 1/n, n^(-2), n^(-2) for m = 2 … 6 (the counting of Dyer &
Gur-Ari, conjectured there, measured here). At the place s on the segment from NTP (s = 0) to muP (s = 1) the output is
n^(-s/2) times NTP's and the rate n^s times, which multiplies the term by ``n^(s(m-2)/2)``. Turning the sign of the
initial read-out turns that of the odd m, so they cancel between a network and its mirror image. What is left is m = 4
and 6:

* the quadratic model leaves the linear one by ``n^(-(1-s))``, and the network leaves the quadratic one by as much:
  the second derivative acts at m = 4, and so does the third, which it lacks;
* the network leaves the cubic model by ``n^(-2(1-s))`` (m = 6).

Two cases are left. Under muP the quadratic model does leave the linear one in the limit, and there the network leaves
the quadratic and the cubic model as well; everywhere else they all have one limit, the linear one. The exponents are
derived here. It takes a nonlinear activation: a linear network is its own Taylor model of order depth + 1.
"""

from __future__ import annotations

from tpbench.bench.claim import Axis, Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep, table_of
from tpbench.claims.interpolation import place, reversed_segment
from tpbench.parametrization.catalogue import NTP_TO_MUP, STEPS

SETTINGS = {
    "activation": "tanh",
    "examples": 4,
    "train": 4,
    "learning_rate": 2.5,
    "base_width": 64,
    "centred": True,
    "steps": 3,
    "record": [3],  # the first step is the same for all models
    "dtype": "float64",  # differences are n^(-2) of what they are between
    "term_weights": [1, 1, 1],
    "rate_of_models": 1,
}
TABLES = tuple(NTP_TO_MUP)
ENDS = (TABLES[0], TABLES[-1])
ORDERS = {"quadratic-linear": 1, "network-quadratic": 1, "network-cubic": 2}
"""Difference -> its power of n^(-(1-s))."""


def predict(c: Config) -> tuple[Prediction, ...]:
    table, [*_, last] = table_of(c), c["record"]
    s = place(table)
    return tuple(
        Prediction(
            table.name,
            quantity,
            Kind.BIAS,
            predicted=float(order * (s - 1)),
            rival=_rival(quantity, float(1 - s)),
            tolerance=0.1,
            step=last,
            # Of the next even m; of muP's own 1/n at s = 1.
            correction=float(1 - s) or 1.0,
        )
        for quantity, order in ORDERS.items()
    )


def _rival(quantity: str, distance: float) -> float:
    """Return the exponent if every order were a better model: by one more power, or by n^(-1/2) under muP.

    The network's distance from the cubic model would then be no better than the quadratic model's; that of the linear
    from the quadratic model would not fall, or, where it does not, fall.
    """
    if distance == 0:
        return -0.5
    better = {"network-quadratic": -2 * distance, "network-cubic": -distance}
    return better.get(quantity, 0.0)


CLAIM = Claim(
    name="higher-order-ntk",
    statement="Quadratic and cubic Taylor models are no limit: on the segment from NTP (s = 0) to muP (s = 1) the "
    "quadratic one leaves the linear one, and the network the quadratic one, by n^(-(1-s)); the network leaves the "
    "cubic one by n^(-2(1-s)).",
    source="Yang & Hu 2021, arXiv:2011.14522; Huang & Yau 2020, arXiv:1909.08156; Dyer & Gur-Ari 2020, "
    "arXiv:1909.11304; exponents between NTP and muP derived in tpbench.claims.higher_order_ntk",
    rival="The quadratic model is muP's limit, or describes the network to one order better than the linear one.",
    experiment="higher-order",
    sweeps={
        "smoke": sweep(ENDS, {256: 24}, SETTINGS, lazy={2**10: 6, 2**12: 2}),
        "nightly": sweep(TABLES, {512: 32}, SETTINGS, lazy={2**10: 24, 2**12: 10, 2**14: 4}),
        "full": sweep(
            TABLES,
            {512: 512},
            SETTINGS,
            lazy={2**10: 256, 2**11: 128, 2**12: 64, 2**14: 32, 2**16: 16},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "other-end", "the segment is walked from muP to NTP", replacing_table(reversed_segment), spares=("s-0.5",)
        ),
        Fault(
            "no-factorials",
            "the 1/j! of the Taylor models are left out",
            lambda c: {**c, "term_weights": [1, 2, 6]},
            spares=("s-1",),
        ),
        Fault(
            "other-rate",
            "the models are trained with a learning rate a tenth larger than the network's",
            lambda c: {**c, "rate_of_models": 1.1},
            spares=("s-1",),
        ),
    ),
    figures=(Figure.FAMILY, Figure.CONVERGENCE),
    axis=Axis(
        "place s on the segment from NTP to muP",
        {table.name: float(s) for s, table in zip(STEPS, NTP_TO_MUP.values(), strict=True)},
        {0.0: "NTP", 1.0: "muP"},
    ),
    notes="Averaged over networks and their mirror images (the read-out's sign turned), between which terms of random "
    "sign cancel.",
)
