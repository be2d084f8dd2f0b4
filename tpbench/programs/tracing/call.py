"""What a rule is given: one operation of the traced code, with the tensors that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tpbench.programs.tracing.axes import Axis, Table, table
from tpbench.programs.tracing.compare import Compared, unit
from tpbench.programs.tracing.emit import Builder
from tpbench.programs.tracing.formulas import corrected
from tpbench.programs.tracing.noun import Array, Op, Ref, TraceError
from tpbench.programs.tracing.numbers import Monomial, Shifted
from tpbench.programs.tracing.pointwise import applied
from tpbench.programs.tracing.values import Sum, number


@dataclass(frozen=True)
class Call:
    """An operation at all widths, the program so far, and every tensor so far."""

    build: Builder
    compared: Compared
    ops: tuple[Op, ...]
    tables: list[Table | None]

    @property
    def op(self) -> Op:
        """The operation at the first width, which is the same at the others but for numbers."""
        return self.ops[0]

    def raw(self, name: str) -> Any:
        """Return an argument by its name in the schema, None where there is none of that name."""
        return self.compared.argument(self.ops, name) if name in self.op.arguments else None

    def of(self, ref: Ref) -> Table:
        """Return a tensor by reference."""
        found = self.tables[ref.index]
        if found is None:
            raise TraceError("a tensor is read that nothing made")
        return found

    def tensor(self, name: str) -> Table:
        """Return an argument as a tensor; numbers are tensors without axes."""
        value = self.raw(name)
        if isinstance(value, Shifted):
            return scalar(self._shifted(value))
        return self.of(value) if isinstance(value, Ref) else constant(unit(value))

    def _shifted(self, value: Shifted) -> Sum:
        """Return a number like n − 1, or 1/(n − 1), which is a function of the scalar 1/n."""
        level: Sum = {(None, (), value.power): value.number}
        if not value.inverse:
            return {**level, (None, (), value.power - 1): -value.number * value.gap}
        share = applied(self.build, corrected(float(value.gap)), [{(None, (), Fraction(-1)): Fraction(1)}], None)
        return {(None, s, p + value.power): c * value.number for (_, s, p), c in share.items()}

    def tensors(self, name: str) -> list[Table]:
        """Return an argument that is a list of tensors."""
        return [self.of(ref) for ref in self.raw(name)]

    def number(self, name: str, default: float | None = None) -> Monomial:
        """Return an argument that is a number, or a tensor that is one."""
        value = self.raw(name)
        if value is None and default is not None:
            value = default
        if isinstance(value, Ref):
            return constant_of(self.of(value))
        return unit(value)

    def plain(self, name: str, default: float | None = None) -> float:
        """Return an argument that is a number which is the same at every width."""
        found = self.number(name, default)
        if found.power:
            raise TraceError(f"its argument {name} is {found.number} n^({found.power}), and must not depend on n here")
        return float(found.number)

    def axes(self, place: int = 0) -> tuple[Axis, ...]:
        """Return the axes of an output."""
        ref = self.op.outputs[place]
        if ref is None:
            raise TraceError("an output that was expected is missing")
        return self.compared.axes(ref.index)

    @property
    def own(self) -> bool:
        """Whether a random draw is by a generator of the code's own: in the same state at every width and seed."""
        return self.op.source is not None and all(op.source == self.op.source for op in self.ops)

    def values(self, place: int = 0) -> list[Array] | None:
        """Return the numbers of an output at every width, None where they were not kept."""
        ref = self.op.outputs[place]
        if ref is None or any(ref.index not in op.values for op in self.ops):
            return None
        return [op.values[ref.index] for op in self.ops]


Rule = Callable[[Call], Table | list[Table]]


def constant(value: Monomial) -> Table:
    """Return a tensor without axes."""
    return scalar(number(value))


def scalar(value: Sum) -> Table:
    """Return a tensor without axes."""
    cells = np.empty((), dtype=object)
    cells[()] = value
    return table((), cells)


def constant_of(tensor: Table) -> Monomial:
    """Return the number that a tensor of one entry is; ``TraceError`` where it is not one number."""
    if tensor.cells.size != 1 or not tensor.constant or len(tensor.cells.flat[0]) > 1:
        raise TraceError("a number that is not random is needed here")
    cell = tensor.cells.flat[0]
    return next((Monomial(c, p) for (_, _, p), c in cell.items()), Monomial(Fraction(0)))
