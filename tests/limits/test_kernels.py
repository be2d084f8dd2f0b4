"""NNGP and NTK: closed forms, the recursion written another way, and wide ensembles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tpbench.limits.gaussian import ACTIVATIONS, Array, activation
from tpbench.limits.kernels import Kernels, mlp_kernels
from tpbench.networks.measure import tangent_kernel
from tpbench.networks.mlp import Mlp, forward, initialise
from tpbench.parametrization import named

Agree = Callable[..., None]


def points(count: int = 6, features: int = 5, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, features))


def test_relu_with_one_hidden_layer_is_the_arc_cosine_kernel(agree: Agree) -> None:
    """Cho & Saul 2009: E relu relu = |x||x'| (sin θ + (π - θ) cos θ)/2π and E relu' relu' = (π - θ)/2π."""
    x = points()
    sigma_w, sigma_b = 1.3, 0.4
    first = sigma_w**2 * x @ x.T / 5 + sigma_b**2
    size = np.sqrt(np.diag(first))
    theta = np.arccos(np.clip(first / np.outer(size, size), -1, 1))
    nngp = sigma_w**2 * np.outer(size, size) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    found = mlp_kernels(x, depth=1, activation_name="relu", sigma_w=sigma_w, sigma_b=sigma_b)
    agree(found.nngp, nngp + sigma_b**2, 1e-9)
    agree(found.terms[1], nngp + sigma_b**2, 1e-9)
    agree(found.terms[0], first * sigma_w**2 * (np.pi - theta) / (2 * np.pi), 1e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_terms_sum_to_the_recursion_of_jacot(agree: Agree, name: str, depth: int) -> None:
    """Θ^1 = Σ^1, Θ^{l+1} = Σ^{l+1} + Θ^l ⊙ Σ'^l, computed pair by pair."""
    x, phi, variance, shift = points(4), activation(name), 0.8**2, 0.3**2
    found = mlp_kernels(x, depth=depth, activation_name=name, sigma_w=0.8, sigma_b=0.3)
    assert found.terms.shape == (depth + 1, 4, 4)
    for i in range(4):
        for j in range(4):
            k = variance * np.array([x[i] @ x[i], x[i] @ x[j], x[j] @ x[j]]) / 5 + shift
            tangent = k[1]
            for _ in range(depth):
                slope = variance * phi.dual_derivative(*k)
                pairs = ((k[0],) * 3, tuple(k), (k[2],) * 3)
                k = np.array([variance * phi.dual(*map(np.asarray, pair)) + shift for pair in pairs])
                tangent = k[1] + tangent * slope
            agree(found.nngp[i, j], k[1], 1e-11, floor=0.1)
            agree(found.ntk[i, j], tangent, 1e-11, floor=0.1)
    agree(found.terms[-1], found.nngp, 0.0)


@pytest.mark.parametrize("name", ["relu", "abs", "leaky-relu", "identity"])
def test_kernels_of_homogeneous_activations_scale_with_the_inputs(agree: Agree, name: str) -> None:
    x = points()
    one, three = (mlp_kernels(c * x, depth=3, activation_name=name, sigma_w=1.2) for c in (1.0, 3.0))
    agree(three.nngp, 9 * one.nngp, 1e-13)
    agree(three.terms, 9 * one.terms, 1e-13)


def test_the_kernel_of_one_point_under_he_initialisation(agree: Agree) -> None:
    """relu with σ_w² = 2 keeps the norm: every layer's term is 2 |x|²/d."""
    x = points(1)
    found = mlp_kernels(x, depth=4, activation_name="relu", sigma_w=2**0.5)
    agree(found.terms, np.full((5, 1, 1), 2 * float(x[0] @ x[0]) / 5), 1e-13)


def test_the_linear_network(agree: Agree) -> None:
    x = points()
    found = mlp_kernels(x, depth=3, activation_name="identity", sigma_w=1.1)
    agree(found.nngp, 1.1**8 * x @ x.T / 5, 1e-13)
    agree(found.ntk, 4 * found.nngp, 1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_cross_kernel_is_a_block_of_the_joint_one(agree: Agree, name: str) -> None:
    one, two = points(3), points(4, seed=1)
    joint = mlp_kernels(np.concatenate([one, two]), depth=2, activation_name=name, sigma_w=0.9, sigma_b=0.2)
    cross = mlp_kernels(one, two, depth=2, activation_name=name, sigma_w=0.9, sigma_b=0.2)
    agree(cross.nngp, joint.nngp[:3, 3:], 1e-12)
    agree(cross.terms, joint.terms[:, :3, 3:], 1e-12)
    back = mlp_kernels(two, one, depth=2, activation_name=name, sigma_w=0.9, sigma_b=0.2)
    agree(back.terms, joint.terms[:, 3:, :3], 1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "erf", "cos"])
def test_kernels_are_symmetric_positive_and_see_only_angles(agree: Agree, name: str) -> None:
    x = points(10)
    turn, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((5, 5)))
    found = mlp_kernels(x, depth=2, activation_name=name, sigma_b=0.5)
    agree(mlp_kernels(x @ turn, depth=2, activation_name=name, sigma_b=0.5).terms, found.terms, 1e-9)
    for kernel in (found.nngp, found.ntk, *found.terms):
        agree(kernel, kernel.T, 1e-12)
        assert np.linalg.eigvalsh(kernel).min() > -1e-12 * kernel.max()


