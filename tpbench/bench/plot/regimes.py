"""The map of regimes: where theory draws the boundaries, what was measured, and how often the two agree."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from matplotlib.ticker import MultipleLocator

from tpbench.bench.atlas import (
    FEATURES,
    KERNEL,
    REGIMES,
    THRESHOLD,
    TRIVIAL,
    UNDECIDED,
    UNSTABLE,
    Atlas,
    Chart,
    Region,
    confusion,
    measured_regimes,
)
from tpbench.bench.claim import Claim, ClaimResult
from tpbench.bench.plot import canvas
from tpbench.bench.plot.canvas import GREY, Colour, Look
from tpbench.bench.plot.legend import write_legend
from tpbench.bench.words import number

_COLOURS = canvas.palette("colorblind")
LOOKS: Mapping[str, Look] = {
    UNSTABLE: Look(_COLOURS[3], "X"),
    TRIVIAL: Look((0.55, 0.55, 0.55), "s"),
    KERNEL: Look(_COLOURS[0], "D"),
    FEATURES: Look(_COLOURS[2], "o"),
    UNDECIDED: Look((1.0, 1.0, 1.0), "o"),
}
"""Each regime's colour and marker; the ground of a chart is a paler shade of its predicted regime."""
PALE = 0.78
TICKS = 0.25
HEIGHT = 2.1
"""Inches by which panels are taller than in other pictures."""
AGREE, DISAGREE = (0.87, 0.94, 0.89), (0.98, 0.85, 0.82)


