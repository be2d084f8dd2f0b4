"""Programs of any functions over few Gaussian directions: closed forms and Gauss quadrature, without chance.

Every Z is a polynomial in Gaussian forms over independent standard Gaussians ξ and in opaque functions of such
(``atoms``). A matrix keeps for each side orthonormal combinations q_j of the vectors it has multiplied: with
``L_xj = E Z^x q_j``, ``Ẑ^{Wx} = √s Σ_j L_xj ξ_j``. With p_j and ζ_j those of the other side,
``Ż^{Wx} = s/√s' Σ_j p_j E ∂Z^x/∂ζ_j``, where s is σ² for W and σ² n_rows/n_columns for Wᵀ, and s' that of the other.
``E ∂Z^x/∂ζ_j = E ζ_j Z^x`` (Stein) is right for kinks and jumps, too, and is what "auto" takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tpbench.programs.infinite.atoms import REFUSED, Atoms
from tpbench.programs.infinite.integrals import Integrals, UnsolvedError
from tpbench.programs.infinite.noun import Request, Solved, UnsuitedError, Value
from tpbench.programs.infinite.polynomial import Polynomial, number
from tpbench.programs.instructions import (
    Binding,
    Constant,
    Function,
    GaussianMatrix,
    Gaussians,
    MatMul,
    Moment,
    Nonlin,
    bound_names,
)
from tpbench.programs.program import Program

DEPENDENT = 1e-13
"""Share of its terms' sizes below which the square of what is left of a vector beside others counts as rounding."""
NOTHING = 1e-14
"""Share of the largest coefficient, or of a vector's length, below which a coefficient is rounding."""
STEP = 1e-5
"""Share of a scalar by which it is moved, at least, to see how a vector follows it."""


@dataclass(frozen=True)
class Side:
    """What a matrix, or its transpose, has multiplied: an orthonormal basis, and the Gaussians ξ that stand for it."""

    basis: list[Polynomial] = field(default_factory=list)
    variables: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One evaluation at infinite width; ``size`` counts the Gaussians, ``relative`` holds the integrals' errors."""

    program: Program
    request: Request
    ring: Atoms
    integrals: Integrals
    vectors: dict[str, Polynomial] = field(default_factory=dict)
    numbers: dict[str, Value] = field(default_factory=dict)
    sides: dict[tuple[str, bool], Side] = field(default_factory=dict)
    size: list[int] = field(default_factory=lambda: [0])
    relative: list[float] = field(default_factory=lambda: [0.0])


@dataclass(frozen=True)
class Quadrature:
    """A limit by quadrature: ``run`` knows the Z's."""

    run: Run
    scalars: Mapping[str, Value]

    def expectation(self, function: Function, vectors: tuple[str, ...]) -> Value:
        """Return E function(Z^x, …); ``UnsuitedError`` where it is beyond quadrature."""
        try:
            found = self.run.ring.call(function, [self.run.vectors[name] for name in vectors])
            return _expected(self.run, found)
        except REFUSED as error:
            raise UnsuitedError(f"quadrature: the expectation of {function.name!r}: {error}") from error


def solve(program: Program, request: Request) -> Solved:
    """Return the limit; errors are estimates, by what the last order of quadrature changes and by rounding.

    They are three times the change by the last order and at least 4e-15 of E |f|; they follow functions of scalars by
    differences, and vectors by the largest relative error that came before, times E |f| (1 + |u|²). No bound: what no
    node and no dense grid sees is not in them, nor is a function of several vectors, not known, that is narrow.

    Raises ``UnsuitedError`` where an expectation is over more than three Gaussian directions that do not fall apart,
    where two orders differ (kinks elsewhere than where a number plus a Gaussian is 0), where a function is seen nowhere
    to differ from 0 or is too narrow for its nodes, where an integrand does not fall off, where a value is not finite,
    and, for derivatives by autograd, where Stein's lemma gives others.
    """
    ring = Atoms()
    run = Run(program, request, ring, Integrals(ring, request.derivatives == "autograd"))
    for binding in program.bindings:
        try:
            BINDERS[type(binding)](run, binding)
        except REFUSED as error:
            raise UnsuitedError(f"quadrature: {bound_names(binding)[0]!r}: {_reason(binding, error)}") from error
        _check_finite(run, binding)
    return Quadrature(run, {name: run.numbers[name] for name in program.outputs if name in run.numbers})


def _check_finite(run: Run, binding: Binding) -> None:
    """Raise ``UnsuitedError`` for a binding that made a number, or a coefficient, that is not finite."""
    for name in bound_names(binding):
        vector, value = run.vectors.get(name), run.numbers.get(name)
        made = [*(vector.terms.values() if vector is not None else ()), *((value.mean, value.error) if value else ())]
        if not all(map(math.isfinite, made)):
            raise UnsuitedError(f"quadrature: {name!r}: its value, or its error, is not finite")


def _gaussians(run: Run, b: Gaussians) -> None:
    """Write joint vectors by a square root of their covariance, which may be singular."""
    values, vectors = np.linalg.eigh(np.array([[float(value) for value in row] for row in b.covariance]))
    kept = values > 1e-13 * values.max(initial=0.0)
    root = vectors[:, kept] * np.sqrt(values[kept])
    first = run.size[0]
    run.size[0] += root.shape[1]
    for name, mean, row in zip(b.names, b.mean, root, strict=True):
        run.vectors[name] = run.ring.form(np.concatenate([np.zeros(first), row])) + float(mean)


def _matrix(run: Run, b: GaussianMatrix) -> None:
    run.sides[b.name, False], run.sides[b.name, True] = Side(), Side()


def _constant(run: Run, b: Constant) -> None:
    run.numbers[b.name] = Value(float(b.limit))


