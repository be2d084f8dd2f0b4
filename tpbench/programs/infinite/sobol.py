"""The second interpreter on scrambled Sobol' points: Z^x is a vector over points, an expectation the mean over them.

Points are independent over replicates, whose spread is the error. What is left is a bias that falls with the number of
points, measured at several numbers and extrapolated away as in ``networks.infinite``. Every width is an axis of its
own, a fresh Gaussian a dimension of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpbench.networks.infinite import BIAS_POWER, Mean, extrapolated
from tpbench.programs.infinite.answers import Answers, AnswerSide, RoadsDifferError
from tpbench.programs.infinite.continuity import Observed, jumping
from tpbench.programs.infinite.noun import Request, UnsuitedError, Value
from tpbench.programs.infinite.reuse import Arguments, Reuse, arguments, reuse
from tpbench.programs.instructions import (
    Binding,
    Constant,
    Function,
    GaussianMatrix,
    Gaussians,
    MatMul,
    Moment,
    Nonlin,
    Width,
    bound_names,
)
from tpbench.programs.program import Program, free_after
from tpbench.weights.innovations import Innovations, Sobol

NUMBERS_AT_ONCE = 2**26
"""Numbers of one run that are held at the same time, half a GiB; a run has as many replicates as that allows."""
SEEDS_APART = 2**20
MOST_POINTS = 2**30
SAVED = 3
"""Vectors that autograd saves for one that it follows, about."""
FEW_DERIVATIVES = 16
"""Products whose derivatives autograd takes where either road may be taken: each is a backward pass through all that
was computed before, so many cost the square of their number, for errors that are half as large at best."""
DTYPE = torch.float64

Vectors = Mapping[int, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Sampled:
    """A program's limit at Sobol' points: ``vectors`` has the Z of outputs, (replicate, point), by number of points."""

    scalars: Mapping[str, Value]
    vectors: Vectors = field(repr=False)

    def expectation(self, function: Function, vectors: tuple[str, ...]) -> Value:
        """Return E function(Z^x, Z^y, …) of outputs; ``UnsuitedError`` where it is not finite."""
        found = {}
        for points, known in self.vectors.items():
            like = known[vectors[0]]
            value = torch.as_tensor(function.call(*(known[name] for name in vectors)), dtype=DTYPE, device=like.device)
            found[points] = value.expand_as(like).mean(dim=1)
            _check_finite(found[points], f"the expectation of {function.name!r} of {', '.join(vectors)}", points)
        return _value(found)


@dataclass(frozen=True)
class Run:
    """One evaluation of a program at points: ``values`` of vectors (replicate, point) and scalars (replicate, 1).

    ``observed`` collects where the functions between a product and its Gaussians are evaluated, if it is asked for.
    """

    program: Program
    reuse: Reuse
    points: int
    innovations: Innovations
    device: torch.device
    observed: dict[Arguments, Observed] | None = None
    values: dict[str, Tensor] = field(default_factory=dict)
    matrices: dict[str, Answers] = field(default_factory=dict)

    @property
    def replicates(self) -> int:
        """How many replicates run together."""
        return len(self.innovations.seeds)


def solve(program: Program, request: Request) -> Sampled:
    """Return the limits of a program's outputs by randomised quasi-Monte Carlo; see ``Request`` for the options.

    Raises ``ValueError`` for fewer than 2 replicates and for numbers of points that are no powers of two, and
    ``UnsuitedError`` where values are not finite, where vectors are too many for the points, and where autograd was
    asked for and a function on the way jumps.
    """
    _check(request)
    with torch.inference_mode(False), torch.enable_grad():  # derivatives are needed wherever this is asked from
        return _solve(program, request, torch.device(request.device))


def _solve(program: Program, request: Request, device: torch.device) -> Sampled:
    known = reuse_of(program, request)
    try:
        return _solved(program, request, known, device)
    except RoadsDifferError as error:
        if request.derivatives == "autograd":
            raise UnsuitedError(
                "derivatives by autograd differ from Stein's lemma in a product of the program, so a function jumps: "
                'ask for derivatives="stein", or "auto"'
            ) from error
        return _solved(program, request, reuse_of(program, replace(request, derivatives="stein")), device)


def _solved(program: Program, request: Request, known: Reuse, device: torch.device) -> Sampled:
    first = request.seed * SEEDS_APART
    scalars: dict[str, dict[int, Tensor]] = {name: {} for name in program.outputs if name not in program.widths}
    vectors: dict[int, dict[str, Tensor]] = {}
    for points in sorted(set(request.points)):
        at_once = max(1, NUMBERS_AT_ONCE // _numbers(program, known, points))
        parts = []
        for start in range(first, first + request.replicates, at_once):
            seeds = range(start, min(start + at_once, first + request.replicates))
            parts.append(_run(Run(program, known, points, Sobol(seeds), device)))
        first += request.replicates  # scrambles are not shared between numbers of points
        whole = {name: torch.cat([part[name] for part in parts]) for name in program.outputs}
        for name, found in scalars.items():
            found[points] = whole.pop(name)[:, 0]
        vectors[points] = whole
    return Sampled({name: _value(found) for name, found in scalars.items()}, vectors)


def reuse_of(program: Program, request: Request) -> Reuse:
    """Return what a program's products need derivatives of, and by which road; see ``solve`` for what it raises."""
    dependent = request.transposes == "dependent"
    stein = reuse(program, {}, dependent=dependent, stein=True)
    many = request.derivatives == "auto" and len(stein.derivatives) > FEW_DERIVATIVES
    if request.derivatives == "stein" or many or not stein.derivatives:
        return stein
    smooth = reuse(program, {}, dependent=dependent, stein=False)
    observed: dict[Arguments, Observed] = {
        arguments(b): Observed([np.inf] * len(b.vectors), [-np.inf] * len(b.vectors))
        for b in program.bindings
        if isinstance(b, Nonlin) and b.name in smooth.followed
    }
    seeds = range(request.seed * SEEDS_APART, request.seed * SEEDS_APART + 2)
    _run(Run(program, stein, min(request.points), Sobol(seeds), torch.device(request.device), observed))
    jumps = {key: jumping(key[0].call, seen) for key, seen in observed.items()}
    found = reuse(program, jumps, dependent=dependent, stein=False)
    for product, culprit in found.derivatives.items():
        if culprit and request.derivatives == "autograd":
            raise UnsuitedError(
                f"{product!r} needs derivatives through {culprit!r}, whose function jumps or has no autograd there: "
                'ask for derivatives="stein", or "auto"'
            )
    return found


