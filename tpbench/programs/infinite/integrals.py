"""Expectations of decimal polynomials in Gaussian forms and opaque functions of them.

A monomial falls apart into independent groups of factors. In a group the opaque functions depend on a few Gaussian
directions u; every form among the factors is ``p(u) + r`` with r independent of u, and the r's are integrated by
Isserlis. What is left is a closed form of ``limits.gaussian`` or an integral over u, by ``nodes``, in two orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tpbench.limits.gaussian import ACTIVATIONS, FUNCTIONS, Activation
from tpbench.limits.mehler import Series
from tpbench.programs.infinite import extent
from tpbench.programs.infinite.atoms import Atoms, Form, Opaque, padded
from tpbench.programs.infinite.integrand import Integrand, Sums, directions, inner_first, rows, stack, wide
from tpbench.programs.infinite.nodes import FARTHEST, LADDERS, Box, TooManyPointsError
from tpbench.programs.infinite.polynomial import Monomial, Polynomial

AGREE = 1e-9
"""How much of E |f| two orders of an integral may differ by."""
ENOUGH = 1e-12
"""The same, where the ladder of orders stops early."""
ROUNDING = 4e-15
"""Relative error of closed forms, and, doubled with every direction, the least of an integral, relative to E |f|."""
SAFETY = 3.0
"""By how much more than the last order changed an integral may be off: algebraic singularities converge slowly."""
RUNGS = 3
"""The least number of orders that have to agree: two may miss the same thing."""
EDGE = 1e-13
"""The largest share of E |f| in the outermost layer of a box."""
ROADS = 1e-7
"""How much of their size derivatives by autograd and by Stein's lemma may differ by."""
_SAME = 1e-9
_CPU = torch.device("cpu")

CLOSED: Mapping[Any, tuple[Activation, bool]] = {
    **{function: (ACTIVATIONS[name], False) for function, name in FUNCTIONS.items()},
    **{made.phi: (made, False) for made in ACTIVATIONS.values()},
    **{made.derivative: (made, True) for made in ACTIVATIONS.values()},
}
"""Functions whose Gaussian products are known, and whether they are the derivative of the activation."""


class UnsolvedError(ArithmeticError):
    """An expectation is beyond deterministic quadrature."""


@dataclass(frozen=True)
class Integral:
    """E f of a group: ``mean``, its ``error``, about E |f|, and E ∂f/∂ξ over all ξ where it was asked for.

    ``slope_error`` is the largest error of these, ``follows`` what a relative error of all Gaussians is multiplied by.
    """

    mean: float
    error: float
    scale: float
    slopes: np.ndarray = field(default_factory=lambda: np.zeros(0))
    slope_error: float = 0.0
    follows: float = 0.0


