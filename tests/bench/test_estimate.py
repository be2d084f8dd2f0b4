"""Estimates are exact on exact power laws, indifferent to what must not matter, and honest under noise.

The simulations draw from fixed generators. Sizes and seeds are those of the claims: a nightly run, a smoke run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import Kind, Point, Prediction, Row
from tpbench.bench.estimate import ESTIMATORS, Sample, estimate, samples
from tpbench.bench.table import join, tabulate

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Array]
"""(generator, width, seeds) -> values of shape (seed, index)."""

NIGHTLY = dict(zip((64, 128, 256, 512, 1024, 2048), (256, 256, 128, 64, 32, 16), strict=True))
SMOKE = dict(zip((64, 128, 256, 512, 1024), (32, 24, 16, 8, 4), strict=True))
DIRECTION = np.array([1.0, -0.5, 0.8, 0.3, -1.2, 0.6, 1.0, 0.2])
ROOT = np.linalg.cholesky(np.full((8, 8), 0.5) + 0.5 * np.eye(8))  # indices correlated by one half


def prediction(kind: Kind, **options: float | int) -> Prediction:
    return Prediction("mup", "size", kind, 0.0, 5.0, 0.1, **options)  # type: ignore[arg-type]


def rows_of(
    values: Mapping[int, Array], parametrization: str = "mup", quantity: str = "size", **where: int
) -> pd.DataFrame:
    """Return the table that runs of these values (width -> (seed, index)) would leave."""
    return join(
        [
            tabulate(
                Point("training", parametrization, width, tuple(range(len(of_width))), {}, ""),
                [
                    Row(quantity, float(value), seed=seed, index=index, **where)
                    for seed, of_seed in enumerate(of_width)
                    for index, value in enumerate(of_seed)
                ],
            )
            for width, of_width in values.items()
        ]
    )


def drawn(draw: Draw, sizes: Mapping[int, int] = NIGHTLY, seed: int = 0) -> dict[int, Array]:
    generator = np.random.default_rng(seed)
    return {width: draw(generator, width, seeds) for width, seeds in sizes.items()}


def lognormal(exponent: float, sigma: float) -> Draw:
    return lambda rng, n, seeds: n**exponent * (1 + 1 / n) * np.exp(sigma * rng.standard_normal((seeds, 1)))


def root_mean_square(exponent: float, coordinates: int) -> Draw:
    def draw(rng: np.random.Generator, n: int, seeds: int) -> Array:
        squares = rng.standard_normal((seeds, coordinates)) ** 2
        return np.asarray(n**exponent * (1 + 4 / n) * np.sqrt(squares.mean(axis=1, keepdims=True)))

    return draw


def biased(size: float, exponent: float = -1.0, noise: float = 1.0) -> Draw:
    """A bias vector size n^exponent (1 + 2/n) along one direction, noise n^(-1/2) with correlated indices."""

    def draw(rng: np.random.Generator, n: int, seeds: int) -> Array:
        bias = size * n**exponent * (1 + 2 / n) * DIRECTION
        return np.asarray(bias + noise * n**-0.5 * rng.standard_normal((seeds, 8)) @ ROOT.T)

    return draw


def to_limit(noise: float) -> Draw:
    return lambda rng, n, seeds: 0.3 - 1 / n + noise * n**-0.5 * rng.standard_normal((seeds, 1))


def shared_neurons(unit: float) -> Callable[[np.random.Generator, Mapping[int, int]], dict[int, Array]]:
    """Sizes of networks whose first n neurons are those of the narrower network of the same seed."""

    def draw(rng: np.random.Generator, sizes: Mapping[int, int]) -> dict[int, Array]:
        total, last, found = np.zeros(max(sizes.values())), 0, {}
        for width, seeds in sizes.items():
            total = total + unit * rng.gamma((width - last) / unit / 2, 2.0, total.size)
            found[width] = np.sqrt(total / width)[:seeds, None]
            last = width
        return found

    return draw


def fitted(kind: Kind, values: Mapping[int, Array], correction: float = 1.0) -> tuple[float, float]:
    """Return the estimate and half of the length of its 95% interval."""
    value, error, freedom = ESTIMATORS[kind]([Sample(width, array) for width, array in values.items()], correction)
    return value, error * float(stats.t.ppf(0.975, freedom))


def simulated(kind: Kind, draw: Draw, sizes: Mapping[int, int], times: int) -> tuple[Array, Array]:
    """Return the estimates and half-lengths of repeated experiments."""
    generator = np.random.default_rng(20260101)
    found = [
        fitted(kind, {width: draw(generator, width, seeds) for width, seeds in sizes.items()}) for _ in range(times)
    ]
    return np.array(found).T[0], np.array(found).T[1]


def least_coverage(times: int, nominal: float = 0.95) -> float:
    """Return three binomial standard deviations below the nominal coverage."""
    return nominal - 3 * math.sqrt(nominal * (1 - nominal) / times)


# Exactness


@pytest.mark.parametrize("exponent", [-1.5, -0.75, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("widths", [3, 4, 5, 7])
def test_a_noiseless_power_law_is_recovered(exponent: float, widths: int) -> None:
    values = {64 * 2**i: np.full((4, 2), 3.0 * (64.0 * 2**i) ** exponent) for i in range(widths)}
    found = estimate(prediction(Kind.EXPONENT), rows_of(values))
    assert abs(found.value - exponent) < 1e-6
    assert found.low <= exponent <= found.high
    assert found.high - found.low < 1e-4
    assert found.widths == tuple(values)
    assert ("no finite-width correction" in found.note) == (widths < 5)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_correction_column_carries_its_own_correction_and_no_other(power: float) -> None:
    """2^(c n^(-p)) is exactly what the column spans; without the column, or with another p, the slope is off."""
    values = {n: np.full((2, 1), n**-0.5 * 2 ** (8 * n**-power)) for n in (32, 64, 128, 256, 512)}
    right, _ = fitted(Kind.EXPONENT, values, correction=power)
    wrong, _ = fitted(Kind.EXPONENT, values, correction=3.0)
    without, _ = fitted(Kind.EXPONENT, {n: values[n] for n in (32, 64, 128, 256)}, correction=power)
    assert abs(right + 0.5) < 1e-6
    assert abs(wrong + 0.5) > 1e-3
    assert abs(without + 0.5) > 1e-2


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_noiseless_value_is_extrapolated_to_infinity(scale: float) -> None:
    values = {n: np.full((3, 2), scale * (0.3 - 5 / n + 7 / n**2)) for n in (16, 32, 64, 128, 256)}
    found = estimate(prediction(Kind.VALUE), rows_of(values))
    assert abs(found.value / scale - 0.3) < 1e-6
    assert found.low <= 0.3 * scale * (1 + 1e-9)
    assert found.high - found.low < 1e-3 * scale


def test_a_value_that_is_zero_everywhere_is_zero() -> None:
    found = estimate(prediction(Kind.VALUE), rows_of({n: np.zeros((3, 1)) for n in (16, 32, 64)}))
    assert found.value == 0.0
    assert abs(found.high - found.low) < 1e-3


@pytest.mark.parametrize("widths", [3, 6])
@pytest.mark.parametrize("exponent", [-2.0, -1.0, -0.437, 0.5])
def test_a_bias_without_noise_is_recovered_between_the_points_of_the_grid(exponent: float, widths: int) -> None:
    bend = 0.77 if widths >= 5 else 0.0
    values = {
        n: np.outer(np.ones(2), DIRECTION) * n**exponent * (1 + bend * 16 / n)
        for n in (16 * 2**i for i in range(widths))
    }
    found = estimate(prediction(Kind.BIAS), rows_of(values))
    assert abs(found.value - exponent) < 1e-4
    assert found.low <= exponent <= found.high


def test_the_spread_is_the_deviation_from_the_mean_of_each_index() -> None:
    """Seeds ±n^(-1/2) about a mean that is huge and differs from index to index."""
    values = {n: np.outer([1, -1, 1, -1], np.ones(8)) * n**-0.5 + 1e3 * DIRECTION for n in (64, 128, 256, 512, 1024)}
    assert abs(estimate(prediction(Kind.SPREAD), rows_of(values)).value + 0.5) < 1e-6
    assert abs(estimate(prediction(Kind.EXPONENT), rows_of(values)).value) < 1e-4


# What must not matter

KINDS: Mapping[Kind, Draw] = {
    Kind.EXPONENT: root_mean_square(-0.5, 4),
    Kind.SPREAD: biased(1.0),
    Kind.BIAS: biased(30.0),
    Kind.VALUE: to_limit(1.0),
    Kind.FALL: to_limit(1.0),
    Kind.RISE: to_limit(1.0),
    Kind.NARROWEST: to_limit(1.0),
    Kind.LARGEST: root_mean_square(-0.5, 4),
    Kind.SMALLEST: root_mean_square(-0.5, 4),
}
POWER_KINDS = (Kind.EXPONENT, Kind.SPREAD, Kind.BIAS)


@pytest.mark.parametrize("kind", Kind)
def test_the_same_rows_give_the_same_interval_bit_for_bit(kind: Kind) -> None:
    rows = rows_of(drawn(KINDS[kind]))
    assert estimate(prediction(kind), rows) == estimate(prediction(kind), rows.copy())


@pytest.mark.parametrize("kind", Kind)
def test_neither_the_order_of_rows_nor_other_rows_matter(kind: Kind) -> None:
    values = drawn(KINDS[kind])
    rows, other = rows_of(values, step=1, layer=2), {n: 7 * v for n, v in values.items()}
    mixed = join(
        [
            rows,
            rows_of(other, "ntp", step=1, layer=2),
            rows_of(other, quantity="length", step=1, layer=2),
            rows_of(other, step=2, layer=2),
            rows_of(other, step=1, layer=1),
        ]
    ).sample(frac=1.0, random_state=3)
    asked = prediction(kind, step=1, layer=2)
    assert estimate(asked, mixed) == estimate(asked, rows)


def test_the_narrowest_width_alone_gives_students_interval() -> None:
    values = drawn(KINDS[Kind.NARROWEST])
    narrowest = values[min(values)].mean(axis=1)
    found = estimate(prediction(Kind.NARROWEST), rows_of(values))
    expected = stats.ttest_1samp(narrowest, 0.0).confidence_interval(0.95)
    assert np.allclose([found.value, found.low, found.high], [narrowest.mean(), expected.low, expected.high])
    others = {n: v if n == min(values) else v + 7 for n, v in values.items()}
    assert estimate(prediction(Kind.NARROWEST), rows_of(others)) == found


@pytest.mark.parametrize("kind", Kind)
def test_the_names_of_seeds_do_not_matter(kind: Kind) -> None:
    """Seeds are permuted and renamed, differently at every width; only rounding may change."""
    values, generator = drawn(KINDS[kind]), np.random.default_rng(1)
    rows = rows_of({n: generator.permutation(v) for n, v in values.items()})
    rows["seed"] += rows["width"]
    before, after = (estimate(prediction(kind), each) for each in (rows_of(values), rows))
    assert np.allclose([after.value, after.low, after.high], [before.value, before.low, before.high], atol=1e-9)


@pytest.mark.parametrize("kind", POWER_KINDS)
@pytest.mark.parametrize("scale", [2.0**-40, -1.0, 1e200])
def test_scaling_all_values_changes_no_exponent(kind: Kind, scale: float) -> None:
    values = drawn(KINDS[kind])
    before, reach = fitted(kind, values)
    after, reach_after = fitted(kind, {n: scale * v for n, v in values.items()})
    assert abs(after - before) < 1e-9
    assert abs(reach_after - reach) < 1e-9


def test_scaling_all_values_scales_the_value_at_infinity() -> None:
    values = drawn(KINDS[Kind.VALUE])
    assert np.allclose(
        fitted(Kind.VALUE, {n: 1e-12 * v for n, v in values.items()}),
        1e-12 * np.array(fitted(Kind.VALUE, values)),
        rtol=1e-9,
        atol=0,
    )


@pytest.mark.parametrize("kind", POWER_KINDS)
def test_a_factor_of_n_moves_the_exponent_by_its_power(kind: Kind) -> None:
    values = drawn(KINDS[kind])
    before, reach = fitted(kind, values)
    after, reach_after = fitted(kind, {n: v * n**0.25 for n, v in values.items()})
    assert abs(after - before - 0.25) < 1e-6
    assert abs(reach_after - reach) < 3e-3  # the ends of a bias interval lie on a grid


def test_from_width_leaves_out_narrower_networks() -> None:
    values = drawn(KINDS[Kind.EXPONENT])
    wide = {n: v for n, v in values.items() if n >= 128}
    found = estimate(prediction(Kind.EXPONENT, from_width=128), rows_of(values))
    value, reach = fitted(Kind.EXPONENT, wide)
    assert found.widths == tuple(wide)
    assert (found.value, found.high) == pytest.approx((value, value + reach), abs=1e-12)


# Rows that are not as they should be


def spoilt(kind: Kind, width: int, value: float) -> pd.DataFrame:
    values = drawn(KINDS[kind])
    values[width] = values[width].copy()
    values[width][0, 0] = value
    return rows_of(values)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_width_with_a_value_that_is_not_finite_is_left_out_and_named(kind: Kind, value: float) -> None:
    found = estimate(prediction(kind), spoilt(kind, 2048, value))
    assert found.diverged == (2048,)
    assert 2048 not in found.widths
    assert "diverged at width 2048" in found.note
    assert math.isfinite(found.value)


@pytest.mark.parametrize("kind", Kind)
def test_fewer_than_three_usable_widths_estimate_nothing(kind: Kind) -> None:
    rows = spoilt(kind, 128, math.nan)
    found = estimate(prediction(kind), rows[rows["width"].isin((64, 128, 256))])
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.diverged == (128,)
    assert "2 usable widths, 3 are needed" in found.note


@pytest.mark.parametrize("kind", Kind)
def test_a_width_with_one_seed_is_left_out_and_named(kind: Kind) -> None:
    rows = rows_of(drawn(KINDS[kind], {**NIGHTLY, 2048: 1}))
    found = estimate(prediction(kind), rows)
    without = estimate(prediction(kind), rows[rows["width"] < 2048])
    assert found.note == "a single seed at width 2048"
    assert found == dataclasses.replace(without, note=found.note)


@pytest.mark.parametrize(("kind", "note"), [(Kind.EXPONENT, "zero"), (Kind.SPREAD, "no spread"), (Kind.BIAS, "zero")])
def test_what_is_zero_everywhere_has_no_exponent(kind: Kind, note: str) -> None:
    found = estimate(prediction(kind), rows_of({n: np.zeros((4, 2)) for n in NIGHTLY}))
    assert math.isnan(found.value)
    assert note in found.note


@pytest.mark.parametrize(("kind", "constant"), [(Kind.EXPONENT, 0.0), (Kind.SPREAD, 0.1)])
def test_a_size_that_vanishes_at_one_width_has_no_exponent(kind: Kind, constant: float) -> None:
    values = drawn(KINDS[kind])
    values[512] = np.full_like(values[512], constant)
    found = estimate(prediction(kind), rows_of(values))
    assert math.isnan(found.value)
    assert "at width 512" in found.note


@pytest.mark.parametrize("kind", [Kind.EXPONENT, Kind.BIAS, Kind.VALUE])
def test_a_width_whose_seeds_happen_to_agree_is_not_believed_more_than_the_others(kind: Kind) -> None:
    """Without a variance of its own it gets the one that the other widths say."""
    values = drawn(KINDS[kind])
    agreeing = {**values, 512: np.repeat(values[512].mean(axis=0, keepdims=True), len(values[512]), axis=0)}
    _, reach = fitted(kind, values)
    _, after = fitted(kind, agreeing)
    assert 0.7 * reach < after


@pytest.mark.parametrize("kind", Kind)
def test_a_value_that_comes_twice_or_not_at_all_is_an_error(kind: Kind) -> None:
    rows = rows_of(drawn(biased(1.0), SMOKE))
    with pytest.raises(ValueError, match="two values for one width, seed and index"):
        estimate(prediction(kind), pd.concat([rows, rows.iloc[[5]]]))
    with pytest.raises(ValueError, match="lacks values at width 64"):
        estimate(prediction(kind), rows.drop(index=5))
    with pytest.raises(ValueError, match="lacks values at width"):
        estimate(prediction(kind), rows[(rows["width"] < 1024) | (rows["index"] < 7)])


def test_rows_that_are_not_there_are_an_error() -> None:
    with pytest.raises(ValueError, match="no rows of 'size'"):
        estimate(prediction(Kind.EXPONENT, step=3), rows_of(drawn(KINDS[Kind.EXPONENT], SMOKE)))


def test_samples_are_seeds_by_indices_in_order_of_width() -> None:
    values = drawn(biased(1.0), SMOKE)
    found = samples(prediction(Kind.BIAS), rows_of(values).sample(frac=1.0, random_state=1))
    assert [sample.width for sample in found] == sorted(values)
    assert all(np.array_equal(sample.values, values[sample.width]) for sample in found)


# Coverage

COVERED: Sequence[tuple[str, Kind, Draw, float]] = (
    ("lognormal", Kind.EXPONENT, lognormal(0.0, 0.1), 0.0),
    ("one-coordinate", Kind.EXPONENT, root_mean_square(-0.5, 1), -0.5),
    ("four-coordinates", Kind.EXPONENT, root_mean_square(0.5, 4), 0.5),
    ("spread", Kind.SPREAD, biased(1.0), -0.5),
    ("value", Kind.VALUE, to_limit(1.0), 0.3),
    ("bias", Kind.BIAS, biased(60.0), -1.0),
    ("bias-near-noise", Kind.BIAS, biased(10.0), -1.0),
)
TIMES = 400


@pytest.mark.parametrize("sizes", [NIGHTLY, SMOKE], ids=["nightly", "smoke"])
@pytest.mark.parametrize(("kind", "draw", "truth"), [case[1:] for case in COVERED], ids=[case[0] for case in COVERED])
def test_intervals_cover_the_truth_and_are_not_wider_than_they_must(
    kind: Kind, draw: Draw, truth: float, sizes: Mapping[int, int]
) -> None:
    values, reach = simulated(kind, draw, sizes, TIMES)
    assert (np.abs(values - truth) <= reach).mean() >= least_coverage(TIMES)
    assert np.median(reach) <= 3 * values.std()


@pytest.mark.parametrize("sizes", [NIGHTLY, SMOKE], ids=["nightly", "smoke"])
def test_estimates_are_not_biased_by_uneven_seeds(sizes: Mapping[int, int]) -> None:
    """Squares of single Gaussians: weights from each width's own variance gave a bias towards steep slopes."""
    values, _ = simulated(Kind.EXPONENT, root_mean_square(0.0, 1), sizes, TIMES)
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(TIMES)


