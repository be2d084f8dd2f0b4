"""Seconds of a few training steps of an ensemble, tpbench beside the plain PyTorch loop, by width."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch_loop import Loop, Ours, check_same, training

from tpbench.networks.cost import step_operations

SEEDS, STEPS = 10, 5
SIDES: dict[str, Any] = {"tpbench": Ours, "torch-loop": Loop}


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("width", [64, 256, 1024])
@pytest.mark.parametrize("side", SIDES)
def test_training_step(benchmark: BenchmarkFixture, width: int, side: str) -> None:
    run = training(width, seeds=SEEDS, steps=STEPS)
    last: list[Any] = []

    def fresh() -> tuple[tuple[Any], dict[str, Any]]:
        last[:] = [SIDES[side].start(run)]
        return (last[0],), {}

    benchmark.extra_info.update(
        width=width,
        seeds=SEEDS,
        steps=STEPS,
        operations=step_operations(run.mlp, len(run.train)) * SEEDS * STEPS,
    )
    benchmark.pedantic(lambda started: started.train(), setup=fresh, rounds=7, warmup_rounds=1)

    (other,) = (kind.start(run) for name, kind in SIDES.items() if name != side)
    start = other.losses()
    other.train()
    check_same((last[0].losses(), other.losses()))
    assert (last[0].losses() < start).all(), "training must lower the loss, or the comparison above says nothing"
