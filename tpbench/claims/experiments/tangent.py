"""The empirical tangent kernel: its distance from the analytic one at the start, its movement in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, load, setup
from tpbench.limits import Array
from tpbench.limits.kernels import Kernels, kernels
from tpbench.networks.measure import tangent_kernel
from tpbench.networks.train import train


def run(point: Point) -> Iterator[Row]:
    """Yield ``kernel-error`` (K_0 - Θ) / mean diagonal of Θ, one index a pair of probes, and
    ``rival-share``, the error's component along (rival - Θ), at step 0; then ``kernel-movement``
    |K_t - K_0|_F / |K_0|_F of every seed at every later recorded step.

    Θ weighs the layers' terms by the configuration's ``shares``, the rival by ``rival_shares``.
    """
    limit, rival = (limit_kernels(point.config, point.config[key]).ntk for key in ("shares", "rival_shares"))
    away = rival - limit
    pairs = np.triu_indices(len(limit))
    scale = float(np.diag(limit).mean())

    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        ensemble = run.initialise(seeds)
        task = run.task(ensemble)
        start = tangent_kernel(ensemble, run.inputs).sum(dim=1).cpu().numpy()
        for seed, kernel in zip(seeds, start, strict=True):
            for index, error in enumerate(((kernel - limit) / scale)[pairs].tolist()):
                yield Row("kernel-error", error, seed=seed, step=0, index=index)
            yield Row("rival-share", float(((kernel - limit) * away).sum() / (away**2).sum()), seed=seed, step=0)
        for step, _ in train(ensemble, task, run.optimizer, run.order):
            if step == 0 or step not in run.record:
                continue
            now = tangent_kernel(ensemble, run.inputs).sum(dim=1).cpu().numpy()
            moved = np.linalg.norm(now - start, axis=(1, 2)) / np.linalg.norm(start, axis=(1, 2))
            for seed, value in zip(seeds, moved.tolist(), strict=True):
                yield Row("kernel-movement", value, seed=seed, step=step)

    return in_parts(setup(point), measure)


def limit_kernels(config: Config, shares: Sequence[float]) -> Kernels[Array]:
    """Return the analytic kernels between all examples of a configuration, with these shares of the layers' terms."""
    return kernels(
        np.array(load(config).inputs, dtype=np.float64),
        depth=config["depth"],
        activation=config["activation"],
        sigma_w=config["sigma_w"],
        sigma_b=config["sigma_b"] if config["bias"] else 0.0,
        rates=shares,
    )
