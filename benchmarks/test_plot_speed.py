"""Seconds to draw a picture of one panel a step, and to encode it for a page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from synthetic_rows import PREDICTIONS, table

from tpbench.bench.claim import ClaimResult, Figure
from tpbench.bench.estimate import estimate
from tpbench.bench.plot import draw, encode
from tpbench.bench.verdict import judge
from tpbench.claims import claim

CLAIM = replace(claim("ntk-dynamics"), figures=(Figure.CONVERGENCE,))


@pytest.fixture(scope="module")
def result() -> ClaimResult:
    rows = table("smoke")
    return judge(CLAIM.name, [estimate(prediction, rows) for prediction in PREDICTIONS.values()])


@pytest.mark.benchmark(group="plot")
def test_draw(benchmark: BenchmarkFixture, result: ClaimResult) -> None:
    rows = table("smoke")
    pictures = benchmark.pedantic(draw, args=(CLAIM, result, rows), rounds=5)
    benchmark.extra_info.update(rows=len(rows))
    [picture] = pictures.values()
    assert len(picture.axes) == 2, "bias and spread in one panel, the value in another"


@pytest.mark.benchmark(group="plot")
def test_encode(benchmark: BenchmarkFixture, result: ClaimResult) -> None:
    rows = table("smoke")

    def another() -> tuple[tuple[object], dict[str, object]]:
        [picture] = draw(CLAIM, result, rows).values()
        return (picture,), {}

    png = benchmark.pedantic(encode, setup=another, rounds=5)
    benchmark.extra_info.update(bytes=len(png))
    assert png.startswith(b"\x89PNG")