def test_a_point_with_itself_is_not_disturbed_by_rounding(agree: Agree) -> None:
    """arcsin has an infinite slope at 1, where a cosine one rounding away costs half the digits."""
    x = points(50, 30)
    found = mlp_kernels(x, depth=3, activation_name="relu", sigma_w=2**0.5)
    agree(np.diag(found.ntk), 4 * 2 * (x**2).sum(axis=1) / 30, 1e-13)


def empirical(name: str, depth: int, width: int, seeds: int) -> tuple[Kernels, Array, Array]:
    """Return the limit, and of every seed the tangent kernel's terms and the covariance over 32 outputs."""
    x = points(4)
    limit = mlp_kernels(x, depth=depth, activation_name=name, sigma_w=1.2, sigma_b=0.5)
    terms, squares = [], []
    for start in range(0, seeds, 16):
        ensemble = initialise(
            Mlp(5, 32, width, depth, name, bias=True, sigma_w=1.2, sigma_b=0.5),
            named("ntp"),
            range(start, start + 16),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        inputs = torch.tensor(x, dtype=torch.float32, device="cpu")
        f = forward(ensemble, inputs).output.double()
        squares.append((f @ f.mT / 32).numpy())
        terms.append(tangent_kernel(ensemble, inputs).numpy())
    return limit, np.concatenate(terms), np.concatenate(squares)


def excess(samples: Array, limit: Array, allowance: float) -> float:
    """Return the largest distance of the mean from the limit, in units of 5 standard errors plus the allowance.

    The allowance is a share of the limit's largest entry.
    """
    error = np.abs(samples.mean(axis=0) - limit)
    return float((error / (5 * samples.std(axis=0) / len(samples) ** 0.5 + allowance * np.abs(limit).max())).max())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_one_hidden_layer_has_the_limits_kernels_in_the_mean(name: str) -> None:
    """No finite-width bias: given one hidden layer every kernel is a mean over independent neurons. 1e-6 is float32."""
    limit, terms, squares = empirical(name, depth=1, width=256, seeds=128)
    assert excess(squares, limit.nngp, 1e-6) < 1
    for layer in range(2):
        assert excess(terms[:, layer], limit.terms[layer], 1e-6) < 1


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_wide_networks_with_two_hidden_layers_have_the_limits_kernels(name: str) -> None:
    """The mean differs from the limit by half the curvature of the dual times the variance of the first layer's
    kernel, so by c/n of the largest entry; c was below 0.5 at widths 32 and 64 over 8192 seeds: 1/n is allowed."""
    limit, terms, squares = empirical(name, depth=2, width=1024, seeds=64)
    assert excess(squares, limit.nngp, 1 / 1024) < 1
    for layer in range(3):
        assert excess(terms[:, layer], limit.terms[layer], 1 / 1024) < 1
    assert excess(terms.sum(axis=1), limit.ntk, 1 / 1024) < 1
    # Plants: a limit without one of its layers, or with the read-out counted twice, is far outside.
    for shares in ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, 2.0)):
        assert excess(terms.sum(axis=1), limit.weighted(shares), 1 / 1024) > 3


def test_weighted_sums_layers_terms_by_their_shares(agree: Agree) -> None:
    found = mlp_kernels(points(), depth=2, activation_name="tanh")
    agree(found.weighted((1.0, 1.0, 1.0)), found.ntk, 1e-15)
    agree(found.weighted((0.0, 0.5, 0.0)), found.terms[1] / 2, 1e-15)
    for shares in ((1.0,), (1.0,) * 4, ()):
        with pytest.raises(ValueError, match=f"3 layers need as many shares, got {len(shares)}"):
            found.weighted(shares)


def test_inputs_of_other_shapes_are_errors() -> None:
    for one, two in ((np.zeros(5), None), (points(3, 5), points(3, 4)), (points(), np.zeros((2, 3, 5)))):
        with pytest.raises(ValueError, match=r"inputs have shape \(examples, features\) alike, got"):
            mlp_kernels(one, two, depth=1, activation_name="relu")
    with pytest.raises(ValueError, match="no Gaussian dual of activation 'swish'"):
        mlp_kernels(points(), depth=1, activation_name="swish")


def test_the_inputs_are_left_alone() -> None:
    x = points()
    before = x.copy()
    mlp_kernels(x, depth=2, activation_name="relu")
    assert (x == before).all()
