"""What decimal Z's are polynomials of: Gaussian forms, and functions that are no polynomials.

A ``Form`` is ``Σ_i b_i ξ_i`` over all independent standard Gaussians ξ of the limit. An ``Opaque`` is a function of
polynomials, such as tanh(h). ``Atoms`` lists both, and is the ring of decimal polynomials: a function that is written
with operators and torch functions falls apart into its atoms, ``tanh(h) * g`` into two, and factors that are
independent are integrated alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpbench.programs.infinite.polynomial import Polynomial, number, polynomial, variable
from tpbench.programs.instructions import Function

REFUSED = (TypeError, AttributeError, ValueError, ArithmeticError, NotImplementedError, RuntimeError)
"""What functions raise that cannot take polynomials."""


@dataclass(frozen=True, eq=False)
class Form:
    """A Gaussian of mean 0: its coefficients over the standard Gaussians known when it was made."""

    slopes: np.ndarray

    @property
    def forms(self) -> tuple[Form, ...]:
        """Itself: the Gaussians it depends on."""
        return (self,)


@dataclass(frozen=True, eq=False)
class Opaque:
    """``call(*arguments, **options)`` of tensors; ``forms`` are all the Gaussians that it depends on.

    ``inner`` are the opaque atoms in its arguments, ``affine`` those arguments that are a number plus a form.
    """

    call: Callable[..., Any]
    arguments: tuple[Polynomial, ...]
    options: Mapping[str, Any]
    forms: tuple[Form, ...]
    inner: tuple[Opaque, ...]
    affine: tuple[tuple[float, np.ndarray], ...]


Atom = Form | Opaque


@dataclass(frozen=True, eq=False)
class Atoms:
    """The ring of decimal polynomials in atoms; ``atoms`` by index."""

    atoms: list[Atom] = field(default_factory=list)
    known: dict[Hashable, int] = field(default_factory=dict)
    exact: bool = False

    def coefficient(self, value: object) -> float:
        """Return a number as a float; ``TypeError`` for what is none."""
        return float(value)  # type: ignore[arg-type]

    def form(self, slopes: np.ndarray) -> Polynomial:
        """Return a Gaussian form as a polynomial; equal forms are one atom, so that they cancel."""
        kept = np.trim_zeros(slopes, "b")
        if not kept.size:
            return number(0, self)
        key = kept.tobytes()
        if key not in self.known:
            self.atoms.append(Form(kept))
            self.known[key] = len(self.atoms) - 1
        return variable(self.known[key], self)

    def call(self, function: Function, arguments: Sequence[Polynomial]) -> Polynomial:
        """Return a function of a program of polynomials: falling apart where it can, else as one opaque atom."""
        try:
            found = polynomial(function.call(*arguments), self)
        except REFUSED:
            found = self.apply(function.call, tuple(arguments), {})
        return self.gathered(found)

    def apply(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Polynomial:
        """Return an opaque function of polynomials and numbers; a number where they are all numbers."""
        given = tuple(polynomial(value, self) for value in arguments)
        within = [self.atoms[i] for p in given for monomial in p.terms for i, _ in monomial]
        if not within:
            return number(float(evaluated(self, function, given, options, {}, 1)), self)
        key = (function, tuple(tuple(sorted(p.terms.items())) for p in given), tuple(sorted(options.items())))
        if key not in self.known:
            forms = tuple(dict.fromkeys(form for atom in within for form in atom.forms))
            inner = tuple(dict.fromkeys(atom for atom in within if isinstance(atom, Opaque)))
            affine = tuple(form for p in given if (form := self.affine(p)) is not None)
            self.atoms.append(Opaque(function, given, dict(options), forms, inner, affine))
            self.known[key] = len(self.atoms) - 1
        return variable(self.known[key], self)

    def affine(self, p: Polynomial) -> tuple[float, np.ndarray] | None:
        """Return (number, coefficients) of a polynomial that is a number plus a form, else None."""
        total, slopes = 0.0, np.zeros(0)
        for monomial, value in p.terms.items():
            if monomial == ():
                total = value
                continue
            atom = self.atoms[monomial[0][0]]
            if len(monomial) > 1 or monomial[0][1] > 1 or not isinstance(atom, Form):
                return None
            slopes = added(slopes, value * atom.slopes)
        return total, slopes

    def gathered(self, p: Polynomial) -> Polynomial:
        """Return the same polynomial with its Gaussian forms of first degree made into one."""
        linear = {m: v for m, v in p.terms.items() if self._is_form(m)}
        if len(linear) < 2:
            return p
        affine = self.affine(Polynomial(linear, self))
        rest = Polynomial({m: v for m, v in p.terms.items() if m not in linear}, self)
        return rest + self.form(affine[1]) if affine is not None else p

    def _is_form(self, monomial: tuple[tuple[int, int], ...]) -> bool:
        return len(monomial) == 1 and monomial[0][1] == 1 and isinstance(self.atoms[monomial[0][0]], Form)


def added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of coefficients over different numbers of Gaussians."""
    size = max(len(a), len(b))
    total: np.ndarray = padded(a, size) + padded(b, size)
    return total


def padded(a: np.ndarray, size: int) -> np.ndarray:
    """Return coefficients over more Gaussians."""
    return np.concatenate([a, np.zeros(size - len(a))])


def evaluated(
    ring: Atoms,
    function: Callable[..., Any],
    arguments: Sequence[Polynomial],
    options: Mapping[str, Any],
    values: dict[Atom, Tensor],
    points: int,
    noise: float = 0.0,
) -> Tensor:
    """Return a function of polynomials at points, (point,); ``values`` has those of the forms, and gets the others.

    Every argument is moved by ``noise`` times the sizes of its terms: what rounding does to it.
    """
    tensors = [polynomial_values(ring, p, values, points, noise) for p in arguments]
    found = torch.as_tensor(function(*tensors, **options), dtype=torch.float64, device=torch.device("cpu"))
    return found.expand(points)


def value(ring: Atoms, atom: Atom, values: dict[Atom, Tensor], points: int, noise: float = 0.0) -> Tensor:
    """Return an atom's values at points, once each."""
    if atom not in values and isinstance(atom, Opaque):
        values[atom] = evaluated(ring, atom.call, atom.arguments, atom.options, values, points, noise)
    return values[atom]


def polynomial_values(
    ring: Atoms, p: Polynomial, values: dict[Atom, Tensor], points: int, noise: float = 0.0
) -> Tensor:
    """Return a polynomial's values at points."""
    total = torch.zeros(points, dtype=torch.float64, device=torch.device("cpu"))
    for monomial, coefficient in p.terms.items():
        term = torch.full_like(total, coefficient)
        for index, power in monomial:
            term = term * value(ring, ring.atoms[index], values, points, noise) ** power
        total = total + term + noise * term.abs() if noise else total + term
    return total
