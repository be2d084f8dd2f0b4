"""Coordinates of W x are Gaussian at infinite width, whatever the law of W's entries.

A coordinate ``h = Σ_j W_ij x_j`` has, given x, the variance ``|x|²/n`` and the cumulants ``κ_k(w) n^(-k/2) Σ_j x_j^k``
of higher order, which fall like n^(1 - k/2). For Gaussian entries h is a scale mixture, Gaussian given x, and its
moments are ``(k - 1)!! E (|x|²/n)^(k/2)``: off by the fluctuation of |x|², whose mean effect is 1/n. For other entries
the fourth cumulant adds another 1/n. So moments of order 4, 6 and 8 come to (k - 1)!! by 1/n, both for the Gaussian
matrices of Tensor Programs (Yang 2019, arXiv:1910.12478) and for entries of another law (Golikov & Yang 2022,
"Non-Gaussian Tensor Programs", for all programs); the rate is derived here, for the first hidden layer of a tanh
network.

The rival says that the moments are those of another law (Laplace's fourth moment is twice the Gaussian one), or that
they do not converge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Sweep
from tpbench.claims.averages import BLOCK, FALLING_ENTRIES, SCATTERED, TABLE, hidden_is_critical
from tpbench.claims.config import table_of

VARIANTS = {law: {"entries": law} for law in ("gaussian", "rademacher")}
SETTINGS: Mapping[str, Any] = {
    "entries": "gaussian",
    "spike": 0.0,
    "scatter": 0.0,
    "weights": "dense",
    "dtype": "float32",
    "device": "cpu",
}
LAPLACE = 2.0
"""The fourth moment of Laplace's law over that of the Gaussian of its variance."""


def predict(c: Config) -> tuple[Prediction, ...]:
    table = table_of(c)
    hidden_is_critical(table)
    return (
        Prediction(table.name, "coordinate-moment", Kind.BIAS, -1.0, -0.5, tolerance=0.25, step=0),
        Prediction(table.name, "drawn-moment", Kind.VALUE, 1.0, LAPLACE, tolerance=0.1, step=0),
    )


def _sweep(sizes: Mapping[int, int]) -> Sweep:
    return Sweep((TABLE,), tuple(sizes), tuple(sizes.values()), SETTINGS, block=BLOCK, variants=VARIANTS)


CLAIM = Claim(
    name="central-limit",
    statement="Moments of coordinates of W x, given x, come to those of a Gaussian by 1/n, for Gaussian entries of W "
    "and for random signs.",
    source="Yang 2019, arXiv:1910.12478; Golikov & Yang 2022, NeurIPS; rates derived",
    rival="Moments do not converge; or are those of another law, such as Laplace's; biases fall like n^(-1/2).",
    experiment="central-limit",
    sweeps={
        "smoke": _sweep({32: 256, 64: 256, 128: 256, 256: 256}),
        "nightly": _sweep({32: 2**13, 64: 2**13, 128: 2**13, 256: 2**13, 512: 2**12}),
        "full": _sweep({32: 2**16, 64: 2**16, 128: 2**16, 256: 2**16, 512: 2**15, 1024: 2**14}),
    },
    predict=predict,
    faults=(
        FALLING_ENTRIES,
        SCATTERED,
        Fault("one-large-coordinate", "half of |x|² is in one coordinate on average", lambda c: {**c, "spike": 0.5}),
    ),
    figures=(Figure.CONVERGENCE,),
    notes="Moments are taken given x, where they are known in closed form from the cumulants of the entries; drawn "
    "coordinates check the fourth alone.",
)
