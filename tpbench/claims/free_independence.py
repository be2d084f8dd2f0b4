"""Independent large random matrices are free: their mixed moments are those of Voiculescu, not of commuting variables.

A and B are independent symmetric Gaussian matrices, D = diag(d) with independent entries N(1/2, 1). With τ = tr/n
freeness says (Voiculescu 1991; Dykema 1993; as a Tensor Program Yang 2020, arXiv:2009.10685)

* ``τ(ABAB) -> 0``, where commuting variables have ``τ(A²) τ(B²) = 1``;
* ``τ(ADAD) -> τ(A²) τ(D)² = 1/4``, where commuting ones have ``τ(A²) τ(D²) = 5/4``;
* τ of powers of A + B and A + D are those of free convolutions: cumulants that are free add up. ``τ((A+B)⁴) -> 8``
  and not 10.

Every moment is measured in units of the distance from the free value to the commuting one, so that the rival is 1.
Through a program ``⟨x, M x⟩`` it scatters by n^(-1/2). Given D the traces are off by 1/n in the mean (real matrices),
and scatter by as little: their free value is taken at the moments that the drawn d has.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.wigner import WRONG_SCALING, checked_table, sweep

SETTINGS = {"correlation": 0.0, "program_weights": "lazy"}


def predict(c: Config) -> tuple[Prediction, ...]:
    name = checked_table(c).name
    return (
        Prediction(name, "program-moment", Kind.SPREAD, -0.5, -1.0, tolerance=0.1),
        Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1),
        Prediction(name, "trace-moment", Kind.BIAS, -1.0, -0.5, tolerance=0.2),
        Prediction(name, "trace-moment", Kind.SPREAD, -1.0, -0.5, tolerance=0.15),
    )


CLAIM = Claim(
    name="free-independence",
    statement="Independent symmetric matrices A, B and a diagonal D become free: tr(ABAB)/n, tr(ADAD)/n and moments of "
    "A + B and A + D tend to those of free variables; given D they are off by 1/n and scatter by 1/n.",
    source="Voiculescu 1991; Dykema 1993; Yang 2020, arXiv:2009.10685",
    rival="Mixed moments are those of independent variables that commute; traces scatter like n^(-1/2), and "
    "are off by it; programs scatter like 1/n.",
    experiment="free-independence",
    sweeps={
        "smoke": sweep({16: 192, 32: 192, 64: 128, 128: 64}, SETTINGS, every=2),
        "nightly": sweep({32: 8192, 64: 8192, 128: 4096, 256: 2048}, SETTINGS),
        "full": sweep({64: 2**15, 128: 2**14, 256: 2**13, 512: 2**11}, SETTINGS),
    },
    predict=predict,
    faults=(
        WRONG_SCALING,
        Fault(
            "correlated",
            "B has the correlation 1/2 with A, so they are not independent",
            lambda c: {**c, "correlation": 0.5},
        ),
    ),
    figures=(Figure.CONVERGENCE,),
)
