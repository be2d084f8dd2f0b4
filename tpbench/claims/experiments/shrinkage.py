"""Train an ensemble and measure by which share its initial weights have shrunk: what weight decay does."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.measure import Measured
from tpbench.networks.mlp import Ensemble
from tpbench.networks.train import train
from tpbench.weights.dense import DenseGaussian


def run(point: Point) -> Iterator[Row]:
    """Yield ``shrinkage``, 1 - <W_t, W_0>/<W_0, W_0>, a seed, layer and recorded step after the start.

    Raises ``ValueError`` for lazy weights, whose W_0 is never built.
    """
    if point.config["weights"] != "dense":
        raise ValueError("shrinkage was asked of lazy weights, which are never built: use dense weights")
    return in_parts(setup(point), _measure)


def _measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
    ensemble = run.initialise(seeds, keep_initial=bool(run.order))
    task = run.task(ensemble)
    for step, _ in train(ensemble, task, run.optimizer, run.order):
        if step > 0 and step in run.record:
            for measured in shrinkages(ensemble):
                yield from rows_of(measured, seeds, step)


def shrinkages(ensemble: Ensemble) -> Iterator[Measured]:
    """Yield 1 - <W, W_0>/<W_0, W_0> of every layer, (seed,), from the difference, which loses no digits."""
    for number, layer in enumerate(ensemble.layers, start=1):
        weights = layer.weights
        assert isinstance(weights, DenseGaussian), "checked by run"
        change = torch.sub(weights.initial, weights.current)
        products = [(each * weights.initial).sum(dim=(1, 2), dtype=torch.float64) for each in (change, weights.initial)]
        yield Measured("shrinkage", number, (products[0] / products[1]).cpu())
