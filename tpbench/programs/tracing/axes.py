"""Tensors of traced code: arrays over their finite axes of scalars, vectors or matrices, which have the width axes.

``Table.cells`` is a NumPy array of objects over the finite axes, in their order; views of a tensor are NumPy views of
its cells, so that what is written into one is seen in the other. An axis is a whole number (finite) or a ``Fraction``
(of the width). ``slots`` says which of the width axes is the rows (0) and which the columns (1) of the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tpbench.programs.tracing.noun import Array, TraceError
from tpbench.programs.tracing.values import ONE, ONES, Base, Outer, Sum, Unknown, is_constant, rebased, transposed

Axis = int | Fraction


@dataclass(frozen=True, eq=False)
class Table:
    """A tensor: its axes, cells over the finite ones, and the slot of each of its width axes."""

    axes: tuple[Axis, ...]
    cells: Array
    slots: tuple[int, ...]

    @property
    def ratios(self) -> tuple[Fraction, ...]:
        """The ratios of the width axes, rows first."""
        wide = [axis for axis in self.axes if isinstance(axis, Fraction)]
        return tuple(wide[self.slots.index(slot)] for slot in range(len(wide)))

    @property
    def constant(self) -> bool:
        """Whether nothing in it is random, nor unknown."""
        return all(is_constant(cell) for cell in self.cells.flat)

    @property
    def unknown(self) -> str | None:
        """Why one of its cells cannot be used, if so."""
        return next((cell.reason for cell in self.cells.flat if isinstance(cell, Unknown)), None)


def finite(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Return the finite axes."""
    return tuple(axis for axis in axes if isinstance(axis, int))


def wide(axes: Sequence[Axis]) -> tuple[Fraction, ...]:
    """Return the width axes."""
    return tuple(axis for axis in axes if isinstance(axis, Fraction))


def table(axes: Sequence[Axis], cells: Array) -> Table:
    """Return a new tensor whose width axes are in the order of their slots; ``TraceError`` for more than two."""
    count = len(wide(axes))
    if count > 2:
        raise TraceError(f"a tensor with {count} width axes: programs have vectors and matrices")
    return Table(tuple(axes), cells, tuple(range(count)))


def filled(axes: Sequence[Axis], make: Callable[[tuple[int, ...]], Sum]) -> Table:
    """Return a tensor with cells made one by one."""
    cells = np.empty(finite(axes), dtype=object)
    for place in np.ndindex(cells.shape):
        cells[place] = make(place)
    return table(axes, cells)


def aligned(tensor: Table, axes: Sequence[Axis]) -> Array:
    """Return the cells of a tensor broadcast to axes, lifted to the width axes there in their order."""
    offset = len(axes) - len(tensor.axes)
    cells, positions, place = tensor.cells, [], 0
    kept: list[int] = []
    out_wide = [index for index, axis in enumerate(axes) if isinstance(axis, Fraction)]
    for index, axis in enumerate(tensor.axes):
        target = axes[index + offset]
        if isinstance(axis, Fraction):
            if axis != target:
                raise TraceError(f"width axes of ratios {axis} and {target} are combined entry by entry")
            positions.append(out_wide.index(index + offset))
            continue
        if isinstance(target, Fraction):
            if axis != 1:
                raise TraceError(f"a finite axis of {axis} entries meets a width axis")
            cells = cells[(slice(None),) * place + (0, ...)]
            continue
        kept.append(index + offset)
        place += 1
    sizes = {place + offset: axis for place, axis in enumerate(tensor.axes) if isinstance(axis, int)}
    shape = [sizes[index] if index in kept else 1 for index in range(len(axes)) if index not in out_wide]
    lifted = _lift(cells, tensor.slots, positions, len(out_wide))
    return np.broadcast_to(lifted.reshape(shape), finite(axes))


