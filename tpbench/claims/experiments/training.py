"""Train an ensemble and measure sizes, movements and loss at the recorded steps, on the training inputs."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tpbench.bench.claim import ABSENT, Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.loss import loss
from tpbench.networks.measure import Measured, movements, sizes
from tpbench.networks.mlp import forward
from tpbench.networks.train import train


def run(point: Point) -> Iterator[Row]:
    """Yield one number a seed, layer, recorded step and quantity of ``measure.sizes`` and ``measure.movements``."""
    return in_parts(setup(point), _measure)


def _measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
    ensemble = run.initialise(seeds, keep_initial=bool(run.order))
    task = run.task(ensemble)
    criterion = loss(run.optimizer.loss)
    start = forward(ensemble, run.inputs)
    for step, _ in train(ensemble, task, run.optimizer, run.order):
        if step not in run.record:
            continue
        now = forward(ensemble, run.inputs)
        for measured in sizes(ensemble, now):
            yield from rows_of(measured, seeds, step)
        if step > 0:
            for measured in movements(ensemble, start, now):
                yield from rows_of(measured, seeds, step)
        output = task.centred_output(now.output[:, run.train.start : run.train.stop])
        value = criterion.value(output, task.targets).to(torch.float64).cpu()
        yield from rows_of(Measured("loss", ABSENT, value), seeds, step)
