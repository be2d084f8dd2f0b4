"""Closed forms of both dual activations: (E u², E u v, E v²) to E phi(u) phi(v) and E phi'(u) phi'(v).

float32 and float64, any device, meta included; the arguments broadcast and are left alone. Near correlations of ±1 they
lose no more than the rounding of their arguments, and nothing at all where the arguments are equal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


def identity(uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    value = torch.broadcast_tensors(uu, uv, vv)[1].clone()  # type: ignore[no-untyped-call]
    return value, torch.ones_like(value)


def _norm(uu: Tensor, vv: Tensor) -> Tensor:
    """Return sqrt(uu vv), exactly q where uu = vv = q, and safe from underflow.

    q² of a deep relu network is 0 in float32 from q = 1e-19 on. So the root is that of the mantissas; even exponents
    are halved exactly.
    """
    left, right = torch.frexp(uu), torch.frexp(vv)
    halves = [torch.div(e + 1, 2, rounding_mode="floor") for e in (left.exponent, right.exponent)]
    low, high = (torch.ldexp(m, e - 2 * h) for (m, e), h in zip((left, right), halves, strict=True))
    root = (low * high).sqrt_()
    scales = [torch.ldexp(torch.ones_like(k), h) for k, h in zip((uu, vv), halves, strict=True)]
    return root.mul_(scales[0]).mul_(scales[1])


def piecewise_linear(leak: float, uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    """phi(u) = u for u > 0 and leak · u below: (1 + leak)/2 · u + (1 - leak)/2 · |u|, whose parts do not mix.

    E |u||v| = (2/π) |u||v| (sin + ρ arcsin ρ) and E sign sign = (2/π) arcsin ρ, the arc-cosine kernels of order 1 and 0
    of Cho & Saul 2009. 1 - ρ is taken from the difference |u||v| - uv, which loses nothing when both are close.
    """
    even, odd = ((1 - leak) / 2) ** 2 * (2 / math.pi), ((1 + leak) / 2) ** 2
    norm = _norm(uu, vv)
    inverse = norm.clamp_min(torch.finfo(norm.dtype).tiny).reciprocal_()
    root = ((norm - uv) * inverse).mul_((norm + uv) * inverse).clamp_min_(0).sqrt_()
    angle = torch.atan2(uv * inverse, root)
    value = root.mul_(norm).addcmul_(angle, uv).mul_(even).add_(uv, alpha=odd)
    return value, angle.mul_(even).add_(odd)


def _determinant(uu: Tensor, uv: Tensor, vv: Tensor) -> Tensor:
    """Return uu vv - uv², not below 0; it is 0 exactly for equal arguments."""
    return (uu * vv - uv.square()).clamp_min_(0)


def erf(uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    """Williams 1997: (2/π) arcsin(2 uv/sqrt((1 + 2 uu)(1 + 2 vv))). The determinant (1 + 2 uu)(1 + 2 vv) - 4 uv² is
    written as 1 + 2 uu + 2 vv + 4 (uu vv - uv²), which subtracts no large numbers."""
    root = _determinant(uu, uv, vv).mul_(4).add_(uu, alpha=2).add_(vv, alpha=2).add_(1).sqrt_()
    value = torch.atan2(2 * uv, root).mul_(2 / math.pi)
    return value, root.reciprocal_().mul_(4 / math.pi)


def gelu(uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    """E uΦ(u) vΦ(v) and its derivative by uv.

    With D = (1 + uu)(1 + vv) - uv² and ω = arcsin(uv/sqrt((1 + uu)(1 + vv))) they are
    ``uv/4 + (uv ω + (uv² + uu vv D)/((1 + uu)(1 + vv) sqrt(D)))/2π`` and
    ``1/4 + (ω + uv/sqrt(D) (1/D + (2 + uu + vv)/((1 + uu)(1 + vv))))/2π``, from E Φ(u) Φ(v) = 1/4 + ω/2π by Stein's
    lemma twice (the kernel is that of Tsuchida et al. 2021, arXiv:2002.08517).
    """
    product = (1 + uu) * (1 + vv)
    square = _determinant(uu, uv, vv).add_(uu).add_(vv).add_(1)
    root = square.sqrt()
    angle = torch.atan2(uv, root)
    rest = (uv.square() + square * (uu * vv)).div_(product).div_(root)
    value = rest.addcmul_(angle, uv).div_(2 * math.pi).add_(uv, alpha=0.25)
    slope = square.reciprocal_().add_((2 + uu + vv).div(product)).mul_(uv).div_(root)
    return value, slope.add_(angle).div_(2 * math.pi).add_(0.25)


def _waves(uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    """E sin u sin v = e^(-(uu + vv)/2) sinh(uv) and E cos u cos v = e^(-(uu + vv)/2) cosh(uv), without overflow."""
    size = uv.abs()
    half = (size - (uu + vv) / 2).exp_().div_(2)
    gap = torch.expm1(size.mul_(-2))
    return -half * gap * torch.sign(uv), half * (gap + 2)


def sin(uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    return _waves(uu, uv, vv)


def cos(uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    return _waves(uu, uv, vv)[::-1]


def rbf(gamma: float, uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    """phi(u) = sin wu + cos wu, w = sqrt(2 gamma), has E phi(u) phi(v) = E cos w(u - v) = exp(-gamma E(u - v)²): the
    random features of Rahimi & Recht 2007."""
    value = ((uu - uv) + (vv - uv)).mul_(-gamma).exp_()
    return value, 2 * gamma * value


def _wick(power: int, uu: Tensor, uv: Tensor, vv: Tensor) -> Tensor:
    """Return E u^p v^p = Σ_j j! binom(p, j)² ((p-j-1)!!)² uv^j (uu vv)^((p-j)/2), j over the parity of p.

    That is Wick's theorem, sorted by the number j of pairs that join u and v.
    """
    weight = {
        j: float(math.factorial(j) * math.comb(power, j) ** 2 * _pairings(power - j) ** 2) for j in range(power + 1)
    }
    square, product = uv.square(), uu * vv
    outside = torch.ones_like(square * product)
    total = outside * weight[power]
    for j in range(power - 2, -1, -2):  # Horner in uv²; what a term lacks in uv it has in uu vv
        outside = outside * product
        total = total.mul_(square).add_(outside, alpha=weight[j])
    return total.mul_(uv) if power % 2 else total


def _pairings(count: int) -> int:
    """The number (count - 1)!! of pairings of an even number of things."""
    return math.prod(range(count - 1, 0, -2))


def monomial(power: int, uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    return _wick(power, uu, uv, vv), _wick(power - 1, uu, uv, vv).mul_(power**2)


def exponential(rate: float, uu: Tensor, uv: Tensor, vv: Tensor) -> Pair:
    value = ((uu + uv) + (vv + uv)).mul_(rate**2 / 2).exp_()
    return value, rate**2 * value