@dataclass(frozen=True, eq=False)
class Integrals:
    """Expectations over the atoms of a ring, each computed once; ``autograd`` derivatives instead of Stein's."""

    ring: Atoms
    autograd: bool = False
    known: dict[tuple[Monomial, bool], Integral] = field(default_factory=dict)

    def mean(self, p: Polynomial) -> tuple[float, float, float]:
        """Return E p, its error, and the size of its terms; ``UnsolvedError`` where it is beyond reach."""
        total, bound, size = 0.0, 0.0, 0.0
        for monomial, coefficient in p.terms.items():
            parts = [self._group(group, slopes=False) for group in self._groups(monomial)]
            total += coefficient * _product(part.mean for part in parts)
            bound += abs(coefficient) * _error(parts)
            size += abs(coefficient) * _product(part.scale for part in parts)
        return total, bound, size

    def follows(self, p: Polynomial) -> float:
        """Return by what a relative error of all vectors is multiplied in E p; numbers have none."""
        total = 0.0
        for monomial, coefficient in p.terms.items():
            parts = [self._group(group, slopes=False) for group in self._groups(monomial)]
            whole = _product(part.scale for part in parts)
            total += abs(coefficient) * whole * sum(part.follows / part.scale for part in parts if part.scale)
        return total

    def slopes(self, p: Polynomial, size: int) -> tuple[np.ndarray, float]:
        """Return E ∂p/∂ξ for the first ``size`` standard Gaussians ξ, and the largest error of one."""
        total, bound = np.zeros(size), 0.0
        for monomial, coefficient in p.terms.items():
            groups = self._groups(monomial)
            for place, group in enumerate(groups):
                others = [self._group(other, slopes=False) for i, other in enumerate(groups) if i != place]
                share = coefficient * _product(part.mean for part in others)
                unsure = abs(coefficient) * _error(others)
                if share or unsure:
                    own = self._group(group, slopes=True)
                    total += share * padded(own.slopes, size)
                    bound += abs(share) * own.slope_error + unsure * float(np.abs(own.slopes).max(initial=0.0))
        return total, bound

    def _groups(self, monomial: Monomial) -> list[Monomial]:
        """Return the factors of a monomial in groups that are independent of each other."""
        groups: list[tuple[Monomial, np.ndarray]] = []
        for factor in monomial:
            slopes = rows(self.ring.atoms[factor[0]].forms)
            touching = [g for g in groups if _correlated(g[1], slopes)]
            joined = tuple(sorted([*(f for g, _ in touching for f in g), factor]))
            groups = [g for g in groups if not any(g is t for t in touching)]
            groups.append((joined, stack([*(known for _, known in touching), slopes])))
        return [g for g, _ in groups]

    def _group(self, group: Monomial, *, slopes: bool) -> Integral:
        key = (group, slopes)
        if key not in self.known:
            closed = None if slopes else self._closed(group)
            self.known[key] = closed if closed is not None else self._integral(group, slopes)
        return self.known[key]

    def _closed(self, group: Monomial) -> Integral | None:
        """Return E φ(a) φ(b), or E φ'(a) φ'(b), of jointly Gaussian a and b where it is known."""
        factors = [self.ring.atoms[index] for index, power in group for _ in range(power)]
        if len(factors) != 2 or any(not isinstance(f, Opaque) or f.options or not _centred(f) for f in factors):
            return None
        calls = [CLOSED.get(f.call) for f in factors if isinstance(f, Opaque)]
        if calls[0] is None or calls[0] != calls[1] or isinstance(calls[0][0].duals, Series):
            return None
        forms = stack([f.affine[0][1][None] for f in factors if isinstance(f, Opaque)])
        gram = torch.as_tensor(forms @ forms.T, device=_CPU)
        activation, derivative = calls[0]
        found = float(
            (activation.dual_derivative if derivative else activation.dual)(gram[0, 0], gram[0, 1], gram[1, 1])
        )
        return Integral(found, ROUNDING * abs(found), abs(found), follows=4 * abs(found))

    def _integral(self, group: Monomial, slopes: bool) -> Integral:
        opaque = [(atom, power) for i, power in group if isinstance(atom := self.ring.atoms[i], Opaque)]
        linear = [(atom, power) for i, power in group if isinstance(atom := self.ring.atoms[i], Form)]
        forms = [*(form for form, _ in linear), *(form for atom, _ in opaque for form in atom.forms)]
        size = max(len(form.slopes) for form in forms)
        axes = directions(wide(rows(inner_first([atom for atom, _ in opaque])), size))
        if len(axes) >= len(LADDERS):
            raise UnsolvedError(
                f"an expectation over {len(axes)} Gaussian directions; at most {len(LADDERS) - 1} can be"
            )
        integrand = Integrand(self.ring, axes, tuple(opaque), tuple(linear))
        try:
            return self._climbed(integrand, slopes)
        except TooManyPointsError as error:
            raise UnsolvedError(str(error)) from error

    def _climbed(self, integrand: Integrand, slopes: bool) -> Integral:
        """Return an integral by orders from coarse to fine, at least three, until two agree."""
        box, coarse = extent.box(integrand), None
        rounding = change = ROUNDING * 2 ** len(integrand.axes)
        rungs = LADDERS[len(integrand.axes)]
        for place, (panels, order) in enumerate(rungs):
            if not place:
                box, sums = self._settled(integrand, box, slopes)
            else:
                sums = integrand.integrate(box, panels, order, slopes, self.autograd)
            if not np.isfinite(sums.found).all():
                raise UnsolvedError("an expectation is not finite in decimals")
            if coarse is not None:
                change = float(np.max(np.abs(sums.found - coarse) / sums.scale)) + sums.edge
            if place + 1 >= RUNGS and change < ENOUGH:
                break
            coarse = sums.found
        if not change < AGREE:
            raise UnsolvedError(f"two orders of an integral differ by {change:.1e} of its size, above {AGREE:.0e}")
        found, scale = sums.found, sums.scale
        if sums.size == 0 and not extent.may_vanish(integrand):
            raise UnsolvedError("a function is 0 wherever it was looked at: it may be too narrow to be seen")
        if said := extent.missed(integrand, box, float(found[0])):
            raise UnsolvedError(said)
        change = max(rounding, SAFETY * change) + extent.rounding(integrand, box)
        error, along = change * float(scale.max()), found[1:]
        if slopes and self.autograd and len(integrand.axes):
            along = _one_road(along, error)
        return Integral(float(found[0]), change * float(scale[0]), float(scale[0]), along, error, sums.follows)

    def _settled(self, integrand: Integrand, box: Box, slopes: bool) -> tuple[Box, Sums]:
        """Return the first rung in a box at whose edge the integrand is negligible."""
        panels, order = LADDERS[len(integrand.axes)][0]
        while True:
            sums = integrand.integrate(box, panels, order, slopes, self.autograd)
            if not sums.edge > EDGE or not np.isfinite(sums.found).all():
                return box, sums
            if box.radius >= FARTHEST:
                raise UnsolvedError(f"an integrand does not fall off within {FARTHEST:.0f} standard deviations")
            box = box.wider()


def _one_road(both: np.ndarray, error: float) -> np.ndarray:
    """Return slopes by autograd, after checking that they are Stein's, which come after them."""
    autograd, stein = np.split(both, 2)
    gap, size = float(np.abs(autograd - stein).max(initial=0.0)), float(np.abs(both).max(initial=0.0))
    if gap > ROADS * size + 10 * error:
        raise UnsolvedError(
            f"derivatives by autograd and by Stein's lemma differ by {gap:.1e}: a function jumps, or hides its slope; "
            'ask for derivatives="stein"'
        )
    return autograd


def _correlated(a: np.ndarray, b: np.ndarray) -> bool:
    size = max(a.shape[1], b.shape[1])
    a, b = wide(a, size), wide(b, size)
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    return bool(np.any(np.abs(a @ b.T) > 1e-13 * norms))


def _centred(atom: Opaque) -> bool:
    return len(atom.arguments) == 1 and len(atom.affine) == 1 and atom.affine[0][0] == 0


def _product(values: Any) -> float:
    return float(np.prod(np.fromiter(values, dtype=float)))


def _error(parts: Sequence[Integral]) -> float:
    """Return by how much a product may be off, to first order."""
    others = ([part.scale for i, part in enumerate(parts) if i != place] for place in range(len(parts)))
    return sum(part.error * abs(_product(rest)) for part, rest in zip(parts, others, strict=True))
