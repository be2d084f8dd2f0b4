"""Between NTP and muP features, kernel and initial output follow three exponents of the place s on the segment.

With ``b_out = (1 + s)/2`` and ``c = (-s, 1 - s, 1)`` (a = 0; NTP at s = 0, muP at s = 1) every hidden layer has
``r_l = (1 - s)/2`` (Yaida 2022, arXiv:2210.04909, whose learning strength is L/n^(1-s)): ``Δh ~ n^(-(1-s)/2)``,
``f_0 ~ n^(-s/2)``, and the tangent kernel moves by ``n^(-(1-s))``.

The kernel's movement of *one* network mixes two powers. A term of first order in Δh is ``n^(-1/2 - (1-s)/2)``: an
average over n neurons of terms that are odd in the initial read-out, so its sign is random. That of second order is
``n^(-(1-s))`` and has one sign. So the signed change is averaged over seeds, where the first cancels (derived here).
The rival says that nothing lies between: a table behaves like NTP, or like muP (whichever is further from theory at
its s), and the kernel responds linearly to its features, by ``n^(-(1-s)/2)``.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tpbench.bench.claim import Axis, Claim, Config, Fault, Figure, Kind, Prediction
from tpbench.claims.config import replacing_table, sweep, table_of
from tpbench.parametrization import Parametrization, Role, equivalent, exponent
from tpbench.parametrization.catalogue import NTP_TO_MUP, STEPS, between

SETTINGS = {
    "activation": "tanh",
    "sigma_w": 1.5,
    "examples": 4,
    "train": 4,
    "learning_rate": 1.5,
    "base_width": 64,
    "centred": True,
    "steps": 2,
    "record": [0, 1, 2],
}
TABLES = tuple(NTP_TO_MUP)
LAST = SETTINGS["record"][-1]  # type: ignore[index]


def place(table: Parametrization) -> Fraction:
    """Return s, the place of a table on the segment; ``ValueError`` when it does not lie there."""
    s = 2 * (table.output.a + table.output.b) - 1
    if not 0 <= s <= 1 or not equivalent(table, between(s)):
        raise ValueError(
            f"{table.name!r} does not lie on the segment from NTP to muP, whose exponents this claim knows"
        )
    return s


def predict(c: Config) -> tuple[Prediction, ...]:
    table, depth = table_of(c), c["depth"]
    s = place(table)
    movement = float(exponent(table, "preactivation-change", depth=depth, layer=depth))
    start = float(exponent(table, "output-initial", depth=depth))
    found = [
        Prediction(table.name, "output", Kind.EXPONENT, start, _far_end(start), tolerance=0.1, layer=depth + 1, step=0),
        Prediction(
            table.name,
            "kernel-change",
            Kind.BIAS,
            predicted=2 * movement,
            rival=movement if s < 1 else -0.5,
            tolerance=0.06,
            step=LAST,
            # Of the next order in Δh, whose square the kernel's change is; of muP's own 1/n at s = 1.
            correction=float(1 - s) or 1.0,
        ),
    ]
    for layer in range(1, depth + 1):
        rival = _far_end(movement)
        row = Prediction(table.name, "preactivation-change", Kind.EXPONENT, movement, rival, tolerance=0.06)
        found.append(replace(row, layer=layer, step=LAST))
    return tuple(found)


def _far_end(power: float) -> float:
    """Return the exponent of that end of the segment, 0 or -1/2, which is further away."""
    return 0.0 if power < -0.25 else -0.5


def reversed_segment(table: Parametrization, c: Config) -> Parametrization:
    """Walk the segment from the other end."""
    return between(1 - place(table))


def rates_alone(table: Parametrization, c: Config) -> Parametrization:
    """Leave the read-out's initialisation at NTP's while the rates go to muP's."""
    return table.replacing(Role.OUTPUT, b=Fraction(1, 2) - table.output.a)


CLAIM = Claim(
    name="interpolation",
    statement="On the segment from NTP (s = 0) to muP (s = 1) features move by n^(-(1-s)/2), the kernel by n^(-(1-s)), "
    "and f_0 ~ n^(-s/2).",
    source="Yaida 2022, arXiv:2210.04909; exponents of the kernel derived in tpbench.claims.interpolation",
    rival="Nothing lies between: it is like NTP, or like muP; the kernel responds linearly, by n^(-(1-s)/2).",
    experiment="kernel-change",
    sweeps={
        "smoke": sweep(TABLES, {256: 64}, SETTINGS, lazy={2**10: 24, 2**12: 8}),
        "nightly": sweep(
            TABLES,
            {256: 512, 512: 256},
            SETTINGS,
            lazy={2**10: 256, 2**11: 128, 2**12: 128, 2**14: 64, 2**16: 16},
        ),
        "full": sweep(
            TABLES,
            {256: 2048, 512: 1024},
            SETTINGS,
            lazy={2**10: 512, 2**12: 512, 2**14: 256, 2**16: 128, 2**18: 32},
        ),
    },
    predict=predict,
    faults=(
        Fault(
            "other-end", "the segment is walked from muP to NTP", replacing_table(reversed_segment), spares=("s-0.5",)
        ),
        Fault(
            "rates-alone",
            "the read-out starts as under NTP everywhere",
            replacing_table(rates_alone),
            spares=("s-0",),
        ),
    ),
    figures=(Figure.FAMILY, Figure.EXPONENTS),
    axis=Axis(
        "place s on the segment from NTP to muP",
        {table.name: float(s) for s, table in zip(STEPS, NTP_TO_MUP.values(), strict=True)},
        {0.0: "NTP", 1.0: "muP"},
    ),
    notes="The kernel's change is averaged over seeds with its sign: a term of random sign, n^(-1/2-(1-s)/2), cancels.",
)
