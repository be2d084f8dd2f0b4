"""The mathematics of ``tpbench.kernels``: closed forms, the recursion written another way, and finite networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tpbench import kernels
from tpbench.limits import Array
from tpbench.limits.gaussian import ACTIVATIONS, activation
from tpbench.limits.kernels import Kernels
from tpbench.networks.measure import tangent_kernel
from tpbench.networks.mlp import Mlp, forward, initialise
from tpbench.parametrization import named

Agree = Callable[..., None]
CPU = torch.device("cpu")


def points(count: int = 6, features: int = 5, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, features))


def terms(x: Array, y: Array | None = None, *, depth: int, **options: Any) -> Array:
    """Return every layer's part of the tangent kernel, (layer, N1, N2): rates of 1 and 0."""
    return np.stack([kernels(x, y, depth=depth, rates=rates, **options).ntk for rates in np.eye(depth + 1)])


def test_relu_with_one_hidden_layer_is_the_arc_cosine_kernel(agree: Agree) -> None:
    """Cho & Saul 2009: E relu relu = |x||x'| (sin θ + (π - θ) cos θ)/2π and E relu' relu' = (π - θ)/2π."""
    x = points()
    sigma_w, sigma_b = 1.3, 0.4
    first = sigma_w**2 * x @ x.T / 5 + sigma_b**2
    size = np.sqrt(np.diag(first))
    theta = np.arccos(np.clip(first / np.outer(size, size), -1, 1))
    nngp = sigma_w**2 * np.outer(size, size) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    options: dict[str, Any] = {"depth": 1, "activation": "relu", "sigma_w": sigma_w, "sigma_b": sigma_b}
    agree(kernels(x, **options).nngp, nngp + sigma_b**2, 1e-9)
    found = terms(x, **options)
    agree(found[1], nngp + sigma_b**2, 1e-9)
    agree(found[0], first * sigma_w**2 * (np.pi - theta) / (2 * np.pi), 1e-7)


def jacot(
    x: Array, name: str, sigma_w: float, sigma_b: float, rates: Sequence[float], fans: Sequence[int] | None = None
) -> tuple[Array, Array]:
    """Return Σ^{L+1} and Θ^{L+1} pair by pair: Θ^1 = Σ^1, Θ^{l+1} = Σ^{l+1} + Θ^l Σ'^l, with a rate for each layer.

    With ``fans``, of the standard parametrization: fan (Σ^l - σ_b²)/σ_w² + [σ_b > 0] in place of the first Σ^l.
    """
    phi, variance, shift = activation(name), sigma_w**2, sigma_b**2

    def own(layer: int, sigma: Tensor) -> Tensor:
        if fans is None:
            return rates[layer] * sigma[0, 1]
        return rates[layer] * (fans[layer] * (sigma[0, 1] - shift) / variance + (shift > 0))

    nngp, ntk = np.empty((2, len(x), len(x)))
    for i, j in np.ndindex(*nngp.shape):
        pair = x[[i, j]]
        sigma = torch.tensor(variance * pair @ pair.T / x.shape[1] + shift, device=CPU)
        tangent = own(0, sigma)
        for layer in range(1, len(rates)):
            slope = variance * phi.dual_derivative(sigma[0, 0], sigma[0, 1], sigma[1, 1])
            values = [phi.dual(sigma[a, a], sigma[a, b], sigma[b, b]) for a in (0, 1) for b in (0, 1)]
            sigma = variance * torch.stack(values).reshape(2, 2) + shift
            tangent = own(layer, sigma) + tangent * slope
        nngp[i, j], ntk[i, j] = sigma[0, 1], tangent
    return nngp, ntk


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_recursion_of_jacot(agree: Agree, name: str, sigma_b: float) -> None:
    x = points(4) / 2
    for depth in (1, 3):
        rates = np.linspace(1.0, 0.5, depth + 1).tolist()
        options: dict[str, Any] = {"depth": depth, "activation": name, "sigma_w": 0.8, "sigma_b": sigma_b}
        nngp, ntk = jacot(x, name, 0.8, sigma_b, rates)
        found = kernels(x, rates=rates, **options)
        agree(found.nngp, nngp, 1e-10)
        agree(found.ntk, ntk, 1e-10)
        agree(np.tensordot(rates, terms(x, **options), 1), ntk, 1e-10)
        standard = kernels(x, rates=rates, parametrization="standard", width=7, **options)
        agree(standard.ntk, jacot(x, name, 0.8, sigma_b, rates, (5, *(7,) * depth))[1], 1e-10)
        agree(standard.nngp, nngp, 1e-10)
        # Plants: another rate, another phi
        assert abs(kernels(x, **options).ntk - ntk).max() > 1e-3 * abs(ntk).max()
        other = kernels(x, rates=rates, **options | {"activation": "sin" if name != "sin" else "cos"})
        assert abs(other.ntk - ntk).max() > 1e-2 * abs(ntk).max()


