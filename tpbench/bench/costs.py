"""Rows of timings reduced to the records of a summary: what a step of each kind of network costs."""

from __future__ import annotations

from typing import Any

import pandas as pd


def costs_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one record a parametrization, width and kind of weights, in the order of the rows.

    Takes rows of ``step-seconds`` and ``peak-bytes``; seconds are the median, with the 10% and 90% quantiles. Dense and
    lazy steps are not pooled, as they have one law of their results and another of their costs.
    """
    records = []
    for label, width, weights in _kinds(rows):
        group = rows[(rows["parametrization"] == label) & (rows["width"] == width) & (rows["weights"] == weights)]
        seconds = group.loc[group["quantity"] == "step-seconds", "value"]
        size = group.loc[group["quantity"] == "peak-bytes", "value"]
        records.append(
            {
                "parametrization": str(label),
                "width": int(width),
                "weights": str(weights),
                "seconds_low": float(seconds.quantile(0.1)),
                "seconds": float(seconds.median()),
                "seconds_high": float(seconds.quantile(0.9)),
                "bytes": float(size.median()),
            }
        )
    return records


def _kinds(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(rows[["parametrization", "width", "weights"]].drop_duplicates().itertuples(index=False, name=None))
