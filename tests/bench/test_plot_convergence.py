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


def test_convergence_draws_two_steps_of_an_error_and_says_which_it_leaves_out() -> None:
    steps = (0, 1, 2, 5, 10, 20, 50)
    judged = [judge("muP", "output-error", Kind.SPREAD, -0.5, step=step) for step in steps]
    drawn = picture(Figure.CONVERGENCE, judged, pd.concat(errors(step) for step in steps))
    assert [panel.get_title(loc="left").rpartition(" ")[2] for panel in drawn.axes] == ["0", "50"]
    assert drawn.get_suptitle().endswith("Judged as well, and not drawn: output error at step 1, 2, 5, 10, 20.")


def test_convergence_draws_the_last_step_of_a_value_under_every_parametrization() -> None:
    steps = {"muP": (1, 8), "NTP": (2, 4)}
    judged = [judge(name, "rival-share", Kind.VALUE, 0, step=step) for name, own in steps.items() for step in own]
    rows = pd.concat(power_law(name, "rival-share", -1.0, step=step) for name, own in steps.items() for step in own)
    drawn = picture(Figure.CONVERGENCE, judged, rows)
    assert [panel.get_title(loc="left").rpartition(" ")[2] for panel in drawn.axes] == ["8", "4"]
    assert drawn.get_suptitle().endswith("not drawn: share of the rival's limit at step 1, 2.")
    whole = picture(Figure.CONVERGENCE, judged[1:2], rows)
    assert "not drawn" not in whole.get_suptitle()


def test_a_bias_that_could_be_any_power_has_no_fitted_line() -> None:
    unbounded = {"value": 1.0, "low": -3.0, "high": 5.0}
    for changes, fits in ((unbounded, 0), ({**unbounded, "high": 4.9}, 1)):
        row = judge("muP", "output-error", Kind.BIAS, -1, step=5, **changes)
        drawn = picture(Figure.CONVERGENCE, [row], errors(5))
        (axes,) = drawn.axes
        assert len(lines(axes, legend.FIT)) == fits
        assert len(lines(axes, legend.THEORY)) == 1
        assert ("bias has no exponent: below the noise, theory −1 ✓" in texts(drawn)) == (fits == 0)


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
