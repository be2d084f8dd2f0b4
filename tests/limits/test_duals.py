"""Dual activations against independent integration, sampling, and their laws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from tpbench.limits import closed
from tpbench.limits.gaussian import (
    ACTIVATIONS,
    FUNCTIONS,
    LEAK,
    Activation,
    activation,
    exponential,
    leaky,
    monomial,
    rbf,
    series,
)
from tpbench.limits.hermite import Function
from tpbench.networks.activation import ACTIVATIONS as NETWORKS

Agree = Callable[..., None]
CPU = torch.device("cpu")
KINKED = ("relu", "leaky-relu", "abs")
MORE = [leaky("prelu", 0.3), monomial(1), monomial(4), monomial(5), exponential(-0.4), rbf(0.3)]
EVERY = [*ACTIVATIONS.values(), *MORE]
NAMES = [of.name for of in EVERY]
POINTS = [(1.0, 0.3, 1.0), (0.8, -0.5, 0.6), (1.0, 0.0, 0.2), (0.5, 0.9 * 0.5, 0.5)]
LARGE = [(2.0, 1.0, 3.0), (3.0, -1.0, 2.0), (2.0, 2.0, 2.0), (9.0, 8.7, 9.0)]
every = pytest.mark.parametrize("of", EVERY, ids=NAMES)
KINKS = [of for of in EVERY if of.name in (*KINKED, "prelu")]
smooth = pytest.mark.parametrize("of", [of for of in EVERY if of not in KINKS], ids=lambda of: of.name)
kinked = pytest.mark.parametrize("of", KINKS, ids=lambda of: of.name)


def grid(step: float) -> tuple[Tensor, Tensor]:
    z = torch.arange(-round(15 / step), round(15 / step) + 1, dtype=torch.float64, device=CPU) * step
    weight = torch.exp(-(z**2) / 2)
    return z, weight / weight.sum()


def plane_integral(phi: Function, psi: Function, uu: float, uv: float, vv: float) -> float:
    """E phi(u) psi(v) by the trapezoidal rule on a fine grid of the plane.

    For functions analytic in a strip of half width d around the real axis its error is e^(-2 pi d/h); with the step
    0.04 that is nothing at all for the poles of tanh at ±i pi/2.
    """
    z, weight = grid(0.04)
    slope = uv / math.sqrt(uu)
    rest = math.sqrt(max(vv - slope**2, 0.0))
    inner = psi(slope * z[:, None] + rest * z[None, :]) @ weight
    return float((weight * phi(math.sqrt(uu) * z)) @ inner)


def polar_integral(phi: Function, psi: Function, uu: float, uv: float, vv: float, degree: int) -> float:
    """E phi(u) psi(v) for functions homogeneous of a degree 0 or 1: an adaptive integral over the angle.

    In polar coordinates the radius integrates to E r^(2 degree), which is 1 and 2; the kinks are given to the rule.
    """
    rho = uv / math.sqrt(uu * vv)
    root = math.sqrt(max(1 - rho**2, 0.0))
    lean = math.atan2(root, rho)  # v = sqrt(vv) r cos(theta - lean)

    def along(theta: float) -> float:
        u, v = math.sqrt(uu) * math.cos(theta), math.sqrt(vv) * math.cos(theta - lean)
        return float(phi(number(u)) * psi(number(v)))

    cuts = sorted({np.pi / 2, 3 * np.pi / 2, *((lean + k * np.pi / 2) % (2 * np.pi) for k in (1, 3))})
    edges = [0.0, *cuts, 2 * np.pi]
    parts = [integrate.quad(along, a, b, epsabs=1e-12, epsrel=1e-12)[0] for a, b in itertools.pairwise(edges)]
    return float((2 if degree else 1) * sum(parts) / (2 * np.pi))


def number(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=CPU)


def numbers(point: tuple[float, float, float]) -> list[Tensor]:
    return [number(value) for value in point]


def test_limits_and_networks_know_the_same_activations() -> None:
    assert set(ACTIVATIONS) == set(NETWORKS)
    assert all(name == of.name for name, of in ACTIVATIONS.items())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_phi_and_its_derivative_are_those_of_the_networks(agree: Agree, name: str) -> None:
    u = torch.linspace(-6, 6, 400, dtype=torch.float64, device=CPU)
    x, g = torch.empty_like(u), torch.ones_like(u)
    NETWORKS[name].apply(u, x)
    NETWORKS[name].pullback_(g, u, x)
    agree(activation(name).phi(u), x, 1e-14)
    agree(activation(name).derivative(u), g, 1e-13)


@pytest.mark.parametrize("point", [*POINTS, *LARGE])
@smooth
def test_duals_of_smooth_activations(agree: Agree, of: Activation, point: tuple[float, float, float]) -> None:
    value, slope = of.duals(*numbers(point))
    agree(value, plane_integral(of.phi, of.phi, *point), 1e-11, floor=0.1)
    agree(slope, plane_integral(of.derivative, of.derivative, *point), 1e-11, floor=0.1)


@pytest.mark.parametrize("point", [*POINTS, *LARGE, (1.0, -1.0, 1.0), (4.0, 0.2, 0.01)])
@kinked
def test_duals_of_activations_with_a_kink(agree: Agree, of: Activation, point: tuple[float, float, float]) -> None:
    value, slope = of.duals(*numbers(point))
    agree(value, polar_integral(of.phi, of.phi, *point, degree=1), 1e-10, floor=0.1)
    agree(slope, polar_integral(of.derivative, of.derivative, *point, degree=0), 1e-10, floor=0.1)


@pytest.mark.parametrize("point", [*POINTS, *LARGE])
@smooth
def test_closed_forms_agree_with_the_series(agree: Agree, of: Activation, point: tuple[float, float, float]) -> None:
    """Two roads with nothing in common, but phi; float64 to 1e-12 of the diagonal."""
    (uu, uv, vv), (value, slope) = numbers(point), of.duals(*numbers(point))
    again = series("again", of.phi, of.derivative, tolerance=1e-13)
    if of.name == "exp" and point[0] > 4:
        with pytest.raises(ValueError, match=r"known to .* and the relative tolerance is 1e-13: .* or steep growth"):
            again.duals(uu, uv, vv)
        return
    found = again.duals(uu, uv, vv)
    scales = [float((one * two).sqrt()) for one, two in zip(of.diagonal(uu), of.diagonal(vv), strict=True)]
    agree(found[0] / scales[0], value / scales[0], 1e-12, floor=1.0)
    agree(found[1] / scales[1], slope / scales[1], 1e-12, floor=1.0)


@every
def test_duals_are_the_means_of_samples(of: Activation) -> None:
    """Two million pairs, four standard errors."""
    source = torch.Generator(device="cpu").manual_seed(11)
    z = torch.randn(2, 2_000_000, generator=source, dtype=torch.float64, device=CPU)
    uu, uv, vv = 0.6, -0.3, 0.4
    u = math.sqrt(uu) * z[0]
    v = uv / math.sqrt(uu) * z[0] + math.sqrt(vv - uv**2 / uu) * z[1]
    for function, dual in ((of.phi, of.dual), (of.derivative, of.dual_derivative)):
        product = function(u) * function(v)
        error = abs(float(product.mean() - dual(*numbers((uu, uv, vv)))))
        assert error <= 4 * float(product.std()) / math.sqrt(len(u)) + 1e-14


@every
def test_equal_arguments_give_the_mean_square(agree: Agree, of: Activation) -> None:
    z = torch.arange(-24_001, 24_002, 2, dtype=torch.float64, device=CPU) * 0.0005  # both sides of the kink
    weight = torch.exp(-(z**2) / 2) / torch.exp(-(z**2) / 2).sum()
    for variance in (0.3, 1.0):
        q = number(variance)
        u = math.sqrt(variance) * z
        tolerance = 1e-6 if of in KINKS else 1e-11
        for found, function in zip(of.diagonal(q), (of.phi, of.derivative), strict=True):
            agree(found, function(u).square() @ weight, tolerance)


@every
def test_the_dual_derivative_is_the_derivative_of_the_dual(agree: Agree, of: Activation) -> None:
    """Price's theorem: d E phi(u) phi(v) / d E uv = E phi'(u) phi'(v)."""
    step = 1e-3
    for uu, uv, vv in ((1.0, 0.3, 1.0), (0.8, -0.5, 0.6), (0.5, 0.2, 0.9)):
        around = [float(of.dual(*numbers((uu, uv + k * step, vv)))) for k in (-2, -1, 1, 2)]
        slope = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step)
        agree(slope, float(of.dual_derivative(*numbers((uu, uv, vv)))), 1e-8, floor=0.1)


