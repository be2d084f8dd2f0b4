"""Mehler's series: its coefficients, its bounds, what it refuses, and how it is added up."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.nn import functional

from tpbench.limits import mehler
from tpbench.limits.gaussian import activation, series
from tpbench.limits.hermite import Points, Smooth, coefficients, measure, rule, slope
from tpbench.limits.mehler import Series, blocks, compact, narrow

Agree = Callable[..., None]
CPU = torch.device("cpu")
F64 = torch.float64


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64, device=CPU)


def again(name: str, tolerance: float | None = None) -> Series:
    """The series of an activation that may have a closed form."""
    of = activation(name)
    return Series(name, of.phi, of.derivative, tolerance=tolerance)


def pairs(count: int, largest: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Variances from 0.05 to 4 and all covariances between them, correlations up to ``largest``."""
    source = torch.Generator(device="cpu").manual_seed(seed)
    q = 0.05 + 4 * torch.rand(count, generator=source, dtype=F64, device=CPU)
    rho = largest * (2 * torch.rand(count, count, generator=source, dtype=F64, device=CPU) - 1)
    return q[:, None], rho * torch.outer(q, q).sqrt(), q[None, :]


def test_the_table_is_orthonormal_under_the_gaussian(agree: Agree) -> None:
    table = rule(40, 8, CPU).hermite  # of those degrees whose functions end before the rule does
    polynomials = table / table[:, :1]
    agree(table.T @ polynomials, torch.eye(40, dtype=F64, device=CPU), 1e-12)


def test_coefficients_of_the_exponential(agree: Agree) -> None:
    """E e^(sz) h_k(z) = s^k/sqrt(k!) e^(s²/2), the generating function of the Hermite polynomials."""
    deviations, k = numbers(0.3, 1.0, 1.4), torch.arange(64, dtype=F64, device=CPU)
    found = measure(Smooth("exp", torch.exp, torch.exp), deviations, 64, 8)
    s = deviations[:, None]
    expected = torch.exp(k * s.log() - torch.lgamma(k + 1) / 2 + s**2 / 2)
    agree(found.slopes, expected, 1e-13)
    agree(found.mean, torch.exp(deviations**2 / 2), 1e-13)
    agree(found.square, torch.exp(2 * deviations**2), 1e-13)


@pytest.mark.parametrize("name", ["tanh", "silu", "gelu", "relu"])
@pytest.mark.parametrize("terms", [4, 9, 16, 31])
def test_parseval_bounds_what_is_left_out(name: str, terms: int) -> None:
    """The rest from the term K on is at most |ρ|^K sqrt(T(s) T(t)); at ρ = 1 with s = t it is exactly that."""
    of, deviations = activation(name), numbers(0.8, 1.9)
    points = measure(Smooth(name, of.phi, of.derivative), deviations, 2048, 8)
    tails = points.tails()[:, terms] / points.unit()[:, 0]
    for rho in (-0.7, 0.3, 0.9, 1.0):
        powers = rho ** torch.arange(2048, dtype=F64, device=CPU)
        products = points.slopes[0] * points.slopes[1] * powers
        assert abs(products[terms:].sum()) <= abs(rho) ** terms * tails[0] * tails[1] + 1e-15
    beyond = points.slope - points.slopes[:, :terms].square().sum(dim=1)
    torch.testing.assert_close(beyond, tails.square(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9, 1e-13])
@pytest.mark.parametrize("name", ["erf", "gelu", "sin", "cos", "rbf", "cube", "relu", "abs", "leaky-relu"])
def test_the_tolerance_is_kept(name: str, tolerance: float) -> None:
    """Against closed forms; kinks at 0 with correlations up to 0.9."""
    uu, uv, vv = pairs(12, 0.9)
    of = activation(name)
    scales = [(one * two).sqrt() for one, two in zip(of.diagonal(uu), of.diagonal(vv), strict=True)]
    for found, exact, scale in zip(again(name, tolerance)(uu, uv, vv), of.duals(uu, uv, vv), scales, strict=True):
        assert ((found - exact).abs() / scale).max() <= tolerance + 2e-14