def _matmul(run: Run, b: MatMul) -> None:
    matrix, x = run.program.matrices[b.matrix], run.vectors[b.vector]
    variance, ratio = float(matrix.variance), float(matrix.rows.ratio / matrix.columns.ratio)
    scale, opposite = (variance * ratio, variance) if b.transposed else (variance, variance * ratio)
    length = _expected(run, x * x).mean ** 0.5
    found = run.ring.form(np.sqrt(scale) * _row(run, run.sides[b.matrix, b.transposed], x, length))
    other = run.sides[b.matrix, not b.transposed]
    if other.basis and run.request.transposes == "dependent":
        slopes, error = run.integrals.slopes(x, run.size[0])
        slopes = slopes[other.variables]
        if length:
            run.relative[0] = max(run.relative[0], error / length)
        weights = slopes * scale / np.sqrt(opposite)
        for slope, weight, vector in zip(slopes, weights, other.basis, strict=True):
            if abs(slope) > NOTHING * length:
                found = found + float(weight) * vector
    run.vectors[b.name] = run.ring.gathered(_without_rounding(found))


def _row(run: Run, side: Side, x: Polynomial, length: float) -> np.ndarray:
    """Return L_xj at the places of the Gaussians ξ_j; a new direction makes a new ξ.

    What is left of x beside the basis is subtracted term by term, so that a small step away from it is not lost in the
    difference of large squares; where its terms do not cancel by themselves, the gap goes into the error.
    """
    found, rest = np.zeros(run.size[0] + 1), x
    for vector, index in zip(side.basis, side.variables, strict=True):
        weight = _expected(run, x * vector).mean
        if abs(weight) > NOTHING * length:
            found[index] = weight
            rest = rest - weight * vector
    rest = run.ring.gathered(rest)
    square, error, size = run.integrals.mean(rest * rest)
    noise = max(DEPENDENT * size, 10 * error)
    if square > max(noise, (NOTHING * length) ** 2):
        side.basis.append(_without_rounding(rest) * float(square**-0.5))
        side.variables.append(run.size[0])
        found[run.size[0]] = square**0.5
        run.size[0] += 1
    elif length:
        run.relative[0] = max(run.relative[0], noise**0.5 / length)
    return found


def _without_rounding(p: Polynomial) -> Polynomial:
    largest = max(map(abs, p.terms.values()), default=0.0)
    return Polynomial({m: v for m, v in p.terms.items() if abs(v) > NOTHING * largest}, p.ring)


def _nonlin(run: Run, b: Nonlin) -> None:
    made = run.vectors[b.name] = run.ring.call(b.function, _arguments(run, b))
    unsure = [name for name in dict.fromkeys(b.scalars) if run.numbers[name].error > 0]
    if unsure:
        run.relative[0] = max(run.relative[0], sum(_share(run, b, made, name) for name in unsure))


def _share(run: Run, b: Nonlin, made: Polynomial, name: str) -> float:
    """Return by how much of its size the error of a scalar changes a vector, by a step that rounding does not hide."""
    value = run.numbers[name]
    step = max(value.error, STEP * abs(value.mean))
    moved = run.ring.call(b.function, _arguments(run, b, {name: step}))
    if moved.terms.keys() == made.terms.keys() or not made.terms:
        change = sum(abs(each - made.terms.get(m, 0.0)) for m, each in moved.terms.items())
        size = max(map(abs, made.terms.values()), default=1.0)
    else:
        change, size = (abs(run.integrals.mean(p * p)[0]) ** 0.5 for p in (moved - made, made))
    return value.error / step * change / size if size else value.error


def _moment(run: Run, b: Moment) -> None:
    found = _expected(run, run.ring.call(b.function, _arguments(run, b)))
    run.numbers[b.name] = Value(
        found.mean, found.error + sum(_moved(run, b, found, n) for n in dict.fromkeys(b.scalars))
    )


def _moved(run: Run, b: Moment, found: Value, name: str) -> float:
    """Return by how much the error of a scalar moves a moment; at a boundary, such as sqrt at 0, on its inner side."""
    error, changes = run.numbers[name].error, []
    if not error > 0 or not math.isfinite(found.mean):
        return 0.0
    for step in (error, -error):
        try:
            moved = run.integrals.mean(run.ring.call(b.function, _arguments(run, b, {name: step})))[0]
        except REFUSED:
            continue
        changes.append(abs(moved - found.mean))
    return max(filter(math.isfinite, changes), default=math.inf)


def _arguments(run: Run, b: Nonlin | Moment, steps: Mapping[str, float] | None = None) -> list[Polynomial]:
    """Return what a function is given; ``steps`` are added to scalars."""
    steps = steps or {}
    scalars = [number(run.numbers[name].mean + steps.get(name, 0.0), run.ring) for name in b.scalars]
    return [*(run.vectors[name] for name in b.vectors), *scalars]


BINDERS: Mapping[type[Binding], Callable[[Run, Any], None]] = {
    Gaussians: _gaussians,
    GaussianMatrix: _matrix,
    Constant: _constant,
    MatMul: _matmul,
    Nonlin: _nonlin,
    Moment: _moment,
}


def _expected(run: Run, p: Polynomial) -> Value:
    """Return E p with its own error and what the largest relative error of those before it does to Gaussians."""
    mean, error, size = run.integrals.mean(p)
    if not math.isfinite(mean) or not math.isfinite(error):
        raise UnsolvedError(f"the value is {mean}, its error {error}")
    whole = error + run.relative[0] * run.integrals.follows(p)
    if size > 0:
        run.relative[0] = max(run.relative[0], error / size)
    return Value(mean, whole)


def _reason(binding: Binding, error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{said} ({binding.function.name!r})" if isinstance(binding, Nonlin | Moment) else said
