"""A fit has the errors of least squares, or of its misfit; variances from few seeds follow one law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tpbench.bench.fit import combined_freedom, variance_law, weighted_fit


def test_the_variance_law_recovers_a_law_from_few_seeds_at_each_width() -> None:
    """The mean of many fits: the logarithm of a variance of two seeds is low by 1.27 on average, and corrected."""
    widths, generator = np.array([64.0, 128, 256, 512, 1024]), np.random.default_rng(0)
    seeds = np.array([32.0, 8, 4, 2, 2])
    laws = [variance_law(widths, seeds, 3 / widths * generator.chisquare(seeds - 1) / (seeds - 1)) for _ in range(2000)]
    assert np.allclose(np.log(laws).mean(axis=0), np.log(3 / widths), atol=0.1)
    assert np.array_equal(variance_law(widths, seeds, np.zeros(5)), np.zeros(5))


def test_misfit_widens_the_interval_and_takes_the_freedom_of_the_widths() -> None:
    """Seeds claim an error of 1e-3, the points scatter by 0.1: the interval must follow the scatter and its t."""
    widths, generator = np.arange(3.0), np.random.default_rng(0)
    design, error, seeds = np.stack([np.ones(3), widths], axis=1), np.full(3, 1e-3), np.full(3, 1000.0)
    fits = [weighted_fit(design, 0.1 * generator.standard_normal(3), error, seeds) for _ in range(2000)]
    slopes, errors, freedom = (
        np.array([getattr(f, name)[1] for f in fits]) for name in ("coefficients", "errors", "freedom")
    )
    assert np.median(freedom) < 1.1
    assert (np.abs(slopes) <= stats.t.ppf(0.975, freedom) * errors).mean() > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000)
    assert (np.abs(slopes) <= 1.96 * errors).mean() < 0.8  # what the freedom of the seeds would have said


def test_a_fit_without_misfit_has_the_errors_of_least_squares() -> None:
    design = np.stack([np.ones(5), np.arange(5.0)], axis=1)
    error = np.array([0.1, 0.2, 0.1, 0.3, 0.1])
    fit = weighted_fit(design, design @ [1.0, 2.0], error, np.full(5, 9.0))
    covariance = np.linalg.inv(design.T @ np.diag(error**-2) @ design)
    assert np.allclose(fit.coefficients, [1, 2])
    assert np.allclose(fit.errors, np.sqrt(np.diag(covariance)))
    assert (fit.freedom >= 8).all()
    assert (fit.freedom <= 40).all()
    larger = weighted_fit(design, design @ [1.0, 2.0], error, np.full(5, 9.0), observed=2 * error)
    assert np.allclose(larger.errors, 2 * fit.errors)


def test_the_freedom_of_an_inflated_variance_lies_between_those_of_its_sources() -> None:
    assert combined_freedom(1.0, np.array(40.0), 2) == 40
    assert combined_freedom(1e9, np.array(40.0), 2) == pytest.approx(2, rel=1e-6)
    assert 2 < combined_freedom(3.0, np.array(40.0), 2) < 40
