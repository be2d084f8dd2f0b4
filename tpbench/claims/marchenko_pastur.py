"""Marchenko and Pastur's law: eigenvalues of X Xᵀ for X n × m with n/m = y fixed, by a program and by themselves.

X has entries of variance 1/m. The program ``x ↦ X (Xᵀ x)`` runs over two axes of neurons, n and m; its moments
``⟨x, (X Xᵀ)^k x⟩`` tend to ``Σ_r y^r N(k, r + 1)`` with Narayana's numbers N (Marchenko & Pastur 1967; as a Tensor
Program Yang 2020, arXiv:2009.10685). At width n:

* means of real matrices are off by 1/n, traces scatter by 1/n (Jonsson 1982), moments between a vector by n^(-1/2);
* the largest eigenvalue leaves (1 + sqrt(y))² by n^(-2/3) (Johnstone 2001), and the smallest that is not 0 leaves
  (1 - sqrt(y))² by as much. For y = 1 that edge is 0, which no eigenvalue passes, and the smallest is of size n^(-2)
  (Edelman 1988): a hard edge. Centres of these laws are off by 1/n, which makes slopes at narrow width a
  little too steep.

The bias of m_2 = E tr (X Xᵀ)²/n is measured after the part of its error that m_1's makes (``scale-free-moment``): m_1
is right on average, so the mean is that of m_2, and most of the scatter is gone.

The rivals: X and Xᵀ are independent, scatter is that of independent eigenvalues, edges are off by 1/n as moments are
(the hard edge by n^(-1), the mean spacing).
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.wigner import LARGE_VARIANCE, WRONG_SCALING, checked_table, sweep

VARIANTS = {"y = 1": {"ratio": "1"}, "y = 1/4": {"ratio": "1/4"}, "y = 2": {"ratio": "2"}}
SETTINGS = {"fresh_transpose": False, "program_weights": "lazy", **VARIANTS["y = 1"]}

MOMENT = 0.05
"""How far a moment may be from its limit, as a share of it: a variance that is off by 2.5% is seen in the second."""
INDEPENDENT = {"1": {2: 1 / 2, 3: 1 / 5}, "1/4": {2: 1 / 5, 3: 4 / 29}, "2": {2: 2 / 3, 3: 2 / 11}}
"""Ratio -> order -> the moment where X and Xᵀ are independent, over that of the law (a test computes them)."""


def predict(c: Config) -> tuple[Prediction, ...]:
    name = checked_table(c).name
    hard = Fraction(c["ratio"]) == 1
    rivals = INDEPENDENT[c["ratio"]]
    return (
        Prediction(name, "program-moment", Kind.SPREAD, -0.5, -1.0, tolerance=0.1),
        *(Prediction(name, f"relative-moment-{k}", Kind.VALUE, 1.0, rivals[k], MOMENT) for k in (2, 3)),
        Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1),
        Prediction(name, "scale-free-moment", Kind.BIAS, -1.0, -0.5, tolerance=0.2),
        Prediction(name, "trace-moment", Kind.SPREAD, -1.0, -0.5, tolerance=0.15),
        Prediction(name, "largest-eigenvalue", Kind.BIAS, -2 / 3, -1.0, tolerance=0.15, correction=1 / 3),
        Prediction(
            name,
            "smallest-eigenvalue",
            Kind.BIAS,
            predicted=-2.0 if hard else -2 / 3,
            rival=-1.0,
            tolerance=0.15,
            correction=1.0 if hard else 1 / 3,
        ),
    )


CLAIM = Claim(
    name="marchenko-pastur",
    statement="Moments of X Xᵀ, X n × m with n/m = y, tend to Narayana polynomials of y; traces are off by 1/n and "
    "scatter by 1/n; the extreme eigenvalues reach (1 ± √y)² by n^(-2/3), and 0, where y = 1, by n^(-2).",
    source="Marchenko & Pastur 1967; Johnstone 2001; Edelman 1988; Yang 2020, arXiv:2009.10685",
    rival="X and Xᵀ are independent; eigenvalues are independent; edges are reached by 1/n.",
    experiment="marchenko-pastur",
    sweeps={
        "smoke": sweep({32: 96, 64: 64, 128: 32}, SETTINGS, VARIANTS, every=2),
        "nightly": sweep({32: 8192, 64: 8192, 128: 4096, 256: 1536}, SETTINGS, VARIANTS),
        "full": sweep({64: 2**15, 128: 2**14, 256: 2**13, 512: 2**11}, SETTINGS, VARIANTS),
    },
    predict=predict,
    faults=(
        WRONG_SCALING,
        LARGE_VARIANCE,
        Fault(
            "fresh-transpose",
            "X Yᵀ with another matrix Y (eigenvalues: of its symmetric part)",
            lambda c: {**c, "fresh_transpose": True},
        ),
    ),
    figures=(Figure.CONVERGENCE,),
)
