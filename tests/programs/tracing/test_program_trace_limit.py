"""Limits of traced code against other roads: the engine of part 2, kernels by recursion, and wide networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from traced_models import CPU, DOUBLE, MODELS, at_width, inputs, trained

from tpbench.architecture import Architecture, LayerNormalised, Perceptron, Recurrent, Residual
from tpbench.limits.kernels import architecture_kernels
from tpbench.networks import infinite
from tpbench.networks.mlp import Mlp
from tpbench.networks.train import Sgd, Task
from tpbench.networks.trajectory import MEASURES, Course
from tpbench.parametrization import named
from tpbench.programs import limit, trace
from tpbench.programs.infinite import Value

RATE, STEPS = 0.5, 2


class MupMlp(nn.Module):
    """``tpbench``'s own muP network, written by hand: factors of the width in ``forward``, one rate for all."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.w1 = nn.Parameter(torch.randn(n, 2, dtype=DOUBLE, device=CPU) / math.sqrt(n))
        self.w2 = nn.Parameter(torch.randn(n, n, dtype=DOUBLE, device=CPU) / math.sqrt(n))
        self.w3 = nn.Parameter(torch.randn(1, n, dtype=DOUBLE, device=CPU) / math.sqrt(n))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(math.sqrt(self.n / 2) * x @ self.w1.T)
        out: Tensor = torch.tanh(h @ self.w2.T) @ self.w3.T / math.sqrt(self.n)
        return out


def by_hand(model: nn.Module, rate: float = RATE) -> dict[str, Tensor]:
    """Train by steps written by hand, and return outputs and losses."""
    x, y = inputs()
    asked: dict[str, Tensor] = {}
    for step in range(STEPS + 1):
        f = model(x)
        asked[f"f{step}"], asked[f"loss{step}"] = f, 0.5 * (f - y).square().mean()
        gradients = torch.autograd.grad(asked[f"loss{step}"], [*model.parameters()])
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(rate * gradient)
    return asked


def distances(found: Mapping[str, Value], expected: Mapping[str, infinite.Limit]) -> list[float]:
    """Return how far outputs and losses are from the engine's, in standard errors of both."""
    pairs: list[tuple[Value, float, float]] = []
    for step in range(STEPS + 1):
        output = expected["output"]
        for example in range(3):
            mean, error = (float(part[step].reshape(-1)[example]) for part in (output.mean, output.error))
            pairs.append((found[f"f{step}[{example},0]"], mean, error))
        if step < STEPS:
            loss = expected["loss"]
            pairs.append((found[f"loss{step}"], float(loss.mean[step]), float(loss.error[step])))
    assert all(math.hypot(ours.error, error) < 0.01 for ours, _, error in pairs)
    return [abs(ours.mean - mean) / (math.hypot(ours.error, error) + 1e-9) for ours, mean, error in pairs]


def test_the_unrolled_mlp_has_the_limit_of_the_engine() -> None:
    x, y = inputs()
    course = Course(Task(x, y), Sgd(learning_rate=RATE), [None] * STEPS, x)
    measures = {name: MEASURES[name] for name in ("output", "loss")}
    expected = infinite.limit(Mlp(2, 1, 1, 2, "tanh"), named("mup"), course, measures=measures)
    found = limit(trace(MupMlp, by_hand), method="sobol").scalars
    assert max(distances(found, expected)) < 4.5
    for fault in (
        limit(trace(MupMlp, partial(by_hand, rate=0.9 * RATE)), method="sobol"),
        limit(trace(MupMlp, by_hand), method="sobol", transposes="independent"),
    ):
        assert max(distances(fault.scalars, expected)) > 9


# --- kernels at initialisation -------------------------------------------------------------------------------------


