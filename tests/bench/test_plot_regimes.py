"""Pictures of regimes: points where they lie, coloured as measured, framed where they differ; ranked exponents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawings import make_claim
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Picture

from tpbench.bench.atlas import FEATURES, KERNEL, QUANTITIES, TRIVIAL, UNSTABLE, Atlas, Chart, Region
from tpbench.bench.claim import Claim, ClaimResult, Estimate, Figure, Judged, Kind, Prediction, Side, Verdict
from tpbench.bench.plot import draw, encode
from tpbench.bench.plot.ranked import SHOWN
from tpbench.bench.plot.regimes import LOOKS

POWERS = {
    "still": {"growth": 0.0, "initial-size": 0.0, "output-change": 0.0, "activation-change": -0.5},
    "moving": {"growth": 0.0, "initial-size": 0.0, "output-change": 0.0, "activation-change": 0.0},
    "growing": {"growth": 1.0, "initial-size": 0.0, "output-change": 1.0, "activation-change": 1.0},
    "unsure": {"growth": 0.125, "initial-size": 0.0, "output-change": 0.0, "activation-change": 0.0},
}
PLACES = {"still": (0.25, 0.5), "moving": (0.5, 0.5), "growing": (0.75, 0.5), "unsure": (0.75, 0.75)}
CHART = Chart(
    title="a slice",
    axes=("across", "up"),
    box=(0.0, 1.0, 0.0, 1.0),
    regions=(
        Region(TRIVIAL, ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0))),
        Region(KERNEL, ((0.0, 0.5), (0.5, 0.5))),
        Region(FEATURES, ((0.5, 0.5),)),
    ),
    spots=PLACES,
    marks={"here it is": (0.5, 0.5)},
)
PREDICTED = {"still": KERNEL, "moving": FEATURES, "growing": UNSTABLE, "unsure": UNSTABLE}
ATLAS = Atlas((CHART,), PREDICTED, near=frozenset({"unsure"}))


def rows() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    found = [
        (label, width, seed, 3, -1, index, quantity, width ** powers[quantity] * generator.uniform(0.99, 1.01))
        for label, powers in POWERS.items()
        for quantity, _ in QUANTITIES
        for width in (256, 1024, 4096, 16384)
        for seed in range(4)
        for index in (1, 2)
    ]
    columns = ["parametrization", "width", "seed", "step", "layer", "index", "quantity", "value"]
    return pd.DataFrame(found, columns=columns)


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def claim(figure: Figure) -> Claim:
    return replace(make_claim(figure), figures=(figure,))


def drawn(atlas: Atlas | None) -> Picture:
    chosen = claim(Figure.REGIMES)
    (picture,) = draw(chosen, ClaimResult(chosen.name, ()), rows(), atlas=atlas).values()
    return picture


def markers(axes: Axes, place: tuple[float, float]) -> list[str]:
    return [str(line.get_marker()) for line in axes.get_lines() if [tuple(p) for p in line.get_xydata()] == [place]]


def test_points_lie_where_the_chart_says_and_look_as_they_were_measured() -> None:
    panel = drawn(ATLAS).axes[0]
    assert markers(panel, PLACES["still"]) == [LOOKS[KERNEL].marker]
    assert markers(panel, PLACES["growing"]) == [LOOKS[UNSTABLE].marker]
    [line] = [line for line in panel.get_lines() if [tuple(p) for p in line.get_xydata()] == [PLACES["still"]]]
    assert to_rgb(line.get_markerfacecolor()) == pytest.approx(LOOKS[KERNEL].colour)
    assert (panel.get_xlabel(), panel.get_ylabel()) == CHART.axes
    assert "here it is" in texts(panel)


def test_what_cannot_be_told_is_a_question_mark() -> None:
    panel = drawn(ATLAS).axes[0]
    assert "?" in texts(panel)
    assert markers(panel, PLACES["unsure"]) == ["o"]


def test_what_differs_from_theory_is_framed_and_counted() -> None:
    wrong = replace(ATLAS, predicted={**PREDICTED, "still": TRIVIAL})
    picture = drawn(wrong)
    assert markers(picture.axes[0], PLACES["still"]) == [LOOKS[KERNEL].marker, "s"]
    assert "2 of 3 as theory says" in picture.axes[1].get_title(loc="left")
    assert "3 of 3 as theory says" in drawn(ATLAS).axes[1].get_title(loc="left")


def test_what_is_near_a_boundary_is_neither_framed_nor_counted_among_the_others() -> None:
    near = replace(ATLAS, predicted={**PREDICTED, "still": TRIVIAL}, near=frozenset({"still", "unsure"}))
    picture = drawn(near)
    assert markers(picture.axes[0], PLACES["still"]) == [LOOKS[KERNEL].marker]
    assert "2 of 2 as theory says" in picture.axes[1].get_title(loc="left")
    assert texts(picture.axes[1]).count("+ 1 near") == 2


def test_regions_are_drawn_as_polygon_line_and_point() -> None:
    panel = drawn(ATLAS).axes[0]
    assert [len(patch.get_xy()) - 1 for patch in panel.patches] == [3]
    assert any([tuple(p) for p in line.get_xydata()] == [(0.0, 0.5), (0.5, 0.5)] for line in panel.get_lines())
    assert markers(panel, (0.5, 0.5)).count("o") == 3  # the region, the mark and the measured point


def test_charts_without_a_measured_point_are_left_out_and_without_an_atlas_it_says_so() -> None:
    other = replace(CHART, title="another", spots={"elsewhere": (0.0, 0.0)})
    assert len(drawn(replace(ATLAS, charts=(CHART, other))).axes) == 2
    [panel] = drawn(None).axes
    assert "no atlas" in " ".join(texts(panel)).replace("\n", " ")


def judged(value: float, predicted: float, side: Side, verdict: Verdict, number: int) -> Judged:
    prediction = Prediction(f"t{number}", "growth", Kind.LARGEST, predicted, predicted + 1, tolerance=0.125, side=side)
    return Judged(Estimate(prediction, value, 0.01, 9.0, value - 0.05, value + 0.05, (1, 2, 3)), verdict)


def test_ranked_exponents_are_in_order_grouped_by_prediction_and_signed_where_not_supported() -> None:
    found = [
        judged(0.02, 0.0, Side.EQUAL, Verdict.SUPPORTED, 0),
        judged(-0.6, -0.25, Side.AT_MOST, Verdict.SUPPORTED, 1),
        judged(-0.4, 0.0, Side.EQUAL, Verdict.REFUTED, 2),
        judged(-9.0, -0.25, Side.AT_MOST, Verdict.SUPPORTED, 3),
        judged(float("nan"), -0.25, Side.AT_MOST, Verdict.INCONCLUSIVE, 4),
    ]
    chosen = claim(Figure.RANKED)
    (picture,) = draw(chosen, ClaimResult(chosen.name, tuple(found)), rows()).values()
    [panel] = picture.axes
    values = [line.get_ydata()[0] for line in panel.get_lines() if line.get_marker() == "."]
    assert values == [SHOWN[0], -0.6, -0.4, 0.02]
    assert {"✗", "theory ≤ −1/4", "theory 0"} <= set(texts(panel))
    assert "largest exponent; 3 of 4 supported" in texts(panel)


def test_pictures_are_the_same_bytes_twice() -> None:
    assert encode(drawn(ATLAS)) == encode(drawn(ATLAS))


def test_the_legend_names_every_regime_twice() -> None:
    [legend] = drawn(ATLAS).legends
    labels = [text.get_text() for text in legend.get_texts()]
    for regime in (UNSTABLE, TRIVIAL, KERNEL, FEATURES):
        assert {f"measured: {regime}", f"theory: {regime}"} <= set(labels)
