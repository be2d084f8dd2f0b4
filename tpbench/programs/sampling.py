"""The first interpreter: a program at width n, for many seeds at once, with dense or with lazy matrices.

The law is exactly that of the program's definition either way; lazy matrices (``weights.lazy``) cost O(n) a product and
let n be a million.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpbench.programs.instructions import (
    Binding,
    Constant,
    GaussianMatrix,
    Gaussians,
    MatMul,
    Moment,
    Nonlin,
    Width,
)
from tpbench.programs.program import Program, free_after
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.gaussian import standard_normal
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.interface import GaussianWeights
from tpbench.weights.lazy import Axes, LazyGaussian

WEIGHTS = ("dense", "lazy")


@dataclass(frozen=True)
class Run:
    """One evaluation of a program: ``values`` of vectors (seed, neuron) and scalars (seed, 1), ``matrices`` by name."""

    program: Program
    n: int
    seeds: tuple[int, ...]
    weights: str
    device: torch.device
    dtype: torch.dtype
    innovations: MonteCarlo
    values: dict[str, Tensor] = field(default_factory=dict)
    matrices: dict[str, GaussianWeights] = field(default_factory=dict)


def sample(
    program: Program,
    width: int,
    seeds: Sequence[int] | int,
    *,
    weights: str = "dense",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Return the outputs of a program at a width: vectors (seed, neuron), scalars (seed,).

    ``seeds`` are seeds, or how many from 0 on; a seed's values do not depend on its companions. ``weights`` are "dense"
    (n × n numbers a matrix and seed) or "lazy" (the same law, known only where it is asked, O(n) a product).
    Raises ``ValueError`` for a width that is not whole or that a ratio does not divide, no seeds, and unknown weights.
    """
    width, chosen = _whole(width, "width"), _seeds(seeds)
    if not chosen:
        raise ValueError("a program is sampled for at least one seed, got none")
    if weights not in WEIGHTS:
        raise ValueError(f"weights are dense or lazy, got {weights!r}")
    for axis in {*program.widths.values()}:
        axis.at(width)
    run = Run(program, width, chosen, weights, torch.device(device), dtype, MonteCarlo(chosen))
    for binding, done in zip(program.bindings, free_after(program), strict=True):
        BINDERS[type(binding)](run, binding)
        for name in done:
            run.values.pop(name, None)
            run.matrices.pop(name, None)
    found = {name: run.values[name] for name in program.outputs}
    return {name: value if name in program.widths else value[:, 0] for name, value in found.items()}


def _seeds(seeds: Sequence[int] | int) -> tuple[int, ...]:
    listed = range(_whole(seeds, "number of seeds")) if isinstance(seeds, int | numbers.Real) else seeds
    return tuple(_whole(seed, "seed") for seed in listed)


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, numbers.Integral):
        raise ValueError(f"a program is sampled at whole numbers, and the {what} is {value!r}: give one such as 64")
    return int(value)


def _gaussians(run: Run, b: Gaussians) -> None:
    """Draw joint vectors by a square root of their covariance, which may be singular."""
    size = b.width.at(run.n)
    drawn = _normal(run, f"vectors {','.join(b.names)}", (len(b.names), size))
    covariance = np.array([[float(value) for value in row] for row in b.covariance])
    values, vectors = np.linalg.eigh(covariance)
    root = torch.as_tensor((vectors * np.sqrt(values.clip(0))) @ vectors.T, dtype=run.dtype, device=run.device)
    mean = torch.tensor([float(value) for value in b.mean], dtype=run.dtype, device=run.device)
    joint = root @ drawn + mean[:, None]
    for place, name in enumerate(b.names):
        run.values[name] = joint[:, place].contiguous()


def _matrix(run: Run, b: GaussianMatrix) -> None:
    shape = (b.rows.at(run.n), b.columns.at(run.n))
    std = float(b.variance / shape[1]) ** 0.5
    if run.weights == "dense":
        run.matrices[b.name] = DenseGaussian(_normal(run, f"matrix {b.name}", shape).mul_(std))
        return
    axes = Axes(out=_axis(b.rows), into=_axis(b.columns))
    run.matrices[b.name] = LazyGaussian(
        shape, std=std, innovations=run.innovations, axes=axes, dtype=run.dtype, device=run.device
    )


def _constant(run: Run, b: Constant) -> None:
    run.values[b.name] = torch.full((len(run.seeds), 1), b.at(run.n), dtype=run.dtype, device=run.device)


def _matmul(run: Run, b: MatMul) -> None:
    matrix = run.matrices[b.matrix]
    multiply = matrix.transposed_matmul if b.transposed else matrix.matmul
    run.values[b.name] = multiply(run.values[b.vector][:, None])[:, 0]


def _nonlin(run: Run, b: Nonlin) -> None:
    run.values[b.name] = _evaluate(run, b, run.program.widths[b.name].at(run.n))


def _moment(run: Run, b: Moment) -> None:
    size = run.program.widths[b.vectors[0]].at(run.n) if b.vectors else 1
    run.values[b.name] = _evaluate(run, b, size).mean(dim=1, keepdim=True)


def _evaluate(run: Run, b: Nonlin | Moment, size: int) -> Tensor:
    value = b.function.call(*(run.values[name] for name in (*b.vectors, *b.scalars)))
    found = torch.as_tensor(value, dtype=run.dtype, device=run.device)
    return found.expand(len(run.seeds), size)


BINDERS: Mapping[type[Binding], Callable[[Run, Any], None]] = {
    Gaussians: _gaussians,
    GaussianMatrix: _matrix,
    Constant: _constant,
    MatMul: _matmul,
    Nonlin: _nonlin,
    Moment: _moment,
}


def _normal(run: Run, stream: str, shape: tuple[int, ...]) -> Tensor:
    return standard_normal(run.seeds, stream, shape, dtype=run.dtype, device=run.device)


def _axis(width: Width) -> str:
    return f"width {width.name}"
