"""NNGP and NTK of the multilayer perceptron, by recursion over layers.

Conventions of the ``ntk`` parametrization: ``h^l = σ_w/sqrt(fan-in) w x + σ_b b``, read-out included, the first
layer divides by d_in; the NTK sums over all parameters (Jacot et al. 2018, arXiv:1806.07572; Lee et al. 2018,
arXiv:1711.00165).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tpbench.limits.gaussian import Array, activation


@dataclass(frozen=True)
class Kernels:
    """``nngp`` (N1, N2): covariance of the output at initialisation. ``terms`` (layer, N1, N2): the share of every
    layer's weights and biases in the tangent kernel, layers 1 … depth + 1."""

    nngp: Array
    terms: Array

    @property
    def ntk(self) -> Array:
        """The neural tangent kernel (N1, N2): the sum of all layers' terms."""
        return np.asarray(self.terms.sum(axis=0))

    def weighted(self, shares: tuple[float, ...]) -> Array:
        """Return Σ_l shares[l] · terms[l]; ``ValueError`` unless there is one share a layer."""
        if len(shares) != len(self.terms):
            raise ValueError(f"{len(self.terms)} layers need as many shares, got {len(shares)}")
        return np.asarray(np.tensordot(np.asarray(shares, dtype=np.float64), self.terms, axes=1))


def mlp_kernels(
    x1: Array,
    x2: Array | None = None,
    *,
    depth: int,
    activation_name: str,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> Kernels:
    """Return the kernels between x1 (N1, d) and x2 (N2, d; x1 itself by default).

    ``depth`` counts hidden layers. With Σ^1 = σ_w² x·x'/d + σ_b², Σ^{l+1} = σ_w² E phi phi + σ_b² and
    Σ'^l = σ_w² E phi' phi', the layer's term is Σ^l · Π_{m >= l} Σ'^m: weights give σ_w² E phi phi, biases σ_b².
    """
    phi = activation(activation_name)
    other = x1 if x2 is None else x2
    if x1.ndim != 2 or other.ndim != 2 or x1.shape[1] != other.shape[1]:
        raise ValueError(f"inputs have shape (examples, features) alike, got {x1.shape} and {other.shape}")
    variance, shift = sigma_w**2, sigma_b**2
    features = x1.shape[1]
    cross = variance * (x1 @ other.T) / features + shift
    left = variance * np.einsum("id,id->i", x1, x1) / features + shift
    right = variance * np.einsum("id,id->i", other, other) / features + shift
    if x2 is None:
        np.fill_diagonal(cross, left)
    covariances, slopes = [cross], []
    for _ in range(depth):
        slopes.append(variance * phi.dual_derivative(left[:, None], cross, right[None, :]))
        cross = variance * phi.dual(left[:, None], cross, right[None, :]) + shift
        left, right = (variance * phi.dual(k, k, k) + shift for k in (left, right))
        covariances.append(cross)
    signal, terms = np.ones_like(cross), []
    for layer in reversed(range(depth + 1)):
        terms.append(covariances[layer] * signal)
        if layer > 0:
            signal = signal * slopes[layer - 1]
    return Kernels(nngp=cross, terms=np.stack(terms[::-1]))
