"""Synthetic data: on the sphere, reproducible, and targets that are linear up to the noise."""

from __future__ import annotations

import numpy as np
import pytest

from tpbench.data import gaussian, linear_teacher


def test_examples_lie_on_the_sphere_and_have_no_labels() -> None:
    dataset = gaussian(50, 7, seed=0)
    np.testing.assert_allclose((dataset.inputs**2).mean(axis=1), 1.0, rtol=1e-14)
    assert dataset.labels is None
    assert dataset.classes == 0


def test_directions_are_uniform() -> None:
    examples, features = 40_000, 5
    inputs = gaussian(examples, features, seed=1).inputs
    second = inputs.T @ inputs / examples  # the identity, on the sphere x·x = features
    # On that sphere E x_i^4 = 3 d/(d+2) and E x_i^2 x_j^2 = d/(d+2): five standard errors each.
    fourth = 3 * features / (features + 2)
    deviation = np.sqrt(np.where(np.eye(features) == 1, fourth - 1, fourth / 3) / examples)
    assert (np.abs(second - np.eye(features)) < 5 * deviation).all()
    assert (np.abs(inputs.mean(axis=0)) < 5 / np.sqrt(examples)).all()
    kurtosis = (inputs**4).mean(axis=0)
    assert (np.abs(kurtosis - fourth) < 5 * (inputs**4).std(axis=0) / np.sqrt(examples)).all()


def test_the_seed_decides_and_the_digest_follows() -> None:
    first, again, other = (gaussian(6, 4, seed) for seed in (1, 1, 2))
    assert (first.inputs == again.inputs).all()
    assert first.digest == again.digest
    assert (first.inputs != other.inputs).all()
    assert first.digest != other.digest


def test_the_digest_depends_on_the_shape() -> None:
    assert gaussian(6, 4, 0).digest != gaussian(4, 6, 0).digest


def test_the_teachers_inputs_are_the_gaussian_ones() -> None:
    dataset, _ = linear_teacher(6, 4, outputs=3, seed=5, noise=0.3)
    assert (dataset.inputs == gaussian(6, 4, seed=5).inputs).all()


def test_without_noise_the_targets_are_linear() -> None:
    dataset, targets = linear_teacher(30, 4, outputs=3, seed=0, noise=0.0)
    teacher, *_ = np.linalg.lstsq(dataset.inputs, targets, rcond=None)
    assert targets.shape == (30, 3)
    np.testing.assert_allclose(dataset.inputs @ teacher, targets, rtol=0, atol=1e-13)


def test_with_noise_they_are_not_and_the_noise_scales() -> None:
    clean, one, three = (linear_teacher(3000, 4, 2, seed=0, noise=noise)[1] for noise in (0.0, 1.0, 3.0))
    np.testing.assert_allclose(three - clean, 3 * (one - clean), rtol=0, atol=1e-13)
    noise = (one - clean).ravel()
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs((noise**2).mean() - 1) < 5 * np.sqrt(2 / noise.size)


def test_an_output_of_the_teacher_has_variance_one() -> None:
    outputs = 20_000
    _, targets = linear_teacher(1, 9, outputs, seed=3, noise=0.0)
    assert abs((targets**2).mean() - 1) < 5 * np.sqrt(2 / outputs)


def test_inputs_teacher_and_noise_are_independent() -> None:
    # All three have one shape here, so that streams that coincide would give three equal matrices.
    size = 40
    (dataset, clean), (_, noisy) = (linear_teacher(size, size, size, seed=0, noise=noise) for noise in (0, 1))
    teacher = np.linalg.solve(dataset.inputs, clean).T
    drawn = np.stack([matrix.ravel() for matrix in (dataset.inputs, teacher, noisy - clean)])
    assert (np.abs(np.corrcoef(drawn) - np.eye(3)) < 5 / size).all()


def test_the_digest_covers_the_targets() -> None:
    cases = [(2, 0.0), (2, 0.1), (3, 0.1)]
    digests = {linear_teacher(5, 4, outputs, seed=0, noise=noise)[0].digest for outputs, noise in cases}
    assert len(digests) == 3


def test_targets_are_read_only() -> None:
    _, targets = linear_teacher(5, 4, 1, seed=0, noise=0.0)
    with pytest.raises(ValueError, match="read-only"):
        targets[0, 0] = 1.0


@pytest.mark.parametrize("noise", [-0.1, np.nan, np.inf])
def test_a_noise_that_is_no_deviation_is_rejected(noise: float) -> None:
    with pytest.raises(ValueError, match="the noise is a standard deviation"):
        linear_teacher(5, 4, 1, seed=0, noise=noise)


def test_sizes_below_one_are_rejected() -> None:
    with pytest.raises(ValueError, match="the number of examples, got 0"):
        gaussian(0, 4, seed=0)
    with pytest.raises(ValueError, match="the number of features, got -1"):
        gaussian(4, -1, seed=0)
    with pytest.raises(ValueError, match="the number of outputs, got 0"):
        linear_teacher(4, 4, 0, seed=0, noise=0.0)