def _lift(cells: Array, slots: Sequence[int], positions: Sequence[int], count: int) -> Array:
    """Change cells with given slots to ones whose i-th width axis is slot ``positions[i]`` of ``count``."""
    if count > 2:
        raise TraceError(f"a tensor with {count} width axes is made: programs have vectors and matrices")
    if not positions:
        base: Base = (None, ONE, ONES)[count]
        return cells if count == 0 else _each(cells, lambda cell: rebased(cell, base))
    if count == 2 and len(positions) == 1:
        left = positions[0] == 0
        return _each(cells, lambda cell: _one_axis(cell, left))
    if len(positions) == 2 and slots[0] != positions[0]:
        return _each(cells, transposed)
    return cells


def _one_axis(cell: Sum, left: bool) -> Sum:
    return {(Outer(str(b), ONE) if left else Outer(ONE, str(b)), s, p): c for (b, s, p), c in cell.items()}


def _each(cells: Array, change: Callable[[Sum], Sum]) -> Array:
    found = np.empty(cells.shape, dtype=object)
    for place in np.ndindex(cells.shape):
        cell: Any = cells[place]
        found[place] = cell if isinstance(cell, Unknown) else change(cell)
    return found


def mapped(function: Callable[..., Sum], axes: Sequence[Axis], *tensors: Table) -> Table:
    """Return a function of cells over broadcast tensors."""
    parts = [aligned(tensor, axes) for tensor in tensors]
    return filled(axes, lambda place: function(*(part[place] for part in parts)))


def write(target: Table, source: Table) -> None:
    """Put the values of a tensor, broadcast, into the cells of another, whose views see them."""
    cells = aligned(source, target.axes)
    if target.slots == (1, 0):
        cells = _each(cells, transposed)
    target.cells[...] = cells


def reshaped(tensor: Table, axes: Sequence[Axis]) -> Table:
    """Return a tensor with its finite axes cut in other ways; ``TraceError`` where a width axis would be cut."""
    if _sections(tensor.axes) != _sections(axes):
        raise TraceError(
            f"axes {described(tensor.axes)} become {described(axes)}, which cuts or joins width axes: "
            "programs keep width axes whole, so give every part that is as wide as n a layer of its own"
        )
    return Table(tuple(axes), tensor.cells.reshape(finite(axes)), tensor.slots)


def _sections(axes: Sequence[Axis]) -> list[tuple[int, Fraction | None]]:
    found: list[tuple[int, Fraction | None]] = []
    size = 1
    for axis in axes:
        if isinstance(axis, Fraction):
            found.append((size, axis))
            size = 1
        else:
            size *= axis
    return [*found, (size, None)]


def permuted(tensor: Table, orders: Sequence[int]) -> Table:
    """Return a view with the axes in another order."""
    places = _places(tensor.axes)
    cells = tensor.cells.transpose([places[o] for o in orders if isinstance(tensor.axes[o], int)])
    slots = tuple(tensor.slots[places[o]] for o in orders if isinstance(tensor.axes[o], Fraction))
    return Table(tuple(tensor.axes[o] for o in orders), cells, slots)


def _places(axes: Sequence[Axis]) -> list[int]:
    """Return the place of each axis among those of its kind."""
    return [sum(type(other) is type(axis) for other in axes[:index]) for index, axis in enumerate(axes)]


def indexed(tensor: Table, axis: int, index: Any) -> Table:
    """Return a view of one finite axis, at an index (which removes it) or a slice."""
    size = tensor.axes[axis]
    if isinstance(size, Fraction):
        raise TraceError("single neurons are read by their number: programs treat all neurons alike")
    place = _places(tensor.axes)[axis]
    cells = tensor.cells[(slice(None),) * place + (index, ...)]
    here: tuple[Axis, ...] = () if isinstance(index, int) else (cells.shape[place],)
    return Table((*tensor.axes[:axis], *here, *tensor.axes[axis + 1 :]), cells, tensor.slots)


def described(axes: Sequence[Axis]) -> str:
    """Return axes as they are written: (4, n, 2n)."""
    return "(" + ", ".join(str(a) if isinstance(a, int) else f"{a} n" if a != 1 else "n" for a in axes) + ")"
