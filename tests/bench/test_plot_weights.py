"""Pictures with dense and lazy networks: their points are told apart, their fit is one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from drawings import (
    LAZY_WIDTHS,
    WIDTHS,
    data,
    entries,
    judge,
    lines,
    measured,
    picture,
    power_law,
    slope,
    with_lazy,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from tpbench.bench.claim import Figure, Kind
from tpbench.bench.plot import legend, summary

ALL_WIDTHS = tuple(sorted({*WIDTHS, *LAZY_WIDTHS}))
DENSE_KEY, LAZY_KEY = legend.SIZES["dense"], legend.SIZES["lazy"]
NTP = power_law("NTP", "output", -0.5)
BOTH = with_lazy(NTP, power_law("NTP", "output", -0.5, widths=LAZY_WIDTHS))
FITTED = judge("NTP", "output", Kind.EXPONENT, -0.5, widths=ALL_WIDTHS)


def points_of(axes: Axes, label: str) -> Line2D:
    (container,) = [bars for bars in axes.containers if bars.get_label() == label]
    return container.lines[0]


def is_open(points: Line2D) -> bool:
    return str(points.get_markerfacecolor()) == "none"


def key(drawn: Picture, label: str) -> Line2D:
    (shared,) = drawn.legends
    (handle,) = [
        handle
        for handle, text in zip(shared.legend_handles, shared.get_texts(), strict=True)
        if text.get_text() == label
    ]
    assert isinstance(handle, Line2D)
    return handle


def test_dense_points_are_filled_circles_and_lazy_ones_open_diamonds() -> None:
    drawn = picture(Figure.EXPONENTS, [FITTED], BOTH)
    (axes,) = drawn.axes
    for label, legend_label, widths, marker, hollow in (
        ("NTP", DENSE_KEY, WIDTHS, "o", False),
        ("NTP, lazy", LAZY_KEY, LAZY_WIDTHS, "D", True),
    ):
        x, y = measured(axes, label)
        assert x == pytest.approx(widths)
        assert y == pytest.approx(3 * np.array(widths) ** -0.5)
        for points in (points_of(axes, label), key(drawn, legend_label)):
            assert (points.get_marker(), is_open(points)) == (marker, hollow)
        assert points_of(axes, label).get_alpha() < 1


def test_the_fit_is_one_and_spans_both() -> None:
    (axes,) = picture(Figure.EXPONENTS, [FITTED], BOTH).axes
    (fit,), (theory,) = lines(axes, legend.FIT), lines(axes, legend.THEORY)
    for line in (fit, theory):
        assert data(line)[0][[0, -1]] == pytest.approx([64, 2**20])
    assert slope(theory) == pytest.approx(-0.5)


def test_at_a_width_with_both_the_fit_goes_through_their_pooled_size() -> None:
    """Dense and lazy sizes that differ are drawn apart, and the line passes between, where the estimate is made."""
    dense, lazy = power_law("NTP", "output", 0.0), power_law("NTP", "output", 0.0)
    lazy["value"] *= 2
    judged = judge("NTP", "output", Kind.EXPONENT, 0.0, widths=WIDTHS)
    (axes,) = picture(Figure.EXPONENTS, [judged], with_lazy(dense, lazy)).axes
    assert measured(axes, "NTP")[1] == pytest.approx([3] * 5)
    assert measured(axes, "NTP, lazy")[1] == pytest.approx([6] * 5)
    (fit,) = lines(axes, legend.FIT)
    assert data(fit)[1][-1] == pytest.approx(3 * np.sqrt((1 + 4) / 2))


@pytest.mark.parametrize("column", [False, True])
def test_dense_pictures_keep_the_markers_of_parametrizations(column: bool) -> None:
    drawn = picture(Figure.EXPONENTS, [FITTED], NTP.assign(weights="dense") if column else NTP)
    assert points_of(drawn.axes[0], "NTP").get_marker() == "s"
    assert points_of(drawn.axes[0], "NTP").get_alpha() in (None, 1)
    assert not {DENSE_KEY, LAZY_KEY} & set(entries(drawn))


def test_lazy_pictures_say_that_they_are() -> None:
    lazy = power_law("NTP", "output", -0.5, widths=LAZY_WIDTHS).assign(weights="lazy")
    drawn = picture(Figure.EXPONENTS, [FITTED], lazy)
    assert LAZY_KEY in entries(drawn)
    assert DENSE_KEY not in entries(drawn)
    assert points_of(drawn.axes[0], "NTP, lazy").get_marker() == "D"
    assert [bars.get_label() for bars in drawn.axes[0].containers] == ["NTP, lazy"]


def test_a_diverged_lazy_width_is_marked() -> None:
    rows = BOTH.reset_index(drop=True)
    rows.loc[rows["width"] == 2**20, "value"] = np.inf
    drawn = picture(Figure.EXPONENTS, [FITTED], rows)
    (cross,) = lines(drawn.axes[0], f"NTP, lazy, {legend.DIVERGED}")
    assert data(cross)[0] == pytest.approx([2**20])
    assert legend.DIVERGED in entries(drawn)


def test_wide_axes_have_readable_powers_of_two() -> None:
    (axes,) = picture(Figure.EXPONENTS, [FITTED], BOTH).axes
    low, high = axes.get_xlim()
    labels = [
        text.get_text()
        for tick, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= tick <= high
    ]
    assert 5 <= len(labels) <= 9
    assert all(label.startswith("$\\mathdefault{2^{") for label in labels)
    boxes = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
    assert all(before.x1 < after.x0 for before, after in pairwise(boxes))


def test_costs_of_dense_and_lazy_steps_are_told_apart() -> None:
    dense = power_law("mup", "step-seconds", 2.0)
    rows = with_lazy(dense, power_law("mup", "step-seconds", 1.0, widths=LAZY_WIDTHS))
    drawn = picture(Figure.COST, [], rows)
    (axes,) = drawn.axes
    assert measured(axes, "mup")[1] == pytest.approx(3 * np.array(WIDTHS) ** 2.0)
    assert measured(axes, "mup, lazy")[1] == pytest.approx(3 * np.array(LAZY_WIDTHS))
    assert {DENSE_KEY, LAZY_KEY} <= set(entries(drawn))


def test_convergence_tells_bias_and_spread_and_their_weights_apart() -> None:
    judged = [judge("NTP", "output-error", kind, -0.5, step=5) for kind in (Kind.BIAS, Kind.SPREAD)]
    dense, lazy = (power_law("NTP", "output-error", -0.5, step=5, widths=widths) for widths in (WIDTHS, LAZY_WIDTHS))
    drawn = picture(Figure.CONVERGENCE, judged, with_lazy(dense, lazy))
    (axes,) = drawn.axes
    found = {}
    for names, reduce in ((legend.BIASES, summary.bias), (legend.SPREADS, summary.spread)):
        for weights, rows in (("dense", dense), ("lazy", lazy)):
            x, y = measured(axes, names[weights])
            curve = reduce(rows)
            assert (x, y) == (pytest.approx(curve.widths), pytest.approx(curve.values))
            found[names[weights]] = points_of(axes, names[weights]).get_marker()
            assert key(drawn, names[weights]).get_marker() == found[names[weights]]
    assert len(set(found.values())) == 4
    assert (found["bias"], found["bias, lazy"]) == ("o", "D")
    assert len(lines(axes, legend.FIT)) == 2


def test_values_of_lazy_networks_spread_over_the_axis() -> None:
    judged = judge("NTP", "rival-share", Kind.VALUE, 0, step=5)
    dense, lazy = (power_law("NTP", "rival-share", -1.0, step=5, widths=widths) for widths in (WIDTHS, LAZY_WIDTHS))
    drawn = picture(Figure.CONVERGENCE, [judged], with_lazy(dense, lazy))
    (axes,) = drawn.axes
    for label, rows in (("NTP", dense), ("NTP, lazy", lazy)):
        means = rows.groupby("width")["value"].mean()
        assert measured(axes, label) == (pytest.approx(1 / means.index.to_numpy()), pytest.approx(means))
    assert measured(axes, legend.EXTRAPOLATED)[0] == pytest.approx([0])
    ends = np.array([0, *(1 / np.array(sorted(LAZY_WIDTHS, reverse=True))), 1 / 64])
    places = axes.transAxes.inverted().transform(axes.transData.transform([(x, 0) for x in ends]))[:, 0]
    assert np.diff(places).min() > 0.1, "no two of these widths lie upon each other"
    assert {legend.VALUES["dense"], legend.VALUES["lazy"]} <= set(entries(drawn))


def test_values_of_few_octaves_keep_the_linear_axis_on_which_1_over_n_is_a_line() -> None:
    rows = power_law("NTP", "rival-share", -1.0, step=5)
    (axes,) = picture(Figure.CONVERGENCE, [judge("NTP", "rival-share", Kind.VALUE, 0, step=5)], rows).axes
    assert axes.get_xscale() == "linear"


def test_rows_are_parted_by_weights() -> None:
    parts = summary.by_weights(BOTH)
    assert list(parts) == ["dense", "lazy"]
    pd.testing.assert_frame_equal(pd.concat(parts.values()), BOTH)
    assert list(summary.by_weights(BOTH[BOTH["weights"] == "lazy"])) == ["lazy"]
    assert list(summary.by_weights(NTP)) == list(summary.by_weights(BOTH[:0])) == ["dense"]
