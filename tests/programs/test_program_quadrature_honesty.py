"""Quadrature says what it does not know: far and narrow integrands, jumps, numbers that are none, errors of scalars."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from limit_cases import FEW, relu, sign, tanh, there_and_back
from torch import Tensor

from tpbench.programs import Program, Scalar, apply, combination, gaussian, gaussians, inner, matrix, moment, program
from tpbench.programs.infinite import UnsuitedError, Value, extent, integrals, limit, nodes

SPIKE = math.sqrt(5e-9 / (1 + 5e-9)) * math.exp(-0.045 / (1 + 5e-9))
"""E exp(−((x − 0.3) 10⁴)²), the value at 0.3 of a Gaussian density of variance 1 + 5e-9."""
BELL = 7.978845575216966e-05
"""E sech²(h), h of variance 10⁸: (2/(10⁴ sqrt(2π))) (1 − π²/24 · 1e-8 + …)."""


def solved(p: Program, **options: Any) -> Mapping[str, Value]:
    return limit(p, method="quadrature", **options).scalars


def one(made: Scalar, **options: Any) -> Value:
    return solved(program(c=made), **options)["c"]


def holds(value: Value, truth: float, worst: float) -> None:
    """Assert that a stated error is true, and small."""
    assert abs(value.mean - truth) <= value.error <= worst * abs(truth)


def opaque(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that cannot be looked into, since it compares."""
    return lambda z: torch.where(z > -1e300, function(z), 0 * z)


# --- far away ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [1, 5, 8, -8, 20])
@pytest.mark.parametrize("hidden", [False, True])
def test_exponentials_far_from_zero(slope: int, hidden: bool) -> None:
    def call(z: Tensor) -> Tensor:
        return torch.exp(slope * z)

    value = one(moment(opaque(call) if hidden else call, gaussian("x")))
    holds(value, math.exp(slope**2 / 2), 1e-10)


def test_a_fourth_power_of_cosh() -> None:
    value = one(moment(lambda z: torch.cosh(z) ** 4, gaussian("h", variance=4)))
    holds(value, (math.exp(32) + 4 * math.exp(8) + 3) / 8, 1e-10)


def test_far_away_in_two_and_in_three_directions() -> None:
    """E e^{5a} (sigmoid(b) + 1/2) with E ab = r shifts b to mean 5 r; and e^{5a − 4b} over what depends on both."""
    a, b = gaussians("a", "b", covariance=[[1, Fraction(1, 2)], [Fraction(1, 2), 1]])
    value = one(moment(lambda s, t: torch.exp(5 * s) * torch.sigmoid(t), a, b))
    at, share = np.polynomial.hermite_e.hermegauss(150)
    shifted = float(share @ (1 / (1 + np.exp(-at - 2.5)))) / math.sqrt(2 * math.pi)
    holds(value, math.exp(12.5) * shifted, 1e-10)
    x, y, z = gaussians("x", "y", "z")
    value = one(moment(lambda x, y, z: torch.exp(3 * x) * torch.sigmoid(x + y) * torch.sigmoid(-x - y + z), x, y, z))
    at, share = np.polynomial.hermite_e.hermegauss(60)
    weights = np.einsum("i,j,k->ijk", share, share, share) / (2 * math.pi) ** 1.5
    u, v, w = np.meshgrid(at, at, at, indexing="ij")
    product = 1 / (1 + np.exp(-u - 3 - v)) / (1 + np.exp(u + 3 + v - w))
    assert value.mean == pytest.approx(math.exp(4.5) * float((weights * product).sum()), rel=1e-7)


def test_what_does_not_fall_off_is_refused() -> None:
    """E exp(x²/4) = √2; E exp(0.6 x²) and E exp(exp(x)) are infinite."""
    x = gaussian("x")
    holds(one(moment(lambda z: torch.exp(z * z / 4), x)), math.sqrt(2), 1e-10)
    for call in (
        lambda z: torch.exp(0.6 * z * z),
        lambda z: torch.exp(0.501 * z * z),
        lambda z: torch.exp(torch.exp(z)),
    ):
        with pytest.raises(UnsuitedError, match=r"'c'.*(not finite|fall off)"):
            one(moment(call, x))


