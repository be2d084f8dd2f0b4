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
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

REACH = 9.0
"""Standard deviations covered: N(0, 1) has 2e-19 beyond."""
NEGLIGIBLE = 1e-24
"""Weights below this are left out: the corners of the cube, 10.5 standard deviations away."""
POINTS = 6_000_000
"""The largest number of points."""
LADDERS = (
    ((1, 1),),
    ((12, 12), (18, 20), (36, 24), (96, 24)),
    ((9, 12), (12, 18), (24, 20), (48, 20)),
    ((7, 8), (9, 12), (9, 16)),
)
"""For every number of variables: panels between the kinks and nodes a panel, coarse to fine."""

_CPU = torch.device("cpu")
_TINY = 1e-12


class TooManyPointsError(ArithmeticError):
    """The kinks cut an integral into more panels than are worth waiting for."""


Curves = Callable[[Tensor], Tensor]
"""From points in all variables but the last (variable, point) to kinks in the last one, (point, kink)."""


def nodes(forms: np.ndarray, panels: int, order: int, curves: Curves | None = None) -> tuple[Tensor, Tensor]:
    """Return points u (variable, point) and weights (point,) for E f(u), u standard Gaussian.

    ``forms`` has a row (c, b_1, …, b_r) for every form ``c + b·u`` at whose zeros f may have a kink; ``curves`` gives
    further kinks in the last variable.
    Raises ``TooManyPointsError`` above ``POINTS`` points.
    """
    count = forms.shape[1] - 1
    points = torch.zeros((0, 1), dtype=torch.float64, device=_CPU)
    weights = torch.ones(1, dtype=torch.float64, device=_CPU)
    for level, breaks in enumerate(_levels(forms)):
        here = -(breaks[:, :1] + breaks[:, 1 : level + 1] @ points) / breaks[:, level + 1 :]
        more = [curves(points)] if curves is not None and level == count - 1 else []
        u, w = _line(torch.cat([here.T, *more], dim=1), panels, order)
        if u.numel() > POINTS:
            raise TooManyPointsError(
                f"kinks cut an integral over {count} Gaussian directions into more than {POINTS} points"
            )
        points = torch.cat([points[:, :, None].expand(-1, -1, u.shape[1]), u[None]]).flatten(1)
        weights = (weights[:, None] * w).flatten()
        kept = weights > NEGLIGIBLE
        points, weights = points[:, kept], weights[kept]
    return points, weights


def _line(breaks: Tensor, panels: int, order: int) -> tuple[Tensor, Tensor]:
    """Return nodes and Gaussian weights (point, node) on lines whose panels end at ``breaks`` (point, break), too."""
    grid = torch.linspace(-REACH, REACH, panels + 1, dtype=torch.float64, device=_CPU).expand(breaks.shape[0], -1)
    edges = torch.cat([grid, breaks.clamp(-REACH, REACH)], dim=1).sort(dim=1).values
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
