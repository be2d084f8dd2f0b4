"""Averages of programs with most of their scatter taken off: control variates from all that a sampled program draws.

A program with lazy matrices draws vectors of independent N(0, 1) coordinates and nothing else: its initial ones, and
one for every new direction that a matrix is asked for; its law is exactly that of the program with dense matrices
(``weights.lazy``). The mean over coordinates of a Hermite polynomial of them has expectation 0 at every width, so that
an average less its regression on such means has the same expectation and a smaller variance: the scatter of an average
is nearly linear in them. (Slopes that are estimated from the same networks add a bias of 1/networks to it.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.programs.instructions import Gaussians
from tpbench.programs.program import Program
from tpbench.programs.sampling import BINDERS, Run
from tpbench.weights.innovations import MonteCarlo

Array = NDArray[np.float64]
LEAST = 12
"""Networks there must be for every control: regression on more would fit noise."""
RANK = 1e-9
"""Share of the largest variance below which an eigenvalue of an initial covariance is 0."""


class Kept(MonteCarlo):
    """Independent draws that are kept, in order, by axis."""

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__(seeds)
        self.kept: dict[str, list[Tensor]] = {}

    def draw(
        self, axis: str, count: int, size: int, *, dtype: torch.dtype, device: torch.device, out: Tensor | None = None
    ) -> Tensor:
        found = super().draw(axis, count, size, dtype=dtype, device=device, out=out)
        self.kept.setdefault(axis, []).extend(found.clone().unbind(dim=1))
        return found


def sampled_with_controls(
    program: Program, width: int, seeds: Sequence[int], *, device: torch.device
) -> tuple[Array, tuple[Array, ...]]:
    """Return the scalar outputs of a program with lazy matrices, (seed, output), and controls (seed, control).

    Controls are in groups of rising degree.
    """
    draws = Kept(seeds)
    run = Run(program, width, tuple(seeds), "lazy", device, torch.float64, draws)
    for binding in program.bindings:
        BINDERS[type(binding)](run, binding)
        if isinstance(binding, Gaussians):
            draws.kept.setdefault(f"width {binding.width.name}", []).extend(_standardised(run, binding))
    outputs = torch.cat([run.values[name] for name in program.outputs], dim=1).cpu().numpy()
    groups = [_means(torch.stack(vectors, dim=1)) for vectors in draws.kept.values()]
    return outputs, tuple(torch.cat(each, dim=1).cpu().numpy() for each in zip(*groups, strict=True))


def controlled(values: Array, groups: Sequence[Array]) -> Array:
    """Return values (seed, output) less their regression on controls (seed, control) of expectation 0.

    Groups of controls are taken in order while there are networks enough.
    """
    chosen: list[Array] = []
    for group in groups:
        if LEAST * sum(each.shape[1] for each in (*chosen, group)) > len(values):
            break
        chosen.append(group)
    if not chosen:
        return values
    controls = np.concatenate(chosen, axis=1)
    design = np.concatenate([np.ones((len(values), 1)), controls], axis=1)
    slopes = np.linalg.lstsq(design, values, rcond=None)[0][1:]
    return np.asarray(values - controls @ slopes)


def _standardised(run: Run, b: Gaussians) -> list[Tensor]:
    """Return independent N(0, 1) vectors that span initial ones."""
    covariance = np.array([[float(value) for value in row] for row in b.covariance])
    variances, axes = np.linalg.eigh(covariance)
    used = variances > RANK * max(variances.max(), RANK)
    turn = torch.as_tensor(axes[:, used] / np.sqrt(variances[used]), dtype=run.dtype, device=run.device)
    centred = [run.values[name] - float(mean) for name, mean in zip(b.names, b.mean, strict=True)]
    return list((turn.mT @ torch.stack(centred, dim=1)).unbind(dim=1))


def _means(u: Tensor) -> tuple[Tensor, ...]:
    """Return means over coordinates of Hermite polynomials of vectors u (seed, vector, neuron), in groups.

    Polynomials of one vector, and products of those of two: of degree 1 and 2, 3 and 4, 5 and 6. The last group are
    products of two means of the first group, less their expectations: means of different polynomials are uncorrelated.
    """
    count, n = u.shape[1:]
    h = [torch.ones_like(u), u]
    for degree in range(1, 6):
        h.append(u * h[degree] - degree * h[degree - 1])
    apart = torch.triu_indices(count, count, 1, device=u.device)

    def products(one: int, other: int) -> Tensor:
        found = h[one] @ h[other].mT / n
        ordered = found[:, apart[0], apart[1]]
        return ordered if one == other else torch.cat([ordered, found[:, apart[1], apart[0]]], dim=1)

    means = [
        torch.cat([*(h[degree].mean(dim=2) for degree in degrees), *(products(*pair) for pair in pairs)], dim=1)
        for degrees, pairs in (((1, 2), ((1, 1),)), ((3, 4), ((2, 1), (3, 1), (2, 2))), ((5, 6), ((4, 2), (3, 3))))
    ]
    variances = u.new_tensor([1.0] * count + [2.0] * count + [1.0] * apart.shape[1]) / n
    one, other = torch.triu_indices(len(variances), len(variances), device=u.device)
    return (*means, means[0][:, one] * means[0][:, other] - variances.diag()[one, other])
