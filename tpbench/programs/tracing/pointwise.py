"""Functions of values, neuron by neuron: of scalars, of vectors, and of matrices that vary along one axis only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from tpbench.programs.instructions import Function
from tpbench.programs.tracing.emit import Builder
from tpbench.programs.tracing.formulas import RECIPROCAL, Elementwise
from tpbench.programs.tracing.noun import TraceError
from tpbench.programs.tracing.values import (
    ONE,
    ONES,
    Base,
    Gauss,
    Outer,
    Sum,
    is_constant,
    order,
    pure,
    scalar_name,
    scaled,
    vector_name,
)


def on_axes(values: Iterable[Sum]) -> tuple[bool, bool]:
    """Return whether matrices vary along their rows and along their columns; ``TraceError`` for a Gaussian matrix."""
    rows = columns = False
    for value in values:
        for base, *_ in value:
            if isinstance(base, Gauss):
                raise TraceError(
                    "a nonlinear function is applied to the entries of a width × width Gaussian matrix: programs "
                    "multiply such matrices with vectors only (so optimizers like Adam cannot be written on them)"
                )
            rows |= isinstance(base, Outer) and base.left != ONE
            columns |= isinstance(base, Outer) and base.right != ONE
    if rows and columns:
        raise TraceError(
            "a nonlinear function is applied to the entries of a width × width matrix of rank one or more: programs "
            "apply functions to vectors, coordinate by coordinate"
        )
    return rows, columns


def applied(build: Builder, function: Function, arguments: list[Sum], ratio: Fraction | None) -> Sum:
    """Return a function of values: of vectors where there is a ratio, else of scalars. Vectors come first."""
    vectors = [vector_name(build, value, ratio) for value in arguments if ratio is not None and not pure(value)]
    scalars = [scalar_name(build, value) for value in arguments if ratio is None or pure(value)]
    if vectors:
        return {(build.nonlin(function, vectors, scalars), (), Fraction(0)): Fraction(1)}
    base = None if ratio is None else ONE
    return {(base, (build.moment(function, (), scalars),), Fraction(0)): Fraction(1)}


def elementwise(build: Builder, asked: Elementwise, value: Sum, ratio: Fraction | None) -> Sum:
    """Return a function of one value; where it is homogeneous, the value's order of growth is taken out first."""
    if asked.degree is None:
        return applied(build, asked.function, [value], ratio)
    up = order(value)
    found = applied(build, asked.function, [scaled(value, Fraction(1), -up)], ratio)
    return scaled(found, Fraction(1), up * asked.degree)


def reciprocal(build: Builder, value: Sum, ratio: Fraction | None) -> Sum:
    """Return 1 / value."""
    if not value:
        raise TraceError("a division by a value that is 0")
    if is_constant(value) and len(value) == 1:
        ((base, _, p), c), *_ = value.items()
        return {(base, (), -p): 1 / c}
    return elementwise(build, RECIPROCAL, value, ratio)


def over_axes(change: Callable[..., Sum], values: list[Sum], ratios: tuple[Fraction, ...]) -> Sum:
    """Apply a function of vectors to what may be matrices that vary along one axis only."""
    if len(ratios) < 2:
        return change(*values, ratios[0] if ratios else None)
    _, columns = on_axes(values)
    ratio = ratios[1] if columns else ratios[0]
    vectors = [_as_vector(value, columns) for value in values]
    return {(_as_matrix(base, columns), s, p): c for (base, s, p), c in change(*vectors, ratio).items()}


def _as_vector(value: Sum, columns: bool) -> Sum:
    return {
        ((base.right if columns else base.left) if isinstance(base, Outer) else base, s, p): c
        for (base, s, p), c in value.items()
    }


def _as_matrix(base: Base, columns: bool) -> Base:
    if base == ONE or base is None:
        return ONES
    return Outer(ONE, str(base)) if columns else Outer(str(base), ONE)
