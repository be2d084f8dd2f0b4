"""Spectral norms of an ensemble's weights and of their updates: the largest factor by which they stretch a vector.

Feature learning asks for ``‖W_0‖ ~ sqrt(fan-out / fan-in)`` and the same of ``‖ΔW‖`` (Yang, Simon & Bernstein 2023,
arXiv:2310.17813). All norms are of the effective ``W = multiplier · w``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from tpbench.networks.measure import Measured
from tpbench.networks.mlp import Ensemble, Layer
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.lazy import LazyGaussian

EXACT = 512
"""Matrices whose shorter side is at most this have their norm from the eigenvalues of a Gram matrix."""
TOLERANCE = 1e-4
"""Residual, relative to the eigenvalue ‖W‖², at which Lanczos stops. An eigenvalue lies within the residual, so the
norm is within TOLERANCE / 2 of a singular value: of the largest, but for a start without any of its vector."""


def spectral_norms(ensemble: Ensemble) -> Iterator[Measured]:
    """Yield the spectral norm of W_0 (``initial-norm``) and of ΔW = W - W_0 (``update-norm``) of every layer.

    Needs an ensemble of dense weights that keeps its initial ones; of lazy weights there is ``update_norms`` alone.
    """
    yield from initial_norms(ensemble)
    yield from update_norms(ensemble)


def initial_norms(ensemble: Ensemble) -> Iterator[Measured]:
    """Yield ``initial-norm`` of every layer; ``ValueError`` for lazy weights, whose W_0 is not known."""
    for number, layer in enumerate(ensemble.layers, start=1):
        if not isinstance(layer.weights, DenseGaussian):
            raise ValueError(
                f"the spectral norm of W_0 was asked of layer {number}, which is lazy: its entries were never drawn. "
                "Use dense weights, or update_norms for the norm of the update alone"
            )
        yield Measured("initial-norm", number, abs(layer.multiplier) * _norms(layer.weights.initial))


def update_norms(ensemble: Ensemble) -> Iterator[Measured]:
    """Yield ``update-norm`` of every layer, dense or lazy.

    Raises ``ValueError`` for dense weights that do not keep the initial ones, and for lazy ones after weight decay.
    """
    for number, layer in enumerate(ensemble.layers, start=1):
        yield Measured("update-norm", number, abs(layer.multiplier) * _update_norm(layer))


def _update_norm(layer: Layer) -> Tensor:
    """Return ‖w - w_0‖, (seed,): of a lazy weight that of its small core, since its bases are orthonormal."""
    weights = layer.weights
    if isinstance(weights, LazyGaussian):
        return _norms(core.double() for core in weights.update_core())
    assert isinstance(weights, DenseGaussian)
    return _norms(now.double() - start.double() for now, start in zip(weights.current, weights.initial, strict=True))


def _norms(matrices: Iterable[Tensor]) -> Tensor:
    """Return the largest singular values of a matrix a seed, (seed,): one after the other, to spare memory."""
    return torch.tensor([largest_singular_value(w) for w in matrices], dtype=torch.float64, device="cpu")


def largest_singular_value(matrix: Tensor) -> float:
    """Return ‖W‖ of one matrix (out, in), in float64; NaN where an entry is not finite."""
    w = matrix.double()
    largest = float(w.abs().max()) if w.numel() else 0.0
    if not 0 < largest < math.inf:
        return 0.0 if largest == 0 else math.nan
    w = w / largest  # so that squares neither overflow nor vanish
    w = w if w.shape[0] >= w.shape[1] else w.mT
    square = float(torch.linalg.eigvalsh(w.mT @ w)[-1]) if w.shape[1] <= EXACT else _lanczos(w)
    return largest * math.sqrt(square)


def _lanczos(w: Tensor) -> float:
    """Return the largest eigenvalue of WᵀW by Lanczos' method with full reorthogonalisation (Golub & Van Loan)."""
    size = w.shape[1]
    source = torch.Generator(device="cpu").manual_seed(0)
    q = torch.randn(size, generator=source, dtype=torch.float64, device="cpu").to(w.device)
    basis = (q / torch.linalg.vector_norm(q))[None]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        image = w.mT @ (w @ basis[-1])
        diagonal.append(float(image @ basis[-1]))
        for _ in range(2):
            image = image - basis.mT @ (basis @ image)
        rest = float(torch.linalg.vector_norm(image))
        value, last = _top(diagonal, beside)
        if rest * last <= TOLERANCE * value or len(diagonal) == size:
            return value
        beside.append(rest)
        basis = torch.cat([basis, (image / rest)[None]])


def _top(diagonal: list[float], beside: list[float]) -> tuple[float, float]:
    """Return the largest eigenvalue of a tridiagonal matrix, and the last entry of its unit vector by size."""
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return float(values[-1]), abs(float(vectors[-1, -1]))
