"""Seconds of a training run with initialisation, lazy weights beside dense ones, by width."""

from __future__ import annotations

import pytest
import torch
from lazy_weights import dense, lazy, trained
from pytest_benchmark.fixture import BenchmarkFixture

from tpbench.weights import MonteCarlo

SIDES = {"dense": lambda width: dense(width, "tanh", [0]), "lazy": lambda width: lazy(width, "tanh", MonteCarlo(0))}


@pytest.mark.benchmark(group="lazy and dense")
@pytest.mark.parametrize("width", [256, 1024, 2048])
@pytest.mark.parametrize("side", SIDES)
def test_training_run(benchmark: BenchmarkFixture, width: int, side: str) -> None:
    benchmark.extra_info.update(width=width, side=side)
    outputs = benchmark.pedantic(lambda: trained(SIDES[side](width)), rounds=5, warmup_rounds=1)
    # 10 steps into training the infinite network says this; a network scatters by 0.4 / sqrt(n)
    limit = torch.tensor([-0.4949, 0.3981, -0.6911, -0.8250], dtype=torch.float64, device=outputs.device)
    assert float((outputs[0] - limit).abs().max()) < 2.5 / width**0.5


def test_both_sides_have_one_law() -> None:
    """The two networks that are timed are draws of one law: their means over seeds agree."""
    ours = trained(lazy(64, "tanh", MonteCarlo(range(400))))
    theirs = trained(dense(64, "tanh", range(400)))
    error = ((ours.var(dim=0) + theirs.var(dim=0)) / 400).sqrt()
    assert float(((ours.mean(dim=0) - theirs.mean(dim=0)) / error).abs().max()) < 4.5
