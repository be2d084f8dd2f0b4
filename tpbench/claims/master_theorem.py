"""The Master Theorem of Tensor Programs, on programs drawn at random and fixed by their numbers.

For every program whose nonlinearities are smooth enough, averages of the coordinates of its vectors converge,
``(1/n) Σ_α ψ(x_α, y_α, …) -> E ψ(Z^x, Z^y, …)``, with ``Z^{Wx} = Ẑ^{Wx} + Ż^{Wx}`` where W and its transpose are both
used (Yang 2020, arXiv:2009.10685). ``tpbench.programs.random`` draws programs; those here are ones whose rivals have
another limit. With transposes the rival forgets Ż, as if W and Wᵀ were independent; without, it takes all products
by one matrix for independent.
"""

from __future__ import annotations

from collections.abc import Mapping

from tpbench.bench.claim import Claim, Config, Figure
from tpbench.claims.averages import EXPERIMENT, FAULTS, against, limit_of, predict, sweep

NUMBERS: Mapping[str, tuple[int, ...]] = {"without transposes": (2, 4, 5, 11), "with transposes": (1, 3, 5, 13)}
"""Variant -> the numbers of its random programs; smoke takes the first two."""
SMOKE = 2


def variants(count: int) -> Mapping[str, Config]:
    """Return both variants, with so many programs each."""
    plain = [{"of": "random", "number": number} for number in NUMBERS["without transposes"][:count]]
    both = [{"of": "random", "number": number, "transposes": True} for number in NUMBERS["with transposes"][:count]]
    return {
        "without transposes": against(plain, limit_of(*({**each, "untied": True} for each in plain))),
        "with transposes": against(both, limit_of(*both, transposes="independent")),
    }


CLAIM = Claim(
    name="master-theorem",
    statement="In random programs, with transposes and without, averages over coordinates converge to expectations "
    "over the Z of the Master Theorem, with spread n^(-1/2) and bias 1/n.",
    source="Yang 2020, arXiv:2009.10685; rates derived",
    rival="W and its transpose act as independent matrices; or all products by one matrix are independent; "
    "biases fall like n^(-1/2).",
    experiment=EXPERIMENT,
    sweeps={
        "smoke": sweep({16: 512, 32: 512, 64: 512, 128: 256}, variants(SMOKE)),
        "nightly": sweep({16: 2**14, 32: 2**14, 64: 2**14, 128: 2**13, 256: 2**12}, variants(4)),
        "full": sweep({16: 2**16, 32: 2**16, 64: 2**16, 128: 2**16, 256: 2**14, 512: 2**13}, variants(4)),
    },
    predict=predict,
    faults=FAULTS,
    figures=(Figure.CONVERGENCE,),
)
