"""One computation out of recordings at several widths: which axes are width axes, and how numbers depend on n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tpbench.programs.tracing.axes import Axis, Table, filled, finite
from tpbench.programs.tracing.noun import Array, Op, Recording, Ref, TraceError
from tpbench.programs.tracing.numbers import AGREE, Monomial, exactly, fit, fit_shifted
from tpbench.programs.tracing.values import ONE, ONES, Base, Sum, Unknown, number

SINGLE = 1e-5
"""Agreement asked of numbers that were kept in a tensor of single precision."""


@dataclass(frozen=True)
class Compared:
    """Recordings of one computation at several widths."""

    recordings: tuple[Recording, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths, growing."""
        return tuple(recording.width for recording in self.recordings)

    def axes(self, index: int) -> tuple[Axis, ...]:
        """Return the axes of a tensor; ``TraceError`` where one is neither constant nor proportional to the width."""
        shapes = [recording.shapes[index] for recording in self.recordings]
        return tuple(axis_of(sizes, self.widths) for sizes in zip(*shapes, strict=True))

    def argument(self, ops: Sequence[Op], name: str) -> Any:
        """Return an argument: as it is where it is the same at all widths, else ``Monomial``, else None."""
        return self.merged([op.arguments[name] for op in ops])

    def merged(self, values: Sequence[Any]) -> Any:
        """Return what values at the widths are together."""
        first = values[0]
        if isinstance(first, (list, tuple)) and all(len(value) == len(first) for value in values):
            return [self.merged(each) for each in zip(*values, strict=True)]
        if isinstance(first, int | float) and not isinstance(first, bool):
            if all(value == first for value in values):
                return first
            found = [float(value) for value in values]
            return fit(found, self.widths) or fit_shifted(found, self.widths)
        if isinstance(first, Ref) or all(value == first for value in values):
            return first
        return None

    def constants(self, values: Sequence[Array], axes: Sequence[Axis]) -> Table:
        """Return recorded numbers as a tensor of constants; cells that follow no c · n^p are unknown."""
        where = tuple(index for index, axis in enumerate(axes) if isinstance(axis, Fraction))
        base: Base = (None, ONE, ONES)[min(len(where), 2)]
        for value in values:
            if where and not _same_along(value, where):
                reason = (
                    "a tensor with a width axis comes from outside, or was made, with different entries along that "
                    "axis (a mask like tril or eye, too, treats neurons differently): draw it with "
                    "torch.randn where trace sees it"
                )
                return _unknown(axes, reason)
        lean = [value[tuple(0 if i in where else slice(None) for i in range(value.ndim))] for value in values]
        agree = AGREE if lean[0].dtype != np.float32 else SINGLE

        def cell(place: tuple[int, ...]) -> Sum:
            entries = [float(value[place]) for value in lean]
            try:
                found = fit(entries, self.widths, agree)
            except TraceError as error:
                return Unknown(str(error))
            shown = ", ".join(f"{entry:.6g}" for entry in entries)
            widths = ", ".join(map(str, self.widths))
            reason = f"a number that is {shown} at the widths {widths}, which is no c · n^p, nor drawn where trace sees"
            return Unknown(reason) if found is None else number(found, base)

        if [*lean[0].shape] != [*finite(axes)]:
            raise TraceError(f"a tensor of shape {lean[0].shape} was found where {finite(axes)} was recorded")
        return filled(axes, cell)


def _unknown(axes: Sequence[Axis], reason: str) -> Table:
    return filled(axes, lambda _: Unknown(reason))


def _same_along(value: Array, where: tuple[int, ...]) -> bool:
    first = value[tuple(slice(0, 1) if index in where else slice(None) for index in range(value.ndim))]
    return bool(np.array_equal(np.broadcast_to(first, value.shape), value, equal_nan=value.dtype.kind == "f"))


def axis_of(sizes: Sequence[int], widths: Sequence[int]) -> Axis:
    """Return a size that is constant, or its ratio to the width."""
    if all(size == sizes[0] for size in sizes):
        return int(sizes[0])
    ratio = Fraction(sizes[0], widths[0])
    if any(ratio * n != size for n, size in zip(widths, sizes, strict=True)):
        raise TraceError(
            f"an axis has {', '.join(map(str, sizes))} entries at the widths {', '.join(map(str, widths))}: neither "
            "constant nor proportional to the width; split what it joins into parts that are"
        )
    return ratio


def check_same(recordings: Sequence[Recording]) -> None:
    """Raise ``TraceError`` where the code did different things at different widths."""
    first = recordings[0]
    for other in recordings[1:]:
        for one, two in zip(first.ops, other.ops, strict=False):
            if (one.name, one.outputs, one.inplace) != (two.name, two.outputs, two.inplace) or not _alike(one, two):
                raise TraceError(
                    f"the code does not do the same at every width: {one} at width {first.width}, {two} at "
                    f"{other.width}; a program is one list of instructions for all of them"
                )
        if len(first.ops) != len(other.ops) or first.asked != other.asked or first.leaves.keys() != other.leaves.keys():
            raise TraceError(
                f"the code does not do the same at every width: {len(first.ops)} operations at width {first.width}, "
                f"{len(other.ops)} at {other.width}; a program is one list of instructions for all of them"
            )


def _alike(one: Op, two: Op) -> bool:
    return all(
        value == two.arguments[name]
        for name, value in one.arguments.items()
        if isinstance(value, Ref | list | tuple) and _has_ref(value)
    )


def _has_ref(value: Any) -> bool:
    return isinstance(value, Ref) or (isinstance(value, list | tuple) and any(map(_has_ref, value)))


def unit(value: Any) -> Monomial:
    """Return an argument that is a number as a monomial; ``TraceError`` where it is none."""
    if isinstance(value, Monomial):
        return value
    if isinstance(value, bool | int | float):
        return Monomial(exactly(float(value)))
    raise TraceError("a number in the code depends on the width, and is no c · n^p where one is needed")
