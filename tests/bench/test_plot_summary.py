"""Rows reduced to the points of a curve."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tpbench.bench.claim import ABSENT
from tpbench.bench.plot import summary

COLUMNS = ["parametrization", "width", "seed", "step", "layer", "index", "quantity", "value"]


def table(values: np.ndarray, width: int = 64) -> pd.DataFrame:
    seeds, indices = values.shape
    records = [("muP", width, s, ABSENT, ABSENT, i, "q", values[s, i]) for s in range(seeds) for i in range(indices)]
    return pd.DataFrame(records, columns=COLUMNS)


def test_summaries_agree_with_their_definitions() -> None:
    values = np.random.default_rng(0).normal(size=(12, 5)) + 2
    rows = table(values)
    noise = values.var(axis=0, ddof=1).mean()
    assert summary.size(rows).values == pytest.approx([np.sqrt((values**2).mean())])
    assert summary.spread(rows).values == pytest.approx([np.sqrt(noise)])
    assert summary.bias(rows).values == pytest.approx([np.sqrt((values.mean(axis=0) ** 2).mean() - noise / 12)])
    assert summary.mean(rows).values == pytest.approx([values.mean()])


def test_jackknife_of_a_mean_square_is_its_standard_error() -> None:
    squares = np.random.default_rng(1).uniform(1, 2, size=9)
    curve = summary.size(table(np.sqrt(squares)[:, None]))
    reach = stats.t.ppf(0.975, 8) * squares.std(ddof=1) / 3
    assert curve.low**2 == pytest.approx([squares.mean() - reach])
    assert curve.high**2 == pytest.approx([squares.mean() + reach])


def test_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(2)
    trials = 400
    hits = {"size": 0, "spread": 0, "bias": 0}
    truth = {"size": math.sqrt(5), "spread": 1.0, "bias": 2.0}
    for _ in range(trials):
        rows = table(generator.normal(size=(20, 3)) + 2)
        for name in hits:
            curve = getattr(summary, name)(rows)
            hits[name] += int(curve.low[0] <= truth[name] <= curve.high[0])
    for name, count in hits.items():  # a little under 95% for a variance, whose jackknife is only asymptotically right
        assert 0.89 * trials <= count <= 0.99 * trials, name


def test_bias_below_the_noise_is_hidden_at_the_noise_floor() -> None:
    values = np.random.default_rng(3).normal(size=(10, 4))
    values -= values.mean(axis=0)
    curve = summary.bias(table(values))
    assert not len(curve.values)
    ((width, floor),) = curve.hidden
    assert (width, floor) == (64, pytest.approx(np.sqrt(values.var(axis=0, ddof=1).mean() / 10)))


def test_seeds_that_diverged_are_left_out_and_named() -> None:
    values = np.random.default_rng(4).normal(size=(6, 3))
    spoilt = values.copy()
    spoilt[2, 1], spoilt[4, 0] = np.inf, np.nan
    curve = summary.size(table(spoilt))
    assert curve.diverged == (64,)
    assert curve.values == pytest.approx(summary.size(table(values[[0, 1, 3, 5]])).values)


def test_squares_do_not_overflow() -> None:
    values = np.random.default_rng(5).uniform(1, 2, size=(4, 2))
    scale = 1e300
    huge, usual = summary.size(table(scale * values)), summary.size(table(values))
    for part in ("values", "low", "high"):
        assert getattr(huge, part) / scale == pytest.approx(getattr(usual, part))


def test_two_seeds_have_no_interval_and_zeros_no_point() -> None:
    assert np.isnan(summary.size(table(np.ones((2, 3)))).low).all()
    assert not len(summary.size(table(np.zeros((5, 2)))).values)


STATISTICS = {
    "size": lambda table: (table**2).mean(),
    "spread": lambda table: table.var(axis=0, ddof=1).mean(),
    "bias": lambda table: (table.mean(axis=0) ** 2).mean() - table.var(axis=0, ddof=1).mean() / len(table),
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("seeds", [3, 7, summary.MOST_GROUPS, summary.MOST_GROUPS + 13])
@pytest.mark.parametrize("shift", [2.0, 1e4])
def test_the_jackknife_agrees_with_leaving_seeds_out_one_group_after_the_other(
    name: str, seeds: int, shift: float
) -> None:
    values = np.random.default_rng(seeds).normal(size=(seeds, 4)) + shift
    groups = np.array_split(np.arange(seeds), min(seeds, summary.MOST_GROUPS))
    left_out = np.array([STATISTICS[name](np.delete(values, group, axis=0)) for group in groups])
    many = len(groups)
    reach = stats.t.ppf(0.975, many - 1) * np.sqrt((many - 1) * left_out.var())
    whole = STATISTICS[name](values)
    curve = getattr(summary, name)(table(values))
    assert curve.low**2 == pytest.approx([max(whole - reach, 0)], rel=1e-7)
    assert curve.high**2 == pytest.approx([whole + reach], rel=1e-7)


def test_a_value_told_twice_is_refused() -> None:
    rows = table(np.ones((3, 2)))
    with pytest.raises(ValueError, match="two values for one seed and index"):
        summary.size(pd.concat([rows, rows.iloc[:1]]))
