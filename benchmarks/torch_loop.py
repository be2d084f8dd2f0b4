"""The rival of the training benchmarks: what a user would write in plain PyTorch, one seed after the other.

``nn.Sequential``, autograd and ``torch.optim.SGD`` with its default settings. The networks are those of a tpbench
ensemble, number for number, so that both sides train the same thing and must end at the same loss. That holds
where one learning rate fits every layer: SP (with rate eta or eta/n) at base width 64 on inputs with 64 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tpbench.bench.claim import Point
from tpbench.claims.config import config
from tpbench.claims.experiments.setup import Setup, setup
from tpbench.networks.cost import wait_for
from tpbench.networks.loss import loss
from tpbench.networks.mlp import Ensemble, forward
from tpbench.networks.train import Task, train
from tpbench.parametrization import named

FEATURES = 64
LOSS_TOLERANCE = 1e-3
"""The most by which the final losses of the two sides may differ, relative: float32 rounding in another order."""


def training(width: int, *, seeds: int, steps: int, device: str = "cpu") -> Setup:
    """Return the training that both sides do: two hidden relu layers, 64 digits as one batch, 10 outputs, mse."""
    settings = config(
        parametrization=named("sp-over-n").as_config(),
        dataset="digits",
        examples=64,
        train=64,
        outputs=10,
        sigma_w=2**0.5,
        base_width=FEATURES,
        learning_rate=0.5,
        steps=steps,
        record=[],
        device=device,
    )
    return setup(Point("training", "sp-over-n", width, tuple(range(seeds)), settings, code=""))


@dataclass(frozen=True)
class Ours:
    """One side, initialised: the ensembles that tpbench's claims would train one after the other."""

    run: Setup
    parts: tuple[tuple[Ensemble, Task], ...]

    @classmethod
    def start(cls, run: Setup) -> Ours:
        """Initialise every part of the run's seeds."""
        ensembles = [run.initialise(seeds) for seeds in run.parts()]
        return cls(run, tuple((ensemble, run.task(ensemble)) for ensemble in ensembles))

    def train(self) -> None:
        """Take all steps, in place."""
        for ensemble, task in self.parts:
            for _ in train(ensemble, task, self.run.optimizer, self.run.order):
                pass
        wait_for(self.run.device)

    def losses(self) -> Tensor:
        """Return the loss of every seed, (seed,)."""
        criterion = loss(self.run.optimizer.loss)
        return torch.cat([criterion.value(forward(e, t.inputs).output, t.targets) for e, t in self.parts])


@dataclass(frozen=True)
class Loop:
    """The other side, initialised: a model and an optimizer a seed."""

    run: Setup
    models: tuple[nn.Sequential, ...]
    optimizers: tuple[torch.optim.SGD, ...]

    @classmethod
    def start(cls, run: Setup) -> Loop:
        """Build the models of the run's seeds with the weights that tpbench gives them."""
        rate = learning_rate(run)
        models = tuple(_model(run, run.initialise([seed])) for seed in run.seeds)
        return cls(run, models, tuple(torch.optim.SGD(model.parameters(), lr=rate) for model in models))

    def train(self) -> None:
        """Take all steps of one model, then of the next."""
        inputs, targets = self.run.inputs, self.run.targets
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            for _ in self.run.order:
                optimizer.zero_grad()
                functional.mse_loss(model(inputs), targets).backward()
                optimizer.step()
        wait_for(self.run.device)

    @torch.no_grad()
    def losses(self) -> Tensor:
        """Return the loss of every seed in tpbench's convention, half the squared error summed over outputs."""
        half = self.run.mlp.outputs / 2
        outputs = (model(self.run.inputs) for model in self.models)
        return torch.stack([half * functional.mse_loss(output, self.run.targets) for output in outputs])


def learning_rate(run: Setup) -> float:
    """Return the one rate with which ``torch.optim.SGD`` on ``mse_loss`` takes tpbench's steps.

    A weight W = m w moves by m² times the rate of w; ``mse_loss`` is 2/outputs of tpbench's loss. Raises
    ``ValueError`` where layers need different rates, since the plain loop has one.
    """
    rates = {run.optimizer.learning_rate * layer.rate * layer.multiplier**2 for layer in run.initialise([0]).layers}
    if max(rates) > (1 + 1e-9) * min(rates):
        raise ValueError(f"the layers need different learning rates, {sorted(rates)}, and the plain loop has one")
    return max(rates) * run.mlp.outputs / 2


def check_same(losses: Sequence[Tensor]) -> float:
    """Return the largest relative difference of the two sides' losses; ``ValueError`` when it is too large."""
    ours, loop = (side.double() for side in losses)
    difference = float(((ours - loop) / loop).abs().max())
    if not difference <= LOSS_TOLERANCE:
        raise ValueError(
            f"the final losses of the two sides differ by {difference:.2g} relative, more than {LOSS_TOLERANCE}: "
            "they do not do the same work, so their times cannot be compared"
        )
    return difference


def _model(run: Setup, ensemble: Ensemble) -> nn.Sequential:
    """Return the first network of an ensemble as a plain module."""
    modules: list[nn.Module] = []
    for number, layer in enumerate(ensemble.layers, start=1):
        fan_in, fan_out = run.mlp.fan(number)
        linear = nn.Linear(fan_in, fan_out, bias=False, device=run.device, dtype=run.dtype)
        with torch.no_grad():
            linear.weight.copy_(layer.weights.current[0] * layer.multiplier)
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])
