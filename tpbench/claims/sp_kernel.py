"""SP with learning rate eta/n follows a kernel, and not the NTK: the first layer's term is missing.

The kernel of a table is ``Σ_l n^(e_l) K_l`` with e_l from ``parametrization.kernel_content``; SP with eta/n has
e = (-1, 0, …, 0): its first layer trains too slowly to count (derived there; arXiv:2011.14522, section 3 has the
kernel regime of general tables). The rival is the full NTK, as
"wide networks are NTK machines" would suggest.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Prediction
from tpbench.claims.config import sweep
from tpbench.claims.ntk_dynamics import FULL, NIGHTLY, SMOKE, kernel_shares
from tpbench.claims.ntk_dynamics import SETTINGS as NTK_SETTINGS
from tpbench.claims.trajectories import convergence

SETTINGS = {**NTK_SETTINGS, "shares": [0, 1, 1], "rival_shares": [1, 1, 1]}


def predict(c: Config) -> tuple[Prediction, ...]:
    if kernel_shares(c) != [0] + [1] * c["depth"]:
        raise ValueError(f"the kernel of {c['parametrization']['name']!r} does not lack exactly the first layer's term")
    return convergence(c["parametrization"]["name"], c["record"])


CLAIM = Claim(
    name="sp-kernel",
    statement="SP with learning rate eta/n follows a kernel without the first layer's term.",
    source="derived in tpbench.parametrization.kernel_content from Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="It follows the full NTK.",
    experiment="kernel-trajectory",
    sweeps={
        "smoke": sweep(("sp-over-n",), SMOKE, SETTINGS),
        "nightly": sweep(("sp-over-n",), NIGHTLY, SETTINGS),
        "full": sweep(("sp-over-n",), FULL, SETTINGS),
    },
    predict=predict,
    faults=(
        Fault(
            "full-ntk",
            "the limit's kernel is the full NTK",
            lambda c: {**c, "shares": c["rival_shares"], "rival_shares": c["shares"]},
        ),
    ),
    figures=(Figure.TRAJECTORIES, Figure.CONVERGENCE),
    notes="The trajectories are drawn without the part that each network's own f_0 contributes to its limit.",
)
