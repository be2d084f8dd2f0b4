"""The largest fall is found, its interval covers the truth, and its p-values are honest where verdicts look."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import Estimate, Kind, Point, Prediction, Row, Side, Verdict
from tpbench.bench.estimate import ESTIMATORS, HIGH_ENDS, Sample, estimate
from tpbench.bench.monotone import TAIL, largest_fall
from tpbench.bench.table import join, tabulate
from tpbench.bench.verdict import judge

Array = NDArray[np.float64]
Truth = tuple[Sequence[float], Sequence[float], Sequence[int]]
"""The mean, the standard deviation and the number of seeds at each width."""

TOLERANCE, STEP = 0.1, 0.5
TIMES = 800


def widths(count: int) -> list[int]:
    return [64 * 2**i for i in range(count)]


def found(values: Sequence[Array]) -> list[Sample]:
    return [Sample(n, np.asarray(v, dtype=np.float64)) for n, v in zip(widths(len(values)), values, strict=True)]


def theory(kind: Kind = Kind.FALL, tolerance: float = TOLERANCE) -> Prediction:
    return Prediction("mup", "accuracy", kind, 0.0, STEP, tolerance, side=Side.AT_MOST)


def measured(values: Sequence[Array], kind: Kind = Kind.FALL, tolerance: float = TOLERANCE) -> Estimate:
    """Return the estimate through the front door, from rows."""
    tables = []
    for sample in found(values):
        rows = [Row("accuracy", float(x), seed=s, index=i) for (s, i), x in np.ndenumerate(sample.values)]
        tables.append(tabulate(Point("w2v", "mup", sample.width, tuple(range(len(sample.values))), {}, ""), rows))
    return estimate(theory(kind, tolerance), join(tables))


def without_rows(values: Sequence[Array], kind: Kind = Kind.FALL, tolerance: float = TOLERANCE) -> Estimate:
    """Return the same estimate by the functions behind the door, ten times as fast."""
    samples = found(values)
    value, error, freedom = ESTIMATORS[kind](samples, 1.0)
    low = value - error * float(stats.t.ppf(1 - TAIL, freedom))
    high = HIGH_ENDS[kind](samples)
    return Estimate(theory(kind, tolerance), value, error, freedom, low, high, tuple(widths(len(values))))


def exactly(means: Sequence[float], deviation: float, seeds: int = 8) -> list[Array]:
    """Return seeds whose sample mean and deviation are exactly these."""
    noise = np.array([1.0, -1.0] * (seeds // 2)) * math.sqrt((seeds - 1) / seeds)
    return [mean + deviation * noise[:, None] for mean in means]


# Exactness


@pytest.mark.parametrize(
    ("means", "fall", "rise"),
    [
        ((1.0, 2.0, 4.0), -1.0, 2.0),
        ((4.0, 2.0, 1.0), 2.0, -1.0),
        ((1.0, 3.0, 2.5, 2.0, 7.0), 0.5, 5.0),
        ((3.0, 3.0, 3.0, 3.0), 0.0, 0.0),
    ],
)
def test_the_largest_change_between_neighbours_is_found(means: Sequence[float], fall: float, rise: float) -> None:
    for kind, expected in ((Kind.FALL, fall), (Kind.RISE, rise)):
        estimated = measured(exactly(means, 1e-9), kind)
        assert estimated.value == pytest.approx(expected, abs=1e-12)
        assert estimated.low < expected < estimated.high
        assert estimated.high - estimated.low < 1e-3
        assert "correction" not in estimated.note


def test_a_fall_that_comes_back_is_not_hidden_by_the_way_from_first_to_last() -> None:
    """The mean rises by 3 over all widths, and falls by 1 on the way."""
    assert measured(exactly((0.0, 2.0, 1.0, 3.0), 1e-3)).value == pytest.approx(1.0)


def test_the_largest_rise_is_the_largest_fall_of_the_negative() -> None:
    values = drawn(np.random.default_rng(0), TRUTHS["few-seeds"])
    rise, fall = measured(values, Kind.RISE), measured([-v for v in values])
    assert (rise.value, rise.error, rise.low, rise.high) == (fall.value, fall.error, fall.low, fall.high)


def test_the_mean_over_indices_is_what_scatters() -> None:
    noise = np.random.default_rng(1).standard_normal((3, 8, 5))
    whole, reduced = measured(list(noise)), measured([v.mean(axis=1, keepdims=True) for v in noise])
    assert (whole.value, whole.low, whole.high) == pytest.approx((reduced.value, reduced.low, reduced.high))


@pytest.mark.parametrize("kind", [Kind.FALL, Kind.RISE])
def test_the_way_past_the_rows_gives_the_same_estimate(kind: Kind) -> None:
    values = drawn(np.random.default_rng(9), TRUTHS["few-seeds"])
    assert without_rows(values, kind) == measured(values, kind)


@pytest.mark.parametrize("factor", [1e-200, 1e-3, 1e200])
def test_the_interval_scales_with_the_values(factor: float) -> None:
    values = drawn(np.random.default_rng(2), TRUTHS["few-seeds"])
    before, after = measured(values), measured([factor * v for v in values])
    ends = [(e.value, e.error, e.low, e.high) for e in (before, after)]
    assert np.allclose(ends[1], factor * np.array(ends[0]), rtol=1e-9, atol=0)


def test_one_pair_of_many_seeds_has_the_interval_of_welch() -> None:
    """A second road: SciPy's Welch test. With 4000 seeds the law through two variances is the two variances."""
    generator = np.random.default_rng(3)
    first, second = 1.0 + generator.standard_normal(4000), 0.9 + 3 * generator.standard_normal(4000)
    values = found([first[:, None], second[:, None]])
    value, error, freedom = largest_fall(values)
    reach = float(stats.t.isf(TAIL, freedom)) * error
    welch = stats.ttest_ind(first, second, equal_var=False)
    low, high = welch.confidence_interval(0.95)
    ends = value - reach, HIGH_ENDS[Kind.FALL](values)
    assert ends == pytest.approx((low, high), rel=2e-3)
    assert freedom == pytest.approx(welch.df, rel=2e-3)


