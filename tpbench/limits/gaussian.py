"""Dual activations: E phi(u) phi(v) and E phi'(u) phi'(v) for (u, v) Gaussian with mean zero.

Closed forms where they are known; Mehler's series (``hermite.py``) for any other activation. Both duals are computed
together, since they share their dearest part. float32 and float64, on any device; nothing that is given is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.limits import closed
from tpbench.limits.closed import Pair
from tpbench.limits.hermite import Function, slope
from tpbench.limits.mehler import Series

Duals = Callable[[Tensor, Tensor, Tensor], Pair]
LEAK = 0.01


@dataclass(frozen=True)
class Activation:
    """phi and phi' on tensors, and ``duals``: (E u², E u v, E v²), broadcast together, to E phi(u) phi(v) and
    E phi'(u) phi'(v), in the same dtype and on the same device.

    A variance of 0 is the limit from above for a smooth phi. A kink at 0 has no such limit: its derivative there is
    taken for the mean of both sides.
    """

    name: str
    phi: Function
    derivative: Function
    duals: Duals

    def dual(self, uu: Tensor, uv: Tensor, vv: Tensor) -> Tensor:
        """Return E phi(u) phi(v) alone."""
        return self.duals(uu, uv, vv)[0]

    def dual_derivative(self, uu: Tensor, uv: Tensor, vv: Tensor) -> Tensor:
        """Return E phi'(u) phi'(v) alone."""
        return self.duals(uu, uv, vv)[1]

    def diagonal(self, q: Tensor) -> Pair:
        """Return E phi(u)² and E phi'(u)² for u of variance q."""
        return self.duals(q, q, q)


def leaky(name: str, leak: float) -> Activation:
    """Return u above 0 and leak · u below: relu (0), abs (-1), leaky relu."""
    return Activation(
        name,
        lambda u: torch.where(u > 0, u, leak * u),
        lambda u: torch.ones_like(u).where(u > 0, leak),
        partial(closed.piecewise_linear, leak),
    )


def monomial(power: int) -> Activation:
    """Return u^power; ``ValueError`` unless power is a whole number of at least 1."""
    if power != int(power) or power < 1:
        raise ValueError(f"a monomial has a whole power of at least 1, got {power}; a constant has no slope to train")
    return Activation(
        f"u^{power}",
        lambda u: torch.pow(u, power),
        lambda u: power * torch.pow(u, power - 1),
        partial(closed.monomial, int(power)),
    )


def exponential(rate: float) -> Activation:
    """Return e^(rate · u)."""
    return Activation(
        f"exp({rate} u)",
        lambda u: torch.exp(rate * u),
        lambda u: rate * torch.exp(rate * u),
        partial(closed.exponential, rate),
    )


def rbf(gamma: float) -> Activation:
    """Return sqrt(2) sin(sqrt(2 gamma) u + π/4), whose kernel is exp(-gamma E(u - v)²).

    Raises ``ValueError`` unless gamma > 0.
    """
    if not gamma > 0:
        raise ValueError(f"an rbf has a gamma above 0, got {gamma}")
    w = math.sqrt(2 * gamma)
    return Activation(
        f"rbf({gamma})",
        lambda u: math.sqrt(2) * torch.sin(w * u + math.pi / 4),
        lambda u: math.sqrt(2) * w * torch.cos(w * u + math.pi / 4),
        partial(closed.rbf, gamma),
    )


def series(
    name: str,
    phi: Function,
    derivative: Function | None = None,
    *,
    tolerance: float | None = None,
    kinks: tuple[float, ...] = (),
) -> Activation:
    """Return any elementwise activation by Mehler's series: see ``mehler.Series`` for its demands and errors.

    The derivative is autograd's unless it is given; ``tolerance`` is relative to the geometric mean of both squares;
    ``kinks`` are where phi is continuous but not smooth, apart from 0: each costs an integration of its own a variance.
    Raises ``ValueError`` for a function that is not elementwise.
    """
    u = torch.tensor([-1.5, -0.3, 0.2, 2.0], dtype=torch.float64, device="cpu")
    with torch.no_grad():
        whole, alone = phi(u), phi(u[:1])
    if whole.shape != u.shape or not torch.allclose(whole[:1], alone, rtol=1e-12, equal_nan=True):
        raise ValueError(f"an activation is an elementwise function of a tensor, and {name} is not")
    slopes = slope(phi) if derivative is None else derivative
    return Activation(name, phi, slopes, Series(name, phi, slopes, tuple(kinks), tolerance))


def _tanh_derivative(u: Tensor) -> Tensor:
    return torch.cosh(u).square().reciprocal()  # 1 - tanh² has no digits left from 19 on


def _gelu_derivative(u: Tensor) -> Tensor:
    return (1 + torch.erf(u / math.sqrt(2))) / 2 + u * torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)


def _sigmoid_derivative(u: Tensor) -> Tensor:
    return torch.sigmoid(u) * torch.sigmoid(-u)


def _silu_derivative(u: Tensor) -> Tensor:
    return torch.sigmoid(u) + u * _sigmoid_derivative(u)


def _softplus(u: Tensor) -> Tensor:
    return torch.logaddexp(u, torch.zeros_like(u))  # PyTorch's own is u from 20 on, which is a jump of 2e-9


def _erf_derivative(u: Tensor) -> Tensor:
    return torch.exp(-u.square()) * (2 / math.sqrt(math.pi))


ACTIVATIONS: Mapping[str, Activation] = {
    made.name: made
    for made in (
        Activation("identity", lambda u: u, torch.ones_like, closed.identity),
        leaky("relu", 0.0),
        leaky("leaky-relu", LEAK),
        leaky("abs", -1.0),
        Activation("erf", torch.erf, _erf_derivative, closed.erf),
        Activation("gelu", functional.gelu, _gelu_derivative, closed.gelu),
        Activation("sin", torch.sin, torch.cos, closed.sin),
        Activation("cos", torch.cos, lambda u: -torch.sin(u), closed.cos),
        replace(rbf(1.0), name="rbf"),
        replace(monomial(2), name="square"),
        replace(monomial(3), name="cube"),
        replace(exponential(1.0), name="exp"),
        series("tanh", torch.tanh, _tanh_derivative),
        series("sigmoid", torch.sigmoid, _sigmoid_derivative),
        series("silu", functional.silu, _silu_derivative),
        series("softplus", _softplus, torch.sigmoid),
    )
}
# A user who hands over one of these functions means the closed form.
FUNCTIONS: Mapping[Function, str] = {
    torch.relu: "relu",
    functional.relu: "relu",
    functional.leaky_relu: "leaky-relu",
    torch.abs: "abs",
    torch.erf: "erf",
    functional.gelu: "gelu",
    torch.sin: "sin",
    torch.cos: "cos",
    torch.square: "square",
    torch.exp: "exp",
    torch.tanh: "tanh",
    functional.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    functional.silu: "silu",
    functional.softplus: "softplus",
}


def activation(which: str | Activation | Function) -> Activation:
    """Return an activation by name, itself, or of an elementwise function of tensors by its Hermite series.

    Raises ``ValueError`` for an unknown name and for a function that is not elementwise.
    """
    if isinstance(which, Activation):
        return which
    if callable(which):
        return ACTIVATIONS[FUNCTIONS[which]] if which in FUNCTIONS else series(_called(which), which)
    if which not in ACTIVATIONS:
        raise ValueError(f"no Gaussian dual of activation {which!r} is known (known: {', '.join(ACTIVATIONS)})")
    return ACTIVATIONS[which]


def _called(function: Function) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
