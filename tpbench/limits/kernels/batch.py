"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) at infinite width, for a batch of any size.

A neuron's pre-activations h of the N examples are one draw of N(0, K), and BN works on that draw:
``ĥ = (h - mean)/s`` with ``s² = |h - mean|²/N``. Other than at a layer norm, N does not grow, thus nothing averages
out and the limit has expectations over vectors of N entries (Yang et al. 2019, arXiv:1902.08129).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tpbench.architecture import BatchNormalised
from tpbench.limits.gaussian import Activation, activation
from tpbench.limits.kernels.layers import affine
from tpbench.limits.kernels.noun import Kernels
from tpbench.limits.kernels.state import inputs
from tpbench.weights.sobol import SobolAxis

REPLICATES = 16
POINTS = 1 << 16
NEGLIGIBLE = 1e-10  # of the largest eigenvalue: rounding leaves about 1e-15 of what should be 0


def batch_kernels(
    of: BatchNormalised, x1: Tensor, x2: Tensor | None = None, *, replicates: int = REPLICATES, points: int = POINTS
) -> Kernels:
    """Return the kernels of x1 (N, features) as one batch, with the standard errors of the integration.

    Every replicate runs the whole recursion with ``points`` scrambled Sobol' points of its own a layer; the kernels
    are their mean and the standard errors come from their spread, so that a lower layer's error is carried along.

    Raises ``ValueError`` for an ``x2``, for a batch whose pre-activations are all alike, and where the tangent kernel
    is infinite: its 1/s² has no mean if the centred h has but 1 or 2 free directions (three examples, two features).
    """
    if x2 is not None:
        raise ValueError(
            "batch normalisation couples all examples of a batch, so that there is no kernel between two sets: "
            "join them to one batch, x1 = cat(x1, x2), and read the block"
        )
    phi = activation(of.activation)
    first = affine(inputs(x1[:, None, :]), of.sigma_w, of.sigma_b)
    runs = torch.empty((replicates, 2, len(x1), len(x1)), dtype=torch.float64, device=x1.device)
    for seed, run in enumerate(runs):
        nngp, ntk = first.nngp[:, :, 0, 0], first.ntk[:, :, 0, 0]
        for layer in range(of.depth):
            normals = _normals(seed, layer, len(x1) - 1, points, x1.device)
            same, moved = normalised(nngp, ntk, phi, normals, statistics=of.statistics)
            nngp = of.sigma_w**2 * _symmetric(same) + of.sigma_b**2
            ntk = nngp + of.sigma_w**2 * _symmetric(moved)
        run[0], run[1] = nngp, ntk
    mean, error = runs.mean(dim=0), runs.std(dim=0) / replicates**0.5
    return Kernels(nngp=mean[0], ntk=mean[1], error=Kernels(nngp=error[0], ntk=error[1]))


def _normals(seed: int, layer: int, dimensions: int, points: int, device: torch.device) -> Tensor:
    """Return normal vectors, shape (dimension, point), by scrambled Sobol' points."""
    drawn = torch.empty((1, dimensions, points), dtype=torch.float64, device=device)
    SobolAxis([seed], f"batch norm {layer}").normals_(0, drawn)
    return drawn[0]


def normalised(
    nngp: Tensor, ntk: Tensor, phi: Activation, normals: Tensor, *, statistics: str = "differentiated"
) -> tuple[Tensor, Tensor]:
    """Return ``E φ(ĥ) φ(ĥ)ᵀ`` and ``E (D J) Θ (D J)ᵀ`` for h ~ N(0, K), with K and Θ of shape (N, N).

    D is diag φ'(ĥ) and ``J = ∂ĥ/∂h = (C - ĥĥᵀ/N)/s`` with C = 1 - 11ᵀ/N: the derivative of a neuron's φ(ĥ_i) by a
    parameter is Σ_j (D J)_ij ∂h_j, as the examples mix within the neuron, and ∂h_j ∂h_k is the constant Θ_jk.
    With ``statistics`` "constant", J is 1/s.

    The centred h is L z for ``CKC = L Lᵀ`` and r standard normals z. Since ĥ depends on the direction u = z/|z| only
    and |z|² is independent of it, 1/s² = N/(|z|² |Lu|²) is integrated over the length exactly, E 1/|z|² = 1/(r - 2),
    which leaves a bounded function on the sphere. ``normals`` (N - 1, point) have the directions, and the opposite
    ones serve as well.
    """
    root = _root(nngp)
    examples, rank = root.shape
    steps = root @ (normals[:rank] / normals[:rank].norm(dim=0))
    square = steps.square().sum(dim=0)
    hidden = steps * (examples / square).sqrt()
    sides = _sides(phi, hidden)
    share = 1 / (len(sides) * normals.shape[1])
    same = share * torch.stack([active @ active.mT for active in map(phi.phi, sides)]).sum(dim=0)
    pushed, moves = MOVES[statistics]
    theta = pushed(ntk)
    if rank == 1:
        return same, _still(theta, root, statistics)
    weight = examples * share / ((rank - 2) * square)
    moved = [moves(theta, hidden, slope, weight) for slope in map(phi.derivative, sides)]
    return same, torch.stack(moved).sum(dim=0)


