"""Gradient independence: when may the backward pass take Wᵀ for independent of W?

Much of mean field theory computes gradients so. It is right where the read-out v is independent of all else, has mean 0
and is used nowhere but at the end (the "simple check"), and can be wrong elsewhere (Yang 2020, arXiv:2006.14548, on
gradient independence). For ``f = Σ_α v_α φ(h_α)``, ``h = W x``, the gradient by x is ``Wᵀ (v φ'(h))``, and the term
that independence forgets is ``Ż = x E v φ''(h)``: nothing for ``E v = 0``, and x/2 for a read-out of ones and
``φ(h) = h + h²/4``.

Under a read-out of mean 0 both limits are one, and the rival expects the term anyway, as large as under a read-out of
ones. Under that read-out the rival is gradient independence.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Figure
from tpbench.claims.averages import EXPERIMENT, FAULTS, against, limit_of, predict, sweep

CENTRED = {"of": "gradient", "mean": 0, "variance": 1}
ONES = {"of": "gradient", "mean": 1, "variance": 0}
VARIANTS = {
    "read-out of mean 0": against([CENTRED], limit_of(ONES), limit_of(CENTRED, transposes="independent")),
    "read-out of ones": against([ONES], limit_of(ONES, transposes="independent")),
}

CLAIM = Claim(
    name="gradient-independence",
    statement="Wᵀ in the backward pass may be taken for independent of W where the read-out has mean 0, and may not "
    "where it has another: there gradients have the term that the Master Theorem gives.",
    source="Yang 2020, arXiv:2006.14548; Yang 2020, arXiv:2009.10685; rates derived",
    rival="Gradient independence always holds; or it never does; biases fall like n^(-1/2).",
    experiment=EXPERIMENT,
    sweeps={
        "smoke": sweep({16: 512, 32: 512, 64: 512, 128: 256}, VARIANTS),
        "nightly": sweep({16: 2**14, 32: 2**14, 64: 2**14, 128: 2**14, 256: 2**13}, VARIANTS),
        "full": sweep({16: 2**16, 32: 2**16, 64: 2**16, 128: 2**16, 256: 2**15, 512: 2**13}, VARIANTS),
    },
    predict=predict,
    faults=FAULTS,
    figures=(Figure.CONVERGENCE,),
)
