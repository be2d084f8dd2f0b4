"""Dual activations in float32 and float64: digits kept near correlations of ±1, dtypes, devices, arguments."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tpbench.limits.gaussian import ACTIVATIONS, Activation, activation, exponential, leaky, monomial, rbf

Agree = Callable[..., None]
CPU = torch.device("cpu")
KINKED = ("relu", "leaky-relu", "abs")
EVERY = [*ACTIVATIONS.values(), leaky("prelu", 0.3), monomial(4), monomial(5), exponential(-0.4), rbf(0.3)]
KINKS = [of for of in EVERY if of.name in (*KINKED, "prelu")]
every = pytest.mark.parametrize("of", EVERY, ids=lambda of: of.name)


def number(value: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=CPU)


def covariance(points: int = 12) -> Tensor:
    source = torch.Generator(device="cpu").manual_seed(3)
    features = torch.randn(points, 5, generator=source, dtype=torch.float64, device=CPU) / math.sqrt(5)
    return features @ features.T


@pytest.mark.parametrize("exponent", [-300, -40, 40])
@pytest.mark.parametrize("name", [*KINKED, "identity"])
def test_duals_of_homogeneous_activations_scale(agree: Agree, name: str, exponent: int) -> None:
    """phi(c u) = c phi(u), exactly for a power of two, even where the square of a variance underflows."""
    dtype = torch.float64 if exponent < -100 else torch.float32
    k = [number(value, dtype) for value in (1.2, 0.4, 0.7)]
    (value, slope), scaled = (activation(name).duals(*(c * one for one in k)) for c in (1.0, 2.0**exponent))
    agree(scaled[0].double() / 2.0**exponent, value.double(), 0.0)
    agree(scaled[1], slope, 0.0)


def correlations(dtype: torch.dtype, uu: float, vv: float) -> list[Tensor]:
    """Covariances from opposite to equal directions, dense at both ends, all exact in the dtype."""
    near = 2.0 ** -torch.arange(0, 24, dtype=torch.float64, device=CPU)
    rho = torch.cat([near - 1, torch.linspace(-0.9, 0.9, 19, dtype=torch.float64, device=CPU), 1 - near])
    return [number(uu, dtype), (rho * math.sqrt(uu * vv)).to(dtype), number(vv, dtype)]


@pytest.mark.parametrize(("uu", "vv"), [(1.0, 1.0), (2.5, 2.5), (2.25, 0.25), (0.7, 1.9)])
@every
def test_float32_is_float64_of_the_same_numbers(of: Activation, uu: float, vv: float) -> None:
    """Twenty roundings of the diagonal. Unequal lengths round |u||v|, which costs a kink half the digits near ±1."""
    single = correlations(torch.float32, uu, vv)
    double = [k.double() for k in single]
    squares = [one * two for one, two in zip(of.diagonal(double[0]), of.diagonal(double[2]), strict=True)]
    for order, (low, high) in enumerate(zip(of.duals(*single), of.duals(*double), strict=True)):
        assert low.dtype == torch.float32
        error = (low.double() - high).abs().max() / squares[order].sqrt()
        blunt = of in KINKS and order == 1 and uu != vv
        assert error <= (math.sqrt(2**-23) if blunt else 20 * 2**-23)


def test_float32_near_one_would_notice_the_rounded_cosine() -> None:
    """Plant: arcsin of uv/sqrt(uu vv), rounded, is off by 1e-4 where the difference |u||v| - uv is right to 1e-6."""
    uu, uv, vv = correlations(torch.float32, 2.5, 2.5)
    exact = activation("abs").dual_derivative(*(k.double() for k in (uu, uv, vv)))
    rounded = torch.asin((uv / uu.sqrt() / vv.sqrt()).clamp(-1, 1)) * (2 / math.pi)
    assert (rounded.double() - exact).abs().max() > 1e-4
    assert (activation("abs").dual_derivative(uu, uv, vv).double() - exact).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every
def test_a_point_with_itself_is_not_disturbed_by_rounding(agree: Agree, of: Activation, dtype: torch.dtype) -> None:
    """arcsin has an infinite slope at 1, where a cosine one rounding away costs half the digits."""
    q = torch.rand(50, generator=torch.Generator(device="cpu").manual_seed(1), dtype=dtype, device=CPU) + 0.2
    gram = torch.outer(q, q).sqrt().diagonal_scatter(q)
    whole = of.duals(q[:, None], gram, q[None, :]) if of.name not in KINKED else of.duals(q, q, q)
    for found, alone, double in zip(whole, of.diagonal(q), of.diagonal(q.double()), strict=True):
        agree(found.diagonal() if found.dim() == 2 else found, alone, 8 * torch.finfo(dtype).eps)
        agree(alone, double, 30 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every
def test_dtype_device_and_shape_are_kept_and_the_arguments_too(of: Activation, dtype: torch.dtype) -> None:
    k = covariance(4).to(dtype)
    q = k.diagonal().clone()
    before = k.clone()
    for found in of.duals(q[:, None], k, q[None, :]):
        assert (found.dtype, found.device, found.shape) == (dtype, CPU, (4, 4))
    assert torch.equal(k, before)
    assert torch.equal(q, before.diagonal())
    meta = [one.to("meta") for one in (q[:, None], k, q[None, :])]
    for found in of.duals(*meta):
        assert (found.dtype, found.device.type, found.shape) == (dtype, "meta", (4, 4))


def test_a_dual_is_its_own_tensor() -> None:
    """The identity's must not be the covariance itself, which the caller goes on to overwrite."""
    k = covariance(4)
    value, _ = activation("identity").duals(k.diagonal()[:, None], k, k.diagonal()[None, :])
    value.zero_()
    assert k.abs().min() > 0
