"""Pictures of training: finite networks and their limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawings import (
    data,
    entries,
    lines,
    make_claim,
    picture,
    rows_of,
)
from matplotlib.colors import to_rgb

from tpbench.bench.claim import (
    ABSENT,
    ClaimResult,
    Figure,
)
from tpbench.bench.plot import draw, legend


def trajectories(limit_seeds: Sequence[int]) -> pd.DataFrame:
    generator = np.random.default_rng(8)
    records = []
    for index in range(5):
        for step in range(4):
            records += [("muP", 256, s, step, ABSENT, index, "limit", index + step + 10 * s) for s in limit_seeds]
            records += [
                ("muP", width, seed, step, ABSENT, index, "output", index + step + generator.normal() / width)
                for width in (64, 256)
                for seed in range(5)
            ]
    return rows_of(records)


def test_trajectories_draws_means_bands_and_the_limit() -> None:
    rows = trajectories([ABSENT])
    drawn = picture(Figure.TRAJECTORIES, [], rows)
    assert len(drawn.axes) == 3
    for index, axes in enumerate(drawn.axes):
        part = rows[(rows["index"] == index) & (rows["quantity"] == "output") & (rows["width"] == 64)]
        (line,) = lines(axes, "n = 64")
        assert data(line)[0] == pytest.approx(range(4))
        assert data(line)[1] == pytest.approx(part.groupby("step")["value"].mean())
        (limit,) = lines(axes, "infinite width (theory)")
        assert data(limit)[1] == pytest.approx(np.arange(4) + index - 10)
        assert to_rgb(limit.get_color()) == (0, 0, 0)
        assert len(axes.collections) == 2
    assert legend.BAND in entries(drawn)


def test_trajectories_of_many_parametrizations_draw_fewer_outputs_and_say_so() -> None:
    rows = trajectories([ABSENT])
    four = pd.concat(rows.assign(parametrization=name) for name in ("muP", "NTP", "SP", "mine"))
    drawn = picture(Figure.TRAJECTORIES, [], four)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == [
        f"{name}, output 0" for name in ("muP", "NTP", "SP", "mine")
    ]
    assert drawn.get_suptitle().endswith("Drawn are the first 1 of the 5 outputs recorded.")
    assert "Drawn are" not in picture(Figure.TRAJECTORIES, [], rows[rows["index"] < 3]).get_suptitle()


def test_trajectories_follow_one_seed_where_the_limit_depends_on_it() -> None:
    rows = trajectories([0, 1])
    drawn = picture(Figure.TRAJECTORIES, [], rows)
    axes = drawn.axes[1]
    part = rows[(rows["index"] == 1) & (rows["quantity"] == "output") & (rows["width"] == 256) & (rows["seed"] == 0)]
    assert data(lines(axes, "n = 256")[0])[1] == pytest.approx(part["value"])
    assert data(lines(axes, "infinite width (theory)")[0])[1] == pytest.approx(np.arange(4) + 1)
    assert not axes.collections
    assert axes.get_title(loc="left") == "muP, output 1 (seed 0)"


def test_trajectories_leave_out_diverged_seeds_and_say_so() -> None:
    rows = trajectories([ABSENT])
    spoilt = (rows["width"] == 64) & (rows["seed"] == 3) & (rows["step"] == 2) & (rows["quantity"] == "output")
    rest = rows[(rows["seed"] != 3) & (rows["index"] == 0) & (rows["quantity"] == "output") & (rows["width"] == 64)]
    rows.loc[spoilt, "value"] = np.nan
    drawn = picture(Figure.TRAJECTORIES, [], rows)
    assert data(lines(drawn.axes[0], "n = 64")[0])[1] == pytest.approx(rest.groupby("step")["value"].mean())
    assert f"n = 64 ({legend.DIVERGED})" in entries(drawn)
    assert "n = 256" in entries(drawn)


def test_trajectories_of_one_seed_leave_out_widths_without_it() -> None:
    """Lazy networks have other seeds than dense ones, so the first seed's limit is not theirs."""
    rows = trajectories([0, 1])
    wide = (rows["width"] == 256) & (rows["quantity"] == "output")
    rows.loc[wide, "seed"] += 2**20
    drawn = picture(Figure.TRAJECTORIES, [], rows)
    assert "n = 64" in entries(drawn)
    assert "n = 256" not in entries(drawn)
    assert not lines(drawn.axes[0], "n = 256")


def test_a_claim_says_in_words_what_its_outputs_are() -> None:
    rows = trajectories([ABSENT])
    claim = replace(make_claim(Figure.TRAJECTORIES), outputs=("slow", "at the edge", "fast"))
    (drawn,) = draw(claim, ClaimResult(claim.name, ()), rows).values()
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["muP, slow", "muP, at the edge", "muP, fast"]
    plain = picture(Figure.TRAJECTORIES, [], rows)
    assert [axes.get_title(loc="left") for axes in plain.axes] == ["muP, output 0", "muP, output 1", "muP, output 2"]
