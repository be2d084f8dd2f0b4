"""A designed sample of the six-dimensional space of abc tables of the three-layer network, and slices through it.

The abc symmetry leaves two numbers a layer: *canonical* tables have a = 0 and coordinates (b1, b2, b3, c1, c2, c3).
Under SGD, with ``m = min(b3, c3)``, ``r1 = m + c1``, ``r2 = m + c2 - 1`` and ``r = min(r1, r2)``, a table is stable
when ``b1 = 0``, ``b2 = 1/2``, ``b3 >= 1/2``, ``c3 >= 1``, ``r >= 0`` and ``b3 + r >= 1`` (Yang & Hu 2021,
arXiv:2011.14522, section 3, in the notation of the package). The sample has tables that break each condition alone,
tables inside, on the faces, edges and vertices of what is left, tables an eighth away from those, and the grids of
three slices. About every other one is written with multipliers (a ≠ 0), which the theory says changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from random import Random
from typing import NamedTuple

from tpbench.parametrization.table import Exponents, Parametrization, Role

SOURCE = "designed sample of the (b, c) space of the three-layer network; derived here"
HALF, QUARTER, EIGHTH = Fraction(1, 2), Fraction(1, 4), Fraction(1, 8)
SHIFTS = tuple(Fraction(quarters, 4) for quarters in range(-4, 5))
SHIFTED = "+a"
"""What ends the name of a table that is written with multipliers."""


class Coordinates(NamedTuple):
    """A canonical table of the three-layer network: a = 0."""

    b1: Fraction
    b2: Fraction
    b3: Fraction
    c1: Fraction
    c2: Fraction
    c3: Fraction

    @property
    def name(self) -> str:
        """The name of its table, in decimals: ``b0_0.5_1_c-1_0_1`` is muP's."""
        numbers = [f"{float(number):g}" for number in self]
        return f"b{'_'.join(numbers[:3])}_c{'_'.join(numbers[3:])}"

    @property
    def starts(self) -> bool:
        """Whether pre-activations are of size 1 at the start."""
        return self.b1 == 0 and self.b2 == HALF

    @property
    def slacks(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """(r1, r2, c3 - 1, b3 + r - 1): the updates of three layers and W_0 Δx of the read-out are n^(-slack).

        The last is so where pre-activations are of size 1 at the start.
        """
        m = min(self.b3, self.c3)
        r1, r2 = m + self.c1, m + self.c2 - 1
        return r1, r2, self.c3 - 1, self.b3 + min(r1, r2) - 1

    @property
    def stable(self) -> bool:
        """Whether nothing grows and nothing vanishes at the start."""
        return self.starts and self.b3 >= HALF and min(self.slacks) >= 0


def coordinates(b1: str, b2: str, b3: str, c1: str, c2: str, c3: str) -> Coordinates:
    """Return a point from fractions in words."""
    return Coordinates(*map(Fraction, (b1, b2, b3, c1, c2, c3)))


MUP = coordinates("0", "1/2", "1", "-1", "0", "1")
NTP = coordinates("0", "1/2", "1/2", "0", "1", "1")


def table(point: Coordinates, *, shifts: Mapping[Role, Fraction] | None = None) -> Parametrization:
    """Return the abc table of a point; with ``shifts`` a -> a + θ a role, which SGD cannot tell from it."""
    layers = {Role.INPUT: (point.b1, point.c1), Role.HIDDEN: (point.b2, point.c2), Role.OUTPUT: (point.b3, point.c3)}
    theta = {role: (shifts or {}).get(role, Fraction(0)) for role in layers}
    written = {role: Exponents(theta[role], b - theta[role], c - 2 * theta[role]) for role, (b, c) in layers.items()}
    name = point.name + (SHIFTED if any(theta.values()) else "")
    return Parametrization(name, SOURCE, written[Role.INPUT], written[Role.HIDDEN], written[Role.OUTPUT])


def coordinates_of(p: Parametrization) -> Coordinates:
    """Return the canonical coordinates of a table under SGD.

    A table of one hidden layer has a hidden matrix added that moves as much as its first layer: ``r2 = r1``.
    """
    first, last = (Exponents(e.a - e.a, e.a + e.b, e.c + 2 * e.a) for e in (p.input, p.output))
    hidden = (HALF, first.c + 1) if p.hidden is None else (p.hidden.a + p.hidden.b, p.hidden.c + 2 * p.hidden.a)
    return Coordinates(first.b, hidden[0], last.b, first.c, hidden[1], last.c)


@dataclass(frozen=True)
class Slice:
    """A plane through the space: ``point`` maps its two axes into it, ``place`` takes a point's two axes back.

    ``x`` and ``y`` are the values of the sample's grid on the axes.
    """

    title: str
    axes: tuple[str, str]
    point: Callable[[Fraction, Fraction], Coordinates]
    place: Callable[[Coordinates], tuple[Fraction, Fraction]]
    x: tuple[Fraction, ...]
    y: tuple[Fraction, ...]

    def find(self, point: Coordinates) -> tuple[Fraction, Fraction] | None:
        """Return where a point lies on the slice; None when it lies off it."""
        found = self.place(point)
        return found if self.point(*found) == point else None


def _steps(first: str, last: str, step: Fraction = QUARTER) -> tuple[Fraction, ...]:
    count = (Fraction(last) - Fraction(first)) / step
    return tuple(Fraction(first) + step * i for i in range(int(count) + 1))


def _through_the_named(s: Fraction, u: Fraction) -> Coordinates:
    return Coordinates(Fraction(0), HALF, HALF + s / 2, -s, u - s, u)


def _equal_movements(c3: Fraction) -> Callable[[Fraction, Fraction], Coordinates]:
    return lambda x, y: Coordinates(Fraction(0), HALF, x, y - 1, y, c3)


SLICES = (
    Slice(
        title="The plane through SP, NTP and muP",
        axes=("s, from NTP to muP:  b₃ = ½ + s/2,  c₁ = −s", "u, rate of the read-out n^(−u):  c₃ = u,  c₂ = u − s"),
        point=_through_the_named,
        place=lambda point: (2 * point.b3 - 1, point.c3),
        x=_steps("-1/2", "3/2"),
        y=(Fraction(0), *_steps("1/2", "3/2")),
    ),
    Slice(
        title="Read-out rate at its edge (c₃ = 1)",
        axes=("b₃: initial size of the read-out n^(−b₃)", "c₂ = c₁ + 1: rate of the hidden layers"),
        point=_equal_movements(Fraction(1)),
        place=lambda point: (point.b3, point.c2),
        x=_steps("1/4", "3/2"),
        y=_steps("-1/2", "3/2"),
    ),
    Slice(
        title="Read-out rate too small (c₃ = 3/2)",
        axes=("b₃: initial size of the read-out n^(−b₃)", "c₂ = c₁ + 1: rate of the hidden layers"),
        point=_equal_movements(Fraction(3, 2)),
        place=lambda point: (point.b3, point.c2),
        x=_steps("1/4", "3/2"),
        y=_steps("-1/2", "3/2"),
    ),
)


def _from_movements(b3: Fraction, c3: Fraction, r1: Fraction, r2: Fraction) -> Coordinates:
    """Return the point whose hidden layers move by n^(-r1) and n^(-r2)."""
    m = min(b3, c3)
    return Coordinates(Fraction(0), HALF, b3, r1 - m, r2 + 1 - m, c3)


def _broken_starts() -> Iterator[Coordinates]:
    for point, number, by in product((MUP, NTP), ("b1", "b2"), (-HALF, -QUARTER, QUARTER, HALF)):
        yield point._replace(**{number: getattr(point, number) + by})


def _one_condition_broken() -> Iterator[Coordinates]:
    """Yield points that break ``b3 >= 1/2``, ``c3 >= 1``, ``r >= 0`` or ``b3 + r >= 1`` alone, some by both layers."""
    quarters = {n: Fraction(n, 4) for n in range(-4, 9)}
    for b3, c3 in product((0, 1), (4, 5, 6)):
        yield _from_movements(quarters[b3], quarters[c3], quarters[4 - b3], quarters[5 - b3])
    for b3, c3 in product((4, 5), (2, 3)):
        yield _from_movements(quarters[b3], quarters[c3], quarters[1], quarters[2])
    for r1, r2, c3 in product((-1, 1), (-1, 1), (4, 5)):
        if (r1, r2) != (1, 1):
            yield _from_movements(quarters[6], quarters[c3], quarters[r1], quarters[r2])
    for b3, (r1, r2), c3 in product((2, 3), ((0, 2), (2, 0)), (4, 5)):
        yield _from_movements(quarters[b3], quarters[c3], quarters[r1], quarters[r2])


def _stable_and_unequal() -> Iterator[Coordinates]:
    """Yield stable points whose hidden layers move differently: faces, edges and vertices, and the inside."""
    movements = (("0", "1/4"), ("1/4", "0"), ("0", "1/2"), ("1/2", "0"), ("1/4", "1/2"), ("1/2", "1/4"))
    for (r1, r2), b3, c3 in product(movements, ("1/2", "3/4", "1", "5/4"), ("1", "5/4", "3/2")):
        least = min(Fraction(r1), Fraction(r2))
        if Fraction(b3) + least >= 1 and not (least > 0 and Fraction(c3) == Fraction("5/4")):
            yield _from_movements(Fraction(b3), Fraction(c3), Fraction(r1), Fraction(r2))
    yield from (_from_movements(Fraction(1), Fraction(c3), Fraction(0), Fraction(0)) for c3 in ("5/4", "2"))
    yield from (_from_movements(HALF, Fraction(c3), HALF, Fraction(1)) for c3 in ("1", "5/4"))


def _an_eighth_away() -> Iterator[Coordinates]:
    for point, number, by in product((MUP, NTP), ("b3", "c1", "c2", "c3"), (-EIGHTH, EIGHTH)):
        yield point._replace(**{number: getattr(point, number) + by})


def _points() -> Iterable[Coordinates]:
    grids = (each.point(x, y) for each in SLICES for x, y in product(each.x, each.y))
    parts = (grids, _broken_starts(), _one_condition_broken(), _stable_and_unequal(), _an_eighth_away())
    return dict.fromkeys(point for part in parts for point in part)


def _some_shifts(point: Coordinates) -> Mapping[Role, Fraction]:
    """Return shifts for about every other point, always the same for one point, multiples of 1/4."""
    drawn = Random(point.name)
    if drawn.random() < 0.5:
        return {}
    return {role: drawn.choice(SHIFTS) for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT)}


@cache
def sample() -> Mapping[str, Parametrization]:
    """Return the tables of the sample by name."""
    return {found.name: found for found in (table(point, shifts=_some_shifts(point)) for point in _points())}
