"""Seconds from the rows of a nightly sweep to one estimate. Where nothing is measured a smoke sweep does."""

from __future__ import annotations

import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from synthetic_rows import PREDICTIONS, table

from tpbench.bench.estimate import estimate


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> pd.DataFrame:
    return table("smoke" if request.config.getoption("benchmark_disable") else "nightly")


@pytest.mark.benchmark(group="estimate")
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_estimate(benchmark: BenchmarkFixture, rows: pd.DataFrame, kind: str) -> None:
    prediction = PREDICTIONS[kind]
    benchmark.extra_info.update(kind=kind, rows=len(rows))

    found = benchmark.pedantic(estimate, args=(prediction, rows), rounds=5)

    # The interval holds the planted number, and is narrow enough to say something.
    reach = (found.high - found.low) / 2
    assert abs(found.value - prediction.predicted) <= 2 * reach
    assert 0 < reach < prediction.tolerance
