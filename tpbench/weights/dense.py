"""A dense ensemble of weight matrices, updated in place by SGD."""

from __future__ import annotations

import torch
from torch import Tensor


class DenseWeights:
    """One matrix w a seed, shape (seed, out, in), with the SGD updates it has received.

    The object owns its tensors and changes them in ``step_``. ``keep_initial`` keeps a copy of ``w_0``, which
    ``initial_matmul`` and ``update_matmul`` need; it doubles the memory.
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

    def matmul(self, x: Tensor, *, scale: float, out: Tensor) -> Tensor:
        """Write ``scale · w x`` into ``out``: x (seed, batch, in) gives (seed, batch, out)."""
        return torch.baddbmm(out, x, self.current.mT, beta=0, alpha=scale, out=out)

    def transposed_matmul(self, g: Tensor, *, scale: float, out: Tensor) -> Tensor:
        """Write ``scale · wᵀ g`` into ``out``: g (seed, batch, out) gives (seed, batch, in)."""
        return torch.baddbmm(out, g, self.current, beta=0, alpha=scale, out=out)

    def initial_matmul(self, x: Tensor, *, scale: float) -> Tensor:
        """Return ``scale · w_0 x``, shape (seed, batch, out)."""
        return torch.bmm(x, self._kept().mT).mul_(scale)

    def update_matmul(self, x: Tensor, *, scale: float) -> Tensor:
        """Return ``scale · (w - w_0) x``; the difference is taken between weights, where it is exact."""
        return torch.bmm(x, (self.current - self._kept()).mT).mul_(scale)

    def step_(self, g: Tensor, x: Tensor, *, scale: float, rate: float, momentum: float, decay: float) -> None:
        """One step of ``torch.optim.SGD`` with the gradient ``scale · Σ_b g_b x_bᵀ``.

        ``v <- momentum v + gradient + decay w``, ``w <- w - rate v``; without momentum the gradient is never
        formed: the update is one fused product.
        """
        if momentum == 0.0:
            self.current.baddbmm_(g.mT, x, beta=1.0 - rate * decay, alpha=-rate * scale)
            return
        if self._velocity is None:
            self._velocity = torch.zeros_like(self.current)
        self._velocity.baddbmm_(g.mT, x, beta=momentum, alpha=scale)
        if decay != 0.0:
            self._velocity.add_(self.current, alpha=decay)
        self.current.add_(self._velocity, alpha=-rate)

    def _kept(self) -> Tensor:
        if self._initial is None:
            raise ValueError("the initial weights were not kept: build the ensemble with keep_initial=True")
        return self._initial
