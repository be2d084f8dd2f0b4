"""One layer of a kernel in place: what a nonlinearity does to a block of covariances.

Many duals are a function of one number: ``E phi(u) phi(v) = p(uu) p(vv) F(z)`` with ``z = g(uu) g(vv) uv``, and then by
Price's theorem ``E phi'(u) phi'(v) = p(uu) p(vv) g(uu) g(vv) F'(z)``. A block that keeps z instead of the covariance
needs F and F' alone, in a few operations and no memory; p and g are vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.limits.gaussian import ACTIVATIONS, LEAK, Activation

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
"""(z, slope, spare, uu (m,), vv (n,)): put F(z) into z and F'(z) into slope, both (m, n); spare is scratch."""


@dataclass(frozen=True)
class Form:
    """``before`` is g and ``after`` is p, of a vector of variances; ``begin`` makes the step for blocks like the one it
    is given. ``homogeneous``: phi(c u) = c phi(u) for c > 0, and F(1) = 1, so that without biases the next layer's z is
    F(z) itself."""

    before: Callable[[Tensor], Tensor]
    after: Callable[[Tensor], Tensor]
    begin: Callable[[Tensor], Step]
    homogeneous: bool = False


def form(of: Activation) -> Form:
    """Return the activation's product form where one is known, else its duals with p = g = 1."""
    known = FORMS.get(of.name)
    return known if known is not None and ACTIVATIONS[of.name] is of else _of_duals(of)


def _of_duals(of: Activation) -> Form:
    def step_(z: Tensor, slope: Tensor, _: Tensor, uu: Tensor, vv: Tensor) -> None:
        value, derivative = of.duals(uu[:, None], z, vv[None, :])
        z.copy_(value)
        slope.copy_(derivative)

    return Form(torch.ones_like, torch.ones_like, lambda like: step_)


def _identity(like: Tensor) -> Step:
    def step_(z: Tensor, slope: Tensor, spare: Tensor, uu: Tensor, vv: Tensor) -> None:
        slope.fill_(1.0)

    return step_


def _leaky(leak: float) -> Form:
    """phi(u) = u for u > 0 and leak · u below. The arc-cosine kernels of Cho & Saul 2009, z being the correlation:
    F = a z + b (sqrt(1 - z²) + z arcsin z), F' = a + b arcsin z, with F(1) = a + b π/2 = 1."""
    odd, even = ((1 + leak) / 2) ** 2, ((1 - leak) / 2) ** 2
    a, b = odd / (odd + even), even / (odd + even) * (2 / math.pi)

    def begin(like: Tensor) -> Step:
        one, straight = _number(1.0, like), _number(a, like)

        def step_(z: Tensor, slope: Tensor, spare: Tensor, uu: Tensor, vv: Tensor) -> None:
            z.clamp_(-1.0, 1.0)
            _one_minus_square(z, one, spare).sqrt_()
            torch.atan2(z, spare, out=slope)  # arcsin z, a third faster than torch's arcsin
            torch.add(straight, slope, alpha=b, out=slope)
            z.mul_(slope).add_(spare, alpha=b)

        return step_

    return Form(_inverse_root, lambda k: ((odd + even) * k).sqrt(), begin, homogeneous=True)


def _inverse_root(k: Tensor) -> Tensor:
    """1/sqrt(k), and 0 for a point of length 0, which has no angle with another."""
    return torch.where(k > 0, k, torch.inf).rsqrt()


def _erf(like: Tensor) -> Step:
    """Williams 1997: F = arcsin, z = 2 uv/sqrt((1 + 2 uu)(1 + 2 vv)). Only rounding can take |z| to 1."""
    below, one = 1.0 - torch.finfo(like.dtype).eps, _number(1.0, like)

    def step_(z: Tensor, slope: Tensor, spare: Tensor, uu: Tensor, vv: Tensor) -> None:
        z.clamp_(-below, below)
        _one_minus_square(z, one, slope).rsqrt_()
        torch.atan2(z.mul_(slope), one, out=z)  # arcsin z, a third faster than torch's arcsin

    return step_


def _one_minus_square(z: Tensor, one: Tensor, out: Tensor) -> Tensor:
    """Return (1 - z)(1 + z), whose first factor is exact where it is small. 1 - z² would be wrong by one rounding, its
    root by the square root of that, and the angle in the next layer by the fourth root."""
    torch.sub(one, z, out=out)
    return torch.addcmul(out, out, z, out=out)


def _number(value: float, like: Tensor) -> Tensor:
    return torch.full((), value, dtype=like.dtype, device=like.device)


FORMS: Mapping[str, Form] = {
    "identity": Form(_inverse_root, torch.sqrt, _identity, homogeneous=True),
    "relu": _leaky(0.0),
    "leaky-relu": _leaky(LEAK),
    "abs": _leaky(-1.0),
    "erf": Form(lambda k: (k + 0.5).rsqrt(), lambda k: torch.full_like(k, (2 / math.pi) ** 0.5), _erf),
}
"""sin and cos have one too, with sinh and cosh of the covariance: it overflows where the kernel does not."""
