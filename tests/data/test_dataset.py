"""Laws of data sets: immutable, finite, on one sphere, evenly selected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.data.dataset import (
    Dataset,
    FloatArray,
    LabelArray,
    digest_of,
    freeze,
    normalise_images,
    regression_targets,
    select,
)


def make(inputs: FloatArray, labels: LabelArray | None = None, classes: int = 0) -> Dataset:
    return Dataset("toy", inputs, labels, classes, "here", "none", "none", "0" * 64)


def numbered(sizes: list[int]) -> Dataset:
    """A data set with given class sizes whose only feature is the example's number."""
    labels = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    return make(np.arange(labels.size, dtype=np.float64)[:, np.newaxis], labels, len(sizes))


def numbers(dataset: Dataset) -> list[int]:
    return [int(number) for number in dataset.inputs[:, 0]]


class TestDataset:
    def test_arrays_cannot_be_written_to(self) -> None:
        dataset = numbered([2, 1])
        assert dataset.labels is not None
        with pytest.raises(ValueError, match="read-only"):
            dataset.inputs[0, 0] = 7.0
        with pytest.raises(ValueError, match="read-only"):
            dataset.labels[0] = 1

    @pytest.mark.parametrize("read_only_view", [False, True])
    def test_the_callers_array_stays_the_callers(self, read_only_view: bool) -> None:
        mine, my_labels = np.ones((2, 3)), np.array([0, 1])
        given_inputs = freeze(mine.view()) if read_only_view else mine
        dataset = make(given_inputs, my_labels, 2)
        mine[0, 0], my_labels[0] = 5.0, 1
        assert dataset.inputs[0, 0] == 1.0
        assert dataset.labels is not None
        assert dataset.labels[0] == 0

    def test_a_frozen_array_is_not_copied(self) -> None:
        inputs = freeze(np.ones((2, 3)))
        assert make(inputs).inputs is inputs

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_the_first_number_that_is_not_finite_is_named(self, value: float) -> None:
        inputs = np.ones((4, 3))
        inputs[2, 1] = inputs[3, 0] = value
        with pytest.raises(ValueError, match=rf"example 2, feature 1 is {value}"):
            make(inputs)

    @pytest.mark.parametrize(
        "inputs", [np.ones((0, 3)), np.ones((3, 0)), np.ones(3), np.ones((2, 3), dtype=np.float32)]
    )
    def test_inputs_of_another_shape_or_type_are_rejected(self, inputs: FloatArray) -> None:
        with pytest.raises(ValueError, match="inputs must be float64 of shape"):
            make(inputs)

    @pytest.mark.parametrize("labels", [np.zeros(3, np.int64), np.zeros((2, 1), np.int64), np.zeros(2)])
    def test_labels_of_another_shape_or_type_are_rejected(self, labels: LabelArray) -> None:
        with pytest.raises(ValueError, match=r"labels must be int64 of shape \(2,\)"):
            make(np.ones((2, 3)), labels, 1)

    @pytest.mark.parametrize("label", [-1, 2])
    def test_a_label_that_is_no_class_is_named(self, label: int) -> None:
        with pytest.raises(ValueError, match=f"example 1 has label {label}.*between 0 and 1"):
            make(np.ones((2, 3)), np.array([0, label]), 2)

    def test_classes_without_labels_are_rejected(self) -> None:
        with pytest.raises(ValueError, match="without labels there are 0 classes, got 2"):
            make(np.ones((2, 3)), None, 2)


def test_the_digest_depends_on_where_parts_end() -> None:
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"])
    assert digest_of(["ab"]) == digest_of([b"ab"])


class TestNormaliseImages:
    @given(seed=st.integers(0, 1000), examples=st.integers(2, 30), features=st.integers(2, 20))
    def test_every_example_lies_on_the_sphere(self, seed: int, examples: int, features: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (examples, features)).astype(np.uint8)
        pixels[0], pixels[1:, 0] = 0, 1  # no image is the mean image
        inputs = normalise_images(pixels, pixels, brightest=255, name="toy")
        np.testing.assert_allclose((inputs**2).mean(axis=1), 1.0, rtol=1e-14)

    def test_directions_are_those_of_the_centred_pixels(self) -> None:
        generator = np.random.default_rng(0)
        training = generator.integers(0, 17, (9, 5)).astype(np.uint8)
        pixels = generator.integers(0, 17, (4, 5)).astype(np.uint8)
        inputs = normalise_images(pixels, training, brightest=16, name="toy")
        centred = pixels / 16 - (training / 16).mean(axis=0)
        ratios = inputs / centred
        np.testing.assert_allclose(ratios, np.broadcast_to(ratios[:, :1], ratios.shape), rtol=1e-12)
        assert (ratios > 0).all()

    def test_the_unit_of_brightness_does_not_matter(self) -> None:
        pixels = np.random.default_rng(1).integers(0, 16, (6, 5)).astype(np.uint8)
        np.testing.assert_allclose(
            normalise_images(pixels, pixels, brightest=15, name="toy"),
            normalise_images(17 * pixels, pixels * 17, brightest=255, name="toy"),
            rtol=1e-12,
        )

    @pytest.mark.parametrize("pairs", [1, 5, 24])
    def test_an_image_that_is_the_mean_image_is_named(self, pairs: int) -> None:
        # Pairs of images around 85 (a third of 255, not exact in binary), and one image that is their mean.
        pairs_of_images = np.tile(np.array([[80, 90], [90, 80]], dtype=np.uint8), (pairs, 1))
        pixels = np.concatenate([pairs_of_images, np.full((1, 2), 85, dtype=np.uint8)])
        with pytest.raises(ValueError, match=f"'toy': example {2 * pairs} is zero everywhere"):
            normalise_images(pixels, pixels, brightest=255, name="toy")

    def test_a_pixel_above_the_brightest_is_rejected(self) -> None:
        pixels = np.array([[0, 17], [3, 4]], dtype=np.uint8)
        with pytest.raises(ValueError, match="a pixel is 17; the brightest may be 16"):
            normalise_images(pixels, pixels, brightest=16, name="toy")

    @pytest.mark.parametrize("shape", [(0, 2), (3, 4)])
    def test_training_images_that_do_not_fit_are_rejected(self, shape: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="at least one each, with as many pixels"):
            normalise_images(np.ones((3, 2), np.uint8), np.zeros(shape, np.uint8), brightest=9, name="toy")