def test_a_looser_tolerance_and_smaller_correlations_need_fewer_terms() -> None:
    of, deviations = again("tanh"), numbers(0.5, 2.0)
    counts = [
        len(coefficients(of, deviations, rho, tolerance)[1])
        for rho, tolerance in ((1.0, 1e-13), (1.0, 1e-6), (0.5, 1e-6), (0.1, 1e-6), (0.0, 1e-6))
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 5
    assert counts[-1] == 1, "independent vectors need the mean only"


def test_terms_that_vanish_are_skipped() -> None:
    _, odd = coefficients(again("erf"), numbers(1.0), 0.9, 1e-12)
    assert all(k % 2 == 0 for k in odd), "the derivative of an odd function is even"
    _, nearly_even = coefficients(again("silu"), numbers(1.0), 0.9, 1e-12)
    assert [k for k in nearly_even if k % 2 == 0] == [0], "silu is u/2 and an even function"


def test_dropped_terms_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: the third of the terms with the highest degrees."""
    original = Points.kept

    def fewer(self: Points, correlation: float, tolerance: float) -> list[int] | None:
        kept = original(self, correlation, tolerance)
        return kept if kept is None else kept[len(kept) // 3 :]

    monkeypatch.setattr(Points, "kept", fewer)
    with pytest.raises(AssertionError):
        test_the_tolerance_is_kept("gelu", 1e-9)


def test_a_factor_of_price_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: Σ b_k b_k ρ^k/(k + 1) without its denominator in one term."""
    original = mehler._horner

    def wrong(slopes: tuple[Tensor, Tensor], terms: list[int], rho: Tensor, value: Tensor, slope: Tensor) -> None:
        original(slopes, terms, rho, value, slope)
        value.add_(slopes[0][-2] * slopes[1][-2] * rho ** terms[-2], alpha=1 - 1 / (terms[-2] + 1))

    monkeypatch.setattr(mehler, "_horner", wrong)
    with pytest.raises(AssertionError):
        test_the_tolerance_is_kept("gelu", 1e-3)


def test_a_kink_is_refused_only_where_it_matters(agree: Agree) -> None:
    """relu as a stranger: refused at a correlation of 0.9999, but not on the exact diagonal."""
    stranger = series("mine", lambda u: u.clamp_min(0))
    q = numbers(0.7, 1.3)
    k = numbers(0.7, 0.2, 0.2, 1.3).view(2, 2)
    for found, exact in zip(stranger.duals(q[:, None], k, q), activation("relu").duals(q[:, None], k, q), strict=True):
        agree(found, exact, 1e-12)
    with pytest.raises(
        ValueError, match=r"more than 4096 Hermite terms of mine .* up to 0\.9999 .*: a kink or a steep"
    ):
        stranger.duals(q, 0.9999 * q, q)
    loose = series("mine", lambda u: u.clamp_min(0), tolerance=1e-2)
    for found, exact in zip(loose.duals(q, 0.9999 * q, q), activation("relu").duals(q, 0.9999 * q, q), strict=True):
        agree(found, exact, 1e-2)


def test_kinks_elsewhere_are_to_be_named() -> None:
    """hardtanh, whose E phi' phi' is the probability of a square, and relu6 far in its linear part."""
    uu, uv, vv = numbers(1.3), numbers(0.4), numbers(0.9)
    with pytest.raises(ValueError, match=r"the Hermite coefficients of hardtanh .* a kink that was not named"):
        activation(functional.hardtanh).duals(uu, uv, vv)
    found = series("hardtanh", functional.hardtanh, kinks=(-1, 1)).dual_derivative(uu, uv, vv)
    law = multivariate_normal(mean=[0.0, 0.0], cov=[[1.3, 0.4], [0.4, 0.9]])
    square = law.cdf([1.0, 1.0], lower_limit=[-1.0, -1.0])
    assert abs(float(found) - square) <= 1e-7, "scipy's own tolerance is 1e-8 or so"
    near = series("relu6", functional.relu6, kinks=(6,)).duals(0.01 * uu, 0.01 * uv, 0.01 * vv)
    for one, two in zip(near, activation("relu").duals(0.01 * uu, 0.01 * uv, 0.01 * vv), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=0.0)


def test_naming_a_kink_that_is_none_changes_nothing(agree: Agree) -> None:
    of, k = activation("gelu"), pairs(5)
    named = series("gelu", of.phi, of.derivative, kinks=(-0.7, 2.0, 900.0))
    for found, exact in zip(named.duals(*k), of.duals(*k), strict=True):
        agree(found, exact, 1e-12)


def test_a_users_function_is_the_one_it_equals(agree: Agree) -> None:
    uu, uv, vv = pairs(7)
    for mine, name in (
        (lambda u: 2 * torch.sigmoid(2 * u) - 1, "tanh"),
        (lambda u: u / (1 + torch.exp(-u)), "silu"),
        (torch.nn.GELU(), "gelu"),
        (lambda u: u**3, "cube"),
    ):
        made = activation(mine)
        u = numbers(-1.0, 0.0, 0.4)
        agree(made.derivative(u), activation(name).derivative(u), 1e-13, floor=1.0)
        for found, exact in zip(made.duals(uu, uv, vv), activation(name).duals(uu, uv, vv), strict=True):
            agree(found, exact, 1e-12)
    assert activation(torch.nn.GELU()).name == "GELU"


def test_a_constant_function(agree: Agree) -> None:
    uu, uv, vv = pairs(4)
    for value, of in ((3.0, activation(lambda u: torch.full_like(u, 3.0))), (0.0, activation(torch.zeros_like))):
        found, slopes = of.duals(uu, uv, vv)
        agree(found, torch.full((4, 4), value**2, dtype=F64, device=CPU), 1e-13, floor=1.0)
        assert slopes.abs().max() == 0


def test_large_variances(agree: Agree) -> None:
    """tanh(s z) tends to sign: E sign sign = (2/π) arcsin ρ, with an error of order 1/s²."""
    k = numbers(100.0), numbers(50.0), numbers(100.0)
    agree(activation("tanh").dual(*k), numbers(math.asin(0.5) * 2 / math.pi), 0.02)
    with pytest.raises(ValueError, match="more than 4096 Hermite terms of tanh"):
        activation("tanh").duals(k[0], 99.99 * k[0] / 100, k[0])


def test_the_cost_is_in_the_variances_not_in_the_pairs() -> None:
    seen = []

    def counting(u: Tensor) -> Tensor:
        seen.append(u.numel())
        return torch.tanh(u)

    of = series("tanh", counting, activation("tanh").derivative)
    totals = []
    for count in (20, 40):
        seen.clear()
        of.duals(*pairs(count))
        totals.append(sum(seen))
    assert totals[0] < totals[1] < 2.1 * totals[0]


def test_repeated_variances_are_integrated_once() -> None:
    sizes = []

    def counting(u: Tensor) -> Tensor:
        sizes.append(u.shape[0])
        return torch.tanh(u)

    uu, uv, vv = (torch.ones_like(k) for k in pairs(30))
    series("tanh", counting, activation("tanh").derivative).duals(uu, 0.5 * uv, vv)
    assert max(sizes[1:]) == 1


@pytest.mark.parametrize("limit", [1, 7 * 8, 64 * 8, 10**9])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    uu, uv, vv = pairs(9)
    whole = activation("silu").duals(uu, uv, vv)
    deep = [k.expand(3, 2, 9, 9) if k is uv else k.view(1, 1, *k.shape) for k in (uu, uv, vv)]
    monkeypatch.setattr(mehler, "BLOCK", {"cpu": limit})
    for cut, uncut in zip(activation("silu").duals(uu, uv, vv), whole, strict=True):
        assert torch.equal(cut, uncut)
    for cut, uncut in zip(activation("silu").duals(*deep), whole, strict=True):
        assert torch.equal(cut, uncut.expand(3, 2, 9, 9))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 40))