def _check(request: Request) -> None:
    if request.replicates < 2:
        raise ValueError(f"a standard error needs at least 2 replicates, got {request.replicates}")
    for points in request.points:
        if not 1 <= points <= MOST_POINTS or points & (points - 1):
            raise ValueError(
                f"Sobol' points fill space evenly in powers of two up to 2^30, got {points}: take "
                f"{min(MOST_POINTS, 1 << max(0, points).bit_length())}"
            )
    if not request.points:
        raise ValueError("Sobol' points were asked for without a number of them: give at least one")


def _numbers(program: Program, known: Reuse, points: int) -> int:
    """Return about how many numbers one replicate holds at the same time."""
    alive: set[str] = set()
    most = 1
    for binding, done in zip(program.bindings, free_after(program), strict=True):
        alive.update(name for name in bound_names(binding) if name in program.widths)
        most = max(most, len(alive))
        alive.difference_update(done)
    sides = [min(count, points) for count in known.queries.values()]
    return points * (most + 2 * sum(sides) + SAVED * len(known.followed)) + 2 * sum(count**2 for count in sides)


def _run(run: Run) -> dict[str, Tensor]:
    """Return the outputs, vectors (replicate, point) and scalars (replicate, 1)."""
    for binding, done in zip(run.program.bindings, free_after(run.program), strict=True):
        BINDERS[type(binding)](run, binding)
        for name in bound_names(binding):
            if name in run.values:
                _check_finite(run.values[name], repr(name), run.points, product=isinstance(binding, MatMul))
        for name in done:
            run.values.pop(name, None)
            run.matrices.pop(name, None)
    return {name: run.values[name].detach() for name in run.program.outputs}


def _gaussians(run: Run, b: Gaussians) -> None:
    """Draw joint vectors by a square root of their covariance, one dimension for each that is not degenerate."""
    covariance = np.array([[float(value) for value in row] for row in b.covariance])
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    root = torch.as_tensor((vectors * np.sqrt(values.clip(0)))[:, kept], dtype=DTYPE, device=run.device)
    drawn = _draw(run, b.width, int(kept.sum()))
    mean = torch.tensor([float(value) for value in b.mean], dtype=DTYPE, device=run.device)
    joint = root @ drawn + mean[:, None]
    for place, name in enumerate(b.names):
        run.values[name] = joint[:, place].contiguous()


