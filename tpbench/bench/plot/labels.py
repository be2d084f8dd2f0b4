"""Words beside the points they name, placed so that they can be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from numpy.typing import NDArray

from tpbench.bench.plot.canvas import GREY, Colour

Vector = NDArray[np.float64]

FONT_SIZE = 6.5
MARKER, GAP, FAR = 3.0, 1.5, 4.0
"""In points: half of a marker, the least room between labels, and from where on a line leads to the label's point."""
DIRECTIONS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)], dtype=np.float64)
DISTANCES = (0.0, 4.0, 9.0, 15.0, 22.0)
"""Where around its point a label may be, the best places first, and how many points further off than need be."""
HIDDEN_MARKER, DISTANCE = 1.0, 2.0
"""What a square point of a hidden marker, and a point of distance, cost in square points of hidden labels."""
MOST_ROUNDS = 20


def place_labels(axes: Axes, spots: Vector, words: Sequence[str], colours: Sequence[Colour]) -> None:
    """Write each word near its spot, of shape (word, 2) in data coordinates; lines lead to words that are far off.

    The axes must have been laid out: how far words are from each other is decided in dots. Labels neither move the
    layout nor leave the axes.
    """
    dots = axes.figure.dpi / 72  # a point
    written = [
        axes.annotate(
            word,
            (float(x), float(y)),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=FONT_SIZE,
            color=colour,
            annotation_clip=False,
            parse_math=False,
            in_layout=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.4, "alpha": 0.7, "shrinkA": 0, "shrinkB": 0},
            zorder=4,
        )
        for word, (x, y), colour in zip(words, spots, colours, strict=True)
    ]
    anchors = axes.transData.transform(spots) / dots
    extents = [text.get_window_extent() for text in written]
    sizes = np.array([(extent.width, extent.height) for extent in extents]) / dots
    inside = axes.get_window_extent()
    centres = spread(anchors, sizes, np.array(inside.min) / dots, np.array(inside.max) / dots)
    for text, offset, size in zip(written, centres - anchors, sizes, strict=True):
        text.set_position((float(offset[0]), float(offset[1])))
        _lead(text, offset, size)


def _lead(text: Annotation, offset: Vector, size: Vector) -> None:
    """Keep the line from a label to its point only where they are far from each other."""
    away = np.maximum(np.abs(offset) - size / 2, 0)
    if text.arrow_patch is not None:
        text.arrow_patch.set_visible(bool(np.hypot(*away) > MARKER + FAR))


def spread(anchors: Vector, sizes: Vector, low: Vector, high: Vector) -> Vector:
    """Return the centres of labels: near their anchors, apart from each other and from all anchors, within a box.

    All arrays have the shape (label, 2), the corners (2,). Every label in turn moves to the place around its anchor
    that costs least, the others standing still, until none moves: what it hides of other labels costs most, then what
    it hides of markers, then how far off it is. Many words in little room go on overlapping, but as little as may be.
    """
    centres = anchors + _around(sizes)[0]
    centres = _kept(centres, sizes, low, high)
    for _ in range(MOST_ROUNDS):
        before = centres.copy()
        for i in range(len(anchors)):
            centres[i] = _cheapest(i, centres, anchors, sizes, low, high)
        if np.array_equal(before, centres):
            break
    return centres


def _around(sizes: Vector) -> Vector:
    """Return the places a label may have, relative to its anchor, (place, label, 2), the one above first."""
    places = [DIRECTIONS * (sizes[:, None] / 2 + MARKER + distance) for distance in DISTANCES]
    return np.asarray(np.concatenate(places, axis=1).swapaxes(0, 1))


def _kept(centres: Vector, sizes: Vector, low: Vector, high: Vector) -> Vector:
    """Return places moved into the box."""
    return np.asarray(np.clip(centres, low + sizes / 2, np.maximum(high - sizes / 2, low + sizes / 2)))


def _cheapest(i: int, centres: Vector, anchors: Vector, sizes: Vector, low: Vector, high: Vector) -> Vector:
    """Return the best place of label i while the others stand still."""
    places = _kept(anchors[i] + _around(sizes[i : i + 1])[:, 0], sizes[i], low, high)
    others = np.arange(len(anchors)) != i
    hidden = _overlap(places, sizes[i] + GAP, centres[others], sizes[others])
    marked = _overlap(places, sizes[i], anchors, np.full_like(anchors, 2 * MARKER))
    away = np.maximum(np.abs(places - anchors[i]) - sizes[i] / 2, 0)
    cost = hidden + HIDDEN_MARKER * marked + DISTANCE * np.hypot(*away.T)
    return np.asarray(places[cost.argmin()])


def _overlap(places: Vector, size: Vector, centres: Vector, sizes: Vector) -> Vector:
    """Return, for a box of one size at each place, the area it shares with other boxes, (place,)."""
    shared = (size + sizes) / 2 - np.abs(places[:, None] - centres)
    shared = np.minimum(np.maximum(shared, 0), np.minimum(size, sizes))
    return np.asarray(shared.prod(axis=-1).sum(axis=-1))
