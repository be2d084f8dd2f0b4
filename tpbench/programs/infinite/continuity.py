"""Is a function continuous along an argument, and is its derivative by autograd that of its values?

Found by evaluation, where a program evaluates it. Between two points of a grid a continuous function changes by the
integral of its derivative, up to what a finer grid makes smaller; a jump stays, however fine the grid. What no line
meets is not seen: whoever takes derivatives by autograd compares them with Stein's lemma (``sobol``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MOST_LINES, FEWEST_LINES = 64, 2
BUDGET = 2**12
"""Lines times the square of the number of arguments, about, which is what they cost."""
JOINT = 16
"""Lines on which all arguments move together."""
ALONE = 24
"""Arguments that are looked at one by one; of more only where a jump is met with all of them moving."""
CELLS = 2**10
ZOOMED = 2**7
"""Cells of a finer grid inside a cell."""
ZOOMS = 4
CANDIDATES = 3
"""Cells of a line that are looked into, those where the difference without derivative is the largest share."""
JUMP = 1e-4
"""Share of a function's size nearby that a difference without derivative has to be, to be a jump."""
REMAINS = 0.5
"""Share of a difference that is there on the finest grid if it is a jump: less than half of a cusp's."""
ROUNDING, TINY = 1e-12, 1e-300
STEP = 1e-5
AGREES = 1e-2
CHECKED = 2**7
MANY = 0.04
"""Derivatives that differ by more than ``AGREES`` of the largest from differences, at more than this share of a line,
are no derivatives: autograd was cut off."""
KEPT = 4
"""Places in a program where a function's other arguments are taken from."""


@dataclass
class Observed:
    """Where a program evaluates a function: bounds of each vector, and some joint values of all arguments.

    An entry of ``vectors`` has the joint values of one place, one tensor (value, 1) for each vector.
    """

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
            chosen = _chosen([vector[0].detach() for vector in vectors])
            self.vectors.append([vector[0, chosen].detach().clone()[:, None] for vector in vectors])
            self.scalars.append([float(scalar[0, 0]) for scalar in scalars])


