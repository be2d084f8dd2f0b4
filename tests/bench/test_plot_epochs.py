"""Pictures of epochs: finite widths with their intervals, the limit and the kernel limit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawings import data, entries, judge, lines, picture, rows_of, texts
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from scipy import stats

from tpbench.bench.claim import ABSENT, Figure, Judged, Kind
from tpbench.bench.plot import legend
from tpbench.bench.plot.epochs import BAND, KERNEL_LABEL, LIMIT_LABEL, MOST_WIDTHS
from tpbench.bench.report import CAPTIONS

EPOCHS = range(1, 6)
ACCURACY = "analogy-accuracy"
FALL = judge("mup", ACCURACY, Kind.FALL, 0.0, step=5)


def limit_of(epoch: int) -> float:
    return 0.1 * epoch


def runs(
    quantity: str = ACCURACY,
    name: str = "mup",
    widths: tuple[int, ...] = (64, 256),
    seeds: int = 5,
    limits: tuple[str, ...] = ("limit-", "kernel-limit-"),
) -> pd.DataFrame:
    """Rows of two indices a seed; the limit is repeated by every run, the kernel limit is 0.05 at the last epoch."""
    generator, records = np.random.default_rng(8), []
    for width in widths:
        for epoch in EPOCHS:
            records += [
                (name, width, seed, epoch, ABSENT, i, quantity, limit_of(epoch) - 1 / width + generator.normal() / 99)
                for seed in range(seeds)
                for i in range(2)
            ]
            if "limit-" in limits:
                records.append((name, width, ABSENT, epoch, ABSENT, ABSENT, f"limit-{quantity}", limit_of(epoch)))
        if "kernel-limit-" in limits:
            records.append((name, width, ABSENT, 5, ABSENT, ABSENT, f"kernel-limit-{quantity}", 0.05))
    return rows_of(records)


def drawn(rows: pd.DataFrame, *judged: Judged) -> list[Axes]:
    return picture(Figure.EPOCHS, judged or [FALL], rows).axes


def band(axes: Axes, which: int) -> np.ndarray:
    """Return (epoch, low and high) of a band."""
    collections = [each for each in axes.collections if isinstance(each, PolyCollection)]
    corners = np.asarray(collections[which].get_paths()[0].vertices)
    ends = [corners[np.isclose(corners[:, 0], epoch), 1] for epoch in EPOCHS]
    return np.array([(end.min(), end.max()) for end in ends])


def test_widths_are_means_over_seeds_with_their_t_intervals() -> None:
    rows = runs()
    (axes,) = drawn(rows)
    for which, width in enumerate((64, 256)):
        part = rows[(rows["quantity"] == ACCURACY) & (rows["width"] == width)]
        table = part.pivot_table(index="seed", columns="step", values="value").to_numpy()
        (line,) = lines(axes, f"n = {width}")
        assert data(line)[0] == pytest.approx(list(EPOCHS))
        assert data(line)[1] == pytest.approx(table.mean(axis=0))
        expected = stats.t.interval(0.95, 4, table.mean(axis=0), stats.sem(table, axis=0))
        assert band(axes, which) == pytest.approx(np.array(expected).T)


def test_the_limit_is_dashed_and_black_and_the_kernel_limit_dotted_and_flat() -> None:
    (axes,) = drawn(runs())
    (limit,), (kernel,) = lines(axes, LIMIT_LABEL), lines(axes, KERNEL_LABEL)
    assert data(limit)[1] == pytest.approx([limit_of(epoch) for epoch in EPOCHS])
    assert to_rgb(limit.get_color()) == (0, 0, 0)
    assert limit.is_dashed()
    assert kernel.is_dashed()
    dot, dash = (line._unscaled_dash_pattern[1][0] for line in (kernel, limit))  # type: ignore[attr-defined]
    assert dot <= 1 < dash
    red, green, blue = to_rgb(kernel.get_color())
    assert red == green == blue != 0
    assert list(data(kernel)[0]) == [0, 1]  # of the axes: from end to end
    assert list(data(kernel)[1]) == pytest.approx([0.05, 0.05])


def test_a_kernel_limit_of_many_epochs_is_drawn_as_it_is() -> None:
    kernel = [("mup", 64, ABSENT, e, ABSENT, ABSENT, f"kernel-limit-{ACCURACY}", e / 100) for e in EPOCHS]
    (axes,) = drawn(pd.concat([runs(limits=("limit-",)), rows_of(kernel)]))
    assert data(lines(axes, KERNEL_LABEL)[0])[1] == pytest.approx(np.array(EPOCHS) / 100)


def test_repeated_limits_are_drawn_once_at_their_mean() -> None:
    rows = runs()
    rows.loc[(rows["quantity"] == f"limit-{ACCURACY}") & (rows["width"] == 64), "value"] += 0.02
    (axes,) = drawn(rows)
    (limit,) = lines(axes, LIMIT_LABEL)
    assert data(limit)[1] == pytest.approx([limit_of(epoch) + 0.01 for epoch in EPOCHS])


def test_the_legend_tells_every_line_once() -> None:
    found = picture(Figure.EPOCHS, [FALL], runs())
    assert sorted(entries(found)) == sorted([LIMIT_LABEL, KERNEL_LABEL, "n = 64", "n = 256", BAND])


def test_without_limits_there_is_no_entry_for_them() -> None:
    found = picture(Figure.EPOCHS, [FALL], runs(limits=()))
    assert sorted(entries(found)) == sorted(["n = 64", "n = 256", BAND])
    assert len(found.axes) == 1


def test_two_seeds_have_no_band() -> None:
    found = picture(Figure.EPOCHS, [FALL], runs(seeds=2))
    assert BAND not in entries(found)
    assert not found.axes[0].collections


def test_a_parametrization_is_a_panel_and_a_quantity_a_row_of_panels() -> None:
    loss = judge("mup", "loss", Kind.RISE, 0.0, step=5)
    rows = pd.concat([runs(quantity, name) for quantity in (ACCURACY, "loss") for name in ("mup", "mup, fil9")])
    axes = drawn(rows, FALL, loss)
    assert [panel.get_title(loc="left") for panel in axes] == [
        "mup: analogy accuracy",
        "mup, fil9: analogy accuracy",
        "mup: loss",
        "mup, fil9: loss",
    ]
    boxes = [panel.get_position() for panel in axes]
    assert boxes[0].y0 == pytest.approx(boxes[1].y0)
    assert boxes[2].y1 < boxes[0].y0


def test_what_has_limits_comes_before_what_has_none() -> None:
    others = [judge("mup", name, Kind.VALUE, 0.0, step=5) for name in ("loss", "never-measured")]
    both = pd.concat([runs(), runs("loss", limits=())])
    assert [panel.get_title(loc="left") for panel in drawn(both, *others, FALL)] == ["mup: analogy accuracy"]
    without = pd.concat([runs(limits=()), runs("loss", limits=())])
    titles = [panel.get_title(loc="left") for panel in drawn(without, *others, FALL)]
    assert titles == ["mup: loss", "mup: analogy accuracy"]


def test_what_is_not_predicted_is_not_drawn() -> None:
    found = picture(Figure.EPOCHS, [judge("mup", "loss", Kind.VALUE, 0.0)], runs())
    (text,) = texts(found)
    assert " ".join(text.split()) == "There is no row of a predicted quantity over epochs to draw."


def test_layers_are_panels_of_their_own_and_have_their_own_limits() -> None:
    first, second = runs().assign(layer=1), runs().assign(layer=2)
    second["value"] += 0.3
    axes = drawn(pd.concat([first, second]), *(judge("mup", ACCURACY, Kind.FALL, 0.0, layer=i) for i in (1, 2)))
    assert [panel.get_title(loc="left") for panel in axes] == [f"mup: analogy accuracy, layer {i}" for i in (1, 2)]
    limits = [data(lines(panel, LIMIT_LABEL)[0])[1] for panel in axes]
    assert limits[1] - limits[0] == pytest.approx([0.3] * 5)


def test_an_accuracy_is_drawn_in_percent_and_nothing_else_is() -> None:
    loss = judge("mup", "loss", Kind.RISE, 0.0)
    accurate, plain = drawn(pd.concat([runs(), runs("loss")]), FALL, loss)
    ticks = [text.get_text() for text in accurate.get_yticklabels()]
    assert "40%" in ticks
    assert all(text.endswith("%") for text in ticks)
    assert not any("%" in text.get_text() for text in plain.get_yticklabels())


def test_a_seed_that_diverges_is_left_out_from_the_start_and_named() -> None:
    rows = runs()
    own = (rows["quantity"] == ACCURACY) & (rows["width"] == 64)
    rest = rows[own & (rows["seed"] != 3)]
    rows.loc[own & (rows["seed"] == 3) & (rows["step"] == 4) & (rows["index"] == 1), "value"] = np.inf
    found = picture(Figure.EPOCHS, [FALL], rows)
    assert data(lines(found.axes[0], "n = 64")[0])[1] == pytest.approx(rest.groupby("step")["value"].mean())
    assert f"n = 64 ({legend.DIVERGED})" in entries(found)
    assert "n = 256" in entries(found)


def test_a_width_of_which_every_seed_diverges_is_still_named() -> None:
    rows = runs()
    rows.loc[(rows["quantity"] == ACCURACY) & (rows["width"] == 64), "value"] = np.nan
    assert f"n = 64 ({legend.DIVERGED})" in entries(picture(Figure.EPOCHS, [FALL], rows))


def test_many_widths_are_thinned_and_the_narrowest_is_the_lightest() -> None:
    found = picture(Figure.EPOCHS, [FALL], runs(widths=tuple(2**i for i in range(4, 15))))
    (axes,) = found.axes
    shown = [line for line in axes.get_lines() if str(line.get_label()).startswith("n = ")]
    assert len(shown) == MOST_WIDTHS
    assert {shown[0].get_label(), shown[-1].get_label()} == {"n = 16", f"n = {2**14}"}
    brightness = [sum(to_rgb(line.get_color())) for line in shown]
    assert brightness == sorted(brightness, reverse=True)


def test_every_figure_has_a_caption() -> None:
    assert set(CAPTIONS) == set(Figure)
