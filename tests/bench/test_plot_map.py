"""Maps of words: the right rows, groups that are told apart, and labels that can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawings import data, entries, lines, make_claim, rows_of, texts
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Picture

from tpbench.bench.claim import ABSENT, ClaimResult, Figure
from tpbench.bench.plot import draw, encode
from tpbench.bench.plot.labels import GAP, MARKER, spread

LABELS = {"states": ["ohio", "texas", "utah"], "cities": ["dallas", "austin"]}
WORDS = [word for group in LABELS.values() for word in group]
QUANTITIES = ("map", "limit-map", "kernel-limit-map")


def spots(seed: int) -> np.ndarray:
    """Return a map of the five words whose first one lies far to the right and above."""
    found = np.random.default_rng(seed).normal(size=(len(WORDS), 2))
    found[0] = 5.0
    return found


def map_rows(quantity: str, at: np.ndarray, width: int = 64, seed: int = ABSENT, step: int = 3) -> pd.DataFrame:
    return rows_of(
        ("mup", width, seed, step, layer, i, quantity, at[i, layer - 1]) for i in range(len(at)) for layer in (1, 2)
    )


def score(quantity: str, value: float, width: int = 64, seed: int = ABSENT, step: int = 3) -> pd.DataFrame:
    return rows_of([("mup", width, seed, step, ABSENT, ABSENT, quantity, value)])


def all_maps() -> pd.DataFrame:
    """A finite network at seed 0, and both limits, repeated by the runs of two widths."""
    limits = [
        map_rows(name, spots(i), width)
        for i, name in ((1, "limit-map"), (2, "kernel-limit-map"))
        for width in (64, 128)
    ]
    return pd.concat([map_rows("map", spots(0), seed=0), map_rows("map", spots(5), 128, seed=0), *limits])


def drawn(rows: pd.DataFrame, labels: Mapping[str, Sequence[str]] | None = LABELS) -> Picture:
    claim = make_claim(Figure.MAP)
    (found,) = draw(claim, ClaimResult(claim.name, ()), rows, labels).values()
    return found


def points(axes: Axes) -> np.ndarray:
    return np.concatenate([np.stack(data(lines(axes, group)[0]), axis=1) for group in LABELS])


def told(axes: Axes) -> str:
    return axes.texts[0].get_text()


def written(axes: Axes) -> list[Any]:
    return [text for text in axes.texts if text.get_text() in WORDS]


def test_three_panels_show_the_finite_network_and_both_limits() -> None:
    found = drawn(all_maps())
    titles = [axes.get_title(loc="left") for axes in found.axes]
    assert titles == ["mup, n = 64, seed 0", "infinite width, muP", "infinite width, kernel limit"]
    for i, axes in enumerate(found.axes):
        assert points(axes) == pytest.approx(spots(i))
        assert [text.get_text() for text in written(axes)] == WORDS
        assert told(axes) == "epoch 3"
    assert entries(found) == list(LABELS)


def test_the_same_rows_give_the_same_file() -> None:
    first, second = (encode(drawn(all_maps())) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_groups_differ_in_marker_and_colour() -> None:
    (axes, *_) = drawn(all_maps()).axes
    first, second = (lines(axes, group)[0] for group in LABELS)
    assert first.get_marker() != second.get_marker()
    assert to_rgb(first.get_color()) != to_rgb(second.get_color())
    assert [len(data(line)[0]) for line in (first, second)] == [3, 2]


def test_each_label_belongs_to_its_own_point() -> None:
    for i, axes in enumerate(drawn(all_maps()).axes):
        assert np.array([text.xy for text in written(axes)]) == pytest.approx(spots(i))


@pytest.mark.parametrize(
    "kept", [("map",), ("limit-map",), ("map", "kernel-limit-map"), ("limit-map", "kernel-limit-map")]
)
def test_only_what_was_measured_has_a_panel(kept: Sequence[str]) -> None:
    rows = all_maps()
    found = drawn(rows[rows["quantity"].isin(kept)])
    assert len(found.axes) == len(kept)
    for axes, quantity in zip(found.axes, kept, strict=True):
        assert points(axes) == pytest.approx(spots(QUANTITIES.index(quantity)))
    assert found.axes[0].get_title(loc="left").startswith("mup, ")


def test_the_narrowest_width_its_first_seed_and_the_last_step_are_drawn() -> None:
    others = [(64, 1, 3), (64, 0, 2), (32, 4, 1), (32, 4, 2), (32, 7, 9)]
    rows = pd.concat([map_rows("map", spots(10 + i), *where) for i, where in enumerate(others)])
    found = drawn(pd.concat([all_maps(), rows]))
    assert found.axes[0].get_title(loc="left") == "mup, n = 32, seed 4"
    assert told(found.axes[0]) == "epoch 2"
    assert points(found.axes[0]) == pytest.approx(spots(13))


def test_the_separation_of_each_panel_at_its_step_is_told() -> None:
    right = [score("separation", 0.71, seed=0), score("limit-separation", 0.93), score("kernel-limit-separation", 0.02)]
    wrong = [
        score("separation", 9.0, seed=1),
        score("separation", 9.0, seed=0, step=2),
        score("separation", 9.0, width=128, seed=0),
        score("limit-separation", 9.0, step=1),
    ]
    found = drawn(pd.concat([all_maps(), *right, *wrong]))
    expected = [f"epoch 3, separation of the groups {value}" for value in ("0.71", "0.93", "0.02")]
    assert [told(axes) for axes in found.axes] == expected


def test_a_separation_of_another_step_is_not_told() -> None:
    found = drawn(pd.concat([all_maps(), score("separation", 0.71, seed=0, step=2)]))
    assert told(found.axes[0]) == "epoch 3"


@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (-1, -1)])
def test_the_limits_are_turned_as_the_finite_network_is(signs: tuple[int, int]) -> None:
    rows = pd.concat([map_rows("map", spots(0), seed=0), map_rows("limit-map", spots(1) * signs)])
    assert points(drawn(rows).axes[1]) == pytest.approx(spots(1))


def test_a_diverged_network_is_said_to_be_one() -> None:
    rows = all_maps()
    rows.loc[(rows["quantity"] == "map") & (rows["index"] == 2), "value"] = np.nan
    found = drawn(rows)
    assert "diverged" in texts(found)[1]
    assert not written(found.axes[0])
    assert points(found.axes[1]) == pytest.approx(spots(1))


@pytest.mark.parametrize("labels", [None, {}, {"states": []}])
def test_without_labels_the_picture_says_so(labels: Mapping[str, Sequence[str]] | None) -> None:
    (text,) = texts(drawn(all_maps(), labels))
    assert "no configuration says which words" in text.replace("\n", " ")


@pytest.mark.parametrize("labels", [{"states": WORDS[:-1]}, {"states": [*WORDS, "more"]}])
def test_labels_of_other_words_than_the_map_has_are_an_error(labels: Mapping[str, Sequence[str]]) -> None:
    with pytest.raises(ValueError, match=r"'map' needs the words 0 to \d .* rows have 5 words"):
        drawn(all_maps(), labels)


def test_a_map_of_one_component_is_an_error() -> None:
    rows = all_maps()
    with pytest.raises(ValueError, match="on layers 1: make"):
        drawn(rows[rows["layer"] == 1])


def test_a_parametrization_is_a_row_of_panels() -> None:
    rows = pd.concat([all_maps(), all_maps().assign(parametrization="ntp")])
    axes = drawn(rows).axes
    assert [panel.get_title(loc="left").split(",")[0] for panel in axes[::3]] == ["mup", "ntp"]
    assert axes[3].get_position().y1 < axes[0].get_position().y0


def test_labels_stay_within_their_panel_and_do_not_overlap() -> None:
    found = drawn(all_maps())
    for axes in found.axes:
        boxes = [text.get_window_extent() for text in written(axes)]
        inside = axes.get_window_extent().padded(1.5)
        for i, box in enumerate(boxes):
            assert inside.contains(box.x0, (box.y0 + box.y1) / 2)
            assert inside.contains(box.x1, (box.y0 + box.y1) / 2)
            assert not any(box.overlaps(other) for other in boxes[:i])


# Where labels go

LOW, HIGH = np.zeros(2), np.array([250.0, 200.0])


def crowd(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    anchors = generator.normal(size=(count, 2)) * [45, 35] + [125, 100]
    return np.clip(anchors, 10, [240, 190]), np.stack([generator.uniform(15, 50, count), np.full(count, 8.0)], axis=1)


def hidden(centres: np.ndarray, sizes: np.ndarray) -> float:
    """Return the area that labels hide of each other."""
    shared = (sizes[:, None] + sizes[None, :]) / 2 - np.abs(centres[:, None] - centres[None, :])
    areas = np.maximum(shared, 0).prod(axis=-1)
    np.fill_diagonal(areas, 0)
    return float(areas.sum() / 2)


@pytest.mark.parametrize("seed", range(5))
def test_labels_in_a_crowd_hide_little_of_each_other(seed: int) -> None:
    anchors, sizes = crowd(40, seed)
    naive = anchors + np.array([0, MARKER]) + sizes * [0, 0.5]
    assert hidden(naive, sizes) > 500
    assert hidden(spread(anchors, sizes, LOW, HIGH), sizes) < 0.1 * hidden(naive, sizes)


def test_labels_with_room_hide_nothing_and_stay_close() -> None:
    _, sizes = crowd(12)
    anchors = np.array([(x, y) for x in (40.0, 95.0, 150.0, 205.0) for y in (40.0, 100.0, 160.0)])
    centres = spread(anchors, sizes, LOW, HIGH)
    assert hidden(centres, sizes + GAP) == 0
    away = np.maximum(np.abs(centres - anchors) - sizes / 2, 0)
    assert np.hypot(*away.T).max() <= MARKER * 1.5


def test_labels_of_one_point_go_apart() -> None:
    anchors, sizes = np.tile([125.0, 100.0], (4, 1)), np.tile([40.0, 8.0], (4, 1))
    assert hidden(spread(anchors, sizes, LOW, HIGH), sizes) == 0


def test_labels_keep_within_the_box_and_change_nothing_of_the_caller() -> None:
    anchors, sizes = crowd(30)
    anchors[:4] = [[0, 0], [250, 0], [0, 200], [250, 200]]
    before = anchors.copy()
    centres = spread(anchors, sizes, LOW, HIGH)
    assert (centres - sizes / 2 >= LOW - 1e-9).all()
    assert (centres + sizes / 2 <= HIGH + 1e-9).all()
    assert np.array_equal(anchors, before)
    assert np.array_equal(centres, spread(anchors, sizes, LOW, HIGH))
