"""Outputs of finite networks over training, against those of the infinitely wide network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import ABSENT, Claim, ClaimResult
from tpbench.bench.plot import canvas, legend
from tpbench.bench.plot.canvas import Colour
from tpbench.bench.plot.legend import write_legend

FINITE, LIMIT = "output", "limit"
MOST_INDICES = 3
MOST_PANELS = 6
MOST_WIDTHS = 6
LIMIT_LABEL = "infinite width (theory)"


@dataclass(frozen=True)
class Scene:
    """The rows of one panel: finite networks and the limit, at one parametrization and index.

    ``seed`` is the only one they show, where the limit depends on it; ``ABSENT`` stands for all seeds.
    """

    parametrization: str
    index: int
    finite: pd.DataFrame
    limit: pd.DataFrame
    seed: int


def draw_trajectories(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw outputs against training step: the limit in black, finite widths from light to dark.

    Finite widths are means over seeds with a band of one standard deviation either way; where the limit
    depends on the seed, a mean would hide that, and the first seed's trajectories are drawn. At most
    ``MOST_INDICES`` outputs, fewer where there are more than ``MOST_PANELS`` panels, which the title tells, and
    ``MOST_WIDTHS`` widths, spread evenly over those measured.
    """
    scenes = _scenes(rows)
    if not scenes:
        return canvas.nothing(claim, "There is no row of outputs over training to draw.")
    measured = sorted({int(width) for scene in scenes for width in scene.finite["width"]})
    chosen = canvas.thin(measured, MOST_WIDTHS)
    colours = dict(zip(chosen, canvas.palette("flare", len(chosen)), strict=True))
    groups = [sum(scene.parametrization == name for scene in scenes) for name in _names(scenes)]
    shown, there = len({scene.index for scene in scenes}), len(_outputs(rows)["index"].unique())
    aside = "" if shown == there else f"Drawn are the first {shown} of the {there} outputs recorded."
    picture, axes = canvas.sheet(claim, canvas.spots(groups), aside=aside)
    labels: dict[str, bool] = {}
    for panel, scene in zip(axes, scenes, strict=True):
        for width, colour in colours.items():
            whole = _trajectory(panel, scene.finite, width, colour, scene.seed)
            labels[f"n = {width}"] = labels.get(f"n = {width}", True) and whole
        _limit(panel, scene.limit)
        which = "" if scene.seed == ABSENT else f" (seed {scene.seed})"
        output = claim.outputs[scene.index] if claim.outputs else f"output {scene.index}"
        canvas.head(panel, f"{scene.parametrization}, {output}{which}")
        canvas.label_below(panel, "training step t")
        panel.set_ylabel("output f")
    _legend(picture, labels)
    return picture


def _scenes(rows: pd.DataFrame) -> list[Scene]:
    """Group the rows by parametrization and index, for the first few indices."""
    outputs = _outputs(rows)
    names = outputs["parametrization"].unique()
    indices = sorted(outputs["index"].unique())[: max(1, min(MOST_INDICES, MOST_PANELS // max(1, len(names))))]
    scenes = []
    for name in names:
        for index in indices:
            part = outputs[(outputs["parametrization"] == name) & (outputs["index"] == index)]
            if len(part):
                scenes.append(_scene(str(name), int(index), part))
    return scenes


def _outputs(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["quantity"].isin((FINITE, LIMIT)) & (rows["step"] != ABSENT)]


def _scene(name: str, index: int, rows: pd.DataFrame) -> Scene:
    """Return the scene of some rows; widths whose networks have other seeds, as lazy ones do, are left out then."""
    finite, limit = rows[rows["quantity"] == FINITE], rows[rows["quantity"] == LIMIT]
    seed = _shared_seed(limit["seed"])
    if seed != ABSENT:
        finite = finite[finite["seed"] == seed]
    return Scene(name, index, finite, limit[limit["seed"] == seed], seed)


def _names(scenes: Sequence[Scene]) -> list[str]:
    return list(dict.fromkeys(scene.parametrization for scene in scenes))


def _shared_seed(seeds: pd.Series[int]) -> int:
    """Return the first seed the limit depends on, ``ABSENT`` where it depends on none."""
    return ABSENT if seeds.empty or (seeds == ABSENT).any() else int(seeds.min())


def _trajectory(axes: Axes, finite: pd.DataFrame, width: int, colour: Colour, seed: int) -> bool:
    """Draw one width; return whether every value was finite. Steps with another value are left out."""
    rows = finite[finite["width"] == width]
    whole = np.isfinite(rows["value"])
    # A seed that has diverged later is left out from the start: its absence half-way would bend the mean.
    broken = rows["seed"].isin(rows["seed"][~whole]) if seed == ABSENT else ~whole
    steps = rows[~broken].groupby("step")["value"]
    centre, reach = steps.mean(), steps.std(ddof=1)
    axes.plot(centre.index, centre, color=colour, lw=1.4, label=f"n = {width}")
    if reach.notna().any():
        axes.fill_between(centre.index, centre - reach, centre + reach, color=colour, alpha=0.15, lw=0)
    return bool(whole.all())


def _limit(axes: Axes, limit: pd.DataFrame) -> None:
    """Draw the limit: the same at every width, up to an integration error that is averaged away here."""
    rows = limit[np.isfinite(limit["value"])]
    steps = rows.groupby("step")["value"].mean()
    axes.plot(steps.index, steps, color="black", lw=1.6, ls=(0, (5, 2)), label=LIMIT_LABEL, zorder=4)


def _legend(picture: Picture, whole: Mapping[str, bool]) -> None:
    """Write the legend: the limit, the widths and which of them diverged, and what the bands are."""
    lines = {str(line.get_label()): line for panel in picture.axes for line in panel.get_lines()}
    entries: dict[str, Artist] = {LIMIT_LABEL: lines[LIMIT_LABEL]}
    for label, finite in whole.items():
        entries[label if finite else f"{label} ({legend.DIVERGED})"] = lines[label]
    bands = any(panel.collections for panel in picture.axes)
    write_legend(picture, entries, [legend.BAND] if bands else [])
