"""Programs as pictures: rows, places, labels, and what is too large to be drawn."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.programs import Program, apply, gaussian, gaussians, inner, matrix, moment, program
from tpbench.programs.graph import FIRST_PRODUCT, MOST, PRODUCT, READS_SCALAR, READS_VECTOR, draw
from tpbench.programs.layout import layout, rows


def symmetric(power: int) -> Program:
    W, x = matrix("W", variance=Fraction(1, 2)), gaussian("x0")
    chain = [x]
    for _ in range(power):
        chain.append((W + W.T) @ chain[-1])
    return program(**{f"m{i}": inner(x, y) for i, y in enumerate(chain)})


def test_every_name_is_in_a_box_and_every_product_has_its_label() -> None:
    made = symmetric(3)
    picture = draw(made)
    texts = [text.get_text() for text in picture.axes[0].texts]
    for name in made.kinds:
        assert sum(text.split(" ")[0] == name and len(text) > 2 for text in texts) == 1, name
    assert texts.count("W") == texts.count("Wᵀ") == 3
    heavy = [t.get_text().split(" ")[0] for t in picture.axes[0].texts if t.get_fontweight() == "bold"]
    assert sorted(heavy) == sorted(made.outputs)


def test_joint_vectors_say_whom_they_go_with() -> None:
    x, y, z = gaussians("x", "y", "z", covariance=[[1, Fraction(1, 2), 0], [Fraction(1, 2), 2, 0], [0, 0, 3]])
    texts = {text.get_text() for text in draw(program(x + y + z)).axes[0].texts}
    assert {"x ~ N(0, 1), with y", "y ~ N(0, 2), with x", "z ~ N(0, 3)"} <= texts


def test_boxes_do_not_overlap_and_edges_end_inside_the_picture() -> None:
    picture = draw(symmetric(6))
    picture.canvas.draw()
    axes = picture.axes[0]
    boxes = [text.get_bbox_patch().get_window_extent() for text in axes.texts if len(text.get_text()) > 2]  # type: ignore[union-attr]
    assert len(boxes) > 25
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    whole = axes.get_window_extent()
    for thing in [*boxes, *(patch.get_window_extent() for patch in axes.patches)]:
        assert whole.x0 <= thing.x0
        assert thing.x1 <= whole.x1


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=25), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_layout_of_random_graphs(reads: list[list[int]], spread: int) -> None:
    """Parents stand above their children, boxes of a row are apart, and edges have a place in each row."""
    names = [f"v{i}" for i in range(len(reads))]
    edges = [(names[j % i], names[i]) for i, some in enumerate(reads) if i for j in dict.fromkeys(k % i for k in some)]
    widths = {name: 0.5 + 0.3 * (i % (spread + 1)) for i, name in enumerate(names)}
    found = layout(widths, edges, 0.2)
    assert dict(found.row) == rows(names, edges)
    for parent, child in edges:
        assert found.row[parent] < found.row[child]
        assert len(found.roads[parent, child]) == found.row[child] - found.row[parent] + 1
    for row in set(found.row.values()):
        placed = sorted((found.across[name], widths[name]) for name in names if found.row[name] == row)
        for (left, one), (right, other) in pairwise(placed):
            assert right - left >= (one + other) / 2 + 0.2 - 1e-9
    assert min(found.across[name] - widths[name] / 2 for name in names) >= -1e-9


def test_crossings_that_can_be_avoided_are() -> None:
    edges = [("a", "w"), ("b", "v"), ("c", "u")]
    found = layout(dict.fromkeys("abcuvw", 1.0), edges, 0.1)
    assert all(len(set(road)) == 1 for road in found.roads.values()), "three straight lines"


def test_large_programs_say_what_to_do() -> None:
    x = gaussian("x")
    for _ in range(MOST):
        x = apply(torch.tanh, x)
    with pytest.raises(ValueError, match=r"81 bindings.*draw a part of it.*show"):
        draw(program(x))


@pytest.mark.parametrize(
    ("made", "lines"),
    [
        (symmetric(2), {READS_VECTOR, PRODUCT, FIRST_PRODUCT}),
        (program(gaussian("x")), set()),
        (program(moment(gaussian("x")) * gaussian("y")), {READS_VECTOR, READS_SCALAR}),
        (program(moment(gaussian("x")) ** 2), {READS_VECTOR, READS_SCALAR}),
        (program(matrix("W") @ gaussian("x")), {PRODUCT, FIRST_PRODUCT}),
    ],
)
def test_the_legend_names_what_is_drawn_and_no_more(made: Program, lines: set[str]) -> None:
    picture = draw(made)
    [legend] = picture.legends
    named = {text.get_text() for text in legend.get_texts()}
    assert named & {READS_VECTOR, READS_SCALAR, PRODUCT, FIRST_PRODUCT} == lines
    drawn = {(patch.get_linestyle(), patch.get_edgecolor()) for patch in picture.axes[0].patches}
    assert len(drawn) == len(lines)


def test_every_matrix_leads_to_its_first_product() -> None:
    W, V, x = matrix("W"), matrix("V"), gaussian("x")
    made = program(W @ (V @ (W.T @ x)))
    dotted = [patch for patch in draw(made).axes[0].patches if patch.get_linestyle() in (":", "dotted")]
    assert len(dotted) == 2
    assert len({patch.get_edgecolor() for patch in dotted}) == 2
