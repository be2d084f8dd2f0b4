"""Exponents along a family of parametrizations: what theory says at every place of it, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from tpbench.bench.claim import Axis, Claim, ClaimResult, Judged, Prediction, Verdict
from tpbench.bench.plot import canvas, legend
from tpbench.bench.plot.canvas import palette
from tpbench.bench.plot.legend import write_legend
from tpbench.bench.words import KINDS

COLOURS = dict(zip(Verdict, (palette("colorblind")[index] for index in (0, 1, 3)), strict=True))
"""Supported, inconclusive, refuted; the marks differ, too."""
MARKERS = dict(zip(Verdict, ("o", "s", "X"), strict=True))


def draw_family(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw each predicted exponent against the place of its parametrization on the claim's ``axis``, with its interval.

    A panel a quantity, layer, step and kind.
    """
    if claim.axis is None:
        return canvas.nothing(claim, "This claim has no axis to place parametrizations on.")
    panels: dict[tuple[str, int, int, str], list[Judged]] = {}
    for row in result.judged:
        theory = row.estimate.prediction
        if theory.parametrization in claim.axis.places and not math.isnan(row.estimate.value):
            panels.setdefault((theory.quantity, theory.layer, theory.step, KINDS[theory.kind]), []).append(row)
    if not panels:
        return canvas.nothing(claim, "There is no estimate of a parametrization of this family.")
    picture, axes = canvas.sheet(claim, canvas.spots([len(panels)]), lines=1)
    for space, ((quantity, layer, step, kind), judged) in zip(axes, panels.items(), strict=True):
        canvas.head(space, canvas.subject(quantity, layer, step), [(kind, canvas.GREY)])
        _panel(space, claim.axis, judged)
    marks = {
        verdict.value: Line2D([], [], color=COLOURS[verdict], marker=MARKERS[verdict], lw=0)
        for verdict in Verdict
        if any(row.verdict is verdict for judged in panels.values() for row in judged)
    }
    write_legend(picture, marks, [legend.MEASURED, legend.THEORY, legend.RIVAL])
    return picture


def _panel(axes: Axes, axis: Axis, judged: Sequence[Judged]) -> None:
    ordered = sorted(judged, key=lambda row: axis.places[row.estimate.prediction.parametrization])
    predictions = [row.estimate.prediction for row in ordered]
    x = [axis.places[each.parametrization] for each in predictions]
    axes.plot(x, [each.predicted for each in predictions], "--", color=canvas.GREY, zorder=1)
    axes.plot(x, [each.rival for each in predictions], ":", color=canvas.GREY, zorder=1)
    for place, row in zip(x, ordered, strict=True):
        estimate, colour = row.estimate, COLOURS[row.verdict]
        reach = [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]
        axes.errorbar(
            place, estimate.value, reach, color=colour, marker=MARKERS[row.verdict], capsize=2, elinewidth=1.3
        )
    low, high = _range(predictions, ordered)
    axes.set_ylim(low, high)
    axes.set_xticks(x, [_tick(place, axis) for place in x])
    axes.set_xlabel(axis.label)
    axes.set_ylabel("exponent of n")


def _range(predictions: Sequence[Prediction], judged: Sequence[Judged]) -> tuple[float, float]:
    values = [number for each in predictions for number in (each.predicted, each.rival)]
    values += [row.estimate.value for row in judged]
    margin = 0.08 * (max(values) - min(values)) + 0.03
    return min(values) - margin, max(values) + margin


def _tick(place: float, axis: Axis) -> str:
    """Write a place; named ones have their name below the number."""
    return f"{place:g}\n{axis.named[place]}" if place in axis.named else f"{place:g}"
