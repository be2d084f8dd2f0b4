"""Rules of operations that only move entries: views, slices, joining and indexing."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tpbench.programs.tracing.axes import (
    Table,
    _places,
    aligned,
    filled,
    finite,
    indexed,
    permuted,
    reshaped,
    table,
)
from tpbench.programs.tracing.call import Call, Rule, constant_of
from tpbench.programs.tracing.noun import ALIAS, TraceError
from tpbench.programs.tracing.values import Unknown, add


def _same(call: Call) -> Table:
    return call.tensor("self" if "self" in call.op.arguments else "input")


def _copied(call: Call) -> Table:
    own = call.tensor("self")
    return Table(own.axes, own.cells.copy(), own.slots)


def _cast(call: Call) -> Table:
    """A change of precision; of a random number to a whole one or a truth value it is a step function."""
    dtype = call.op.arguments.get("dtype")
    if dtype is not None and not dtype.is_floating_point:
        raise TraceError(f"a random number is turned into {dtype}: round with a function of your own, or leave it")
    return _copied(call)


def _reshape(call: Call) -> Table:
    return reshaped(call.tensor("self"), call.axes())


def _axis(value: Any, count: int) -> int:
    if not isinstance(value, int):
        raise TraceError("an axis that depends on the width")
    return value % count if count else 0


def _transpose(call: Call) -> Table:
    own = call.tensor("self")
    count = len(own.axes)
    orders = list(range(count))
    if count < 2:
        return own
    one, two = (0, 1) if call.op.name == "t" else (_axis(call.raw("dim0"), count), _axis(call.raw("dim1"), count))
    orders[one], orders[two] = orders[two], orders[one]
    return permuted(own, orders)


def _permute(call: Call) -> Table:
    own = call.tensor("self")
    return permuted(own, [_axis(dim, len(own.axes)) for dim in call.raw("dims")])


def _expand(call: Call) -> Table:
    own, axes = call.tensor("self"), call.axes()
    if len(own.slots) == sum(isinstance(axis, Fraction) for axis in axes):
        lead = len(axes) - len(own.axes)
        shape = (1,) * (len(finite(axes)) - own.cells.ndim) + own.cells.shape
        if all(isinstance(a, type(b)) for a, b in zip(axes[lead:], own.axes, strict=True)):
            return Table(axes, np.broadcast_to(own.cells.reshape(shape), finite(axes)), own.slots)
    return table(axes, aligned(own, axes).copy())


def _select(call: Call) -> Table:
    own = call.tensor("self")
    return indexed(own, _axis(call.raw("dim"), len(own.axes)), int(call.raw("index")))


def _slice(call: Call) -> Table:
    own, axes = call.tensor("self"), call.axes()
    place = _axis(call.raw("dim"), len(own.axes))
    if isinstance(own.axes[place], Fraction):
        if axes[place] != own.axes[place]:
            raise TraceError(
                "a part of the neurons is cut out of a width axis (slice, chunk or split): programs keep width axes "
                "whole, so give every part a layer of its own"
            )
        return own
    start, end, step = call.raw("start"), call.raw("end"), call.raw("step")
    return indexed(own, place, slice(start, end, step or 1))


def _split(call: Call) -> list[Table]:
    own = call.tensor("self")
    place = _axis(call.raw("dim"), len(own.axes))
    found, start = [], 0
    for index in range(len(call.op.outputs)):
        size = call.axes(index)[place]
        if isinstance(size, Fraction) or isinstance(own.axes[place], Fraction):
            raise TraceError(
                "a width axis is split: programs keep width axes whole, so give every part a layer of its own"
            )
        found.append(indexed(own, place, slice(start, start + size)))
        start += size
    return found


def _unbind(call: Call) -> list[Table]:
    own = call.tensor("self")
    place = _axis(call.raw("dim"), len(own.axes))
    return [indexed(own, place, index) for index in range(len(call.op.outputs))]


def _cat(call: Call) -> Table:
    parts = [part for part in call.tensors("tensors") if part.axes != (0,)]
    axes = call.axes()
    place = _axis(call.raw("dim"), len(axes))
    if isinstance(axes[place], Fraction):
        raise TraceError("width axes are joined end to end: add one product with a weight of its own for each part")
    where = _places(axes)[place]
    cells = np.concatenate([aligned(part, part.axes) for part in parts], axis=where)
    return table(axes, cells)


def _stack(call: Call) -> Table:
    parts, axes = call.tensors("tensors"), call.axes()
    where = _places(axes)[_axis(call.raw("dim"), len(axes))]
    return table(axes, np.stack([aligned(part, part.axes) for part in parts], axis=where))


def _numbers(tensor: Table) -> Any:
    """Return a tensor of whole numbers as an array; ``TraceError`` where they are random."""
    found = np.zeros(tensor.cells.shape, dtype=int)
    for place in np.ndindex(found.shape):
        cell = indexed_cell(tensor, place)
        found[place] = int(constant_of(cell).number)
    return found


def indexed_cell(tensor: Table, place: tuple[int, ...]) -> Table:
    """Return one entry of a tensor without width axes."""
    cells = np.empty((), dtype=object)
    cells[()] = tensor.cells[place]
    return table((), cells)


def _index(call: Call) -> Table:
    own = call.tensor("self")
    indices = [None if ref is None else _numbers(call.of(ref)) for ref in call.raw("indices")]
    if any(isinstance(a, Fraction) for a, i in zip(own.axes, indices, strict=False) if i is not None):
        raise TraceError("neurons are picked by number: programs treat all neurons alike")
    picks: list[Any] = [slice(None) if index is None else index for index in indices]
    picks = [pick for pick, axis in zip(picks, own.axes, strict=False) if isinstance(axis, int)]
    return table(call.axes(), own_order(own)[tuple(picks)])


def own_order(tensor: Table) -> Any:
    """Return cells whose width axes are in the order of the axes."""
    return aligned(tensor, tensor.axes)


def _index_select(call: Call) -> Table:
    weight = "self" if "self" in call.op.arguments else "weight"
    own = call.tensor(weight)
    place = _axis(call.raw("dim"), len(own.axes)) if "dim" in call.op.arguments else 0
    picks = _numbers(call.tensor("index" if "index" in call.op.arguments else "indices"))
    if isinstance(own.axes[place], Fraction):
        raise TraceError("neurons are picked by number: programs treat all neurons alike")
    where = _places(own.axes)[place]
    return table(call.axes(), own_order(own)[(slice(None),) * where + (picks,)])


def _gather(call: Call) -> Table:
    own, picks = call.tensor("self"), _numbers(call.tensor("index"))
    if any(isinstance(axis, Fraction) for axis in own.axes):
        raise TraceError("gather over a tensor with width axes")
    return table(call.axes(), np.take_along_axis(own.cells, picks, axis=_axis(call.raw("dim"), len(own.axes))))


def _scatter(call: Call) -> Table:
    own, picks = call.tensor("self"), _numbers(call.tensor("index"))
    dim, source = _axis(call.raw("dim"), len(own.axes)), call.tensor("src" if "src" in call.op.arguments else "value")
    if any(isinstance(axis, Fraction) for axis in (*own.axes, *source.axes)):
        raise TraceError("scatter over a tensor with width axes")
    cells, values = own.cells.copy(), np.broadcast_to(source.cells, picks.shape)
    for place in np.ndindex(picks.shape):
        cells[(*place[:dim], picks[place], *place[dim + 1 :])] = values[place]
    return table(call.axes(), cells)


def _flip(call: Call) -> Table:
    own = call.tensor("self" if "self" in call.op.arguments else "a")
    for dim in call.raw("dims"):
        own = indexed(own, _axis(dim, len(own.axes)), slice(None, None, -1))
    return Table(own.axes, own.cells.copy(), own.slots)


def _roll(call: Call) -> Table:
    own = call.tensor("self")
    shifts, dims = call.raw("shifts"), call.raw("dims")
    if not dims or any(isinstance(own.axes[_axis(dim, len(own.axes))], Fraction) for dim in dims):
        raise TraceError("a width axis, or all axes at once, is rolled")
    places = tuple(_places(own.axes)[_axis(dim, len(own.axes))] for dim in dims)
    return Table(own.axes, np.roll(own.cells, tuple(shifts), places), own.slots)


def _index_put(call: Call) -> Table:
    """Entries along leading finite axes replaced, or added to, at indices that are not random."""
    own = call.tensor("self")
    refs = call.raw("indices")
    if any(ref is None for ref in refs) or any(isinstance(axis, Fraction) for axis in own.axes[: len(refs)]):
        raise TraceError("entries are written at indices along a width axis, or behind a whole axis")
    picks = np.broadcast_arrays(*(_numbers(call.of(ref)) for ref in refs))
    rest = own.axes[len(refs) :]
    cells, values = own_order(own).copy(), aligned(call.tensor("values"), (*picks[0].shape, *rest))
    for place in np.ndindex(picks[0].shape):
        where = tuple(int(pick[place]) for pick in picks)
        for inner in np.ndindex(finite(rest)):
            here = (*where, *inner)
            cells[here] = (
                add(cells[here], values[(*place, *inner)]) if call.raw("accumulate") else values[(*place, *inner)]
            )
    return table(own.axes, cells)


def _empty(call: Call) -> Table:
    return filled(call.axes(), lambda _: Unknown("a tensor of torch.empty is read before anything was written into it"))


SHAPES: Mapping[str, Rule] = {
    **dict.fromkeys((ALIAS, "detach", "lift_fresh", "lift", "positive", "to", "view_of"), _same),
    **dict.fromkeys(("clone", "contiguous", "alias_copy", "detach_copy", "lift_fresh_copy"), _copied),
    **dict.fromkeys(("_to_copy", "convert_element_type"), _cast),
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "_reshape_alias", "as_strided"), _reshape
    ),
    **dict.fromkeys(("t", "transpose"), _transpose),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk"), _split),
    **dict.fromkeys(("index_select", "embedding"), _index_select),
    **dict.fromkeys(("empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"), _empty),
    "permute": _permute,
    "expand": _expand,
    "select": _select,
    "slice": _slice,
    "unbind": _unbind,
    "cat": _cat,
    "stack": _stack,
    "index": _index,
    "gather": _gather,
    "scatter": _scatter,
    "flip": _flip,
    "roll": _roll,
    **dict.fromkeys(("index_put", "_unsafe_index_put"), _index_put),
}