class Ntk(nn.Module):
    """Layers in the NTK parametrization: N(0, 1) weights, and factors in ``forward``."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.weights = nn.ParameterList(
            torch.randn(*shape, dtype=DOUBLE, device=CPU) for shape in ((n, 2), (n, n), (n, n), (1, n))
        )

    def linear(self, layer: int, x: Tensor) -> Tensor:
        weight = self.weights[layer]
        out: Tensor = x @ weight.T / math.sqrt(weight.shape[1])
        return out


class NtkPerceptron(Ntk):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(3, torch.tanh(self.linear(1, torch.tanh(self.linear(0, x)))))


class NtkResidual(Ntk):
    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(0, x)
        h = h + 0.7 * self.linear(1, torch.tanh(h))
        h = h + 0.7 * self.linear(2, torch.tanh(h))
        return self.linear(3, torch.tanh(h))


class NtkRecurrent(Ntk):
    """Reads sequences (example, position, channel)."""

    def forward(self, x: Tensor) -> Tensor:
        hidden, total = None, torch.zeros((), dtype=DOUBLE, device=CPU)
        for position in range(x.shape[1]):
            new = self.linear(0, x[:, position])
            hidden = torch.tanh(new if hidden is None else new + self.linear(1, hidden))
            total = total + hidden
        return self.linear(3, total / x.shape[1])


class NtkNormalised(Ntk):
    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(nn.functional.layer_norm(self.linear(0, x), (self.n,), eps=0.0))
        h = torch.tanh(nn.functional.layer_norm(self.linear(1, h), (self.n,), eps=0.0))
        return self.linear(3, h)


SEQUENCES = inputs()[0].reshape(3, 1, 2) * torch.tensor([1.0, -0.5, 0.8], dtype=DOUBLE, device=CPU)[:, None]
ARCHITECTURES: Mapping[str, tuple[type[Ntk], Architecture, Tensor]] = {
    "perceptron": (NtkPerceptron, Perceptron(2, "tanh"), inputs()[0]),
    "residual": (NtkResidual, Residual(3, "tanh", branch=0.7), inputs()[0]),
    "recurrent": (NtkRecurrent, Recurrent("tanh"), SEQUENCES),
    "layernorm": (NtkNormalised, LayerNormalised(2, "tanh"), inputs()[0]),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tangent_kernels_of_traced_backward_passes_are_those_of_the_recursion(name: str) -> None:
    """f_0 is random, but inner products of its gradients are not: the program of the backward pass gives the NTK."""
    model, architecture, x = ARCHITECTURES[name]

    def gradients(network: nn.Module) -> dict[str, Tensor]:
        found = [torch.autograd.grad(network(x)[i, 0], [*network.parameters()], allow_unused=True) for i in range(3)]
        return {
            f"ntk[{i},{j}]": sum(
                ((a * b).sum() for a, b in zip(found[i], found[j], strict=True) if a is not None and b is not None),
                torch.zeros((), dtype=DOUBLE, device=CPU),
            )
            for i, j in ((0, 0), (0, 1), (1, 2))
        }

    expected = architecture_kernels(architecture, x).ntk
    solved = limit(trace(model, gradients), method="sobol", points=(2**10, 2**11), replicates=32).scalars
    for i, j in ((0, 0), (0, 1), (1, 2)):
        ours = solved[f"ntk[{i},{j}]"]
        assert ours.error < 0.02
        assert abs(ours.mean - float(expected[i, j])) < 4.5 * ours.error + 1e-6


# --- wide networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_code_itself_comes_to_the_limit_as_it_widens(name: str) -> None:
    """The distance of the mean falls with n (about as 1/n), and is small at the largest."""
    solved = limit(trace(MODELS[name], trained()), method="sobol", points=(2**10, 2**11), replicates=32).scalars
    apart = []
    for width, seeds in ((8, 400), (64, 100)):
        found = at_width(MODELS[name], trained(), width, seeds)
        apart.append(np.array([float(value.mean()) - solved[key].mean for key, value in found.items()]))
        noise = max(float(value.std()) / math.sqrt(seeds) for value in found.values())
    narrow, wide = (float(np.abs(each).max()) for each in apart)
    assert wide < narrow
    assert wide < 4.5 * noise + narrow / 4
