"""Programs as pictures: initial data above, instructions below, what is asked for with a heavy frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.path import Path

from tpbench.programs.instructions import Gaussians, Kind, MatMul, Moment, Nonlin, bound_names
from tpbench.programs.layout import Layout, layout
from tpbench.programs.printing import WRITERS
from tpbench.programs.program import Program

MOST = 80
"""Bindings that a picture can show."""
LETTERS = 34
"""Letters of a box; longer formulas are cut."""
LETTER, PADDING, GAP, ROW = 0.078, 0.22, 0.25, 0.72  # inches
INK, EDGE = "#333333", "#8a8a8a"


class Look(NamedTuple):
    """How a kind is drawn: the style of its box, its colour, what the legend calls it."""

    box: str
    colour: str
    words: str


class Edge(NamedTuple):
    """How an edge is drawn and labelled; ``matrix`` gives it its colour."""

    style: str
    label: str = ""
    matrix: str = ""


READS_VECTOR, READS_SCALAR, PRODUCT, FIRST_PRODUCT = (
    "reads a vector",
    "reads a scalar",
    "product, in its matrix's colour",
    "a matrix's first product",
)
STYLES: Mapping[str, Literal["-", "--", ":"]] = {
    READS_VECTOR: "-",
    READS_SCALAR: "--",
    PRODUCT: "-",
    FIRST_PRODUCT: ":",
}

LOOKS: Mapping[Kind, Look] = {
    Kind.VECTOR: Look("round,pad=0.35,rounding_size=0.5", "#cfe3f5", "vector (rounded)"),
    Kind.MATRIX: Look("square,pad=0.35", "#fbe3b3", "matrix (square)"),
    Kind.SCALAR: Look("ellipse,pad=0.2", "#d5ecd0", "scalar (ellipse)"),
}
MATRIX_INKS = ("#b35900", "#7a3e9d", "#00695c", "#ad1457", "#3949ab", "#5d4037")
"""Colours of matrices and of the products by them."""


def draw(program: Program) -> Figure:
    """Return a picture of a program, from initial data at the top to outputs at the bottom.

    An edge leads to what reads a value; products have the colour and the name of their matrix, which stands above its
    first product.
    Raises ``ValueError`` for more than ``MOST`` bindings.
    """
    if len(program.bindings) > MOST:
        raise ValueError(
            f"the program has {len(program.bindings)} bindings, and a picture of more than {MOST} cannot be read: draw "
            "a part of it (program(…) of symbols in the middle), or read show(program)"
        )
    texts = _texts(program)
    inks = {name: MATRIX_INKS[i % len(MATRIX_INKS)] for i, name in enumerate(program.matrices)}
    edges = _edges(program)
    widths = {name: LETTER * len(text) + PADDING for name, text in texts.items()}
    found = layout(widths, list(edges), GAP)
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        return _drawn(program, texts, inks, edges, found)


def _drawn(
    program: Program,
    texts: Mapping[str, str],
    inks: Mapping[str, str],
    edges: Mapping[tuple[str, str], Edge],
    found: Layout,
) -> Figure:
    places = {name: (found.across[name], found.row[name]) for name in found.across}
    ends = [x + LETTER * len(texts[name]) / 2 for name, (x, _) in places.items()]
    bends = [x for road in found.roads.values() for x in road]
    width = max(*ends, *bends, 5.6) + 0.4
    height = (max(row for _, row in places.values()) + 1) * ROW + 0.7
    picture = Figure(figsize=(width, height))
    FigureCanvasAgg(picture)
    axes = picture.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    for (parent, child), road in found.roads.items():
        edge = edges[parent, child]
        points = [(x, _down(found.row[parent] + i)) for i, x in enumerate(road)]
        colour = inks.get(edge.matrix, EDGE)
        axes.add_patch(_arrow(points, colour, STYLES[edge.style]))
        _label(axes, points[-2:], edge.label, colour)
    for name, (x, row) in places.items():
        _box(axes, program, name, texts[name], (x, _down(row)), inks.get(name, INK))
    _legend(picture, program, {edge.style for edge in edges.values()})
    return picture


def _down(row: int) -> float:
    return 0.4 + ROW * row


def _label(axes: Axes, ends: Sequence[tuple[float, float]], label: str, colour: str) -> None:
    (x0, y0), (x1, y1) = ends
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    if label:
        place = (0.4 * x0 + 0.6 * x1, 0.4 * y0 + 0.6 * y1)
        axes.text(*place, label, color=colour, ha="center", va="center", fontsize=8, bbox=ground, zorder=3)


def _box(axes: Axes, program: Program, name: str, text: str, at: tuple[float, float], ink: str) -> None:
    look, asked = LOOKS[program.kinds[name]], name in program.outputs
    frame = {
        "boxstyle": look.box,
        "facecolor": look.colour,
        "edgecolor": ink,
        "linewidth": 2.4 if asked else 0.8,
    }
    weight = "bold" if asked else "normal"
    axes.text(*at, text, bbox=frame, weight=weight, ha="center", va="center", fontsize=9, zorder=4, parse_math=False)


def _texts(program: Program) -> dict[str, str]:
    """Return what stands in every box: the line of ``show``; joint vectors have a box each."""
    found = {}
    for binding in program.bindings:
        for place, name in enumerate(bound_names(binding)):
            text = WRITERS[type(binding)](binding)[0]
            if isinstance(binding, Gaussians) and len(binding.names) > 1:
                text = _marginal(binding, place)
            found[name] = text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
    return found


def _marginal(binding: Gaussians, place: int) -> str:
    """Return one of several joint vectors: its own law, and with which others it is correlated."""
    row = binding.covariance[place]
    others = [name for i, name in enumerate(binding.names) if i != place and row[i] != 0]
    alone = Gaussians(binding.names[place : place + 1], ((row[place],),), (binding.mean[place],))
    return WRITERS[Gaussians](alone)[0] + (f", with {', '.join(others)}" if others else "")


def _edges(program: Program) -> dict[tuple[str, str], Edge]:
    """Return every edge (parent, child): what reads what, and from each matrix one to its first product."""
    found: dict[tuple[str, str], Edge] = {}
    shown: set[str] = set()
    for binding in program.bindings:
        child = bound_names(binding)[0]
        if isinstance(binding, MatMul):
            if binding.matrix not in shown:
                found[binding.matrix, child] = Edge(FIRST_PRODUCT, matrix=binding.matrix)
            shown.add(binding.matrix)
            label = binding.matrix + ("ᵀ" if binding.transposed else "")
            found[binding.vector, child] = Edge(PRODUCT, label, binding.matrix)
        elif isinstance(binding, Nonlin | Moment):
            found |= {(name, child): Edge(READS_VECTOR) for name in binding.vectors}
            found |= {(name, child): Edge(READS_SCALAR) for name in binding.scalars}
    return found


def _arrow(points: list[tuple[float, float]], colour: str, line: str) -> FancyArrowPatch:
    """Return a smooth arrow through points, which leaves and enters rows straight downwards."""
    codes, path = [Path.MOVETO], [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        path += [(x0, y0 + 0.55 * (y1 - y0)), (x1, y1 - 0.55 * (y1 - y0)), (x1, y1)]
        codes += [Path.CURVE4] * 3
    *_, (x, y) = path
    path[-1] = (x, y - 0.16)  # ends at the upper edge of the box
    style: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 1.1, "zorder": 1}
    return FancyArrowPatch(path=Path(path, codes), arrowstyle="-|>", mutation_scale=9, **style)


def _legend(picture: Figure, program: Program, styles: Set[str]) -> None:
    """Explain what is drawn, and nothing else."""
    kinds = set(program.kinds.values())
    handles: list[Patch | Line2D] = [
        Patch(facecolor=look.colour, edgecolor=INK, label=look.words) for kind, look in LOOKS.items() if kind in kinds
    ]
    handles.append(Patch(facecolor="white", edgecolor=INK, linewidth=2.4, label="output"))
    for style, line in STYLES.items():
        if style in styles:
            colour = MATRIX_INKS[0] if style in (PRODUCT, FIRST_PRODUCT) else EDGE
            handles.append(Line2D([], [], color=colour, linestyle=line, label=style))
    picture.legend(handles=handles, loc="lower left", ncols=3, fontsize=8, frameon=False)
