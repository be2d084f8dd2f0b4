"""The picture of a check: how every layer's sizes go with the width, beside what the parametrization predicts.

One panel a quantity and step, on logarithmic axes; every curve is divided by its size at the narrowest width, so that
all begin at one point and only slopes are left to see. Curves have the colour of their layer's place; the refuted ones
are thick and have their layer's name at the right edge, and so have inconclusive ones where there are few.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from tpbench.bench.claim import Judged, Side, Verdict
from tpbench.bench.plot.canvas import GREY, palette, style
from tpbench.bench.words import exact
from tpbench.check.expect import DECAY, EXPECTED_START
from tpbench.check.exponent import Sizes, size
from tpbench.check.measurements import Layer, Place
from tpbench.check.phrases import WORDS, symbol_text
from tpbench.check.report import Report

_COLOURS = palette("colorblind")
COLOURS = {
    Place.INPUT: _COLOURS[0],
    Place.HIDDEN: _COLOURS[1],
    Place.OUTPUT: _COLOURS[2],
    Place.VECTOR: _COLOURS[4],
    Place.FIXED: _COLOURS[7],
    Place.LOGITS: _COLOURS[3],
}
PLACE_WORDS = {
    Place.INPUT: "first layers, embeddings",
    Place.HIDDEN: "hidden layers",
    Place.OUTPUT: "read-outs",
    Place.VECTOR: "biases and gains",
    Place.FIXED: "parameters of fixed size",
    Place.LOGITS: "attention logits",
}
PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 4.3, 2.9, 3
MOST_LABELS = 6
LEAST_OCTAVES = 1.5
"""An axis spans at least that much each way, so that flat curves look flat."""


@dataclass(frozen=True)
class Curve:
    """One layer's sizes over widths, relative to the narrowest, with the judged estimate."""

    layer: Layer
    judged: Judged
    widths: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def refuted(self) -> bool:
        return self.judged.verdict is Verdict.REFUTED


def draw(report: Report) -> Picture:
    """Return the picture of a report."""
    panels = _panels(report)
    with style():
        columns = min(COLUMNS, max(1, len(panels)))
        rows = -(-len(panels) // columns)
        picture = Picture(figsize=(max(2, columns) * PANEL_WIDTH, 1.3 + rows * PANEL_HEIGHT), layout="constrained")
        FigureCanvasAgg(picture)
        picture.suptitle(_title(report, picture.get_figwidth()), x=0.01, ha="left", fontsize=10, parse_math=False)
        for place, (title, curves) in enumerate(panels.items(), 1):
            _panel(picture.add_subplot(rows, columns, place), title, curves)
        _legend(picture, [curve for curves in panels.values() for curve in curves])
    return picture


def _title(report: Report, inches: float) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count)
    m = report.measurements
    lines = [f"{report.asked}: {report.verdict} ({counts}); {m.optimizer}, {m.seeds} seeds, {m.steps} steps"]
    for finding in report.findings[:3]:
        lines.append(f"{finding.cause}, {_first(finding.layers)}: {finding.fix}")
    return "\n".join(textwrap.fill(line, int(13 * inches), subsequent_indent="    ") for line in lines)


