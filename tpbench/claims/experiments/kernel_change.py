"""The empirical tangent kernel: the size of each layer's term at the start, and its signed change in training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.measure import movements, sizes, tangent_kernel
from tpbench.networks.mlp import forward
from tpbench.networks.train import train


def run(point: Point) -> Iterator[Row]:
    """Yield, between all pairs of examples (index), at step 0 ``kernel-term``, each layer's term K_l of the tangent
    kernel, and at every later recorded step ``kernel-change``, (K_t - K_0) / mean diagonal of K_0, with its sign; and a
    number a seed: ``output`` at step 0, ``preactivation-change`` of every layer at the later ones.
    """
    return in_parts(setup(point), _measure)


def _measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
    ensemble = run.initialise(seeds, keep_initial=bool(run.order))
    task = run.task(ensemble)
    pairs = np.triu_indices(len(run.inputs))
    start = forward(ensemble, run.inputs)
    terms = tangent_kernel(ensemble, run.inputs).cpu().numpy()
    kernel = terms.sum(axis=1)
    scale = np.einsum("sii->s", kernel) / len(run.inputs)
    for step, _ in train(ensemble, task, run.optimizer, run.order):
        if step not in run.record:
            continue
        if step == 0:
            yield from _indexed("kernel-term", terms[:, :, *pairs], seeds)
            yield from (
                row for each in sizes(ensemble, start) for row in rows_of(each, seeds, 0) if row.quantity == "output"
            )
            continue
        now = forward(ensemble, run.inputs)
        for measured in movements(ensemble, start, now):
            if measured.quantity == "preactivation-change":
                yield from rows_of(measured, seeds, step)
        change = tangent_kernel(ensemble, run.inputs).sum(dim=1).cpu().numpy() - kernel
        for seed, values in zip(seeds, change[:, *pairs] / scale[:, None], strict=True):
            for index, value in enumerate(values.tolist()):
                yield Row("kernel-change", value, seed=seed, step=step, index=index)


def _indexed(quantity: str, values: np.ndarray, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Yield values (seed, layer, index) at step 0."""
    for seed, of_seed in zip(seeds, values, strict=True):
        for layer, row in enumerate(of_seed, start=1):
            for index, value in enumerate(row.tolist()):
                yield Row(quantity, value, seed=seed, step=0, layer=layer, index=index)