@pytest.mark.parametrize("name", ["relu", "abs", "leaky-relu", "identity"])
def test_kernels_of_homogeneous_activations_scale_with_the_inputs(agree: Agree, name: str) -> None:
    x = points()
    one, three = (kernels(c * x, depth=3, activation=name, sigma_w=1.2) for c in (1.0, 3.0))
    agree(three.nngp, 9 * one.nngp, 1e-13)
    agree(three.ntk, 9 * one.ntk, 1e-13)


def test_the_kernel_of_one_point_under_he_initialisation(agree: Agree) -> None:
    """relu with σ_w² = 2 keeps the norm: every layer's term is 2 |x|²/d."""
    x = points(1)
    found = terms(x, depth=4, activation="relu", sigma_w=2**0.5)
    agree(found, np.full((5, 1, 1), 2 * float(x[0] @ x[0]) / 5), 1e-13)


def test_the_linear_network(agree: Agree) -> None:
    x = points()
    found = kernels(x, depth=3, activation="identity", sigma_w=1.1)
    agree(found.nngp, 1.1**8 * x @ x.T / 5, 1e-13)
    agree(found.ntk, 4 * found.nngp, 1e-13)


@pytest.mark.parametrize("name", ["relu", "tanh", "erf", "cos"])
def test_kernels_are_positive_and_see_only_angles(agree: Agree, name: str) -> None:
    x = points(10)
    turn, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((5, 5)))
    found = kernels(x, depth=2, activation=name, sigma_b=0.5)
    agree(kernels(x @ turn, depth=2, activation=name, sigma_b=0.5).ntk, found.ntk, 1e-9)
    for kernel in (found.nngp, found.ntk, *terms(x, depth=2, activation=name, sigma_b=0.5)):
        assert np.linalg.eigvalsh(kernel).min() > -1e-12 * kernel.max()


def test_points_of_length_zero_have_no_kernel_without_biases_and_that_of_the_bias_with(agree: Agree) -> None:
    x = points()
    x[2] = 0.0
    for name in ("relu", "erf", "leaky-relu", "identity"):
        found = kernels(x, depth=3, activation=name)
        for kernel in (found.nngp, found.ntk):
            assert (kernel[2] == 0).all()
            assert (kernel[:, 2] == 0).all()
    nngp, ntk = jacot(x, "relu", 1.0, 0.5, (1.0,) * 4)
    found = kernels(x, depth=3, activation="relu", sigma_b=0.5)
    agree(found.nngp, nngp, 1e-10)
    agree(found.ntk, ntk, 1e-10)


def test_a_deep_network_does_not_underflow(agree: Agree) -> None:
    """relu with σ_w = 1 halves the kernel a layer: 2^-201 of the inputs' after 200, which float32 does not know."""
    x = torch.tensor(points() / 5**0.5, dtype=torch.float32, device=CPU)
    shallow, deep = (kernels(x, depth=200, activation="relu", sigma_w=s) for s in (2**0.5, 1.2))
    agree(deep.ntk / 0.72**201, shallow.ntk, 1e-4)


