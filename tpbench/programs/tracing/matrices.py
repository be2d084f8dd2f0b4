"""Products with matrices: a Gaussian matrix times a vector is an instruction, u vᵀ times x is n ⟨v x⟩ u."""

from __future__ import annotations

from fractions import Fraction

from tpbench.programs.tracing.emit import Builder
from tpbench.programs.tracing.noun import TraceError
from tpbench.programs.tracing.values import ONE, Gauss, Outer, Sum, add, dot, product, single, transposed


def matvec(build: Builder, matrix: Sum, vector: Sum, ratio: Fraction) -> Sum:
    """Return a matrix times a vector; ``ratio`` is that of the vector's width."""
    if not vector or not matrix:
        return {}
    (base, s, p), c = single(build, vector, ratio)
    total: Sum = {}
    for (part, s2, p2), c2 in matrix.items():
        scalars = product(build, s, s2)
        if isinstance(part, Gauss):
            into = build.ones(ratio) if base == ONE else str(base)
            out = build.matmul(part.name, into, part.transposed)
            total = add(total, {(out, scalars, p + p2): c * c2})
        elif isinstance(part, Outer):
            inner = dot(build, {(part.right, (), Fraction(0)): Fraction(1)}, {(base, (), p): c}, ratio)
            (_, s3, p3), c3 = next(iter(inner.items()))
            total = add(total, {(part.left, product(build, scalars, s3), p2 + p3): c2 * c3})
    return total


def outer(build: Builder, left: Sum, right: Sum, ratios: tuple[Fraction, Fraction]) -> Sum:
    """Return ``left rightᵀ``."""
    if not left or not right:
        return {}
    (base, s, p), c = single(build, left, ratios[0])
    (base2, s2, p2), c2 = single(build, right, ratios[1])
    return {(Outer(str(base), str(base2)), product(build, s, s2), p + p2): c * c2}


def matmat(build: Builder, one: Sum, other: Sum, ratios: tuple[Fraction, Fraction, Fraction]) -> Sum:
    """Return a product of two matrices, one of which is a sum of outer products."""
    total: Sum = {}
    rows, inner, columns = ratios
    for (base, s, p), c in one.items():
        if isinstance(base, Outer):
            right = matvec(build, transposed(other), {(base.right, (), p): c}, inner)
            left: Sum = {(base.left, s, Fraction(0)): Fraction(1)}
            total = add(total, outer(build, left, right, (rows, columns)))
            continue
        for (base2, s2, p2), c2 in other.items():
            if not isinstance(base2, Outer):
                raise TraceError(
                    "two width × width Gaussian matrices are multiplied with each other: programs multiply them with "
                    "vectors, so write A @ (B @ x)"
                )
            found = matvec(build, {(base, s, p): c}, {(base2.left, (), p2): c2}, inner)
            total = add(total, outer(build, found, {(base2.right, s2, Fraction(0)): Fraction(1)}, (rows, columns)))
    return total
