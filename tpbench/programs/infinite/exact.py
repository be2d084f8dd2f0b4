"""Polynomial programs in rational numbers: limits as fractions.

Every Z is a polynomial in independent Gaussian variables of rational variance. For each matrix and side the vectors
that it has multiplied are made orthogonal, q_j, and not normalised: ``Ẑ^{Wx} = Σ_j (E Z^x q_j / E q_j²) ξ_j`` with
fresh ξ_j ~ N(0, s E q_j²) is Gaussian of covariance s E Z^x Z^{x'}, all of it rational. With p_j and ζ_j those of the
other side, ``Ż^{Wx} = s Σ_j p_j E ∂Z^x/∂ζ_j`` by the chain rule. Here s = σ² for W and σ² n_rows/n_columns for Wᵀ: the
sums over the columns in ``Σ_j W_ij x_j`` and over the rows in ``Σ_i W_ij y_i`` meet entries of variance σ²/n_columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tpbench.programs.infinite.isserlis import mean, mean_derivatives, mean_product
from tpbench.programs.infinite.noun import Request, Solved, UnsuitedError, Value
from tpbench.programs.infinite.polynomial import Polynomial, TooLargeError, number, polynomial, rational, variable
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

REFUSED = (TypeError, AttributeError, ValueError, ArithmeticError, NotImplementedError)
"""What functions raise that cannot take polynomials, or outgrow them."""


@dataclass(frozen=True)
class Side:
    """What a matrix, or its transpose, has multiplied: orthogonal vectors, their squares E q², and variables ξ."""

    basis: list[Polynomial] = field(default_factory=list)
    squares: list[Fraction] = field(default_factory=list)
    variables: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One evaluation at infinite width: Z's, scalars, the variances of the variables, and the sides of matrices."""

    program: Program
    request: Request
    vectors: dict[str, Polynomial] = field(default_factory=dict)
    numbers: dict[str, Fraction] = field(default_factory=dict)
    variances: list[Fraction] = field(default_factory=list)
    sides: dict[tuple[str, bool], Side] = field(default_factory=dict)


@dataclass(frozen=True)
class Exact:
    """The limit of a polynomial program: ``polynomials`` of the outputs in variables of the given variances."""

    program: Program
    request: Request
    scalars: Mapping[str, Value]
    polynomials: Mapping[str, Polynomial]
    variances: tuple[Fraction, ...]

    def expectation(self, function: Function, vectors: tuple[str, ...]) -> Value:
        """Return E function(Z^x, …), by quadrature where the function is no polynomial.

        Raises ``UnsuitedError`` where that cannot be either.
        """
        try:
            found = polynomial(function.call(*(self.polynomials[name] for name in vectors)))
            return _value(mean(found, self.variances))
        except REFUSED:
            from tpbench.programs.infinite.quadrature import solve

            return solve(self.program, self.request).expectation(function, vectors)


def solve(program: Program, request: Request) -> Solved:
    """Return the limit in fractions.

    Raises ``UnsuitedError`` for a function that is no polynomial (written with + - * / and whole powers), for decimals
    such as 0.1 (``Fraction(1, 10)`` is exact, and so is 0.5), and for polynomials that grow too large.
    """
    run = Run(program, request)
    for binding in program.bindings:
        try:
            BINDERS[type(binding)](run, binding)
        except REFUSED as error:
            raise UnsuitedError(f"exact: {bound_names(binding)[0]!r} {_reason(binding, error)}") from error
    return Exact(
        program,
        request,
        {name: _stated(name, run.numbers[name]) for name in program.outputs if name in run.numbers},
        {name: run.vectors[name] for name in program.outputs if name in run.vectors},
        tuple(run.variances),
    )


