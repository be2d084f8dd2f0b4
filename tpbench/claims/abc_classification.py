"""The map of regimes: measured exponents sort abc tables into the regimes that theory gives them.

A table with a = 0 is a point of the six-dimensional (b, c) space of the three-layer network. Yang & Hu 2021
(arXiv:2011.14522, section 3) divide it by a few inequalities (``parametrization.sample`` has them) into four regimes:
*unstable*: something grows with width, or pre-activations vanish at the start; *trivial*: after O(1) steps the output
has not moved; *kernel*: the output moves and features do not; *feature learning*: both do. A designed sample of
tables is trained, and what is measured must agree: where theory says that a quantity grows or vanishes, its exponent
is at least (most) 1/4 from 0, and else it is 0.

A sum of powers has no clean exponent, so parts are kept apart: ``growth`` and ``activation-change`` are each the
largest exponent over their parts, ``initial-size`` the smallest over layers. The networks are trained on a linear
loss, whose dL/df is fixed: a random residual would blur exponents, and unstable networks would feed back. Rates are
of order 1 at width 1 (``base_width``), so that all terms which theory compares begin with constants alike, and four
steps are taken: the read-out's own update passes a signal back from the second step on.

Exponents are resolved to ±1/8. A quantity that grows or vanishes by less than 1/4 is not judged; the tables an eighth
away from a boundary have the rows that can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache

from tpbench.bench.claim import Claim, Config, Fault, Figure, Kind, Prediction, Side, Sweep
from tpbench.claims.config import replacing_table, sweep, table_of
from tpbench.claims.coordinate_size import forget_root
from tpbench.parametrization import NAMED, Parametrization, Regime, analyse, regime
from tpbench.parametrization.predict import initial_sizes
from tpbench.parametrization.sample import sample

SETTINGS = {
    "dataset": "gaussian",
    "examples": 4,
    "train": 4,
    "activation": "gelu",
    "sigma_w": 1.4,
    "loss": "linear",
    "learning_rate": 0.4,
    "steps": 3,
    "record": [0, 3],
}
NAMES = ("sp", "sp-over-n", "ntp", "mup", "mean-field")
"""The known tables that are judged beside the sample."""
LEAST = Fraction(1, 4)
"""What grows or vanishes does so by this power of the width at least, or is not judged."""
RESOLUTION = 0.125
"""Half of that: an exponent nearer to 0 than this is 0."""


def exponents(c: Config) -> Iterator[tuple[str, Kind, Fraction | None]]:
    """Yield (quantity, kind, power) that theory gives a table: None for what grows or vanishes, but by too little."""
    table, depth = table_of(c), c["depth"]
    start, found = initial_sizes(table, depth), analyse(table, depth)
    slack = {condition.quantity: condition.slack for condition in found.conditions}
    yield "initial-size", Kind.SMALLEST, _judged(min(0, *start.values()))
    if found.regime is Regime.UNSTABLE:
        bounds = [-power for name, power in slack.items() if not name.startswith("h^")]
        yield "growth", Kind.LARGEST, _judged(max(0, *bounds, *start.values()))
        return
    yield "growth", Kind.LARGEST, Fraction(0)
    moves = min(power for name, power in slack.items() if name.endswith("of the read-out"))
    yield "output-change", Kind.EXPONENT, _judged(-moves)
    if found.regime is not Regime.TRIVIAL:
        yield "activation-change", Kind.LARGEST, _judged(-slack["Δh"])


def _judged(power: Fraction | int) -> Fraction | None:
    return Fraction(power) if power == 0 or abs(power) >= LEAST else None


def prediction(name: str, quantity: str, kind: Kind, power: Fraction, step: int) -> Prediction:
    """Return what is judged: an exponent of 0, or one that is at least 1/4 from 0 on its side; the rival is the other.

    ``growth`` of 0 is a bound, for what must not grow may vanish, and so is ``initial-size`` from below.
    """
    sign = (power > 0) - (power < 0)
    bounds = {"growth": Side.AT_MOST, "initial-size": Side.AT_LEAST}
    side = {1: Side.AT_LEAST, -1: Side.AT_MOST}.get(sign, bounds.get(quantity, Side.EQUAL))
    rival = float(LEAST) if quantity == "growth" else -float(LEAST)
    return Prediction(
        name,
        quantity,
        kind,
        predicted=sign * float(LEAST),
        rival=0.0 if sign else rival,
        tolerance=RESOLUTION,
        step=0 if quantity == "initial-size" else step,
        side=side,
    )


def predict(c: Config) -> tuple[Prediction, ...]:
    name, last = table_of(c).name, c["steps"]
    return tuple(
        prediction(name, quantity, kind, power, last) for quantity, kind, power in exponents(c) if power is not None
    )


@cache
def regimes() -> dict[str, Regime]:
    """Return the regime of every table of the sample and of the named ones, for networks of two hidden layers."""
    tables = {**{name: NAMED[name] for name in NAMES}, **sample()}
    return {name: regime(table, depth_of(table)) for name, table in tables.items()}


def depth_of(table: Parametrization) -> int:
    """Return how many hidden layers are trained of a table: two, where it knows so many."""
    return 1 if table.hidden is None else 2


def tables(wanted: Iterable[Regime]) -> tuple[str, ...]:
    """Return the names of the judged tables that are in one of these regimes."""
    chosen = tuple(wanted)
    return tuple(name for name, found in regimes().items() if found in chosen)


def sweeps(names: tuple[str, ...]) -> dict[str, Sweep]:
    """Return the sweeps of some of the tables, the same for each claim, so that claims share their runs."""
    few = (*(name for name in NAMES if name in names), *names[7 :: max(1, len(names) // 20)])
    return {
        "smoke": sweep(tuple(dict.fromkeys(few)), {}, SETTINGS, lazy={512: 8, 2048: 6, 8192: 4}),
        "nightly": sweep(names, {}, SETTINGS, lazy={512: 16, 2048: 8, 8192: 4, 32768: 2}),
        "full": sweep(names, {}, SETTINGS, lazy={2**10: 16, 2**12: 16, 2**14: 8, 2**16: 4, 2**18: 4}),
    }


def swap(table: Parametrization, c: Config) -> Parametrization:
    """Train muP in place of a table that does not learn features, and NTP in place of one that does."""
    learns = regime(table, c["depth"]) is Regime.FEATURE_LEARNING
    return NAMED["ntp" if learns else "mup"]


def grow_anyway() -> tuple[str, ...]:
    """Return the tables of which a larger initialisation falsifies nothing: something grows already, nothing shrinks."""
    known = {**NAMED, **sample()}
    unstable = ((name, known[name]) for name in tables([Regime.UNSTABLE]))
    return tuple(name for name, table in unstable if min(initial_sizes(table, depth_of(table)).values()) >= 0)


CLAIM = Claim(
    name="abc-classification",
    statement="Measured exponents sort abc tables into unstable, trivial, kernel and feature learning as theory does.",
    source="Yang & Hu 2021, arXiv:2011.14522, section 3; the boundaries in (b, c) space derived here",
    rival="The table is on the other side of its boundary: what grows or vanishes keeps its size, or the reverse.",
    experiment="regimes",
    sweeps=sweeps(tables(Regime)),
    predict=predict,
    faults=(
        Fault(
            "other-regime",
            "muP is trained in place of tables that do not learn features, and NTP in place of those that do",
            replacing_table(swap),
        ),
        Fault(
            "forgotten-root",
            "the last hidden layer is initialised without its 1/sqrt(n)",
            replacing_table(forget_root),
            spares=grow_anyway(),
        ),
    ),
    figures=(Figure.EXPONENTS,),
    notes="A sampled table's name has its (b, c) numbers; +a says that it is written with multipliers a ≠ 0.",
)
