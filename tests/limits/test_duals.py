"""Dual activations against independent integration, sampling, and their laws."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate

from tpbench.limits.gaussian import ACTIVATIONS, LEAK, Array, activation, quadrature
from tpbench.networks.activation import ACTIVATIONS as NETWORKS

Agree = Callable[..., None]
Function = Callable[[Array], Array]
KINKED = ("relu", "leaky-relu", "abs")
SMOOTH = [name for name in ACTIVATIONS if name not in KINKED]
POINTS = [(1.0, 0.3, 1.0), (0.8, -0.5, 0.6), (1.0, 0.0, 0.2), (0.5, 0.9 * 0.5, 0.5)]
LARGE = [(2.0, 1.0, 3.0), (3.0, -1.0, 2.0), (2.0, 2.0, 2.0)]


def plane_integral(phi: Function, psi: Function, uu: float, uv: float, vv: float) -> float:
    """E phi(u) psi(v) by the trapezoidal rule on a fine grid of the plane.

    For functions analytic in a strip of half width d around the real axis its error is e^(-2 pi d/h); with the step
    0.04 that is nothing at all for the poles of tanh at ±i pi/2.
    """
    z = np.arange(-240, 241) * 0.04
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    slope = uv / np.sqrt(uu)
    rest = np.sqrt(max(vv - slope**2, 0.0))
    inner = psi(slope * z[:, None] + rest * z[None, :]) @ weight
    return float((weight * phi(np.sqrt(uu) * z)) @ inner)


def polar_integral(phi: Function, psi: Function, uu: float, uv: float, vv: float, degree: int) -> float:
    """E phi(u) psi(v) for functions homogeneous of a degree 0 or 1: an adaptive integral over the angle.

    In polar coordinates the radius integrates to E r^(2 degree), which is 1 and 2; the kinks are given to the rule.
    """
    rho = uv / np.sqrt(uu * vv)
    root = np.sqrt(max(1 - rho**2, 0.0))
    lean = np.arctan2(root, rho)  # v = sqrt(vv) r cos(theta - lean)

    def along(theta: float) -> float:
        u, v = np.sqrt(uu) * np.cos(theta), np.sqrt(vv) * np.cos(theta - lean)
        return float(phi(np.asarray(u)) * psi(np.asarray(v)))

    cuts = sorted({np.pi / 2, 3 * np.pi / 2, *((lean + k * np.pi / 2) % (2 * np.pi) for k in (1, 3))})
    edges = [0.0, *cuts, 2 * np.pi]
    parts = [integrate.quad(along, a, b, epsabs=1e-13, epsrel=1e-13)[0] for a, b in itertools.pairwise(edges)]
    return float((2 if degree else 1) * sum(parts) / (2 * np.pi))


def arrays(point: tuple[float, float, float]) -> list[Array]:
    return [np.asarray(value) for value in point]


def test_limits_and_networks_know_the_same_activations() -> None:
    assert set(ACTIVATIONS) == set(NETWORKS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_phi_and_its_derivative_are_those_of_the_networks(agree: Agree, name: str) -> None:
    u = np.linspace(-6, 6, 400)
    h = torch.tensor(u, device="cpu").view(1, 20, 20)
    x, g = torch.empty_like(h), torch.ones_like(h)
    NETWORKS[name].apply(h, x)
    NETWORKS[name].pullback_(g, h, x)
    agree(activation(name).phi(u), x.flatten(), 1e-14)
    agree(activation(name).derivative(u), g.flatten(), 1e-13)


@pytest.mark.parametrize("point", [*POINTS, *LARGE])
@pytest.mark.parametrize("name", SMOOTH)
def test_duals_of_smooth_activations(agree: Agree, name: str, point: tuple[float, float, float]) -> None:
    phi, k = activation(name), arrays(point)
    agree(phi.dual(*k), plane_integral(phi.phi, phi.phi, *point), 1e-10, floor=0.1)
    agree(phi.dual_derivative(*k), plane_integral(phi.derivative, phi.derivative, *point), 1e-10, floor=0.1)


@pytest.mark.parametrize("point", [*POINTS, *LARGE, (1.0, -1.0, 1.0), (4.0, 0.2, 0.01)])
@pytest.mark.parametrize("name", KINKED)
def test_duals_of_activations_with_a_kink(agree: Agree, name: str, point: tuple[float, float, float]) -> None:
    phi, k = activation(name), arrays(point)
    agree(phi.dual(*k), polar_integral(phi.phi, phi.phi, *point, degree=1), 1e-10, floor=0.1)
    agree(phi.dual_derivative(*k), polar_integral(phi.derivative, phi.derivative, *point, degree=0), 1e-10, floor=0.1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_duals_are_the_means_of_samples(name: str) -> None:
    """Two million pairs, four standard errors."""
    z = np.random.default_rng(11).standard_normal((2, 2_000_000))
    uu, uv, vv = 1.3, -0.7, 0.9
    u = np.sqrt(uu) * z[0]
    v = uv / np.sqrt(uu) * z[0] + np.sqrt(vv - uv**2 / uu) * z[1]
    phi = activation(name)
    for function, dual in ((phi.phi, phi.dual), (phi.derivative, phi.dual_derivative)):
        product = function(u) * function(v)
        error = abs(product.mean() - dual(*arrays((uu, uv, vv))))
        assert error <= 4 * product.std() / np.sqrt(product.size) + 1e-15


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_equal_arguments_give_the_mean_square(agree: Agree, name: str) -> None:
    phi = activation(name)
    z = np.arange(-24_001, 24_002, 2) * 0.0005  # both sides of the kink, which halves no cell
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    for variance in (0.3, 1.0):
        k = np.asarray(variance)
        square = float(phi.phi(np.sqrt(variance) * z) ** 2 @ weight)
        agree(phi.dual(k, k, k), square, 1e-6 if name in KINKED else 1e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_dual_derivative_is_the_derivative_of_the_dual(agree: Agree, name: str) -> None:
    """Price's theorem: d E phi(u) phi(v) / d E uv = E phi'(u) phi'(v)."""
    phi, step = activation(name), 1e-4
    for uu, uv, vv in ((1.0, 0.3, 1.0), (0.8, -0.5, 0.6), (0.5, 0.2, 0.9)):
        around = [phi.dual(*arrays((uu, uv + k * step, vv))) for k in (-2, -1, 1, 2)]
        slope = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step)
        agree(slope, phi.dual_derivative(*arrays((uu, uv, vv))), 1e-9, floor=0.1)


