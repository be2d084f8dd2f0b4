"""Training of an ensemble, by SGD or any optimizer, with one order of minibatches for every width and seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tpbench.networks.factors import Optimizer, Step, check_batch, factors
from tpbench.networks.loss import loss
from tpbench.networks.mlp import Ensemble, Trace, backward, buffers, forward


@dataclass(frozen=True)
class Sgd:
    """``torch.optim.SGD`` with a learning rate a layer.

    ``learning_rate`` is eta; layer l takes eta n^(-c_l). ``weight_decay`` is scaled to lambda n^(c_l), so that a
    step shrinks every weight by 1 - eta lambda at every width and the abc symmetry holds exactly.
    ``batch`` None means the full data. The velocities of momentum stay with the weights: a second training goes on.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch: int | None = None
    loss: str = "mse"

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf or not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(
                "SGD needs a learning rate above 0 (and finite), momentum in [0, 1), weight decay of at least 0; got "
                f"{self.learning_rate}, {self.momentum} and {self.weight_decay}"
            )
        check_batch(self.batch)
        loss(self.loss)

    def begin(self, ensemble: Ensemble) -> Step:
        """Return the step; its state is in the weights."""
        return partial(step_, sgd=self)


@dataclass(frozen=True)
class Task:
    """Training data on a device: inputs (examples, in), targets (examples, out).

    ``offset`` (seed, examples, out) is subtracted from the output before the loss: with offset f_0 the *centred*
    network f - f_0 is trained, whose residual is the same for all seeds at the start.
    """

    inputs: Tensor
    targets: Tensor
    offset: Tensor | None = None

    def part(self, chosen: Tensor | None) -> Task:
        """Return the examples of one minibatch; None is all of them."""
        if chosen is None:
            return self
        offset = None if self.offset is None else self.offset[:, chosen]
        return Task(self.inputs[chosen], self.targets[chosen], offset)

    def centred_output(self, output: Tensor) -> Tensor:
        """Return f - offset."""
        return output if self.offset is None else output - self.offset


def batches(examples: int, batch: int | None, steps: int, seed: int) -> list[np.ndarray | None]:
    """Return the example numbers of every step: epochs of a fresh shuffle, whole batches only.

    The order depends on ``seed`` and the sizes alone, so every width and the limit see the same one.
    """
    if batch is None or batch == examples:
        return [None] * steps
    if batch > examples:
        raise ValueError(f"a batch of {batch} was asked of {examples} examples: lower the batch")
    rng = np.random.default_rng(np.random.SeedSequence([seed, examples, batch]))
    a_pass = examples // batch
    order: list[np.ndarray | None] = []
    while len(order) < steps:
        shuffled = rng.permutation(examples)[: a_pass * batch]
        order.extend(np.sort(part) for part in np.split(shuffled, a_pass))
    return order[:steps]


def step_(ensemble: Ensemble, trace: Trace, gradients: Sequence[Tensor], sgd: Sgd) -> None:
    """One SGD step, in place, from the gradients dL/dh^1 … dL/dh^{L+1} of ``backward``."""
    for g in factors(ensemble, trace, gradients):
        g.weights.step_(
            g.y,
            g.x,
            scale=g.scale,
            rate=sgd.learning_rate * g.rate,
            momentum=sgd.momentum,
            decay=sgd.weight_decay / g.rate,
        )


def train(
    ensemble: Ensemble, task: Task, optimizer: Optimizer, order: Sequence[np.ndarray | None]
) -> Iterator[tuple[int, Ensemble]]:
    """Yield (0, ensemble) before training and (t, ensemble) after each step t = 1 … len(order).

    The ensemble is the caller's own object, trained in place; read what you need before the next step. Raises
    ``ValueError``, at the first ``next``, where the optimizer cannot train weights of these kinds.
    """
    criterion, step = loss(optimizer.loss), optimizer.begin(ensemble)
    space: Trace | None = None
    scratch: list[Tensor] | None = None
    yield 0, ensemble
    for number, chosen in enumerate(order, start=1):
        part = task.part(None if chosen is None else torch.as_tensor(chosen, device=task.inputs.device))
        if space is None or space.output.shape[1] != part.inputs.shape[0]:
            space = buffers(ensemble, part.inputs)
            scratch = [torch.empty_like(h) for h in space.preactivations]
        trace = forward(ensemble, part.inputs, into=space)
        residual = criterion.gradient(part.centred_output(trace.output), part.targets)
        gradients = backward(ensemble, trace, residual, into=scratch)
        step(ensemble, trace, gradients)
        yield number, ensemble
