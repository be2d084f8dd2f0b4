"""Singular values of a deep net's Jacobian: its diagonals are free of the weights that they are made of.

``J = D_L W_L … D_1 W_1`` with D_l = diag(φ'(h_l)). That D_l may be taken for independent of W_l, on which it depends,
is what dynamical isometry was derived with (Pennington, Schoenholz & Ganguli 2017, arXiv:1711.04735); proved by Pastur
2020 (arXiv:2001.06188) and, as a Tensor Program, by Yang 2020 (arXiv:2009.10685). The moments of JᵀJ tend to those of
a free product of the laws of W_lᵀW_l and φ'(h_l)²; in a linear net to Fuss and Catalan's numbers (1, 4, 22 for three
layers). They are measured through the program ``v ↦ Jᵀ J v`` (W and Wᵀ), with lazy matrices, and by singular values.

At width n moments between a vector scatter by n^(-1/2), as do means over neurons of φ'(h_l)². Given the slopes that a
network has, its traces are off by 1/n from what freeness makes of those, and scatter by as little (derived here, as
``free-independence`` measures it). Biases are of m_2 where m_1 is given (``scale-free-moment``), which scatters three
times less; in tanh nets two terms of order 1/n nearly cancel in m_2 itself. The rival multiplies moments, as of
commuting variables.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.wigner import LARGE_VARIANCE, WRONG_SCALING, checked_table, sweep

VARIANTS = {
    "linear": {"activation": "linear", "depth": 3, "sigma_w": 1.0},
    "tanh": {"activation": "tanh", "depth": 2, "sigma_w": 1.5},
    "relu": {"activation": "relu", "depth": 2, "sigma_w": 2**0.5},
    "hard-tanh": {"activation": "hard-tanh", "depth": 2, "sigma_w": 1.5},
}
SETTINGS = {"one_matrix": False, "program_weights": "lazy", **VARIANTS["linear"]}

MOMENT = 0.05
"""How far a moment may be from its limit, as a share of it: a gain that is off by 2.5% is seen in the second."""
CLASSICAL = {
    "linear": {2: 2.0, 3: 5.68},
    "tanh": {2: 3.0, 3: 13.4},
    "relu": {2: 3.2, 3: 12.1},
    "hard-tanh": {2: 2.91, 3: 10.0},
}
"""Activation -> order -> the product of the factors' moments, over the moment of the free product (a test computes
them)."""


def predict(c: Config) -> tuple[Prediction, ...]:
    name = checked_table(c).name
    rivals = CLASSICAL[c["activation"]]
    return (
        Prediction(name, "program-moment", Kind.SPREAD, -0.5, -1.0, tolerance=0.1),
        *(Prediction(name, f"relative-moment-{k}", Kind.VALUE, 1.0, rivals[k], MOMENT) for k in (2, 3)),
        Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1),
        Prediction(name, "scale-free-moment", Kind.BIAS, -1.0, -0.5, tolerance=0.2),
        Prediction(name, "trace-moment", Kind.SPREAD, -1.0, -0.5, tolerance=0.15),
    )


CLAIM = Claim(
    name="jacobian-singular-values",
    statement="Moments of JᵀJ, J the Jacobian of a deep net, tend to those of a free product: diagonals of slopes are "
    "free of the weights. Given its slopes a network is off from that by 1/n, and scatters by 1/n.",
    source="Pennington et al. 2017, arXiv:1711.04735; Pastur 2020, arXiv:2001.06188; Yang 2020, arXiv:2009.10685",
    rival="Moments of JᵀJ are products of the factors' moments.",
    experiment="jacobian-singular-values",
    sweeps={
        "smoke": sweep({16: 128, 32: 128, 64: 64}, SETTINGS, VARIANTS, every=2),
        "nightly": sweep({32: 8192, 64: 8192, 128: 4096, 256: 1536}, SETTINGS, VARIANTS),
        "full": sweep({64: 2**15, 128: 2**14, 256: 2**13, 512: 2**12}, SETTINGS, VARIANTS),
    },
    predict=predict,
    faults=(
        WRONG_SCALING,
        LARGE_VARIANCE,
        Fault(
            "one-symmetric-matrix",
            "all layers have one symmetric matrix, so that neither they nor the slopes are independent of one another",
            lambda c: {**c, "one_matrix": True},
        ),
    ),
    figures=(Figure.CONVERGENCE,),
)
