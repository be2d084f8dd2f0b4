"""What the claims about regimes share: which tables are trained, how, and what is judged of an exponent.

The networks are trained on a linear loss, whose dL/df is fixed: a random residual would blur exponents, and unstable
networks would feed back. Rates are of order 1 at width 1 (``base_width``), so that all terms which theory compares
begin with constants alike; there are three steps, since the read-out's own update sends a signal back from the second
step on, and the initial one alone in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

from tpbench.bench.claim import Kind, Prediction, Side, Sweep
from tpbench.claims.config import sweep
from tpbench.parametrization import NAMED, Parametrization, Regime, analyse
from tpbench.parametrization.predict import initial_sizes
from tpbench.parametrization.rule import HALF
from tpbench.parametrization.sample import Coordinates, coordinates_of, sample

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
    "dtype": "float64",  # what is unstable grows beyond single precision
}
NAMES = ("sp", "sp-over-n", "ntp", "mup", "mean-field")
"""The known tables that are judged beside the sample."""
LEAST = Fraction(1, 4)
"""What grows or vanishes does so by this power of the width at least, or is not judged."""
RESOLUTION = float(LEAST) / 2
"""An exponent nearer to 0 than this is 0."""
FEW = {True: 16, False: 40}
"""Of how many sampled tables the smoke profile has one, where they are stable and where they are not."""

NOT_GROWING, NOT_VANISHING = "growth", "initial-size"
BOUNDS = {NOT_GROWING: Side.AT_MOST, NOT_VANISHING: Side.AT_LEAST}
"""Quantities of which an exponent of 0 is a bound: what must not grow may vanish, what must not vanish may grow."""


def resolved(power: Fraction) -> bool:
    """Return whether an exponent is 0 or far enough from it to be told from it."""
    return power == 0 or abs(power) >= LEAST


def prediction(name: str, quantity: str, kind: Kind, power: Fraction, step: int) -> Prediction:
    """Return what is judged: an exponent of 0, or one that is at least 1/4 from 0 on its side; the rival is the other.

    Raises ``ValueError`` for an exponent that cannot be told from 0.
    """
    if not resolved(power):
        raise ValueError(f"{quantity} of {name!r} goes like n^({power}), which is too near to n^0 to be told from it")
    sign = (power > 0) - (power < 0)
    rival = float(LEAST) if quantity == NOT_GROWING else -float(LEAST)
    return Prediction(
        name,
        quantity,
        kind,
        predicted=sign * float(LEAST),
        rival=0.0 if sign else rival,
        tolerance=RESOLUTION,
        step=step,
        side={1: Side.AT_LEAST, -1: Side.AT_MOST}.get(sign, BOUNDS.get(quantity, Side.EQUAL)),
    )


def exponents(table: Parametrization, depth: int) -> Iterator[tuple[str, Kind, Fraction]]:
    """Yield (quantity, kind, exponent): what grows or vanishes most, as far as theory says."""
    start, found = initial_sizes(table, depth).values(), analyse(table, depth)
    slack = {condition.quantity: condition.slack for condition in found.conditions if not condition.exact}
    yield NOT_VANISHING, Kind.SMALLEST, min(Fraction(0), *start)
    yield NOT_GROWING, Kind.LARGEST, max(Fraction(0), *start, *(-power for power in slack.values()))
    if found.regime is Regime.UNSTABLE:
        return
    yield "output-change", Kind.EXPONENT, -min(slack["ΔW x of the read-out"], slack["W_0 Δx of the read-out"])
    if found.regime is not Regime.TRIVIAL:
        yield "activation-change", Kind.LARGEST, -slack["Δh"]


@cache
def tables() -> dict[str, tuple[Parametrization, Coordinates]]:
    """Return the judged tables by name, each with its canonical point."""
    known = {name: NAMED[name] for name in NAMES} | dict(sample())
    return {name: (table, coordinates_of(table)) for name, table in known.items()}


def chosen(which: Callable[[Coordinates], bool]) -> tuple[str, ...]:
    """Return the names of the tables whose points are wanted."""
    return tuple(name for name, (_, point) in tables().items() if which(point))


def decided(point: Coordinates) -> bool:
    """Return whether the exponents that decide a point's regime can all be told from 0."""
    r1, r2, own, passed = point.slacks
    if not point.stable:
        broken = (abs(point.b1), abs(point.b2 - HALF), HALF - point.b3, *(-slack for slack in point.slacks))
        return max(broken) >= LEAST
    moves, features = min(own, passed), min(r1, r2)
    return resolved(moves) and (moves > 0 or resolved(features))


def alone(point: Coordinates) -> bool:
    """Return whether one hidden layer alone learns features, and the read-out's own update vanishes by n^(-1/2)."""
    r1, r2, own, passed = point.slacks
    return point.stable and passed == 0 and own >= HALF and min(r1, r2) == 0 < max(r1, r2)


@cache
def some() -> frozenset[str]:
    """Return the tables of the smoke profile: the known ones, a few of the sample, and one layer learning alone."""
    parts = [chosen(lambda point, stable=stable: point.stable == stable) for stable in FEW]  # type: ignore[misc]
    spread = {name for names, each in zip(parts, FEW.values(), strict=True) for name in names[5::each]}
    return frozenset(NAMES) | {chosen(alone)[-1]} | spread


def sweeps(names: tuple[str, ...]) -> dict[str, Sweep]:
    """Return the sweeps over tables; a table's runs are the same for every claim, so that claims share them."""
    few = tuple(name for name in names if name in some())
    return {
        "smoke": sweep(few, {}, SETTINGS, lazy={512: 8, 2048: 6, 8192: 3, 16384: 2}),
        "nightly": sweep(names, {}, SETTINGS, lazy={512: 16, 2048: 8, 8192: 4, 32768: 2}),
        "full": sweep(
            names, {2**10: 8, 2**11: 8, 2**12: 4}, SETTINGS, lazy={2**10: 16, 2**12: 16, 2**14: 8, 2**16: 4, 2**18: 4}
        ),
    }
