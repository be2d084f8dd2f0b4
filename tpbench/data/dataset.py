"""A data set as the benchmark uses it: immutable numbers, where they came from, and a digest that names them.

All inputs lie on one sphere: every example x of d features has x·x = d. The Gaussian process and tangent
kernels of the papers are functions of x·x'/d, so the diagonal of every kernel is then one number, and no
exponent is blurred by examples of different sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LabelArray = NDArray[np.int64]
PixelArray = NDArray[np.uint8]
Array = TypeVar("Array", bound=NDArray[Any])

SPHERE = "each example scaled so that its squared norm is the number of features"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples with their labels, source and licence.

    ``inputs`` is float64 (examples, features); ``labels`` is int64 (examples,) with values in
    ``range(classes)``, or None where there are none, and then ``classes`` is 0. Both are read-only: an array
    that the caller could still write to is copied. ``normalisation`` is a sentence; ``digest`` is the sha256
    of all that the numbers depend on: raw bytes, normalisation and selection.

    Raises ``ValueError`` when there is no example or no feature, when shapes, types or labels disagree with
    the above, or when an input is NaN or infinite (the first such example and feature are named).
    """

    name: str
    inputs: FloatArray = field(repr=False)
    labels: LabelArray | None = field(repr=False)
    classes: int
    source: str
    licence: str
    normalisation: str
    digest: str

    def __post_init__(self) -> None:
        _check_inputs(self.name, self.inputs)
        if self.labels is None:
            if self.classes != 0:
                raise ValueError(
                    f"data set {self.name!r}: without labels there are 0 classes, got {self.classes}; "
                    "give the labels or set classes to 0"
                )
        else:
            _check_labels(self.name, self.labels, len(self.inputs), self.classes)
            object.__setattr__(self, "labels", _read_only(self.labels))
        object.__setattr__(self, "inputs", _read_only(self.inputs))

    @property
    def examples(self) -> int:
        """The number of examples."""
        return len(self.inputs)

    @property
    def features(self) -> int:
        """The number of features of an example."""
        return len(self.inputs[0])


def _check_inputs(name: str, inputs: FloatArray) -> None:
    if inputs.dtype != np.float64 or inputs.ndim != 2 or 0 in inputs.shape:
        raise ValueError(
            f"data set {name!r}: inputs must be float64 of shape (examples, features) with at least one "
            f"example and one feature, got {inputs.dtype} of shape {inputs.shape}"
        )
    finite = np.isfinite(inputs)
    if not finite.all():
        example, feature = np.unravel_index(np.argmin(finite), finite.shape)
        raise ValueError(
            f"data set {name!r}: example {example}, feature {feature} is {inputs[example, feature]}; "
            "every input must be a finite number"
        )


def _check_labels(name: str, labels: LabelArray, examples: int, classes: int) -> None:
    if labels.dtype != np.int64 or labels.shape != (examples,):
        raise ValueError(
            f"data set {name!r}: labels must be int64 of shape ({examples},), one an example, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        example = int(np.argmax(wrong))
        raise ValueError(
            f"data set {name!r}: example {example} has label {labels[example]}; "
            f"labels of {classes} classes lie between 0 and {classes - 1}"
        )


def _read_only(array: Array) -> Array:
    # A read-only view of a writable array is no protection, so only an array that owns its memory is kept.
    if array.flags.owndata and not array.flags.writeable:
        return array
    copied = array.copy()
    return freeze(copied)


def freeze(array: Array) -> Array:
    """Set the read-only flag of a fresh array that nobody else holds yet, and return it."""
    array.flags.writeable = False
    return array


def digest_of(parts: Iterable[bytes | str]) -> str:
    """Return the sha256, in hex, of a list of byte strings and texts.

    The length of each part goes in before the part, so that ("ab", "c") and ("a", "bc") differ.
    """
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "big"))
        total.update(content)
    return total.hexdigest()


def sphere_scale(inputs: FloatArray, name: str) -> FloatArray:
    """Return the factors (examples, 1) by which examples x of d features get x·x = d.

    Raises ``ValueError`` naming the first example that is zero everywhere, because no factor can scale it.
    """
    squared_norms = np.einsum("ef,ef->e", inputs, inputs)
    if not squared_norms.all():
        raise ValueError(
            f"data set {name!r}: example {np.argmin(squared_norms)} is zero everywhere (as is an image, once "
            "centred, that equals the mean image), so it has no direction and cannot be scaled; leave it out"
        )
    factors: FloatArray = np.sqrt(inputs.shape[1] / squared_norms)
    return factors[:, np.newaxis]


