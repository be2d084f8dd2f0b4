"""The exponents of many parametrizations, a panel a quantity: each with its interval, in order of size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tpbench.bench.claim import Claim, ClaimResult, Judged, Prediction, Side, Verdict
from tpbench.bench.plot import canvas
from tpbench.bench.plot.canvas import GREY, palette
from tpbench.bench.plot.legend import write_legend
from tpbench.bench.verdict import band
from tpbench.bench.words import KINDS, MARKS, theory

COLOURS = tuple(palette("colorblind")[index] for index in (0, 1, 2, 4))
"""For the predictions of a panel, in order of size."""
SHOWN = (-1.0, 1.0)
"""Exponents beyond are drawn at the edge: how fast something blew up, or vanished, matters no more."""


def draw_ranked(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw what was judged: a panel a quantity, its estimates in order of size, coloured by their predictions.

    A band shows which values agree with a prediction; estimates that are not supported get their verdict's sign.
    """
    panels: dict[tuple[str, int, int, str], list[Judged]] = {}
    for row in result.judged:
        asked = row.estimate.prediction
        if not math.isnan(row.estimate.value):
            panels.setdefault((asked.quantity, asked.layer, asked.step, KINDS[asked.kind]), []).append(row)
    if rows.empty or not panels:
        return canvas.nothing(claim, "There is no estimate to draw.")
    picture, axes = canvas.sheet(claim, [(i // 2, i % 2) for i in range(len(panels))], lines=1)
    picture.set_size_inches(10.5, picture.get_figheight())
    for panel, ((quantity, layer, step, kind), judged) in zip(axes, panels.items(), strict=True):
        supported = sum(row.verdict is Verdict.SUPPORTED for row in judged)
        told = f"{kind}; {supported} of {len(judged)} supported"
        canvas.head(panel, canvas.subject(quantity, layer, step), [(told, GREY)])
        _panel(panel, judged)
    marks = {
        "estimate, 95% interval": Line2D([], [], color=GREY, marker=".", lw=1),
        "values that agree with the prediction of that colour": Patch(color=(*GREY, 0.2)),
    }
    write_legend(picture, marks, [])
    return picture


def _panel(axes: Axes, judged: Sequence[Judged]) -> None:
    ordered = sorted(judged, key=lambda row: (row.estimate.prediction.predicted, row.estimate.value))
    groups: dict[tuple[float, str], list[tuple[int, Judged]]] = {}
    for place, row in enumerate(ordered, start=1):
        asked = row.estimate.prediction
        groups.setdefault((asked.predicted, theory(asked)), []).append((place, row))
    for colour, ((_, told), part) in zip(COLOURS * len(groups), groups.items(), strict=False):
        for place, row in part:
            low, value, high = (
                min(max(x, SHOWN[0]), SHOWN[1]) for x in (row.estimate.low, row.estimate.value, row.estimate.high)
            )
            axes.plot([place, place], [low, high], color=colour, lw=1, alpha=0.7)
            axes.plot(place, value, ".", color=colour, ms=4)
            if row.verdict is not Verdict.SUPPORTED:
                axes.text(place, value, MARKS[row.verdict], fontsize=9, ha="center", va="bottom")
        _band(axes, part[0][1].estimate.prediction, part[0][1], colour, (part[0][0], part[-1][0]), told)
    axes.set_xlabel("parametrizations, in order of size")
    axes.set_ylabel("exponent of width")


def _band(
    axes: Axes, asked: Prediction, row: Judged, colour: canvas.Colour, places: tuple[int, int], told: str
) -> None:
    low, high = (min(max(end, SHOWN[0]), SHOWN[1]) for end in band(row.estimate))
    axes.fill_between([places[0] - 0.5, places[1] + 0.5], low, high, color=colour, alpha=0.15, lw=0)
    corners = {Side.AT_MOST: (places[1], low, "bottom", "right"), Side.AT_LEAST: (places[0], high, "top", "left")}
    x, y, vertical, horizontal = corners.get(asked.side, (sum(places) / 2, high, "bottom", "center"))
    axes.text(x, y, f"theory {told}", fontsize=8, color=colour, va=vertical, ha=horizontal)