def covariance(points: int = 12) -> Tensor:
    source = torch.Generator(device="cpu").manual_seed(3)
    features = torch.randn(points, 5, generator=source, dtype=torch.float64, device=CPU) / math.sqrt(5)
    return features @ features.T


@every
def test_duals_are_symmetric_broadcast_and_positive(agree: Agree, of: Activation) -> None:
    k = covariance()
    q = k.diagonal()
    for dual in (of.dual, of.dual_derivative):
        gram = dual(q[:, None], k, q[None, :])
        agree(gram, gram.T, 1e-11)
        one_by_one = torch.cat([dual(q[:1], k[0, j : j + 1], q[j : j + 1]) for j in range(len(k))])
        agree(gram[0], one_by_one, 1e-12)
        whole = dual(q[:, None].expand(k.shape).clone(), k, q[None, :].expand(k.shape).clone())
        agree(whole, gram, 1e-14)
        assert torch.linalg.eigvalsh((gram + gram.T) / 2).min() > -1e-11 * abs(gram).max()


@every
def test_a_vector_of_length_zero_is_a_constant(agree: Agree, of: Activation) -> None:
    nought, one = number(0.0), number(1.0)
    for function, dual in ((of.phi, of.dual), (of.derivative, of.dual_derivative)):
        if dual == of.dual_derivative and of in KINKS:
            continue
        at_zero = float(function(nought))
        mean = plane_integral(function, torch.ones_like, 1.0, 0.0, 1.0)
        agree(dual(nought, nought, nought), at_zero**2, 1e-13, floor=1.0)
        agree(dual(nought, nought, one), at_zero * mean, 1e-10, floor=1.0)
        agree(dual(one, nought, nought), at_zero * mean, 1e-10, floor=1.0)


