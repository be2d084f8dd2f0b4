"""Tangent kernels by ``torch.func``: of any function of parameters and inputs, from Jacobians or products with them.

Two exact roads (Novak, Sohl-Dickstein & Schoenholz 2022, arXiv:2206.08720). For N1 and N2 examples, O outputs, P
parameters and F operations of one example's forward pass, in operations:

* ``jacobian``: J1 J2ᵀ from per-example Jacobians, 3 F O each and 2 P O a pair of examples, or O times the latter for
  all pairs of outputs; it holds two blocks of Jacobians, and makes those of the second side anew for every block of
  the first;
* ``vector-products``: each column as J1 (J2ᵀ e), about 3 F O N2 (N1 + 1), in the dtype of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import jacrev, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

from tpbench.networks.forward_mode import jvp

Parameters = Mapping[str, Tensor]
BLOCK_IN_BYTES = 2**28
"""What the Jacobians of one block of examples may hold, in float64."""


@dataclass(frozen=True)
class Model:
    """A function of parameters and inputs (example, …) with outputs (example, out); examples do not mix."""

    call: Callable[[Parameters, Tensor], Tensor]
    parameters: Parameters

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(tensor.numel() for tensor in self.parameters.values())


def naive(call: Callable[[Parameters, Tensor], Tensor], parameters: Parameters, x: Tensor) -> Tensor:
    """Return all of Σ ∂f ∂f, (N, O, N, O), from the Jacobian of the whole batch: the slow, obvious road.

    It holds for examples that mix, too.
    """
    jacobian = jacrev(call)(dict(parameters), x)
    rows = torch.cat([block.to(torch.float64).flatten(2) for block in jacobian.values()], dim=2)
    return torch.einsum("iop,jqp->iojq", rows, rows)


def from_jacobians(model: Model, x1: Tensor, x2: Tensor | None, *, trace: bool, chunk: int) -> Tensor:
    """Return J1 J2ᵀ, (N1, O, N2, O) or its trace over outputs (N1, N2), float64, by blocks of ``chunk`` examples.

    Without x2 it is x1, and blocks below the diagonal are those above it, transposed.
    """
    first = torch.split(x1, chunk)
    second = first if x2 is None else torch.split(x2, chunk)
    blocks: dict[tuple[int, int], Tensor] = {}
    for i, rows in enumerate(first):
        left = _jacobians(model, rows)
        for j, columns in enumerate(second):
            if x2 is None and j < i:
                mirrored = blocks[j, i]
                blocks[i, j] = mirrored.mT if trace else mirrored.permute(2, 3, 0, 1)
                continue
            right = left if x2 is None and i == j else _jacobians(model, columns)
            blocks[i, j] = _product(left, right, trace=trace)
    return torch.cat(
        [torch.cat([blocks[i, j] for j in range(len(second))], -1 if trace else 2) for i in range(len(first))]
    )


def from_products(model: Model, x1: Tensor, x2: Tensor | None, *, trace: bool, chunk: int) -> Tensor:
    """Return the same from products J1 (J2ᵀ e), one for each example and output of x2, ``chunk`` at once."""
    x2 = x1 if x2 is None else x2
    outputs = output_count(model, x1)
    parameters = dict(model.parameters)
    units, x1_parts = torch.eye(outputs, dtype=x1.dtype, device=x1.device), torch.split(x1, chunk)

    def column(example: Tensor, unit: Tensor) -> Tensor:
        direction = pulled(lambda p: model.call(p, example[None])[0], parameters, unit)
        return torch.cat([pushed(partial(_called, model, rows), parameters, direction) for rows in x1_parts])

    columns = vmap(vmap(column, (None, 0)), (0, None))  # (chunk of x2, O of x2, N1, O)
    whole = torch.cat([columns(part, units).to(torch.float64) for part in torch.split(x2, chunk)]).permute(2, 3, 0, 1)
    return torch.einsum("iojo->ij", whole) if trace else whole


def pulled(f: Callable[[Parameters], Tensor], at: Parameters, unit: Tensor) -> Parameters:
    """Return Jᵀ u, a tensor a parameter, for the Jacobian J of f at the parameters given."""
    pull: Any = vjp(f, dict(at))[1]
    found: Parameters = pull(unit)[0]
    return found


def pushed(f: Callable[[Parameters], Tensor], at: Parameters, direction: Parameters) -> Tensor:
    """Return J v for a direction v like the parameters."""
    found: Tensor = jvp(f, (dict(at),), (dict(direction),))[1]
    return found


def output_count(model: Model, x: Tensor) -> int:
    """Return the number of outputs; ``ValueError`` where the function does not give (example, out)."""
    with torch.no_grad():
        shape = tuple(model.call(model.parameters, x[:1]).shape)
    if len(shape) != 2 or shape[0] != 1:
        raise ValueError(f"a tangent kernel needs outputs of shape (example, out), and one example gave {shape}")
    return shape[1]


def forward_operations(model: Model, x: Tensor) -> int:
    """Return the floating-point operations of products and convolutions in one example's forward pass."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.call(model.parameters, x[:1])
    return int(counter.get_total_flops())


def operations(model: Model, x1: Tensor, x2: Tensor | None, *, trace: bool, chunk: int) -> dict[str, int]:
    """Return what each road costs in blocks of ``chunk`` examples, by the formulas above; without x2 it is x1."""
    forward, outputs = forward_operations(model, x1), output_count(model, x1)
    jacobians, pairs = blockwise(len(x1), None if x2 is None else len(x2), chunk)
    columns = len(x1 if x2 is None else x2)
    return {
        "jacobian": 3 * forward * outputs * jacobians + 2 * model.size * pairs * outputs * (1 if trace else outputs),
        "vector-products": 3 * forward * outputs * columns * (len(x1) + 1),
    }


def blockwise(rows: int, columns: int | None, chunk: int) -> tuple[int, int]:
    """Return how many Jacobians of one example, and products of two, ``from_jacobians`` computes."""
    if columns is not None:
        return rows + math.ceil(rows / chunk) * columns, rows * columns
    starts = range(0, rows, chunk)  # a block meets itself and what follows it, which is made anew but for itself
    return sum(rows - start for start in starts), sum(min(chunk, rows - start) * (rows - start) for start in starts)


def default_chunk(model: Model, outputs: int) -> int:
    """Return how many examples' Jacobians fit into ``BLOCK_IN_BYTES``, at least 1."""
    return max(1, BLOCK_IN_BYTES // max(1, 8 * model.size * outputs))


def _called(model: Model, x: Tensor, parameters: Parameters) -> Tensor:
    return model.call(parameters, x)


def _jacobians(model: Model, x: Tensor) -> list[Tensor]:
    """Return per-example Jacobians, one tensor (example, out, entries) a parameter."""
    of_one = jacrev(lambda parameters, example: model.call(parameters, example[None])[0])
    found: dict[str, Tensor] = vmap(of_one, (None, 0))(dict(model.parameters), x)
    return [block.flatten(2) for block in found.values()]


def _product(left: list[Tensor], right: list[Tensor], *, trace: bool) -> Tensor:
    equation = "iop,jop->ij" if trace else "iop,jqp->iojq"
    return torch.stack(
        [torch.einsum(equation, a.to(torch.float64), b.to(torch.float64)) for a, b in zip(left, right, strict=True)]
    ).sum(0)
