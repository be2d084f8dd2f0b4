"""Averages over the coordinates of a program's vectors converge to expectations: the Master Theorem's plainest case.

In a program without transposes ``(1/n) Σ_α ψ(x_α, y_α) -> E ψ(Z^x, Z^y)``, where the Z of products with one matrix are
Gaussian with the covariance ``σ² E Z^x Z^y`` of what was multiplied: layer by layer, or time by time (Yang 2019,
arXiv:1910.12478). Given the layer below, coordinates are independent and identically distributed, so that an average
scatters by n^(-1/2) around an expectation that is a smooth function of the averages below; their scatter moves its mean
by 1/n.

The rival of the feed-forward network says that averages are those one layer before; that of the recurrent one has fresh
weights at every time, under which different times are correlated through the input alone.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Figure
from tpbench.claims.averages import EXPERIMENT, FAULTS, against, limit_of, predict, sweep

VARIANTS = {
    "feed-forward": against([{"of": "feed-forward", "layers": 3}], limit_of({"of": "feed-forward", "layers": 2})),
    "recurrent": against([{"of": "recurrent"}], limit_of({"of": "recurrent", "untied": True})),
}

CLAIM = Claim(
    name="law-of-large-numbers",
    statement="Averages over coordinates of a program's vectors converge to expectations over its limit, with spread "
    "n^(-1/2) and bias 1/n.",
    source="Yang 2019, arXiv:1910.12478; rates derived",
    rival="Averages stay random, or are those of one layer less, or of fresh weights at every time; biases "
    "fall like n^(-1/2).",
    experiment=EXPERIMENT,
    sweeps={
        "smoke": sweep({16: 512, 32: 512, 64: 512, 128: 256}, VARIANTS),
        "nightly": sweep({16: 2**14, 32: 2**14, 64: 2**15, 128: 2**15, 256: 2**14}, VARIANTS),
        "full": sweep({16: 2**17, 32: 2**17, 64: 2**17, 128: 2**16, 256: 2**15, 512: 2**13}, VARIANTS),
    },
    predict=predict,
    faults=FAULTS,
    figures=(Figure.CONVERGENCE,),
)
