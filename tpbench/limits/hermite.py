"""The Hermite coefficients of an activation under Gaussians of given standard deviations, and how many are enough.

For (u, v) Gaussian with standard deviations s, t and correlation ρ, E phi(u) phi(v) = Σ_k a_k(s) a_k(t) ρ^k with
a_k(s) = E phi(s z) h_k(z) and h_k the orthonormal Hermite polynomials (Mehler 1866). The series of phi' has the
coefficients b_k = E phi'(s z) h_k(z), and Stein's lemma gives those of phi from them: a_{k+1} = s b_k/sqrt(k + 1). So

    E phi'(u) phi'(v) = Σ_k b_k(s) b_k(t) ρ^k,    E phi(u) phi(v) = a_0(s) a_0(t) + E uv Σ_k b_k(s) b_k(t) ρ^k/(k + 1),

one set of coefficients a point and no division by a variance that may be 0. What is left out from the term K on is at
most |ρ|^K sqrt(T(s) T(t)) with the tail T = E phi'² - Σ_{k<K} b_k² (Parseval and Cauchy-Schwarz), which chooses K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tpbench.limits import Array

Function = Callable[[Tensor], Tensor]
ORDER = 64  # nodes of a panel
REACH = 16.0  # standard deviations: what multiplies phi' there is e^(-64) of what it is at 0
EDGE = 15.0
PANELS = (4, 8, 16, 32)  # on a half line
TERMS = (64, 128, 256, 512, 1024, 2048, 4096)
PROBES = 9
CHUNK = 2**21  # values of phi at once
REMEDY = "Pass gaussian.series(name, phi, tolerance=..., kinks=...) or an Activation with closed forms"


@dataclass(frozen=True)
class Rule:
    """``nodes`` z (M,) and ``hermite`` (M, K): h_k(z) times the Gaussian weight of the node; the first column is the
    weights. float64."""

    nodes: Tensor
    hermite: Tensor


@lru_cache(maxsize=1)
def _panel() -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(ORDER)


@lru_cache(maxsize=8)
def rule(terms: int, panels: int, device: torch.device) -> Rule:
    """Return the rule with equal panels on both half lines: a kink at 0 is no trouble to it."""
    return broken_rule(terms, panels, device, ())


def broken_rule(terms: int, panels: int, device: torch.device, breaks: tuple[float, ...]) -> Rule:
    """Return Gauss-Legendre panels that end at 0 and at the breaks, where the integrand may have kinks.

    ψ_k = h_k sqrt(density) by the recurrence ψ_{k+1} = (z ψ_k - sqrt(k) ψ_{k-1})/sqrt(k + 1), stable and bounded by 1.
    """
    node, weight = _panel()
    inside = [point for point in breaks if abs(point) < REACH]
    edges = np.unique(np.concatenate([np.linspace(-REACH, REACH, 2 * panels + 1), inside]))
    half = np.diff(edges)[:, None] / 2
    z, w = (edges[:-1, None] + half * (node + 1)).ravel(), (half * weight).ravel()
    psi = np.empty((terms, z.size))
    psi[0] = (2 * math.pi) ** -0.25 * np.exp(-(z**2) / 4)
    psi[1] = z * psi[0]
    for k in range(1, terms - 1):
        psi[k + 1] = (z * psi[k] - math.sqrt(k) * psi[k - 1]) / math.sqrt(k + 1)
    table = (psi * (w * psi[0])).T.copy()
    return Rule(*(torch.as_tensor(part, device=device) for part in (z, table)))


@dataclass(frozen=True)
class Points:
    """Of every standard deviation (N,): E phi, E phi², E phi'², and ``slopes`` (N, K) = b_k. float64."""

    deviation: Tensor
    mean: Tensor
    square: Tensor
    slope: Tensor
    slopes: Tensor

    def relative(self) -> Tensor:
        """Return |b_k| (N, K) over the root of E phi'², or of E phi²/s² if that is less: no term is larger in either
        dual, relative to its diagonal."""
        return self.slopes.abs() * self.unit()

    def tails(self) -> Tensor:
        """Return sqrt(Σ_{j >= k} b_j²) (N, K + 1) in the same unit, the part beyond K from Parseval's identity."""
        squares = self.slopes.square()
        beyond = (self.slope - squares.sum(dim=1)).clamp_min(0)[:, None]
        tail = torch.cat([squares, beyond], dim=1).flip(1).cumsum(dim=1).flip(1)
        return tail.sqrt() * self.unit()

    def unit(self) -> Tensor:
        least = torch.where(self.deviation > 0, torch.minimum(self.slope, self.square / self.deviation**2), self.slope)
        return torch.where(least > 0, least, torch.inf).rsqrt()[:, None]

    def kept(self, correlation: float, tolerance: float) -> list[int] | None:
        """Return the terms to add, largest first, so that those left out are at most the tolerance; None if too few."""
        tails, terms = self.tails().amax(dim=0), self.slopes.shape[1]
        powers = correlation ** torch.arange(terms + 1, dtype=tails.dtype, device=tails.device)
        enough = (powers * tails.square() <= tolerance / 2).nonzero()
        if len(enough) == 0:
            return None
        count = int(enough[0])
        sizes = (powers[:count] * self.relative().amax(dim=0)[:count].square()).tolist()
        return [k for k in reversed(range(count)) if sizes[k] > tolerance / (2 * count)]


