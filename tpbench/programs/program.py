"""A Tensor Program: checked bindings in order, and the names of what it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tpbench.programs.check import check_functions, check_structure, kinds_of, widths_of
from tpbench.programs.instructions import Binding, GaussianMatrix, Kind, MatMul, Moment, Width, bound_names, read_names


@dataclass(frozen=True)
class Program:
    """An immutable program: ``bindings`` in order, ``outputs`` the names of the vectors and scalars that are asked for.

    Making one checks it. Raises ``ValueError`` where a name is bound twice or read before it is bound, where kinds or
    widths do not agree, where an initial covariance is not positive semidefinite, and where a function is not one of
    coordinates (found by evaluating it).
    """

    bindings: tuple[Binding, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        check_structure(self.bindings, self.outputs)
        check_functions(self.bindings)

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of every name."""
        return kinds_of(self.bindings)

    @cached_property
    def widths(self) -> Mapping[str, Width]:
        """The width of every vector."""
        return widths_of(self.bindings)

    @cached_property
    def matrices(self) -> Mapping[str, GaussianMatrix]:
        """The matrices by name."""
        return {b.name: b for b in self.bindings if isinstance(b, GaussianMatrix)}

    @cached_property
    def last_reads(self) -> Mapping[str, int]:
        """The index of the last binding that reads a name; names that nothing reads have no entry."""
        return {name: index for index, binding in enumerate(self.bindings) for name in read_names(binding)}

    @property
    def fragment(self) -> str:
        """The smallest of the papers' languages that holds the program: NETSOR, NETSOR⊤, NETSOR⁺ or NETSOR⊤⁺.

        A moment that only an output reads is what the Master Theorem is about, and no instruction of the language.
        """
        transposes = {(b.matrix, b.transposed) for b in self.bindings if isinstance(b, MatMul)}
        both = any(not flag and (name, True) in transposes for name, flag in transposes)
        inner = any(isinstance(b, Moment) and b.name in self.last_reads for b in self.bindings)
        return "NETSOR" + "⊤" * both + "⁺" * inner

    def __str__(self) -> str:
        from tpbench.programs.printing import show

        return show(self)


def free_after(program: Program) -> tuple[tuple[str, ...], ...]:
    """Return, for every binding, the names that are read for the last time by it and are no outputs.

    Names that are never read and are no outputs are freed after the binding that binds them.
    """
    last = dict(program.last_reads)
    for index, binding in enumerate(program.bindings):
        for name in bound_names(binding):
            last.setdefault(name, index)
    freed: list[list[str]] = [[] for _ in program.bindings]
    kept = set(program.outputs)
    for name, index in last.items():
        if name not in kept:
            freed[index].append(name)
    return tuple(map(tuple, freed))
