"""The tangent kernel converges at initialisation and freezes under NTP; under muP it moves.

At the start ``K_0 - Θ`` has spread n^(-1/2) (Jacot et al. 2018, arXiv:1806.07572, theorem 1; Yang 2020,
arXiv:2006.14548); in training ``|K_t - K_0|/|K_0|`` falls like 1/n under NTP (Dyer & Gur-Ari 2020, arXiv:1909.11304;
Huang & Yau 2020, arXiv:1909.08156) and stays Θ(1) under muP.

1/n is the rate of smooth activations. A kink gives n^(-3/4): Δh ~ n^(-1/2) carries about n^(1/2) neurons over the
kink, each changes its term of the kernel by O(1/n) with a random sign, and sqrt(n^(1/2))/n = n^(-3/4). This is
derived here and measured (-0.75 ± 0.06 for relu). Between NTP and muP, where features move by n^(-r) with r < 1/2, two
powers mix (n^(-2r), and n^(-r-1/2) of first order in the movement), so such tables are refused.

muP's movement is judged at the last step only: f_0 vanishes and the first step is odd in the read-out, so its term
of first order averages to n^(-1/2) and mixes with the Θ(1) term of second order.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep
from tpbench.claims.coordinate_size import stable_table
from tpbench.claims.ntk_dynamics import kernel_shares
from tpbench.parametrization import PARAMETRIZATIONS, Parametrization, Regime, regime

KINKED = frozenset({"relu", "leaky-relu", "abs"})
SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 8,
    "train": 8,
    "learning_rate": 0.5,
    "centred": True,
    "steps": 5,
    "record": [0, 2, 5],
    "shares": [1, 1, 1],
    "rival_shares": [0, 1, 1],
}
TABLES = ("ntp", "mup")


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    if regime(table, c["depth"]) is Regime.FEATURE_LEARNING:
        last = c["record"][-1]
        return (Prediction(table.name, "kernel-movement", Kind.EXPONENT, 0.0, -1.0, tolerance=0.15, step=last),)
    if not all(kernel_shares(c)):
        raise ValueError(f"the kernel of {table.name!r} does not have all layers' terms, so it is not the NTK")
    frozen = -0.75 if c["activation"] in KINKED else -1.0
    at_start = (
        Prediction(table.name, "kernel-error", Kind.SPREAD, -0.5, 0.0, tolerance=0.1, step=0),
        Prediction(table.name, "rival-share", Kind.VALUE, 0.0, 1.0, tolerance=0.1, step=0),
    )
    moved = (
        Prediction(table.name, "kernel-movement", Kind.EXPONENT, frozen, 0.0, tolerance=0.15, step=step)
        for step in c["record"][1:]
    )
    return (*at_start, *moved)


def swap(table: Parametrization, c: Config) -> Parametrization:
    """Train muP in place of a kernel-regime table, and NTP in place of a feature-learning one."""
    learns = regime(table, c["depth"]) is Regime.FEATURE_LEARNING
    return PARAMETRIZATIONS["ntp" if learns else "mup"]


CLAIM = Claim(
    name="ntk-frozen",
    statement="The tangent kernel converges to the NTK; training moves it by 1/n under NTP and by Θ(1) under muP.",
    source="Jacot et al. 2018, arXiv:1806.07572; Dyer & Gur-Ari 2020, arXiv:1909.11304; Huang & Yau 2020, "
    "arXiv:1909.08156",
    rival="It moves by Θ(1) under NTP, freezes under muP, or lacks the first layer's term.",
    experiment="tangent",
    sweeps={
        "smoke": sweep(TABLES, {32: 512, 64: 512, 128: 256, 256: 128, 512: 48}, SETTINGS),
        "nightly": sweep(
            TABLES,
            {32: 1024, 64: 1024, 128: 512, 256: 256, 512: 128, 1024: 64, 2048: 16},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 32, 2**16: 8, 2**18: 4},
        ),
        "full": sweep(
            TABLES,
            {64: 1024, 128: 1024, 256: 512, 512: 256, 1024: 128, 2048: 64, 4096: 16},
            SETTINGS,
            lazy={2**10: 128, 2**12: 128, 2**14: 64, 2**16: 32, 2**18: 32, 2**20: 8},
        ),
    },
    predict=predict,
    faults=(
        Fault("other-regime", "muP is trained in place of NTP and NTP in place of muP", replacing_table(swap)),
        Fault(
            "missing-layer",
            "the analytic kernel lacks the first layer's term",
            lambda c: {**c, "shares": c["rival_shares"], "rival_shares": c["shares"]},
            spares=("mup",),
        ),
    ),
    figures=(Figure.EXPONENTS, Figure.CONVERGENCE),
    notes="The networks are tanh: an activation with a kink slows the freezing to n^(-3/4).",
)
