"""What every ensemble of weight matrices can do, dense or lazy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class GaussianWeights(ABC):
    """One matrix w a seed, shape (seed, out, in): Gaussian at the start, changed in place by SGD.

    ``w`` is the present matrix and ``w_0`` the initial one. Vectors are rows: x (seed, batch, in), y (seed, batch,
    out). ``scale`` multiplies a product, ``out`` receives it where one is given. ``w @ x`` and ``w.T @ y`` take vectors
    as columns instead, (seed, in, batch) and (seed, out, batch).
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(seed, out, in)."""

    @abstractmethod
    def matmul(self, x: Tensor, *, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
        """Return ``scale · w x``: x (seed, batch, in) gives (seed, batch, out)."""

    @abstractmethod
    def transposed_matmul(self, y: Tensor, *, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
        """Return ``scale · wᵀ y``: y (seed, batch, out) gives (seed, batch, in)."""

    @abstractmethod
    def initial_matmul_of_change(self, now: Tensor, start: Tensor, *, scale: float = 1.0) -> Tensor:
        """Return ``scale · w_0 (now - start)``, shape (seed, batch, out)."""

    @abstractmethod
    def update_matmul(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        """Return ``scale · (w - w_0) x``, shape (seed, batch, out)."""

    @abstractmethod
    def step_(self, y: Tensor, x: Tensor, *, scale: float, rate: float, momentum: float, decay: float) -> None:
        """One step of ``torch.optim.SGD`` with the gradient ``scale · Σ_b y_b x_bᵀ``.

        ``v <- momentum v + gradient + decay w``, ``w <- w - rate v``.
        """

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.matmul(x.mT).mT

    @property
    def T(self) -> Transposed:  # noqa: N802 - the name of a transpose everywhere
        """The transposed matrices, for ``w.T @ y``."""
        return Transposed(self)


@dataclass(frozen=True)
class Transposed:
    """``weights`` transposed: ``Transposed(w) @ y`` is ``wᵀ y`` for columns y (seed, out, batch)."""

    weights: GaussianWeights

    def __matmul__(self, y: Tensor) -> Tensor:
        return self.weights.transposed_matmul(y.mT).mT
