"""Nodes and weights for expectations over up to three independent standard Gaussians, of functions with kinks.

Gauss–Legendre panels in one variable after the other. The function may have kinks or jumps where linear forms
``c + b·u`` vanish. In the last variable the panels end there; what is left of the integral, as a function of the other
variables, has kinks where two of the forms vanish together, which is where the form that eliminates the last variable
from both does: so panels end there in the variable before, and so on. Nothing is smoothed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

REACH = 9.0
"""Standard deviations covered at least: N(0, 1) has 2e-19 beyond."""
FARTHEST = 38.0
"""Standard deviations beyond which the density is no decimal."""
POINTS = 6_000_000
"""The largest number of points."""
LADDERS = (
    ((1, 1),),
    ((12, 12), (18, 20), (36, 24), (96, 28)),
    ((9, 12), (12, 18), (24, 20), (48, 24)),
    ((7, 8), (8, 10), (9, 12), (9, 16)),
)
"""For every number of variables: panels between the kinks, over 18 standard deviations, and nodes a panel."""

_CPU = torch.device("cpu")
_TINY = 1e-12


class TooManyPointsError(ArithmeticError):
    """The kinks cut an integral into more panels than are worth waiting for."""


@dataclass(frozen=True)
class Box:
    """Where an integral is taken: a range of every variable, and the radius beyond which corners are left out."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    radius: float = REACH

    @property
    def negligible(self) -> float:
        """The weight below which points are left out: corners, a standard deviation and a half beyond the radius."""
        return math.exp(-((self.radius + 1.5) ** 2) / 2)

    def wider(self) -> Box:
        """Return the box with three standard deviations more on all sides."""
        low = tuple(max(-FARTHEST, each - 3) for each in self.low)
        high = tuple(min(FARTHEST, each + 3) for each in self.high)
        return Box(low, high, min(FARTHEST, self.radius + 3))

    def edge(self, u: Tensor, weights: Tensor) -> Tensor:
        """Return which of the points lie in the outermost layer: half a standard deviation at a side, or a corner."""
        low = torch.tensor(self.low, dtype=torch.float64, device=_CPU)[:, None]
        high = torch.tensor(self.high, dtype=torch.float64, device=_CPU)[:, None]
        beside: Tensor = ((u < low + 0.5) | (u > high - 0.5)).any(dim=0)
        return beside | (weights < self.negligible * 1e3)


def standard(count: int) -> Box:
    """Return the box that is enough for functions that grow slowly."""
    return Box((-REACH,) * count, (REACH,) * count)


Curves = Callable[[Tensor], Tensor]
"""From points in all variables but the last (variable, point) to kinks in the last one, (point, kink)."""


def nodes(
    forms: np.ndarray, panels: int, order: int, curves: Curves | None = None, box: Box | None = None
) -> tuple[Tensor, Tensor]:
    """Return points u (variable, point) and weights (point,) for E f(u), u standard Gaussian.

    ``forms`` has a row (c, b_1, …, b_r) for every form ``c + b·u`` at whose zeros f may have a kink; ``curves`` gives
    further kinks in the last variable; ``box`` is ``standard`` where it is not given.
    Raises ``TooManyPointsError`` above ``POINTS`` points.
    """
    count = forms.shape[1] - 1
    box = box or standard(count)
    points = torch.zeros((0, 1), dtype=torch.float64, device=_CPU)
    weights = torch.ones(1, dtype=torch.float64, device=_CPU)
    for level, breaks in enumerate(_levels(forms)):
        here = -(breaks[:, :1] + breaks[:, 1 : level + 1] @ points) / breaks[:, level + 1 :]
        more = [curves(points)] if curves is not None and level == count - 1 else []
        u, w = _line(torch.cat([here.T, *more], dim=1), (box.low[level], box.high[level]), panels, order)
        if u.numel() > POINTS:
            raise TooManyPointsError(
                f"kinks cut an integral over {count} Gaussian directions into more than {POINTS} points"
            )
        points = torch.cat([points[:, :, None].expand(-1, -1, u.shape[1]), u[None]]).flatten(1)
        weights = (weights[:, None] * w).flatten()
        kept = weights > box.negligible
        points, weights = points[:, kept], weights[kept]
    return points, weights


def _line(breaks: Tensor, ends: tuple[float, float], panels: int, order: int) -> tuple[Tensor, Tensor]:
    """Return nodes and Gaussian weights (point, node) on lines whose panels end at ``breaks`` (point, break), too."""
    low, high = ends
    count = math.ceil(panels * (high - low) / (2 * REACH) - _TINY)
    grid = torch.linspace(low, high, count + 1, dtype=torch.float64, device=_CPU).expand(breaks.shape[0], -1)
    edges = torch.cat([grid, breaks.clamp(low, high)], dim=1).sort(dim=1).values
    half, middle = edges.diff(dim=1) / 2, (edges[:, 1:] + edges[:, :-1]) / 2
    at, share = _legendre(order)
    u = (middle[:, :, None] + half[:, :, None] * at).flatten(1)
    density = torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)
    return u, (half[:, :, None] * share).flatten(1) * density


@lru_cache(maxsize=32)
def _legendre(order: int) -> tuple[Tensor, Tensor]:
    at, share = np.polynomial.legendre.leggauss(order)
    return torch.as_tensor(at, device=_CPU), torch.as_tensor(share, device=_CPU)


def _levels(forms: np.ndarray) -> list[Tensor]:
    """Return, from the first variable to the last, the forms in it and those before it at whose zeros panels end."""
    found, left = [], _distinct(forms)
    for last in range(forms.shape[1] - 1, 0, -1):
        within = left[np.abs(left[:, last]) > _TINY]
        found.append(torch.as_tensor(within[:, : last + 1], device=_CPU))
        scaled = within / within[:, last : last + 1]
        meetings = [scaled[i] - scaled[j] for i, j in itertools.combinations(range(len(scaled)), 2)]
        left = _distinct(np.array([*left[np.abs(left[:, last]) <= _TINY], *meetings]).reshape(-1, forms.shape[1]))
    return found[::-1]


def _distinct(forms: np.ndarray) -> np.ndarray:
    """Return forms of length 1 and first slope above 0, each once; those without a slope have no zeros."""
    kept: list[np.ndarray] = []
    for form in forms:
        slopes = form[1:]
        length = float(np.linalg.norm(slopes))
        if length <= _TINY * max(1.0, abs(form[0])):
            continue
        first = slopes[np.abs(slopes) > _TINY * length][0]
        scaled = form / (length * np.sign(first))
        if not any(np.allclose(scaled, other, rtol=0, atol=1e-10) for other in kept):
            kept.append(scaled)
    return np.array(kept).reshape(-1, forms.shape[1])
