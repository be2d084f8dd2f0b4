"""What is integrated: a product of opaque functions and Gaussian forms over the directions that the functions have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tpbench.programs.infinite.atoms import Atom, Atoms, Form, Opaque, padded, polynomial_values, value
from tpbench.programs.infinite.features import STEEP, features, grades
from tpbench.programs.infinite.nodes import FARTHEST, Box, Curves, nodes
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
STRAIGHT = frozenset({torch.relu, functional.relu, torch.sign, torch.abs, torch.heaviside})
"""Functions that are straight on both sides of 0, where panels need not be graded."""
_SAME = 1e-9
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sums:
    """E f and slopes, their sizes, E |f|, and the share of it that lies at the edge of the box.

    ``follows`` is E |f| (1 + |u|²), with every form one more: what a relative error of all Gaussians is multiplied by.
    """

    found: np.ndarray
    scale: np.ndarray
    size: float
    edge: float
    follows: float


@dataclass(frozen=True, eq=False)
class Integrand:
    """A group of factors: opaque functions of the directions ``axes`` (direction, ξ), and forms, with powers."""

    ring: Atoms
    axes: np.ndarray
    opaque: tuple[tuple[Opaque, int], ...]
    linear: tuple[tuple[Form, int], ...]

    def integrate(self, box: Box, panels: int, order: int, slopes: bool, autograd: bool) -> Sums:
        """Return E f and, if asked, E ∂f/∂ξ for every ξ; with ``autograd`` by that, and after it by Stein's lemma."""
        u, weights = nodes(self.breaks(), panels, order, self.ends, box)
        follow = autograd and slopes and len(self.axes) > 0
        u = u.requires_grad_(follow)
        f, wick = self.factors(u)
        whole = f * wick(tuple(range(self.count)))
        total, plain = torch.dot(weights, whole), whole.detach()
        sizes = weights * plain.abs()
        size = float(sizes.sum())
        edge = float(sizes[box.edge(u.detach(), weights)].sum()) if len(self.axes) else 0.0
        found, scale = [float(total.detach())], [size]
        if slopes:
            stein = (u.detach() @ (weights * plain)).numpy()
            both = [_gradient(total, u), stein] if follow else [stein]
            rests, places = self._rests(), range(self.count)
            aside = np.zeros(self.axes.shape[1])
            for i in places:
                others = tuple(j for j in places if j != i)
                aside = aside + float(torch.dot(weights, (f * wick(others)).detach())) * rests[i]
            across = np.concatenate([gradient @ self.axes + aside for gradient in both])
            found.extend(across)
            scale.extend([max(size, float(np.abs(across).max(initial=0.0)))] * len(across))
        tiny = np.finfo(float).tiny
        follows = float(sizes @ u.detach().square().sum(dim=0)) + (1 + self.count) * size
        return Sums(np.array(found), np.maximum(np.array(scale), tiny), size, edge / max(size, tiny), follows)

    @property
    def count(self) -> int:
        return sum(power for _, power in self.linear)

    def factors(self, u: Tensor, noise: float = 0.0) -> tuple[Tensor, Any]:
        """Return the product of the opaque factors at points, and what integrates products of the forms."""
        values: dict[Atom, Tensor] = {form: self._values(form, u) for form in self.forms}
        f = torch.ones(u.shape[1], dtype=torch.float64, device=_CPU)
        for atom, power in self.opaque:
            f = f * value(self.ring, atom, values, u.shape[1], noise) ** power
        return f, self._wick(values)

    @property
    def forms(self) -> tuple[Form, ...]:
        within = (form for atom, _ in self.opaque for form in atom.forms)
        return tuple(dict.fromkeys([*(form for form, _ in self.linear), *within]))

    def along(self, form: Form) -> np.ndarray:
        along: np.ndarray = self.axes[:, : len(form.slopes)] @ form.slopes
        return along

    def _rests(self) -> list[np.ndarray]:
        """Return what of each form is independent of the directions."""
        wide = [padded(form.slopes, self.axes.shape[1]) for form, power in self.linear for _ in range(power)]
        return [slopes - self.axes.T @ (self.axes @ slopes) for slopes in wide]

    def _wick(self, values: Mapping[Atom, Tensor]) -> Any:
        """Return a function: the expectation of a product of some of the forms, given the directions (Isserlis)."""
        factors = [form for form, power in self.linear for _ in range(power)]
        rests = stack([rest[None] for rest in self._rests()])
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

    def breaks(self) -> np.ndarray:
        """Return the forms (c, b) over the directions at whose zeros panels end.

        An opaque function, or one inside it, may have a kink there; and where its argument is steep, panels end beside
        it, too, from the length on which the argument changes by 1 up to a standard deviation.
        """
        found, ratio = [], 2.0 if len(self.axes) == 1 else 4.0
        for atom in all_atoms([atom for atom, _ in self.opaque]):
            for c, slopes in atom.affine:
                along = self.along(Form(slopes)) if slopes.size else np.zeros(0)
                steep = float(np.linalg.norm(along)) if along.size else 0.0
                graded = grades(1 / steep, ratio) if steep > STEEP and atom.call not in STRAIGHT else []
                if along.size and (graded or atom.call not in SMOOTH):
                    shifts = [0.0, *(steep * at for at in graded), *(-steep * at for at in graded)]
                    found += [[c + shift, *along] for shift in shifts]
        return np.array(found, dtype=float).reshape(-1, len(self.axes) + 1)

    def nonaffine(self, atom: Opaque) -> list[Polynomial]:
        return [p for p in atom.arguments if p.constant is None and self.ring.affine(p) is None]

    @cached_property
    def curved(self) -> list[Polynomial]:
        """The arguments of opaque functions that are not a number plus a form; smooth ones of one variable, too."""
        within = all_atoms([atom for atom, _ in self.opaque])
        return [p for a in within if len(self.axes) == 1 or a.call not in SMOOTH for p in self.nonaffine(a)]

    @property
    def ends(self) -> Curves | None:
        return self._kinks if self.curved else None

    def _kinks(self, points: Tensor) -> Tensor:
        if len(self.axes) > 1:
            return self._curves(points)
        return torch.tensor([self.features], dtype=torch.float64, device=_CPU)

    @cached_property
    def features(self) -> list[float]:
        """Places in one variable where curved arguments vanish or are steep."""

        def along(argument: Polynomial) -> Any:
            def at(u: Tensor) -> Tensor:
                values: dict[Atom, Tensor] = {form: self._values(form, u[None]) for form in self.forms}
                return polynomial_values(self.ring, argument, values, u.shape[0])

            return at

        affine = self.breaks()
        known = -affine[:, 0] / affine[:, 1]
        return [u for p in self.curved for u in features(along(p), -FARTHEST, FARTHEST, known)]

    def _curves(self, points: Tensor) -> Tensor:
        """Return where curved arguments that are affine in the last direction vanish, given the directions before."""
        count, roots = points.shape[1], []
        for argument in self.curved:
            at = []
            for place in range(3):
                u = torch.cat([points, torch.full((1, count), float(place), dtype=torch.float64, device=_CPU)])
                values: dict[Atom, Tensor] = {form: self._values(form, u) for form in self.forms}
                at.append(polynomial_values(self.ring, argument, values, count))
            slope, bend = at[1] - at[0], at[2] - 2 * at[1] + at[0]
            affine = (bend.abs() <= _SAME * (at[2].abs() + at[0].abs())) & (slope != 0)
            roots.append(torch.where(affine, -at[0] / slope, 0.0))
        return torch.stack(roots, dim=1)

    def _values(self, form: Form, u: Tensor) -> Tensor:
        return torch.as_tensor(self.along(form), device=_CPU) @ u if len(self.axes) else _zero(u.shape[1])


def _gradient(total: Tensor, u: Tensor) -> np.ndarray:
    """Return the derivative of an expectation along the directions by autograd; 0 where it sees none."""
    along = torch.autograd.grad(total, u, allow_unused=True)[0] if total.requires_grad else None
    gradient: np.ndarray = np.zeros(len(u)) if along is None else along.sum(dim=1).numpy()
    return gradient


def all_atoms(atoms: Sequence[Opaque]) -> list[Opaque]:
    """Return opaque atoms and those inside them."""
    seen: dict[Opaque, None] = {}
    left = list(atoms)
    while left:
        atom = left.pop()
        if atom not in seen:
            seen[atom] = None
            left.extend(atom.inner)
    return list(seen)


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
