"""Images as vectors, as sequences, or as small images with channels: one data set for every architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TILES = 4
"""Tiles along either axis of an image."""


def read_as(inputs: Array, layout: str) -> Array:
    """Return inputs (example, feature) in a layout: the same numbers, elsewhere.

    "vector" leaves them as they are; "sequence" is (example, row, column), an image row by row; "image" is
    (example, 4, 4, features / 16), the pixels of a square tile being the channels of its position. Raises
    ``ValueError`` for an unknown layout, and for inputs that are no square image or one whose sides 4 does not divide.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r} (known: {', '.join(LAYOUTS)})")
    return LAYOUTS[layout](inputs)


def _rows(inputs: Array) -> Array:
    return inputs.reshape(len(inputs), *2 * (_side(inputs),))


def _tiles(inputs: Array) -> Array:
    side = _side(inputs)
    if side % TILES:
        raise ValueError(f"{TILES} × {TILES} tiles ask for sides that {TILES} divides, got {side} × {side} pixels")
    edge = side // TILES
    split = inputs.reshape(len(inputs), TILES, edge, TILES, edge)
    return split.swapaxes(2, 3).reshape(len(inputs), TILES, TILES, edge * edge)


def _side(inputs: Array) -> int:
    side = isqrt(inputs.shape[1])
    if side * side != inputs.shape[1]:
        raise ValueError(
            f"rows and tiles are those of a square image, got {inputs.shape[1]} features: take another data set, or "
            "the layout 'vector'"
        )
    return side


LAYOUTS: Mapping[str, Callable[[Array], Array]] = {"vector": lambda inputs: inputs, "sequence": _rows, "image": _tiles}
