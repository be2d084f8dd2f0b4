"""Taylor models of a network in its weights beside the network itself, each trained on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, setup
from tpbench.networks.mlp import Ensemble
from tpbench.networks.taylor import begin, expand, train
from tpbench.networks.train import Sgd

ORDERS: Mapping[str, int | None] = {"linear": 1, "quadratic": 2, "cubic": 3, "network": None}
DIFFERENCES = (("quadratic", "linear"), ("network", "quadratic"), ("network", "cubic"))
"""Pairs whose difference is measured, as ``quadratic-linear`` and so on."""


def run(point: Point) -> Iterator[Row]:
    """Yield the differences between models at every recorded step, one index an example, averaged over two networks:

    a seed's own and its mirror image, whose read-out starts with the other sign. Terms of odd order in the initial
    read-out have a random sign and cancel between the two, exactly. The configuration's ``term_weights`` multiply the
    terms of order 1, 2 and 3 of the models (1 in a Taylor model); ``rate_of_models`` multiplies their learning rate.
    """
    run = setup(point)
    _check(run)
    weights, faster = [float(each) for each in point.config["term_weights"]], float(point.config["rate_of_models"])

    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        ensemble = run.initialise(seeds)
        images = [_outputs(run, each, weights, faster) for each in (ensemble, mirrored(ensemble))]
        for step in sorted(run.record):
            for one, other in DIFFERENCES:
                gaps = [outputs[one][step] - outputs[other][step] for outputs in images]
                yield from _rows(f"{one}-{other}", torch.stack(gaps).mean(dim=0), seeds, step)

    return in_parts(run, measure)


def mirrored(ensemble: Ensemble) -> Ensemble:
    """Return the same networks with the sign of their read-out turned; they share all weights."""
    *hidden, last = ensemble.layers
    return replace(ensemble, layers=(*hidden, replace(last, multiplier=-last.multiplier)))


def _outputs(run: Setup, ensemble: Ensemble, weights: list[float], faster: float) -> dict[str, list[Tensor]]:
    """Return the outputs (seed, example, out) of the network and its models after every step."""
    origin, sgd = expand(ensemble, run.inputs, len(weights)), run.optimizer
    assert isinstance(sgd, Sgd)
    found = {}
    for name, order in ORDERS.items():
        found[name] = list(
            train(
                begin(origin, order, None if order is None else weights[:order]),
                run.targets,
                learning_rate=sgd.learning_rate * (1.0 if order is None else faster),
                steps=len(run.order),
                loss=sgd.loss,
                centred=run.centred,
            )
        )
    return found


def _check(run: Setup) -> None:
    plain = Sgd(run.optimizer.learning_rate, loss=run.optimizer.loss)
    if run.optimizer != plain or len(run.train) != len(run.inputs):
        raise ValueError(
            "Taylor models are trained by plain gradient descent on all examples at once: leave out momentum, weight "
            f"decay and batch, and let train equal examples; got {run.optimizer} and {len(run.train)} of "
            f"{len(run.inputs)} examples"
        )


def _rows(quantity: str, values: Tensor, seeds: tuple[int, ...], step: int) -> Iterator[Row]:
    for seed, of_seed in zip(seeds, values.flatten(1).tolist(), strict=True):
        for index, value in enumerate(of_seed):
            yield Row(quantity, value, seed=seed, step=step, index=index)
