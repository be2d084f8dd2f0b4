"""Is a function continuous along an argument, and is its derivative by autograd that of its values?

Found by evaluation, where a program evaluates it. Between two points of a grid a continuous function changes by the
integral of its derivative, up to what a finer grid makes smaller; a jump stays, however fine the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LINES = 8
CELLS = 2**10
ZOOMS = 4
JUMP = 1e-4
"""Share of a function's range that has to remain as a difference without derivative to be a jump."""
STEP = 1e-5
AGREES = 1e-2
MANY = 0.2
"""Derivatives that differ by more than ``AGREES`` of the largest from differences, at more than this share of points,
are no derivatives: autograd was cut off."""
KEPT = 4
"""Places in a program where a function's other arguments are taken from."""


@dataclass
class Observed:
    """Where a program evaluates a function: bounds of each vector, and some joint values of all arguments."""

    low: list[float]
    high: list[float]
    scalars: list[list[float]] = field(default_factory=list)
    vectors: list[list[Tensor]] = field(default_factory=list)

    def see(self, vectors: Sequence[Tensor], scalars: Sequence[Tensor]) -> None:
        """Take note of one evaluation: vectors (replicate, point), scalars (replicate, 1)."""
        for place, vector in enumerate(vectors):
            self.low[place] = min(self.low[place], float(vector.min()))
            self.high[place] = max(self.high[place], float(vector.max()))
        if len(self.vectors) < KEPT:
            stride = max(1, vectors[0].shape[1] // LINES)
            self.vectors.append([vector[:1, ::stride][:, :LINES].reshape(-1, 1).detach().clone() for vector in vectors])
            self.scalars.append([float(scalar[0, 0]) for scalar in scalars])


def jumping(call: Callable[..., object], observed: Observed) -> tuple[bool, ...]:
    """Return for every vector argument whether the function jumps along it, or has no derivative by autograd."""
    bounds = [_bounds(*pair) for pair in zip(observed.low, observed.high, strict=True)]
    count = len(bounds)
    if not observed.vectors:
        return (False,) * count
    across = _across(bounds, observed.vectors[0][0].device)
    if not any(_jumps(call, *across, scalars) for scalars in observed.scalars):
        return (False,) * count
    return tuple(
        any(_jumps(call, *_along(bounds, base, place), scalars) for base, scalars in _seen(observed))
        for place in range(count)
    )


def _seen(observed: Observed) -> list[tuple[list[Tensor], list[float]]]:
    return list(zip(observed.vectors, observed.scalars, strict=True))


def _bounds(low: float, high: float) -> tuple[float, float]:
    """Return a range that is none the wider, so that a pole beside it stays there, but for one of a single number."""
    extra = 0.0 if high > low else 0.1 * max(1.0, abs(low))
    return low - extra, high + extra


Lines = list[Tensor]
"""One tensor (line, 1) for every vector argument."""


def _across(bounds: Sequence[tuple[float, float]], device: torch.device) -> tuple[Lines, Lines]:
    """Return starts and steps of lines on which all arguments run through their ranges, up or down, at random."""
    draw = torch.Generator(device="cpu").manual_seed(7)
    starts, steps = [], []
    for low, high in bounds:
        up = torch.rand(LINES, 1, generator=draw, dtype=torch.float64, device="cpu") < 0.5
        late = 0.2 * torch.rand(LINES, 1, generator=draw, dtype=torch.float64, device="cpu")
        ends = torch.where(up, late, 1 - late), torch.where(up, 1.0, 0.0)
        starts.append((low + (high - low) * ends[0]).to(device))
        steps.append(((high - low) * (ends[1] - ends[0])).to(device))
    return starts, steps


def _along(bounds: Sequence[tuple[float, float]], base: Lines, place: int) -> tuple[Lines, Lines]:
    """Return lines on which one argument runs through its range and the others stay where a program had them."""
    low, high = bounds[place]
    starts = [torch.full_like(each, low) if i == place else each for i, each in enumerate(base)]
    steps = [torch.full_like(each, high - low if i == place else 0.0) for i, each in enumerate(base)]
    return starts, steps


def _jumps(call: Callable[..., object], starts: Lines, steps: Lines, scalars: Sequence[float]) -> bool:
    def at(t: Tensor) -> tuple[Tensor, Tensor] | None:
        return _value_and_slope(call, starts, steps, scalars, t)

    lines = len(starts[0])
    first = largest = starts[0].new_zeros(lines, 1)
    width = torch.ones_like(first)
    unit = torch.linspace(0, 1, CELLS + 1, dtype=first.dtype, device=first.device)
    scale = first
    for zoom in range(ZOOMS):
        t = first + width * unit
        found = at(t)
        if found is None:
            return True
        value, slope = found
        if not zoom:
            scale = _range(value)
            if _cut_off(at, t, value):
                return True
        gap = (value.diff(dim=1) - 0.5 * (slope[:, 1:] + slope[:, :-1]) * t.diff(dim=1)).abs().nan_to_num(0.0, 0.0)
        largest, place = gap.max(dim=1, keepdim=True)
        first, width = t.gather(1, place), t.diff(dim=1).gather(1, place)
    return bool((largest > JUMP * scale).any())


def _cut_off(at: Callable[[Tensor], tuple[Tensor, Tensor] | None], t: Tensor, value: Tensor) -> bool:
    """Return whether slopes at the middles of cells are not those of central differences."""
    middle = (0.5 * (t[:, 1:] + t[:, :-1]))[:, :: CELLS // 64]
    above, here, below = at(middle + STEP), at(middle), at(middle - STEP)
    if above is None or here is None or below is None:
        return True
    wanted, slope = (above[0] - below[0]) / (2 * STEP), here[1]
    largest = torch.maximum(wanted.abs(), slope.abs()).nan_to_num(0.0, 0.0)
    rounding = 1e-8 * value.abs().nan_to_num(0.0, 0.0).amax()
    odd = (wanted - slope).abs().nan_to_num(0.0, 0.0) > AGREES * largest + rounding
    return bool(odd.to(value.dtype).mean() > MANY)


def _value_and_slope(
    call: Callable[..., object], starts: Lines, steps: Lines, scalars: Sequence[float], t: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return values and derivatives along lines at t (line, point); None where autograd fails."""
    at = t.detach().requires_grad_()
    numbers = [t.new_full((len(t), 1), scalar) for scalar in scalars]
    try:
        with torch.enable_grad():
            made = call(*(start + step * at for start, step in zip(starts, steps, strict=True)), *numbers)
            value = torch.as_tensor(made, dtype=t.dtype, device=t.device).expand_as(t)
            if not value.requires_grad:
                return value, torch.zeros_like(t)
            (slope,) = torch.autograd.grad([value.sum()], [at], allow_unused=True)
    except (RuntimeError, TypeError):
        return None
    return value.detach(), torch.zeros_like(t) if slope is None else slope


def _range(value: Tensor) -> Tensor:
    low, high = value.nan_to_num(torch.inf, torch.inf, torch.inf), value.nan_to_num(-torch.inf, -torch.inf, -torch.inf)
    return high.amax(dim=1, keepdim=True) - low.amin(dim=1, keepdim=True)
