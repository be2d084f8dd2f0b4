"""What all pictures share: style, colours, sheets of panels and what is written over each panel."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from matplotlib.transforms import ScaledTranslation

from tpbench.bench.claim import LAZY, Claim, Judged
from tpbench.bench.sweep import parametrization_of
from tpbench.bench.words import MARKS, interval, place, term, theory

Colour = tuple[float, float, float]
Spot = tuple[int, int]

COLUMNS, WIDEST = 3, 4
PANEL_WIDTH, PANEL_HEIGHT, LINE_HEIGHT = 3.4, 2.3, 0.15  # inches
NARROWEST = 6.8  # inches, so that a title has room over a single panel
DENSE_MARKER, LAZY_MARKER = "o", "D"
LABEL_BELOW = 19.0  # points from a panel to the label under its numbers
GREY: Colour = (0.35, 0.35, 0.35)


class Look(NamedTuple):
    """How one parametrization is drawn, the same in every picture; ``lazy`` is the marker of lazy weights."""

    colour: Colour
    marker: str
    lazy: str = LAZY_MARKER

    @property
    def ink(self) -> Colour:
        """The colour, darkened to be read as text on white."""
        red, green, blue = self.colour
        return (0.7 * red, 0.7 * green, 0.7 * blue)


def palette(name: str, count: int | None = None) -> list[Colour]:
    """Return colours of one of seaborn's palettes."""
    return [(red, green, blue) for red, green, blue in sns.color_palette(name, count)]


_PALETTE = palette("colorblind")

LOOKS = {
    "mup": Look(_PALETTE[0], "o"),
    "ntp": Look(_PALETTE[3], "s"),
    "sp": Look(_PALETTE[2], "^"),
    "meanfield": Look(_PALETTE[4], "D"),
}
OTHER_LOOKS = tuple(Look(_PALETTE[i], marker) for i, marker in ((1, "v"), (9, "P"), (5, "X"), (7, "p"), (8, "h")))
"""For parametrizations without an entry: chosen by a digest of the name, so that they keep theirs as well."""

SHADES = (0.4, -0.45, 0.65, -0.7)
"""How much white (or, negative, black) the variants of a parametrization have, in the order of their names."""

_STYLE: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "font.family": "DejaVu Sans",  # comes with matplotlib and has every sign used here
    "axes.labelsize": 9,
    "axes.titley": 1.0,  # the pad says how far above; looking for what is in the way takes as long as the ticks
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "svg.hashsalt": "tpbench",  # the same picture gives the same file
}


def style() -> AbstractContextManager[None]:
    """Return the context in which pictures are drawn and saved; it leaves the caller's settings alone."""
    return mpl.rc_context(_STYLE)


def looks(names: Iterable[str], weights: Collection[str] = ()) -> dict[str, Look]:
    """Return a colour and a marker a parametrization; letter case and punctuation do not matter.

    The variants of a parametrization are shades of its colour, and a variant has one marker under all of them. Where
    there are lazy weights among ``weights``, markers tell the weights and nothing else.
    """
    given = list(dict.fromkeys(names))
    plain = _plain_looks({parametrization_of(name) for name in given})
    variants = sorted({_variant(name) for name in given} - {""})
    found = {}
    for name in given:
        look, variant = plain[parametrization_of(name)], _variant(name)
        if variant:
            place = variants.index(variant)
            shade, other = SHADES[place % len(SHADES)], OTHER_LOOKS[place % len(OTHER_LOOKS)]
            look = Look(_shaded(look.colour, shade), other.marker)
        found[name] = look._replace(marker=DENSE_MARKER) if LAZY in weights else look
    return found


def _plain_looks(names: Iterable[str]) -> dict[str, Look]:
    chosen: dict[str, Look] = {}
    for name in sorted(names):
        key = "".join(letter for letter in name.casefold() if letter.isalnum())
        first = int(hashlib.sha256(key.encode()).hexdigest(), 16)
        others = [OTHER_LOOKS[(first + i) % len(OTHER_LOOKS)] for i in range(len(OTHER_LOOKS))]
        free = [look for look in others if look not in chosen.values()]
        chosen[name] = LOOKS[key] if key in LOOKS else (free or others)[0]
    return chosen


def _variant(name: str) -> str:
    return name.removeprefix(parametrization_of(name))


def _shaded(colour: Colour, shade: float) -> Colour:
    """Return a colour mixed with that much white, or black where it is negative."""
    red, green, blue = ((1 - abs(shade)) * part + max(shade, 0) for part in colour)
    return (red, green, blue)