def test_ends_are_the_largest_over_pairs_by_hand() -> None:
    """Equal deviations and seeds: every pair has one error and 14 degrees of freedom; only the low end pays for two."""
    seeds, deviation = 8, 0.2
    estimated = measured(exactly((1.0, 0.7, 0.65), deviation, seeds))
    law = deviation**2 * math.exp(-float(_digamma_gap((seeds - 1) / 2)))
    error = math.sqrt(2 * law / seeds)
    assert estimated.freedom == pytest.approx(14.0)
    assert estimated.low == pytest.approx(0.3 - error * float(stats.t.isf(0.0125, 14)))
    assert estimated.high == pytest.approx(0.3 + error * float(stats.t.isf(0.025, 14)))


def test_the_low_end_belongs_to_the_surest_fall_and_the_value_to_the_largest() -> None:
    """A fall of 0.3 between quiet widths, one of 0.4 on the way to a noisy one, whose own low end is below 0."""
    quiet, noisy = exactly((0.0, 0.3, 0.0, 0.4), 0.01, 32), exactly((0.0,), 2.0, 32)
    estimated = measured([*quiet, *noisy])
    assert estimated.value == pytest.approx(0.4)
    assert 0.1 < estimated.low < 0.3
    assert estimated.high > 0.8
    assert measured([*quiet[-2:], *quiet[-1:], *noisy]).low < 0


def _digamma_gap(half: float) -> float:
    """Return E log(chi²/freedom) of 2 * half degrees of freedom, by quadrature."""
    return float(stats.chi2(2 * half).expect(lambda x: np.log(x / (2 * half))))


def test_a_diverged_width_is_skipped_and_its_neighbours_are_compared() -> None:
    values = exactly((1.0, 5.0, 0.8, 2.0), 1e-3)
    values[1][0, 0] = math.nan
    estimated = measured(values)
    assert estimated.value == pytest.approx(0.2)
    assert estimated.diverged == (128,)
    assert judge("claim", [estimated]).verdict is not Verdict.SUPPORTED


def test_seeds_that_all_agree_still_have_an_error() -> None:
    estimated = measured([np.full((3, 1), x) for x in (1.0, 1.5, 1.2)])
    assert estimated.value == pytest.approx(0.3)
    assert 0 < estimated.error < 1e-5
    assert estimated.low < 0.3 < estimated.high


# Honesty

