"""Which scalars of a program come near their limits without being there, and who reads them. Imports no torch."""

from __future__ import annotations

from tpbench.programs.instructions import Constant, Moment, Nonlin, bound_names
from tpbench.programs.program import Program


def moving(program: Program) -> frozenset[str]:
    """Return the scalars that are at their limits at no width, as far as reading the program tells."""
    found: set[str] = set()
    for binding in program.bindings:
        vanishing = isinstance(binding, Constant) and binding.power < 0 and binding.value
        if vanishing or (isinstance(binding, Moment) and (binding.vectors or found.intersection(binding.scalars))):
            found.update(bound_names(binding))
    return frozenset(found)


def read(program: Program) -> tuple[str, ...]:
    """Return the moving scalars that some binding reads, and all scalars that are read beside them."""
    found = moving(program)
    readers = [b for b in program.bindings if isinstance(b, Nonlin | Moment) and found.intersection(b.scalars)]
    return tuple(dict.fromkeys(name for b in readers for name in b.scalars))
