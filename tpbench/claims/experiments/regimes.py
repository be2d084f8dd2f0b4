"""What tells the regimes of a table apart: what must not grow, what the output and the features do, and each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from tpbench.bench.claim import ABSENT, Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.measure import Measured, movements, sizes, tangent_kernel
from tpbench.networks.mlp import Ensemble, Trace, forward
from tpbench.networks.train import train
from tpbench.weights.dense import DenseGaussian


def run(point: Point) -> Iterator[Row]:
    """Yield, a number a seed, ``initial-size`` (index l: h^l) at step 0 and at the last step T

    * ``growth``, one index each: h^l and f_0 at the start, ΔW^l x of every layer, W_0 Δx of the read-out;
    * ``layer-update``, the same without the start; ``activation-change``, index l: Δx^l;
    * ``output-change`` f_T - f_0; ``kernel-movement`` |K_T - K_0|_F / |K_0|_F of the first output's tangent kernel.

    f_0 is the root mean square over the signs of the read-out's weights, which is much less random than f_0 itself.
    """
    return in_parts(setup(point), _measure)


def _measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
    ensemble = run.initialise(seeds, keep_initial=True)
    task = run.task(ensemble)
    start = forward(ensemble, run.inputs)
    kernel = _kernel(ensemble, run.inputs)
    preactivations = [each.values for each in sizes(ensemble, start) if each.quantity == "preactivation"]
    output = output_over_signs(ensemble, start)
    for _ in train(ensemble, task, run.optimizer, run.order):
        pass
    last, depth = len(run.order), ensemble.mlp.depth
    moved = _moved(ensemble, start, forward(ensemble, run.inputs))
    change = (_kernel(ensemble, run.inputs) - kernel).norm(dim=(1, 2)) / kernel.norm(dim=(1, 2))
    updates = [moved["weight-update", layer] for layer in range(1, depth + 2)]
    updates.append(moved["initial-weight-on-change", depth + 1])
    features = [moved["activation-change", layer] for layer in range(1, depth + 1)]
    yield from _indexed("initial-size", preactivations, seeds, 0)
    yield from _indexed("growth", [*preactivations, output, *updates], seeds, last)
    yield from _indexed("layer-update", updates, seeds, last)
    yield from _indexed("activation-change", features, seeds, last)
    for quantity, values in (("output-change", moved["output-change", depth + 1]), ("kernel-movement", change.cpu())):
        yield from rows_of(Measured(quantity, ABSENT, values), seeds, last)


def _kernel(ensemble: Ensemble, inputs: Tensor) -> Tensor:
    return tangent_kernel(ensemble, inputs).sum(dim=1)


def _moved(ensemble: Ensemble, start: Trace, now: Trace) -> Mapping[tuple[str, int], Tensor]:
    return {(each.quantity, each.layer): each.values for each in movements(ensemble, start, now)}


def _indexed(quantity: str, parts: Sequence[Tensor], seeds: Sequence[int], step: int) -> Iterator[Row]:
    """Yield the parts of a quantity as rows, the first part being index 1."""
    for index, values in enumerate(parts, start=1):
        for row in rows_of(Measured(quantity, ABSENT, values), seeds, step):
            yield row._replace(index=index)


def output_over_signs(ensemble: Ensemble, trace: Trace) -> Tensor:
    """Return the RMS of the output over the signs of the read-out's weights, examples and outputs: (seed,).

    ``f_i = v Σ_j w_ij x_j`` has, over independent signs of the w_ij, the mean square ``v² Σ_j w_ij² x_j²``; Gaussian
    weights have every sign alike, so its mean over networks is that of f². Needs an ensemble without biases.
    """
    layer = ensemble.layers[-1]
    assert isinstance(layer.weights, DenseGaussian), "a read-out is never lazy"
    assert layer.bias is None, "the output has a bias, whose signs are not averaged over"
    weights, x = layer.weights.current.to(torch.float64), trace.activations[-1].to(torch.float64)
    squares = torch.bmm(x.square(), weights.square().mT)
    return squares.mean(dim=(1, 2)).sqrt().mul(layer.multiplier).cpu()