class TestRegressionTargets:
    def test_one_output_is_the_parity_of_the_class(self) -> None:
        targets = regression_targets(numbered([1, 2, 1]), 1)
        assert targets.tolist() == [[1.0], [-1.0], [-1.0], [1.0]]

    def test_one_output_a_class_is_one_hot_and_sums_to_zero(self) -> None:
        dataset = numbered([2, 1, 3, 1])
        targets = regression_targets(dataset, 4)
        assert targets.dtype == np.float64
        assert (targets.argmax(axis=1) == dataset.labels).all()
        assert (targets.max(axis=1) == 0.75).all()
        assert (np.sort(targets, axis=1)[:, :-1] == -0.25).all()

    @pytest.mark.parametrize("outputs", [0, 2, 4])
    def test_any_other_number_is_rejected(self, outputs: int) -> None:
        with pytest.raises(ValueError, match=f"1 output .* or 3 outputs .* not {outputs}"):
            regression_targets(numbered([1, 1, 1]), outputs)

    def test_no_labels_give_no_targets(self) -> None:
        with pytest.raises(ValueError, match="has no labels"):
            regression_targets(make(np.ones((2, 3))), 1)


class TestSelect:
    @given(
        sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
        seed=st.integers(0, 99),
        data=st.data(),
    )
    def test_classes_are_as_even_as_they_can_be(self, sizes: list[int], seed: int, data: st.DataObject) -> None:
        dataset = numbered(sizes)
        chosen = select(dataset, data.draw(st.integers(1, dataset.examples)), seed)
        assert chosen.labels is not None
        counts = np.bincount(chosen.labels, minlength=len(sizes))
        # Even: a class is behind the fullest by more than one only when it has run out.
        assert ((counts >= counts.max() - 1) | (counts == sizes)).all()
        assert len(set(numbers(chosen))) == chosen.examples
        assert dataset.labels is not None
        assert (dataset.labels[numbers(chosen)] == chosen.labels).all()

    def test_a_larger_selection_begins_with_the_smaller_one(self) -> None:
        for dataset in (numbered([5, 3, 8]), make(np.arange(16.0)[:, np.newaxis])):
            whole = numbers(select(dataset, 16, 3))
            assert sorted(whole) == list(range(16))
            for examples in range(1, 16):
                assert numbers(select(dataset, examples, 3)) == whole[:examples]

    def test_the_seed_decides_and_the_digest_follows(self) -> None:
        dataset = numbered([20, 20])
        first, again, other = (select(dataset, 10, seed) for seed in (1, 1, 2))
        assert numbers(first) == numbers(again)
        assert first.digest == again.digest
        assert numbers(first) != numbers(other)
        assert len({first.digest, other.digest, dataset.digest, select(dataset, 9, 1).digest}) == 4

    def test_every_example_is_chosen_equally_often(self) -> None:
        dataset, repeats = numbered([4, 4]), 2000
        chosen = np.concatenate([numbers(select(dataset, 2, seed)) for seed in range(repeats)])
        counts = np.bincount(chosen, minlength=8)
        deviation = np.sqrt(repeats * (1 / 4) * (3 / 4))
        assert (np.abs(counts - repeats / 4) < 5 * deviation).all()

    def test_every_class_comes_first_equally_often(self) -> None:
        dataset, repeats = numbered([1, 5, 2]), 900
        first = [select(dataset, 1, seed).labels for seed in range(repeats)]
        counts = np.bincount(np.concatenate([label for label in first if label is not None]), minlength=3)
        assert (np.abs(counts - repeats / 3) < 5 * np.sqrt(repeats * (1 / 3) * (2 / 3))).all()

    def test_the_data_set_selected_from_is_untouched(self) -> None:
        dataset = numbered([3, 3])
        select(dataset, 4, 0)
        assert numbers(dataset) == list(range(6))

    @pytest.mark.parametrize("examples", [-1, 0, 7])
    def test_an_impossible_number_is_rejected(self, examples: int) -> None:
        with pytest.raises(ValueError, match=f"between 1 and 6 of them, not {examples}"):
            select(numbered([3, 3]), examples, 0)
