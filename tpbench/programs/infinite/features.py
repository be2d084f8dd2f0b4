"""Where a function of one variable changes fast: zeros and turning points of what goes into steep functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

STEEP = 3.0
"""Slopes above which panels are graded around where an argument is 0: the others see every panel's nodes."""
_GRID = 2**11
_HALVINGS = 60
_CPU = torch.device("cpu")

Argument = Callable[[Tensor], Tensor]


def grades(scale: float, ratio: float) -> list[float]:
    """Return distances from a feature of width ``scale`` at which panels end, from ``scale`` up to 1."""
    found, at = [], scale
    while at < 1:
        found.append(at)
        at *= ratio
    return found


def features(argument: Argument, low: float, high: float, known: np.ndarray) -> list[float]:
    """Return where panels should end in [low, high]: zeros of an argument, and graded ends around what is steep.

    ``known`` are places near which to look closely.
    """
    near = np.concatenate([known + sign * scale for sign in (-1, 1) for scale in 2.0 ** -np.arange(0, 40, 2)])
    grid = np.unique(np.concatenate([np.linspace(low, high, _GRID + 1), known, near]))
    at = torch.as_tensor(grid[(grid >= low) & (grid <= high)], dtype=torch.float64, device=_CPU)
    values = argument(at)
    found: list[float] = []
    for zero in _zeros(argument, at, values):
        step = 1e-7 * max(1.0, abs(zero))
        ends = argument(torch.tensor([zero - step, zero + step], dtype=torch.float64, device=_CPU))
        found += _around(zero, abs(float(ends[1] - ends[0])) / (2 * step))
    for turn, width in _turns(argument, at, values):
        ends = argument(torch.tensor([turn - width, turn, turn + width], dtype=torch.float64, device=_CPU))
        found += _around(turn, (abs(float(ends[0] - 2 * ends[1] + ends[2])) / 2) ** 0.5 / width)
    return found


def _around(place: float, slope: float) -> list[float]:
    graded = grades(1 / slope, 2.0) if STEEP < slope < 1e300 else []
    return [place, *(place + distance for distance in graded), *(place - distance for distance in graded)]


def _zeros(argument: Argument, at: Tensor, values: Tensor) -> list[float]:
    """Return zeros between points of a grid, by bisection."""
    crossing = (values[:-1].sign() * values[1:].sign()) < 0
    low, high, sign = at[:-1][crossing], at[1:][crossing], values[:-1][crossing].sign()
    for _ in range(_HALVINGS if low.numel() else 0):
        middle = (low + high) / 2
        left = argument(middle).sign() == sign
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    return [*low.tolist(), *at[values == 0].tolist()[:64]]


def _turns(argument: Argument, at: Tensor, values: Tensor) -> list[tuple[float, float]]:
    """Return turning points, by ternary search, and how far from its neighbours each was found."""
    steps = values.diff()
    inside = (steps[:-1] * steps[1:] < 0).nonzero()[:, 0]
    low, high, down = at[inside], at[inside + 2], steps[inside] < 0
    widths = ((high - low) / 4).tolist()
    for _ in range(_HALVINGS if low.numel() else 0):
        one, other = low + (high - low) / 3, high - (high - low) / 3
        left = (argument(one) < argument(other)) == down
        low, high = torch.where(left, low, one), torch.where(left, other, high)
    return list(zip(((low + high) / 2).tolist(), widths, strict=True))
