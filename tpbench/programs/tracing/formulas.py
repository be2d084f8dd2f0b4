"""The functions of traced programs: one object for each, so that each is checked once and reads well."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

import torch

from tpbench.programs.instructions import Function, Number

Term = tuple[Number, bool, int]
"""A term of a combination: its number, whether it has a vector, and how many scalars."""


@lru_cache(maxsize=2**16)
def affine(terms: tuple[Term, ...]) -> Function:
    """Return a sum of terms, each a number times perhaps a vector times scalars; vectors come first, then scalars."""
    vectors = sum(has for _, has, _ in terms)

    def call(*arguments: Any) -> Any:
        x, c = iter(arguments[:vectors]), iter(arguments[vectors:])
        total: Any = None
        for number, has, count in terms:
            factors = [next(c) for _ in range(count)] + ([next(x)] if has else [])
            term = _product(number, factors, arguments[0])
            total = term if total is None else total + term
        return total

    x, c = iter(range(vectors)), iter(range(vectors, vectors + sum(count for *_, count in terms)))
    parts = [
        _term(number, [f"{{{next(c)}}}" for _ in range(count)] + ([f"{{{next(x)}}}"] if has else []))
        for number, has, count in terms
    ]
    return Function("combination", call, reduce(_joined, parts))


def _product(number: Number, factors: list[Any], like: Any) -> Any:
    exact = isinstance(like, Fraction) or getattr(like, "exact", False)
    total: Any = None if number == 1 and factors else (number if exact else float(number))
    for factor in factors:
        total = factor if total is None else total * factor
    return total


def _term(number: Number, factors: list[str]) -> str:
    if number == -1 and factors:
        return "−" + " ".join(factors)
    return " ".join(([] if number == 1 and factors else [written(number)]) + factors)


def _joined(left: str, right: str) -> str:
    return f"{left} − {right[1:]}" if right.startswith("−") else f"{left} + {right}"


def written(number: Number) -> str:
    """Return a number as it stands in a formula."""
    size = abs(number)
    text = str(size) if isinstance(size, Fraction) else f"{size:.6g}"
    return ("−" if number < 0 else "") + (f"({text})" if "/" in text else text)


@dataclass(frozen=True)
class Elementwise:
    """A function of one argument; ``degree`` is d where f(a x) = a^d f(x) for a > 0, and None where there is none."""

    function: Function
    degree: Fraction | None = None


def _unary(name: str, call: Callable[..., Any], degree: Fraction | int | None = None) -> Elementwise:
    return Elementwise(Function(name, call, f"{name}({{0}})"), None if degree is None else Fraction(degree))


_SMOOTH = (
    *("tanh", "sigmoid", "erf", "erfc", "erfinv", "exp", "expm1", "log", "log1p", "log2", "exp2"),
    *("sin", "cos", "tan", "sinh", "cosh", "asinh", "atan"),
)
UNARY: Mapping[str, Elementwise] = {
    "relu": _unary("relu", torch.relu, 1),
    "abs": _unary("abs", torch.abs, 1),
    "sign": _unary("sign", torch.sign, 0),
    "sgn": _unary("sign", torch.sign, 0),
    "sqrt": _unary("sqrt", torch.sqrt, Fraction(1, 2)),
    "rsqrt": _unary("rsqrt", torch.rsqrt, Fraction(-1, 2)),
    "reciprocal": _unary("1/", torch.reciprocal, -1),
    **{name: _unary(name, getattr(torch, name)) for name in _SMOOTH},
}
RECIPROCAL = Elementwise(Function("reciprocal", lambda c: 1 / c, "1 / {0}"), Fraction(-1))

_COMPARED: Mapping[str, tuple[Callable[[Any, Any], Any], str]] = {
    "gt": (torch.gt, ">"),
    "ge": (torch.ge, "≥"),
    "lt": (torch.lt, "<"),
    "le": (torch.le, "≤"),
    "eq": (torch.eq, "="),
    "ne": (torch.ne, "≠"),
}
COMPARISONS = tuple(_COMPARED)


@lru_cache(maxsize=1024)
def comparison(name: str, number: float) -> Function:
    """Return 1 where an argument compares to a number as the name says, and 0 elsewhere."""
    call, sign = _COMPARED[name]
    return Function(name, lambda x: call(x, number).to(x.dtype), f"[{{0}} {sign} {number:.6g}]")


@lru_cache(maxsize=1024)
def real_power(exponent: float) -> Function:
    """Return x^exponent."""
    return Function(f"power {exponent:.6g}", lambda x: torch.pow(x, exponent), f"{{0}}^{exponent:.6g}")


@lru_cache(maxsize=1024)
def clamped(low: float, high: float) -> Function:
    """Return x between two numbers."""
    return Function("clamp", lambda x: torch.clamp(x, low, high), f"clamp({{0}}, {low:.6g}, {high:.6g})")


@lru_cache(maxsize=1024)
def bounded_neuron(probability: float) -> Function:
    """Return 1 with a probability, as a function of a standard Gaussian."""
    bound = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * probability - 1, dtype=torch.float64, device="cpu")))
    return Function("bernoulli", lambda z: (z < bound).to(z.dtype), f"[{{0}} < {bound:.6g}]")


@lru_cache(maxsize=64)
def leaky(slope: float) -> Function:
    """Return x above 0, and slope x below."""
    text = f"leaky_relu({{0}}, {slope:.6g})"
    return Function("leaky_relu", lambda x: torch.nn.functional.leaky_relu(x, slope), text)


@lru_cache(maxsize=64)
def corrected(correction: float) -> Function:
    """Return n/(n − correction), given 1/n."""
    return Function("corrected", lambda c: 1 / (1 - correction * c), f"1/(1 − {correction:.6g} {{0}})")


UNIFORM = Function("uniform", lambda z: torch.erf(z * math.sqrt(0.5)), "2 Φ({0}) − 1")
"""A standard Gaussian made uniform on (−1, 1)."""


def _where(*arguments: Any) -> Any:
    condition, one, other = arguments
    return torch.where(condition != 0, one, other)


@lru_cache(maxsize=64)
def arranged(name: str, order: tuple[int, ...]) -> Function:
    """Return a function of several arguments that are given in another order: the i-th is given at ``order[i]``."""
    call, text = SEVERAL[name]
    return Function(name, lambda *a: call(*(a[place] for place in order)), text.format(*(f"{{{o}}}" for o in order)))


SEVERAL: Mapping[str, tuple[Callable[..., Any], str]] = {
    "where": (_where, "where({0}, {1}, {2})"),
    "maximum": (torch.maximum, "max({0}, {1})"),
    "minimum": (torch.minimum, "min({0}, {1})"),
    "atan2": (torch.atan2, "atan2({0}, {1})"),
    "or": (lambda a, b: a + b - a * b, "({0} or {1})"),
}
