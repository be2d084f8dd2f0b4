"""The legend all panels of a picture share, and the one set of names its entries have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tpbench.bench.claim import DENSE, LAZY
from tpbench.bench.plot.canvas import DENSE_MARKER, GREY, LAZY_MARKER, Look


def _key(**line: Any) -> Callable[[], Artist]:
    return lambda: Line2D([], [], **{"color": GREY, "lw": 1.3, **line})


BIAS, SPREAD, EXTRAPOLATED = "bias", "spread", "extrapolated, 95% interval"
BIASES, SPREADS, VALUES, SIZES = (
    {DENSE: dense, LAZY: lazy}
    for dense, lazy in (
        (BIAS, f"{BIAS}, lazy"),
        (SPREAD, f"{SPREAD}, lazy"),
        ("value", "value, lazy"),
        ("dense weights", "lazy weights"),
    )
)
"""What points are called, by the kind of weights of their networks."""
BAND = "mean ± one standard deviation over seeds"
DIVERGED, HIDDEN = "diverged, left out", "below noise (drawn at its level)"
MEASURED, FIT, THEORY, RIVAL = "measured, 95% interval", "fit, 95% interval", "theory", "rival"
KEYS: dict[str, Callable[[], Artist]] = {
    MEASURED: _key(marker="|", markersize=9, lw=0, markeredgewidth=1.2),
    FIT: lambda: Patch(facecolor=(*GREY, 0.2), edgecolor=GREY),
    THEORY: _key(ls="--"),
    RIVAL: _key(ls=":"),
    **{names[DENSE]: _key(marker=DENSE_MARKER, lw=0) for names in (SIZES, VALUES)},
    **{names[LAZY]: _key(marker=LAZY_MARKER, lw=0, mfc="none") for names in (SIZES, VALUES, BIASES)},
    BIAS: _key(marker="o", lw=0),
    SPREAD: _key(marker="s", lw=0, mfc="white"),
    SPREADS[LAZY]: _key(marker="d", lw=0, mfc="none"),
    BAND: lambda: Patch(facecolor=(*GREY, 0.2)),
    EXTRAPOLATED: _key(marker="o", lw=0, mfc="none", markersize=8),
    DIVERGED: _key(marker="x", lw=0),
    HIDDEN: _key(marker="v", lw=0, mfc="none"),
}


def markers(named: Mapping[str, Look]) -> dict[str, Artist]:
    """Return legend entries for parametrizations told apart by colour and marker."""
    return {name: Line2D([], [], color=look.colour, marker=look.marker, lw=0) for name, look in named.items()}


def swatches(named: Mapping[str, Look]) -> dict[str, Artist]:
    """Return legend entries for parametrizations told apart by colour, where markers mean something else."""
    return {name: Patch(color=look.colour) for name, look in named.items()}


def write_legend(picture: Picture, entries: Mapping[str, Artist], kinds: Sequence[str]) -> None:
    """Write the legend all panels share: the given entries, then what each kind of line means."""
    everything = {**entries, **{kind: KEYS[kind]() for kind in kinds}}
    for columns in range(max(2, int(picture.get_figwidth() / 1.7)), 0, -1):
        labels = [label for i in range(columns) for label in list(everything)[i::columns]]  # row by row
        handles = [everything[label] for label in labels]
        written = picture.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=8)
        if columns == 1 or written.get_window_extent().width <= picture.bbox.width:
            return
        written.remove()  # too wide: names of variants are long


def weights(kinds: Collection[str]) -> list[str]:
    """Return the entries that tell dense from lazy points; none where all points are dense."""
    return [SIZES[kind] for kind in kinds] if LAZY in kinds else []


def left_out(axes: Iterable[Axes]) -> list[str]:
    """Return the legend's entries for what was left out of some panel: diverged points, and hidden ones."""
    labels = [str(line.get_label()) for panel in axes for line in panel.get_lines()]
    return [key for key in (DIVERGED, HIDDEN) if any(label.endswith(", " + key) for label in labels)]
