"""What is integrated: a product of opaque functions and Gaussian forms over the directions that the functions have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tpbench.programs.infinite.atoms import Atom, Atoms, Form, Opaque, padded, polynomial_values, value
from tpbench.programs.infinite.nodes import nodes
from tpbench.programs.infinite.polynomial import Polynomial

SMOOTH = frozenset(
    {
        torch.tanh,
        torch.sigmoid,
        torch.erf,
        torch.exp,
        torch.sin,
        torch.cos,
        torch.cosh,
        torch.special.ndtr,
        functional.gelu,
        functional.silu,
        functional.softplus,
    }
)
"""Functions that are known to have no kinks, at whose zeros panels need not end."""
_SAME = 1e-9
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Integrand:
    """A group of factors: opaque functions of the directions ``axes`` (direction, ξ), and forms, with powers."""

    ring: Atoms
    axes: np.ndarray
    opaque: tuple[tuple[Opaque, int], ...]
    linear: tuple[tuple[Form, int], ...]

    def integrate(self, panels: int, order: int, slopes: bool, autograd: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return E f and, if asked, E ∂f/∂ξ for every ξ; and E of their absolute values, roughly."""
        u, weights = nodes(self._breaks(), panels, order, self._curves if self._curved else None)
        u = u.requires_grad_(autograd and slopes and len(self.axes) > 0)
        factors = [form for form, power in self.linear for _ in range(power)]
        values: dict[Atom, Tensor] = {}
        for form in self._forms:
            values[form] = self._values(form, u)
        f = torch.ones(u.shape[1], dtype=torch.float64, device=_CPU)
        for atom, power in self.opaque:
            f = f * value(self.ring, atom, values, u.shape[1]) ** power
        wick = self._wick(factors, values)
        whole = f * wick(tuple(range(len(factors))))
        total = torch.dot(weights, whole)
        size = float(torch.dot(weights, whole.detach().abs()))
        found, scale = [float(total.detach())], [size]
        if slopes:
            if u.requires_grad:
                along = torch.autograd.grad(total, u, allow_unused=True)[0]
                gradient = np.zeros(len(self.axes)) if along is None else along.sum(dim=1).numpy()
            else:
                gradient = (u.detach() @ (weights * whole.detach())).numpy()
            across = gradient @ self.axes
            rests = self._rests(factors)
            for i in range(len(factors)):
                others = tuple(j for j in range(len(factors)) if j != i)
                across = across + float(torch.dot(weights, (f * wick(others)).detach())) * rests[i]
            found.extend(across)
            scale.extend([max(size, float(np.abs(across).max(initial=0.0)))] * len(across))
        return np.array(found), np.maximum(np.array(scale), np.finfo(float).tiny)

    @property
    def _forms(self) -> tuple[Form, ...]:
        within = (form for atom, _ in self.opaque for form in atom.forms)
        return tuple(dict.fromkeys([*(form for form, _ in self.linear), *within]))

    def _along(self, form: Form) -> np.ndarray:
        along: np.ndarray = self.axes[:, : len(form.slopes)] @ form.slopes
        return along

    def _rests(self, factors: Sequence[Form]) -> list[np.ndarray]:
        """Return what of each form is independent of the directions."""
        wide = [padded(form.slopes, self.axes.shape[1]) for form in factors]
        return [slopes - self.axes.T @ (self.axes @ slopes) for slopes in wide]

    def _wick(self, factors: Sequence[Form], values: Mapping[Atom, Tensor]) -> Any:
        """Return a function: the expectation of a product of some of the forms, given the directions (Isserlis)."""
        rests = stack([rest[None] for rest in self._rests(factors)])
        covariance = rests @ rests.T

        @cache
        def expected(which: tuple[int, ...]) -> Any:
            if not which:
                return 1.0
            first, others = which[0], which[1:]
            total = values[factors[first]] * expected(others)
            for place, other in enumerate(others):
                total = total + covariance[first, other] * expected(others[:place] + others[place + 1 :])
            return total

        return expected

    def _breaks(self) -> np.ndarray:
        """Return the forms (c, b) over the directions where an opaque function, or one inside it, may have a kink."""
        within = _kinked([atom for atom, _ in self.opaque])
        found = [[c, *self._along(Form(slopes))] for atom in within for c, slopes in atom.affine if slopes.size]
        return np.array(found, dtype=float).reshape(-1, len(self.axes) + 1)

    @property
    def _curved(self) -> list[Polynomial]:
        """The arguments of opaque functions that are not a number plus a form."""
        within = _kinked([atom for atom, _ in self.opaque])
        return [p for atom in within for p in atom.arguments if self.ring.affine(p) is None]

    def _curves(self, points: Tensor) -> Tensor:
        """Return where curved arguments that are affine in the last direction vanish, given the directions before."""
        count, roots = points.shape[1], []
        for argument in self._curved:
            at = []
            for place in range(3):
                u = torch.cat([points, torch.full((1, count), float(place), dtype=torch.float64, device=_CPU)])
                values: dict[Atom, Tensor] = {form: self._values(form, u) for form in self._forms}
                at.append(polynomial_values(self.ring, argument, values, count))
            slope, bend = at[1] - at[0], at[2] - 2 * at[1] + at[0]
            affine = (bend.abs() <= _SAME * (at[2].abs() + at[0].abs())) & (slope != 0)
            roots.append(torch.where(affine, -at[0] / slope, 0.0))
        return torch.stack(roots, dim=1)

    def _values(self, form: Form, u: Tensor) -> Tensor:
        return torch.as_tensor(self._along(form), device=_CPU) @ u if len(self.axes) else _zero(u.shape[1])


def _kinked(atoms: Sequence[Opaque]) -> list[Opaque]:
    """Return opaque atoms and those inside them, but the smooth ones."""
    seen: dict[Opaque, None] = {}
    left = list(atoms)
    while left:
        atom = left.pop()
        if atom not in seen:
            seen[atom] = None
            left.extend(atom.inner)
    return [atom for atom in seen if atom.call not in SMOOTH]


def inner_first(atoms: Sequence[Opaque]) -> list[Form]:
    """Return the forms that atoms depend on, those first that are inside other opaque atoms.

    The last direction is then, where it can be, one in which curved arguments are affine, and their kinks are known.
    """
    inner = [form for atom in atoms for other in atom.inner for form in other.forms]
    return list(dict.fromkeys([*inner, *(form for atom in atoms for form in atom.forms)]))


def rows(forms: Sequence[Form]) -> np.ndarray:
    """Return the coefficients (form, ξ)."""
    return stack([form.slopes[None] for form in forms])


def stack(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Stack rows over different numbers of Gaussians."""
    size = max((block.shape[1] for block in blocks), default=0)
    return np.concatenate([wide(b, size) for b in blocks]) if blocks else np.zeros((0, 0))


def wide(rows: np.ndarray, size: int) -> np.ndarray:
    """Return rows over more Gaussians."""
    return np.concatenate([rows, np.zeros((len(rows), size - rows.shape[1]))], axis=1)


def directions(rows: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (direction, ξ) of rows, the first row first: Gram–Schmidt, twice for rounding."""
    basis = np.zeros((0, rows.shape[1]))
    for row in rows:
        rest = row - basis.T @ (basis @ row)
        rest = rest - basis.T @ (basis @ rest)
        if np.linalg.norm(rest) > _SAME * np.linalg.norm(row):
            basis = np.concatenate([basis, rest[None] / np.linalg.norm(rest)])
    return basis


def _zero(points: int) -> Tensor:
    return torch.zeros(points, dtype=torch.float64, device=_CPU)
