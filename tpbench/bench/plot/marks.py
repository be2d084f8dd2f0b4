"""What is drawn in a panel: measured points with their intervals, fitted and predicted power laws, levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from tpbench.bench.claim import LAZY, Estimate, Prediction
from tpbench.bench.plot.canvas import Colour, Look, label_below
from tpbench.bench.plot.legend import DIVERGED, EXTRAPOLATED, FIT, HIDDEN, RIVAL, THEORY
from tpbench.bench.plot.summary import Curve

OCTAVES = 2.0  # the least span of a size axis: a flat curve must look flat
MOST_LINEAR_OCTAVES = 7  # over more, wide networks would all lie on the linear axis's end
SEE_THROUGH = 0.7  # opacity of points where dense and lazy ones may lie upon each other
NOTHING_POSITIVE = "There is no row with a finite, positive value to draw here."


def points(axes: Axes, curves: Mapping[str, Curve], look: Look, label: str, hollow: bool = False) -> None:
    """Draw measured points with their intervals, hidden ones at the noise floor, diverged ones at the top.

    There is one curve a kind of weights. Dense points have the look's marker, lazy ones ``look.lazy``, open; where
    there are both they are transparent, since at one width they should lie upon each other.
    """
    alpha = 1.0 if len(curves) == 1 else SEE_THROUGH
    for kind, curve in curves.items():
        if kind == LAZY:
            _points(axes, curve, look.colour, look.lazy, "none", f"{label}, {LAZY}", alpha)
        else:
            _points(axes, curve, look.colour, look.marker, "white" if hollow else look.colour, label, alpha)


def _points(
    axes: Axes, curve: Curve, colour: Colour, marker: str, face: Colour | str, label: str, alpha: float
) -> None:
    bars = np.nan_to_num(np.array([curve.values - curve.low, curve.high - curve.values]))
    axes.errorbar(
        curve.widths,
        curve.values,
        bars,
        fmt=marker,
        color=colour,
        mfc=face,
        alpha=alpha,
        label=label,
        elinewidth=1,
        capsize=2,
        zorder=3,
    )
    if curve.hidden:
        axes.plot(*zip(*curve.hidden, strict=True), "v", color=colour, mfc="none", label=f"{label}, {HIDDEN}")
    top = axes.get_xaxis_transform()
    for width in curve.diverged:
        axes.plot(width, 0.97, "x", color=colour, transform=top, label=f"{label}, {DIVERGED}", zorder=4)


def slopes(axes: Axes, estimate: Estimate, curve: Curve, look: Look) -> None:
    """Draw the fitted power law with its interval, the predicted one and the rival's.

    All run through the widest point, where theory should hold best (among those, if any, whose interval excludes
    zero): an exponent belongs to infinite width, and a fit that carries a finite-width correction bends away from
    its power law at narrow widths, as the points do. The fit is drawn over the estimate's widths; there is none of a
    bias below the noise.
    """
    if not len(curve.widths):
        return
    clear = np.flatnonzero(~(curve.low <= 0))  # noise could move a line through the other points anywhere
    last = clear[-1] if len(clear) else len(curve.widths) - 1
    x, y = curve.widths[last], curve.values[last]
    fitted = curve.within(estimate.widths)
    if len(fitted.widths) and np.isfinite(estimate.value) and not estimate.below_noise:
        span = np.geomspace(fitted.widths.min(), fitted.widths.max(), 33)
        axes.plot(span, y * (span / x) ** estimate.value, color=look.colour, lw=1.4, label=FIT)
        edges = [y * (span / x) ** slope for slope in (estimate.low, estimate.high)]
        if np.isfinite(edges).all():
            axes.fill_between(span, *edges, color=look.colour, alpha=0.2, lw=0)
    ends = np.array([curve.widths.min(), curve.widths.max()])
    predicted = estimate.prediction
    axes.plot(ends, y * (ends / x) ** predicted.predicted, "--", color=look.ink, lw=1.2, label=THEORY)
    axes.plot(ends, y * (ends / x) ** predicted.rival, ":", color=look.colour, lw=1, alpha=0.6, label=RIVAL)


def log_axes(axes: Axes, curves: Sequence[Curve], size: str) -> None:
    """Scale both axes by powers of two, with limits set by the measured points and not by the lines."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2, nonpositive="clip")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    label_below(axes, "width n")
    axes.set_ylabel(size)
    floors = [floor for curve in curves for _, floor in curve.hidden]
    marks = np.log2(np.concatenate([*(curve.values for curve in curves), np.array(floors)]))
    if not len(marks):
        return
    bars = np.concatenate([part for curve in curves for part in (curve.low, curve.high)])
    bars = np.log2(bars[np.isfinite(bars) & (bars > 0)])
    near = bars[(bars > marks.min() - OCTAVES) & (bars < marks.max() + OCTAVES)]
    low, high = min([*marks, *near]), max([*marks, *near])
    margin = max(0.08 * (high - low), (OCTAVES - (high - low)) / 2, 0.1)
    axes.set_ylim(2.0 ** (low - margin), 2.0 ** (high + 2 * margin))


def inverse_axis(axes: Axes, curves: Iterable[Curve]) -> None:
    """Label an axis of 1/width, which goes on to 0, infinite width; over many octaves it is by powers of two."""
    inverse = np.concatenate([curve.widths for curve in curves])
    label_below(axes, "1/width (infinite width at 0)")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if not len(inverse) or inverse.max() < 2**MOST_LINEAR_OCTAVES * inverse.min():
        return
    least, most = (int(x) for x in np.round(np.log2([inverse.min(), inverse.max()])))
    step = -(-(most - least) // 5)
    powers = range(most, least - 1, -step)
    axes.set_xscale("symlog", base=2, linthresh=inverse.min(), linscale=step)
    axes.set_xticks([0, *(2.0**power for power in powers)], ["0", *(f"$2^{{{power}}}$" for power in powers)])
    axes.xaxis.set_minor_locator(NullLocator())


def drawable(curves: Iterable[Curve]) -> bool:
    """Say whether there is anything to draw on logarithmic axes."""
    return any(len(curve.widths) or curve.hidden or curve.diverged for curve in curves)


def levels(axes: Axes, predicted: Prediction, look: Look) -> None:
    """Draw the value that is predicted, and the rival's, as horizontal lines."""
    axes.axhline(predicted.predicted, ls="--", color=look.ink, lw=1.2, label=THEORY)
    axes.axhline(predicted.rival, ls=":", color=look.colour, lw=1.2, alpha=0.8, label=RIVAL)


def extrapolated(axes: Axes, estimate: Estimate, look: Look) -> None:
    """Draw a value extrapolated to infinite width, with its interval, at 0; nothing where there is none."""
    if not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
        return
    bars = [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]
    axes.errorbar(
        [0],
        [estimate.value],
        bars,
        fmt=look.marker,
        color=look.ink,
        mfc="none",
        markersize=8,
        capsize=4,
        label=EXTRAPOLATED,
        zorder=5,
    )