def _matrix(run: Run, b: GaussianMatrix) -> None:
    """Make the sides that are asked; an entry of Wᵀ y has n_rows/n_columns times the variance of one of W x."""
    sizes = {False: float(b.columns.ratio), True: float(b.rows.ratio)}
    scales = {False: float(b.variance) ** 0.5, True: (float(b.variance) * sizes[True] / sizes[False]) ** 0.5}
    rooms = {flag: run.reuse.queries.get((b.name, flag), 0) for flag in (False, True)}
    like = torch.empty(1, dtype=DTYPE, device=run.device).expand(run.replicates, run.points)
    reusing = run.reuse.reusing(b.name)
    following = bool(run.reuse.followed)
    sides = {
        flag: AnswerSide(rooms[flag], scale=scales[flag], follow=following and reusing, like=like)
        for flag in (False, True)
    }
    reused = {
        flag: like.new_zeros(run.replicates, rooms[flag], rooms[not flag] if reusing else 0) for flag in (False, True)
    }
    run.matrices[b.name] = Answers(sides, reused, sizes, reusing)


def _constant(run: Run, b: Constant) -> None:
    run.values[b.name] = torch.full((run.replicates, 1), float(b.limit), dtype=DTYPE, device=run.device)


def _matmul(run: Run, b: MatMul) -> None:
    matrix = run.program.matrices[b.matrix]
    width = matrix.columns if b.transposed else matrix.rows
    side = run.matrices[b.matrix].sides[b.transposed]
    run.values[b.name] = run.matrices[b.matrix].ask(
        b.vector,
        run.values[b.vector],
        b.transposed,
        road=run.reuse.road(b.name),
        follow=b.name in run.reuse.followed,
        draw=lambda out: out.copy_(_draw(run, width, 1)[:, 0]),
    )
    if side.count >= run.points:
        raise UnsuitedError(
            f"{b.name!r} is the answer to independent vector number {side.count} of {b.matrix!r}, and {run.points} "
            "points hold no more: take several times as many points"
        )


def _nonlin(run: Run, b: Nonlin) -> None:
    if run.observed is not None and arguments(b) in run.observed:
        seen = run.observed[arguments(b)]
        seen.see([run.values[name] for name in b.vectors], [run.values[name] for name in b.scalars])
    with torch.set_grad_enabled(b.name in run.reuse.followed):
        run.values[b.name] = _evaluate(run, b, run.points)


def _moment(run: Run, b: Moment) -> None:
    with torch.no_grad():
        run.values[b.name] = _evaluate(run, b, run.points if b.vectors else 1).mean(dim=1, keepdim=True)


def _evaluate(run: Run, b: Nonlin | Moment, size: int) -> Tensor:
    value = b.function.call(*(run.values[name] for name in (*b.vectors, *b.scalars)))
    return torch.as_tensor(value, dtype=DTYPE, device=run.device).expand(run.replicates, size)


BINDERS: Mapping[type[Binding], Callable[[Run, Any], None]] = {
    Gaussians: _gaussians,
    GaussianMatrix: _matrix,
    Constant: _constant,
    MatMul: _matmul,
    Nonlin: _nonlin,
    Moment: _moment,
}


def _draw(run: Run, width: Width, count: int) -> Tensor:
    axis = f"width {width.name}"
    return run.innovations.draw(axis, count, run.points, dtype=DTYPE, device=run.device)


def _check_finite(value: Tensor, what: str, points: int, *, product: bool = False) -> None:
    if bool(value.detach().sum().isfinite()):  # the sum of finite numbers of order 1 is finite
        return
    raise UnsuitedError(
        f"{what} is not finite at {points} Sobol' points: "
        + (
            'autograd gave no finite derivatives of its vector, so ask for derivatives="stein"'
            if product
            else "its function overflows, or is not defined for all values that a Gaussian takes"
        )
    )


def _value(found: Mapping[int, Tensor]) -> Value:
    """Return the extrapolated mean of a value of every replicate, by number of points."""
    by_points = {points: _mean(values.tolist()) for points, values in found.items()}
    limit = extrapolated(by_points, BIAS_POWER)
    return Value(float(limit.mean), float(limit.error))


def _mean(values: Sequence[float]) -> Mean:
    array = np.array(values)
    # The spread of equal numbers is rounding, which must not be taken for less than it is.
    error = max(array.std(ddof=1) / np.sqrt(len(array)), np.finfo(np.float64).eps * abs(array).max())
    return Mean(np.array(array.mean()), np.array(error), len(array))
