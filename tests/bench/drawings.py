"""Synthetic claims and rows for the tests of pictures, and what can be read off a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from tpbench.bench.claim import (
    ABSENT,
    PROFILES,
    Claim,
    ClaimResult,
    Estimate,
    Figure,
    Judged,
    Kind,
    Prediction,
    Sweep,
    Verdict,
)
from tpbench.bench.plot import draw, encode

COLUMNS = ["experiment", "parametrization", "width", "seed", "step", "layer", "index", "quantity", "value"]
WIDTHS = (64, 128, 256, 512, 1024)
LAZY_WIDTHS = (1024, 2**14, 2**17, 2**20)


def make_claim(*figures: Figure) -> Claim:
    return Claim(
        name="feature-movement",
        statement="Features move by an amount that costs $5 and does not depend on width, in every layer. " * 2,
        source="Yang & Hu 2021",
        rival="Features stay.",
        experiment="mlp",
        sweeps=dict.fromkeys(PROFILES, Sweep(("muP",), (64,), (4,), {})),
        predict=lambda config: (),
        faults=(),
        figures=figures,
    )


def judge(parametrization: str, quantity: str, kind: Kind, predicted: float, **changes: Any) -> Judged:
    theory = Prediction(parametrization, quantity, kind, predicted, predicted + 1, 0.1)
    theory = replace(theory, **{key: changes.pop(key) for key in ("layer", "step", "side") if key in changes})
    estimate = Estimate(theory, predicted + 0.01, 0.01, 9, predicted - 0.02, predicted + 0.04, WIDTHS)
    return Judged(replace(estimate, **changes), Verdict.SUPPORTED)


def rows_of(records: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Make the table from (parametrization, width, seed, step, layer, index, quantity, value)."""
    return pd.DataFrame([("mlp", *record) for record in records], columns=COLUMNS)


def power_law(
    name: str,
    quantity: str,
    slope: float,
    layer: int = ABSENT,
    step: int = ABSENT,
    widths: Sequence[int] = WIDTHS,
) -> pd.DataFrame:
    """Rows whose root mean square over eight seeds and two indices is exactly 3 n^slope at every width."""
    generator = np.random.default_rng(7)
    records = []
    for width in widths:
        noise = np.exp(0.1 * generator.normal(size=(8, 2)))
        noise *= 3 * width**slope / np.sqrt(np.mean(noise**2))
        records += [(name, width, s, step, layer, i, quantity, noise[s, i]) for s in range(8) for i in range(2)]
    return rows_of(records)


def with_lazy(dense: pd.DataFrame, lazy: pd.DataFrame) -> pd.DataFrame:
    """Rows of dense and of lazy networks, the latter of seeds of their own."""
    return pd.concat([dense.assign(weights="dense"), lazy.assign(weights="lazy", seed=lazy["seed"] + 2**20)])


def picture(figure: Figure, judged: Sequence[Judged], rows: pd.DataFrame) -> Picture:
    claim = make_claim(figure)
    (drawn,) = draw(claim, ClaimResult(claim.name, tuple(judged)), rows).values()
    encode(drawn)  # lays the picture out, which is where warnings come from
    return drawn


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_label() == label]


def data(line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def measured(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (container,) = [bars for bars in axes.containers if bars.get_label() == label]
    return data(container.lines[0])


def intervals(axes: Axes, label: str) -> np.ndarray:
    """Return the ends of the error bars, (width, 2)."""
    (container,) = [bars for bars in axes.containers if bars.get_label() == label]
    return np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()])


def slope(line: Line2D) -> float:
    x, y = np.log2(data(line))
    return float((y[-1] - y[0]) / (x[-1] - x[0]))


def texts(drawn: Picture) -> list[str]:
    return [text.get_text() for panel in drawn.axes for text in panel.texts]


def entries(drawn: Picture) -> list[str]:
    return [text.get_text() for shared in drawn.legends for text in shared.get_texts()]