def draw_regimes(claim: Claim, result: ClaimResult, rows: pd.DataFrame, atlas: Atlas | None = None) -> Picture:
    """Draw the charts, with predicted regimes as the ground and measured ones as points, and the confusion table.

    A point is coloured by its measured exponents alone (``atlas.measured_regime``), and framed where it differs from
    the prediction; it is hollow where theory's exponents are too small to be resolved. Parametrizations that lie on no
    chart count in the table.
    """
    if atlas is None:
        return canvas.nothing(claim, "There are no charts to draw regimes on: the job has no atlas.")
    measured = measured_regimes(tuple(atlas.predicted), result.judged, rows)
    charts = [chart for chart in atlas.charts if any(label in measured for label in chart.spots)]
    places = [(i // 2, i % 2) for i in range(len(charts) + 1)]
    picture, axes = canvas.sheet(claim, places)
    picture.set_size_inches(10.5, picture.get_figheight() + HEIGHT * (places[-1][0] + 1))
    for panel, chart in zip(axes, charts, strict=False):
        _chart(panel, chart, atlas, measured)
    _table(axes[-1], atlas, measured)
    write_legend(picture, _legend(), [])
    return picture


def _chart(axes: Axes, chart: Chart, atlas: Atlas, measured: Mapping[str, str]) -> None:
    left, right, bottom, top = chart.box
    canvas.head(axes, chart.title)
    axes.grid(False)
    axes.set_facecolor(_paled(LOOKS[UNSTABLE].colour))
    for region in chart.regions:
        _region(axes, region)
    for label, (x, y) in chart.spots.items():
        if label in measured:
            _spot(axes, x, y, measured[label], near=label in atlas.near)
            if label not in atlas.near and measured[label] != atlas.predicted[label]:
                axes.plot(x, y, "s", ms=12, mfc="none", mec=LOOKS[UNSTABLE].ink, mew=1.8, zorder=5)
    for text, (x, y) in chart.marks.items():
        axes.plot(x, y, "o", ms=13, mfc="none", mec="black", mew=1.2, zorder=5)
        axes.annotate(
            text,
            (x, y),
            xytext=(6, 8),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            zorder=6,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
        )
    axes.xaxis.set_major_locator(MultipleLocator(TICKS))
    axes.yaxis.set_major_locator(MultipleLocator(TICKS))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel(chart.axes[0])
    axes.set_ylabel(chart.axes[1])


def _region(axes: Axes, region: Region) -> None:
    """Draw a polygon, a line or a point of one regime, with its boundary."""
    colour = LOOKS[region.regime].colour
    if len(region.corners) > 2:
        axes.add_patch(Polygon(region.corners, closed=True, fc=_paled(colour), ec=GREY, lw=1.2, zorder=1))
        return
    x, y = zip(*region.corners, strict=True)
    axes.plot(x, y, color=_paled(colour, 0.45), lw=9, solid_capstyle="round", marker="o", ms=9, zorder=2)


def _spot(axes: Axes, x: float, y: float, regime: str, *, near: bool) -> None:
    look = LOOKS[regime]
    if regime == UNDECIDED:
        axes.plot(x, y, "o", mfc="white", mec="black", mew=0.7, ms=7, zorder=4)
        axes.text(x, y, "?", fontsize=6.5, ha="center", va="center_baseline", zorder=5)
        return
    axes.plot(x, y, look.marker, mfc="white" if near else look.colour, mec=look.ink, mew=1.1 if near else 0.7, ms=6)


def _paled(colour: Colour, white: float = PALE) -> Colour:
    red, green, blue = (white + (1 - white) * part for part in colour)
    return (red, green, blue)


def _table(axes: Axes, atlas: Atlas, measured: Mapping[str, str]) -> None:
    """Write how many parametrizations of each predicted regime were measured to be in which."""
    far = {label: found for label, found in measured.items() if label not in atlas.near}
    near = {label: found for label, found in measured.items() if label in atlas.near}
    right = sum(atlas.predicted[label] == found for label, found in far.items())
    canvas.head(axes, f"Regimes: {right} of {len(far)} as theory says")
    axes.set_axis_off()
    columns = [*REGIMES, UNDECIDED]
    beyond, within = confusion(atlas.predicted, far), confusion(atlas.predicted, near)
    for row, predicted in enumerate(REGIMES):
        axes.text(-0.1, row + 0.5, predicted, ha="right", va="center", fontsize=9)
        for column, found in enumerate(columns):
            _cell(axes, column, row, beyond, within, (predicted, found))
    for column, found in enumerate(columns):
        axes.text(column + 0.5, -0.12, found.replace(" ", "\n"), ha="center", va="bottom", fontsize=8.5)
    axes.text(-0.1, -0.12, "predicted ↓   measured →", ha="right", va="bottom", fontsize=8, color=GREY)
    axes.text(-2.2, len(REGIMES) + 0.15, textwrap.fill(_told(len(near)), 76), va="top", fontsize=8, color=GREY)
    axes.set_xlim(-2.2, len(columns) + 0.2)
    axes.set_ylim(len(REGIMES) + 1.2, -0.8)


def _cell(
    axes: Axes, x: int, y: int, far: Counter[tuple[str, str]], near: Counter[tuple[str, str]], key: tuple[str, str]
) -> None:
    count, close = far[key], near[key]
    colour = AGREE if key[0] == key[1] else (DISAGREE if count else (1.0, 1.0, 1.0))
    axes.add_patch(Rectangle((x, y), 1, 1, fc=colour, ec=(0.8, 0.8, 0.8)))
    axes.text(x + 0.5, y + 0.45, str(count or "·"), ha="center", va="center", fontsize=12)
    if close:
        axes.text(x + 0.5, y + 0.8, f"+ {close} near", ha="center", va="center", fontsize=7.5, color=GREY)


def _told(near: int) -> str:
    """Return how the table is read."""
    told = (
        "Measured regimes come from the intervals of exponents alone: an exponent is 0 when its interval lies within "
        f"±{number(THRESHOLD, 3)}, and another when it lies outside."
    )
    more = f" “near”: {near} so near to a boundary that the exponents of theory are not resolved." if near else ""
    return told + more


def _legend() -> dict[str, Artist]:
    points: dict[str, Artist] = {
        f"measured: {name}": Line2D([], [], color=look.colour, marker=look.marker, lw=0, mec=look.ink)
        for name, look in LOOKS.items()
        if name != UNDECIDED
    }
    undecided: dict[str, Artist] = {UNDECIDED: Line2D([], [], marker="$?$", color="black", ms=5, lw=0)}
    others: dict[str, Artist] = {
        "hollow: too near to be told": Line2D([], [], marker="D", mfc="white", mec=GREY, lw=0),
        "differs from theory": Line2D([], [], marker="s", mfc="none", mec=LOOKS[UNSTABLE].ink, ms=9, lw=0),
    }
    grounds: dict[str, Artist] = {
        f"theory: {name}": Patch(fc=_paled(LOOKS[name].colour), ec=GREY, lw=0.8) for name in REGIMES
    }
    return {**points, **undecided, **grounds, **others}
