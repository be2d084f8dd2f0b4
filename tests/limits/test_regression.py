"""Posterior and trained ensembles: against conditioning by hand, sampling, the loop, and each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from tpbench.limits import Array
from tpbench.limits.dynamics import kernel_descent
from tpbench.limits.flow import GradientDescent, GradientFlow, HeavyBall, Schedule
from tpbench.limits.regression import log_marginal_likelihood, posterior, trained_law

Agree = Callable[..., None]
POINTS, TRAIN, TEST, OUTPUTS = 9, [0, 2, 3, 5, 8], [1, 4, 6, 7], 2


def model() -> tuple[Array, Array, Array]:
    """Return two kernels over all points, and targets of the training points."""
    rng = np.random.default_rng(1)
    nngp, ntk = (a @ a.T / 20 for a in rng.standard_normal((2, POINTS, 20)))
    return nngp, ntk + nngp, rng.standard_normal((len(TRAIN), OUTPUTS))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_posterior_is_conditioning_one_point_at_a_time(agree: Agree, noise: float) -> None:
    """Bayes' rule for one number: no matrix is inverted."""
    kernel, _, targets = model()
    mean, covariance = np.zeros((POINTS, OUTPUTS)), kernel.copy()
    for place, value in zip(TRAIN, targets, strict=True):
        gain = covariance[:, place] / (covariance[place, place] + noise)
        mean = mean + np.outer(gain, value - mean[place])
        covariance = covariance - np.outer(gain, covariance[place])
    found = posterior(kernel, targets, train=TRAIN, noise=noise)
    agree(found.mean, mean, 1e-11)
    agree(found.covariance, covariance, 1e-11)


def test_without_noise_the_training_values_are_known(agree: Agree) -> None:
    kernel, _, targets = model()
    found = posterior(kernel, targets, train=TRAIN)
    agree(found.mean[TRAIN], targets, 1e-11)
    agree(found.covariance[TRAIN], np.zeros((len(TRAIN), POINTS)), 1e-12, floor=1.0)
    assert (np.linalg.eigvalsh(found.covariance[np.ix_(TEST, TEST)]) > 0).all()


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_likelihood_is_that_of_a_normal_distribution(agree: Agree, noise: float) -> None:
    kernel, _, targets = model()
    covariance = kernel[np.ix_(TRAIN, TRAIN)] + noise * np.eye(len(TRAIN))
    expected = stats.multivariate_normal(np.zeros(len(TRAIN)), covariance).logpdf(targets.T).sum()
    assert log_marginal_likelihood(kernel, targets, train=TRAIN, noise=noise) == pytest.approx(expected, rel=1e-12)


def test_it_is_largest_for_the_scale_of_the_targets() -> None:
    kernel, _, targets = model()
    solved = np.linalg.solve(kernel[np.ix_(TRAIN, TRAIN)], targets)
    best = float((targets * solved).sum()) / targets.size  # where its derivative by the scale vanishes
    values = [log_marginal_likelihood(scale * best * kernel, targets, train=TRAIN) for scale in (0.9, 1.0, 1.1)]
    assert values[1] > max(values[0], values[2])


@pytest.mark.parametrize("steps", [0, 1, 6, 60])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_trained_law_is_that_of_the_loop_over_sampled_starts(agree: Agree, steps: int, momentum: float) -> None:
    """The loop is affine in f_0, so 2N + 1 starts that have the mean and covariance of the samples give its law
    exactly: ± the columns of sqrt(N Σ), in every output."""
    nngp, ntk, targets = model()
    root = np.linalg.cholesky(POINTS * nngp)
    starts = np.concatenate([root.T, -root.T])[:, :, None].repeat(OUTPUTS, axis=2)
    path = kernel_descent(
        ntk, targets, starts, train=TRAIN, learning_rate=0.3, momentum=momentum, order=[None] * steps
    )[-1]
    law = trained_law(nngp, ntk, targets, train=TRAIN, schedule=GradientDescent(steps, 0.3, momentum))
    agree(law.mean, path.mean(axis=0), 1e-11, floor=1.0)
    for out in range(OUTPUTS):
        agree(law.covariance, np.cov(path[:, :, out].T, bias=True), 1e-11)


def test_samples_have_the_law() -> None:
    nngp, ntk, targets = model()
    starts = np.random.default_rng(3).multivariate_normal(np.zeros(POINTS), nngp, size=4000)[:, :, None]
    path = kernel_descent(ntk, targets[:, :1], starts, train=TRAIN, learning_rate=0.3, order=[None] * 8)[-1][:, :, 0]
    law = trained_law(nngp, ntk, targets[:, :1], train=TRAIN, schedule=GradientDescent(8, 0.3))
    away = path - law.mean[:, 0]
    size = np.sqrt(np.diag(law.covariance))
    assert np.abs(away.mean(axis=0) / size).max() < 4 / math.sqrt(len(path))
    error = away.T @ away / len(path) - law.covariance
    assert np.abs(error / np.outer(size, size)).max() < 6 / math.sqrt(len(path))


