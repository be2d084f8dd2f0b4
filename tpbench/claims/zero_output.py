"""The initial output vanishes under muP and not under NTP or SP.

``f_0 ~ n^(1/2 - (a + b))`` with the read-out's a and b (arXiv:2011.14522, section 3): n^(-1/2) under muP, where
the read-out is smaller than Gaussian-process scaling, Θ(1) under NTP and SP, where f_0 is a Gaussian process.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep, table_of
from tpbench.claims.coordinate_size import opposite
from tpbench.parametrization import Parametrization, Role, exponent

TABLES = ("sp", "ntp", "mup", "mean-field")
SETTINGS = {"sigma_w": 2**0.5, "outputs": 10, "steps": 0, "record": [0]}


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth = table_of(c), c["depth"]
    power = float(exponent(table, "output-initial", depth=depth))
    rival = opposite(power)
    return (Prediction(table.name, "output", Kind.EXPONENT, power, rival, tolerance=0.1, layer=depth + 1, step=0),)


def enlarge(table: Parametrization, c: Config) -> Parametrization:
    """Leave 1/sqrt(n) out of the read-out's multiplier."""
    return table.replacing(Role.OUTPUT, a=table.output.a - Fraction(1, 2))


CLAIM = Claim(
    name="zero-output",
    statement="The output at initialisation vanishes like n^(-1/2) under muP, and stays Θ(1) under NTP and SP.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="The other way round: it vanishes under NTP and SP, or stays under muP.",
    experiment="training",
    sweeps={
        "smoke": sweep(TABLES, {64: 256, 128: 128, 256: 96, 512: 48, 1024: 16}, SETTINGS),
        "nightly": sweep(
            TABLES,
            {32: 2048, 64: 2048, 128: 1024, 256: 1024, 512: 512, 1024: 256, 2048: 64},
            SETTINGS,
            lazy={2**10: 512, 2**12: 256, 2**14: 64, 2**16: 32, 2**18: 8},
        ),
        "full": sweep(
            TABLES,
            {64: 2048, 128: 2048, 256: 1024, 512: 1024, 1024: 512, 2048: 256, 4096: 128},
            SETTINGS,
            lazy={2**10: 1024, 2**12: 512, 2**14: 512, 2**16: 256, 2**18: 128, 2**20: 64},
        ),
    },
    predict=predict,
    faults=(Fault("forgotten-root", "the read-out's multiplier lacks its 1/sqrt(n)", replacing_table(enlarge)),),
    figures=(Figure.EXPONENTS,),
)