def spots(groups: Sequence[int]) -> list[Spot]:
    """Return (row, column) of each panel: a group begins a row and is wrapped after ``COLUMNS`` panels,
    after ``WIDEST`` where the largest group just fills such a row.

    Where that would leave more than a third of the sheet empty, the panels simply follow each other.
    """
    placed: list[Spot] = []
    row, most = 0, WIDEST if max(groups, default=0) == WIDEST else COLUMNS
    for group in groups:
        placed += [(row + i // most, i % most) for i in range(group)]
        row += -(-group // most)
    wide = max((column for _, column in placed), default=0) + 1
    if 3 * len(placed) < 2 * row * wide or wide == 1:
        wide = 2 if len(placed) in (2, 4) else COLUMNS
        return [(i // wide, i % wide) for i in range(len(placed))]
    return placed


def sheet(claim: Claim, placed: Sequence[Spot], lines: int = 0, aside: str = "") -> tuple[Picture, list[Axes]]:
    """Return an empty picture titled with the claim, and its panels with room for ``lines`` above each.

    ``aside`` follows the title: what of the claim the picture leaves out.
    """
    rows, columns = max(row for row, _ in placed) + 1, max(column for _, column in placed) + 1
    width = max(NARROWEST, columns * PANEL_WIDTH)
    title = textwrap.fill(claim.statement, int(13.2 * width))
    if claim.rival:
        title += "\n" + textwrap.fill(f"Rival: {claim.rival}", int(13.2 * width))
    if aside:
        title += "\n" + textwrap.fill(aside, int(13.2 * width))
    height = 0.9 + 0.19 * (title.count("\n") + 1) + rows * (PANEL_HEIGHT + LINE_HEIGHT * lines)
    picture = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    picture.suptitle(title, x=0.01, ha="left", fontsize=10, parse_math=False)
    grid = picture.add_gridspec(rows, columns)
    return picture, [picture.add_subplot(grid[row, column]) for row, column in placed]


def thin(values: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the values, spread evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[i] for i in np.linspace(0, len(values) - 1, most).round().astype(int)]


def nothing(claim: Claim, why: str) -> Picture:
    """Return a picture that says why there is nothing to see."""
    picture, (axes,) = sheet(claim, [(0, 0)])
    say(axes, why)
    return picture


def say(axes: Axes, why: str) -> None:
    """Replace a panel's content by a sentence."""
    axes.set_axis_off()
    wrapped = textwrap.fill(why, 44)
    axes.text(0.5, 0.5, wrapped, ha="center", va="center", transform=axes.transAxes, parse_math=False)


def label_below(axes: Axes, label: str) -> None:
    """Label the horizontal axis, whose numbers are of one line, at a fixed distance.

    To measure the numbers in order to keep clear of them takes a tenth of the time of a whole picture.
    """
    axes.set_xlabel(label)
    picture = axes.get_figure(root=True)
    assert picture is not None, "a panel is in a picture"
    below = ScaledTranslation(0, -LABEL_BELOW / 72, picture.dpi_scale_trans)
    axes.xaxis.set_label_coords(0.5, 0, transform=axes.transAxes + below)


LINE = 46
"""Letters of a finding that stand beside each other at its usual size; a longer one is written smaller."""


def head(axes: Axes, title: str, lines: Sequence[tuple[str, Colour]] = ()) -> None:
    """Write a panel's title and, between it and the panel, one line of findings a colour."""
    for i, (text, colour) in enumerate(reversed(lines)):
        axes.annotate(
            text,
            (0, 1),
            xytext=(0, 4 + 10.5 * i),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=min(8.0, 8.0 * LINE / len(text)) if text else 8.0,
            color=colour,
            annotation_clip=False,
            parse_math=False,
            in_layout=False,  # the title keeps the room; a long line must not narrow the panel
        )
    wrapped = textwrap.fill(title, 46)
    axes.set_title(wrapped, loc="left", fontsize=9, pad=6 + 10.5 * len(lines), parse_math=False)


def subject(quantity: str, layer: int, step: int) -> str:
    """Return a panel's title: the quantity, its symbol, its layer and step."""
    where = place(layer, step)
    return f"{term(quantity)}, {where}" if where else str(term(quantity))


def finding(name: str, judged: Judged) -> str:
    """Return one line: ``muP 0.49 [0.46, 0.52], theory 1/2 ✓``."""
    estimate = judged.estimate
    if estimate.below_noise:
        name += " has"
    elif parametrization_of(name) != name:
        name += ":"  # a variant may end in a number
    return f"{name} {interval(estimate)}, theory {theory(estimate.prediction)} {MARKS[judged.verdict]}"
