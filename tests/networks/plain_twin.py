"""A second, plain implementation of the networks: nn.Parameter, autograd and torch.optim.SGD, one seed at a time.

It shares no code with tpbench.networks, only the initial numbers, so that a common mistake cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tpbench.networks.mlp import Ensemble
from tpbench.networks.train import Sgd
from tpbench.parametrization import Exponents, Parametrization

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

    def optimizer(self, sgd: Sgd) -> torch.optim.SGD:
        """Learning rate eta n^(-c) and weight decay lambda n^c a parameter."""
        groups = [
            {"params": [p], "lr": sgd.learning_rate * rate, "weight_decay": sgd.weight_decay / rate}
            for p, rate in zip([*self.weights, *self.biases], self.rates(), strict=True)
        ]
        return torch.optim.SGD(groups, momentum=sgd.momentum)


def train_twin(
    twin: Twin, inputs: Tensor, targets: Tensor, sgd: Sgd, order: Sequence[Any], offset: Tensor | None = None
) -> None:
    """Train one network; ``offset`` (examples, out) is subtracted from its output."""
    optimizer = twin.optimizer(sgd)
    for chosen in order:
        part = torch.arange(len(inputs), device=inputs.device) if chosen is None else torch.as_tensor(chosen)
        optimizer.zero_grad()
        f = twin(inputs[part])
        LOSS[sgd.loss](f if offset is None else f - offset[part], targets[part]).backward()
        optimizer.step()