@pytest.mark.parametrize(("sizes", "least"), [(NIGHTLY, 0.90), (SMOKE, 0.87)], ids=["nightly", "smoke"])
def test_very_heavy_tails_cost_little_coverage(sizes: Mapping[int, int], least: float) -> None:
    """A lognormal with sigma 1: the square of a seed has relative variance 54, which a few seeds cannot know."""
    values, reach = simulated(Kind.EXPONENT, lognormal(-0.5, 1.0), sizes, TIMES)
    assert (np.abs(values + 0.5) <= reach).mean() >= least


@pytest.mark.parametrize(
    "sizes",
    [NIGHTLY, SMOKE, dict.fromkeys((64, 128, 256, 512), 32), dict.fromkeys((64, 128, 256), 32)],
    ids=["nightly", "smoke", "four-widths", "three-widths"],
)
def test_networks_that_share_neurons_between_widths_are_covered(sizes: Mapping[int, int]) -> None:
    generator = np.random.default_rng(7)
    found = np.array([fitted(Kind.EXPONENT, shared_neurons(16.0)(generator, sizes)) for _ in range(TIMES)])
    assert (np.abs(found[:, 0]) <= found[:, 1]).mean() >= least_coverage(TIMES)


def test_a_bias_far_below_the_noise_gives_the_widest_interval() -> None:
    values, reach = simulated(Kind.BIAS, biased(0.1), SMOKE, 200)
    assert (np.abs(values + 1) <= reach).mean() > 0.99
    assert (reach > 2).mean() > 0.95  # nothing could be supported or refuted


