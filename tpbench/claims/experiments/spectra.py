"""Train an ensemble and measure the spectral norms of its initial weights and of their updates."""

from __future__ import annotations

from collections.abc import Iterator

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.spectral import initial_norms, update_norms
from tpbench.networks.train import train


def run(point: Point) -> Iterator[Row]:
    """Yield, a seed and layer, ``initial-norm`` at step 0 and ``update-norm`` at the later recorded steps.

    Raises ``ValueError`` for lazy weights: W_0 is never built, and the first layer is written in the coordinates of the
    examples' span, where its norm is another one.
    """
    if point.config["weights"] != "dense":
        raise ValueError("spectral norms of weights were asked of lazy ones, which are never built: use dense weights")
    return in_parts(setup(point), _measure)


def _measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
    ensemble = run.initialise(seeds, keep_initial=True)
    for step, _ in train(ensemble, run.task(ensemble), run.optimizer, run.order):
        if step in run.record:
            for measured in initial_norms(ensemble) if step == 0 else update_norms(ensemble):
                yield from rows_of(measured, seeds, step)
