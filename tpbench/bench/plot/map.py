"""Words on the first two principal components of their vectors: a finite network beside the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tpbench.bench.claim import Claim, ClaimResult
from tpbench.bench.plot import canvas
from tpbench.bench.plot.canvas import Look
from tpbench.bench.plot.labels import place_labels
from tpbench.bench.plot.legend import markers, write_legend
from tpbench.bench.words import number

Vector = NDArray[np.float64]
Labels = Mapping[str, Sequence[str]]
"""Group -> words, in the order of the rows' indices, one group after the other."""

MAP, SCORE = "map", "separation"
LIMITS = {"limit-": "infinite width, muP", "kernel-limit-": "infinite width, kernel limit"}
"""What stands before ``map`` and ``separation`` in the rows of a limit, and what its panel is called."""
AXES = ("first principal component", "second principal component")
"""A row's layer, 1 or 2, says on which of them its value is."""
HEIGHT, MARGIN = 1.3, 0.12
"""Inches by which panels are taller than in other pictures, and the share of them left free: words need room."""


class Scene(NamedTuple):
    """One panel: its title, what is told below it, and where each word is, shape (word, 2)."""

    title: str
    told: str
    spots: Vector


def draw_map(claim: Claim, result: ClaimResult, rows: pd.DataFrame, labels: Labels | None = None) -> Picture:
    """Draw words as points, marked by group: at the smallest width, in the limit and in the kernel limit.

    Of the rows ``map`` those of the narrowest network's first seed are drawn, of ``limit-map`` and
    ``kernel-limit-map`` the means over the runs that repeat them, each at its last step. A title tells the separation
    of the groups where rows of that step do (``separation``, ``limit-separation``, ``kernel-limit-separation``). The
    sign of a principal component means nothing, so each limit gets the signs that agree best with the finite network.
    A parametrization is a row of panels; the limits stand in the first row. Raises ``ValueError`` for a map of other
    words than ``labels`` has.
    """
    words = [word for group in (labels or {}).values() for word in group]
    mapped = rows[rows["quantity"].isin([prefix + MAP for prefix in ("", *LIMITS)])]
    if mapped.empty:
        return canvas.nothing(claim, "There is no row of a map of words to draw.")
    if not words:
        return canvas.nothing(claim, "There is a map of words, but no configuration says which words: give `labels`.")
    names = [str(name) for name in mapped["parametrization"].unique()]
    groups = [_scenes(name, rows[rows["parametrization"] == name], len(words)) for name in names]
    groups = [group if place == 0 else _own(group) for place, group in enumerate(groups)]
    picture, axes = canvas.sheet(claim, [(i, j) for i, group in enumerate(groups) for j in range(len(group))], 1)
    picture.set_figheight(picture.get_figheight() + HEIGHT * len(groups))
    looks = _looks(labels or {})
    members = {group: len(part) for group, part in (labels or {}).items()}
    scenes = [scene for group in groups for scene in group]
    for panel, scene in zip(axes, scenes, strict=True):
        _panel(panel, scene, members, looks)
    write_legend(picture, markers(looks), [])
    picture.draw_without_rendering()  # the layout decides how far apart the points are
    inks = [looks[group].ink for group, count in members.items() for _ in range(count)]
    for panel, scene in zip(axes, scenes, strict=True):
        if np.isfinite(scene.spots).all():
            place_labels(panel, scene.spots, words, inks)
    return picture


def _looks(labels: Labels) -> dict[str, Look]:
    """Return a colour and a marker a group."""
    colours, shapes = canvas.palette("colorblind"), "o^sDvPXph"
    return {group: Look(colours[i % len(colours)], shapes[i % len(shapes)]) for i, group in enumerate(labels)}


def _scenes(name: str, rows: pd.DataFrame, count: int) -> list[Scene]:
    """Return the panels of one parametrization, the limits turned as the first panel is."""
    finite = rows[rows["quantity"] == MAP]
    scenes = []
    if len(finite):
        width = finite["width"].min()
        seed = finite["seed"][finite["width"] == width].min()
        own = rows[(rows["width"] == width) & (rows["seed"] == seed)]
        scenes.append(_scene(f"{name}, n = {width}, seed {seed}", own, "", count))
    for prefix, title in LIMITS.items():
        if (rows["quantity"] == prefix + MAP).any():
            scenes.append(_scene(f"{name}, {title}" if not scenes else title, rows, prefix, count))
    return [scene._replace(spots=_turned(scene.spots, scenes[0].spots)) for scene in scenes]


def _own(group: list[Scene]) -> list[Scene]:
    """Return a parametrization's panels without the limits, which stand in the first row."""
    return [scene for scene in group if scene.title not in LIMITS.values()]


def _scene(title: str, rows: pd.DataFrame, prefix: str, count: int) -> Scene:
    """Return the panel of the rows whose quantities have a prefix, at the last step of their map."""
    found = rows[rows["quantity"] == prefix + MAP]
    last = found["step"].max()
    spots = found[found["step"] == last].groupby(["index", "layer"])["value"].mean().unstack("layer")
    if list(spots.index) != list(range(count)) or list(spots.columns) != [1, 2]:
        raise ValueError(
            f"{prefix + MAP!r} needs the words 0 to {count - 1} of the configuration's labels on the layers 1 and "
            f"2, its principal components, but its rows have {len(spots)} words, the last {spots.index.max()}, on "
            f"layers {', '.join(map(str, spots.columns))}: make the experiment write one row a label and component"
        )
    score = rows["value"][(rows["quantity"] == prefix + SCORE) & (rows["step"] == last)]
    told = f"epoch {last}" + (f", separation of the groups {number(float(score.mean()))}" if len(score) else "")
    return Scene(title, told, spots.to_numpy(dtype=np.float64))


def _turned(spots: Vector, like: Vector) -> Vector:
    """Return a map with the sign of each component that agrees better with another map."""
    return np.asarray(spots * np.where((spots * like).sum(axis=0) < 0, -1.0, 1.0))


def _panel(axes: Axes, scene: Scene, members: Mapping[str, int], looks: Mapping[str, Look]) -> None:
    """Draw the points of one panel; ``members`` says how many words each group has."""
    canvas.head(axes, scene.title, [(scene.told, canvas.GREY)])
    if not np.isfinite(scene.spots).all():
        canvas.say(axes, "This network diverged: there is no finite value to draw.")
        return
    ends = np.cumsum(list(members.values()))
    for group, part in zip(members, np.split(scene.spots, ends[:-1]), strict=True):
        look = looks[group]
        axes.plot(*part.T, look.marker, color=look.colour, mec="white", mew=0.3, label=group, zorder=3)
    axes.margins(MARGIN)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(AXES[0])
    axes.set_ylabel(AXES[1])