TRUTHS: dict[str, Truth] = {
    "ties": ([0.0] * 6, [1.0] * 6, [256, 256, 128, 64, 32, 16]),
    "few-seeds": ([0.0] * 4, [1.0, 0.7, 0.5, 0.35], [4] * 4),
    "two-seeds": ([0.0] * 5, [1.0] * 5, [8, 8, 4, 4, 2]),
    "uneven": ([0.0] * 5, [1.0] * 5, [16, 16, 2, 16, 16]),
    "one-noisy-width": ([0.0] * 5, [1.0, 1.0, 4.0, 1.0, 1.0], [8] * 5),
    "rising": ([0.0, 1.0, 1.5, 1.75, 1.8], [0.2] * 5, [16, 16, 8, 4, 4]),
    "stairs": ([0.4, 0.3, 0.2, 0.1, 0.0], [0.1] * 5, [16, 16, 8, 4, 4]),
    "one-fall": ([0.0, 1.0, 0.9, 2.0], [0.1] * 4, [8] * 4),
}


def drawn(generator: np.random.Generator, truth: Truth) -> list[Array]:
    return [
        mean + deviation * generator.standard_normal((seeds, 1)) for mean, deviation, seeds in zip(*truth, strict=True)
    ]


@functools.cache
def repeated(name: str) -> Array:
    """Return value, error, freedom, low and high of repeated experiments, shape (5, times)."""
    generator = np.random.default_rng(20260202)
    results = [without_rows(drawn(generator, TRUTHS[name])) for _ in range(TIMES)]
    return np.array([(e.value, e.error, e.freedom, e.low, e.high) for e in results]).T


def most_often(level: float, times: int) -> float:
    """Return three binomial standard deviations above a level."""
    return level + 3 * math.sqrt(level * (1 - level) / times)


def true_fall(truth: Truth) -> float:
    return float(-np.diff(truth[0]).min())


@pytest.mark.parametrize("name", TRUTHS)
def test_intervals_cover_the_largest_true_fall(name: str) -> None:
    *_, low, high = repeated(name)
    inside = (low <= true_fall(TRUTHS[name])) & (true_fall(TRUTHS[name]) <= high)
    assert 1 - inside.mean() <= most_often(0.05, TIMES)


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("level", [0.025, 1e-3])
def test_a_true_fall_on_the_edge_of_the_band_is_rejected_no_more_often_than_the_level(name: str, level: float) -> None:
    """The p-value of a verdict, with the band's end at the true fall: the worst truth that is still right."""
    value, error, freedom, *_ = repeated(name)
    p_values = stats.t.sf((value - true_fall(TRUTHS[name])) / error, freedom)
    assert (p_values <= level).mean() <= most_often(level, TIMES)


def test_the_largest_of_equal_means_is_biased_upwards_and_its_own_error_is_not_honest() -> None:
    """Planted: the fall that came out largest, judged by its own Welch interval, misses far more often than 5%."""
    generator = np.random.default_rng(4)
    values, missed = [], 0
    for _ in range(TIMES):
        samples = [v[:, 0] for v in drawn(generator, TRUTHS["ties"])]
        pairs = list(itertools.pairwise(samples))
        first, second = max(pairs, key=lambda pair: float(pair[0].mean() - pair[1].mean()))
        values.append(float(first.mean() - second.mean()))
        low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        missed += not low <= 0 <= high
    assert np.mean(values) > 0.1
    assert missed / TIMES > most_often(0.05, TIMES)


def test_the_freedom_of_welch_alone_alarms_too_often_with_uneven_seeds() -> None:
    """Planted: why the variances of all widths decide the degrees of freedom, at the level of verdicts."""
    generator, level, times = np.random.default_rng(5), 1e-3, 4000
    few, many = generator.standard_normal((times, 2)), generator.standard_normal((times, 16))
    p_values = stats.ttest_ind(few, many, axis=1, equal_var=False, alternative="greater").pvalue
    assert (p_values <= level).mean() > 5 * most_often(level, times)


@pytest.mark.parametrize("freedom", [1.0, 1.3, 2.0, 3.0, 7.5, 30.0, 1e3, 1e7])
def test_quantiles_grow_more_slowly_further_out(freedom: float) -> None:
    """What carries Bonferroni's honesty at 0.025 over to every smaller level (the module's docstring)."""
    levels = np.geomspace(TAIL, 1e-9, 100)
    growth = stats.t.isf(levels, freedom) / stats.t.isf(TAIL, freedom)
    for pairs in (2, 3, 5, 10):
        further = stats.t.isf(levels / pairs, freedom) / stats.t.isf(TAIL / pairs, freedom)
        assert (growth >= further * (1 - 1e-9)).all()


