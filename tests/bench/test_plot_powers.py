"""Pictures of exponents and costs: drawn lines agree with rows, estimates and predictions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from drawings import (
    WIDTHS,
    data,
    entries,
    intervals,
    judge,
    lines,
    measured,
    picture,
    power_law,
    rows_of,
    slope,
    texts,
)
from scipy import stats

from tpbench.bench.claim import (
    ABSENT,
    Figure,
    Judged,
    Kind,
    Verdict,
)
from tpbench.bench.plot import encode, legend, summary


def test_exponents_draws_rows_fit_theory_and_rival() -> None:
    rows = power_law("muP", "weight-update", -0.5, layer=2, step=3)
    drawn = picture(Figure.EXPONENTS, [judge("muP", "weight-update", Kind.EXPONENT, -0.5, layer=2, step=3)], rows)
    (axes,) = drawn.axes
    widths, sizes = measured(axes, "muP")
    assert widths == pytest.approx(WIDTHS)
    assert sizes == pytest.approx(3 * np.array(WIDTHS) ** -0.5)
    curve = summary.size(rows, "seed")
    assert intervals(axes, "muP") == pytest.approx(np.stack([curve.low, curve.high], axis=1))
    (fit,), (theory,), (rival,) = (lines(axes, label) for label in (legend.FIT, legend.THEORY, legend.RIVAL))
    assert slope(fit) == pytest.approx(-0.49)
    assert (slope(theory), slope(rival)) == pytest.approx((-0.5, 0.5))
    assert data(theory)[1] == pytest.approx(sizes[[0, -1]])  # anchored at the widest, and the law is exact
    assert data(rival)[1][-1] == pytest.approx(sizes[-1])
    assert data(fit)[1][-1] == pytest.approx(sizes[-1])  # an exponent belongs to infinite width
    assert texts(drawn) == ["muP −0.49 [−0.52, −0.46], theory −1/2 ✓"]
    assert axes.get_title(loc="left") == "own weight update ΔW x, layer 2, step 3"
    assert axes.get_xlabel() == "width n"
    assert axes.get_ylabel() == "size of ΔW x (root mean square)"
    assert set(entries(drawn)) == {"muP", legend.MEASURED, legend.FIT, legend.THEORY, legend.RIVAL}


def test_exponents_fits_over_the_widths_of_the_estimate_alone() -> None:
    rows = power_law("muP", "output", 0.0)
    drawn = picture(Figure.EXPONENTS, [judge("muP", "output", Kind.EXPONENT, 0.0, widths=WIDTHS[2:])], rows)
    (fit,) = lines(drawn.axes[0], legend.FIT)
    assert data(fit)[0][[0, -1]] == pytest.approx([256, 1024])
    band = drawn.axes[0].collections[-1].get_paths()[0].vertices
    x, y = np.log2(band[:, 0]), np.log2(band[:, 1] / 3)
    inside = np.abs(y) <= 0.04 * np.abs(x - 10) + 1e-9  # between the slopes −0.02 and 0.04 through width 1024
    assert inside.all()
    assert np.abs(y).max() == pytest.approx(2 * 0.04)


def test_exponents_draws_what_is_predicted_and_nothing_else() -> None:
    named = [("activation-change", layer) for layer in (1, 2, 3)] + [("weight-update", 2)]
    rows = pd.concat(
        power_law(name, quantity, 0.0, layer, step)
        for name in ("muP", "NTP")
        for quantity in ("activation-change", "weight-update", "loss")
        for layer in (1, 2, 3)
        for step in (0, 5)
    )
    judged = [judge(name, q, Kind.EXPONENT, 0.0, layer=k, step=5) for q, k in named for name in ("muP", "NTP")]
    drawn = picture(Figure.EXPONENTS, judged, rows)
    assert [panel.get_title(loc="left") for panel in drawn.axes] == [
        *(f"change of activation Δx, layer {layer}, step 5" for layer in (1, 2, 3)),
        "own weight update ΔW x, layer 2, step 5",
    ]
    assert all(len(panel.containers) == 2 for panel in drawn.axes)


def test_diverged_widths_are_marked_and_left_out() -> None:
    rows = power_law("SP", "output", 0.5)
    rows.loc[rows["width"] == 1024, "value"] = np.inf
    drawn = picture(Figure.EXPONENTS, [judge("SP", "output", Kind.EXPONENT, 0.5)], rows)
    assert measured(drawn.axes[0], "SP")[0] == pytest.approx(WIDTHS[:-1])
    (cross,) = lines(drawn.axes[0], f"SP, {legend.DIVERGED}")
    assert data(cross)[0] == pytest.approx([1024])
    assert legend.DIVERGED in entries(drawn)


def test_an_estimate_that_failed_has_no_fit() -> None:
    rows = power_law("muP", "output", 0.5)
    failed = judge("muP", "output", Kind.EXPONENT, 0.5, value=math.nan, low=math.nan, high=math.nan)
    drawn = picture(Figure.EXPONENTS, [Judged(failed.estimate, Verdict.INCONCLUSIVE)], rows)
    assert lines(drawn.axes[0], legend.FIT) == []
    assert len(lines(drawn.axes[0], legend.THEORY)) == 1
    assert texts(drawn) == ["muP no estimate, theory 1/2 ?"]


def test_thirty_predictions_fit_one_picture() -> None:
    places = [(q, k) for q in ("preactivation-change", "initial-weight-on-change") for k in range(1, 6)]
    names = ("muP", "NTP", "SP")
    judged = [judge(name, q, Kind.EXPONENT, 0.0, layer=k, step=2) for q, k in places for name in names]
    rows = pd.concat(power_law(name, q, 0.0, k, 2) for q, k in places for name in names)
    drawn = picture(Figure.EXPONENTS, judged, rows)
    assert len(drawn.axes) == 10
    assert drawn.get_figwidth() < 11
    boxes = [panel.get_position() for panel in drawn.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert len(encode(drawn)) < 250_000


def test_costs_scatter_over_repeats_and_need_no_prediction() -> None:
    records = [
        ("lazy", width, ABSENT, ABSENT, ABSENT, repeat, quantity, width * (1 + 0.1 * repeat))
        for width in WIDTHS
        for repeat in range(4)
        for quantity in ("peak-bytes", "step-seconds")
    ]
    drawn = picture(Figure.COST, [judge("lazy", "step-seconds", Kind.EXPONENT, 1)], rows_of(records))
    assert [panel.get_title(loc="left") for panel in drawn.axes] == ["seconds a step", "peak memory in bytes"]
    for axes in drawn.axes:
        assert measured(axes, "lazy")[1] == pytest.approx(
            np.array(WIDTHS) * np.sqrt(np.mean((1 + 0.1 * np.arange(4)) ** 2))
        )
        squares = (1 + 0.1 * np.arange(4)) ** 2  # each repeat is independent, so their scatter is the error
        reach = stats.t.ppf(0.975, 3) * squares.std(ddof=1) / 2
        ends = np.sqrt(squares.mean() + np.array([-reach, reach]))
        assert intervals(axes, "lazy") == pytest.approx(np.outer(WIDTHS, ends))
    assert [len(lines(axes, legend.FIT)) for axes in drawn.axes] == [1, 0]
