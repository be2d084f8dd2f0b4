"""Mehler's series: what it refuses, and what it says then."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tpbench.limits.gaussian import activation, series
from tpbench.limits.hermite import doubt, slope
from tpbench.limits.mehler import Series

CPU = torch.device("cpu")


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=CPU)


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        (torch.sign, "a jump"),
        (lambda u: functional.softplus(u, threshold=8.0), "a jump"),
        (lambda u: torch.exp(u**2 / 4), "steep growth"),
        (lambda u: torch.exp(u**2 * 4), "not finite within 16 standard deviations"),
        (torch.log, "not finite"),
        (torch.sqrt, "not finite"),
    ],
)
def test_what_has_no_dual_is_refused(phi: Callable[[Tensor], Tensor], message: str) -> None:
    q = numbers(1.7)
    with pytest.raises(ValueError, match=message):
        activation(phi).duals(q, q / 2, q)


def test_a_wrong_derivative_is_refused() -> None:
    of = series("tanh", torch.tanh, lambda u: 1.0001 - torch.tanh(u) ** 2)
    q = numbers(1.0)
    with pytest.raises(ValueError, match="a wrong derivative"):
        of.duals(q, q / 2, q)
    assert doubt(Series("tanh", torch.tanh, activation("tanh").derivative), q, 64, 4) < 1e-13


@pytest.mark.parametrize("phi", [lambda u: u.softmax(0), lambda u: u.sum(), lambda u: u - u.mean()])
def test_a_function_that_is_not_elementwise_is_refused(phi: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"an elementwise function of a tensor, and .*lambda.* is not"):
        activation(phi)
    with pytest.raises(ValueError, match=r"elementwise, but shape \(2,\) became \(\)"):
        slope(torch.sum)(numbers(1.0, 2.0))


@pytest.mark.parametrize("tolerance", [0.0, 1e-16, 1.0, math.nan])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="a tolerance lies between 1e-14 and 1, got"):
        series("tanh", torch.tanh, tolerance=tolerance)


def test_other_dtypes_are_refused() -> None:
    q = numbers(1.0).half()
    with pytest.raises(ValueError, match=r"needs float32 or float64, got torch\.float16: convert"):
        activation("tanh").duals(q, q, q)
