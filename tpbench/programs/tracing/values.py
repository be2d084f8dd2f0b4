"""Values of traced code as sums of terms, each a number times n^p times scalars times a base.

A *scalar* has no base, a *vector* the name of a program's vector or ``ONE``, a *matrix* a Gaussian matrix (or its
transpose) or an outer product u vᵀ, which is what SGD adds. A term's power says how it grows; its base is of order 1.
Sums and multiples stay sums; whatever else is asked makes instructions. Sums are plain dicts that nobody changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tpbench.programs.functions import IDENTITY, MULTIPLY, power
from tpbench.programs.instructions import Function, Number
from tpbench.programs.tracing.emit import Builder
from tpbench.programs.tracing.formulas import affine
from tpbench.programs.tracing.noun import TraceError
from tpbench.programs.tracing.numbers import Monomial

ONE = "1"
"""The base of a vector whose coordinates are all equal."""


@dataclass(frozen=True)
class Gauss:
    """A Gaussian matrix, or its transpose, as a base."""

    name: str
    transposed: bool = False


@dataclass(frozen=True)
class Outer:
    """``left rightᵀ`` as a base."""

    left: str
    right: str


Base = str | Gauss | Outer | None
Key = tuple[Base, tuple[str, ...], Fraction]
Sum = dict[Key, Number]
"""Terms (base, scalars that multiply it, power of n) with their numbers."""
ONES = Outer(ONE, ONE)
_CONSTANT = (None, ONE, ONES)


class Unknown(dict[Key, Number]):
    """A value that cannot be used; ``reason`` says why. It may be overwritten."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def number(value: Monomial, base: Base = None) -> Sum:
    """Return a constant."""
    return {(base, (), value.power): value.number} if value.number else {}


def is_constant(value: Sum) -> bool:
    """Return whether a value has no random part."""
    return not isinstance(value, Unknown) and all(base in _CONSTANT and not s for base, s, _ in value)


def add(one: Sum, other: Sum, factor: Number = Fraction(1)) -> Sum:
    """Return ``one + factor · other``."""
    total = dict(one)
    for key, value in other.items():
        total[key] = total.get(key, Fraction(0)) + factor * value
        if total[key] == 0:
            del total[key]
    return total


def scaled(value: Sum, factor: Number, up: Fraction = Fraction(0)) -> Sum:
    """Return ``factor · n^up · value``."""
    return {(base, s, p + up): c * factor for (base, s, p), c in value.items()} if factor else {}


def rebased(value: Sum, base: Base) -> Sum:
    """Return a value whose terms have no direction of their own (scalars), with a base."""
    return {(base, s, p): c for (_, s, p), c in value.items()}


def pure(value: Sum) -> bool:
    """Return whether a vector or matrix is a scalar times ones."""
    return all(base in _CONSTANT for base, *_ in value)


def order(value: Sum) -> Fraction:
    """Return the largest power of n."""
    return max((p for *_, p in value), default=Fraction(0))


# --- making instructions -------------------------------------------------------------------------------------------


def _terms(build: Builder, value: Sum) -> tuple[Function, list[str], list[str]]:
    """Return a sum of order at most 1 as a function of vectors and scalars."""
    if order(value) > 0:
        raise grows(value)
    terms, vectors, scalars = [], [], []
    for (base, known, up), c in value.items():
        own = list(known)
        if up:
            own.append(build.constant(Fraction(1), up))
        if isinstance(base, str) and base != ONE:
            vectors.append(base)
        terms.append((c, isinstance(base, str) and base != ONE, len(own)))
        scalars.extend(own)
    return affine(tuple(terms)), vectors, scalars


def grows(value: Sum) -> TraceError:
    """Return the error about a value of an order above 1."""
    up = order(value)
    moments = any(s and p == up for _, s, p in value)
    remedy = (
        "a sum over neurons where a mean is needed; as its mean is often 0 it may stay finite as a random variable, "
        "like the read-out f_0 of standard or NTK parametrization, but then it has no deterministic limit: take a "
        "muP read-out (another 1/√n), initialise the read-out at 0, or train f − f_0"
        if moments
        else "give it a smaller multiplier, initialisation or learning rate"
    )
    return TraceError(f"a value of order n^({up}) must be of order 1 here: {remedy}")


def vector_name(build: Builder, value: Sum, ratio: Fraction) -> str:
    """Return the program's vector of a value."""
    if len(value) == 1:
        ((base, own, up), c), *_ = value.items()
        if not own and up == 0 and c == 1:
            return build.ones(ratio) if base == ONE else str(base)
    if pure(value):
        one = build.ones(ratio)
        value = {(one, s, p): c for (_, s, p), c in value.items()} or {(one, (), Fraction(0)): Fraction(0)}
    function, vectors, scalars = _terms(build, value)
    return build.nonlin(function, vectors, scalars)


def scalar_name(build: Builder, value: Sum) -> str:
    """Return the program's scalar of a value; a vector that is one number counts as that."""
    if not value:
        return build.constant(Fraction(0), Fraction(0))
    if len(value) == 1:
        ((_, own, up), c), *_ = value.items()
        if not own:
            if up > 0:
                raise grows(value)
            return build.constant(c, up)
        if len(own) == 1 and up == 0 and c == 1:
            return own[0]
    function, _, scalars = _terms(build, rebased(value, None))
    return build.moment(function, (), scalars)