def _chosen(vectors: Sequence[Tensor]) -> Tensor:
    """Return the places of points where some argument is extreme, which may switch others on, and of some more."""
    size = vectors[0].shape[0]
    few = vectors[: MOST_LINES // 8]
    ends = [place for vector in few for place in (int(vector.argmin()), int(vector.argmax()))]
    spread = range(0, size, max(1, size // MOST_LINES))
    found = list(dict.fromkeys([*ends, *spread]))[:MOST_LINES]
    return torch.tensor(found, device=vectors[0].device)


def jumping(call: Callable[..., object], observed: Observed) -> tuple[bool, ...]:
    """Return for every vector argument whether the function jumps along it, or has no derivative by autograd.

    Where a jump is met with all arguments moving and with none of them alone, it is taken to be along each.
    """
    bounds = [_bounds(*pair) for pair in zip(observed.low, observed.high, strict=True)]
    count = len(bounds)
    if not observed.vectors:
        return (False,) * count
    joint, numbers = _joined(observed, JOINT)
    together = count > 1 and _jumps(call, *_across(bounds, joint), numbers)
    if count > ALONE and not together:
        return (False,) * count
    base, scalars = _joined(observed, max(FEWEST_LINES, min(MOST_LINES, BUDGET // count**2)))
    found = tuple(_jumps(call, *_along(bounds, base, place), scalars) for place in range(count))
    return found if any(found) else (together,) * count


def _joined(observed: Observed, lines: int) -> tuple[Lines, Lines]:
    """Return so many joint values of vectors, and of scalars, from all places (line, 1)."""
    each = -(-lines // len(observed.vectors))
    sizes = [min(each, len(place[0])) for place in observed.vectors]
    vectors = [
        torch.cat([place[i][:size] for place, size in zip(observed.vectors, sizes, strict=True)])
        for i in range(len(observed.low))
    ]
    scalars = [
        torch.cat(
            [vectors[0].new_full((size, 1), place[i]) for place, size in zip(observed.scalars, sizes, strict=True)]
        )
        for i in range(len(observed.scalars[0]))
    ]
    return vectors, scalars


def _bounds(low: float, high: float) -> tuple[float, float]:
    """Return a range that is none the wider, so that a pole beside it stays there, but for one of a single number."""
    extra = 0.0 if high > low else 0.1 * max(1.0, abs(low))
    return low - extra, high + extra


Lines = list[Tensor]
"""One tensor (line, 1) for every argument."""


def _across(bounds: Sequence[tuple[float, float]], base: Lines) -> tuple[Lines, Lines]:
    """Return starts and steps of lines through joint values on which every argument runs through half its range."""
    draw = torch.Generator(device="cpu").manual_seed(7)
    starts, steps = [], []
    for (low, high), middle in zip(bounds, base, strict=True):
        up = torch.rand(middle.shape, generator=draw, dtype=middle.dtype, device="cpu").to(middle.device) < 0.5
        lower, upper = (0.5 * (middle + end) for end in (low, high))
        starts.append(torch.where(up, lower, upper))
        steps.append(torch.where(up, upper - lower, lower - upper))
    return starts, steps


def _along(bounds: Sequence[tuple[float, float]], base: Lines, place: int) -> tuple[Lines, Lines]:
    """Return lines on which one argument runs through its range and the others stay where a program had them."""
    low, high = bounds[place]
    starts = [torch.full_like(each, low) if i == place else each for i, each in enumerate(base)]
    steps = [torch.full_like(each, high - low if i == place else 0.0) for i, each in enumerate(base)]
    return starts, steps


def _jumps(call: Callable[..., object], starts: Lines, steps: Lines, scalars: Lines) -> bool:
    """Return whether a function jumps on lines; each finer grid lies in a cell of the one before."""
    t = torch.linspace(0, 1, CELLS + 1, dtype=starts[0].dtype, device=starts[0].device)
    t = t.expand(len(starts[0]), -1)
    found = _value_and_slope(call, starts, steps, scalars, t)
    if found is None or _cut_off(call, starts, steps, scalars, t, found[0]):
        return True
    usual = found[0].nan_to_num(0.0, 0.0, 0.0).median(dim=1, keepdim=True).values
    _, share, place = _largest(t, *found, usual, CANDIDATES)

    def lines(each: Tensor) -> Tensor:
        return each.expand(len(t), CANDIDATES).reshape(-1, 1)

    starts, steps, scalars = ([lines(each) for each in many] for many in (starts, steps, scalars))
    usual, share, gap = lines(usual), share.reshape(-1, 1), None
    first, width = t.gather(1, place).reshape(-1, 1), lines(t[:, 1:2] - t[:, :1])
    unit = torch.linspace(0, 1, ZOOMED + 1, dtype=t.dtype, device=t.device)
    for _ in range(ZOOMS):
        if not bool((share > JUMP).any()):
            return False
        finer = first + width * unit
        found = _value_and_slope(call, starts, steps, scalars, finer)
        if found is None:
            return True
        left, share, place = _largest(finer, *found, usual, 1)
        gap = left if gap is None else gap
        share = torch.where(left > REMAINS * gap, share, 0.0)
        first, width = finer.gather(1, place), finer.diff(dim=1).gather(1, place)
    return bool((share > JUMP).any())


def _largest(t: Tensor, value: Tensor, slope: Tensor, usual: Tensor, many: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return differences without derivative, shares and places of the cells (line, cell) with the largest shares.

    Shares are of the function's distance from its median: its largest would hide a jump beside a heavy tail.
    """
    gap = (value.diff(dim=1) - 0.5 * (slope[:, 1:] + slope[:, :-1]) * t.diff(dim=1)).abs().nan_to_num(0.0, 0.0)
    near = (value - usual).abs().nan_to_num(torch.inf, torch.inf)
    gap = (gap - ROUNDING * (1 + value.abs().nan_to_num(0.0, 0.0))[:, 1:]).clamp(min=0)
    share, place = (gap / (near[:, 1:] + near[:, :-1] + TINY)).topk(many, dim=1)
    return gap.gather(1, place), share, place


def _cut_off(
    call: Callable[..., object], starts: Lines, steps: Lines, scalars: Lines, t: Tensor, value: Tensor
) -> bool:
    """Return whether slopes at the middles of cells are not those of central differences."""
    middle = (0.5 * (t[:, 1:] + t[:, :-1]))[:, :: CELLS // CHECKED]
    above, here, below = (_value_and_slope(call, starts, steps, scalars, middle + h) for h in (STEP, 0.0, -STEP))
    if above is None or here is None or below is None:
        return True
    wanted, slope = (above[0] - below[0]) / (2 * STEP), here[1]
    largest = torch.maximum(wanted.abs(), slope.abs()).nan_to_num(0.0, 0.0)
    rounding = 1e-8 * (
        here[0].abs().nan_to_num(0.0, 0.0) + value.abs().nan_to_num(0.0, 0.0).median(dim=1, keepdim=True).values
    )
    odd = (wanted - slope).abs().nan_to_num(0.0, 0.0) > AGREES * largest + rounding
    return bool((odd.to(value.dtype).mean(dim=1) > MANY).any())


def _value_and_slope(
    call: Callable[..., object], starts: Lines, steps: Lines, scalars: Lines, t: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return values and derivatives along lines at t (line, point); None where autograd fails."""
    at = t.detach().requires_grad_()
    try:
        with torch.enable_grad():
            made = call(*(start + step * at for start, step in zip(starts, steps, strict=True)), *scalars)
            value = torch.as_tensor(made, dtype=t.dtype, device=t.device).expand_as(t)
            if not value.requires_grad:
                return value, torch.zeros_like(t)
            (slope,) = torch.autograd.grad([value.sum()], [at], allow_unused=True)
    except (RuntimeError, TypeError):
        return None
    return value.detach(), torch.zeros_like(t) if slope is None else slope
