"""Synthetic data: Gaussian directions with random labels, from which nothing can be learned but by heart."""

from __future__ import annotations

import numpy as np

from tpbench.data.dataset import SPHERE, Dataset, FloatArray, digest_of, freeze, sphere_scale

NORMALISATION = f"Independent standard normal features, {SPHERE}."

# Independent streams of one seed.
INPUTS, LABELS = range(2)


def gaussian(examples: int, features: int, seed: int, classes: int = 10) -> Dataset:
    """Return examples uniform on the sphere x·x = features, with labels uniform over the classes.

    A standard normal vector has a uniform direction; scaling fixes its norm. Raises ``ValueError`` when a
    size is less than 1.
    """
    _check_sizes(examples=examples, features=features, classes=classes)
    drawn = _normal((examples, features), seed, INPUTS)
    labels = _stream(seed, LABELS).integers(classes, size=examples, dtype=np.int64)
    # The digest is over the drawn numbers, not over the seed: numpy may change its streams between versions.
    parts: list[bytes | str] = [
        repr(drawn.shape),
        str(classes),
        _bytes(drawn),
        labels.astype("<i8").tobytes(),
        NORMALISATION,
    ]
    return Dataset(
        name="gaussian",
        inputs=freeze(drawn * sphere_scale(drawn, "gaussian")),
        labels=freeze(labels),
        classes=classes,
        source="synthetic: numpy's default generator",
        licence="none needed",
        normalisation=NORMALISATION,
        digest=digest_of(["gaussian", *parts]),
    )


def _stream(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))


def _normal(shape: tuple[int, int], seed: int, stream: int) -> FloatArray:
    return _stream(seed, stream).standard_normal(shape)


def _bytes(array: FloatArray) -> bytes:
    return array.astype("<f8").tobytes()


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"synthetic data need at least 1 for the number of {name}, got {size}")
