"""What holds for pictures of every kind: names, titles, colours, files, and what is said without rows."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawings import (
    judge,
    make_claim,
    picture,
    power_law,
    rows_of,
    texts,
)
from matplotlib.colors import rgb_to_hsv
from PIL import Image

from tpbench.bench.claim import (
    ClaimResult,
    Figure,
    Kind,
)
from tpbench.bench.plot import FIGURES, canvas, draw, encode, save
from tpbench.bench.plot.canvas import style


def test_every_kind_of_figure_can_be_drawn() -> None:
    assert set(FIGURES) == set(Figure)


@pytest.mark.parametrize("figure", Figure)
@pytest.mark.parametrize("predicted", [False, True])
def test_without_rows_a_picture_says_so(figure: Figure, predicted: bool) -> None:
    judged = [judge("muP", "output", Kind.EXPONENT, 0.5), judge("muP", "output-error", Kind.BIAS, -1, step=1)]
    judged += [judge("muP", "rival-share", Kind.VALUE, 0), judge("muP", "peak-bytes", Kind.EXPONENT, 1)]
    drawn = picture(figure, judged if predicted else [], rows_of([]))
    said = [text for text in texts(drawn) if " no " in text.replace("\n", " ") or text.startswith("No cost")]
    assert len(said) == len(drawn.axes) >= 1
    assert not any(panel.get_lines() for panel in drawn.axes)


def test_draw_names_pictures_after_the_claim_and_refuses_another_ones_result() -> None:
    claim = make_claim(Figure.EXPONENTS, Figure.COST)
    assert list(draw(claim, ClaimResult(claim.name, ()), rows_of([]))) == [
        "feature-movement-exponents",
        "feature-movement-cost",
    ]
    with pytest.raises(ValueError, match="'feature-movement' need its own result, but got that of 'other'"):
        draw(claim, ClaimResult("other", ()), rows_of([]))


def test_title_tells_statement_and_rival() -> None:
    title = " ".join(picture(Figure.COST, [], rows_of([])).get_suptitle().split())
    claim = make_claim()
    assert title == f"{claim.statement.strip()} Rival: {claim.rival}"


def test_looks_stay_with_their_parametrization() -> None:
    names = ["muP", "NTP", "SP", "mean-field", "mine"]
    together = canvas.looks(names)
    assert list(together) == names
    assert len(set(together.values())) == 5
    for name in names:
        assert canvas.looks([name])[name] == together[name]
    assert canvas.looks(["MUP"])["MUP"] == together["muP"]
    many = canvas.looks([f"p{i}" for i in range(len(canvas.OTHER_LOOKS))])
    assert len(set(many.values())) == len(canvas.OTHER_LOOKS)


def test_variants_are_shades_of_their_parametrization() -> None:
    names = [f"{name}{variant}" for name in ("mup", "ntp") for variant in ("", ", depth 4", ", depth 8")]
    together = canvas.looks(names)
    assert list(together) == names
    assert len(set(together.values())) == len(names)
    assert together["mup"] == canvas.looks(["mup"])["mup"]
    hues = {name: rgb_to_hsv(look.colour)[0] for name, look in together.items()}
    for name in names:
        assert hues[name] == pytest.approx(hues[name[:3]], abs=0.01)
    assert together["mup, depth 4"].marker == together["ntp, depth 4"].marker != together["mup, depth 8"].marker
    assert canvas.looks(["mup, depth 4", "mup, depth 8"]).items() <= together.items()


@pytest.mark.parametrize("variants", [1, 3, 5, 9])
def test_looks_of_many_variants_are_told_apart(variants: int) -> None:
    names = [f"{name}, case {i}" for name in ("mup", "ntp", "sp", "mine") for i in range(variants)]
    assert len(set(canvas.looks(names).values())) == len(names)


def test_with_lazy_weights_the_marker_tells_nothing_else() -> None:
    found = canvas.looks(["mup", "ntp", "ntp, depth 4"], ["dense", "lazy"])
    assert {(look.marker, look.lazy) for look in found.values()} == {("o", "D")}
    assert len({look.colour for look in found.values()}) == 3


def test_a_finding_of_a_variant_does_not_run_into_its_number() -> None:
    row = judge("mup, depth 4", "output", Kind.EXPONENT, 0.5)
    rows = power_law("mup, depth 4", "output", 0.5)
    drawn = picture(Figure.EXPONENTS, [row], rows)
    assert texts(drawn) == ["mup, depth 4: 0.51 [0.48, 0.54], theory 1/2 ✓"]


@pytest.mark.parametrize("length", [10, 40, 80])
def test_the_legend_keeps_within_the_picture(length: int) -> None:
    names = ["mup", *(f"mup, {'x' * length}{i}" for i in range(3))]
    rows = pd.concat(power_law(name, "output", 0.0) for name in names)
    drawn = picture(Figure.EXPONENTS, [judge(name, "output", Kind.EXPONENT, 0.0) for name in names], rows)
    (shared,) = drawn.legends
    box = shared.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= drawn.bbox.width
    assert set(names) < {text.get_text() for text in shared.get_texts()}


def test_pictures_of_variants_are_named_after_the_claim_alone() -> None:
    claim = make_claim(Figure.EXPONENTS)
    result = ClaimResult(claim.name, (judge("mup, depth 4/2", "output", Kind.EXPONENT, 0.0),))
    assert list(draw(claim, result, power_law("mup, depth 4/2", "output", 0.0))) == ["feature-movement-exponents"]


@pytest.mark.parametrize("groups", [[1], [2], [1, 1], [3, 3], [4, 4, 1], [5], [1, 1, 1, 1, 1], [7, 2, 3]])
def test_panels_have_a_place_of_their_own(groups: list[int]) -> None:
    placed = canvas.spots(groups)
    assert len(placed) == len(set(placed)) == sum(groups)
    assert placed == sorted(placed)
    assert max(column for _, column in placed) < (canvas.WIDEST if max(groups) == canvas.WIDEST else canvas.COLUMNS)


def test_drawing_leaves_settings_and_rows_alone() -> None:
    before = dict(mpl.rcParams)
    rows = power_law("muP", "output", 0.0)
    copy = rows.copy()
    picture(Figure.EXPONENTS, [judge("muP", "output", Kind.EXPONENT, 0.0)], rows)
    assert dict(mpl.rcParams) == before
    pd.testing.assert_frame_equal(rows, copy)


def test_saves_whole_files_and_the_same_bytes_twice(tmp_path: Path) -> None:
    rows = power_law("muP", "output", 0.0)
    judged = [judge("muP", "output", Kind.EXPONENT, 0.0)]
    first, second = (picture(Figure.EXPONENTS, judged, rows) for _ in range(2))
    paths = save({"a": first, "b": second}, tmp_path / "figures", formats=("png", "svg", "pdf"))
    assert [path.name for path in paths] == ["a.png", "a.svg", "a.pdf", "b.png", "b.svg", "b.pdf"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in paths)
    for ours, theirs in zip(paths[:3], paths[3:], strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_a_png_is_what_the_canvas_shows_and_white_stays_white() -> None:
    rows = power_law("muP", "output", 0.0)
    drawn = picture(Figure.EXPONENTS, [judge("muP", "output", Kind.EXPONENT, 0.0)], rows)
    before = drawn.dpi
    with Image.open(io.BytesIO(encode(drawn, dpi=100))) as image:
        found = np.asarray(image.convert("RGB"), dtype=int)
    assert drawn.dpi == before
    buffer = io.BytesIO()
    with style():
        drawn.savefig(buffer, format="png", dpi=100)
    with Image.open(buffer) as image:
        whole = np.asarray(image.convert("RGB"), dtype=int)
    assert found.shape == whole.shape
    assert (found[(whole == 255).all(axis=-1)] == 255).all()
    assert np.abs(found - whole).mean() < 1
