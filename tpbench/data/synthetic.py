"""Synthetic data: Gaussian directions, and a linear teacher on them for claims about linear networks."""

from __future__ import annotations

import math

import numpy as np

from tpbench.data.dataset import SPHERE, Dataset, FloatArray, digest_of, freeze, sphere_scale

NORMALISATION = f"Independent standard normal features, {SPHERE}."

# Independent streams of one seed: the inputs are the same whatever is asked of the teacher.
INPUTS, TEACHER, NOISE = range(3)


def gaussian(examples: int, features: int, seed: int) -> Dataset:
    """Return examples uniform on the sphere x·x = features, without labels.

    A standard normal vector has a uniform direction; scaling fixes its norm. Raises ``ValueError`` when a
    size is less than 1.
    """
    _check_sizes(examples=examples, features=features)
    return _dataset("gaussian", _normal((examples, features), seed, INPUTS), ())


def linear_teacher(examples: int, features: int, outputs: int, seed: int, noise: float) -> tuple[Dataset, FloatArray]:
    """Return the inputs of ``gaussian`` and targets y = A x + noise·ε.

    Targets are float64 (examples, outputs), read-only. The entries of A are independent N(0, 1/features), so
    that (A x)_i has variance 1 over teachers; those of ε are independent N(0, 1). The digest of the
    data set covers the targets too. Raises ``ValueError`` when a size is less than 1 or the noise is negative
    or not finite.
    """
    _check_sizes(examples=examples, features=features, outputs=outputs)
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"the noise is a standard deviation, finite and 0 or more, not {noise}")
    teacher = _normal((outputs, features), seed, TEACHER)
    errors = _normal((examples, outputs), seed, NOISE)
    drawn = _normal((examples, features), seed, INPUTS)
    dataset = _dataset("linear-teacher", drawn, (_bytes(teacher), _bytes(noise * errors)))
    return dataset, freeze(dataset.inputs @ teacher.T / math.sqrt(features) + noise * errors)


def _dataset(name: str, drawn: FloatArray, others: tuple[bytes, ...]) -> Dataset:
    # The digest is over the drawn numbers, not over the seed: numpy may change its streams between versions.
    return Dataset(
        name=name,
        inputs=freeze(drawn * sphere_scale(drawn, name)),
        labels=None,
        classes=0,
        source="synthetic: numpy's default generator",
        licence="none needed",
        normalisation=NORMALISATION,
        digest=digest_of([name, repr(drawn.shape), _bytes(drawn), *others, NORMALISATION]),
    )


def _normal(shape: tuple[int, int], seed: int, stream: int) -> FloatArray:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,))).standard_normal(shape)


def _bytes(array: FloatArray) -> bytes:
    return array.astype("<f8").tobytes()


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"synthetic data need at least 1 for the number of {name}, got {size}")
