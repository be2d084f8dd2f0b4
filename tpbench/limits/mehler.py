"""Mehler's series of both duals of any activation, added up term by term over blocks that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.limits.hermite import Points, Smooth, coefficients

TOLERANCE: Mapping[torch.dtype, float] = {torch.float64: 1e-12, torch.float32: 1e-7}
FINEST = 1e-14
SAME = 8  # roundings within which two covariances are one, since a product of long vectors has several
BLOCK: Mapping[str, int] = {"cpu": 2**17}  # bytes of one of five arrays that stay in the cache together
LARGE = 2**27
Block = tuple[slice, ...]


@dataclass(frozen=True)
class Series(Smooth):
    """The duals of phi to a ``tolerance`` relative to the geometric mean of both squares.

    Called with (E u², E u v, E v²) that broadcast, it returns both duals; its cost in coefficients is that of the
    different variances. The default tolerance is 1e-12 in float64 and 1e-7 in float32, apart from rounding;
    coefficients are always float64. Equal arguments (within 8 roundings) are one vector: they get E phi² and
    E phi'² by quadrature.

    Raises ``ValueError`` where the tolerance is out of reach: a kink with correlations near 1, a kink that is neither
    at 0 nor named, a jump, growth like e^(u²), or more than 4096 terms; and for a dtype that is neither.
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not FINEST <= self.tolerance < 1:
            raise ValueError(f"a tolerance lies between {FINEST:.0e} and 1, got {self.tolerance}")

    def __call__(self, uu: Tensor, uv: Tensor, vv: Tensor) -> tuple[Tensor, Tensor]:
        """Return both duals in the broadcast shape, dtype and device kept. On meta they have their shape only."""
        if uv.dtype not in TOLERANCE:
            raise ValueError(
                f"the series of {self.name} needs float32 or float64, got {uv.dtype}: convert the covariances"
            )
        shape = torch.broadcast_shapes(uu.shape, uv.shape, vv.shape)  # type: ignore[no-untyped-call]
        rank = max(len(shape), 1)
        value, slope = (torch.empty(shape, dtype=uv.dtype, device=uv.device) for _ in range(2))
        if uv.device.type != "meta" and value.numel() > 0:
            with torch.no_grad():
                ranked = [k.reshape((1,) * (rank - k.dim()) + k.shape) for k in (uu, uv, vv)]
                _add(self, ranked, value.view(shape or (1,)), slope.view(shape or (1,)))
        return value, slope


@dataclass(frozen=True)
class Side:
    """What the sum needs of one of both vectors, in the shape of its variances; ``slopes`` has a leading term axis."""

    mean: Tensor
    square: Tensor
    slope: Tensor
    slopes: Tensor

    def narrow(self, block: Block) -> Side:
        """Return the part that a block of the broadcast shape sees."""
        mean, square, slope = (narrow(part, block) for part in (self.mean, self.square, self.slope))
        return Side(mean, square, slope, narrow(self.slopes, (slice(None), *block)))


def _add(series: Series, covariances: list[Tensor], value: Tensor, slope: Tensor) -> None:
    uu, uv, vv = covariances
    left, right = compact(uu), compact(vv)
    variances, place = torch.unique(torch.cat([left.flatten(), right.flatten()]).double(), return_inverse=True)
    same = torch.maximum((uv - uu).abs(), (uv - vv).abs()) <= SAME * torch.finfo(uv.dtype).eps * uu
    rho = (uv * _inverse_root(left) * _inverse_root(right)).clamp_(-1, 1)
    largest = float(rho.abs().masked_fill_(same, 0).max())
    deviations = variances.clamp_min(0).sqrt()
    points, terms = coefficients(series, deviations, largest, series.tolerance or TOLERANCE[uv.dtype])
    places = place.split([left.numel(), right.numel()])
    sides = [_side(points, terms, p.view(k.shape), uv.dtype) for p, k in zip(places, (left, right), strict=True)]
    for block in blocks(value.shape, BLOCK.get(uv.device.type, LARGE) // uv.element_size()):
        one, two = (side.narrow(block) for side in sides)
        _horner((one.slopes, two.slopes), terms, narrow(rho, block), value[block], slope[block])
        value[block].mul_(narrow(uv, block)).addcmul_(one.mean, two.mean)
    torch.where(same, sides[0].square, value, out=value)
    torch.where(same, sides[0].slope, slope, out=slope)


def _horner(slopes: tuple[Tensor, Tensor], terms: list[int], rho: Tensor, value: Tensor, slope: Tensor) -> None:
    """Write Σ b_k(s) b_k(t) ρ^k/(k + 1) and Σ b_k(s) b_k(t) ρ^k, from the last term to the first."""
    value.zero_()
    slope.zero_()
    term, powers = value.new_empty((slopes[0][:1] * slopes[1][:1]).shape[1:]), {1: rho}
    for at, (left, right) in enumerate(zip(slopes[0].unbind(0), slopes[1].unbind(0), strict=True)):
        gap = terms[at - 1] - terms[at] if at else 1
        power = powers.setdefault(gap, rho if gap == 1 else rho**gap)
        torch.mul(left, right, out=term)
        torch.addcmul(term, slope, power, out=slope)
        value.mul_(power).add_(term, alpha=1 / (terms[at] + 1))
    if terms and terms[-1] > 0:
        rest = rho ** terms[-1]
        value.mul_(rest)
        slope.mul_(rest)


def _side(points: Points, terms: list[int], place: Tensor, dtype: torch.dtype) -> Side:
    mean, square, slope = (part.to(dtype)[place] for part in (points.mean, points.square, points.slope))
    return Side(mean, square, slope, points.slopes[:, terms].T.to(dtype).contiguous()[:, place])


def _inverse_root(variance: Tensor) -> Tensor:
    return torch.where(variance > 0, variance, torch.inf).rsqrt()


def compact(k: Tensor) -> Tensor:
    """Return one of every set of entries that an expanded tensor repeats."""
    for axis, (stride, size) in enumerate(zip(k.stride(), k.shape, strict=True)):
        if stride == 0 and size > 1:
            k = k.narrow(axis, 0, 1)
    return k


def blocks(shape: tuple[int, ...], limit: int) -> Iterator[Block]:
    """Yield slices that cover a shape, each with at most ``limit`` entries where its last axes allow that."""
    if not shape:
        yield ()
        return
    rest = 1
    for size in shape[1:]:
        rest *= size
    step = max(limit // rest, 1)
    for start in range(0, shape[0], step):
        here = slice(start, min(start + step, shape[0]))
        if rest > limit:
            yield from ((here, *inner) for inner in blocks(shape[1:], limit))
        else:
            yield (here, *(slice(None) for _ in shape[1:]))


def narrow(k: Tensor, block: Block) -> Tensor:
    """Return the part of a tensor that a block of the shape it broadcasts to sees."""
    return k[tuple(slice(None) if size == 1 else part for size, part in zip(k.shape, block, strict=True))]
