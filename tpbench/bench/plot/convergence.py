"""How fast finite networks approach their limit: bias, spread, and values at infinite width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import DENSE, LAZY, Claim, ClaimResult, Judged, Kind
from tpbench.bench.plot import canvas, legend, marks
from tpbench.bench.plot.canvas import Look
from tpbench.bench.plot.legend import left_out, swatches, write_legend
from tpbench.bench.plot.summary import Curve, bias, by_weights, mean, select, spread
from tpbench.bench.words import term

MOST_STEPS = 2
MOST_VALUE_STEPS = 1  # the last: there a rival has come furthest


class Rate(NamedTuple):
    """How one kind of error is summarised and drawn (``lazy`` is the marker of lazy weights), and called by weights."""

    summary: Callable[[pd.DataFrame], Curve]
    marker: str
    hollow: bool
    lazy: str
    keys: Mapping[str, str]

    @property
    def name(self) -> str:
        """What the error is called."""
        return self.keys[DENSE]


RATES: Mapping[Kind, Rate] = {
    Kind.BIAS: Rate(bias, "o", False, "D", legend.BIASES),
    Kind.SPREAD: Rate(spread, "s", True, "d", legend.SPREADS),
}


class Panel(NamedTuple):
    """One panel: the function that draws it and the judged estimates it shows."""

    draw: Callable[[Axes, pd.DataFrame, Sequence[Judged], Mapping[str, Look]], None]
    judged: Sequence[Judged]


def draw_convergence(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw bias and spread of the errors against width, and the values that are extrapolated to infinite
    width.

    A panel a parametrization, quantity, layer and step for the errors (at most ``MOST_STEPS`` steps, spread
    evenly over those predicted), a panel a quantity, layer and step for the values (the last step of every
    parametrization). The title says what is left out.
    """
    groups = [*_errors(result), _values(result)]
    panels = [panel for group in groups for panel in group]
    if not panels:
        return canvas.nothing(claim, "This claim predicts no rate of convergence, so there is none to draw.")
    weights = by_weights(rows)
    named = canvas.looks((row.estimate.prediction.parametrization for panel in panels for row in panel.judged), weights)
    lines = max(len(panel.judged) for panel in panels)
    placed = canvas.spots([len(group) for group in groups if group])
    picture, axes = canvas.sheet(claim, placed, lines, _left_out(result, panels))
    for space, panel in zip(axes, panels, strict=True):
        panel.draw(space, rows, panel.judged, named)
    kinds = {row.estimate.prediction.kind for panel in panels for row in panel.judged}
    keys = [rate.keys[weight] for kind, rate in RATES.items() if kind in kinds for weight in weights]
    if Kind.VALUE in kinds and LAZY in weights:
        keys += [legend.VALUES[weight] for weight in weights]
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
    steps: dict[tuple[str, str, int], list[int]] = {}
    for row in result.judged:
        theory = row.estimate.prediction
        steps.setdefault((theory.parametrization, theory.quantity, theory.layer), []).append(theory.step)
    found: dict[tuple[str, int, int], list[Judged]] = {}
    for row in result.judged:
        theory = row.estimate.prediction
        own = sorted(set(steps[theory.parametrization, theory.quantity, theory.layer]))
        if theory.kind is Kind.VALUE and theory.step in own[-MOST_VALUE_STEPS:]:
            found.setdefault((theory.quantity, theory.layer, theory.step), []).append(row)
    return [Panel(_draw_values, judged) for judged in found.values()]


def _left_out(result: ClaimResult, panels: Iterable[Panel]) -> str:
    """Say which judged steps of which quantities have no panel."""
    drawn = {id(row) for panel in panels for row in panel.judged}
    steps: dict[str, set[int]] = {}
    for row in result.judged:
        theory = row.estimate.prediction
        if theory.kind in (*RATES, Kind.VALUE) and id(row) not in drawn:
            steps.setdefault(term(theory.quantity).words, set()).add(theory.step)
    told = [f"{words} at step {', '.join(map(str, sorted(found)))}" for words, found in steps.items()]
    return f"Judged as well, and not drawn: {'; '.join(told)}." if told else ""


def _draw_rates(axes: Axes, rows: pd.DataFrame, judged: Sequence[Judged], named: Mapping[str, Look]) -> None:
    theory = judged[0].estimate.prediction
    subject = (theory.quantity, theory.layer, theory.step)
    colour, ink = named[theory.parametrization].colour, named[theory.parametrization].ink
    rates = [RATES[row.estimate.prediction.kind] for row in judged]
    lines = [(canvas.finding(rate.name, row), ink) for rate, row in zip(rates, judged, strict=True)]
    canvas.head(axes, f"{theory.parametrization}: {canvas.subject(*subject)}", lines)
    found = select(rows, theory.parametrization, *subject)
    curves = [{kind: rate.summary(part) for kind, part in by_weights(found).items()} for rate in rates]
    drawn = [curve for kinds in curves for curve in kinds.values()]
    if not marks.drawable(drawn):
        canvas.say(axes, marks.NOTHING_POSITIVE)
        return
    for row, rate, kinds in zip(judged, rates, curves, strict=True):
        look = Look(colour, rate.marker, rate.lazy)
        marks.points(axes, kinds, look, rate.name, hollow=rate.hollow)
        pooled = next(iter(kinds.values())) if len(kinds) == 1 else rate.summary(found)
        marks.slopes(axes, row.estimate, pooled, look)
    words = term(theory.quantity)
    marks.log_axes(axes, drawn, f"size of {words.symbol or words.words}")


def _draw_values(axes: Axes, rows: pd.DataFrame, judged: Sequence[Judged], named: Mapping[str, Look]) -> None:
    """Draw means over seeds against 1/n, the extrapolation at 0, and what theory and its rival say."""
    theory = judged[0].estimate.prediction
    subject = (theory.quantity, theory.layer, theory.step)
    names = [row.estimate.prediction.parametrization for row in judged]
    lines = [(canvas.finding(name, row), named[name].ink) for name, row in zip(names, judged, strict=True)]
    canvas.head(axes, canvas.subject(*subject), lines)
    curves = [
        {kind: mean(part).against_inverse() for kind, part in by_weights(select(rows, name, *subject)).items()}
        for name in names
    ]
    if not marks.drawable(curve for kinds in curves for curve in kinds.values()):
        canvas.say(axes, "There is no row with a finite value to draw here.")
        return
    for row, name, kinds in zip(judged, names, curves, strict=True):
        marks.points(axes, kinds, named[name], name)
        marks.levels(axes, row.estimate.prediction, named[name])
        marks.extrapolated(axes, row.estimate, named[name])
    marks.inverse_axis(axes, [curve for kinds in curves for curve in kinds.values()])
    axes.set_ylabel(str(term(theory.quantity)))


def _line_keys(kinds: Iterable[Kind]) -> list[str]:
    fitted = [legend.FIT] if set(kinds) & set(RATES) else []
    extrapolated = [legend.EXTRAPOLATED] if Kind.VALUE in kinds else []
    return [legend.MEASURED, *fitted, legend.THEORY, legend.RIVAL, *extrapolated]