def test_the_edge_of_a_box_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: rays from 0 that see nothing; the outermost layer tells, and the box grows."""
    made = moment(lambda z: torch.exp(5 * z), gaussian("x"))
    monkeypatch.setattr(extent, "box", lambda integrand: nodes.standard(len(integrand.axes)))
    holds(one(made), math.exp(12.5), 1e-10)
    monkeypatch.setattr(integrals, "EDGE", math.inf)
    with pytest.raises(UnsuitedError, match="two orders"):
        one(made)
    monkeypatch.setattr(nodes.Box, "edge", lambda self, u, weights: weights < 0)
    assert abs(one(made).mean - math.exp(12.5)) > 1


# --- narrow ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [False, True])
def test_a_bell_of_a_wide_gaussian(hidden: bool) -> None:
    def call(z: Tensor) -> Tensor:
        return 1 - torch.tanh(z) ** 2

    wide = gaussian("h", variance=10**8)
    holds(one(moment(opaque(call) if hidden else call, wide)), BELL, 1e-9)
    beside = gaussian("h", variance=10**8, mean=3000)
    shifted = one(moment(opaque(call) if hidden else call, beside))
    assert shifted.mean == pytest.approx(BELL * math.exp(-0.045), rel=1e-8)


def test_a_bell_beside_another_gaussian() -> None:
    """E sech²(a) sigmoid(b) = E sech²(a) / 2 by symmetry."""
    a, b = gaussians("a", "b", covariance=[[10**8, 5000], [5000, 1]])
    holds(one(moment(lambda s, t: (1 - torch.tanh(s) ** 2) * torch.sigmoid(t), a, b)), BELL / 2, 1e-9)


def test_a_spike_in_the_argument_of_a_smooth_function() -> None:
    x = gaussian("x")
    holds(one(moment(lambda z: torch.exp(-(((z - 0.3) * 1e4) ** 2)), x)), SPIKE, 1e-7)
    inner_steep = one(moment(lambda z: 1 - torch.tanh(1e4 * torch.tanh(z)) ** 2, x))
    u, w = np.polynomial.legendre.leggauss(400)
    u, w = 3e-3 * u, 3e-3 * w
    wanted = float(w @ (np.exp(-(u**2) / 2) / np.cosh(1e4 * np.tanh(u)) ** 2)) / math.sqrt(2 * math.pi)
    assert inner_steep.mean == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("width", "floor"), [(1e-2, 0.0), (1e-3, 0.0), (1e-4, 0.0), (1e-6, 0.0), (1e-2, 1.0), (1e-3, 1.0), (2e-4, 1.0)]
)
def test_spikes_in_functions_that_cannot_be_looked_into_are_met_or_refused(width: float, floor: float) -> None:
    made = moment(opaque(lambda z: floor + torch.exp(-(((z - 0.3) / width) ** 2))), gaussian("x"))
    truth = floor + math.sqrt(width**2 / 2 / (1 + width**2 / 2)) * math.exp(-0.045 / (1 + width**2 / 2))
    try:
        value = one(made)
    except UnsuitedError as error:
        assert "'c'" in str(error)  # noqa: PT017
        assert limit(program(c=made)).method == "sobol"
    else:
        holds(value, truth, 1e-7)


def test_a_ridge_in_a_function_of_two_vectors_is_refused() -> None:
    """1 + exp(−((a + b − 1/2) 10³)²) as one function that cannot be looked into, and the same without the ridge."""
    a, b = gaussians("a", "b")

    def call(s: Tensor, t: Tensor, height: float = 1.0) -> Tensor:
        return torch.where(s > -1e300, 1 + height * torch.exp(-(((s + t - 0.5) * 1e3) ** 2)), 0 * t)

    with pytest.raises(UnsuitedError, match="'c'"):
        one(moment(call, a, b))
    holds(one(moment(lambda s, t: call(s, t, 0.0), a, b)), 1.0, 1e-10)


@pytest.mark.parametrize(
    ("power", "call"), [(0.5, lambda z: torch.sqrt(torch.abs(z))), (1.5, lambda z: torch.abs(z) ** 1.5)]
)
def test_algebraic_singularities_are_within_their_errors(power: float, call: Callable[[Tensor], Tensor]) -> None:
    """E |x|^p = 2^{p/2} Γ((p + 1)/2)/√π."""
    wanted = 2 ** (power / 2) * math.gamma((power + 1) / 2) / math.sqrt(math.pi)
    holds(one(moment(call, gaussian("x"))), wanted, 1e-8)


def test_functions_that_vanish_far_from_their_kink_may_be_zero() -> None:
    value = one(moment(relu(gaussian("x") - 50)))
    assert value.mean == 0


def test_fast_oscillations_are_refused() -> None:
    with pytest.raises(UnsuitedError, match="two orders"):
        one(moment(lambda z: 1 + torch.cos(1e4 * z), gaussian("x")))


# --- two roads to a derivative -----------------------------------------------------------------------------------


def test_autograd_that_sees_no_jump_is_refused_where_stein_sees_it() -> None:
    y, w = gaussian("y"), matrix("W")
    made = moment(lambda t, g: t * g, y, w @ sign(w.T @ y))
    assert one(made, derivatives="stein").mean == pytest.approx(math.sqrt(2 / math.pi), rel=1e-12)
    with pytest.raises(UnsuitedError, match="autograd and by Stein"):
        one(made, derivatives="autograd")
    with pytest.raises(UnsuitedError, match="autograd and by Stein"):
        solved(there_and_back(lambda h: apply(lambda z: torch.tanh(z).detach(), h)), derivatives="autograd")


# --- numbers that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "quadrature"])
@pytest.mark.parametrize(
    "call", [lambda s, t: s / t, lambda s, t: 1 / s + 0 * t, lambda s, t: (s - 1) / (s - t)], ids=["0/0", "1/0", "-1/0"]
)
def test_numbers_that_are_not_finite_are_refused_by_name(method: str, call: Callable[..., Any]) -> None:
    x, y, z = gaussians("x", "y", "z")
    with pytest.raises(UnsuitedError, match=rf"{method}: 'bad'"):
        limit(program(bad=moment(call, inner(x, y), inner(x, z))), method=method)
    with pytest.raises(UnsuitedError, match=f"{method}: "):
        limit(program(bad=moment(apply(lambda v, s: v / s, x, inner(x, y)))), method=method)


def test_fractions_beyond_decimals_are_refused_by_name() -> None:
    x = gaussian("x", variance=10**200)
    with pytest.raises(UnsuitedError, match="'big' is beyond decimals"):
        limit(program(big=moment(lambda z: z**4, x)), method="exact")


def test_expectations_that_are_not_finite_are_refused() -> None:
    x = gaussian("x")
    for method in ("exact", "quadrature"):
        found = limit(program(x=x), method=method)
        with pytest.raises(UnsuitedError, match="expectation of 'f'"):
            found.expectation(lambda z: torch.exp(z * z), "x")


# --- errors that follow ------------------------------------------------------------------------------------------


def test_a_difference_of_large_scalars_has_their_errors() -> None:
    """Var softplus(h) of mean 1000 is 1, of two numbers near 10⁶."""
    h = gaussian("h", mean=1000)
    first = moment(torch.nn.functional.softplus, h)
    second = moment(lambda z: torch.nn.functional.softplus(z) ** 2, h)
    variance = second - first * first
    found = solved(program(v=variance, root=moment(torch.sqrt, variance), inverse=moment(lambda s: 1 / s, variance)))
    for value in found.values():
        holds(value, 1.0, 1e-6)
        assert value.error > 1e-10


def test_errors_of_scalars_reach_vectors_and_what_is_made_of_them() -> None:
    h, x = gaussian("h", mean=1000), gaussian("x")
    first, second = moment(torch.nn.functional.softplus, h), moment(lambda z: torch.nn.functional.softplus(z) ** 2, h)
    variance = second - first * first
    scaled = combination([(variance, x)])
    inside = apply(lambda v, s: torch.where(v > 0, v * s, 0 * v), x, variance)
    found = solved(program(a=inner(scaled, scaled), b=inner(inside, inside)))
    for name, truth in (("a", 1.0), ("b", 0.5)):
        holds(found[name], truth, 1e-6)
        assert found[name].error > 1e-10


def test_a_number_of_unknown_sign_has_no_inverse_to_trust() -> None:
    x = gaussian("x")
    with pytest.raises(UnsuitedError, match="not continuous in its scalars at their limits"):
        one(moment(lambda s, t: s / t, moment(torch.tanh, x) + 1, moment(torch.sin, x)))


@pytest.mark.parametrize("name", ["tanh there and back", "layer norm"])
def test_errors_of_a_coarse_ladder_cover_its_slopes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ż is made of slopes: with a ladder that is coarse, what comes back is off, and says so."""
    fine = solved(FEW[name]())
    monkeypatch.setattr(integrals, "AGREE", 1.0)
    ladders = (((1, 1),), ((5, 5), (6, 6), (7, 6)), ((5, 5), (6, 6), (7, 6)), ((5, 5), (5, 6), (6, 6)))
    monkeypatch.setattr(integrals, "LADDERS", ladders)
    coarse = solved(FEW[name]())
    assert max(abs(coarse[key].mean - value.mean) for key, value in fine.items()) > 1e-9
    for key, value in fine.items():
        assert abs(coarse[key].mean - value.mean) <= 10 * coarse[key].error + value.error, key


def test_a_small_error_of_a_variance_is_large_in_an_exponential(monkeypatch: pytest.MonkeyPatch) -> None:
    """E e^{8h} = e^{32 v}, so that v = E tanh²(x) with a relative error of 1e-12 is 1e-11 of it."""
    made = moment(lambda z: torch.exp(8 * z), matrix("W") @ tanh(gaussian("x")))
    fine = one(made)
    true = integrals.Integrals.mean

    def off(self: Any, p: Any) -> tuple[float, float, float]:
        mean, error, size = true(self, p)
        return mean * (1 + 1e-12), error + 1e-12 * size, size

    monkeypatch.setattr(integrals.Integrals, "mean", off)
    moved = one(made)
    assert 5e-12 * fine.mean < abs(moved.mean - fine.mean) <= moved.error < 1e-9 * fine.mean


def test_slopes_carry_their_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: slopes that are known to 1e-6 only."""
    true = integrals.Integrals.slopes
    monkeypatch.setattr(integrals.Integrals, "slopes", lambda self, p, size: (true(self, p, size)[0], 1e-6))
    assert solved(there_and_back(tanh))["vy"].error > 1e-7
