"""The exponent of sizes over widths: exact on power laws, covered by its interval, deaf to scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.bench.claim import Kind, Prediction
from tpbench.bench.verdict import judge
from tpbench.check.exponent import Array, estimate, fitted_widths, power

WIDTHS = (64, 128, 256, 512, 1024)
FLAT = Prediction("mup", "q", Kind.EXPONENT, 0.0, 0.5, 0.2)


def noisy(rng: np.random.Generator, slope: float, noise: float, seeds: int = 4) -> dict[int, Array]:
    """Scatter that shrinks with the width, as that of sizes does."""
    return {n: (n / 64) ** slope * np.exp(noise * (n / 64) ** -0.3 * rng.standard_normal(seeds)) for n in WIDTHS}


@given(st.floats(-3, 3), st.floats(1e-20, 1e20))
def test_a_power_law_gives_its_power_exactly(slope: float, scale: float) -> None:
    sizes = {n: scale * n**slope * np.ones(2) for n in WIDTHS}
    found = estimate(FLAT, sizes)
    assert found.value == pytest.approx(slope, abs=1e-9)
    assert power(sizes) == pytest.approx(slope, abs=1e-9)
    assert found.high - found.low < 1e-4


def test_the_scale_does_not_matter() -> None:
    sizes = noisy(np.random.default_rng(0), 0.3, 0.2)
    other = {n: 1e30 * values for n, values in sizes.items()}
    one, two = (estimate(FLAT, each) for each in (sizes, other))
    assert (one.value, one.low, one.freedom) == pytest.approx((two.value, two.low, two.freedom))


def test_intervals_cover_and_alarms_are_rare_at_the_edge_of_the_tolerance() -> None:
    rng = np.random.default_rng(0)
    found = [estimate(FLAT, noisy(rng, 0.2, 0.3)) for _ in range(2000)]
    covered = np.mean([each.low <= 0.2 <= each.high for each in found])
    assert 0.93 < covered < 0.985
    refuted = np.mean([judge("q", [each]).verdict == "refuted" for each in found])
    assert refuted <= 2e-3, "1e-3 is promised"


@pytest.mark.parametrize(("freedom", "least"), [(math.inf, 0.88), (3, 0.78)])
def test_intervals_of_skewed_sizes_cover_less_and_alarms_are_more(freedom: float, least: float) -> None:
    """|N(0, 1)| and |t_3| at four seeds: 92% and 84%, as the module says."""
    rng = np.random.default_rng(0)
    draw = rng.standard_normal if math.isinf(freedom) else lambda shape: rng.standard_t(freedom, shape)
    root = 1.0 if math.isinf(freedom) else math.sqrt(freedom / (freedom - 2))
    found = [estimate(FLAT, {n: (n / 64) ** 0.2 * np.abs(draw(4)) / root for n in WIDTHS}) for _ in range(1000)]
    covered = np.mean([each.low <= 0.2 <= each.high for each in found])
    assert least < covered < 0.94
    assert np.mean([judge("q", [each]).verdict == "refuted" for each in found]) <= 1e-2


def test_a_half_power_is_refuted() -> None:
    rng = np.random.default_rng(0)
    refuted = [judge("q", [estimate(FLAT, noisy(rng, 0.5, 0.1))]).verdict == "refuted" for _ in range(200)]
    assert np.mean(refuted) > 0.9


def test_misfit_is_left_to_the_tolerance() -> None:
    """Points off a straight line, known exactly: their average slope is known exactly."""
    sizes = {n: n**0.5 * (1 + 20 / n) * np.ones(4) for n in WIDTHS}
    found = estimate(FLAT, sizes)
    assert 0.42 < found.value < 0.48
    assert found.high - found.low < 1e-3


def test_the_narrowest_of_five_widths_is_left_out() -> None:
    sizes = {n: n**0.25 * np.ones(3) for n in WIDTHS}
    sizes[64] = np.array([1e6, 2e6, 3e6])
    assert estimate(FLAT, sizes).value == pytest.approx(0.25)
    assert estimate(FLAT, sizes).widths == WIDTHS[1:]
    assert fitted_widths(WIDTHS[:4]) == WIDTHS[:4]


def test_diverged_widths_are_left_out_and_never_supported() -> None:
    sizes = {n: np.ones(4) for n in WIDTHS}
    sizes[1024] = np.array([1.0, math.nan, 1.0, 1.0])
    found = estimate(FLAT, sizes)
    assert found.diverged == (1024,)
    assert found.value == pytest.approx(0)
    assert judge("q", [found]).verdict == "inconclusive"


@pytest.mark.parametrize("bad", [0.0, math.inf, math.nan])
def test_too_little_is_no_estimate(bad: float) -> None:
    sizes = {n: np.full(4, bad if n > 128 else 1.0) for n in WIDTHS}
    found = estimate(FLAT, sizes)
    assert math.isnan(found.value)
    assert "3 widths of 2 seeds" in found.note
    assert math.isnan(estimate(FLAT, {n: np.ones(1) for n in WIDTHS}).value)
