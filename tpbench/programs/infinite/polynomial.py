"""Polynomials with coefficients in a ring: exact fractions, or the decimals of ``atoms``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational, Real
from typing import Any, Protocol

Monomial = tuple[tuple[int, int], ...]
"""Variables in order, each with its power of at least 1."""
Coefficient = Any
"""A Fraction in exact polynomials, a float in the others."""

TERMS = 5_000
"""The largest number of terms of a polynomial."""
PRODUCTS = 300_000
"""The largest number of pairs of terms that a product multiplies."""
BITS = 50_000
"""The largest number of bits of an exact number."""
SHORT = 2**20
"""The largest denominator of a decimal that is taken for what it looks like: 0.5 is 1/2, and 0.1 is not 1/10."""


class TooLargeError(ArithmeticError):
    """A polynomial or a number outgrows what is worth waiting for."""


def rational(value: object) -> Fraction:
    """Return an exact number as a fraction; short binary decimals such as 0.5 are exact.

    Raises ``TypeError`` for other decimals and for what is no number, ``TooLargeError`` above ``BITS`` bits.
    """
    if isinstance(value, Rational):
        found = value if isinstance(value, Fraction) else Fraction(value)
        if found.numerator.bit_length() > BITS or found.denominator.bit_length() > BITS:
            raise TooLargeError(f"an exact number has more than {BITS} bits")
        return found
    if isinstance(value, float):
        if abs(value) < 2**32 and (short := Fraction(value)).denominator <= SHORT:
            return short
        raise TypeError(f"{value!r} is a decimal and no exact number: write Fraction({str(value)!r}) if it is one")
    raise TypeError(f"{type(value).__name__} is no exact number")


class Ring(Protocol):
    """Where coefficients live, and what becomes of torch functions that are no polynomials."""

    @property
    def exact(self) -> bool:
        """Whether coefficients are exact."""

    def coefficient(self, value: object) -> Coefficient:
        """Return a number as a coefficient; ``TypeError`` for what is none."""

    def apply(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Return a function of torch of polynomials, or ``NotImplemented``."""


