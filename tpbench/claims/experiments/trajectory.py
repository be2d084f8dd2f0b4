"""Trained outputs against a limit trajectory: the error, and how much of it points towards a rival limit.

Rows at every recorded step t: ``output-error`` f_t - limit on the last ``probes`` examples and every output (index),
and ``rival-share``, the error's component along (rival - limit): 0 when the limit is right, 1 when the rival is.
``output`` and ``limit`` repeat the first few outputs of the first few seeds for the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, load, setup, train_targets
from tpbench.claims.experiments.tangent import limit_kernels
from tpbench.limits.dynamics import kernel_descent
from tpbench.limits.mup import linear_mup_limit
from tpbench.networks.mlp import forward
from tpbench.networks.train import train

Array = NDArray[np.float64]
Limits = Callable[[Array], tuple[Array, Array]]
"""f_0 of every seed (seed, examples, out) -> limit and rival trajectories (step, seed or 1, examples, out)."""
SHOWN_OUTPUTS, SHOWN_SEEDS = 3, 32


def run_kernel(point: Point) -> Iterator[Row]:
    """Compare with kernel gradient descent from each network's own f_0.

    The configuration's ``shares`` say which layers' terms the kernel has, ``rival_shares`` which the rival's has.
    """
    c = point.config
    kernels, run = limit_kernels(c), setup(point)

    def descend(shares: list[float], start: Array) -> Array:
        return kernel_descent(
            kernels.weighted(tuple(shares)),
            train_targets(c),
            start,
            train=run.train,
            learning_rate=c["learning_rate"],
            order=run.order,  # type: ignore[arg-type]
            momentum=c["momentum"],
            loss=c["loss"],
        )

    return _compare(run, c["probes"], lambda start: (descend(c["shares"], start), descend(c["rival_shares"], start)))


def run_linear_mup(point: Point) -> Iterator[Row]:
    """Compare with the exact muP limit of the linear network with one hidden layer, which starts at 0.

    ``features_move`` False plants the wrong limit; the rival is the limit whose features are frozen.
    """
    c = point.config
    _check_linear(c)
    run = setup(point)
    inputs = np.array(load(c).inputs)

    def limit(features_move: bool) -> Array:
        path = linear_mup_limit(
            inputs[: c["train"]],
            train_targets(c),
            inputs,
            learning_rate=c["learning_rate"],
            order=run.order,  # type: ignore[arg-type]
            momentum=c["momentum"],
            weight_decay=c["weight_decay"],
            loss=c["loss"],
            sigma_w=c["sigma_w"],
            base_width=c["base_width"],
            features_move=features_move,
        )
        return path[:, None]

    trajectories = limit(c["features_move"]), limit(not c["features_move"])
    return _compare(run, c["probes"], lambda start: trajectories)


def _check_linear(c: Config) -> None:
    asked = (c["depth"], c["activation"], c["bias"])
    if asked != (1, "identity", False):
        raise ValueError(
            "the exact muP limit is that of a linear network with one hidden layer and no bias: got depth "
            f"{asked[0]}, activation {asked[1]!r}, bias {asked[2]}"
        )


def _compare(run: Setup, probes: int, limits: Limits) -> Iterator[Row]:
    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        ensemble = run.initialise(seeds)
        start = forward(ensemble, run.inputs).output.to(run.inputs.dtype).double().cpu().numpy()
        limit, rival = limits(start)
        for step, _ in train(ensemble, run.task(ensemble), run.sgd, run.order):
            if step in run.record:
                output = forward(ensemble, run.inputs).output.double().cpu().numpy()
                yield from _rows(output, limit[step], rival[step], seeds, step, probes)

    return in_parts(run, measure)


def _rows(output: Array, limit: Array, rival: Array, seeds: tuple[int, ...], step: int, probes: int) -> Iterator[Row]:
    limit, rival = (np.broadcast_to(path, output.shape) for path in (limit, rival))
    error, away = output - limit, rival - limit
    distance = (away**2).sum(axis=(1, 2))
    shown, ideal, off = (path[:, -probes:].reshape(len(seeds), -1) for path in (output, limit, error))
    for i, seed in enumerate(seeds):
        for index, value in enumerate(off[i].tolist()):
            yield Row("output-error", value, seed=seed, step=step, index=index)
        if distance[i] > 0:
            yield Row("rival-share", float((error[i] * away[i]).sum() / distance[i]), seed=seed, step=step)
        for index in range(min(SHOWN_OUTPUTS, shown.shape[1]) if seed < SHOWN_SEEDS else 0):
            yield Row("output", float(shown[i, index]), seed=seed, step=step, index=index)
            yield Row("limit", float(ideal[i, index]), seed=seed, step=step, index=index)
