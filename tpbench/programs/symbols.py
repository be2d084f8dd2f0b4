"""Symbols: vectors and scalars of a program to be, with the operators of ordinary Python.

A symbol is immutable and knows its parents; ``build.program`` lists the ancestry of what it is asked for.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Generic, Self, TypeVar, cast

from tpbench.programs import functions
from tpbench.programs.instructions import (
    Binding,
    Constant,
    Function,
    Gaussians,
    Moment,
    N,
    Nonlin,
    Number,
    Width,
)

_SERIAL = itertools.count()
"""Symbols are listed in the order of their making, which is one in which parents come first."""


@dataclass(frozen=True, eq=False)
class Node:
    """What binds a symbol: ``bind(name, names of the parents)``; ``name`` is None where ``program`` shall find one."""

    bind: Callable[[str, tuple[str, ...]], Binding] = field(repr=False)
    parents: tuple[Symbol, ...] = ()
    name: str | None = None
    prefix: str = "x"
    serial: int = field(default_factory=lambda: next(_SERIAL))


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value of a program to be: its ``node``, and its place among what the node binds."""

    node: Node
    place: int = 0

    def named(self, name: str) -> Self:
        """Return the same value under a name. It is another symbol: go on with that one, not with both."""
        return replace(self, node=replace(self.node, name=name, serial=next(_SERIAL)))


TENSOR_MET = (
    "a tensor met a value of a program, which has no numbers yet: give a plain number, such as 2 or float(tensor), or "
    "a vector or matrix of the program"
)


REMEDIES = {"Vector": ("vector", "write apply({0}, x)"), "Scalar": ("scalar", "write moment({0}, c)")}


@classmethod  # type: ignore[misc]  # the method of several classes that have no base in common
def refuse_torch(
    cls: type, function: Callable[..., object], _types: object, arguments: Sequence[object] = (), _named: object = None
) -> Any:
    """Refuse a function of torch that met a value of a program: ``TypeError`` with what to write instead."""
    import torch

    if any(isinstance(value, torch.Tensor) for value in arguments):
        raise TypeError(TENSOR_MET)
    name = torch.overrides.resolve_name(function) or getattr(function, "__name__", "function")
    kind, remedy = REMEDIES.get(cls.__name__, ("matrix", "apply it to products, apply({0}, W @ x)"))
    raise TypeError(
        f"{name} takes tensors, and a {kind} of a program is none: {remedy.format(name)}, for functions that act on "
        "every coordinate alone"
    )


Real = int | float | Fraction
Value = TypeVar("Value", "Vector", "Scalar")


class _Arithmetic(Symbol, Generic[Value]):
    """Coordinatewise + - * / ** and abs with symbols and numbers; what meets a vector is a vector.

    Functions of torch, and tensors, raise ``TypeError`` that says what to write.
    """

    __torch_function__ = refuse_torch

    def __add__(self, other: Operand) -> Value:
        return cast(Value, _operate("add", self, other))

    def __radd__(self, other: Operand) -> Value:
        return cast(Value, _operate("add", other, self))

    def __sub__(self, other: Operand) -> Value:
        return cast(Value, _operate("subtract", self, other))

    def __rsub__(self, other: Operand) -> Value:
        return cast(Value, _operate("subtract", other, self))

    def __mul__(self, other: Operand) -> Value:
        return cast(Value, _operate("multiply", self, other))

    def __rmul__(self, other: Operand) -> Value:
        return cast(Value, _operate("multiply", other, self))

    def __truediv__(self, other: Operand) -> Value:
        return cast(Value, _operate("divide", self, other))

    def __rtruediv__(self, other: Operand) -> Value:
        return cast(Value, _operate("divide", other, self))

    def __pow__(self, power: int) -> Value:
        if not isinstance(power, int) or power < 1:
            raise ValueError(f"powers of symbols are whole numbers from 1, got {power!r}: apply a function of your own")
        return cast(Value, _computed(functions.power(power), (self,)))

    def __rpow__(self, base: object) -> Value:
        raise TypeError(f"{base!r} to the power of a symbol was asked for: apply a function of your own, apply(f, x)")

    def __neg__(self) -> Value:
        return cast(Value, _computed(functions.times(Fraction(-1)), (self,)))

    def __abs__(self) -> Value:
        return cast(Value, _computed(functions.ABSOLUTE, (self,)))

    def __matmul__(self, other: object) -> Any:
        if isinstance(other, _Arithmetic):
            raise TypeError("@ stood between two vectors or scalars: inner(x, y) is xᵀy/n, and x * y is by coordinates")
        return NotImplemented


class Vector(_Arithmetic["Vector"]):
    """n coordinates of order 1."""


class Scalar(_Arithmetic["Scalar"]):
    """A number of order 1."""


Operand = Any
"""A vector, a scalar or a number: what a symbol can be added to or multiplied by."""


def gaussians(
    *names: str,
    covariance: Sequence[Sequence[Real]] | None = None,
    mean: Sequence[Real] | None = None,
    width: Width = N,
) -> tuple[Vector, ...]:
    """Return initial vectors, jointly Gaussian coordinate by coordinate; independent N(0, 1) by default."""
    count = len(names)
    rows = [[int(i == j) for j in range(count)] for i in range(count)] if covariance is None else covariance
    table = tuple(tuple(exact_number(value) for value in row) for row in rows)
    means = tuple(exact_number(value) for value in (mean if mean is not None else [0] * count))
    binding = Gaussians(tuple(names), table, means, width)  # made here, so that what cannot be is refused here
    node = Node(lambda _own, _parents: binding, name=",".join(names))
    return tuple(Vector(node, place) for place in range(count))


