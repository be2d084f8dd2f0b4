"""Layers as functions State -> State. The parametrization is NTP: ``lin(x) = σ_w/sqrt(fan-in) w x + σ_b b``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tpbench.limits.gaussian import Activation
from tpbench.limits.kernels.state import State, variances

Mixing = Callable[[Tensor], Tensor]
"""What a layer does to kernels over positions: (..., P1, P2) -> (..., P1', P2'), linear, the same for all examples."""


def every_position(kernel: Tensor) -> Tensor:
    """Mix nothing: the same weights act on every position alone."""
    return kernel


def mean_position(kernel: Tensor) -> Tensor:
    """Take the mean over positions first (global average pooling): the kernel's mean over all pairs of positions."""
    return kernel.mean(dim=(-2, -1), keepdim=True)


def all_positions(kernel: Tensor) -> Tensor:
    """Read every position with weights of its own (flatten): the mean over pairs of a position with the same one.

    Weights of two positions are independent, so that a position of x meets only the same position of x'.
    """
    return kernel.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]


def last_position(kernel: Tensor) -> Tensor:
    """Keep the last position only."""
    return kernel[..., -1:, -1:]


def affine(state: State, sigma_w: float, sigma_b: float, mixing: Mixing = every_position) -> State:
    """Return ``lin`` of a state, its weights shared by all positions and laid over them as ``mixing`` says.

    With ``z(x, t) = σ_w/sqrt(F n) Σ_o w_o y(x, t + o) + σ_b b`` for F offsets o, say: w and b are independent N(0, 1),
    thus E z z' = σ_w² mix(E y y') + σ_b². A neuron's derivatives by its own w and b are σ_w/sqrt(F n) y and σ_b, whose
    products sum to the same number, by the law of large numbers over the n entries of y. Its derivative by a parameter
    below is σ_w/sqrt(F n) Σ_o w_o ∂y(x, t + o), and since w is independent of ∂y and has variance 1 the products sum
    to σ_w² mix(Θ_y). Hence ``Θ_z = K_z + σ_w² mix(Θ_y)``.
    """

    def covariance(kernel: Tensor) -> Tensor:
        return sigma_w**2 * mixing(kernel) + sigma_b**2

    nngp = covariance(state.nngp)
    ntk = nngp + sigma_w**2 * mixing(state.ntk)
    return State(nngp=nngp, ntk=ntk, left=covariance(state.left), right=covariance(state.right))


def nonlinear(state: State, phi: Activation) -> State:
    """Return phi of a state of pre-activations, neuron by neuron.

    They are Gaussian with mean 0 and covariance K, thus K' = E phi(u) phi(v). The derivative of phi(z) is phi'(z) ∂z,
    and ∂z ∂z' is the constant Θ in the limit: Θ' = Θ E phi'(u) phi'(v).
    """
    rows, columns = variances(state.left), variances(state.right)
    nngp, slopes = phi.duals(rows[:, None, :, None], state.nngp, columns[None, :, None, :])
    return State(nngp=nngp, ntk=state.ntk * slopes, left=_own(state.left, phi), right=_own(state.right, phi))


def _own(covariances: Tensor, phi: Activation) -> Tensor:
    spread = variances(covariances)
    return phi.dual(spread[:, :, None], covariances, spread[:, None, :])


def add(skip: State, branch: State, scale: float = 1.0) -> State:
    """Return ``skip + scale · branch``, where the branch ends in a linear layer used nowhere else.

    Given all below, that layer's output has mean 0, thus no covariance with the skip: K' = K + scale² K_branch. The
    derivative of the sum by a parameter below is ∂skip + scale · W D ∂skip with D diagonal; the cross terms sum to
    entries of W D, which have mean 0 and vanish like n^(-1/2): Θ' = Θ + scale² Θ_branch.
    """
    share = scale**2
    return State(
        nngp=skip.nngp + share * branch.nngp,
        ntk=skip.ntk + share * branch.ntk,
        left=skip.left + share * branch.left,
        right=skip.right + share * branch.right,
    )
