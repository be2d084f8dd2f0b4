"""One of every optimizer, the network and the data on which their tests train."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tpbench.networks.factors import Optimizer
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise
from tpbench.networks.optimizers import Adam, SignDescent, Spectral
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import Parametrization, Role, named

CPU, META = torch.device("cpu"), torch.device("meta")
INPUTS, OUTPUTS, EXAMPLES, SEEDS, BASE, STEPS = 5, 3, 12, (3, 4, 1), 8, 5
MLP = Mlp(INPUTS, OUTPUTS, 24, 3, "tanh", bias=True, sigma_w=1.3, sigma_b=0.4)
Normal = Callable[..., Tensor]
Agree = Callable[..., None]

POWERS = {Role.HIDDEN: Fraction(1), Role.OUTPUT: Fraction(-1, 2), Role.OUTPUT_BIAS: Fraction(1, 3)}
EVERY: dict[str, Optimizer] = {
    "sgd": Sgd(0.1, 0.9, 0.05, 4),
    "sign, batches": SignDescent(0.01, 0.05, 4),
    "sign, one by one": SignDescent(0.01, 0.05, 1),
    "spectral, all": Spectral(0.05, 0.1),
    "spectral, batches": Spectral(0.05, 0.1, 4, "cross-entropy"),
    "spectral, one by one": Spectral(0.05, batch=1),
    "adam": Adam(0.02, batch=4),
    "adam, cross-entropy": Adam(0.02, (0.8, 0.95), 1e-3, batch=4, loss="cross-entropy"),
    "adamw": Adam(0.02, epsilon=1e-2, weight_decay=0.3, batch=4, epsilon_powers=POWERS, base_width=BASE),
    "adamw, coupled": Adam(0.02, weight_decay=0.3, decay_powers=POWERS, base_width=BASE),
    "adam, decay in the gradient": Adam(
        0.02, epsilon=1e-2, weight_decay=0.3, decoupled=False, decay_powers=POWERS, epsilon_powers={}, base_width=BASE
    ),
}
MUP = named("mup")
every = pytest.mark.parametrize("optimizer", EVERY.values(), ids=list(EVERY))


def task(normal: Normal) -> Task:
    return Task(normal(EXAMPLES, INPUTS), torch.softmax(normal(EXAMPLES, OUTPUTS, seed=1), -1))


def build(mlp: Mlp = MLP, table: Parametrization = MUP, seeds: tuple[int, ...] = SEEDS) -> Ensemble:
    return initialise(mlp, table, seeds, base_width=BASE, device=CPU, dtype=torch.float64, keep_initial=True)


def trained(ensemble: Ensemble, given: Task, optimizer: Optimizer, steps: int = STEPS) -> Tensor:
    """Train and return the outputs; they have moved."""
    start = forward(ensemble, given.inputs).output
    list(train(ensemble, given, optimizer, batches(EXAMPLES, optimizer.batch, steps, seed=7)))
    found = forward(ensemble, given.inputs).output
    assert float((found - start).abs().max()) > 1e-3
    return found
