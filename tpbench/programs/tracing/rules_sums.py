"""Rules of operations that sum: over finite axes term by term, over width axes as n times a moment; products."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from tpbench.programs.tracing.axes import (
    Axis,
    Table,
    _places,
    aligned,
    finite,
    mapped,
    permuted,
    reshaped,
    table,
    wide,
)
from tpbench.programs.tracing.call import Call, Rule
from tpbench.programs.tracing.formulas import arranged, corrected
from tpbench.programs.tracing.matrices import matmat, matvec
from tpbench.programs.tracing.noun import Array, TraceError
from tpbench.programs.tracing.numbers import exactly
from tpbench.programs.tracing.pointwise import applied
from tpbench.programs.tracing.rules_numbers import product_of
from tpbench.programs.tracing.values import ONE, Sum, add, coordinate_sum, dot, multiply, scaled, times, transposed

ZERO = Fraction(0)


def _dims(call: Call, count: int) -> list[int]:
    dims = call.raw("dim") if "dim" in call.op.arguments else call.raw("dims")
    if dims is None or dims == []:
        return list(range(count))
    return sorted(int(dim) % max(count, 1) for dim in (dims if isinstance(dims, list) else [dims]))


def summed(call: Call, tensor: Table, dims: list[int], axes: tuple[Axis, ...]) -> Table:
    """Return sums over axes, in the shape that is asked."""
    ratios = wide(tensor.axes)
    gone = [_places(tensor.axes)[dim] for dim in dims if isinstance(tensor.axes[dim], Fraction)]
    flat = [_places(tensor.axes)[dim] for dim in dims if isinstance(tensor.axes[dim], int)]
    cells = _collapsed(aligned(tensor, tensor.axes), flat)
    found = np.empty(cells.shape, dtype=object)
    for place in np.ndindex(cells.shape):
        cell: Any = cells[place]
        found[place] = _neurons_summed(call, cell, gone, ratios)
    return table(axes, found.reshape(finite(axes)))


def _collapsed(cells: Array, axes: list[int]) -> Array:
    for axis in sorted(axes, reverse=True):
        moved = np.moveaxis(cells, axis, 0)
        total = np.empty(moved.shape[1:], dtype=object)
        for place in np.ndindex(total.shape):
            parts: list[Sum] = [moved[(index, *place)] for index in range(len(moved))]
            empty: Sum = {}
            total[place] = reduce(add, parts, empty)
        cells = total
    return cells


def _neurons_summed(call: Call, cell: Sum, gone: list[int], ratios: tuple[Fraction, ...]) -> Sum:
    if not gone:
        return cell
    if len(ratios) == 1:
        return coordinate_sum(call.build, cell, ratios[0])
    ones: Sum = {(ONE, (), ZERO): Fraction(1)}
    if 1 in gone:
        rows = matvec(call.build, cell, ones, ratios[1])
        return coordinate_sum(call.build, rows, ratios[0]) if 0 in gone else rows
    return matvec(call.build, transposed(cell), ones, ratios[0])


def _sum(call: Call) -> Table:
    own = call.tensor("self")
    return summed(call, own, _dims(call, len(own.axes)), call.axes())


def _size(axes: tuple[Axis, ...], dims: list[int]) -> tuple[Fraction, Fraction]:
    """Return how many entries axes have: a number, and the power of n it is multiplied by."""
    factors = [Fraction(axes[dim]) for dim in dims]
    return reduce(lambda a, b: a * b, factors, Fraction(1)), Fraction(sum(isinstance(axes[d], Fraction) for d in dims))


def averaged(call: Call, tensor: Table, dims: list[int], axes: tuple[Axis, ...]) -> Table:
    """Return means over axes."""
    count, power = _size(tensor.axes, dims)
    total = summed(call, tensor, dims, axes)
    return mapped(lambda cell: scaled(cell, 1 / count, -power), axes, total)


def _mean(call: Call) -> Table:
    own = call.tensor("self")
    return averaged(call, own, _dims(call, len(own.axes)), call.axes())


def _variance(call: Call, axes: tuple[Axis, ...]) -> tuple[Table, Table]:
    """Return variance and mean, both in the shape asked."""
    own = call.tensor("self")
    dims = _dims(call, len(own.axes))
    kept = tuple(1 if index in dims else axis for index, axis in enumerate(own.axes))
    mean = averaged(call, own, dims, kept)
    centred = mapped(lambda a, b: add(a, b, Fraction(-1)), own.axes, own, mean)
    ratios = wide(own.axes)
    square = mapped(lambda a: multiply(call.build, a, a, ratios), own.axes, centred)
    variance = averaged(call, square, dims, axes)
    correction = call.raw("correction")
    if correction is None:
        correction = 0 if call.raw("unbiased") is False else 1
    if correction:
        variance = _corrected(call, variance, float(correction), _size(own.axes, dims))
    return variance, reshaped(mean, axes)


def _corrected(call: Call, variance: Table, correction: float, size: tuple[Fraction, Fraction]) -> Table:
    """Multiply by n/(n − correction), which is no power of n, and a function of the scalar 1/n."""
    count, power = size
    share: Sum = {(None, (), -power): 1 / count}
    if power:
        share = applied(call.build, corrected(correction), [share], None)
    else:
        share = {(None, (), ZERO): 1 / (1 - exactly(correction) / count)}
    ratios = wide(variance.axes)
    ratio = ratios[0] if ratios else Fraction(1)
    return mapped(lambda cell: times(call.build, cell, share, ratio), variance.axes, variance)


def _var(call: Call) -> Table:
    return _variance(call, call.axes())[0]


def _var_mean(call: Call) -> list[Table]:
    return list(_variance(call, call.axes()))


def _extreme(call: Call) -> Table:
    """The largest of finitely many entries, two at a time."""
    own = call.tensor("self")
    dims = _dims(call, len(own.axes))
    if any(isinstance(own.axes[dim], Fraction) for dim in dims):
        raise TraceError("the largest or smallest of all neurons: programs know averages over neurons, not extremes")
    name = "maximum" if call.op.name == "amax" else "minimum"
    ratios = wide(own.axes)
    if len(ratios) > 1:
        raise TraceError("the largest entries of a width × width matrix")
    ratio = ratios[0] if ratios else None
    cells = own.cells
    for axis in sorted((_places(own.axes)[dim] for dim in dims), reverse=True):
        parts = np.moveaxis(cells, axis, 0)
        total = np.empty(parts.shape[1:], dtype=object)
        for place in np.ndindex(total.shape):
            total[place] = reduce(
                lambda a, b: applied(call.build, arranged(name, (0, 1)), [a, b], ratio),
                (parts[(index, *place)] for index in range(len(parts))),
            )
        cells = total
    axes = call.axes()
    return table(axes, cells.reshape(finite(axes)))


# --- products ------------------------------------------------------------------------------------------------------


def contracted(call: Call, one: Table, other: Table, axes: tuple[Axis, ...]) -> Table:
    """Return the matrix product of tensors (…, i, k) and (…, k, j)."""
    inner = one.axes[-1]
    batch = axes[:-2]
    if isinstance(inner, Fraction):
        return _neurons_contracted(call, one, other, axes)
    left = reshaped(one, (*one.axes, 1))
    right = reshaped(other, (*other.axes[:-2], 1, *other.axes[-2:]))
    whole = (*batch, one.axes[-2], inner, other.axes[-1])
    ratios = wide(whole)
    if len(ratios) > 2:
        raise TraceError("a tensor with more than two width axes is made")
    parts = mapped(lambda a, b: multiply(call.build, a, b, ratios), whole, left, right)
    return summed(call, parts, [len(whole) - 2], axes)


def _neurons_contracted(call: Call, one: Table, other: Table, axes: tuple[Axis, ...]) -> Table:
    """Products that sum over a width axis: an inner product, a matrix times a vector, or two matrices."""
    ratio = one.axes[-1]
    assert isinstance(ratio, Fraction)
    batch = finite(axes[:-2])
    if any(isinstance(axis, Fraction) for axis in axes[:-2]):
        raise TraceError("a batch of products whose batch is a width axis")
    rows, columns = one.axes[-2], other.axes[-1]
    left = _pairs(aligned(one, one.axes), rows, batch, last=True)
    right = _pairs(aligned(other, other.axes), columns, batch, last=False)
    build, is_row, is_column = call.build, isinstance(rows, Fraction), isinstance(columns, Fraction)

    def cell(a: Sum, b: Sum) -> Sum:
        if isinstance(rows, Fraction) and isinstance(columns, Fraction):
            return matmat(build, a, b, (rows, ratio, columns))
        if is_row:
            return matvec(build, a, b, ratio)
        return matvec(build, transposed(b), a, ratio) if is_column else dot(build, a, b, ratio)

    shape = (*batch, left.shape[-1], right.shape[-1])
    found = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        found[place] = cell(left[(*place[:-2], place[-2])], right[(*place[:-2], place[-1])])
    return table(axes, found.reshape(finite(axes)))


def _pairs(cells: Array, axis: Axis, batch: tuple[int, ...], last: bool) -> Array:
    """Return cells as (batch…, free axis), the free one of size 1 where it is a width axis."""
    shaped = cells[..., None] if isinstance(axis, Fraction) else cells
    return np.broadcast_to(shaped, (*batch, shaped.shape[-1]))


def _lengthened(tensor: Table, place: int) -> Table:
    axes = list(tensor.axes)
    axes.insert(place, 1)
    return reshaped(tensor, tuple(axes))


def _product(call: Call, one: Table, other: Table, axes: tuple[Axis, ...]) -> Table:
    row, column = len(one.axes) == 1, len(other.axes) == 1
    left = _lengthened(one, 0) if row else one
    right = _lengthened(other, 1) if column else other
    full = (*left.axes[:-1], right.axes[-1])
    if len(left.axes) < len(right.axes):
        full = (*right.axes[:-2], left.axes[-2], right.axes[-1])
    found = contracted(call, left, right, full)
    return reshaped(found, axes)


PAIRS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
} | {"matmul": ("self", "other")}
ADDED = {"addmm": ("mat1", "mat2"), "addmv": ("mat", "vec"), "baddbmm": ("batch1", "batch2")}


def _mm(call: Call) -> Table:
    one, other = PAIRS[call.op.name]
    return _product(call, call.tensor(one), call.tensor(other), call.axes())


def _added(call: Call) -> Table:
    one, other = ADDED[call.op.name]
    found = _product(call, call.tensor(one), call.tensor(other), call.axes())
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    return mapped(
        lambda a, b: add(scaled(a, beta.number, beta.power), scaled(b, alpha.number, alpha.power)),
        call.axes(),
        call.tensor("self"),
        found,
    )


def _linear(call: Call) -> Table:
    own, weight = call.tensor("input"), call.tensor("weight")
    found = _product(call, own, permuted(weight, (1, 0)), call.axes())
    return found if call.raw("bias") is None else mapped(add, call.axes(), found, call.tensor("bias"))


def _outer(call: Call) -> Table:
    one, other = call.tensor("self"), call.tensor("vec2")
    return product_of(call, _lengthened(one, 1), other)


SUMS: Mapping[str, Rule] = {
    "sum": _sum,
    "mean": _mean,
    "var": _var,
    "var_mean": _var_mean,
    **dict.fromkeys(("amax", "amin"), _extreme),
    **dict.fromkeys(PAIRS, _mm),
    **dict.fromkeys(ADDED, _added),
    "linear": _linear,
    "outer": _outer,
    "ger": _outer,
}
