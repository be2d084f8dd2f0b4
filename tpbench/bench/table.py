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
    fields = zip(*rows, strict=True) if rows else [()] * len(Row._fields)
    columns: dict[str, Any] = dict(zip(Row._fields, fields, strict=True))
    return of_columns(point, {**columns, "value": [float(value) for value in columns["value"]]})


def of_columns(point: Point, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of one point as a table from their columns, one a field of ``Row``, all of one length."""
    count = len(columns["value"])
    same = {
        "experiment": point.experiment,
        "parametrization": point.parametrization,
        "weights": point.config.get("weights", DENSE),
    }
    repeated = {name: words([word], [count]) for name, word in same.items()}
    everything = {**columns, **repeated, "width": np.full(count, point.width, dtype=DTYPES["width"])}
    return pd.DataFrame(
        {name: _column(everything[name], dtype) for name, dtype in DTYPES.items()}, columns=list(DTYPES)
    )


def join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack tables. Their word columns get the same categories, or pandas would turn them into objects."""
    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in DTYPES.items()})
    shared = {
        word: pd.CategoricalDtype(sorted(set().union(*(table[word].cat.categories for table in tables))))
        for word in WORDS
    }
    return pd.concat([table.astype(shared) for table in tables], ignore_index=True)


def words(each: Sequence[str], counts: Sequence[int]) -> Any:
    """Return a column of words, each so many times; words that come never are no categories of it."""
    known = sorted({word for word, count in zip(each, counts, strict=True) if count})
    places = {word: place for place, word in enumerate(known)}
    codes = np.array([places.get(word, -1) for word in each], dtype=np.int64)
    return pd.Categorical.from_codes(np.repeat(codes, counts), dtype=pd.CategoricalDtype(known))


def _column(values: Any, dtype: Any) -> Any:
    if isinstance(values, pd.Categorical):
        return values
    if dtype == "category":
        return pd.Categorical(values, categories=sorted(set(values)))
    return np.asarray(values, dtype=dtype)
