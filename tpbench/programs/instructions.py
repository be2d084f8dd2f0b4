"""What a Tensor Program is made of: a table of widths, initial data, and four kinds of instructions.

A program is a list of *bindings*, each of which gives a name to a value of one of three kinds:

* a ``vector`` of some width n, whose coordinates are all of order 1;
* a ``matrix`` of independent N(0, σ²/n_in) entries, n_in its number of columns;
* a ``scalar`` of order 1.

Initial data: ``Gaussians`` (vectors with jointly Gaussian, over coordinates independent, entries),
``GaussianMatrix``, ``Constant``. Instructions: ``MatMul`` (W x or Wᵀ x), ``Nonlin`` (a function of several vectors and
scalars, coordinate by coordinate) and ``Moment`` (the mean over coordinates of such a function; without vectors a
function of scalars).
NETSOR has no ``MatMul`` by a transpose, NETSOR⊤ has, both without ``Moment``; NETSOR⊤⁺ has all (Yang 2019,
arXiv:1910.12478; 2020, arXiv:2006.14548; 2020, arXiv:2009.10685).

This file imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

Number = Fraction | float
"""An exact number, or a decimal."""


class Kind(StrEnum):
    """What a name can stand for."""

    VECTOR = "vector"
    MATRIX = "matrix"
    SCALAR = "scalar"


@dataclass(frozen=True)
class Width:
    """An axis of neurons: ``ratio`` times the program's width n.

    Two widths of different names are different axes, whose vectors never meet coordinate by coordinate, even where
    their ratios are equal. Raises ``ValueError`` for a ratio that is not above 0, or a decimal.
    """

    name: str = "n"
    ratio: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        if not isinstance(self.ratio, int | Fraction) or not self.ratio > 0:
            asked = f"width {self.name!r} is an exact ratio above 0 of the program's width"
            raise ValueError(f"{asked}, such as Fraction(1, 2); got {self.ratio!r}")
        object.__setattr__(self, "ratio", Fraction(self.ratio))

    def at(self, n: int) -> int:
        """Return the number of neurons when the program's width is n; ``ValueError`` where it is not whole."""
        size = self.ratio * n
        if size.denominator != 1 or size < 1:
            raise ValueError(
                f"width {self.name!r} is {self.ratio} of the program's width and {n} gives {float(size):g} neurons: "
                f"take a multiple of {self.ratio.denominator}"
            )
        return int(size)


N = Width()


@dataclass(frozen=True, eq=False)
class Function:
    """A function of vectors and scalars with a name and a way to write it.

    ``call`` takes vectors first, then scalars, in the order of the instruction. Vectors are tensors whose last axis is
    the neurons and which may have any axes before it; scalars broadcast against them. Written with operators alone it
    also takes the exact polynomials of ``limit``. ``text`` has a pair of braces for every argument, ``"{0} + {1}"``;
    without it calls are written ``name(x, y; c)``. Two functions are equal when they are the same object.
    """

    name: str
    call: Callable[..., Any] = field(repr=False)
    text: str = ""


@dataclass(frozen=True)
class Gaussians:
    """Initial vectors of one width, coordinates independent, entries of one coordinate jointly N(mean, covariance).

    Raises ``ValueError`` unless there is a mean for each and the covariance is square, symmetric and has no negative
    variance; that it is positive semidefinite is checked with the program.
    """

    names: tuple[str, ...]
    covariance: tuple[tuple[Number, ...], ...]
    mean: tuple[Number, ...]
    width: Width = N

    def __post_init__(self) -> None:
        count, rows = len(self.names), self.covariance
        if not count or len(self.mean) != count or len(rows) != count or any(len(row) != count for row in rows):
            raise ValueError(
                f"{count} initial vectors need {count} means and a {count} × {count} covariance, got "
                f"{len(self.mean)} means and rows of {[len(row) for row in rows]} numbers"
            )
        if not all(math.isfinite(value) for value in (*self.mean, *(value for row in rows for value in row))):
            raise ValueError(f"means and covariances of {', '.join(self.names)} are finite numbers")
        if any(rows[i][j] != rows[j][i] for i in range(count) for j in range(i)):
            raise ValueError(f"the covariance of {', '.join(self.names)} is not symmetric")
        if any(rows[i][i] < 0 for i in range(count)):
            raise ValueError(f"the covariance of {', '.join(self.names)} has a negative variance")


@dataclass(frozen=True)
class GaussianMatrix:
    """A matrix of independent N(0, variance / n_columns) entries, rows × columns.

    So ``W x`` has entries of variance ``variance · E (Z^x)²``, and ``Wᵀ y`` of that times n_rows/n_columns.
    """

    name: str
    variance: Number = Fraction(1)
    rows: Width = N
    columns: Width = N

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise ValueError(f"matrix {self.name!r} has a variance above 0, got {self.variance}")


@dataclass(frozen=True)
class Constant:
    """An initial scalar ``value · n^power``, n the program's width; its limit is 0 for a power below 0.

    Raises ``ValueError`` for a power above 0: scalars of a program are of order 1.
    """

    name: str
    value: Number
    power: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.power > 0:
            grown = f"scalar {self.name!r} would grow like n^{self.power}"
            raise ValueError(f"{grown}: scalars of a program are of order 1")
        if not math.isfinite(self.value):
            raise ValueError(f"scalar {self.name!r} is a finite number, got {self.value}")

    def at(self, n: int) -> float:
        """Return the value at width n."""
        return float(self.value) * math.pow(n, float(self.power))

    @property
    def limit(self) -> Number:
        """The value at infinite width."""
        return self.value if self.power == 0 else Fraction(0)


@dataclass(frozen=True)
class MatMul:
    """``name = matrix · vector``, or the transposed matrix times the vector."""

    name: str
    matrix: str
    vector: str
    transposed: bool = False


@dataclass(frozen=True)
class Nonlin:
    """``name_α = function(x_α, y_α, …; c, d, …)`` for every coordinate α; at least one vector."""

    name: str
    function: Function
    vectors: tuple[str, ...]
    scalars: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moment:
    """``name = (1/n) Σ_α function(x_α, y_α, …; c, d, …)``; a function of scalars where there are no vectors."""

    name: str
    function: Function
    vectors: tuple[str, ...]
    scalars: tuple[str, ...] = ()


Binding = Gaussians | GaussianMatrix | Constant | MatMul | Nonlin | Moment


def bound_names(binding: Binding) -> tuple[str, ...]:
    """Return the names that a binding gives values to."""
    return binding.names if isinstance(binding, Gaussians) else (binding.name,)


def read_names(binding: Binding) -> tuple[str, ...]:
    """Return the names whose values a binding reads."""
    if isinstance(binding, MatMul):
        return (binding.matrix, binding.vector)
    if isinstance(binding, Nonlin | Moment):
        return (*binding.vectors, *binding.scalars)
    return ()
