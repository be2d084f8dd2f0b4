"""Networks trained with many small steps against the differential equation of the kernel regime.

The rows are those of ``trajectory.compare``, and ``progress-ratio`` at every recorded step but 0: the component
of f_t - f_0 on the probes along (limit - f_0), over its square; 1 when the limit has the right speed. The
configuration's ``limit`` and ``rival`` name two of ``FLOWS``, whose kernel weighs the layers' terms by ``shares``; each
starts at every network's own f_0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.setup import setup, train_targets
from tpbench.claims.experiments.tangent import limit_kernels
from tpbench.claims.experiments.trajectory import compare
from tpbench.limits import Array
from tpbench.limits.dynamics import kernel_descent
from tpbench.limits.flow import GradientFlow, HeavyBall, kernel_flow, trained

FEW = 2
"""How many steps the rival of large ones takes in place of all."""
PICTURED = 32
"""About how many steps are drawn."""


def run(point: Point) -> Iterator[Row]:
    """Train all seeds and compare them with two flows.

    Raises ``ValueError`` for minibatches, weight decay and other optimizers than SGD.
    """
    c, run = point.config, setup(point)
    if c["optimizer"] != "sgd" or c["batch"] is not None or c["weight_decay"]:
        raise ValueError(
            "a flow is the limit of full-batch gradient descent without weight decay: got the optimizer "
            f"{c['optimizer']!r}, batch {c['batch']} and weight decay {c['weight_decay']}"
        )
    pictured = range(0, c["steps"] + 1, max(1, c["steps"] // PICTURED))
    recorded, seen = sorted(run.record), sorted({*run.record, *pictured})
    kernel = limit_kernels(c, c["shares"]).ntk

    def follow(name: str, start: Array, steps: Sequence[int]) -> dict[int, Array]:
        return dict(zip(steps, FLOWS[name](c, kernel, start, steps), strict=True))

    movement: dict[int, Array] = {}  # of the seeds that are being trained

    def limits(start: Array) -> tuple[Mapping[int, Array], Mapping[int, Array], Mapping[int, Array]]:
        limit, centre = follow(c["limit"], start, seen), follow(c["limit"], np.zeros_like(start[:1]), pictured)
        moved = {step: (limit[step] - start)[:, -c["probes"] :] for step in recorded}
        movement.update({step: each.reshape(len(each), -1) for step, each in moved.items()})
        return limit, follow(c["rival"], start, recorded), centre

    return _with_progress(compare(run, c["probes"], limits, pictured=pictured), movement)


def _with_progress(rows: Iterable[Row], movement: Mapping[int, Array]) -> Iterator[Row]:
    """Yield the rows, and after the errors of a step how far each seed has come: 1 + error · movement / movement²,
    which is infinite where the limit stands still.

    ``movement`` holds, by step, the limit's (seed, probes · outputs) of the seeds that the next rows are of.
    """
    for (quantity, step), group in groupby(rows, key=lambda row: (row.quantity, row.step)):
        if quantity != "output-error" or step == 0:
            yield from group
            continue
        towards = movement[step]  # before the group's end is sought, which may start to train further seeds
        found = list(group)
        yield from found
        error = np.array([row.value for row in found]).reshape(towards.shape)
        square = (towards**2).sum(axis=1)
        still = np.full_like(square, np.inf)
        ratios = 1 + np.divide((error * towards).sum(axis=1), square, out=still, where=square > 0)
        for row, ratio in zip(found[:: towards.shape[1]], ratios.tolist(), strict=True):
            yield Row("progress-ratio", ratio, seed=row.seed, step=step)


def _flow(c: Config, kernel: Array, start: Array, steps: Sequence[int]) -> Sequence[Array]:
    """Return gradient flow at the times rate · steps."""
    return _solve(c, kernel, start, [c["learning_rate"] * step for step in steps])


def _heavy_ball(c: Config, kernel: Array, start: Array, steps: Sequence[int]) -> Sequence[Array]:
    """Return the flow with inertia and friction that SGD with momentum follows."""
    ball = [HeavyBall.of_descent(step, c["learning_rate"], c["momentum"]) for step in steps]
    return _solve(c, kernel, start, [each.time for each in ball], friction=ball[0].friction)


def _effective_rate(c: Config, kernel: Array, start: Array, steps: Sequence[int]) -> Sequence[Array]:
    """Return gradient flow as if momentum only multiplied the rate by 1/(1 - momentum)."""
    rate = c["learning_rate"] / (1 - c["momentum"])
    return _solve(c, kernel, start, [rate * step for step in steps])


def _squared_error(c: Config, kernel: Array, start: Array, steps: Sequence[int]) -> Sequence[Array]:
    """Return gradient flow of squared error towards the same targets, whatever the loss."""
    times = [c["learning_rate"] * step for step in steps]
    return _closed_form(kernel, train_targets(c), start, times, None, range(c["train"]))


def _few_steps(c: Config, kernel: Array, start: Array, steps: Sequence[int]) -> Sequence[Array]:
    """Return descent in ``FEW`` large steps in place of all: where the last one that is over by then has led."""
    if c["steps"] % FEW:
        raise ValueError(f"{c['steps']} steps are no multiple of {FEW} large ones: change the steps")
    stride = c["steps"] // FEW
    path = kernel_descent(
        kernel,
        train_targets(c),
        start,
        train=range(c["train"]),
        learning_rate=c["learning_rate"] * stride,
        order=[None] * FEW,
        momentum=c["momentum"],
        loss=c["loss"],
    )
    return [path[step // stride] for step in steps]


def _solve(
    c: Config, kernel: Array, start: Array, times: Sequence[float], friction: float | None = None
) -> Sequence[Array]:
    return SOLVERS[c["loss"]](kernel, train_targets(c), start, times, friction, range(c["train"]))


def _closed_form(
    kernel: Array, targets: Array, start: Array, times: Sequence[float], friction: float | None, train: range
) -> Sequence[Array]:
    schedules = [GradientFlow(time) if friction is None else HeavyBall(time, friction) for time in times]
    return [trained(kernel, targets, start, train=train, schedule=schedule) for schedule in schedules]


def _integrated(
    kernel: Array, targets: Array, start: Array, times: Sequence[float], friction: float | None, train: range
) -> Sequence[Array]:
    path = kernel_flow(kernel, targets, start, train=train, times=times, friction=friction, loss="cross-entropy")
    return list(path)


Solver = Callable[[Array, Array, Array, Sequence[float], float | None, range], Sequence[Array]]
SOLVERS: Mapping[str, Solver] = {"mse": _closed_form, "cross-entropy": _integrated}
"""Loss -> (kernel, targets, f_0, times, friction, training points) -> outputs at the times."""
Flow = Callable[[Config, Array, Array, Sequence[int]], Sequence[Array]]
FLOWS: Mapping[str, Flow] = {
    "flow": _flow,
    "heavy-ball": _heavy_ball,
    "effective-rate": _effective_rate,
    "squared-error": _squared_error,
    "few-steps": _few_steps,
}
"""What networks could follow: (configuration, kernel, f_0, steps) -> outputs after each of the steps."""
