"""Matrices as symbols: products, transposes, sums and powers that are applied to vectors.

W = matrix("W", variance=Fraction(1, 2))
A = W + W.T
y = A @ A @ gaussian("x")
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import overload

from tpbench.programs.instructions import GaussianMatrix, MatMul, N, Number, Width
from tpbench.programs.symbols import Node, Real, Symbol, Vector, combination, exact_number, refuse_torch


@dataclass(frozen=True, eq=False)
class Operator:
    """A sum of products of matrices: ``A @ x`` applies it. ``W + W.T`` is a symmetrised matrix.

    ``terms`` are coefficients with factors, leftmost first: a matrix or a sum of them, and whether it is transposed.
    Sums are not multiplied out, so ``A @ A @ x`` asks for as many products as ``A @ (A @ x)``.
    """

    terms: tuple[tuple[Number, tuple[tuple[Symbol | Operator, bool], ...]], ...]

    __torch_function__ = refuse_torch

    @property
    def T(self) -> Operator:  # noqa: N802 - the name of a transpose everywhere
        """The transposed operator."""
        return Operator(tuple((c, tuple((m, not flag) for m, flag in reversed(f))) for c, f in self.terms))

    @overload
    def __matmul__(self, other: Vector) -> Vector: ...

    @overload
    def __matmul__(self, other: Operator) -> Operator: ...

    def __matmul__(self, other: Vector | Operator) -> Vector | Operator:
        if isinstance(other, Operator):
            (a, left), (b, right) = self._factored(), other._factored()
            return Operator(((a * b, left + right),))
        if not isinstance(other, Vector):
            raise TypeError(f"a matrix multiplies vectors and matrices, got {type(other).__name__}: scale it with *")
        parts = [(c, reduce(_product, reversed(factors), other)) for c, factors in self.terms]
        return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else combination(parts)

    def __rmatmul__(self, other: object) -> Vector:
        if isinstance(other, Vector):
            raise TypeError("a vector stood before a matrix, x @ W: vectors are columns, so write W.T @ x")
        came = type(other).__name__
        raise TypeError(f"a matrix of a program multiplies its vectors and matrices, got {came}: scale it with *")

    def __add__(self, other: Operator) -> Operator:
        if not isinstance(other, Operator):
            raise TypeError(f"a matrix and {type(other).__name__} were added: only matrices add to matrices")
        return Operator(self.terms + other.terms)

    def __sub__(self, other: Operator) -> Operator:
        return self + (-1) * other

    def __mul__(self, number: Real) -> Operator:
        if not isinstance(number, numbers.Real):
            came = type(number).__name__
            raise TypeError(f"a matrix was multiplied by {came} with *: scale it by numbers, and apply it with @")
        return Operator(tuple((c * exact_number(number), factors) for c, factors in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, number: Real) -> Operator:
        if not isinstance(number, numbers.Real):
            came = type(number).__name__
            raise TypeError(f"a matrix was divided by {came}: divide it by numbers, and divide products, (W @ x) / c")
        exact = exact_number(number)
        if exact == 0:
            raise ValueError("a matrix was divided by 0: divide it by another number")
        return Operator(tuple((c / exact, factors) for c, factors in self.terms))

    def __rtruediv__(self, _other: object) -> Operator:
        raise TypeError("something was divided by a matrix: programs have no inverses, only products W @ x and W.T @ x")

    def _factored(self) -> tuple[Number, tuple[tuple[Symbol | Operator, bool], ...]]:
        """Return the operator as one product; a sum is a factor of its own."""
        return self.terms[0] if len(self.terms) == 1 else (Fraction(1), ((self, False),))

    def __neg__(self) -> Operator:
        return (-1) * self


def matrix(name: str, *, variance: Real = 1, rows: Width = N, columns: Width = N) -> Operator:
    """Return a matrix with independent N(0, variance/n_columns) entries."""
    exact = exact_number(variance)
    GaussianMatrix(name, exact, rows, columns)  # refuses what cannot be where it is written
    node = Node(lambda own, _: GaussianMatrix(own, exact, rows, columns), name=name, prefix="W")
    return Operator(((Fraction(1), ((Symbol(node), False),)),))


def _product(vector: Vector, factor: tuple[Symbol | Operator, bool]) -> Vector:
    matrix, flag = factor
    if isinstance(matrix, Operator):
        return (matrix.T if flag else matrix) @ vector
    node = Node(lambda own, names: MatMul(own, names[0], names[1], flag), (matrix, vector), prefix="g")
    return Vector(node)
