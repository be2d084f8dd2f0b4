"""Writing a program down: every value once, under a name, and in the end only what the outputs need."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from tpbench.programs.functions import IDENTITY
from tpbench.programs.instructions import (
    Binding,
    Constant,
    Function,
    GaussianMatrix,
    Gaussians,
    MatMul,
    Moment,
    N,
    Nonlin,
    Number,
    Width,
    bound_names,
    read_names,
)
from tpbench.programs.program import Program
from tpbench.programs.tracing.noun import Array

_Binder = Callable[[str], Binding]
DIGITS = 10
"""Decimals to which two draws are the same."""
ZERO, UNIT = Fraction(0), Fraction(1)


@dataclass
class Builder:
    """A program that grows.

    ``draws`` has, for initial vectors and matrices, what PyTorch drew at every width, ``hints`` better names.
    """

    bindings: dict[str, Binding] = field(default_factory=dict)
    draws: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    _known: dict[Hashable, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def gaussian(self, ratio: Fraction, draws: Sequence[Array], *, new: bool = False) -> str:
        """Return an initial vector of independent N(0, 1) entries.

        It is one that is known where the very same numbers were drawn before, by a generator that was seeded twice,
        unless it is said to be ``new``.
        """
        key = ("gaussian", ratio, *(value.round(DIGITS).tobytes() for value in draws))
        if key in self._known and not new:
            return self._known[key]
        self._known[key] = name = self._fresh("v")
        self.bindings[name] = Gaussians((name,), ((UNIT,),), (ZERO,), width(ratio))
        self.draws[name] = tuple(draws)
        return name

    def ones(self, ratio: Fraction) -> str:
        """Return the vector of ones, an initial vector without variance."""
        key = ("ones", ratio)
        if key not in self._known:
            self._known[key] = name = self._fresh("one")
            self.bindings[name] = Gaussians((name,), ((ZERO,),), (UNIT,), width(ratio))
        return self._known[key]

    def matrix(self, variance: Number, rows: Fraction, columns: Fraction, draws: Sequence[Array]) -> str:
        """Return a matrix with independent N(0, variance/columns) entries, a known one for the very same draws."""
        key = ("matrix", variance, rows, columns, *(value.round(DIGITS).tobytes() for value in draws))
        if key in self._known:
            return self._known[key]
        self._known[key] = name = self._fresh("W")
        self.bindings[name] = GaussianMatrix(name, variance, width(rows), width(columns))
        self.draws[name] = tuple(draws)
        return name

    def constant(self, number: Number, power: Fraction) -> str:
        """Return the scalar ``number · n^power``."""
        return self._once("k", ("constant", number, power), lambda name: Constant(name, number, power))

    def nonlin(self, function: Function, vectors: Sequence[str], scalars: Sequence[str] = ()) -> str:
        """Return a function of vectors and scalars, coordinate by coordinate."""
        v, s = tuple(vectors), tuple(scalars)
        return self._once("x", ("nonlin", function, v, s), lambda name: Nonlin(name, function, v, s))

    def moment(self, function: Function, vectors: Sequence[str], scalars: Sequence[str] = ()) -> str:
        """Return the mean of a function of vectors and scalars, or a function of scalars."""
        v, s = tuple(vectors), tuple(scalars)
        return self._once("c", ("moment", function, v, s), lambda name: Moment(name, function, v, s))

    def matmul(self, matrix: str, vector: str, transposed: bool) -> str:
        """Return the matrix, or its transpose, times a vector."""
        return self._once("g", (matrix, vector, transposed), lambda name: MatMul(name, matrix, vector, transposed))

    def program(self, outputs: Mapping[str, str]) -> tuple[Program, dict[str, tuple[Array, ...]]]:
        """Return the program of the outputs, given as output name → value, and the draws by its names.

        Values are renamed by ``hints``, and numbered without gaps.
        """
        renamed: dict[str, str] = {}
        copies: dict[str, str] = {}
        for output, name in outputs.items():
            if name in renamed or isinstance(self.bindings[name], Gaussians):
                copies[output] = name
            else:
                renamed[name] = output
        taken = set(outputs)
        for name, hint in self.hints.items():
            if name not in renamed and hint not in taken:
                renamed[name] = hint
                taken.add(hint)
        needed = self._needed([*outputs.values()])
        kept = [b for name, b in self.bindings.items() if name in needed]
        final = _numbered(kept, renamed, taken)
        extra = [self._copy(output, name, final[name]) for output, name in copies.items()]
        made = Program((*(_rename(binding, final) for binding in kept), *extra), tuple(outputs))
        return made, {final[name]: drawn for name, drawn in self.draws.items() if name in final}

    def _copy(self, output: str, name: str, final: str) -> Binding:
        vector = isinstance(self.bindings[name], Gaussians | MatMul | Nonlin)
        return Nonlin(output, IDENTITY, (final,)) if vector else Moment(output, IDENTITY, (), (final,))

    def _needed(self, asked: Sequence[str]) -> set[str]:
        found: set[str] = set()
        left = list(asked)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left.extend(read_names(self.bindings[name]))
        return found

    def _once(self, prefix: str, key: Hashable, bind: _Binder) -> str:
        if key not in self._known:
            name = self._fresh(prefix)
            self.bindings[name] = bind(name)
            self._known[key] = name
        return self._known[key]

    def _fresh(self, prefix: str) -> str:
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}{self._counts[prefix]}"


def width(ratio: Fraction) -> Width:
    """Return the width of a ratio; axes of one ratio are one width, so that residual branches can be added."""
    if ratio == 1:
        return N
    top = "" if ratio.numerator == 1 else str(ratio.numerator)
    bottom = "" if ratio.denominator == 1 else f"/{ratio.denominator}"
    return Width(f"{top}n{bottom}", ratio)


def _numbered(kept: Sequence[Binding], renamed: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """Return a name for everything that is kept: numbers without gaps."""
    found, used = dict(renamed), set(taken)
    counts: dict[str, int] = {}
    for binding in kept:
        for name in bound_names(binding):
            while name not in found:
                prefix = name.rstrip("0123456789")
                counts[prefix] = counts.get(prefix, 0) + 1
                candidate = f"{prefix}{counts[prefix]}"
                if candidate not in used:
                    found[name] = candidate
    return found


def _rename(binding: Binding, names: Mapping[str, str]) -> Binding:
    def new(name: str) -> str:
        return names.get(name, name)

    if isinstance(binding, Gaussians):
        return replace(binding, names=tuple(map(new, binding.names)))
    if isinstance(binding, MatMul):
        return replace(binding, name=new(binding.name), matrix=new(binding.matrix), vector=new(binding.vector))
    if isinstance(binding, Nonlin | Moment):
        vectors, scalars = tuple(map(new, binding.vectors)), tuple(map(new, binding.scalars))
        return replace(binding, name=new(binding.name), vectors=vectors, scalars=scalars)
    return replace(binding, name=new(binding.name))