def _first(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _panels(report: Report) -> Mapping[str, list[Curve]]:
    """Return the curves of each panel by its title, in the order of the steps."""
    layers = {layer.number: layer for layer in report.measurements.layers}
    panels: dict[tuple[int, int, str], list[Curve]] = {}
    for row in report.judged:
        predicted = row.estimate.prediction
        layer, key = layers[predicted.layer], (predicted.quantity, predicted.layer, predicted.step)
        curve = _curve(layer, row, report.judgement.sizes[key])
        if curve is not None:
            panels.setdefault(_where(predicted.quantity, predicted.step, layer), []).append(curve)
    return {title: panels[step, rank, title] for step, rank, title in sorted(panels)}


RANKS = ("start", "weight-update", "initial-weight-on-change", "preactivation-change", "logits", "decay")
GROUPS = {"preactivation": "start", EXPECTED_START: "start", "shrinkage": "decay", DECAY: "decay"}
TITLES = {
    "start": "W x at the start",
    "logits": "attention logits: scale · d, size, change",
    "decay": "weight decay a step",
    **{name: WORDS[name] for name in RANKS if name in WORDS},
}


def _where(quantity: str, step: int, layer: Layer) -> tuple[int, int, str]:
    """Return the panel of a row, as something that sorts: step, rank, title."""
    group = "logits" if layer.place is Place.LOGITS else GROUPS.get(quantity, quantity)
    if group in ("start", "logits", "decay"):
        return {"start": 0}.get(group, 10**9), RANKS.index(group), TITLES[group]
    return step, RANKS.index(group), f"{TITLES[group]}, step {step}"


def _curve(layer: Layer, row: Judged, sizes: Sizes) -> Curve | None:
    """Return a layer's curve over the widths where it is finite and positive; None where there are not two."""
    found = {width: size(values) for width, values in sizes.items()}
    kept = {width: value for width, value in found.items() if np.isfinite(value) and value > 0}
    if len(kept) < 2:
        return None
    values = np.array(list(kept.values()))
    return Curve(layer, row, np.array(list(kept), np.float64), values / values[0])


def _panel(axes: Axes, title: str, curves: Sequence[Curve]) -> None:
    axes.set_title(title, loc="left", fontsize=9, parse_math=False)
    widths = np.unique(np.concatenate([curve.widths for curve in curves]))
    low, high = _limits(curves)
    _guides(axes, curves, widths)
    for curve in sorted(curves, key=lambda each: each.refuted):
        colour = COLOURS[curve.layer.place]
        thick, dash = (2.0, "-") if curve.refuted else (0.9, DASHES[curve.judged.verdict])
        axes.plot(curve.widths, curve.values, dash, color=colour, lw=thick, marker="o", ms=4 if curve.refuted else 2.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlim(widths[0], widths[-1])
    axes.set_ylim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(widths.tolist()))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{width:g}" for width in widths]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("width n")
    axes.set_ylabel(f"size ÷ size at n = {widths[0]:g}", fontsize=8)
    _names(axes, _worth_a_name(curves), low, high)


DASHES = {Verdict.SUPPORTED: "-", Verdict.INCONCLUSIVE: ":", Verdict.REFUTED: "-"}


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the ends of the size axis: all points and predictions, with room for words below and above."""
    points = np.concatenate([curve.values for curve in curves])
    ends = [(curve.widths[-1] / curve.widths[0]) ** _predicted(curve) for curve in curves]
    logs = np.log2(np.concatenate([points, np.array(ends)]))
    return float(2 ** (min(logs.min(), -LEAST_OCTAVES) - 0.6)), float(2 ** (max(logs.max(), LEAST_OCTAVES) + 0.3))


def _predicted(curve: Curve) -> float:
    return curve.judged.estimate.prediction.predicted


def _guides(axes: Axes, curves: Sequence[Curve], widths: NDArray[np.float64]) -> None:
    """Draw each predicted power through the common point, with its tolerance, and write it at the panel's end."""
    ratio = widths / widths[0]
    powers = sorted({curve.judged.estimate.prediction.predicted for curve in curves})
    for power in powers:
        same = [curve for curve in curves if curve.judged.estimate.prediction.predicted == power]
        predictions = [curve.judged.estimate.prediction for curve in same]
        tolerance = max(p.tolerance for p in predictions)
        bound = all(p.side is Side.AT_MOST for p in predictions)
        upper = ratio ** (power + tolerance)
        lower = np.full_like(ratio, 1e-30) if bound else ratio ** (power - tolerance)
        axes.fill_between(widths, lower, upper, color=GREY, alpha=0.10, lw=0, zorder=0)
        axes.plot(widths, ratio**power, "--", color=GREY, lw=1.2, zorder=1)
        axes.annotate(
            _told(power, bound) + (f" ({_places(same)})" if len(powers) > 1 else ""),
            (widths[-1], ratio[-1] ** power if power < 0 else upper[-1]),
            xytext=(-3, -3 if power < 0 else 2),
            textcoords="offset points",
            fontsize=7,
            color=GREY,
            ha="right",
            va="top" if power < 0 else "bottom",
            bbox={"facecolor": "white", "alpha": 0.6, "lw": 0, "pad": 0.5},
            zorder=5,
            parse_math=False,
        )


def _told(power: float, bound: bool) -> str:
    """Return a prediction in words."""
    if not power:
        return "theory: must not grow" if bound else "theory: flat"
    return f"theory: {'at most ' if bound else ''}n^{exact(power)}"


def _places(curves: Sequence[Curve]) -> str:
    return ", ".join(dict.fromkeys(PLACE_WORDS[curve.layer.place] for curve in curves))


def _worth_a_name(curves: Sequence[Curve]) -> list[Curve]:
    """Return the refuted curves, and the inconclusive ones where all of them find room."""
    told = [curve for curve in curves if curve.judged.verdict is not Verdict.SUPPORTED]
    return told if len(told) <= MOST_LABELS else [curve for curve in curves if curve.refuted]


def _names(axes: Axes, curves: Sequence[Curve], low: float, high: float) -> None:
    """Write the names of layers beside the right edge, apart from each other, the steepest first."""
    ordered = sorted(curves, key=lambda curve: -abs(np.log2(curve.values[-1])))
    shown = sorted(ordered[:MOST_LABELS], key=lambda curve: curve.values[-1])
    span = np.log2(high / low)
    at = [float(np.log2(curve.values[-1] / low) / span) for curve in shown]
    for curve, height in zip(shown, _apart(at), strict=True):
        axes.text(
            1.01,
            height,
            f"{_short(_name(curve))} {curve.judged.estimate.value:+.2f}".replace("-", "−"),
            transform=axes.transAxes,
            fontsize=7,
            va="center",
            color=tuple(0.7 * part for part in COLOURS[curve.layer.place]),
            parse_math=False,
        )
    if len(ordered) > MOST_LABELS:
        axes.text(1.01, -0.05, f"and {len(ordered) - MOST_LABELS} more", transform=axes.transAxes, fontsize=7, va="top")


def _name(curve: Curve) -> str:
    """Return a layer's name; an attention has several quantities in one panel, so these are named as well."""
    if curve.layer.place is not Place.LOGITS:
        return curve.layer.name
    predicted = curve.judged.estimate.prediction
    what = symbol_text(predicted.quantity, curve.layer)
    return f"{curve.layer.name.removesuffix(' logits')}: {what}" + (
        f", step {predicted.step}" if predicted.step else ""
    )


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def _apart(heights: Sequence[float], gap: float = 0.075) -> list[float]:
    """Return ascending heights in [0, 1] moved apart by at least ``gap``."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else max(height, 0.02))
    over = max(0.0, placed[-1] - 0.98) if placed else 0.0
    for i in range(len(placed) - 1, -1, -1):
        ceiling = 0.98 if i == len(placed) - 1 else placed[i + 1] - gap
        placed[i] = min(placed[i], ceiling) if over else placed[i]
    return placed


def _legend(picture: Picture, curves: Sequence[Curve]) -> None:
    places = [place for place in COLOURS if any(curve.layer.place is place for curve in curves)]
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=COLOURS[place], marker="o", ms=3, label=PLACE_WORDS[place]) for place in places
    ]
    handles += [
        Line2D([], [], color=GREY, lw=2.0, marker="o", ms=4, label="refuted (name, measured power of n)"),
        Line2D([], [], color=GREY, lw=0.9, ls=":", label="inconclusive (named where few)"),
        Line2D([], [], color=GREY, lw=1.2, ls="--", label="theory"),
        Patch(facecolor=(*GREY, 0.15), label="theory ± tolerance (all below, for a bound)"),
    ]
    picture.legend(handles=handles, loc="outside lower left", ncols=4, fontsize=8)
