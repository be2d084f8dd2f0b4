"""Coordinates keep their size at every width, at the start and in training.

``h^l`` and ``x^l`` have coordinates of size Θ(1): exponent 0 for every stable parametrization, at initialisation
and after every O(1) number of steps (arXiv:2011.14522, section 3). The natural mistake is a
forgotten 1/sqrt(n), after which sizes grow like n^(1/2).

The centred output f - f_0 is trained: its residual at the start is the same for every seed, so the noise of f_0
does not blur the exponents.
"""

from __future__ import annotations

from fractions import Fraction

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep, table_of
from tpbench.parametrization import Parametrization, Role, exponent, violations

STABLE = ("sp-over-n", "ntp", "mup", "mean-field")
SETTINGS = {"sigma_w": 2**0.5, "learning_rate": 0.5, "centred": True, "steps": 5, "record": [0, 1, 5]}


def stable_table(c: Config) -> Parametrization:
    """Return the table of a configuration; ``ValueError`` when the theory says that it is unstable."""
    table = table_of(c)
    broken = violations(table, c["depth"])
    if broken:
        raise ValueError(f"{table.name!r} is not stable at depth {c['depth']}: {'; '.join(broken)}")
    return table


def opposite(power: float) -> float:
    """Return the rival of an exponent that is at most 0: standing still for what moves, and the reverse."""
    return 0.0 if power <= -0.2 else power - 0.5


def predict(c: Config) -> tuple[Prediction, ...]:
    table = stable_table(c)
    return tuple(
        Prediction(
            table.name,
            quantity,
            Kind.EXPONENT,
            predicted=float(exponent(table, quantity, depth=c["depth"], layer=layer)),
            rival=0.5,
            tolerance=0.1,
            layer=layer,
            step=step,
        )
        for step in c["record"]
        for layer in range(1, c["depth"] + 1)
        for quantity in ("preactivation", "activation")
    )


def forget_root(table: Parametrization, c: Config) -> Parametrization:
    """Leave 1/sqrt(n) out of the last hidden layer's initialisation."""
    role = Role.INPUT if c["depth"] == 1 else Role.HIDDEN
    return table.replacing(role, b=table.of(role).b - Fraction(1, 2))


CLAIM = Claim(
    name="coordinate-size",
    statement="Pre-activations and activations keep coordinates of size Θ(1) at every width, before and in training.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3",
    rival="They grow like n^(1/2), as when a 1/sqrt(n) is forgotten.",
    experiment="training",
    sweeps={
        "smoke": sweep(STABLE, {64: 64, 128: 48, 256: 32, 512: 24, 1024: 12}, SETTINGS),
        "nightly": sweep(
            STABLE,
            {64: 256, 128: 256, 256: 128, 512: 64, 1024: 32, 2048: 16},
            SETTINGS,
            lazy={2**10: 32, 2**12: 32, 2**14: 16, 2**16: 4, 2**18: 2},
        ),
        "full": sweep(
            STABLE,
            {128: 256, 256: 256, 512: 128, 1024: 64, 2048: 32, 4096: 16, 8192: 8},
            SETTINGS,
            lazy={2**10: 64, 2**12: 64, 2**14: 32, 2**16: 16, 2**18: 16, 2**20: 8},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "forgotten-root",
            "the last hidden layer is initialised without its 1/sqrt(n)",
            replacing_table(forget_root),
        ),
    ),
    figures=(Figure.EXPONENTS,),
)
