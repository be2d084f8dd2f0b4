"""How a program's answers reuse each other: which products need derivatives, of what, and by which road.

``Ż^{Wx}`` needs ``E ∂Z^x/∂ζ`` for the Gaussians ζ that earlier products with Wᵀ brought. Most products need none: their
matrix is asked from one side only, or x does not depend on those ζ. Reading the program tells, before anything is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tpbench.programs.instructions import Binding, Function, MatMul, Nonlin
from tpbench.programs.program import Program

Side = tuple[str, bool]
"""A matrix, and whether its transpose is asked."""

Arguments = tuple[Function, int, int]
"""A function with its numbers of vectors and scalars."""


@dataclass(frozen=True)
class Reuse:
    """What has to be kept for derivatives.

    ``derivatives`` has the products that need some, with the name of a binding on the way that jumps, or "" where all
    is continuous and autograd gives them. ``followed`` are the vectors that autograd has to follow;
    ``queries`` is how often each side of a matrix is asked, ``matrices`` are those with some product that has a Ż.
    """

    derivatives: Mapping[str, str]
    followed: frozenset[str]
    queries: Mapping[Side, int]
    matrices: frozenset[str]

    def road(self, product: str) -> str:
        """Return "" where a product needs no derivatives, and else "autograd" or "stein"."""
        if product not in self.derivatives:
            return ""
        return "stein" if self.derivatives[product] else "autograd"

    def reusing(self, matrix: str) -> bool:
        """Return whether some product with a matrix has a Ż."""
        return matrix in self.matrices


Dependence = dict[Side, str]
"""On which sides' Gaussians a vector depends; with the name of a binding that jumps on the way, or "" without."""


def reuse(program: Program, jumps: Mapping[Arguments, tuple[bool, ...]], *, dependent: bool, stein: bool) -> Reuse:
    """Read a program. ``jumps`` says in which of its vectors a function is not continuous; others are taken to be.

    Without ``dependent`` no product needs derivatives; with ``stein`` autograd follows nothing.
    """
    reader = _Reader(program, jumps)
    for binding in program.bindings:
        reader.read(binding)
    derivatives = reader.derivatives if dependent else {}
    followed: frozenset[str] = frozenset()
    if stein:
        derivatives = {name: culprit or name for name, culprit in derivatives.items()}
    else:
        followed = _followed(program, derivatives, reader.depends)
    asked = (b for b in program.bindings if isinstance(b, MatMul))
    matrices = frozenset(b.matrix for b in asked if b.name in derivatives)
    return Reuse(derivatives, followed, reader.queries, matrices)


class _Reader:
    """Follows, binding by binding, on which Gaussians every vector depends."""

    def __init__(self, program: Program, jumps: Mapping[Arguments, tuple[bool, ...]]) -> None:
        asked = {(b.matrix, b.transposed) for b in program.bindings if isinstance(b, MatMul)}
        self._both = {matrix for matrix, flag in asked if not flag and (matrix, True) in asked}
        self._jumps = jumps
        self._corrections: dict[Side, Dependence] = {}  # what the Ż of a side depend on
        self._asked: dict[Side, Dependence] = {}  # what the vectors that a side was asked for depend on
        self.depends: dict[str, Dependence] = {}
        self.derivatives: dict[str, str] = {}
        self.queries: dict[Side, int] = {}

    def read(self, binding: Binding) -> None:
        if isinstance(binding, MatMul):
            self._product(binding)
        elif isinstance(binding, Nonlin):
            found = self.depends[binding.name] = {}
            places = _jumping(binding, self._jumps)
            for vector, jumping in zip(binding.vectors, places, strict=True):
                for side, culprit in self.depends.get(vector, {}).items():
                    found[side] = found.get(side) or culprit or (binding.name if jumping else "")

    def _product(self, binding: MatMul) -> None:
        side, other = (binding.matrix, binding.transposed), (binding.matrix, not binding.transposed)
        self.queries[side] = self.queries.get(side, 0) + 1
        if binding.matrix not in self._both:
            self.depends[binding.name] = {}
            return
        own = self.depends.get(binding.vector, {})
        corrections = self._corrections.setdefault(side, {})
        if other in own:
            self.derivatives[binding.name] = own[other]
            _merge(corrections, self._asked.get(other, {}))
        _merge(self._asked.setdefault(side, {}), own)
        self.depends[binding.name] = {**corrections, side: corrections.get(side, "")}


def _jumping(binding: Nonlin, jumps: Mapping[Arguments, tuple[bool, ...]]) -> tuple[bool, ...]:
    return jumps.get(arguments(binding), (False,) * len(binding.vectors))


def arguments(binding: Nonlin) -> Arguments:
    """Return the function of an instruction with how many vectors and scalars it is given."""
    return binding.function, len(binding.vectors), len(binding.scalars)


def _merge(into: Dependence, new: Dependence) -> None:
    for side, culprit in new.items():
        into[side] = into.get(side) or culprit


def _followed(program: Program, derivatives: Mapping[str, str], depends: Mapping[str, Dependence]) -> frozenset[str]:
    """Return the vectors on the way to a product whose derivatives autograd takes, and from some Gaussian of one."""
    wanted: set[str] = set()
    sides: set[Side] = set()  # those whose vectors a later Ż that is followed may be made of
    for binding in reversed(program.bindings):
        if isinstance(binding, MatMul):
            side, other = (binding.matrix, binding.transposed), (binding.matrix, not binding.transposed)
            if binding.name in wanted:
                sides.add(other)
            if side in sides or derivatives.get(binding.name) == "":
                wanted.add(binding.vector)
        elif isinstance(binding, Nonlin) and binding.name in wanted:
            wanted.update(binding.vectors)
    return frozenset(name for name in wanted if depends.get(name))
