"""Networks at initialisation are a Gaussian process in the limit, and at width n they are off by 1/n.

Given everything below the read-out the outputs of a network are exactly Gaussian, with a covariance K̂ that is an
average over n neurons; over networks they are a mixture of Gaussians of different K̂, which is no Gaussian. K̂ converges
(Neal 1996; Lee et al. 2018, arXiv:1711.00165; Matthews et al. 2018, arXiv:1804.11271), for every architecture that is a
program, recurrent ones with tied weights among them (Yang 2019, arXiv:1910.12478), and with it the law of the output:

* fourth cumulants ``κ(f_a, f_a, f_b, f_b) = Cov(K̂_aa, K̂_bb) + 2 Var(K̂_ab)`` fall like 1/n: K̂ scatters by n^(-1/2)
  (Yaida 2019, arXiv:1910.00019, and Dyer & Gur-Ari 2020, arXiv:1909.11304, for perceptrons);
* two neurons of the last hidden layer become independent: the covariance of their products falls like 1/n. In a
  recurrent network all states pass through one matrix, which makes this more than the law of large numbers;
* the distribution function of any projection of the outputs comes to that of N(0, dᵀKd) by 1/n: what is of first order
  in K̂ - K has the mean 1/n, what is of second order is 1/n (derived here);
* the limit K is that of tied weights, which correlate different times: not that of fresh ones, whose times do not.

The rival says that the mixture stays: its cumulants do not fall, or the law converges like one network's K̂, n^(-1/2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpbench.architecture import Perceptron, Recurrent
from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Sweep
from tpbench.claims.architecture_kernels.subject import BLOCK, RIVAL_LIMIT, SETTINGS, TABLE, Case
from tpbench.claims.config import table_of
from tpbench.parametrization import PARAMETRIZATIONS, equivalent

CASES: Mapping[str, tuple[Case, str]] = {
    "mlp": (Case(Perceptron(2, "erf", 1.5), Perceptron(1, "erf", 1.5)), "vector"),
    "rnn": (Case(Recurrent("erf", 2.5), Recurrent("erf", 2.5, tied=False)), "sequence"),
}
"""Variant -> an architecture, its rival's, and how the pixels are read."""
PLANTED: Mapping[str, Any] = {"widest": None, "scatter": 0.0}
VARIANTS = {name: {**case.as_config(), "layout": layout} for name, (case, layout) in CASES.items()}


def predict(c: Config) -> tuple[Prediction, ...]:
    table = table_of(c)
    if not equivalent(table, PARAMETRIZATIONS[TABLE]):
        raise ValueError(f"{table.name!r} is not NTP, whose networks are this process: other tables have others")
    return (
        Prediction(table.name, "fourth-cumulant", Kind.BIAS, -1.0, 0.0, tolerance=0.25, step=0),
        Prediction(table.name, "neuron-cumulant", Kind.BIAS, -1.0, 0.0, tolerance=0.25, step=0),
        Prediction(table.name, "law-error", Kind.BIAS, -1.0, -0.5, tolerance=0.25, step=0),
        Prediction(table.name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=0),
    )


def _sweep(sizes: Mapping[int, int]) -> Sweep:
    first = next(iter(VARIANTS.values()))
    settings = {**SETTINGS, **PLANTED, **first, "dtype": "float64"}
    return Sweep((TABLE,), tuple(sizes), tuple(sizes.values()), settings, block=BLOCK, variants=VARIANTS)


CLAIM = Claim(
    name="gaussian-process",
    statement="Outputs at initialisation become a Gaussian process: cumulants of outputs and of pairs of neurons fall "
    "like 1/n, and so does the distance of their law from that of the limit, for perceptrons and recurrent networks.",
    source="Lee et al. 2018, arXiv:1711.00165; Matthews et al. 2018, arXiv:1804.11271; Yang 2019, arXiv:1910.12478; "
    "Yaida 2019, arXiv:1910.00019",
    rival="Outputs stay a mixture of Gaussians; their covariance is that of one layer less, or of fresh weights.",
    experiment="gaussian-process",
    sweeps={
        "smoke": _sweep({8: 1024, 16: 1024, 32: 1024, 64: 1024}),
        "nightly": _sweep({8: 2**14, 16: 2**15, 32: 2**15, 64: 2**14, 128: 2**12}),
        "full": _sweep({8: 2**16, 16: 2**16, 32: 2**16, 64: 2**16, 128: 2**15, 256: 2**13, 512: 2**11}),
    },
    predict=predict,
    faults=(
        RIVAL_LIMIT,
        Fault("bottleneck", "no network is wider than 8 neurons", lambda c: {**c, "widest": 8}),
        Fault(
            "scattered-read-out",
            "every read-out is drawn with a standard deviation of its own, 0.7 or 1.3",
            lambda c: {**c, "scatter": 0.3},
        ),
    ),
    figures=(Figure.CONVERGENCE,),
    notes="Cumulants of the output and its law are taken given all weights but the read-out's, where they are known.",
)