def covariance(points: int = 12) -> Array:
    features = np.random.default_rng(3).standard_normal((points, 5)) / np.sqrt(5)
    return features @ features.T


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_duals_are_symmetric_broadcast_and_positive(agree: Agree, name: str) -> None:
    k = covariance()
    diagonal = np.diag(k)
    for dual in (activation(name).dual, activation(name).dual_derivative):
        gram = dual(diagonal[:, None], k, diagonal[None, :])
        agree(gram, gram.T, 1e-11)
        one_by_one = [dual(diagonal[0:1], k[0, j : j + 1], diagonal[j : j + 1])[0] for j in range(len(k))]
        agree(gram[0], np.array(one_by_one), 1e-14)
        assert np.linalg.eigvalsh((gram + gram.T) / 2).min() > -1e-11 * abs(gram).max()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_vector_of_length_zero_is_a_constant(agree: Agree, name: str) -> None:
    phi, nought, one = activation(name), np.zeros(()), np.ones(())
    at_zero = float(phi.phi(np.zeros(1))[0])
    agree(phi.dual(nought, nought, nought), at_zero**2, 1e-14, floor=1.0)
    mean = plane_integral(phi.phi, np.ones_like, 1.0, 0.0, 1.0) if at_zero else 0.0
    agree(phi.dual(nought, nought, one), at_zero * mean, 1e-10, floor=1.0)
    agree(phi.dual(one, nought, nought), at_zero * mean, 1e-10, floor=1.0)


@pytest.mark.parametrize("degree", range(1, 5))
def test_quadrature_is_exact_for_monomials(agree: Agree, degree: int) -> None:
    """E u^k v^k for correlation rho, from Wick's theorem: Σ_j j! binom(k, j)^2 ((k-j-1)!!)^2 rho^j, k - j even."""
    rho = 0.37
    moments = {0: 1, 2: 1, 4: 3, 6: 15, 8: 105}
    expected = 0.0
    for j in range(degree, -1, -2):
        choose = np.prod(np.arange(degree - j + 1, degree + 1)) / np.prod(np.arange(1, j + 1))
        expected += np.prod(np.arange(1, j + 1)) * choose**2 * moments[degree - j] ** 2 * rho**j
    found = quadrature(lambda u: u**degree)(*arrays((1.0, rho, 1.0)))
    agree(found, expected, 1e-12)


def test_leaky_relu_lies_between_relu_and_the_identity(agree: Agree) -> None:
    """phi = (1 - leak) relu + leak · identity, and E relu(u) v = E uv / 2."""
    k = arrays((1.2, 0.4, 0.7))
    relu, leaky = activation("relu").dual(*k), activation("leaky-relu").dual(*k)
    agree(leaky, (1 - LEAK) ** 2 * relu + ((1 - LEAK) * LEAK + LEAK**2) * 0.4, 1e-14)


def test_an_unknown_activation_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no Gaussian dual of activation 'swish' is known \(known: identity, relu"):
        activation("swish")
