"""Rows reduced to the points of a curve: one number a width with an interval from the scatter over seeds.

The squared size of a quantity is what averages well (over coordinates, inputs and seeds), so intervals are
made for squares and the root is taken last. Standard errors are jackknife ones, which leave out the seeds
one by one (or, when there are many, group by group): they need no random numbers, and for a plain mean over
few seeds they equal the usual standard error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import DENSE, WEIGHTS

Vector = NDArray[np.float64]

LEVEL = 0.95
FEWEST_SEEDS = 3
"""With fewer there is no interval: leaving one of two out leaves no scatter to speak of."""
MOST_GROUPS = 40
"""Groups of seeds the jackknife leaves out in turn; up to so many seeds each is a group of its own."""


@dataclass(frozen=True)
class Curve:
    """A quantity against width. ``low`` and ``high`` are NaN where there were too few seeds for an interval.

    ``diverged`` are the widths at which a value was not finite; the seeds concerned were left out.
    ``hidden`` are pairs (width, noise floor) where the noise hides the quantity.
    """

    widths: Vector
    values: Vector
    low: Vector
    high: Vector
    diverged: tuple[float, ...] = ()
    hidden: tuple[tuple[float, float], ...] = ()

    def against_inverse(self) -> Curve:
        """Return the curve against 1/width."""
        return Curve(1 / self.widths, self.values, self.low, self.high, tuple(1 / width for width in self.diverged))

    def within(self, widths: tuple[int, ...]) -> Curve:
        """Return the part of the curve at the given widths."""
        keep = np.isin(self.widths, widths)
        return Curve(self.widths[keep], self.values[keep], self.low[keep], self.high[keep])


def select(rows: pd.DataFrame, parametrization: str, quantity: str, layer: int, step: int) -> pd.DataFrame:
    """Return the rows of one quantity at one layer and step under one parametrization."""
    chosen = (
        (rows["parametrization"] == parametrization)
        & (rows["quantity"] == quantity)
        & (rows["layer"] == layer)
        & (rows["step"] == step)
    )
    return rows[chosen]


def by_weights(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each kind of weights that they have, dense first; rows that do not say so are dense."""
    if "weights" not in rows:
        return {DENSE: rows}
    parts = {kind: rows[rows["weights"] == kind] for kind in WEIGHTS}
    return {kind: part for kind, part in parts.items() if len(part)} or {DENSE: rows}


def size(rows: pd.DataFrame, unit: str = "seed") -> Curve:
    """Return the root mean square over seeds and indices against width.

    ``unit`` is the coordinate whose entries are independent: the seed, or the repeat of a timing.
    """
    return _curve(rows, unit, _mean_square)


def spread(rows: pd.DataFrame) -> Curve:
    """Return the root mean square over indices of the standard deviation over seeds against width."""
    return _curve(rows, "seed", _variance)


def bias(rows: pd.DataFrame) -> Curve:
    """Return the root mean square over indices of the mean over seeds against width, the noise subtracted.

    The squared mean of S seeds exceeds the squared expectation by s²/S on average, which is subtracted
    (with one seed there is no s to subtract). Where less than nothing is left the width is hidden, and the
    noise floor is the root mean square over indices of s/√S.
    """
    return _curve(rows, "seed", _squared_mean)


def mean(rows: pd.DataFrame) -> Curve:
    """Return the mean over seeds and indices against width, with its t interval."""
    tables, diverged = _tables(rows, "seed")
    points = []
    for width, table in tables.items():
        seeds = table.mean(axis=1)
        reach = np.nan
        if len(seeds) > 1:
            reach = _quantile(len(seeds)) * float(seeds.std(ddof=1)) / np.sqrt(len(seeds))
        centre = float(seeds.mean())
        points.append((width, centre, centre - reach, centre + reach))
    return Curve(*_columns(points), diverged=diverged)


@dataclass(frozen=True)
class Moments:
    """Sums over seeds of the distances from ``centre`` and of their squares, (..., rest); ``count`` is (...).

    A statistic is a function of these, so that leaving seeds out is a subtraction. Sums about a centre near the mean
    keep the digits that sums of squares about zero would lose.
    """

    count: Vector
    centre: Vector
    first: Vector
    second: Vector

    @property
    def mean(self) -> Vector:
        """The mean over seeds, (..., rest)."""
        return np.asarray(self.centre + self.first / self.count[..., None])


