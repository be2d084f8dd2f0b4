"""Which layers' terms the limiting tangent kernel has follows from the table, and need not be all of them.

The tangent kernel is ``Σ_l rate_l Σ_{w of l} ∂f/∂w ∂f/∂w``. Its term of layer l is ``n^(e_l) K_l``, with K_l the
layer's term of the NTK and ``e_l`` from ``parametrization.kernel_content`` (derived there): in canonical form
``e_l = 1 - b_out - r_l`` for hidden layers and ``e = 1 - c_out`` for the read-out. The seven tables ``kernel-…`` name
the layers whose terms stay; under SP with rate eta/n, the usual setting, the first layer's is missing. So "wide
networks are NTK machines" holds for one of the eight.

The rival of a term that stays is one that falls like n^(-1/2); that of one that falls is a term that stays.
"""

from __future__ import annotations

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep
from tpbench.claims.coordinate_size import opposite, stable_table
from tpbench.parametrization import PARAMETRIZATIONS, Regime, kernel_content, regime
from tpbench.parametrization.catalogue import CONTENTS

SETTINGS = {"activation": "tanh", "sigma_w": 1.5, "examples": 4, "train": 4, "steps": 0, "record": [0]}
TABLES = (*CONTENTS, "sp-over-n")


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth = stable_table(c), c["depth"]
    if regime(table, depth) is not Regime.KERNEL:
        raise ValueError(f"{table.name!r} learns features or nothing at all, so its limit is no kernel")
    return tuple(
        Prediction(
            table.name,
            "kernel-term",
            Kind.EXPONENT,
            float(power),
            opposite(float(power)),
            tolerance=0.1,
            layer=layer,
            step=0,
        )
        for layer, power in enumerate(kernel_content(table, depth), start=1)
    )


CLAIM = Claim(
    name="kernel-content",
    statement="The limiting kernel has the terms of exactly those layers that the table says: all seven sets occur.",
    source="derived in tpbench.parametrization.kernel_content from Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="It is the NTK: every layer's term stays (or the table's own term falls).",
    experiment="kernel-change",
    sweeps={
        "smoke": sweep(TABLES, {64: 512, 128: 256, 256: 128}, SETTINGS),
        "nightly": sweep(
            TABLES, {64: 1024, 256: 512, 512: 256}, SETTINGS, lazy={2**10: 128, 2**12: 64, 2**14: 32, 2**16: 16}
        ),
        "full": sweep(
            TABLES,
            {64: 256, 128: 256, 256: 128, 512: 128, 1024: 64},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 64, 2**16: 32, 2**18: 16, 2**20: 4},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "full-ntk",
            "NTP is trained in place of every table",
            replacing_table(lambda table, c: PARAMETRIZATIONS["ntp"]),
            spares=("kernel-123",),
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="At initialisation, where all terms are Θ(1) under NTP: what is tested is the bookkeeping of rates.",
)
