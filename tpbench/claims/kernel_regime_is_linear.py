"""A very wide NTP network is kernel gradient descent, to the n^(-1/2) of its own kernel's fluctuation.

``ntk-dynamics`` settles bias and spread at dense widths; here the networks are lazy and up to 2^18 wide, where what is
left of the distance to f_{t+1} = f_t - eta Θ ∂L/∂f from each network's own f_0 is the fluctuation of its tangent kernel
(Jacot et al. 2018, arXiv:1806.07572, theorem 2; Lee et al. 2019, arXiv:1902.06720, theorem 2.1): the root mean square
error falls like n^(-1/2) over the whole range, and nothing is left of the rival, a kernel without the first layer's
term. A network that still learned features would keep a constant error.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep
from tpbench.claims.ntk_dynamics import SETTINGS as NTK_SETTINGS
from tpbench.claims.ntk_dynamics import predict as predict_dynamics
from tpbench.claims.ntk_frozen import swap

SETTINGS = {**NTK_SETTINGS, "examples": 8, "train": 6, "probes": 8, "steps": 5, "record": [1, 5]}


def predict(c: Config) -> tuple[Prediction, ...]:
    predict_dynamics(c)  # refuses what is no NTK
    name = c["parametrization"]["name"]
    found = []
    for step in c["record"]:
        found.append(Prediction(name, "output-error", Kind.EXPONENT, -0.5, 0.0, tolerance=0.1, step=step))
        found.append(Prediction(name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.05, step=step))
    return tuple(found)


CLAIM = Claim(
    name="kernel-regime-is-linear",
    statement="A very wide NTP network is kernel gradient descent with the NTK, to its n^(-1/2).",
    source="Jacot et al. 2018, arXiv:1806.07572, theorem 2; Lee et al. 2019, arXiv:1902.06720, theorem 2.1",
    rival="The kernel lacks the first layer's term; or the distance does not fall at all.",
    experiment="kernel-trajectory",
    sweeps={
        "smoke": sweep(("ntp",), {256: 64}, SETTINGS, lazy={1024: 16, 4096: 8, 8192: 4}),
        "nightly": sweep(
            ("ntp",),
            {256: 512, 512: 256},
            SETTINGS,
            lazy={1024: 512, 4096: 256, 16384: 64, 65536: 32, 2**18: 16},
        ),
        "full": sweep(
            ("ntp",),
            {256: 512, 512: 256},
            SETTINGS,
            lazy={1024: 512, 4096: 512, 16384: 256, 65536: 128, 2**18: 64, 2**20: 16},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "missing-layer",
            "the limit's kernel lacks the first layer's term",
            lambda c: {**c, "shares": c["rival_shares"], "rival_shares": c["shares"]},
        ),
        Fault("feature-learning", "muP is trained in place of NTP", replacing_table(swap)),
    ),
    figures=(Figure.TRAJECTORIES, Figure.EXPONENTS),
)
