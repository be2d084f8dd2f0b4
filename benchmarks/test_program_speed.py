"""Seconds to write, check and print a program, to trace a training, and to find its limit by program or by network."""

from __future__ import annotations

from typing import Any

import pytest
from program_speed import INSTRUCTIONS, RATE, chain, data, distance, engine, interpreter, traced, unrolled
from pytest_benchmark.fixture import BenchmarkFixture

STEPS, OPTIONS = 2, {"points": (256, 512), "replicates": 16}
WRITERS = {"by hand": unrolled, "trace": traced}


@pytest.mark.benchmark(group="programs")
def test_check_and_print(benchmark: BenchmarkFixture) -> None:
    text = benchmark.pedantic(chain(INSTRUCTIONS), rounds=3, warmup_rounds=1)
    assert len(text.splitlines()) == INSTRUCTIONS + 4  # head, initial vector, matrix, output


@pytest.mark.benchmark(group="programs")
@pytest.mark.parametrize("way", WRITERS)
def test_write(benchmark: BenchmarkFixture, way: str) -> None:
    made = benchmark.pedantic(WRITERS[way], args=(*data(), STEPS, RATE), rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(bindings=len(made.bindings))
    assert len(made.outputs) == 4 * (STEPS + 1)


@pytest.mark.benchmark(group="limits of programs")
@pytest.mark.parametrize("way", ["network", *WRITERS])
def test_limit(benchmark: BenchmarkFixture, way: str) -> None:
    x, y = data()
    known = engine(x, y, STEPS, OPTIONS)
    sides: dict[str, Any] = {name: (interpreter, (write(x, y, STEPS, RATE), STEPS)) for name, write in WRITERS.items()}
    call, arguments = sides.get(way, (engine, (x, y, STEPS)))
    found = benchmark.pedantic(call, args=(*arguments, OPTIONS), rounds=3, warmup_rounds=1)
    assert abs(found[0]).max() > 0.1, "it trains"
    assert distance(found, known) < 4.5
