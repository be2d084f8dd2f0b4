"""The slow road beside ``tpbench.check.measure``: train a twin in a plain loop, then apply formulas written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tpbench.check.measurements import Layer, Measurements

Parameters = Mapping[str, Tensor]
CPU = "cpu"
WIDTHS = (8, 16)


@dataclass(frozen=True)
class Hand:
    """A use written by hand: its input from the parameters, and its output from parameters and input."""

    x: Callable[[Parameters], Tensor]
    y: Callable[[Parameters, Tensor], Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator(CPU).manual_seed(seed), dtype=torch.float64, device=CPU)


def numbers(below: int, *shape: int, seed: int = 0) -> Tensor:
    """Return uniform whole numbers."""
    return torch.randint(below, shape, generator=torch.Generator(CPU).manual_seed(seed), device=CPU)


def trained(model: nn.Module, *rest: Any, rate: float = 0.3) -> tuple[Any, ...]:
    """Return what a factory returns: the model in float64, SGD, then ``rest``."""
    model = model.double()
    return (model, torch.optim.SGD(model.parameters(), lr=rate), *rest)


def histories(factory: Callable[[int], tuple[Any, ...]], width: int, steps: int, seed: int = 0) -> list[Parameters]:
    """Return the parameters after 0, …, ``steps`` steps of a plain training loop."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, optimizer, (inputs, targets) = factory(width)
    kept = []
    for _ in range(steps + 1):
        kept.append({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
        output = model(inputs)
        loss = (
            functional.cross_entropy(output.flatten(0, -2), targets.flatten())
            if targets.dtype == torch.int64
            else (output - targets).square().mean() / 2
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return kept


def rms(x: Tensor) -> float:
    """Return the root mean square."""
    return math.sqrt(x.double().square().mean().item())


def expected(hand: Hand, kept: Sequence[Parameters], step: int) -> dict[str, float]:
    """Return the quantities of a product from parameters at step 0 and at ``step``."""
    first, now = kept[0], kept[step]
    x_0, x_t = hand.x(first), hand.x(now)
    y_0 = hand.y(first, x_0)
    if step == 0:
        return {"preactivation": rms(y_0)}
    return {
        "preactivation-change": rms(hand.y(now, x_t) - y_0),
        "weight-update": rms(hand.y(now, x_t) - hand.y(first, x_t)),
        "initial-weight-on-change": rms(hand.y(first, x_t) - hand.y(first, x_0)),
    }


def layer(measured: Measurements, name: str) -> Layer:
    """Return the layer of a name."""
    found = [one for one in measured.layers if one.name == name]
    assert len(found) == 1, f"{name} is not one of {[one.name for one in measured.layers]}"
    return found[0]


def value(measured: Measurements, name: str, quantity: str, step: int, width: int = WIDTHS[1], seed: int = 0) -> float:
    """Return one measured number."""
    number = layer(measured, name).number
    found = [
        row.value
        for at, row in measured.rows
        if (at, row.layer, row.quantity, row.step, row.seed) == (width, number, quantity, step, seed)
    ]
    assert len(found) == 1, f"{name} has {len(found)} rows of {quantity} at step {step}"
    return found[0]


def has(measured: Measurements, name: str, quantity: str) -> bool:
    """Return whether a layer has rows of a quantity."""
    number = layer(measured, name).number
    return any(row.layer == number and row.quantity == quantity for _, row in measured.rows)
