"""Training trajectories of any measured quantity, seed by seed: the common ground of finite networks and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.networks.factors import Optimizer
from tpbench.networks.loss import loss
from tpbench.networks.measure import rms, tangent_kernel
from tpbench.networks.mlp import Ensemble, Trace, forward
from tpbench.networks.train import Task, train

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """An ensemble after a step of training: the traces of the probes ``now`` and at the ``start``."""

    ensemble: Ensemble
    task: Task
    sgd: Optimizer
    start: Trace
    now: Trace


Measure = Callable[[Moment], Tensor]
"""A quantity at one moment, (seed, ...)."""


@dataclass(frozen=True)
class Course:
    """What is trained and looked at: minibatches in ``order``, and ``probes`` (examples, in) on which everything but
    the loss is measured. ``centred`` trains, and shows, f - f_0."""

    task: Task
    sgd: Optimizer
    order: Sequence[NDArray[np.intp] | None]
    probes: Tensor
    centred: bool = False

    def __post_init__(self) -> None:
        if self.task.offset is not None:
            raise ValueError("a course starts many networks, so its task has no offset: set centred=True instead")


def _sizes(of: Callable[[Trace], Sequence[Tensor]]) -> Measure:
    return lambda m: torch.stack([rms(x) for x in of(m.now)], dim=1)


def _changes(of: Callable[[Trace], Sequence[Tensor]]) -> Measure:
    return lambda m: torch.stack([rms(x - x0) for x, x0 in zip(of(m.now), of(m.start), strict=True)], dim=1)


def _loss(m: Moment) -> Tensor:
    output = forward(m.ensemble, m.task.inputs).output
    return loss(m.sgd.loss).value(m.task.centred_output(output), m.task.targets)


MEASURES: Mapping[str, Measure] = {
    "output": lambda m: m.now.output if m.task.offset is None else m.now.output - m.start.output,
    "loss": _loss,
    "preactivation": _sizes(lambda trace: trace.preactivations),
    "activation": _sizes(lambda trace: trace.activations),
    "preactivation-change": _changes(lambda trace: trace.preactivations),
    "activation-change": _changes(lambda trace: trace.activations),
    "kernel": lambda m: tangent_kernel(m.ensemble, m.now.inputs[0]).sum(dim=1),
}
"""Outputs (seed, examples, out), f - f_0 where that is trained; training loss (seed,); root mean squares (seed,
hidden layer) of h^l, x^l and of their movement since the start; tangent kernel of the first output (seed, examples,
examples)."""


def trajectories(ensemble: Ensemble, course: Course, measures: Mapping[str, Measure]) -> dict[str, Array]:
    """Train an ensemble, the caller's own, and return every measure at every step from 0, (seed, step, ...)."""
    start = forward(ensemble, course.probes)
    task = course.task
    if course.centred:
        task = Task(task.inputs, task.targets, forward(ensemble, task.inputs).output)
    found: dict[str, list[Tensor]] = {name: [] for name in measures}
    for _ in train(ensemble, task, course.sgd, course.order):
        moment = Moment(ensemble, task, course.sgd, start, forward(ensemble, course.probes))
        for name, measure in measures.items():
            found[name].append(measure(moment).detach().to("cpu", torch.float64).clone())
    return {name: torch.stack(values, dim=1).numpy() for name, values in found.items()}
