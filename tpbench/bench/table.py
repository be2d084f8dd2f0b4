"""The tidy table of rows: one line a measured number, with all its coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tpbench.bench.claim import DENSE, Point, Row

DTYPES: Mapping[str, Any] = {
    "experiment": "category",
    "parametrization": "category",
    "width": np.int64,  # 64 bits, so that a reader may square a width
    "weights": "category",
    "seed": np.int64,
    "step": np.int32,
    "layer": np.int32,
    "index": np.int32,
    "quantity": "category",
    "value": np.float64,
}
"""The columns of every table of rows, in order."""

WORDS = tuple(name for name, dtype in DTYPES.items() if dtype == "category")


def tabulate(point: Point, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return the rows of one point, each in the order of ``Row``'s fields, as a table.

    A value may be a word that ``float`` reads ("nan"). Raises ``ValueError``, ``TypeError`` or
    ``OverflowError`` when the rows are not rows.
    """
    count = len(rows)
    fields = zip(*rows, strict=True) if rows else [()] * len(Row._fields)
    columns: dict[str, Any] = dict(zip(Row._fields, fields, strict=True))
    columns["value"] = [float(value) for value in columns["value"]]
    columns["width"] = [point.width] * count
    columns["experiment"] = [point.experiment] * count
    columns["parametrization"] = [point.parametrization] * count
    columns["weights"] = [point.config.get("weights", DENSE)] * count
    return pd.DataFrame({name: _column(columns[name], dtype) for name, dtype in DTYPES.items()}, columns=list(DTYPES))


def join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack tables. Their word columns get the same categories, or pandas would turn them into objects."""
    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in DTYPES.items()})
    shared = {
        word: pd.CategoricalDtype(sorted(set().union(*(table[word].cat.categories for table in tables))))
        for word in WORDS
    }
    return pd.concat([table.astype(shared) for table in tables], ignore_index=True)


def _column(values: Sequence[Any], dtype: Any) -> Any:
    if dtype == "category":
        return pd.Categorical(values, categories=sorted(set(values)))
    return np.array(values, dtype=dtype)
