"""The charts on which measured regimes are drawn: slices of (b, c) space with the regimes that theory gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product

from tpbench.bench.atlas import Atlas, Chart, Region
from tpbench.bench.claim import Config
from tpbench.claims.config import table_of
from tpbench.claims.regimes import exponents, resolved
from tpbench.parametrization import NAMED, Regime, regime
from tpbench.parametrization.sample import EIGHTH, SLICES, Coordinates, Slice, coordinates_of, table

Place = tuple[Fraction, Fraction]
MARKED = {"sp": "SP, rate η", "ntp": "NTP", "mup": "muP, mean field"}
"""Named tables that are marked where they lie on a slice; mean field is muP of one hidden layer."""
DRAWN = (Regime.TRIVIAL, Regime.KERNEL, Regime.FEATURE_LEARNING)
"""The regimes that are drawn over the unstable rest, the later over the earlier: faces over what they bound."""


def atlas(configs: Mapping[str, Config]) -> Atlas:
    """Return the charts of the slices, with the tables of these configurations, by label, that lie on them."""
    placed = {label: coordinates_of(table_of(c)) for label, c in configs.items()}
    return Atlas(
        charts=tuple(_chart(each, placed) for each in SLICES),
        predicted={label: str(regime(table_of(c), c["depth"])) for label, c in configs.items()},
        near=frozenset(label for label, c in configs.items() if _is_near(c)),
    )


def _is_near(c: Config) -> bool:
    """Return whether some exponent that decides the regime is too near to 0 to be told from it."""
    return not all(resolved(power) for _, _, power in exponents(table_of(c), c["depth"]))


def _chart(part: Slice, placed: Mapping[str, Coordinates]) -> Chart:
    x, y = ((axis[0] - EIGHTH, axis[-1] + EIGHTH) for axis in (part.x, part.y))
    found = {label: part.find(point) for label, point in placed.items()}
    marks = {text: part.find(coordinates_of(NAMED[name])) for name, text in MARKED.items()}
    return Chart(
        title=part.title,
        axes=part.axes,
        box=(float(x[0]), float(x[1]), float(y[0]), float(y[1])),
        regions=tuple(_regions(part, x, y)),
        spots={label: _floats(place) for label, place in found.items() if place is not None},
        marks={text: _floats(place) for text, place in marks.items() if place is not None},
    )


def _floats(place: Place) -> tuple[float, float]:
    return float(place[0]), float(place[1])


def _regions(part: Slice, x: Place, y: Place) -> Iterator[Region]:
    """Yield the closures of the regimes of a slice: convex hulls of points among the multiples of 1/8.

    Each regime of ``DRAWN`` is a face of what those before it leave, so the points of the later ones belong to its
    closure. The conditions of stability are concave and piecewise linear in (b, c), so the stable set is convex; on
    these slices its faces are, too, and all corners are multiples of 1/8.
    """
    points = {place: regime(table(part.point(*place)), 2) for place in product(_lattice(*x), _lattice(*y))}
    for number, name in enumerate(DRAWN):
        if name in points.values():
            corners = hull([place for place, found in points.items() if found in DRAWN[number:]])
            yield Region(str(name), tuple(_floats(corner) for corner in corners))


def _lattice(first: Fraction, last: Fraction) -> list[Fraction]:
    return [first + EIGHTH * i for i in range(int((last - first) / EIGHTH) + 1)]


def hull(points: Sequence[Place]) -> list[Place]:
    """Return the corners of the convex hull of points in the plane, anticlockwise: one, two, or a polygon's."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    return lower[:-1] + upper[:-1]


def _chain(ordered: Sequence[Place]) -> list[Place]:
    found: list[Place] = []
    for point in ordered:
        while len(found) > 1 and _turn(found[-2], found[-1], point) <= 0:
            found.pop()
        found.append(point)
    return found


def _turn(a: Place, b: Place, c: Place) -> Fraction:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