def gaussian(name: str, *, variance: Real = 1, mean: Real = 0, width: Width = N) -> Vector:
    """Return an initial vector of independent N(mean, variance) coordinates."""
    return gaussians(name, covariance=[[variance]], mean=[mean], width=width)[0]


def constant(value: Real, *, power: int | Fraction = 0, name: str | None = None) -> Scalar:
    """Return the scalar ``value · n^power``, power at most 0."""
    exact, exponent = exact_number(value), Fraction(power)
    Constant(name or "k", exact, exponent)  # refuses what cannot be where it is written
    return Scalar(Node(lambda own, _: Constant(own, exact, exponent), name=name, prefix="k"))


def apply(function: Function | Callable[..., object], *arguments: Operand, name: str | None = None) -> Vector:
    """Return ``function`` of vectors and scalars, coordinate by coordinate: a Nonlin.

    ``function`` takes the vectors first and then the scalars, whatever their order here; numbers are scalars.
    Raises ``ValueError`` without a vector: a function of scalars is ``moment(function, *scalars)``.
    """
    made = _computed(functions.function(function), arguments, name)
    if not isinstance(made, Vector):
        raise ValueError("a function of scalars alone was applied: write moment(function, *scalars), which is a scalar")
    return made


def moment(function: Function | Callable[..., object] | Vector, *arguments: Operand, name: str | None = None) -> Scalar:
    """Return the mean over coordinates of ``function`` of vectors and scalars; ``moment(x)`` is that of a vector."""
    if isinstance(function, Vector):
        if arguments:
            raise ValueError("moment(x, y) was asked for: write moment(x * y), or moment(function, x, y)")
        return moment(functions.IDENTITY, function, name=name)
    if isinstance(function, Scalar):
        raise ValueError("the moment of a scalar was asked for: it is that scalar, and moments are means of vectors")
    vectors, scalars = _sorted(arguments)
    asked, count = functions.function(function), len(vectors)
    return Scalar(
        Node(
            lambda own, names: Moment(own, asked, names[:count], names[count:]), (*vectors, *scalars), name, prefix="c"
        )
    )


def inner(x: Vector, y: Vector, *, name: str | None = None) -> Scalar:
    """Return ``xᵀy/n``; ``TypeError`` for what is no vector."""
    pair: tuple[object, object] = (x, y)
    for value in pair:
        if not isinstance(value, Vector):
            came = type(value).__name__
            raise TypeError(f"inner takes two vectors, got {came}: a number or a scalar c goes before, c * moment(x)")
    return moment(functions.MULTIPLY, x, y, name=name)


def combination(parts: Iterable[tuple[Scalar | Real, Vector]], *, name: str | None = None) -> Vector:
    """Return the sum of vectors, each times a number or a scalar, as one instruction; ``ValueError`` for none."""
    pairs = list(parts)
    if not pairs:
        raise ValueError("a combination of no vectors was asked for: it has no width, so give at least one")
    coefficients = tuple(None if isinstance(c, Scalar) else exact_number(c) for c, _ in pairs)
    scalars = [c for c, _ in pairs if isinstance(c, Scalar)]
    return apply(functions.combination(coefficients), *(v for _, v in pairs), *scalars, name=name)


def _operate(name: str, left: Operand, right: Operand) -> Any:
    """Apply one of the operators; a number is part of the function, not a scalar of the program."""
    for value in (left, right):
        if not isinstance(value, Vector | Scalar | numbers.Real):
            if hasattr(value, "dtype") and hasattr(value, "__torch_function__"):
                raise TypeError(TENSOR_MET)  # here, for torch turns some refusals of its operators into bare ones
            return NotImplemented
    if name == "add" and (_is_zero(left) or _is_zero(right)):
        return right if _is_zero(left) else left  # so that Python's sum adds nothing
    if isinstance(right, numbers.Real):
        return _computed(functions.with_number(name, exact_number(right), number_first=False), (left,))
    if isinstance(left, numbers.Real):
        return _computed(functions.with_number(name, exact_number(left), number_first=True), (right,))
    swapped = isinstance(left, Scalar) and isinstance(right, Vector)  # vectors come first
    return _computed(functions.binary(name, swapped=swapped), (left, right))


def _is_zero(value: Operand) -> bool:
    return isinstance(value, numbers.Real) and value == 0


def _computed(function: Function, arguments: Sequence[Operand], name: str | None = None) -> Any:
    vectors, scalars = _sorted(arguments)
    if not vectors:
        return moment(function, *scalars, name=name)
    count = len(vectors)
    return Vector(
        Node(
            lambda own, names: Nonlin(own, function, names[:count], names[count:]),
            (*vectors, *scalars),
            name,
            prefix="x",
        )
    )


def _sorted(arguments: Sequence[Operand]) -> tuple[list[Vector], list[Scalar]]:
    vectors = [value for value in arguments if isinstance(value, Vector)]
    scalars = [_scalar(value) for value in arguments if not isinstance(value, Vector)]
    return vectors, scalars


def _scalar(value: object) -> Scalar:
    if isinstance(value, Scalar):
        return value
    if isinstance(value, numbers.Real):
        return constant(cast(Real, value))
    raise TypeError(f"functions of a program take vectors, scalars and numbers, got {type(value).__name__}")


def exact_number(value: Any) -> Number:
    """Return an exact number where it is one."""
    if isinstance(value, numbers.Rational):  # an integer of NumPy would overflow inside a fraction
        return Fraction(int(value.numerator), int(value.denominator))
    return float(value)
