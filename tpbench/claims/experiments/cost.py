"""Seconds, bytes and throughput of one training step; every seed is a repetition with a network of its own."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.setup import Setup, setup
from tpbench.networks.cost import fastest, matmul_rate, peak_bytes, step_operations
from tpbench.networks.train import train
from tpbench.weights.dense import DenseGaussian

WASTE = {"none": lambda w: w, "cubic": lambda w: torch.bmm(w, w)}
"""What a step does besides: ``cubic`` is the planted fault of a needless n × n × n product."""


def run(point: Point) -> Iterator[Row]:
    """Yield step-seconds, examples-per-second, throughput-fraction and peak-bytes, one number a seed."""
    prepared, waste = setup(point), WASTE[point.config["waste"]]
    batch = prepared.optimizer.batch or len(prepared.train)
    operations = step_operations(prepared.mlp, batch)
    for seed in point.seeds:
        seconds = _seconds(prepared, seed, waste)
        rate = matmul_rate(prepared.device, prepared.dtype)
        yield Row("step-seconds", seconds, seed=seed)
        yield Row("examples-per-second", batch / seconds, seed=seed)
        yield Row("throughput-fraction", operations / seconds / rate, seed=seed)
        yield Row("peak-bytes", float(peak_bytes(lambda seed=seed: _one_step(prepared, seed))), seed=seed)  # type: ignore[misc]


def _seconds(run: Setup, seed: int, waste: object) -> float:
    """Return the least seconds of a step: SGD steps one after the other, as in training."""
    ensemble = run.initialise([seed])
    hidden = ensemble.layers[1].weights
    assert isinstance(hidden, DenseGaussian), "this experiment times dense networks"
    steps = train(ensemble, run.task(ensemble), run.optimizer, run.order)
    next(steps)

    def step() -> None:
        next(steps)
        if callable(waste):
            waste(hidden.current)

    return fastest(step, run.device, len(run.order) - 1)


def _one_step(run: Setup, seed: int) -> None:
    ensemble = run.initialise([seed])
    for _ in train(ensemble, run.task(ensemble), run.optimizer, run.order[:1]):
        pass