# Verdicts


def verdicts(truth: Truth, times: int = 300, kind: Kind = Kind.FALL) -> list[Verdict]:
    generator, sign = np.random.default_rng(6), 1 if kind is Kind.FALL else -1
    estimates = [without_rows([sign * v for v in drawn(generator, truth)], kind) for _ in range(times)]
    return [judge("claim", [each]).verdict for each in estimates]


STAIRS = tuple(-TOLERANCE * i for i in range(5))


@pytest.mark.parametrize("deviation", [0.02, 0.2, 2.0])
@pytest.mark.parametrize("means", [(0.0,) * 5, STAIRS], ids=["ties", "every-fall-on-the-edge"])
def test_what_is_true_is_hardly_ever_refuted(means: Sequence[float], deviation: float) -> None:
    """At the level of a claim, 1e-3, far below the 5% of an interval."""
    found_verdicts = verdicts((means, [deviation] * 5, [16, 16, 8, 4, 4]))
    assert found_verdicts.count(Verdict.REFUTED) <= 300 * most_often(1e-3, 300)


@pytest.mark.parametrize("kind", [Kind.FALL, Kind.RISE])
def test_a_fall_of_two_tolerances_is_refuted(kind: Kind) -> None:
    """Between 256 and 512 only, in a mean that else rises; the error of that pair is a tenth of the tolerance."""
    means = (0.0, 0.3, 0.5, 0.5 - 2 * TOLERANCE, 0.6)
    truth = (means, [0.02] * 5, [16, 16, 8, 8, 8])
    assert verdicts(truth, 200, kind).count(Verdict.REFUTED) >= 195


def test_a_fall_at_a_well_known_pair_is_refuted_beside_a_noisy_width() -> None:
    """The low end belongs to the pair that is known best, not to the noise of the widest network."""
    means, deviations = (0.5, 0.2, 0.4, 0.6, 0.6), [0.02, 0.02, 0.02, 0.02, 0.3]
    assert verdicts((means, deviations, [16] * 4 + [8]), 200).count(Verdict.REFUTED) >= 190


@pytest.mark.parametrize(
    ("means", "supported"), [((0.0, 0.2, 0.3, 0.35), 285), ((0.0,) * 4, 285), ((0.0, 0.2, 0.2 - TOLERANCE, 0.3), 15)]
)
def test_support_is_common_where_means_rise_and_rare_on_the_edge(means: Sequence[float], supported: int) -> None:
    """The last truth falls by just the tolerance: at most 2.5% of such experiments may support the claim."""
    count = verdicts((means, [0.04] * 4, [16, 16, 8, 8])).count(Verdict.SUPPORTED)
    assert count >= supported if supported > 150 else count <= supported


def test_the_claim_of_a_large_fall_is_never_supported() -> None:
    """Planted: means that fall by the rival's step, under noise of every size."""
    for deviation in (0.01, 0.1, 1.0):
        truth: Truth = ((STEP, 0.0, STEP, STEP), [deviation] * 4, [8] * 4)
        assert Verdict.SUPPORTED not in verdicts(truth, 100)


Draw = Callable[[np.random.Generator], list[Array]]


def correlated(generator: np.random.Generator) -> list[Array]:
    """Networks of one seed share half of their noise at all widths, as with shared data and order of batches."""
    shared = generator.standard_normal((16, 1))
    return [(shared[:seeds] + generator.standard_normal((seeds, 1))) / 2 for seeds in (16, 16, 8, 4, 4)]


def heavy(generator: np.random.Generator) -> list[Array]:
    """Tails of Student's t with four degrees of freedom."""
    return [generator.standard_t(4, (seeds, 1)) for seeds in (16, 16, 8, 4, 4)]


@pytest.mark.parametrize("draw", [correlated, heavy])
def test_shared_noise_and_heavy_tails_are_covered(draw: Draw) -> None:
    generator, missed = np.random.default_rng(8), 0
    for _ in range(TIMES):
        estimated = without_rows(draw(generator))
        missed += not estimated.low <= 0 <= estimated.high
    assert missed / TIMES <= most_often(0.05, TIMES)
