"""Pictures of convergence: bias, spread and extrapolated values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from drawings import (
    WIDTHS,
    data,
    entries,
    judge,
    lines,
    measured,
    picture,
    power_law,
    rows_of,
    slope,
    texts,
)

from tpbench.bench.claim import (
    ABSENT,
    Figure,
    Kind,
)
from tpbench.bench.plot import legend


def errors(step: int) -> pd.DataFrame:
    """Rows with bias exactly 4/n in both indices and standard deviation exactly 2 n^(-1/2) over sixteen seeds."""
    noise = np.random.default_rng(9).normal(size=(16, 2))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0, ddof=1)
    records = []
    for width in WIDTHS:
        centre = math.sqrt(16 / width**2 + 4 / width / 16)  # the noise s²/S will be subtracted
        values = centre + 2 * width**-0.5 * noise
        records += [
            ("muP", width, s, step, ABSENT, i, "output-error", values[s, i]) for s in range(16) for i in range(2)
        ]
    return rows_of(records)


def test_convergence_draws_bias_and_spread() -> None:
    judged = [
        judge("muP", "output-error", kind, predicted, step=5)
        for kind, predicted in ((Kind.BIAS, -1), (Kind.SPREAD, -0.5))
    ]
    drawn = picture(Figure.CONVERGENCE, judged, errors(5))
    (axes,) = drawn.axes
    assert measured(axes, legend.BIAS)[1] == pytest.approx(4 / np.array(WIDTHS))
    assert measured(axes, legend.SPREAD)[1] == pytest.approx(2 * np.array(WIDTHS) ** -0.5)
    assert [slope(line) for line in lines(axes, legend.THEORY)] == pytest.approx([-1, -0.5])
    assert sorted(texts(drawn)) == [
        "bias −0.99 [−1.02, −0.96], theory −1 ✓",
        "spread −0.49 [−0.52, −0.46], theory −1/2 ✓",
    ]
    assert {legend.BIAS, legend.SPREAD} <= set(entries(drawn))


def test_convergence_draws_at_most_four_steps() -> None:
    steps = (0, 1, 2, 5, 10, 20, 50)
    judged = [judge("muP", "output-error", Kind.SPREAD, -0.5, step=step) for step in steps]
    drawn = picture(Figure.CONVERGENCE, judged, pd.concat(errors(step) for step in steps))
    shown = [panel.get_title(loc="left").rpartition(" ")[2] for panel in drawn.axes]
    assert len(shown) == 4
    assert (shown[0], shown[-1]) == ("0", "50")


def test_convergence_marks_a_bias_below_the_noise() -> None:
    rows = errors(5)
    widest = rows["width"] == 1024
    rows.loc[widest, "value"] -= rows[widest].groupby("index")["value"].transform("mean")
    drawn = picture(Figure.CONVERGENCE, [judge("muP", "output-error", Kind.BIAS, -1, step=5)], rows)
    (floor,) = lines(drawn.axes[0], f"{legend.BIAS}, {legend.HIDDEN}")
    assert data(floor) == (pytest.approx([1024]), pytest.approx([2 / 32 / 4]))
    assert floor.get_marker() == "v"
    assert floor.get_markerfacecolor() == "none"
    assert measured(drawn.axes[0], legend.BIAS)[0] == pytest.approx(WIDTHS[:-1])
    assert legend.HIDDEN in entries(drawn)


def test_convergence_extrapolates_values() -> None:
    rows = power_law("muP", "rival-share", -1.0, step=5)
    drawn = picture(Figure.CONVERGENCE, [judge("muP", "rival-share", Kind.VALUE, 0, step=5)], rows)
    (axes,) = drawn.axes
    x, y = measured(axes, "muP")
    assert x == pytest.approx(1 / np.array(WIDTHS))
    assert y == pytest.approx(rows.groupby("width")["value"].mean())
    assert measured(axes, legend.EXTRAPOLATED) == (pytest.approx([0]), pytest.approx([0.01]))
    assert data(lines(axes, legend.THEORY)[0])[1] == pytest.approx([0, 0])
    assert data(lines(axes, legend.RIVAL)[0])[1] == pytest.approx([1, 1])