@dataclass(frozen=True)
class Rationals:
    """Fractions, and no functions but polynomials."""

    exact: bool = True

    def coefficient(self, value: object) -> Fraction:
        """Return an exact number; ``TypeError`` for another."""
        return rational(value)

    def apply(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Refuse."""
        return NotImplemented


RATIONALS = Rationals()


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A sum of ``terms``: coefficients, none of them 0, by monomial.

    It has + - * / and ** with numbers and polynomials, and the torch functions of the same meaning; other functions of
    torch are the ring's affair, and whatever else is no polynomial raises ``TypeError``, comparisons included.
    ``TooLargeError`` above ``TERMS`` terms.
    """

    terms: Mapping[Monomial, Coefficient]
    ring: Ring = RATIONALS

    __eq__ = None  # type: ignore[assignment]  # x == 0 is a jump, no polynomial
    __hash__ = None  # type: ignore[assignment]

    @property
    def exact(self) -> bool:
        """Whether numbers that meet it have to be exact."""
        return self.ring.exact

    @property
    def constant(self) -> Coefficient | None:
        """The number that it is, None where it has variables."""
        return self.terms.get((), self.ring.coefficient(0)) if set(self.terms) <= {()} else None

    def __bool__(self) -> bool:
        raise TypeError("a polynomial is neither true nor false: a function of a program cannot branch on it")

    def __add__(self, other: object) -> Polynomial:
        if not isinstance(other, Polynomial | Real):
            return NotImplemented
        terms = dict(self.terms)
        for monomial, value in _terms(other, self.ring).items():
            terms[monomial] = terms[monomial] + value if monomial in terms else value
        return _made(terms, self.ring)

    __radd__ = __add__

    def __mul__(self, other: object) -> Polynomial:
        if isinstance(other, Real):
            factor = self.ring.coefficient(other)
            return _made({monomial: factor * value for monomial, value in self.terms.items()}, self.ring)
        if not isinstance(other, Polynomial):
            return NotImplemented
        check_pairs(self, other)
        terms: dict[Monomial, Coefficient] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                monomial = product_monomial(left, right)
                terms[monomial] = terms[monomial] + a * b if monomial in terms else a * b
        return _made(terms, self.ring)

    __rmul__ = __mul__

    def __neg__(self) -> Polynomial:
        return -1 * self

    def __pos__(self) -> Polynomial:
        return self

    def __sub__(self, other: object) -> Polynomial:
        if not isinstance(other, Polynomial | Real):
            return NotImplemented
        negative: object = other.__neg__() if isinstance(other, Polynomial) else -self.ring.coefficient(other)
        return self.__add__(negative)

    def __rsub__(self, other: object) -> Polynomial:
        return self.__mul__(-1).__add__(other)

    def __truediv__(self, other: object) -> Polynomial:
        divisor = other.constant if isinstance(other, Polynomial) else other
        if not isinstance(divisor, Real):
            return NotImplemented
        return self.__mul__(1 / self.ring.coefficient(divisor))

    def __rtruediv__(self, other: object) -> Polynomial:
        if self.constant is None or not isinstance(other, Real):
            return NotImplemented
        return number(other, self.ring) / self

    def __pow__(self, power: object) -> Polynomial:
        power = power.constant if isinstance(power, Polynomial) else power
        if not isinstance(power, int | Fraction | float) or power != int(power) or power < 0:
            raise TypeError(f"a polynomial to the power {power!r} is no polynomial")
        left, square, found = int(power), self, number(1, self.ring)
        while left:
            found = found * square if left % 2 else found
            left //= 2
            square = square * square if left else square
        return found

    @classmethod
    def __torch_function__(cls, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let torch.square and its like pass; torch raises ``TypeError`` for whatever is NotImplemented."""
        call = TORCH.get(getattr(function, "__name__", ""))
        if not all(isinstance(value, Polynomial | Real) for value in args):
            return NotImplemented
        if call is not None and not kwargs:
            return call(*args)
        return next(value for value in args if isinstance(value, Polynomial)).ring.apply(function, args, kwargs or {})


TORCH: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "subtract": operator.sub,
    "rsub": lambda x, y: y - x,
    "mul": operator.mul,
    "multiply": operator.mul,
    "div": operator.truediv,
    "divide": operator.truediv,
    "true_divide": operator.truediv,
    "pow": operator.pow,
    "square": lambda x: x * x,
    "neg": operator.neg,
    "negative": operator.neg,
    "positive": operator.pos,
    "ones_like": lambda x: number(1, x.ring),
    "zeros_like": lambda x: number(0, x.ring),
}
"""What functions of torch mean for polynomials, by name."""


def number(value: object, ring: Ring = RATIONALS) -> Polynomial:
    """Return a constant polynomial."""
    return _made({(): ring.coefficient(value)}, ring)


def variable(index: int, ring: Ring = RATIONALS) -> Polynomial:
    """Return the polynomial that is one variable."""
    return Polynomial({((index, 1),): ring.coefficient(1)}, ring)


def polynomial(value: object, ring: Ring = RATIONALS) -> Polynomial:
    """Return a polynomial itself, and a number as a constant; ``TypeError`` for anything else."""
    return value if isinstance(value, Polynomial) else number(value, ring)


def product_monomial(left: Monomial, right: Monomial) -> Monomial:
    """Return the product of two monomials."""
    if not left or not right:
        return left or right
    if left[-1][0] < right[0][0]:
        return left + right
    powers = dict(left)
    for index, power in right:
        powers[index] = powers.get(index, 0) + power
    return tuple(sorted(powers.items()))


def _terms(value: object, ring: Ring) -> Mapping[Monomial, Coefficient]:
    return value.terms if isinstance(value, Polynomial) else {(): ring.coefficient(value)}


def _made(terms: Mapping[Monomial, Coefficient], ring: Ring) -> Polynomial:
    kept = {monomial: value for monomial, value in terms.items() if value != 0}
    if len(kept) > TERMS:
        raise TooLargeError(f"a polynomial has {len(kept)} terms, more than {TERMS}")
    return Polynomial(kept, ring)


def check_pairs(p: Polynomial, q: Polynomial) -> None:
    """Raise ``TooLargeError`` where a product would multiply more than ``PRODUCTS`` pairs of terms."""
    pairs = len(p.terms) * len(q.terms)
    if pairs > PRODUCTS:
        raise TooLargeError(f"a product of polynomials has {pairs} pairs of terms, more than {PRODUCTS}")