def _sides(phi: Activation, hidden: Tensor) -> tuple[Tensor, ...]:
    """Return ĥ and -ĥ, as likely as ĥ, unless phi is even or odd: both would then count the same."""
    twin = torch.equal(phi.phi(-hidden).abs(), phi.phi(hidden).abs())
    return (hidden,) if twin else (hidden, -hidden)


def _moved(theta: Tensor, hidden: Tensor, slope: Tensor, weight: Tensor) -> Tensor:
    """Return ``Σ_p weight_p (D P) Θ (D P)ᵀ`` over points, with P = 1 - ĥĥᵀ/N and Θ centred, by products of (N, point).

    ``P Θ P = Θ - ĥ bᵀ - b ĥᵀ`` with b = a - ĥ (ĥ·a)/2N and a = Θ ĥ/N; ĥ of the other sign has the same.
    """
    pulled = theta @ hidden / len(hidden)
    pulled = pulled - hidden * ((hidden * pulled).sum(dim=0) / (2 * len(hidden)))
    sloped = slope * weight
    crossed = (sloped * hidden) @ (slope * pulled).mT
    return theta * (sloped @ slope.mT) - crossed - crossed.mT


def _moved_past(theta: Tensor, hidden: Tensor, slope: Tensor, weight: Tensor) -> Tensor:
    """Return ``Σ_p weight_p D Θ D`` over points: Θ ∘ E φ'φ'ᵀ/s², as if mean and s were numbers."""
    return theta * ((slope * weight) @ slope.mT)


def _still(theta: Tensor, root: Tensor, statistics: str) -> Tensor:
    """Return 0, the second kernel where h moves along one line: ĥ is ±1 times it and never changes.

    Raises ``ValueError`` if the tangent kernel moves h off that line, or if the statistics are constants, past which
    it moves ĥ along it as well: then E 1/s² is infinite.
    """
    line = root / root.norm()
    off = theta - line @ (line.mT @ theta @ line) @ line.mT
    if statistics == "constant" or float(off.abs().max()) > NEGLIGIBLE * float(theta.abs().max()):
        raise ValueError(_INFINITE.format(rank=1))
    return torch.zeros_like(theta)


def _root(covariance: Tensor) -> Tensor:
    """Return L (N, r) with L Lᵀ = C K C and r its rank, the columns from the longest to the shortest."""
    values, vectors = torch.linalg.eigh(_centred(covariance))
    if float(values[-1]) <= NEGLIGIBLE * float(covariance.diagonal().max()):
        raise ValueError(
            "batch normalisation divides by the spread of a batch, and all of its examples are the same: "
            "give at least two different ones"
        )
    kept = values > NEGLIGIBLE * values[-1]
    if int(kept.sum()) == 2:
        raise ValueError(_INFINITE.format(rank=2))
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root.flip(-1)


def _centred(kernel: Tensor) -> Tensor:
    """Return C K C."""
    half = kernel - kernel.mean(dim=0)
    return _symmetric(half - half.mean(dim=1, keepdim=True))


def _symmetric(kernel: Tensor) -> Tensor:
    """Return a kernel without what rounding left of asymmetry."""
    return (kernel + kernel.mT) / 2


MOVES: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]]] = {
    "differentiated": (_centred, _moved),
    "constant": (_symmetric, _moved_past),
}
"""``statistics`` of the architecture -> what a layer makes of Θ before the draw, and with it."""
_INFINITE = (
    "the tangent kernel of batch normalisation is infinite here: 1/s² has no mean where the centred pre-activations "
    "of a batch have only {rank} free direction(s). Give at least 4 different examples with at least 3 features"
)
