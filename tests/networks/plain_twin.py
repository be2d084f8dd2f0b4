"""A second, plain implementation of the networks: nn.Parameter, autograd and torch.optim, one seed at a time.

It shares no code with tpbench.networks, only the initial numbers, so that a common mistake cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tpbench.networks.factors import Optimizer
from tpbench.networks.mlp import Ensemble
from tpbench.networks.optimizers import Adam, SignDescent, Spectral
from tpbench.networks.train import Sgd
from tpbench.parametrization import Exponents, Parametrization, Role

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda h: h,
    "relu": torch.relu,
    "leaky-relu": lambda h: functional.leaky_relu(h, 0.01),
    "abs": torch.abs,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "sin": torch.sin,
    "cos": torch.cos,
    "rbf": lambda h: torch.sin(2**0.5 * h) + torch.cos(2**0.5 * h),
    "square": lambda h: h * h,
    "cube": lambda h: h * h * h,
    "exp": torch.exp,
}
LOSS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda f, y: 0.5 * ((f - y) ** 2).sum() / len(f),
    "cross-entropy": functional.cross_entropy,
    "linear": lambda f, y: -(f * y).sum() / len(f),
}


class Twin(nn.Module):
    """One network of a freshly initialised ensemble, with its width factors worked out anew."""

    def __init__(self, ensemble: Ensemble, table: Parametrization, base: int, row: int) -> None:
        super().__init__()
        self.mlp = ensemble.mlp
        self.ratio = ensemble.mlp.width / base
        self.base = base
        self.table = table
        self.weights = nn.ParameterList(layer.weights.current[row].clone() for layer in ensemble.layers)
        biases = [layer.bias.current[row, :, 0].clone() for layer in ensemble.layers if layer.bias is not None]
        self.biases = nn.ParameterList(biases)

    def exponents(self, index: int, bias: bool = False) -> Exponents:
        """Exponents of the weight or bias number ``index`` from 0: hidden biases are input weights."""
        last = index == self.mlp.depth
        if bias:
            return self.table.output_bias if last else self.table.input
        if index == 0:
            return self.table.input
        found = self.table.output if last else self.table.hidden
        assert found is not None
        return found

    def factor(self, power: Any) -> float:
        return self.ratio ** -float(power)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(x)[-1]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """Return h^1, x^1, …, h^L, x^L, f."""
        found: list[Tensor] = []
        for index, w in enumerate(self.weights):
            fan = self.mlp.inputs if index == 0 else self.base
            h = self.mlp.sigma_w / fan**0.5 * self.factor(self.exponents(index).a) * functional.linear(x, w)
            if self.mlp.bias:
                h = h + self.mlp.sigma_b * self.factor(self.exponents(index, bias=True).a) * self.biases[index]
            x = PHI[self.mlp.activation](h)
            found += [h, x]
        return found[:-1]

    def rates(self) -> list[float]:
        """Return the learning rate of every parameter relative to eta, weights then biases."""
        rates = [self.factor(self.exponents(i).c) for i in range(len(self.weights))]
        return rates + [self.factor(self.exponents(i, bias=True).c) for i in range(len(self.biases))]

    def roles(self) -> list[Role]:
        """Return the role of every parameter, weights then biases."""
        hidden = self.mlp.depth - 1
        weights = [Role.INPUT, *[Role.HIDDEN] * hidden, Role.OUTPUT]
        return weights + [*[Role.INPUT] * (hidden + 1), Role.OUTPUT_BIAS][: len(self.biases)]

    def optimizer(self, asked: Optimizer) -> torch.optim.Optimizer:
        """Return what a user of PyTorch would write for the optimizer asked for."""
        parameters = list(zip([*self.weights, *self.biases], self.rates(), self.roles(), strict=True))
        shared = [{"params": [p], "lr": asked.learning_rate * rate} for p, rate, _ in parameters]
        if isinstance(asked, Adam):
            for group, (_, rate, role) in zip(shared, parameters, strict=True):
                group["eps"] = asked.epsilon * self.factor((asked.epsilon_powers or {}).get(role, 0))
                powers = asked.decay_powers
                factor = 1 / rate if powers is None else self.factor(powers.get(role, 0))
                group["weight_decay"] = asked.weight_decay * factor
            return (torch.optim.AdamW if asked.decoupled else torch.optim.Adam)(shared, betas=asked.betas)
        assert isinstance(asked, Sgd | SignDescent | Spectral)
        for group, (_, rate, _) in zip(shared, parameters, strict=True):  # weight decay lambda n^c
            group["weight_decay"] = asked.weight_decay / rate
        if isinstance(asked, Sgd):
            return torch.optim.SGD(shared, momentum=asked.momentum)
        return Plain(shared, torch.sign if isinstance(asked, SignDescent) else polar)


class Plain(torch.optim.Optimizer):
    """Decoupled weight decay, then a step along what becomes of the gradient."""

    def __init__(self, groups: list[dict[str, Any]], change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(groups, {})
        self.change = change

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(self.change(p.grad), alpha=group["lr"])


def polar(gradient: Tensor) -> Tensor:
    """Return U Vᵀ of the whole gradient; a bias is a column."""
    u, s, vh = torch.linalg.svd(gradient if gradient.dim() == 2 else gradient[:, None], full_matrices=False)
    found: Tensor = u * (s > 1e-10 * s[0]) @ vh
    return found.view_as(gradient)


def train_twin(
    twin: Twin, inputs: Tensor, targets: Tensor, asked: Optimizer, order: Sequence[Any], offset: Tensor | None = None
) -> None:
    """Train one network; ``offset`` (examples, out) is subtracted from its output."""
    optimizer = twin.optimizer(asked)
    for chosen in order:
        part = torch.arange(len(inputs), device=inputs.device) if chosen is None else torch.as_tensor(chosen)
        optimizer.zero_grad()
        f = twin(inputs[part])
        LOSS[asked.loss](f if offset is None else f - offset[part], targets[part]).backward()
        optimizer.step()
