"""A quantity of finite networks over epochs of training, against what infinitely wide networks have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import stats

from tpbench.bench.claim import ABSENT, Claim, ClaimResult
from tpbench.bench.plot import canvas, legend
from tpbench.bench.plot.canvas import GREY, Colour
from tpbench.bench.plot.legend import write_legend
from tpbench.bench.plot.summary import FEWEST_SEEDS, LEVEL
from tpbench.bench.words import term

LIMIT, KERNEL_LIMIT = "limit-", "kernel-limit-"
"""What stands before a quantity in the names of its limits' rows: the feature-learning one, and the kernel one."""
MOST_WIDTHS = 6
LIMIT_LABEL, KERNEL_LABEL = "infinite width, muP (theory)", "infinite width, kernel limit"
BAND = "mean over seeds, 95% interval"


class Subject(NamedTuple):
    """What one row of panels shows; its limits have the same layer."""

    quantity: str
    layer: int


class Scene(NamedTuple):
    """The rows of one panel: finite networks and the two limits, under one parametrization."""

    subject: Subject
    parametrization: str
    finite: pd.DataFrame
    limit: pd.DataFrame
    kernel: pd.DataFrame


def draw_epochs(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw the predicted quantities against epoch: a panel a parametrization, a group of panels a quantity.

    A quantity Q is drawn when its finite networks have rows at some step, which is the epoch; where some predicted
    quantities have rows named ``limit-Q`` or ``kernel-limit-Q``, only those are; a predicted ``Q-gap``, which is Q
    measured from one limit to the other, is drawn as Q. Finite widths, from light to dark,
    are means over seeds (each a mean over indices) with their t intervals where there are three seeds; at most
    ``MOST_WIDTHS`` widths. The limit is dashed and black, the kernel limit dotted and grey: means over the rows of an
    epoch, which every run repeats. A kernel limit of a single epoch, or of none, is drawn as a level. An accuracy, a
    fraction of 1, is drawn in percent.
    """
    scenes = [scene for subject in _subjects(result, rows) for scene in _scenes(subject, rows)]
    if not scenes:
        return canvas.nothing(claim, "There is no row of a predicted quantity over epochs to draw.")
    measured = sorted({int(width) for scene in scenes for width in scene.finite["width"].unique()})
    chosen = canvas.thin(measured, MOST_WIDTHS)
    colours = dict(zip(chosen, canvas.palette("flare", len(chosen)), strict=True))
    groups = [sum(scene.subject == subject for scene in scenes) for subject in _ordered(scenes)]
    picture, axes = canvas.sheet(claim, canvas.spots(groups))
    labels: dict[str, bool] = {}
    for panel, scene in zip(axes, scenes, strict=True):
        for width, whole in _panel(panel, scene, colours).items():
            labels[f"n = {width}"] = labels.get(f"n = {width}", True) and whole
    _legend(picture, labels)
    return picture


def _subjects(result: ClaimResult, rows: pd.DataFrame) -> list[Subject]:
    """Return what to draw, in the order of the predictions: what has limits or, where nothing has, what has epochs."""
    theories = [row.estimate.prediction for row in result.judged]
    known = set(rows["quantity"].unique())
    predicted = dict.fromkeys(Subject(_shown(theory.quantity, known), theory.layer) for theory in theories)
    measured = [each for each in predicted if (_of(rows, *each)["step"] != ABSENT).any()]
    limited = [each for each in measured if any(len(_of(rows, prefix + each[0], each[1])) for prefix in _PREFIXES)]
    return limited or measured


_PREFIXES = (LIMIT, KERNEL_LIMIT)
GAP = "-gap"


def _shown(quantity: str, known: Set[str]) -> str:
    """Return what is drawn for a quantity: for one that is measured from limit to limit, the quantity itself."""
    whole = quantity.removesuffix(GAP)
    return whole if whole in known and LIMIT + whole in known else quantity


def _of(rows: pd.DataFrame, quantity: str, layer: int) -> pd.DataFrame:
    return rows[(rows["quantity"] == quantity) & (rows["layer"] == layer)]


def _scenes(subject: Subject, rows: pd.DataFrame) -> list[Scene]:
    finite = _of(rows, *subject)
    finite = finite[finite["step"] != ABSENT]
    limit, kernel = (_of(rows, prefix + subject.quantity, subject.layer) for prefix in _PREFIXES)
    return [
        Scene(subject, str(name), *(part[part["parametrization"] == name] for part in (finite, limit, kernel)))
        for name in finite["parametrization"].unique()
    ]


def _ordered(scenes: Sequence[Scene]) -> list[Subject]:
    return list(dict.fromkeys(scene.subject for scene in scenes))


def _panel(axes: Axes, scene: Scene, colours: Mapping[int, Colour]) -> dict[int, bool]:
    """Draw one panel; return its widths, and whether every value there was finite."""
    found = {}
    for width, colour in colours.items():
        rows = scene.finite[scene.finite["width"] == width]
        if len(rows):
            found[width] = _width(axes, rows, colour, f"n = {width}")
    _level(axes, scene.kernel, color=GREY, ls=(0, (1, 1.5)), lw=1.8, label=KERNEL_LABEL, zorder=3.5)
    _line(axes, scene.limit, color="black", ls=(0, (5, 2)), lw=1.6, label=LIMIT_LABEL, zorder=4)
    canvas.head(axes, f"{scene.parametrization}: {canvas.subject(*scene.subject, ABSENT)}")
    canvas.label_below(axes, "epoch")
    axes.set_ylabel(str(term(scene.subject.quantity)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if "accuracy" in scene.subject.quantity.split("-"):
        axes.yaxis.set_major_formatter(_percent)
    return found


def _width(axes: Axes, rows: pd.DataFrame, colour: Colour, label: str) -> bool:
    """Draw the mean over seeds with its interval; return whether every value was finite.

    A seed that diverges at some epoch is left out at all: its absence half-way would bend the mean.
    """
    finite = np.isfinite(rows["value"])
    broken = rows["seed"].isin(rows["seed"][~finite])
    steps = rows[~broken].groupby(["step", "seed"])["value"].mean().groupby("step")
    centre, seeds = steps.mean(), steps.count()
    axes.plot(centre.index, centre, color=colour, lw=1.4, marker=".", markersize=4, label=label)
    if len(seeds) and seeds.min() >= FEWEST_SEEDS:
        reach = stats.t.ppf((1 + LEVEL) / 2, seeds - 1) * steps.std(ddof=1) / np.sqrt(seeds)
        axes.fill_between(centre.index, centre - reach, centre + reach, color=colour, alpha=0.18, lw=0)
    return bool(finite.all())


def _percent(value: float, position: float) -> str:
    """Write a fraction as a percentage; a tick's position does not matter."""
    return f"{round(100 * value, 6):g}%".replace("-", "−")


def _level(axes: Axes, kernel: pd.DataFrame, **look: object) -> None:
    """Draw the kernel limit, which learns no features: rows of one epoch, or of none, hold for all of them."""
    if kernel["step"].nunique() == 1:
        axes.axhline(float(kernel["value"].mean()), **look)  # type: ignore[arg-type]
    else:
        _line(axes, kernel, **look)


def _line(axes: Axes, limit: pd.DataFrame, **look: object) -> None:
    if len(limit):
        steps = limit.groupby("step")["value"].mean()
        axes.plot(steps.index, steps, marker="" if len(steps) > 1 else "_", **look)  # type: ignore[arg-type]


def _legend(picture: Picture, whole: Mapping[str, bool]) -> None:
    """Write the legend: the limits, the widths and which of them diverged, and what the bands are."""
    lines = {str(line.get_label()): line for panel in picture.axes for line in panel.get_lines()}
    entries: dict[str, Artist] = {label: lines[label] for label in (LIMIT_LABEL, KERNEL_LABEL) if label in lines}
    for label, finite in whole.items():
        entries[label if finite else f"{label} ({legend.DIVERGED})"] = lines[label]
    if any(panel.collections for panel in picture.axes):
        entries[BAND] = Patch(facecolor=(*GREY, 0.2))
    write_legend(picture, entries, [])