def _gaussians(run: Run, b: Gaussians) -> None:
    """Write joint vectors by independent variables: the covariance is L D Lᵀ with rational L and D, D possibly 0."""
    left = [[rational(value) for value in row] for row in b.covariance]
    rows = [number(rational(value)) for value in b.mean]
    for j in range(len(rows)):
        pivot = left[j][j]
        if pivot < 0 or (pivot == 0 and any(left[j])):
            raise ValueError("is not positive semidefinite in exact arithmetic: give its covariance as fractions")
        if pivot == 0:
            continue
        fresh = _variable(run, pivot)
        weights = [left[i][j] / pivot for i in range(len(rows))]
        for i in range(j, len(rows)):
            rows[i] = rows[i] + weights[i] * fresh
        left = [
            [left[i][k] - weights[i] * left[j][k] if min(i, k) >= j else Fraction(0) for k in range(len(rows))]
            for i in range(len(rows))
        ]
    run.vectors.update(zip(b.names, rows, strict=True))


def _matrix(run: Run, b: GaussianMatrix) -> None:
    rational(b.variance)
    run.sides[b.name, False], run.sides[b.name, True] = Side(), Side()


def _constant(run: Run, b: Constant) -> None:
    run.numbers[b.name] = rational(b.limit)


def _matmul(run: Run, b: MatMul) -> None:
    matrix, x = run.program.matrices[b.matrix], run.vectors[b.vector]
    ratio = matrix.rows.ratio / matrix.columns.ratio if b.transposed else Fraction(1)
    scale = rational(matrix.variance) * ratio
    found = _hat(run, run.sides[b.matrix, b.transposed], x, scale)
    if run.request.transposes == "dependent":
        other = run.sides[b.matrix, not b.transposed]
        slopes = mean_derivatives(x, run.variances)
        for vector, index in zip(other.basis, other.variables, strict=True):
            if slopes.get(index):
                found = found + (scale * slopes[index]) * vector
    run.vectors[b.name] = found


def _hat(run: Run, side: Side, x: Polynomial, scale: Fraction) -> Polynomial:
    """Return Ẑ of a product, a linear form in the side's variables; a new direction makes a new variable."""
    rest, found = x, number(0)
    for vector, square, index in zip(side.basis, side.squares, side.variables, strict=True):
        weight = mean_product(x, vector, run.variances) / square
        if weight:
            rest, found = rest - weight * vector, found + weight * variable(index)
    square = mean_product(rest, rest, run.variances)
    if square:
        side.basis.append(rest)
        side.squares.append(square)
        fresh = _variable(run, scale * square)
        side.variables.append(len(run.variances) - 1)
        found = found + fresh
    return found


def _nonlin(run: Run, b: Nonlin) -> None:
    run.vectors[b.name] = polynomial(_called(run, b))


def _moment(run: Run, b: Moment) -> None:
    found = _called(run, b)
    run.numbers[b.name] = mean(polynomial(found), run.variances)


def _called(run: Run, b: Nonlin | Moment) -> Any:
    """Scalars are constant polynomials: a Fraction that meets a float would silently be rounded."""
    scalars = (number(run.numbers[name]) for name in b.scalars)
    return b.function.call(*(run.vectors[name] for name in b.vectors), *scalars)


BINDERS: Mapping[type[Binding], Callable[[Run, Any], None]] = {
    Gaussians: _gaussians,
    GaussianMatrix: _matrix,
    Constant: _constant,
    MatMul: _matmul,
    Nonlin: _nonlin,
    Moment: _moment,
}


def _variable(run: Run, variance: Fraction) -> Polynomial:
    run.variances.append(variance)
    return variable(len(run.variances) - 1)


def _stated(name: str, found: Fraction) -> Value:
    try:
        return _value(found)
    except OverflowError as error:
        raise UnsuitedError(f"exact: {name!r} is beyond decimals: {error}") from error


def _value(found: Fraction) -> Value:
    return Value(float(found), 0.0, found)


def _reason(binding: Binding, error: Exception) -> str:
    if isinstance(error, TooLargeError) or not isinstance(binding, Nonlin | Moment):
        return f"is beyond exact numbers: {error}"
    said = str(error).splitlines()[0] if str(error) else "no message"
    return f"is no polynomial in exact numbers ({binding.function.name!r}: {type(error).__name__}: {said})"