def empirical(name: str, depth: int, width: int, seeds: int) -> tuple[dict[str, Any], Array, Array]:
    """Return the limit's options, and of every seed the tangent kernel's terms and the covariance over 32 outputs."""
    x = torch.tensor(points(4), dtype=torch.float32, device=CPU)
    found, squares = [], []
    for start in range(0, seeds, 16):
        ensemble = initialise(
            Mlp(5, 32, width, depth, name, bias=True, sigma_w=1.2, sigma_b=0.5),
            named("ntp"),
            range(start, start + 16),
            device=CPU,
            dtype=torch.float32,
        )
        f = forward(ensemble, x).output.double()
        squares.append((f @ f.mT / 32).numpy())
        found.append(tangent_kernel(ensemble, x).numpy())
    options = {"depth": depth, "activation": name, "sigma_w": 1.2, "sigma_b": 0.5}
    return options, np.concatenate(found), np.concatenate(squares)


def excess(samples: Array, limit: Array, allowance: float) -> float:
    """Return the largest distance of the mean from the limit, in units of 5 standard errors plus the allowance.

    The allowance is a share of the limit's largest entry.
    """
    error = np.abs(samples.mean(axis=0) - limit)
    return float((error / (5 * samples.std(axis=0) / len(samples) ** 0.5 + allowance * np.abs(limit).max())).max())


LIGHT = [name for name in ACTIVATIONS if name not in ("exp", "cube")]
"""Those whose kernels have tails so light at σ_w = 1.2 that 128 seeds know their standard error."""


@pytest.mark.parametrize("name", LIGHT)
def test_one_hidden_layer_has_the_limits_kernels_in_the_mean(name: str) -> None:
    """No finite-width bias: given one hidden layer every kernel is a mean over independent neurons. 1e-6 is float32."""
    options, found, squares = empirical(name, depth=1, width=256, seeds=128)
    assert excess(squares, kernels(points(4), **options).nngp, 1e-6) < 1
    for sample, limit in zip(found.swapaxes(0, 1), terms(points(4), **options), strict=True):
        assert excess(sample, limit, 1e-6) < 1


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_wide_networks_with_two_hidden_layers_have_the_limits_kernels(name: str) -> None:
    """The mean differs from the limit by half the curvature of the dual times the variance of the first layer's
    kernel, so by c/n of the largest entry; c was below 0.5 at widths 32 and 64 over 8192 seeds: 1/n is allowed."""
    options, found, squares = empirical(name, depth=2, width=1024, seeds=64)
    limit = kernels(points(4), **options)
    assert excess(squares, limit.nngp, 1 / 1024) < 1
    for sample, term in zip(found.swapaxes(0, 1), terms(points(4), **options), strict=True):
        assert excess(sample, term, 1 / 1024) < 1
    assert excess(found.sum(axis=1), limit.ntk, 1 / 1024) < 1
    # Plants: a limit without one of its layers, or with the read-out counted twice, is far outside.
    for rates in ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, 2.0)):
        assert excess(found.sum(axis=1), kernels(points(4), rates=rates, **options).ntk, 1 / 1024) > 3


def plain_kernels(x: Tensor, width: int, sigma_w: float, sigma_b: float, seeds: int) -> tuple[Array, Array]:
    """Return ∂f ∂f' of plain networks in PyTorch's parametrization by autograd, (seed, layer, N, N), and f f'."""
    grams, squares = [], []
    for seed in range(seeds):
        source = torch.Generator(device=CPU).manual_seed(seed)
        sizes = [(x.shape[1], width), (width, width), (width, 1)]
        layers = [nn.Linear(*size, bias=sigma_b > 0, dtype=x.dtype, device=CPU) for size in sizes]
        for layer in layers:
            nn.init.normal_(layer.weight, std=sigma_w / layer.in_features**0.5, generator=source)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=sigma_b, generator=source)
        f = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])(x)[:, 0]
        for layer in layers:
            parts = [torch.autograd.grad(y, list(layer.parameters()), retain_graph=True) for y in f]
            rows = torch.stack([torch.cat([part.flatten() for part in of_one]) for of_one in parts])
            grams.append((rows @ rows.T).numpy())
        squares.append(torch.outer(f, f).detach().numpy())
    return np.stack(grams).reshape(seeds, 3, len(x), len(x)), np.stack(squares)