def _curve(rows: pd.DataFrame, unit: str, square: Callable[[Moments], Vector]) -> Curve:
    """Take the root of a squared statistic of a (seeds × the rest) table at every width."""
    tables, diverged = _tables(rows, unit)
    points, hidden = [], []
    for width, table in tables.items():
        scale = float(np.abs(table).max()) or 1.0  # squares of finite numbers may overflow
        whole, left_out = _moments(table / scale)
        value, reach = float(square(whole)), _reach(left_out, square)
        if value > 0:
            low, high = np.sqrt(np.maximum([value - reach, value + reach], 0))
            points.append((width, scale * np.sqrt(value), scale * low, scale * high))
        elif value < 0:
            hidden.append((width, scale * float(np.sqrt(_variance(whole) / len(table)))))
    return Curve(*_columns(points), diverged=diverged, hidden=tuple(hidden))


def _moments(table: Vector) -> tuple[Moments, Moments]:
    """Return the moments of a table, and those that leaving out each group of seeds in turn leaves."""
    count, centre = len(table), table.mean(axis=0)
    away = table - centre
    groups = np.array_split(np.arange(count), min(count, MOST_GROUPS))
    starts = [group[0] for group in groups]
    first, second = (np.add.reduceat(each, starts, axis=0) for each in (away, away**2))
    whole = Moments(np.array(float(count)), centre, first.sum(axis=0), second.sum(axis=0))
    left = count - np.array([float(len(group)) for group in groups])
    return whole, Moments(left, centre, whole.first - first, whole.second - second)


def _reach(left_out: Moments, square: Callable[[Moments], Vector]) -> float:
    """Return the half-width of the jackknife interval of a statistic; NaN where there are too few seeds."""
    many = len(left_out.count)
    if many < FEWEST_SEEDS:
        return float("nan")
    values = square(left_out)
    error = np.sqrt((many - 1) / many * np.sum((values - values.mean()) ** 2))
    return _quantile(many) * float(error)


def _tables(rows: pd.DataFrame, unit: str) -> tuple[dict[int, Vector], tuple[int, ...]]:
    """Return width → (seeds × the rest) without the seeds that are not finite, and the widths concerned."""
    rest = "index" if unit == "seed" else "seed"
    tables, diverged = {}, []
    for width, group in rows.groupby("width", sort=True):
        table = _table(group, unit, rest)
        finite = np.isfinite(table).all(axis=1)
        if not finite.all():
            diverged.append(_integer(width))
        if finite.any():
            tables[_integer(width)] = table[finite]
    return tables, tuple(diverged)


def _table(rows: pd.DataFrame, unit: str, rest: str) -> Vector:
    """Return values as a (unit × rest) table, NaN where there is none; ``ValueError`` where there are two."""
    units, row = np.unique(rows[unit].to_numpy(), return_inverse=True)
    others, column = np.unique(rows[rest].to_numpy(), return_inverse=True)
    place = row * len(others) + column
    if len(place) and np.bincount(place).max() > 1:
        raise ValueError(f"two values for one {unit} and {rest}: was a run read twice?")
    table = np.full(len(units) * len(others), np.nan)
    table[place] = rows["value"].to_numpy(dtype=np.float64)
    return table.reshape(len(units), len(others))


def _mean_square(m: Moments) -> Vector:
    about_zero = (m.second + 2 * m.centre * m.first) / m.count[..., None] + m.centre**2
    return np.asarray(about_zero.mean(axis=-1))


def _variance(m: Moments) -> Vector:
    """Return the variance over seeds; 0 where there is a single one."""
    count = m.count[..., None]
    squares = m.second - m.first**2 / count
    return np.asarray((squares / np.maximum(count - 1, 1)).mean(axis=-1)) * (m.count > 1)


def _squared_mean(m: Moments) -> Vector:
    return np.asarray((m.mean**2).mean(axis=-1) - _variance(m) / m.count)


def _columns(points: list[tuple[Any, ...]]) -> tuple[Vector, Vector, Vector, Vector]:
    table = np.array(points, dtype=np.float64).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def _quantile(count: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, count - 1))


def _integer(width: Any) -> int:
    return int(width)
