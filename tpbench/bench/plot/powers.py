"""Size against width on logarithmic axes, where theory is a slope: exponents, and costs of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import LAZY, Claim, ClaimResult, Estimate, Judged, Kind
from tpbench.bench.plot import canvas, legend, marks
from tpbench.bench.plot.canvas import Look
from tpbench.bench.plot.legend import left_out, markers, swatches, write_legend
from tpbench.bench.plot.summary import Curve, by_weights, select, size
from tpbench.bench.words import term

COSTS = ("step-seconds", "peak-bytes", "throughput-fraction")


class Subject(NamedTuple):
    """What one panel shows."""

    quantity: str
    layer: int
    step: int


class Scale(NamedTuple):
    """What the vertical axis shows, and which coordinate's entries scatter independently."""

    unit: str
    label: str


SIZES = Scale("seed", "size of {} (root mean square)")
TIMINGS = Scale("index", "{}")

Panels = Mapping[Subject, Mapping[str, Judged | None]]
"""Each panel's parametrizations, with the judged estimate where theory predicts one."""


def draw_exponents(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw the size (root mean square) against width, a panel a predicted quantity, layer and step."""
    judged = [row for row in result.judged if row.estimate.prediction.kind is Kind.EXPONENT and not _is_cost(row)]
    if not judged:
        return canvas.nothing(claim, "This claim predicts no exponent, so there is none to draw.")
    return _draw(claim, _predicted(judged), rows, SIZES)


def draw_costs(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw time, memory and throughput of a step against width; repeats of a timing are what scatters."""
    judged = [row for row in result.judged if row.estimate.prediction.kind in LINES and _is_cost(row)]
    panels = {subject: dict(entries) for subject, entries in _predicted(judged).items()}
    found = rows[rows["quantity"].isin(COSTS)]
    for quantity, layer, step, name in sorted(
        set(zip(found["quantity"], found["layer"], found["step"], found["parametrization"], strict=True)),
        key=lambda key: (COSTS.index(key[0]), *key[1:]),
    ):
        panels.setdefault(Subject(quantity, int(layer), int(step)), {}).setdefault(name, None)
    if not panels:
        return canvas.nothing(claim, "No cost was measured and none is predicted.")
    return _draw(claim, panels, rows, TIMINGS)


def _is_cost(row: Judged) -> bool:
    return row.estimate.prediction.quantity in COSTS


def _predicted(judged: Iterable[Judged]) -> dict[Subject, dict[str, Judged | None]]:
    panels: dict[Subject, dict[str, Judged | None]] = {}
    for row in judged:
        theory = row.estimate.prediction
        subject = Subject(theory.quantity, theory.layer, theory.step)
        panels.setdefault(subject, {})[theory.parametrization] = row
    return panels


def _draw(claim: Claim, panels: Panels, rows: pd.DataFrame, scale: Scale) -> Picture:
    quantities = list(dict.fromkeys(subject.quantity for subject in panels))
    order = sorted(panels, key=lambda subject: (quantities.index(subject.quantity), *subject[1:]))
    groups = [sum(subject.quantity == quantity for subject in order) for quantity in quantities]
    kinds = by_weights(rows)
    named = canvas.looks((name for entries in panels.values() for name in entries), kinds)
    lines = max(len(entries) for entries in panels.values())
    picture, axes = canvas.sheet(claim, canvas.spots(groups), lines)
    for panel, subject in zip(axes, order, strict=True):
        _panel(panel, subject, panels[subject], rows, named, scale)
    keys = [legend.MEASURED]
    if any(judged for entries in panels.values() for judged in entries.values()):
        keys += [legend.FIT, legend.THEORY, legend.RIVAL]
    names = swatches(named) if LAZY in kinds else markers(named)
    write_legend(picture, names, [*legend.weights(kinds), *keys, *left_out(axes)])
    return picture


def _panel(
    axes: Axes,
    subject: Subject,
    entries: Mapping[str, Judged | None],
    rows: pd.DataFrame,
    named: Mapping[str, Look],
    scale: Scale,
) -> None:
    findings = [(name, judged) for name, judged in entries.items() if judged is not None]
    lines = [(canvas.finding(name, judged), named[name].ink) for name, judged in findings]
    canvas.head(axes, canvas.subject(*subject), lines)
    words = term(subject.quantity)
    found = {name: select(rows, name, *subject) for name in entries}
    curves = {
        name: {kind: size(part, scale.unit) for kind, part in by_weights(own).items()} for name, own in found.items()
    }
    drawn = [curve for kinds in curves.values() for curve in kinds.values()]
    if not marks.drawable(drawn):
        canvas.say(axes, marks.NOTHING_POSITIVE)
        return
    for name, kinds in curves.items():
        marks.points(axes, kinds, named[name], name)
    for name, judged in findings:
        kinds = curves[name]
        pooled = next(iter(kinds.values())) if len(kinds) == 1 else size(found[name], scale.unit)
        LINES[judged.estimate.prediction.kind](axes, judged.estimate, pooled, named[name])
    marks.log_axes(axes, drawn, scale.label.format(words.symbol or words.words))


LINES: Mapping[Kind, Callable[[Axes, Estimate, Curve, Look], None]] = {
    Kind.EXPONENT: marks.slopes,
    Kind.VALUE: lambda axes, estimate, curve, look: marks.levels(axes, estimate.prediction, look),
}
"""How each kind of prediction is drawn over a curve of sizes."""