def test_blocks_cover_a_shape_once(shape: list[int], limit: int) -> None:
    seen = torch.zeros(shape, device=CPU)
    for block in blocks(tuple(shape), limit):
        assert seen[block].numel() <= limit
        seen[block] += 1
    assert (seen == 1).all()


def test_narrow_and_compact_see_what_broadcasting_sees() -> None:
    k = torch.arange(4.0, device=CPU)[:, None]
    whole = k.expand(4, 3)
    for block in blocks((4, 3), 2):
        assert torch.equal(narrow(k, block).expand_as(whole[block]), whole[block])
    assert torch.equal(compact(whole), k)
    assert compact(whole.contiguous()).shape == (4, 3)


def test_a_point_of_no_variance_and_nearly_none(agree: Agree) -> None:
    """E phi'(u)² tends to phi'(0)² without a division by the variance, in float32 too."""
    for dtype, q in ((F64, 1e-24), (torch.float32, 1e-12), (F64, 0.0), (torch.float32, 0.0)):
        k = torch.tensor([q], dtype=dtype, device=CPU)
        value, slopes = activation("sigmoid").duals(k, k / 2, k)
        agree(value, numbers(0.25), 1e-6 if dtype == torch.float32 else 1e-14)
        agree(slopes, numbers(1 / 16), 1e-6 if dtype == torch.float32 else 1e-14)


def test_no_pairs_at_all() -> None:
    empty = torch.empty(0, 3, dtype=F64, device=CPU)
    value, slopes = activation("tanh").duals(empty[:, :1], empty, torch.ones(1, 3, dtype=F64, device=CPU))
    assert value.shape == slopes.shape == (0, 3)


def test_a_users_function_has_its_slope_in_inference_mode_too() -> None:
    u = torch.linspace(-2, 2, 9, dtype=torch.float64, device="cpu")
    with torch.inference_mode():
        found = slope(torch.tanh)(u)
    torch.testing.assert_close(found, 1 - torch.tanh(u) ** 2, rtol=1e-14, atol=0)