@dataclass(frozen=True)
class Smooth:
    """phi, smooth apart from 0 and its ``kinks``; its derivative; and what to call it in a message."""

    name: str
    phi: Function
    derivative: Function
    kinks: tuple[float, ...] = ()

    def rule(self, deviations: Tensor, terms: int, panels: int) -> Rule:
        """Return a rule for phi(s z) at all deviations s, which is one only if kinks away from 0 are to be met."""
        if not self.kinks:
            return rule(terms, panels, deviations.device)
        breaks = tuple(kink / s for s in deviations.tolist() for kink in self.kinks if s > 0)
        return broken_rule(terms, panels, deviations.device, breaks)

    def split(self, deviations: Tensor, most: int) -> tuple[Tensor, ...]:
        """Return the deviations in parts that have one rule each, of at most so many."""
        rows = 1 if self.kinks else max(most, 1)
        return deviations.tensor_split(-(-len(deviations) // rows))


def measure(of: Smooth, deviations: Tensor, terms: int, panels: int) -> Points:
    """Return the coefficients of phi(s z) for every standard deviation s (N,) by quadrature, a chunk at a time."""
    chunks = of.split(deviations, CHUNK // (2 * ORDER * panels))
    parts = [_measure(of, chunk, of.rule(chunk, terms, panels)) for chunk in chunks]
    return Points(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Points)))


def _measure(of: Smooth, deviations: Tensor, found: Rule) -> Points:
    u = deviations[:, None] * found.nodes
    values, slopes, weight = of.phi(u), of.derivative(u), found.hermite[:, 0]
    return Points(
        deviations, values @ weight, values.square() @ weight, slopes.square() @ weight, slopes @ found.hermite
    )


def doubt(of: Smooth, deviations: Tensor, terms: int, panels: int) -> float:
    """Return by how much the quadrature may be wrong, relative to the squares: the change when the panels are halved,
    what lies beyond 15 standard deviations, and how far Stein's lemma a_{k+1} = s b_k/sqrt(k + 1) is from holding.

    The last is what a jump of phi, or a wrong derivative, violates. Raises ``ValueError`` where phi is not finite.
    """
    return max(_doubt(of, part, terms, panels) for part in of.split(deviations, len(deviations)))


def _doubt(of: Smooth, deviations: Tensor, terms: int, panels: int) -> float:
    coarse, grid = measure(of, deviations, terms, panels), of.rule(deviations, terms, 2 * panels)
    fine = _measure(of, deviations, grid)
    unit, root = fine.unit(), fine.square.clamp_min(torch.finfo(torch.float64).tiny).sqrt()[:, None]
    u = deviations[:, None] * grid.nodes
    values, far = of.phi(u), grid.nodes.abs() > EDGE
    edge = of.derivative(u[:, far]).abs() @ grid.hermite[far].abs()
    order = torch.arange(1, terms, dtype=u.dtype, device=u.device).sqrt()
    stein = values @ grid.hermite[:, 1:] - deviations[:, None] * fine.slopes[:, :-1] / order
    changes = [
        (coarse.slopes - fine.slopes) * unit,
        (coarse.slope - fine.slope)[:, None] * unit.square(),
        (coarse.mean - fine.mean)[:, None] / root,
        (coarse.square - fine.square)[:, None] / root.square(),
        edge * unit,
        stein / root,
    ]
    sizes = [float(change.abs().max()) for change in changes]
    if not all(math.isfinite(size) for size in sizes):
        raise ValueError(
            f"{of.name} or its derivative is not finite within {REACH:.0f} standard deviations of up to "
            f"{float(deviations.max()):.3g}: a kernel needs E phi(u)² and E phi'(u)² "
            "to exist. Scale the inputs or sigma_w down"
        )
    return max(sizes)


def coefficients(of: Smooth, deviations: Tensor, correlation: float, tolerance: float) -> tuple[Points, list[int]]:
    """Return the coefficients of all deviations and the terms to add, largest first, for correlations of at most the
    one given. Raises ``ValueError`` where more than 4096 terms are needed or the quadrature does not converge."""
    at = np.linspace(0, len(deviations) - 1, min(PROBES, len(deviations))).round().tolist()
    probes, panels = deviations.sort().values[[int(k) for k in at]], PANELS[0]
    for terms in TERMS:
        panels = _resolved(of, probes, terms, panels, tolerance)
        points = measure(of, deviations, terms, panels)
        kept = points.kept(correlation, tolerance)
        if kept is not None:
            return points, kept
    reached = correlation ** TERMS[-1] * float(points.tails()[:, -1].max()) ** 2
    raise ValueError(
        f"more than {TERMS[-1]} Hermite terms of {of.name} are needed for correlations up to {correlation:.6g} at "
        f"standard deviations up to {float(deviations.max()):.3g} and a relative tolerance of {tolerance:.0e} "
        f"(reached: {reached:.0e}): a kink or a steep slope does that. {REMEDY}"
    )


def _resolved(of: Smooth, probes: Tensor, terms: int, panels: int, tolerance: float) -> int:
    """Return the least number of panels from the one given that integrates to within a quarter of the tolerance."""
    for count in (p for p in PANELS if p >= panels):
        error = doubt(of, probes, terms, count)
        if error <= tolerance / 4:
            return count
    raise ValueError(
        f"the Hermite coefficients of {of.name} at standard deviations up to {float(probes.max()):.3g} are known to "
        f"{error:.0e} and the relative tolerance is {tolerance:.0e}: a kink that was not named, a jump, a wrong "
        f"derivative or steep growth does that. {REMEDY}"
    )


def slope(phi: Function) -> Function:
    """Return the derivative of an elementwise function by autograd; ``ValueError`` where its shape changes."""

    def derivative(u: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in; so x is a copy
            x = u.detach().clone().requires_grad_()
            y = phi(x)
            if y.shape != x.shape:
                raise ValueError(f"an activation is elementwise, but shape {tuple(u.shape)} became {tuple(y.shape)}")
            if not y.requires_grad:
                return torch.zeros_like(u)
            return torch.autograd.grad(y.sum(), x)[0]

    return derivative
