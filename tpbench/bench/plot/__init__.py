"""Pictures of a claim: ``draw`` makes them from its rows and judged estimates, ``save`` writes them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from PIL import Image

from tpbench.bench.atlas import Atlas
from tpbench.bench.atomic import write_atomically
from tpbench.bench.claim import Claim, ClaimResult, Figure
from tpbench.bench.plot.canvas import style
from tpbench.bench.plot.convergence import draw_convergence
from tpbench.bench.plot.epochs import draw_epochs
from tpbench.bench.plot.family import draw_family
from tpbench.bench.plot.map import draw_map
from tpbench.bench.plot.powers import draw_costs, draw_exponents
from tpbench.bench.plot.ranked import draw_ranked
from tpbench.bench.plot.regimes import draw_regimes
from tpbench.bench.plot.residuals import draw_residuals
from tpbench.bench.plot.trajectories import draw_trajectories

Drawer = Callable[[Claim, ClaimResult, pd.DataFrame], Picture]

FIGURES: Mapping[Figure, Drawer] = {
    Figure.EXPONENTS: draw_exponents,
    Figure.TRAJECTORIES: draw_trajectories,
    Figure.RESIDUALS: draw_residuals,
    Figure.CONVERGENCE: draw_convergence,
    Figure.COST: draw_costs,
    Figure.EPOCHS: draw_epochs,
    Figure.FAMILY: draw_family,
    Figure.MAP: draw_map,
    Figure.RANKED: draw_ranked,
    Figure.REGIMES: draw_regimes,
}
"""How each kind of picture is drawn. Call through ``draw``, which sets the style."""

RESOLUTION = 130
"""Dots an inch of saved pictures: sharp on a phone, and small enough to travel inside a page."""

_UNDATED: Mapping[str, Mapping[str, Any]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
"""What each format's file must not contain, for the same picture to give the same bytes."""


def draw(
    claim: Claim,
    result: ClaimResult,
    rows: pd.DataFrame,
    labels: Mapping[str, Sequence[str]] | None = None,
    atlas: Atlas | None = None,
) -> dict[str, Picture]:
    """Return the pictures of a claim by name, such as ``feature-movement-exponents``.

    ``rows`` has the columns parametrization, width, seed, step, layer, index, quantity and value; a
    coordinate that a row lacks is -1. It may have ``weights``, dense or lazy; without, all are dense.
    ``labels`` are the words of a map by group, in the order of its rows' indices, ``atlas`` has the charts of regimes.
    Raises ``ValueError`` when the result belongs to another claim, or a map has other words than ``labels``.
    """
    if result.claim != claim.name:
        raise ValueError(f"the pictures of claim {claim.name!r} need its own result, but got that of {result.claim!r}")
    with style():
        given = {Figure.MAP: partial(draw_map, labels=labels), Figure.REGIMES: partial(draw_regimes, atlas=atlas)}
        drawers: Mapping[Figure, Drawer] = {**FIGURES, **given}
        return {f"{claim.name}-{figure}": drawers[figure](claim, result, rows) for figure in claim.figures}


def save(
    pictures: Mapping[str, Picture], directory: Path, formats: Sequence[str] = ("png",), dpi: int = RESOLUTION
) -> list[Path]:
    """Write each picture as ``directory/name.format`` and return the paths.

    A file appears whole or not at all. Raises ``StoreError`` when it cannot be written.
    """
    paths = []
    for name, picture in pictures.items():
        for extension in formats:
            path = directory / f"{name}.{extension}"
            write_atomically(path, encode(picture, extension, dpi))
            paths.append(path)
    return paths


def encode(picture: Picture, extension: str = "png", dpi: int = RESOLUTION) -> bytes:
    """Return a picture as the bytes of a file of the given format. The same picture gives the same bytes.

    A PNG has at most 256 colours, which a drawing hardly exceeds; that makes it a third as large.
    """
    with style():
        if extension == "png":
            return _png(picture, dpi)
        buffer = io.BytesIO()
        picture.savefig(buffer, format=extension, dpi=dpi, metadata=dict(_UNDATED.get(extension, {})))
    return buffer.getvalue()


def _png(picture: Picture, dpi: int) -> bytes:
    """Return a picture as the bytes of a PNG, drawn once; ``savefig`` would walk through it a second time."""
    before = picture.dpi
    try:
        picture.dpi = dpi
        canvas = FigureCanvasAgg(picture)
        canvas.draw()  # type: ignore[no-untyped-call]  # lays it out as well
        pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        drawn = Image.frombuffer("RGBA", canvas.get_width_height(), pixels, "raw", "RGBA", 0, 1)
        smaller = io.BytesIO()
        _fewer_colours(drawn.convert("RGB")).save(smaller, "png")
    finally:
        picture.dpi = before
    return smaller.getvalue()


def _fewer_colours(image: Image.Image) -> Image.Image:
    """Return an image of 256 colours, its background what it was.

    An octree finds them eight times as fast as the median cut, but mixes white with the lightest greys.
    """
    fewer = image.quantize(256, method=Image.Quantize.FASTOCTREE)
    colours, place = list(fewer.getpalette() or ()), np.asarray(fewer)[0, 0]
    colours[3 * place : 3 * place + 3] = np.asarray(image)[0, 0].tolist()
    fewer.putpalette(colours)
    return fewer
