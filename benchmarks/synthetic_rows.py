"""Rows with a known answer, as many as a run of a profile leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from tpbench.bench.claim import ABSENT, Kind, Point, Prediction, Row
from tpbench.bench.table import DTYPES, join
from tpbench.claims import claim

STEP, INDICES = 10, 8
SPREAD, BIAS, AT_INFINITY = -0.5, -1.0, 0.25

PREDICTIONS: Mapping[str, Prediction] = {
    "spread": Prediction("ntp", "error", Kind.SPREAD, SPREAD, 0.0, tolerance=0.1, step=STEP),
    "bias": Prediction("ntp", "error", Kind.BIAS, BIAS, -0.5, tolerance=0.1, step=STEP),
    "value": Prediction("ntp", "share", Kind.VALUE, AT_INFINITY, 1.0, tolerance=0.1, step=STEP),
}
"""What must come out of ``table``, by kind; an exponent is estimated as a spread is."""


def table(profile: str) -> pd.DataFrame:
    """Return one quantity of spread n^(-1/2) around a bias 6/n, and one that tends to 1/4.

    Widths and seeds are those of the claim with the most seeds.
    """
    sweep = claim("ntk-dynamics").sweeps[profile]
    return join(list(_tables(dict(zip(sweep.widths, sweep.seeds, strict=True)))))


def _tables(sizes: Mapping[int, int]) -> Iterator[pd.DataFrame]:
    rng = np.random.default_rng(0)
    for width, seeds in sizes.items():
        error = width**SPREAD * rng.standard_normal((seeds, INDICES)) + 6 * width**BIAS
        share = AT_INFINITY + 1 / width + rng.standard_normal((seeds, 1)) / width
        for quantity, values in (("error", error), ("share", share)):
            yield _table(quantity, width, values)


def _table(quantity: str, width: int, values: np.ndarray) -> pd.DataFrame:
    """Return the rows of one quantity (seed, index) at one width."""
    seeds, indices = values.shape
    index = np.tile(np.arange(indices), seeds) if indices > 1 else ABSENT
    columns = {
        "experiment": "kernel-trajectory",
        "parametrization": "ntp",
        "width": width,
        "weights": "dense",
        "seed": np.repeat(np.arange(seeds), indices),
        "step": STEP,
        "layer": ABSENT,
        "index": index,
        "quantity": quantity,
        "value": values.ravel(),
    }
    return pd.DataFrame(columns).astype(dict(DTYPES))


def rows(count: int) -> tuple[Point, list[Row]]:
    """Return a point and that many rows of it, among them the values that JSON has no numbers for."""
    rng = np.random.default_rng(1)
    values = [float("inf"), -0.0, *rng.standard_normal(count - 2).tolist()]
    point = Point("synthetic", "ntp", 64, tuple(range(count // 100)), {"steps": 10}, code="")
    return point, [
        Row("error", value, seed=i // 100, step=i % 10, index=i // 10 % 10) for i, value in enumerate(values)
    ]