def single(build: Builder, value: Sum, ratio: Fraction) -> tuple[Key, Number]:
    """Return a vector, or a scalar, as one term; its order of growth is taken out."""
    if len(value) == 1:
        return next(iter(value.items()))
    up = order(value)
    level = scaled(value, Fraction(1), -up)
    if all(base is None for base, *_ in value):
        return (None, (scalar_name(build, level),), up), Fraction(1)
    if pure(value):
        return (ONE, (scalar_name(build, level),), up), Fraction(1)
    return (vector_name(build, level, ratio), (), up), Fraction(1)


# --- algebra -------------------------------------------------------------------------------------------------------


FACTORS = 3
"""Scalars that a term carries along; more are multiplied in an instruction of their own."""


def product(build: Builder, *factors: tuple[str, ...]) -> tuple[str, ...]:
    """Return a product of scalars of the program; the instruction that needs it will take it."""
    names = tuple(sorted(name for names in factors for name in names))
    if len(names) <= FACTORS:
        return names
    return (build.moment(affine(((Fraction(1), False, len(names)),)), (), names),)


def coordinates_product(build: Builder, one: str, other: str) -> str:
    """Return the coordinatewise product of two bases of vectors."""
    if ONE in (one, other):
        return other if one == ONE else one
    if one == other:
        return build.nonlin(power(2), (one,))
    return build.nonlin(MULTIPLY, tuple(sorted((one, other))))


def times(build: Builder, value: Sum, scalar: Sum, ratio: Fraction) -> Sum:
    """Return a value times a scalar."""
    if not is_constant(scalar):
        (_, s, up), c = single(build, rebased(scalar, None), ratio)
        scalar = {(None, s, up): c}
        if len(value) > 1 and not any(isinstance(base, Gauss | Outer) for base, *_ in value):
            # One instruction now, lest sums of products of sums grow without bounds.
            value = dict([single(build, value, ratio)])
    total: Sum = {}
    for (_, s, up), c in scalar.items():
        part = {(base, product(build, own, s), p + up): c * d for (base, own, p), d in value.items()}
        total = add(total, part)
    return total


def multiply(build: Builder, one: Sum, other: Sum, ratios: tuple[Fraction, ...]) -> Sum:
    """Return the elementwise product of two values of the same kind; ``ratios`` are those of its width axes."""
    ratio = ratios[0] if ratios else Fraction(1)
    if pure(other):
        return times(build, one, other, ratio)
    if pure(one):
        return times(build, other, one, ratio)
    if len(ratios) == 2:
        return _multiply_matrices(build, one, other)
    (base, s, p), c = single(build, one, ratio)
    (base2, s2, p2), c2 = single(build, other, ratio)
    return {(coordinates_product(build, str(base), str(base2)), product(build, s, s2), p + p2): c * c2}


def _multiply_matrices(build: Builder, one: Sum, other: Sum) -> Sum:
    total: Sum = {}
    for (base, s, p), c in one.items():
        for (base2, s2, p2), c2 in other.items():
            if isinstance(base, Outer) and isinstance(base2, Outer):
                left = coordinates_product(build, base.left, base2.left)
                right = coordinates_product(build, base.right, base2.right)
                made: Base = Outer(left, right)
            elif ONES in (base, base2):
                made = base if base2 == ONES else base2
            else:
                raise TraceError(
                    "a width × width Gaussian matrix is multiplied entry by entry: programs multiply it with vectors "
                    "(and with numbers) only"
                )
            total = add(total, {(made, product(build, s, s2), p + p2): c * c2})
    return total


def coordinate_sum(build: Builder, value: Sum, ratio: Fraction) -> Sum:
    """Return the sum over the neurons of a vector: n times its mean."""
    if pure(value):
        return {(None, s, p + 1): c * ratio for (_, s, p), c in value.items()}
    if len(value) == 1:
        ((base, s, p), c), *_ = value.items()
        mean = build.moment(IDENTITY, (str(base),))
        return {(None, product(build, s, (mean,)), p + 1): c * ratio}
    up = order(value)
    mean = build.moment(*_terms(build, scaled(value, Fraction(1), -up)))
    return {(None, (mean,), up + 1): ratio}


def dot(build: Builder, one: Sum, other: Sum, ratio: Fraction) -> Sum:
    """Return the sum over neurons of a product of vectors: n times its mean."""
    if pure(one) or pure(other):
        return coordinate_sum(build, multiply(build, one, other, (ratio,)), ratio)
    (base, s, p), c = single(build, one, ratio)
    (base2, s2, p2), c2 = single(build, other, ratio)
    names = tuple(sorted((str(base), str(base2))))
    function, vectors = (power(2), names[:1]) if base == base2 else (MULTIPLY, names)
    mean = build.moment(function, vectors)
    return {(None, product(build, s, s2, (mean,)), p + p2 + 1): c * c2 * ratio}


def transposed(value: Sum) -> Sum:
    """Return a matrix transposed."""
    found: Sum = {}
    for (base, s, p), c in value.items():
        if isinstance(base, Gauss):
            found[Gauss(base.name, not base.transposed), s, p] = c
        elif isinstance(base, Outer):
            found[Outer(base.right, base.left), s, p] = c
    return found