def test_bias_intervals_cover_where_the_bias_emerges_from_the_noise() -> None:
    """The hardest case: resampling the means gave 84% here, and steep exponents that were too sure of themselves."""
    for size in (1.0, 3.0):
        values, reach = simulated(Kind.BIAS, biased(size), NIGHTLY, TIMES)
        assert (np.abs(values + 1) <= reach).mean() >= least_coverage(TIMES)


@pytest.mark.parametrize("kind", [Kind.EXPONENT, Kind.BIAS])
def test_one_half_is_told_from_one(kind: Kind) -> None:
    draw = root_mean_square(-0.5, 4) if kind is Kind.EXPONENT else biased(8.0, -0.5)
    values, reach = simulated(kind, draw, NIGHTLY, 200)
    assert (np.abs(values + 1) > reach).mean() > 0.95
    assert (np.abs(values + 0.5) <= reach).mean() >= least_coverage(200)


@pytest.mark.parametrize("exponent", [-3.5, 1.5])
def test_a_bias_beyond_the_powers_that_are_tried_is_not_estimated_narrowly(exponent: float) -> None:
    value, reach = fitted(Kind.BIAS, drawn(biased(1e3, exponent, noise=1e-3 if exponent > 0 else 1e-9)))
    assert abs(value - exponent) <= reach
    assert reach >= 4
