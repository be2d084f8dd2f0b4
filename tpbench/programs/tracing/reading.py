"""Reading recorded code as a program: every operation by its rule, constants by the numbers that were recorded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tpbench.programs.tracing.axes import Table, wide, write
from tpbench.programs.tracing.call import Call, Rule
from tpbench.programs.tracing.compare import Compared
from tpbench.programs.tracing.emit import Builder
from tpbench.programs.tracing.noun import Array, Op, Recording, Ref, TraceError, TraceWarning
from tpbench.programs.tracing.record import RANDOM
from tpbench.programs.tracing.rules_numbers import NUMBERS
from tpbench.programs.tracing.rules_random import RANDOMS
from tpbench.programs.tracing.rules_shapes import SHAPES
from tpbench.programs.tracing.rules_slopes import SLOPES
from tpbench.programs.tracing.rules_sums import SUMS
from tpbench.programs.tracing.values import ONE, ONES, Gauss, Sum

RULES: Mapping[str, Rule] = {**SHAPES, **NUMBERS, **SLOPES, **SUMS, **RANDOMS}
OVERWRITES = frozenset({"copy", "fill", "zero", *RANDOMS})
"""Operations that do not read what they write into."""
UNREAD = frozenset({"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", *RANDOMS})
"""Operations whose outputs are not functions of their inputs: draws, and memory as it happens to be."""
SHAPED = frozenset(
    {"zeros_like", "ones_like", "full_like", "empty_like", "randn_like", "rand_like"}
    | {"new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"}
)
"""Operations that read only the shape of their first argument."""
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("_softmax", "_log_softmax"), "a softmax over a width axis couples all neurons by their largest"),
    **dict.fromkeys(("sort", "topk", "max", "min", "median", "kthvalue"), "orders entries"),
    **dict.fromkeys(("argmax", "argmin"), "a decision (which entry is largest): jumps of scalars have no rule"),
    **dict.fromkeys(("convolution", "convolution_backward"), "a convolution: write it as sums of linear maps"),
}

FINITE_DRAW = (
    "a random draw that is none of programs: they know Gaussian, uniform and Bernoulli vectors, and finite draws only "
    "as constants: draw it before (outside make and run), or with a generator of your own whose seed is the same at "
    "every width"
)


def interpret(compared: Compared) -> tuple[Builder, list[Table | None]]:
    """Return the program so far and every tensor of the recordings."""
    first = compared.recordings[0]
    build = Builder()
    states: dict[bytes, Call] = {}
    far: list[str] = []
    tables: list[Table | None] = [None] * len(first.shapes)
    for index in first.leaves:
        values = [recording.leaves[index] for recording in compared.recordings]
        tables[index] = compared.constants(values, compared.axes(index))
    for count, ops in enumerate(zip(*(recording.ops for recording in compared.recordings), strict=True)):
        if count == first.built:
            build.hints.update(_hints(first, tables))
        call = Call(build, compared, ops, tables)
        try:
            _run(call)
        except TraceError as error:
            raise TraceError(f"{call.op}: {error}") from error
        except Exception as error:
            raise TraceError(
                f"{call.op}: the rule of this operation failed ({type(error).__name__}: {error}): this is a fault of "
                "trace, and worth a report"
            ) from error
        check_draws(call, states)
        far.extend(_far_limits(call))
    for message in dict.fromkeys(far):
        warnings.warn(message, TraceWarning, stacklevel=3)
    return build, tables


FAR = 1e4
"""Ratio of coefficients from which a limit begins too far out."""


def _far_limits(call: Call) -> Iterator[str]:
    """Yield a warning where a small constant is added to something larger that vanishes with n, and so is the limit."""
    if call.op.name not in ("add", "sub", "rsub", "addcmul", "addcdiv", "addmm", "addmv"):
        return
    for ref in call.op.outputs:
        found = call.tables[ref.index] if ref is not None else None
        for cell in found.cells.flat if found is not None else ():
            far = _far(cell) if isinstance(cell, dict) else None
            if far is not None:
                yield (
                    f"{call.op}: a constant of {far[0]:.3g} is added to what vanishes with n, and dominates from "
                    f"n ≈ {far[1]:.0e} only: the limit says nothing about smaller widths; scale it like the other term"
                )
                return


def _far(cell: Sum) -> tuple[float, float] | None:
    """Return a constant, and the width from which it dominates a term of lower order, where that is far."""
    levels = [(float(c), p) for (base, s, p), c in cell.items() if not s and base in (None, ONE, ONES)]
    for c, p in levels:
        for other, lower in ((abs(float(d)), q) for (_, _, q), d in cell.items() if q < p):
            if c and other > FAR * abs(c):
                return abs(c), float((other / abs(c)) ** (1 / float(p - lower)))
    return None


def check_draws(call: Call, states: dict[bytes, Call]) -> None:
    """Raise ``TraceError`` for other numbers out of a generator in a state that has given some: not independent."""
    if call.op.source is None or not wide(call.axes()):
        return
    other = states.setdefault(call.op.source, call)
    one, two = call.values(), other.values()
    if one is None or two is None or (call.op.name == other.op.name and _same_arrays(one, two)):
        return
    raise TraceError(
        f"{call.op}: these numbers and those of {other.op} are drawn from one seed, and so depend on each other, in a "
        "way that is none of programs: seed them differently, or compute one from the other"
    )


def _same_arrays(one: Sequence[Array], two: Sequence[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def _hints(recording: Recording, tables: Sequence[Table | None]) -> dict[str, str]:
    """Return the names of parameters, with the place of an entry, for the values that they are made of at first."""
    found: dict[str, str] = {}
    for parameter, ref in recording.named.items():
        tensor = tables[ref.index]
        for place in np.ndindex(tensor.cells.shape) if tensor is not None else ():
            label = f"{parameter}[{','.join(map(str, place))}]" if place else parameter
            for base, *_ in tensor.cells[place] if tensor is not None else ():
                name = base.name if isinstance(base, Gauss) else base
                if isinstance(name, str) and name != ONE:
                    found.setdefault(name, label)
    return found


def _run(call: Call) -> None:
    op = call.op
    results = _results(call)
    if op.inplace is not None:
        target = call.of(op.inplace)
        write(target, results[0])
        results = [target]
    for ref, result in zip(op.outputs, results, strict=True):
        if ref is not None and not (op.inplace and ref == op.inplace):
            call.tables[ref.index] = result


def _results(call: Call) -> list[Table]:
    op = call.op
    if op.source is not None and op.name not in RANDOMS and not call.own:
        raise TraceError(FINITE_DRAW)
    inputs = [call.of(ref) for ref in _read(op)]
    for tensor in inputs:
        if tensor.unknown is not None and not op.view and op.name not in ("detach", "alias", "clone"):
            raise TraceError(tensor.unknown)
    by_value = not op.view and op.name not in UNREAD and all(tensor.constant for tensor in inputs)
    if by_value:
        recorded = _recorded(call)
        if recorded is not None:
            return recorded
    if op.name not in RULES:
        why = "give the optimizer, or clip_grad_norm_, foreach=False" if op.name.startswith("_foreach") else None
        why = why or REFUSED.get(op.name, "no rule says what it is in a Tensor Program")
        raise TraceError(f"{why}; write it with sums, products and functions of single neurons, if it is one")
    found = RULES[op.name](call)
    return found if isinstance(found, list) else [found]


def _recorded(call: Call) -> list[Table] | None:
    """Return outputs of an operation on constants, as the numbers it gave; None where they follow no c · n^p."""
    found = []
    for place, ref in enumerate(call.op.outputs):
        values = call.values(place)
        if ref is None or values is None:
            return None
        found.append(call.compared.constants(values, call.axes(place)))
    known = all(tensor.unknown is None for tensor in found)
    if not known and call.op.name in RANDOM:
        raise TraceError("a random draw that is none of programs: they know Gaussian, uniform and Bernoulli vectors")
    return found if known or call.op.name not in RULES else None


def _read(op: Op) -> Iterator[Ref]:
    """Yield the tensors that an operation reads."""
    for name, value in op.arguments.items():
        if name == "self" and (op.name in SHAPED or (op.inplace is not None and op.name in OVERWRITES)):
            continue
        yield from _refs(value)


def _refs(value: object) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _refs(each)
