"""Synthetic data: on the sphere, reproducible, with labels that tell nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tpbench.data import gaussian


def test_examples_lie_on_the_sphere() -> None:
    dataset = gaussian(50, 7, seed=0)
    np.testing.assert_allclose((dataset.inputs**2).mean(axis=1), 1.0, rtol=1e-14)


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


def test_labels_are_uniform_and_tell_nothing_of_the_inputs() -> None:
    examples, classes = 20_000, 4
    dataset = gaussian(examples, 3, seed=2, classes=classes)
    assert dataset.labels is not None
    counts = np.bincount(dataset.labels, minlength=classes)
    assert len(counts) == classes
    assert (np.abs(counts - examples / classes) < 5 * np.sqrt(examples / classes)).all()
    for label in range(classes):
        mean = dataset.inputs[dataset.labels == label].mean(axis=0)
        assert (np.abs(mean) < 5 / np.sqrt(counts[label])).all()


def test_the_digest_covers_the_labels() -> None:
    assert len({gaussian(50, 4, seed=0, classes=classes).digest for classes in (2, 3, 10)}) == 3


def test_sizes_below_one_are_rejected() -> None:
    with pytest.raises(ValueError, match="the number of examples, got 0"):
        gaussian(0, 4, seed=0)
    with pytest.raises(ValueError, match="the number of features, got -1"):
        gaussian(4, -1, seed=0)
    with pytest.raises(ValueError, match="the number of classes, got 0"):
        gaussian(4, 4, seed=0, classes=0)
