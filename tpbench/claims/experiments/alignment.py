"""Train an ensemble and measure how far the change of the last features agrees with the initial read-out."""

from __future__ import annotations

from collections.abc import Iterator

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.measure import Measured, rms
from tpbench.networks.mlp import Ensemble, Trace, forward
from tpbench.networks.train import train
from tpbench.weights.dense import DenseGaussian


def run(point: Point) -> Iterator[Row]:
    """Yield ``activation-change`` of the last hidden layer, and ``initial-weight-on-change`` and ``readout-alignment``
    of the read-out, a seed and recorded step after the start."""
    return in_parts(setup(point), _measure)


def _measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
    ensemble = run.initialise(seeds, keep_initial=True)
    task = run.task(ensemble)
    start = forward(ensemble, run.inputs)
    for step, _ in train(ensemble, task, run.optimizer, run.order):
        if step > 0 and step in run.record:
            for measured in readout_alignment(ensemble, start, forward(ensemble, run.inputs)):
                yield from rows_of(measured, seeds, step)


def readout_alignment(ensemble: Ensemble, start: Trace, now: Trace) -> Iterator[Measured]:
    """Yield the sizes of Δx^L and W_0^{L+1} Δx^L, and the cosine of Δx^L with the rows of W_0^{L+1}.

    The cosine is ``|W_0 Δx| / (n |W_0| |Δx|)`` with |.| the root mean square over entries, examples and outputs: 1
    where all terms of the inner products agree, n^(-1/2) where their signs are unrelated. NaN where nothing has
    moved.
    """
    depth, layer = ensemble.mlp.depth, ensemble.layers[-1]
    assert isinstance(layer.weights, DenseGaussian), "the read-out is never lazy"
    x, x_0 = now.input_of(depth + 1), start.input_of(depth + 1)
    change = rms(x - x_0)
    product = rms(layer.weights.initial_matmul_of_change(x, x_0, scale=layer.multiplier))
    weight = abs(layer.multiplier) * rms(layer.weights.initial)
    yield Measured("activation-change", depth, change)
    yield Measured("initial-weight-on-change", depth + 1, product)
    yield Measured("readout-alignment", depth + 1, product / (ensemble.mlp.width * weight * change))