@kinked
def test_a_kink_at_a_vector_of_length_zero_has_the_mean_slope(agree: Agree, of: Activation) -> None:
    nought, slopes = number(0.0), of.derivative(torch.tensor([-1.0, 1.0], dtype=torch.float64, device=CPU))
    for other in (nought, number(1.0)):
        agree(of.dual_derivative(nought, nought, other), slopes.mean().square(), 1e-14, floor=1.0)


def test_leaky_relu_lies_between_relu_and_the_identity(agree: Agree) -> None:
    """phi = (1 - leak) relu + leak · identity, and E relu(u) v = E uv / 2."""
    k = numbers((1.2, 0.4, 0.7))
    relu, leaking = activation("relu").dual(*k), activation("leaky-relu").dual(*k)
    agree(leaking, (1 - LEAK) ** 2 * relu + ((1 - LEAK) * LEAK + LEAK**2) * 0.4, 1e-14)


def half_price(uu: Tensor, uv: Tensor, vv: Tensor) -> tuple[Tensor, Tensor]:
    value, slope = closed.gelu(uu, uv, vv)
    return value, slope - 0.01 * uv


@pytest.mark.parametrize("wrong", [half_price, partial(closed.piecewise_linear, 0.01), closed.erf])
def test_a_wrong_closed_form_is_noticed(agree: Agree, wrong: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Plants: three duals that are not gelu's fail against the plane."""
    fault = replace(activation("gelu"), duals=wrong)
    with pytest.raises(AssertionError, match="differs by"):
        test_duals_of_smooth_activations(agree, fault, POINTS[0])
    with pytest.raises(AssertionError, match="differs by"):
        test_closed_forms_agree_with_the_series(agree, fault, POINTS[0])


def test_a_function_of_pytorch_is_its_closed_form() -> None:
    u = torch.linspace(-4, 4, 81, dtype=torch.float64, device=CPU)
    for function, name in FUNCTIONS.items():
        assert activation(function) is ACTIVATIONS[name]
        torch.testing.assert_close(function(u), ACTIVATIONS[name].phi(u), rtol=1e-14, atol=1e-15)
    of = monomial(3)
    assert activation(of) is of


def test_an_unknown_activation_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no Gaussian dual of activation 'swish' is known \(known: identity, relu"):
        activation("swish")
    with pytest.raises(ValueError, match="whole power of at least 1, got 0; a constant has no slope"):
        monomial(0)
    with pytest.raises(ValueError, match="a gamma above 0, got -1"):
        rbf(-1)