@pytest.mark.parametrize("sigma_b", [0.0, 0.7])
def test_the_standard_parametrization_is_that_of_plain_networks(sigma_b: float) -> None:
    """Gradients by weights that are not divided by sqrt(fan-in), and biases, if any, whose own gradient is 1."""
    x, width = points(3), 256
    found, squares = plain_kernels(torch.tensor(x, device=CPU), width, 1.3, sigma_b, seeds=64)
    options: dict[str, Any] = {"depth": 2, "activation": torch.tanh, "sigma_w": 1.3, "sigma_b": sigma_b}
    limit = terms(x, parametrization="standard", width=width, **options)
    assert excess(squares, kernels(x, **options).nngp, 1 / width) < 1
    for sample, term in zip(found.swapaxes(0, 1), limit, strict=True):
        assert excess(sample, term, 1 / width) < 1
    # Plants: another width, the other parametrization.
    for sample, term, ours in zip(found.swapaxes(0, 1), limit, terms(x, **options), strict=True):
        assert excess(sample, 1.2 * term, 1 / width) > 1.2
        assert excess(sample, ours, 1 / width) > 2


def test_the_standard_parametrization_is_ours_with_the_exponents_of_sp() -> None:
    """Mlp has 1/sqrt(d) in front of the first weights rather than in them: a rate of 1/d makes up for it."""
    width = 256
    mlp = Mlp(5, 1, width, 2, "relu", bias=True, sigma_w=1.0, sigma_b=1.0)
    ensemble = initialise(mlp, named("sp"), range(64), device=CPU, dtype=torch.float64)
    found = tangent_kernel(ensemble, torch.tensor(points(4), device=CPU)).sum(dim=1).numpy()
    options: dict[str, Any] = {"depth": 2, "activation": "relu", "sigma_b": 1.0, "width": width}
    # the first biases too are scaled by 1/d there: that term is far below the hidden layer's, which has width² weights
    limit = kernels(points(4), parametrization="standard", rates=(1 / 5, 1, 1), **options)
    assert excess(found, limit.ntk, 2 / width) < 1


def test_standard_and_ntk_differ_by_rates_where_there_are_no_biases(agree: Agree) -> None:
    options: dict[str, Any] = {"depth": 2, "activation": "erf", "sigma_w": 1.3}
    standard = kernels(points(), parametrization="standard", width=100, **options)
    ours = kernels(points(), rates=np.array([5, 100, 100]) / 1.3**2, **options)
    agree(standard.ntk, ours.ntk, 1e-14)
    agree(standard.nngp, ours.nngp, 1e-14)


def test_a_function_of_ones_own_has_the_kernels_of_its_name(agree: Agree) -> None:
    def mine(u: Tensor) -> Tensor:
        return torch.erf(u)

    own, known = (kernels(points(), depth=3, activation=phi, sigma_w=1.2, sigma_b=0.3) for phi in (mine, "erf"))
    agree(own.nngp, known.nngp, 1e-9)
    agree(own.ntk, known.ntk, 1e-8)


def test_an_activation_that_borrows_a_name_keeps_its_own_duals() -> None:
    """The fast forms belong to the activations of the table, not to words."""
    borrowed = type(activation("sin"))("relu", torch.sin, torch.cos, activation("sin").duals)
    found, expected = (kernels(points(), depth=2, activation=phi) for phi in (borrowed, "sin"))
    assert (found.ntk == expected.ntk).all()


def test_kernels_is_a_noun_of_either_library() -> None:
    x = points()
    arrays = kernels(x, depth=1, activation="relu")
    tensors = kernels(torch.tensor(x, device=CPU), depth=1, activation="relu")
    assert isinstance(arrays, Kernels)
    assert isinstance(arrays.ntk, np.ndarray)
    assert isinstance(tensors.ntk, Tensor)
    assert arrays.error is None
    assert (tensors.ntk.numpy() == arrays.ntk).all()
