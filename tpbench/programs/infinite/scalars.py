"""Is every function continuous in the scalars at their limits? Where it is not, the Master Theorem says nothing.

A scalar of a program comes near its limit at width n, and is not there: what reads it may do so as if it were only
where its values converge (Yang 2020, arXiv:2009.10685, asks it of all functions). ``E sign(c Z)²`` is 1 for every c but
0. Found by evaluation, at some joint values of the vectors, on lines through the limits of all scalars that move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tpbench.programs.infinite import sobol
from tpbench.programs.infinite.noun import Request, UnsuitedError, Value
from tpbench.programs.infinite.reading import moving
from tpbench.programs.infinite.reuse import reuse
from tpbench.programs.instructions import Constant, Moment, Nonlin
from tpbench.programs.program import Program, free_after
from tpbench.weights.innovations import Sobol

POINTS = 2**7
EACH_ALONE = 3
"""Scalars of one binding that are moved one by one; more are moved together, in as many random directions."""
WINDOW = 1e-6
"""How far a scalar is moved, as a share of its size or of 1 if that is more; further where its error is larger."""
ERRORS = 4.0
CELLS, ZOOMS = 8, 10
JUMP, REMAINS, ROUNDING = 1e-5, 0.5, 1e-11
"""A jump is that share of a function's size, and so much of it is there on the finest grid as on the one before."""
FEW = 0.02
"""Share of the points at which a function may jump: a vector's density near a scalar, as in ``x > c``, is no atom."""
DENSE = 20.0
"""What is added to that share, times how far scalars are moved."""


@dataclass(frozen=True)
class Evaluation:
    """What a binding's function is given in the limit: vectors (point, 1), scalars and how far each is moved.

    ``inner`` says which scalars come to their limits from one side, that of the sign of their move.
    """

    binding: Nonlin | Moment
    vectors: list[Tensor]
    scalars: list[float]
    moves: list[float]
    inner: list[bool] = field(default_factory=list)


def check_continuous(program: Program, limits: Mapping[str, Value], request: Request) -> None:
    """Raise ``UnsuitedError`` for a function that jumps at the limits of scalars, with positive probability.

    ``limits`` has those of ``reading.read(program)``.
    """
    with torch.no_grad():
        for evaluation in _evaluations(program, limits, replace(request, derivatives="stein")):
            if _jumps(evaluation):
                binding = evaluation.binding
                names = sorted(moving(program).intersection(binding.scalars))
                values = ", ".join(f"{name} = {limits[name]}" for name in names)
                raise UnsuitedError(
                    f"{binding.name!r}: the function {binding.function.name!r} is not continuous in its scalars at "
                    f"their limits ({values}), which they come near and need not reach: the Master Theorem asks for "
                    "it; write a function that is continuous there, or, for a number that does not change with the "
                    "width, a constant"
                )


def _evaluations(program: Program, limits: Mapping[str, Value], request: Request) -> list[Evaluation]:
    """Run a program at few Sobol' points, scalars set to their limits, and return what functions are given."""
    found, moved = [], moving(program)
    known = reuse(program, {}, dependent=request.transposes == "dependent", stein=True)
    points = max(POINTS, 1 << (2 * max(known.queries.values(), default=0)).bit_length())
    device = torch.device(request.device)
    run = sobol.Run(program, known, points, Sobol([request.seed * sobol.SEEDS_APART]), device)
    for binding, done in zip(program.bindings, free_after(program), strict=True):
        if isinstance(binding, Nonlin | Moment) and moved.intersection(binding.scalars):
            found.append(_evaluation(run, binding, program, limits, moved))
        sobol.BINDERS[type(binding)](run, binding)
        if isinstance(binding, Moment) and binding.name in limits:
            run.values[binding.name].fill_(limits[binding.name].mean)
        for name in done:
            run.values.pop(name, None)
            run.matrices.pop(name, None)
    return found


def _evaluation(
    run: sobol.Run, binding: Nonlin | Moment, program: Program, limits: Mapping[str, Value], moved: frozenset[str]
) -> Evaluation:
    constants = {b.name: b for b in program.bindings if isinstance(b, Constant)}
    moves, inner = [], []
    for name in binding.scalars:
        value, constant = limits[name], constants.get(name)
        far = max(WINDOW * max(1.0, abs(value.mean)), ERRORS * value.error) if name in moved else 0.0
        moves.append(-far if constant is not None and constant.value < 0 else far)
        inner.append(constant is not None)
    stride = max(1, run.points // POINTS)
    vectors = [run.values[name][0, ::stride, None].clone() for name in binding.vectors]
    return Evaluation(binding, vectors, [limits[name].mean for name in binding.scalars], moves, inner)


def _jumps(e: Evaluation) -> bool:
    """Return whether a function jumps on a line of scalars, at more points than those near which a vector is."""
    largest = max(map(abs, e.moves))
    allowed = min(FEW + DENSE * largest, 1.0) if e.binding.vectors else 0.0
    return any(float(_jumping(e, steps).mean()) > allowed for steps in _directions(e))


def _directions(e: Evaluation) -> list[list[float]]:
    """Return moves of all scalars: each alone, or all of them at random."""
    places = [place for place, move in enumerate(e.moves) if move]
    if len(places) <= EACH_ALONE:
        return [[move if i == place else 0.0 for i, move in enumerate(e.moves)] for place in places]
    draw = torch.Generator(device="cpu").manual_seed(11)
    turns = 2 * torch.rand(EACH_ALONE, len(e.moves), generator=draw, dtype=torch.float64, device="cpu") - 1
    return [[float(turn) * move for turn, move in zip(row, e.moves, strict=True)] for row in turns]


def _jumping(e: Evaluation, steps: Sequence[float]) -> Tensor:
    """Return for every point, (point,), 1 where the function jumps: grids of t in [-1, 1], each in a cell of the last.

    The middle of the first is the limit itself.
    """
    like = e.vectors[0] if e.vectors else torch.zeros(1, 1, dtype=sobol.DTYPE, device="cpu")
    first, width = torch.full_like(like, -1.0), torch.full_like(like, 2.0)
    unit = torch.linspace(0, 1, CELLS + 1, dtype=like.dtype, device=like.device)
    gap = before = torch.zeros_like(like)
    size = like
    for zoom in range(ZOOMS):
        t = first + width * unit
        value = _values(e, steps, t)
        if not zoom:
            size = value.abs().nan_to_num(0.0, 0.0).amax(dim=1, keepdim=True)
        before = gap
        gap, place = value.diff(dim=1).abs().nan_to_num(0.0, 0.0).max(dim=1, keepdim=True)
        if not bool((gap > JUMP * size).any()):
            return torch.zeros_like(like[:, 0])
        first, width = t.gather(1, place), width / CELLS
    usual = size.mean()
    found = (gap > REMAINS * before) & (gap > JUMP * size) & (gap > JUMP * JUMP * usual + ROUNDING)
    return found[:, 0].to(like.dtype)


def _values(e: Evaluation, steps: Sequence[float], t: Tensor) -> Tensor:
    """Return values (point, place) with scalars moved by t (point, place); every pair is a seed of its own."""
    flat = t.reshape(-1, 1)
    vectors = [vector.expand(t.shape).reshape(-1, 1) for vector in e.vectors]
    scalars = [
        scalar + step * (flat.abs() if inner else flat)
        for scalar, step, inner in zip(e.scalars, steps, e.inner, strict=True)
    ]
    made = torch.as_tensor(e.binding.function.call(*vectors, *scalars), dtype=t.dtype, device=t.device)
    return made.expand_as(flat).reshape(t.shape)