def normalise_images(pixels: PixelArray, training_pixels: PixelArray, *, brightest: int, name: str) -> FloatArray:
    """Return images as float64 (examples, features): in [0, 1], centred, on the sphere x·x = features.

    ``pixels`` is uint8 (examples, features) between 0 and ``brightest``; the mean image of
    ``training_pixels`` is subtracted. Raises ``ValueError`` when a pixel is brighter than that, when there is
    no image, when the two differ in features, or when an image is the mean image and cannot be scaled.
    """
    for images in (pixels, training_pixels):
        if len(images) == 0 or images.shape[1] != pixels.shape[1]:
            raise ValueError(
                f"data set {name!r}: images and training images must be at least one each, with as many "
                f"pixels; got shapes {pixels.shape} and {training_pixels.shape}"
            )
        if images.max() > brightest:
            raise ValueError(f"data set {name!r}: a pixel is {images.max()}; the brightest may be {brightest}")
    # Sums of integers are exact, and both quotients are rounded correctly: an image that equals the mean
    # image gives exactly zero, whatever the number of examples.
    mean = training_pixels.sum(axis=0, dtype=np.int64) / (len(training_pixels) * brightest)
    inputs = pixels / np.float64(brightest)
    inputs -= mean
    inputs *= sphere_scale(inputs, name)
    return inputs


def image_normalisation(brightest: int, whose_mean: str) -> str:
    """Return the sentence that says what ``normalise_images`` did."""
    return f"Pixels divided by {brightest}, the mean image of {whose_mean} subtracted, {SPHERE}."


def regression_targets(dataset: Dataset, outputs: int) -> FloatArray:
    """Return the labels as numbers to regress on, float64 (examples, outputs).

    With one output: +1 for even classes and -1 for odd ones. With one output a class: one-hot minus
    1/classes, so that every row sums to zero. Raises ``ValueError`` for any other number, or when there are
    no labels.
    """
    if dataset.labels is None:
        raise ValueError(
            f"data set {dataset.name!r} has no labels, so it gives no targets; make targets with "
            "linear_teacher, or take a data set with labels"
        )
    if outputs == 1:
        return np.where(dataset.labels % 2 == 0, 1.0, -1.0)[:, np.newaxis]
    if outputs == dataset.classes:
        return np.eye(dataset.classes)[dataset.labels] - 1.0 / dataset.classes
    raise ValueError(
        f"data set {dataset.name!r} has {dataset.classes} classes: targets have 1 output (even or odd class) "
        f"or {dataset.classes} outputs (one a class), not {outputs}"
    )


def class_targets(dataset: Dataset, outputs: int) -> FloatArray:
    """Return the labels as probabilities, one-hot, float64 (examples, classes): what cross-entropy compares with.

    Raises ``ValueError`` for any other number of outputs than classes, or when there are no labels.
    """
    if dataset.labels is None or outputs != dataset.classes:
        has = "no labels" if dataset.labels is None else f"{dataset.classes} classes"
        raise ValueError(
            f"cross-entropy needs one output a class: data set {dataset.name!r} has {has}, and {outputs} outputs "
            "were asked for; change outputs, or take another loss"
        )
    return np.eye(dataset.classes)[dataset.labels]


def select(dataset: Dataset, examples: int, seed: int) -> Dataset:
    """Return a random subset of ``examples`` examples, as even over the classes as the data set allows.

    The classes take turns in a random order; a class that has run out leaves its turns to the others. So
    class sizes differ by at most one while no class has run out, and a larger selection with the same seed
    begins with the smaller one. The same data set, number and seed give the same subset. Raises
    ``ValueError`` when the data set has fewer examples, or fewer than one is asked for.
    """
    if not 1 <= examples <= dataset.examples:
        raise ValueError(
            f"data set {dataset.name!r} has {dataset.examples} examples: a selection takes between 1 and "
            f"{dataset.examples} of them, not {examples}"
        )
    chosen = _order(dataset, seed)[:examples]
    return replace(
        dataset,
        inputs=freeze(dataset.inputs[chosen]),
        labels=None if dataset.labels is None else freeze(dataset.labels[chosen]),
        digest=digest_of([dataset.digest, "selection", chosen.astype("<i8").tobytes()]),
    )


def _order(dataset: Dataset, seed: int) -> NDArray[np.intp]:
    """Return all example numbers in the order in which ``select`` takes them."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(dataset.examples)
    if dataset.labels is None:
        return shuffled
    labels = dataset.labels[shuffled]
    turn = generator.permutation(dataset.classes)[labels]
    round_number = np.empty(dataset.examples, dtype=np.intp)
    for label in range(dataset.classes):
        members = np.flatnonzero(labels == label)
        round_number[members] = np.arange(members.size)
    return shuffled[np.lexsort((turn, round_number))]
