"""A dense ensemble of weight matrices, updated in place by SGD."""

from __future__ import annotations

import torch
from torch import Tensor

from tpbench.weights.interface import GaussianWeights


class DenseGaussian(GaussianWeights):
    """Weight matrices that are held as they are.

    The object owns its tensors and changes them in ``step_`` and ``change_``. ``keep_initial`` keeps a copy of ``w_0``,
    which ``initial_matmul_of_change`` and ``update_matmul`` need; it doubles the memory.
    """

    def __init__(self, initial: Tensor, *, keep_initial: bool = False) -> None:
        if initial.dim() != 3:
            raise ValueError(f"weights have shape (seed, out, in), got {tuple(initial.shape)}")
        self.current = initial
        self._initial = initial.clone() if keep_initial else None
        self._velocity: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(seed, out, in)."""
        seeds, fan_out, fan_in = self.current.shape
        return seeds, fan_out, fan_in

    @property
    def initial(self) -> Tensor:
        """w_0, (seed, out, in); ``ValueError`` where it was not kept."""
        if self._initial is None:
            raise ValueError("the initial weights were not kept: build the ensemble with keep_initial=True")
        return self._initial

    def matmul(self, x: Tensor, *, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
        """Return ``scale · w x``: x (seed, batch, in) gives (seed, batch, out)."""
        return _product(x, self.current.mT, scale, out)

    def transposed_matmul(self, y: Tensor, *, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
        """Return ``scale · wᵀ y``: y (seed, batch, out) gives (seed, batch, in)."""
        return _product(y, self.current, scale, out)

    def initial_matmul_of_change(self, now: Tensor, start: Tensor, *, scale: float = 1.0) -> Tensor:
        """Return ``scale · w_0 (now - start)``; the difference is taken between vectors, where it is exact."""
        return torch.bmm(now - start, self.initial.mT).mul_(scale)

    def update_matmul(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        """Return ``scale · (w - w_0) x``; the difference is taken between weights, where it is exact."""
        return torch.bmm(x, (self.current - self.initial).mT).mul_(scale)

    def step_(self, y: Tensor, x: Tensor, *, scale: float, rate: float, momentum: float, decay: float) -> None:
        """One step of SGD; without momentum the gradient is never formed: the update is one fused product."""
        if momentum == 0.0:
            self.current.baddbmm_(y.mT, x, beta=1.0 - rate * decay, alpha=-rate * scale)
            return
        if self._velocity is None:
            self._velocity = torch.zeros_like(self.current)
        self._velocity.baddbmm_(y.mT, x, beta=momentum, alpha=scale)
        if decay != 0.0:
            self._velocity.add_(self.current, alpha=decay)
        self.current.add_(self._velocity, alpha=-rate)

    def change_(self, direction: Tensor, *, rate: float, decay: float) -> None:
        """One step along a direction (seed, out, in) of any rank: ``w <- (1 - rate · decay) w - rate · direction``."""
        if decay != 0.0:
            self.current.mul_(1.0 - rate * decay)
        self.current.add_(direction, alpha=-rate)


def _product(x: Tensor, matrix: Tensor, scale: float, out: Tensor | None) -> Tensor:
    if out is None:
        out = x.new_empty(x.shape[0], x.shape[1], matrix.shape[2])
    return torch.baddbmm(out, x, matrix, beta=0, alpha=scale, out=out)
