"""How fast finite networks approach their limit: bias, spread, and values at infinite width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator

from tpbench.bench.claim import Claim, ClaimResult, Judged, Kind
from tpbench.bench.plot import canvas, legend, marks
from tpbench.bench.plot.canvas import Look
from tpbench.bench.plot.legend import left_out, swatches, write_legend
from tpbench.bench.plot.summary import Curve, bias, mean, select, spread
from tpbench.bench.words import term

MOST_STEPS = 4


class Rate(NamedTuple):
    """How one kind of error is called, summarised and drawn."""

    name: str
    summary: Callable[[pd.DataFrame], Curve]
    marker: str
    hollow: bool


RATES: Mapping[Kind, Rate] = {
    Kind.BIAS: Rate(legend.BIAS, bias, "o", False),
    Kind.SPREAD: Rate(legend.SPREAD, spread, "s", True),
}


class Panel(NamedTuple):
    """One panel: the function that draws it and the judged estimates it shows."""

    draw: Callable[[Axes, pd.DataFrame, Sequence[Judged], Mapping[str, Look]], None]
    judged: Sequence[Judged]


def draw_convergence(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw bias and spread of the errors against width, and the values that are extrapolated to infinite
    width.

    A panel a parametrization, quantity, layer and step for the errors (at most ``MOST_STEPS`` steps, spread
    evenly over those predicted), a panel a quantity, layer and step for the values.
    """
    groups = [*_errors(result), _values(result)]
    panels = [panel for group in groups for panel in group]
    if not panels:
        return canvas.nothing(claim, "This claim predicts no rate of convergence, so there is none to draw.")
    named = canvas.looks(row.estimate.prediction.parametrization for panel in panels for row in panel.judged)
    lines = max(len(panel.judged) for panel in panels)
    placed = canvas.spots([len(group) for group in groups if group])
    picture, axes = canvas.sheet(claim, placed, lines)
    for space, panel in zip(axes, panels, strict=True):
        panel.draw(space, rows, panel.judged, named)
    kinds = {row.estimate.prediction.kind for panel in panels for row in panel.judged}
    keys = [rate.name for kind, rate in RATES.items() if kind in kinds]
    write_legend(picture, swatches(named), [*keys, *_line_keys(kinds), *left_out(axes)])
    return picture


def _errors(result: ClaimResult) -> list[list[Panel]]:
    """Return, a parametrization and quantity, the panels of bias and spread at each of a few steps."""
    found: dict[tuple[str, str, int], dict[int, list[Judged]]] = {}
    for row in result.judged:
        theory = row.estimate.prediction
        if theory.kind in RATES:
            group = found.setdefault((theory.parametrization, theory.quantity, theory.layer), {})
            group.setdefault(theory.step, []).append(row)
    return [
        [Panel(_draw_rates, group[step]) for step in canvas.thin(sorted(group), MOST_STEPS)] for group in found.values()
    ]


def _values(result: ClaimResult) -> list[Panel]:
    found: dict[tuple[str, int, int], list[Judged]] = {}
    for row in result.judged:
        theory = row.estimate.prediction
        if theory.kind is Kind.VALUE:
            found.setdefault((theory.quantity, theory.layer, theory.step), []).append(row)
    return [Panel(_draw_values, judged) for judged in found.values()]


def _draw_rates(axes: Axes, rows: pd.DataFrame, judged: Sequence[Judged], named: Mapping[str, Look]) -> None:
    theory = judged[0].estimate.prediction
    subject = (theory.quantity, theory.layer, theory.step)
    colour, ink = named[theory.parametrization].colour, named[theory.parametrization].ink
    rates = [RATES[row.estimate.prediction.kind] for row in judged]
    lines = [(canvas.finding(rate.name, row), ink) for rate, row in zip(rates, judged, strict=True)]
    canvas.head(axes, f"{theory.parametrization}: {canvas.subject(*subject)}", lines)
    curves = [rate.summary(select(rows, theory.parametrization, *subject)) for rate in rates]
    if not marks.drawable(curves):
        canvas.say(axes, marks.NOTHING_POSITIVE)
        return
    for row, rate, curve in zip(judged, rates, curves, strict=True):
        look = Look(colour, rate.marker)
        marks.points(axes, curve, look, rate.name, hollow=rate.hollow)
        marks.slopes(axes, row.estimate, curve, look)
    words = term(theory.quantity)
    marks.log_axes(axes, curves, f"size of {words.symbol or words.words}")


def _draw_values(axes: Axes, rows: pd.DataFrame, judged: Sequence[Judged], named: Mapping[str, Look]) -> None:
    """Draw means over seeds against 1/n, the extrapolation at 0, and what theory and its rival say."""
    theory = judged[0].estimate.prediction
    subject = (theory.quantity, theory.layer, theory.step)
    names = [row.estimate.prediction.parametrization for row in judged]
    lines = [(canvas.finding(name, row), named[name].ink) for name, row in zip(names, judged, strict=True)]
    canvas.head(axes, canvas.subject(*subject), lines)
    curves = [mean(select(rows, name, *subject)).against_inverse() for name in names]
    if not marks.drawable(curves):
        canvas.say(axes, "There is no row with a finite value to draw here.")
        return
    for row, name, curve in zip(judged, names, curves, strict=True):
        marks.points(axes, curve, named[name], name)
        marks.levels(axes, row.estimate.prediction, named[name])
        marks.extrapolated(axes, row.estimate, named[name])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("1/width (infinite width at 0)")
    axes.set_ylabel(str(term(theory.quantity)))


def _line_keys(kinds: Iterable[Kind]) -> list[str]:
    fitted = [legend.FIT] if set(kinds) & set(RATES) else []
    extrapolated = [legend.EXTRAPOLATED] if Kind.VALUE in kinds else []
    return [legend.MEASURED, *fitted, legend.THEORY, legend.RIVAL, *extrapolated]
