"""Pictures of how far outputs are from their target over training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawings import data, entries, lines, make_claim, rows_of
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import ABSENT, ClaimResult, Figure
from tpbench.bench.plot import draw, encode, legend

FACTORS = (0.5, 1.0, 2.0)
STEPS = range(5)


def paths(names: tuple[str, ...] = ("ntp", "ntp, momentum")) -> pd.DataFrame:
    """Outputs 1 - (-r)^t, whose residual is r^t in size, and networks at twice and three times that, two seeds each."""
    records = []
    for name in names:
        for index, factor in enumerate(FACTORS):
            for step in STEPS:
                residual = (-factor) ** step
                records.append((name, 64, ABSENT, step, ABSENT, index, "limit", 1 - residual))
                records += [
                    (name, width, seed, step, ABSENT, index, "output", 1 - times * residual * (1 + 6 * seed))
                    for width, times in ((64, 3.0), (256, 2.0))
                    for seed in (0, 1)
                ]
    return rows_of(records)


def drawn_from(rows: pd.DataFrame) -> Picture:
    claim = replace(make_claim(Figure.RESIDUALS), outputs=("below", "at the edge", "above"))
    (picture,) = draw(claim, ClaimResult(claim.name, ()), rows).values()
    encode(picture)
    return picture


def test_residuals_are_root_mean_squares_on_one_logarithmic_axis() -> None:
    drawn = drawn_from(paths())
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["ntp", "ntp, momentum"]
    for axes in drawn.axes:
        assert axes.get_yscale() == "log"
        limits, wide = lines(axes, "infinite width (theory)"), lines(axes, "n = 256")
        for factor, limit, finite in zip(FACTORS, limits, wide, strict=True):
            assert data(limit)[1] == pytest.approx(factor ** np.arange(5))
            assert data(finite)[1] == pytest.approx(2 * 5 * factor ** np.arange(5))  # (1 + 7²)/2 = 5²
            assert to_rgb(limit.get_color()) == to_rgb(finite.get_color())
        assert len({to_rgb(line.get_color()) for line in limits}) == 3
    assert {"below", "at the edge", "above", "n = 64", "n = 256"} <= set(entries(drawn))
    assert legend.DIVERGED not in entries(drawn)


def test_residuals_leave_out_diverged_seeds_and_say_so() -> None:
    rows = paths(("ntp",))
    spoilt = (rows["width"] == 256) & (rows["seed"] == 1) & (rows["step"] == 3) & (rows["index"] == 2)
    rows.loc[spoilt, "value"] = np.inf
    drawn = drawn_from(rows)
    assert data(lines(drawn.axes[0], "n = 256")[2])[1] == pytest.approx(2 * 2.0 ** np.arange(5))
    assert legend.DIVERGED in entries(drawn)


def test_a_residual_of_zero_has_no_place() -> None:
    rows = paths(("ntp",))
    rows.loc[(rows["step"] == 2) & (rows["quantity"] == "limit"), "value"] = 1.0
    drawn = drawn_from(rows)
    assert data(lines(drawn.axes[0], "infinite width (theory)")[0])[0].tolist() == [0, 1, 3, 4]