def test_the_formula_of_lee_et_al_at_the_end_of_training(agree: Agree) -> None:
    """Multiplied out on the test points: Σ + ΘΘ⁻¹ΣΘ⁻¹Θ - (ΘΘ⁻¹Σ + its transpose)."""
    nngp, ntk, targets = model()
    law = trained_law(nngp, ntk, targets, train=TRAIN, schedule=GradientFlow(math.inf))
    answer = np.linalg.solve(ntk[np.ix_(TRAIN, TRAIN)], ntk[np.ix_(TRAIN, TEST)]).T
    cross = answer @ nngp[np.ix_(TRAIN, TEST)]
    expected = nngp[np.ix_(TEST, TEST)] + answer @ nngp[np.ix_(TRAIN, TRAIN)] @ answer.T - cross - cross.T
    agree(law.covariance[np.ix_(TEST, TEST)], expected, 1e-10)
    agree(law.mean[TEST], answer @ targets, 1e-10)
    agree(law.mean[TRAIN], targets, 1e-10)


@pytest.mark.parametrize("schedule", [GradientFlow(math.inf), GradientDescent(math.inf, 0.5), HeavyBall(math.inf, 1.0)])
def test_training_the_read_out_alone_is_bayesian_in_the_end_and_only_then(agree: Agree, schedule: Schedule) -> None:
    """The tangent kernel of the read-out is the NNGP kernel: sample-then-optimise (Matthews et al. 2017)."""
    nngp, ntk, targets = model()
    bayes = posterior(nngp, targets, train=TRAIN)
    law = trained_law(nngp, nngp, targets, train=TRAIN, schedule=schedule)
    agree(law.mean, bayes.mean, 1e-9)
    agree(law.covariance, bayes.covariance, 1e-9)
    for other in (
        trained_law(nngp, ntk, targets, train=TRAIN, schedule=schedule),
        trained_law(nngp, nngp, targets, train=TRAIN, schedule=GradientFlow(3.0)),
    ):
        assert np.abs(other.mean - bayes.mean).max() > 0.03
        assert np.abs(other.covariance - bayes.covariance).max() > 0.03


def test_a_full_network_is_never_more_certain_than_bayes() -> None:
    """The posterior mean is the best linear guess of f from f(X): any other A leaves a larger covariance."""
    nngp, ntk, targets = model()
    bayes = posterior(nngp, targets, train=TRAIN).covariance
    for time in (0.0, 1.0, 100.0, math.inf):
        law = trained_law(nngp, ntk, targets, train=TRAIN, schedule=GradientFlow(time))
        assert np.linalg.eigvalsh(law.covariance - bayes).min() > -1e-12


def test_the_order_of_points_does_not_matter(agree: Agree) -> None:
    nngp, ntk, targets = model()
    order = np.random.default_rng(5).permutation(POINTS)
    places = [int(np.flatnonzero(order == place)[0]) for place in TRAIN]
    schedule = GradientDescent(5, 0.3, 0.5)
    law = trained_law(nngp, ntk, targets, train=TRAIN, schedule=schedule)
    moved = trained_law(nngp[np.ix_(order, order)], ntk[np.ix_(order, order)], targets, train=places, schedule=schedule)
    agree(moved.mean, law.mean[order], 1e-12)
    agree(moved.covariance, law.covariance[np.ix_(order, order)], 1e-12)


def test_singular_covariances_are_errors_and_noise_is_the_remedy() -> None:
    kernel, _, targets = model()
    twice = [0, 0, 3, 5, 8]
    rounded = kernel[[0, 0, *range(2, POINTS)]][:, [0, 0, *range(2, POINTS)]].astype(np.float32)
    rounded[1, 1] = np.nextafter(rounded[1, 1], np.float32(math.inf))
    for call in (posterior, log_marginal_likelihood):
        with pytest.raises(ValueError, match="the covariance of the 5 training values is singular to rounding"):
            call(kernel, targets, train=twice)
        call(kernel, targets, train=twice, noise=1e-6)
        with pytest.raises(ValueError, match="singular to rounding"):
            call(rounded, targets, train=[0, 1, 3, 5, 8])
        call(kernel.astype(np.float32), targets, train=twice, noise=1e-3)
        with pytest.raises(ValueError, match=r"on no points, got train=\[\]"):
            call(kernel, targets[:0], train=[])
    with pytest.raises(ValueError, match="singular to rounding"):
        posterior(np.zeros((POINTS, POINTS)), targets, train=TRAIN)
    with pytest.raises(ValueError, match="singular to rounding"):
        posterior(-kernel, targets, train=TRAIN)


def test_shapes_and_noise_that_do_not_fit_are_errors() -> None:
    nngp, ntk, targets = model()
    with pytest.raises(ValueError, match=r"a variance of at least 0, got -0\.1"):
        posterior(nngp, targets, train=TRAIN, noise=-0.1)
    with pytest.raises(ValueError, match=r"square, got shape \(9, 8\)"):
        posterior(nngp[:, 1:], targets, train=TRAIN)
    with pytest.raises(ValueError, match=r"targets have shape \(5, out\) for 5 training points, got \(4, 2\)"):
        trained_law(nngp, ntk, targets[1:], train=TRAIN, schedule=GradientFlow(1.0))
    with pytest.raises(ValueError, match=r"between the same points, got \(9, 9\) and \(8, 8\)"):
        trained_law(nngp, ntk[1:, 1:], targets, train=TRAIN, schedule=GradientFlow(1.0))


def test_tensors_are_refused_with_the_remedy() -> None:
    kernel, targets = torch.eye(4, dtype=torch.float64, device="cpu"), torch.ones(2, 1, device="cpu")
    with pytest.raises(TypeError, match=r"a Tensor came: .* as tensor\.cpu\(\)\.numpy\(\)"):
        posterior(kernel, targets, train=range(2))  # type: ignore[arg-type]
