"""Images in other layouts: every pixel where it should be, and refusals of what has none."""

from __future__ import annotations

import numpy as np
import pytest

from tpbench import data
from tpbench.data.layout import LAYOUTS, read_as

PIXELS = np.arange(2 * 64, dtype=np.float64).reshape(2, 64)


def test_a_vector_stays_as_it_is() -> None:
    assert read_as(PIXELS, "vector") is PIXELS


def test_a_sequence_has_the_rows_of_the_image() -> None:
    sequence = read_as(PIXELS, "sequence")
    assert sequence.shape == (2, 8, 8)
    np.testing.assert_array_equal(sequence[1, 3], 64 + 8 * 3 + np.arange(8))


def test_a_position_of_an_image_has_the_pixels_of_its_tile() -> None:
    image = read_as(PIXELS, "image")
    assert image.shape == (2, 4, 4, 4)
    for row in range(4):
        for column in range(4):
            tile = PIXELS[1].reshape(8, 8)[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(image[1, row, column], tile.ravel())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_pixel_is_lost(layout: str) -> None:
    digits = data.load("digits", examples=3).inputs
    read = read_as(digits, layout)
    np.testing.assert_array_equal(np.sort(read.reshape(3, -1)), np.sort(digits))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="got 60 features: take another data set, or the layout 'vector'"):
        read_as(PIXELS[:, :60], "sequence")
    with pytest.raises(ValueError, match="sides that 4 divides, got 6 × 6 pixels"):
        read_as(PIXELS[:, :36], "image")
    with pytest.raises(ValueError, match=r"unknown layout 'rows' \(known: vector, sequence, image\)"):
        read_as(PIXELS, "rows")
