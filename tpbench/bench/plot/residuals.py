"""How far outputs of finite networks are from their target over training, against those of infinite width."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from tpbench.bench.claim import ABSENT, Claim, ClaimResult
from tpbench.bench.plot import canvas, legend
from tpbench.bench.plot.canvas import GREY, Colour
from tpbench.bench.plot.legend import write_legend
from tpbench.bench.plot.trajectories import FINITE, LIMIT, LIMIT_LABEL

TARGET = 1.0
MOST_WIDTHS = 3
LIGHTEST = 0.35
"""The opacity of the narrowest networks; that of the widest is 1."""
COLOURS = tuple(canvas.palette("colorblind")[place] for place in (0, 2, 3, 4, 1))
"""By index of the output."""


def draw_residuals(claim: Claim, result: ClaimResult, rows: pd.DataFrame) -> Picture:
    """Draw |f - 1| against training step, a panel a parametrization, a colour an output; the limit is dashed.

    Finite widths, from light to dark, are root mean squares over those seeds whose values all are finite; at most
    ``MOST_WIDTHS`` widths, spread evenly over those measured. What is 0 has no place on a logarithmic axis.
    """
    found = rows[rows["quantity"].isin((FINITE, LIMIT)) & (rows["step"] != ABSENT)]
    names = [str(name) for name in found["parametrization"].unique()]
    if not names:
        return canvas.nothing(claim, "There is no row of outputs over training to draw.")
    measured = sorted(int(width) for width in found["width"][found["quantity"] == FINITE].unique())
    widths = dict(zip(chosen := canvas.thin(measured, MOST_WIDTHS), _shades(len(chosen)), strict=True))
    colours = dict(zip(sorted(found["index"].unique().tolist()), COLOURS * len(found), strict=False))
    picture, axes = canvas.sheet(claim, canvas.spots([len(names)]))
    whole = True
    for panel, name in zip(axes, names, strict=True):
        whole &= _panel(panel, found[found["parametrization"] == name], colours, widths)
        canvas.head(panel, name)
        canvas.label_below(panel, "training step t")
        panel.set_ylabel("distance |f − 1| from the target")
    _legend(picture, claim, colours, widths, whole)
    return picture


def _shades(count: int) -> list[float]:
    return [float(shade) for shade in np.linspace(LIGHTEST if count > 1 else 1.0, 1.0, count)]


def _panel(axes: Axes, rows: pd.DataFrame, colours: Mapping[int, Colour], widths: Mapping[int, float]) -> bool:
    """Draw one panel; return whether all values were finite."""
    axes.set_yscale("log", base=2)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    whole = True
    for index, colour in colours.items():
        part = rows[rows["index"] == index]
        finite, limit = part[part["quantity"] == FINITE], part[part["quantity"] == LIMIT]
        for width, alpha in widths.items():
            own = finite[finite["width"] == width]
            broken = own["seed"].isin(own["seed"][~np.isfinite(own["value"])])
            whole &= not broken.any()
            _line(axes, own[~broken], color=colour, alpha=alpha, lw=1.4, marker=".", label=f"n = {width}")
        _line(axes, limit, color=colour, lw=1.8, ls=(0, (5, 2)), label=LIMIT_LABEL, zorder=4)
    return whole


def _line(axes: Axes, rows: pd.DataFrame, **look: object) -> None:
    away = ((rows["value"] - TARGET) ** 2).groupby(rows["step"]).mean() ** 0.5
    away = away[away > 0]
    if len(away):
        axes.plot(away.index, away, **look)  # type: ignore[arg-type]


def _legend(
    picture: Picture, claim: Claim, colours: Mapping[int, Colour], widths: Mapping[int, float], whole: bool
) -> None:
    words = dict(enumerate(claim.outputs))
    entries: dict[str, Artist] = {
        words.get(index, f"output {index}"): Line2D([], [], color=colour, lw=2) for index, colour in colours.items()
    }
    for width, alpha in widths.items():
        entries[f"n = {width}"] = Line2D([], [], color=GREY, alpha=alpha, lw=1.4, marker=".")
    entries[LIMIT_LABEL] = Line2D([], [], color=GREY, lw=1.8, ls=(0, (5, 2)))
    write_legend(picture, entries, [] if whole else [legend.DIVERGED])
