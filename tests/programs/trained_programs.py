"""Programs that train a network of two hidden layers, written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tpbench.programs import Program, Scalar, Vector, apply, combination, gaussian, inner, matrix, program

Coordinatewise = Callable[[Tensor], Tensor]
INPUTS = ((1.0, -0.5), (0.3, 0.8))
TARGETS = (-1.0, 1.0)


def tanh_slope(h: Tensor) -> Tensor:
    return 1 - torch.tanh(h) ** 2


def relu_slope(h: Tensor) -> Tensor:
    return (h > 0).to(h.dtype)


def training(activation: Coordinatewise, slope: Coordinatewise, *, steps: int, rate: float = 1.0) -> Program:
    """Full-batch gradient descent of ``f(ξ) = vᵀ φ(W φ(U ξ)) / n`` on squares, muP; outputs ``f{step}_{input}``."""
    count, width = len(INPUTS), len(INPUTS[0])
    u: list[Vector] = [gaussian(f"u{k}") for k in range(width)]
    v, w = gaussian("v"), matrix("W")
    updates: list[tuple[Scalar, Vector, Vector]] = []
    outputs: dict[str, Scalar] = {}
    for step in range(steps + 1):
        h1 = [combination(list(zip(row, u, strict=True))) for row in INPUTS]
        x1 = [apply(activation, h) for h in h1]
        h2 = [combination([(1, w @ x), *((c * inner(y, x), d) for c, d, y in updates)]) for x in x1]
        x2 = [apply(activation, h) for h in h2]
        f = [inner(v, x) for x in x2]
        outputs |= {f"f{step}_{a}": value for a, value in enumerate(f)}
        errors = [(value - target) * (-rate / count) for value, target in zip(f, TARGETS, strict=True)]
        d2 = [v * apply(slope, h) for h in h2]
        back = [combination([(1, w.T @ d), *((c * inner(e, d), y) for c, e, y in updates)]) for d in d2]
        d1 = [b * apply(slope, h) for b, h in zip(back, h1, strict=True)]
        updates += zip(errors, d2, x1, strict=True)
        u = [
            combination([(1, u[k]), *((c * row[k], d) for c, row, d in zip(errors, INPUTS, d1, strict=True))])
            for k in range(width)
        ]
        v = combination([(1, v), *zip(errors, x2, strict=True)])
    return program(**outputs)
