"""The functions that operators on symbols stand for, one object each, so that each is checked once.

They are written with + - * / ** alone, so that tensors and exact polynomials both pass through.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

from tpbench.programs.instructions import Function, Number

IDENTITY = Function("identity", lambda x: x, "{0}")
OPERATIONS: Mapping[str, tuple[Callable[[Any, Any], Any], str]] = {
    "add": (operator.add, "{0} + {1}"),
    "subtract": (operator.sub, "{0} − {1}"),
    "multiply": (operator.mul, "{0} {1}"),
    "divide": (operator.truediv, "{0} / {1}"),
}
BINARY = {name: Function(name, call, text) for name, (call, text) in OPERATIONS.items()}
SWAPPED = {
    name: Function(name, lambda x, c, call=call: call(c, x), text.format("{1}", "{0}"))
    for name, (call, text) in OPERATIONS.items()
}
MULTIPLY = BINARY["multiply"]


def _absolute(x: Any) -> Any:
    import torch  # only where it is evaluated: programs are written without torch

    return torch.abs(x) if isinstance(x, torch.Tensor) or hasattr(x, "__torch_function__") else abs(x)


ABSOLUTE = Function("abs", _absolute, "|{0}|")


def function(call: Function | Callable[..., Any]) -> Function:
    """Return a function with its name; the same object for the same callable as long as that lives."""
    return call if isinstance(call, Function) else _named(call)


@lru_cache(maxsize=4096)
def _named(call: Callable[..., Any]) -> Function:
    name = getattr(call, "__name__", type(call).__name__)
    return Function("f" if name == "<lambda>" else name, call)


def binary(name: str, *, swapped: bool) -> Function:
    """Return an operation of two arguments; ``swapped`` takes the second one first."""
    return (SWAPPED if swapped else BINARY)[name]


@lru_cache(maxsize=4096, typed=True)  # 2 and 2.0 are equal, but only the first is exact
def with_number(name: str, number: Number, *, number_first: bool) -> Function:
    """Return an operation with a number on one side."""
    call, text = OPERATIONS[name]
    written = _written(number)
    if number_first:
        return Function(name, lambda x: call(_like(number, x), x), text.format(written, "{0}"))
    shown = text.format("{0}", written) if name != "multiply" else f"{written} {{0}}"
    return Function(name, lambda x: call(x, _like(number, x)), shown)


def times(number: Number) -> Function:
    """Return the multiplication by a number."""
    return with_number("multiply", number, number_first=True)


@lru_cache(maxsize=64)
def power(exponent: int) -> Function:
    """Return x^exponent, for a whole exponent of at least 1."""
    return Function(f"power {exponent}", lambda x: reduce(operator.mul, [x] * exponent), f"{{0}}^{exponent}")


def combination(coefficients: Sequence[Number | None]) -> Function:
    """Return Σ_i c_i x_i of vectors x_i; a coefficient None is the next scalar after the vectors."""
    return _combination(tuple(coefficients), tuple(map(type, coefficients)))


@lru_cache(maxsize=4096)
def _combination(coefficients: Sequence[Number | None], _types: Sequence[type]) -> Function:
    count = len(coefficients)

    def call(*arguments: Any) -> Any:
        scalars = iter(arguments[count:])
        total: Any = None
        for x, c in zip(arguments, coefficients, strict=False):
            term = x if c == 1 else (next(scalars) if c is None else _like(c, x)) * x
            total = term if total is None else total + term
        return total

    places = iter(range(count, 2 * count))
    parts = [f"{_sign(c, i)}{_factor(c, places)}{{{i}}}" for i, c in enumerate(coefficients)]
    return Function("combination", call, "".join(parts))


def _sign(coefficient: Number | None, place: int) -> str:
    negative = coefficient is not None and coefficient < 0
    return ("−" if negative else "") if place == 0 else (" − " if negative else " + ")


def _factor(coefficient: Number | None, places: Iterator[int]) -> str:
    if coefficient is None:
        return f"{{{next(places)}}} "
    size = coefficient if coefficient > 0 else -coefficient
    return "" if size == 1 else f"{_written(size)} "


def _like(number: Number, other: Any) -> Any:
    """Return a number as what it meets can use it: exactly where that is exact."""
    exact = isinstance(other, Fraction) or getattr(other, "exact", False)
    return number if exact else float(number)


def _written(number: Number) -> str:
    text = str(number) if isinstance(number, Fraction) else f"{number:.6g}"
    return f"({text})" if text.startswith("-") or "/" in text else text
