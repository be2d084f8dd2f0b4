"""Seconds to write and to read one run of 100,000 rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from synthetic_rows import rows

from tpbench.bench.store import Status, path_of, read_run, status, write_run
from tpbench.bench.table import tabulate

COUNT = 100_000


@pytest.mark.benchmark(group="store")
def test_write(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    point, written = rows(COUNT)
    path = benchmark.pedantic(write_run, args=(tmp_path, point, written, {}, 1.0), rounds=5)

    benchmark.extra_info.update(rows=COUNT, bytes=path.stat().st_size)
    assert path == path_of(tmp_path, point)
    assert status(tmp_path, point) is Status.COMPLETE


@pytest.mark.benchmark(group="store")
def test_read(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    point, written = rows(COUNT)
    path = write_run(tmp_path, point, written, {}, 1.0)
    benchmark.extra_info.update(rows=COUNT, bytes=path.stat().st_size)

    run = benchmark.pedantic(read_run, args=(path,), rounds=5)

    assert run.point == point
    assert run.rows.equals(tabulate(point, written))
