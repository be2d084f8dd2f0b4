"""Trained outputs against a limit trajectory: the error, and how much of it points towards a rival limit.

Rows at every recorded step t: ``output-error`` f_t - limit on the last ``probes`` examples and every output (index),
and ``rival-share``, the error's component along (rival - limit): 0 when the limit is right, 1 when the rival is.

Rows at every step, for the picture: ``limit``, the limit that starts at f_0 = 0, and ``output``, the same plus the
error, for a few outputs and seeds. Where the limit depends on each network's own f_0 this takes that part out, so
that all seeds share one limit.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tpbench.bench.claim import Config, Point, Row
from tpbench.bench.sweep import LAZY_FIRST_SEED
from tpbench.claims.experiments.setup import Setup, in_parts, load, setup, train_targets
from tpbench.claims.experiments.tangent import limit_kernels
from tpbench.limits.dynamics import kernel_descent
from tpbench.limits.mup import linear_mup_limit
from tpbench.networks.mlp import Ensemble, forward
from tpbench.networks.train import train

Array = NDArray[np.float64]
Trajectory = Array | Mapping[int, Array]
"""Outputs (seed or 1, examples, out) by step: one array, or those of the steps that are asked for."""
Limits = Callable[[Array], tuple[Trajectory, Trajectory, Trajectory]]
"""f_0 of every seed (seed, examples, out) -> trajectories of the limit, of the rival, and of the limit that starts at
f_0 = 0."""
SHOWN_OUTPUTS, SHOWN_SEEDS = 3, 32


def run_kernel(point: Point) -> Iterator[Row]:
    """Compare with kernel gradient descent from each network's own f_0.

    The configuration's ``shares`` say which layers' terms the kernel has, ``rival_shares`` which the rival's has.
    """
    c, run = point.config, setup(point)

    def limits(start: Array) -> tuple[Array, Array, Array]:
        zero = np.zeros_like(start[:1])
        ours, rivals = c["shares"], c["rival_shares"]
        return _descend(c, run, ours, start), _descend(c, run, rivals, start), _descend(c, run, ours, zero)

    return compare(run, c["probes"], limits)


def _descend(c: Config, run: Setup, shares: Sequence[float], start: Array) -> Array:
    """Return kernel gradient descent on all examples from f_0, by the kernel with these shares of the layers."""
    _check_sgd(c)
    return kernel_descent(
        limit_kernels(c, shares).ntk,
        train_targets(c),
        start,
        train=run.train,
        learning_rate=c["learning_rate"],
        order=run.order,  # type: ignore[arg-type]
        momentum=c["momentum"],
        loss=c["loss"],
    )


def run_linear_mup(point: Point) -> Iterator[Row]:
    """Compare with the exact muP limit of the linear network with one hidden layer, which starts at 0.

    The configuration's ``limit`` and ``rival`` name two of ``LINEAR_LIMITS``.
    """
    c, run = point.config, setup(point)
    _check_linear(c)
    right, wrong = (LINEAR_LIMITS[c[role]](c, run)[:, None] for role in ("limit", "rival"))
    return compare(run, c["probes"], lambda start: (right, wrong, right))


def _mup(c: Config, run: Setup, *, features_move: bool = True) -> Array:
    _check_sgd(c)
    inputs = np.array(load(c).inputs)
    return linear_mup_limit(
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


def _check_sgd(c: Config) -> None:
    if c["optimizer"] != "sgd":
        raise ValueError(f"this limit is that of gradient descent, got the optimizer {c['optimizer']!r}: take 'sgd'")


LINEAR_LIMITS: Mapping[str, Callable[[Config, Setup], Array]] = {
    "mup": _mup,
    "frozen": lambda c, run: _mup(c, run, features_move=False),  # U stands still: half of the kernel
    "kernel": lambda c, run: _descend(c, run, [1, 1], np.zeros((c["examples"], c["outputs"]))),  # linearised at f_0
}
"""Trajectories (step, examples, out) that the linear network could follow; the kernel knows no weight decay."""


def _check_linear(c: Config) -> None:
    asked = (c["depth"], c["activation"], c["bias"])
    if asked != (1, "identity", False):
        raise ValueError(
            "the exact muP limit is that of a linear network with one hidden layer and no bias: got depth "
            f"{asked[0]}, activation {asked[1]!r}, bias {asked[2]}"
        )


def compare(run: Setup, probes: int, limits: Limits, pictured: Container[int] | None = None) -> Iterator[Row]:
    """Train all seeds of a run and yield the rows described above; ``limits`` has a trajectory for every step.

    With ``pictured`` only those steps are drawn, and only they and the recorded ones need the limits.
    """

    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        ensemble = run.initialise(seeds)
        limit, rival, centre = limits(_outputs(ensemble, run))
        shown = [i for i, seed in enumerate(seeds) if seed % LAZY_FIRST_SEED < SHOWN_SEEDS]
        for step, _ in train(ensemble, run.task(ensemble), run.optimizer, run.order):
            draw = bool(shown) and (pictured is None or step in pictured)
            if step not in run.record and not draw:
                continue
            error = _outputs(ensemble, run) - limit[step]
            if step in run.record:
                yield from _errors(error[:, -probes:], seeds, step)
                yield from _shares(error, rival[step] - limit[step], seeds, step)
            if draw:
                part = error[shown, -probes:].reshape(len(shown), -1)
                yield from _picture(part, centre[step][0, -probes:].ravel(), [seeds[i] for i in shown], step)

    return in_parts(run, measure)


def _outputs(ensemble: Ensemble, run: Setup) -> Array:
    """Return f on all examples, (seed, examples, out)."""
    return np.asarray(forward(ensemble, run.inputs).output.double().cpu().numpy())


def _errors(error: Array, seeds: Sequence[int], step: int) -> Iterator[Row]:
    for seed, values in zip(seeds, error.reshape(len(seeds), -1).tolist(), strict=True):
        for index, value in enumerate(values):
            yield Row("output-error", value, seed=seed, step=step, index=index)


def _shares(error: Array, away: Array, seeds: Sequence[int], step: int) -> Iterator[Row]:
    """Yield the error's component along ``away``, where the rival differs from the limit."""
    away = np.broadcast_to(away, error.shape)
    distance = (away**2).sum(axis=(1, 2))
    for seed, part, whole in zip(seeds, (error * away).sum(axis=(1, 2)), distance, strict=True):
        if whole > 0:
            yield Row("rival-share", float(part / whole), seed=seed, step=step)


def _picture(error: Array, centre: Array, seeds: Sequence[int], step: int) -> Iterator[Row]:
    for index in range(min(SHOWN_OUTPUTS, len(centre))):
        yield Row("limit", float(centre[index]), step=step, index=index)
        for seed, value in zip(seeds, error[:, index], strict=True):
            yield Row("output", float(centre[index] + value), seed=seed, step=step, index=index)
