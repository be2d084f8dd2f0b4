"""Models that the tests widen, factories of their width in plain PyTorch, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tpbench.networks.widen import Wide, widen

CPU = torch.device("cpu")
BASE, WIDTH, EXAMPLES, BATCH, STEPS = 16, 64, 9, 4, 6
Model = Callable[[int], nn.Module]
Normal = Callable[..., Tensor]
INPUTS, OUTPUTS = 5, 2


def mlp(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, OUTPUTS)
    )


class Residual(nn.Module):
    """A residual MLP with LayerNorm, branches of 2 × width and outputs of branches that start at zero."""

    def __init__(self, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.read = nn.Linear(INPUTS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(2 * width, width, bias=False) for _ in range(blocks))
        nn.init.zeros_(self.down[0].weight)
        self.out = nn.Linear(width, OUTPUTS, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.read(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            h = h + down(up(norm(h)).relu())
        return self.out(h)


class Recurrent(nn.Module):
    """A recurrent network over the inputs' entries: one matrix at every time, and once more to start with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(1, width)
        self.start = nn.Parameter(torch.ones(width))
        self.recurrent = nn.Linear(width, width, bias=False)
        self.again = nn.Linear(width, width, bias=False)
        self.again.weight = self.recurrent.weight
        self.out = nn.Linear(width, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        h = self.again(self.start).tanh().expand(len(x), -1)
        for entry in x.T:
            h = (self.recurrent(h) + self.read(entry[:, None])).tanh()
        return self.out(h)


class BothWays(nn.Module):
    """One matrix, a plain parameter, forwards and transposed; the read-out is a plain vector an output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(INPUTS, width, bias=False)
        self.matrix = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.outs = nn.ParameterList(torch.randn(width) / width for _ in range(OUTPUTS))

    def forward(self, x: Tensor) -> Tensor:
        h = (self.read(x) @ self.matrix).tanh()
        h = (self.matrix @ h[..., None])[..., 0].tanh() + h @ self.matrix.T
        return torch.stack([h @ out for out in self.outs], dim=-1)


ROLES = {BothWays: {f"outs.{number}": "output" for number in range(OUTPUTS)}}


def widened(model: Model, width: int = WIDTH, base: int = BASE, **options: Any) -> Wide:
    options = {"dtype": torch.float64, "roles": ROLES.get(model), **options}
    return widen(model, width=width, base_width=base, **options)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, normal: Normal, steps: int = STEPS) -> Tensor:
    """Train on one order of minibatches and return the losses, one a step."""
    like = next(model.parameters())
    x, y = (normal(EXAMPLES, size, seed=size).to(like.dtype) for size in (INPUTS, OUTPUTS))
    losses = []
    for step in range(steps):
        chosen = torch.arange(step, step + BATCH, device=CPU) % EXAMPLES
        optimizer.zero_grad()
        loss = (model(x[chosen]) - y[chosen]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)
