"""Activations with their hand-written derivatives, both written into tensors that exist already."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.parametrization import did_you_mean

aten = torch.ops.aten
LEAK = 0.01


@dataclass(frozen=True)
class Activation:
    """``apply(h, out)`` writes phi(h); ``pullback_(g, h, x)`` turns dL/dx into dL/dh = g · phi'(h), in place."""

    apply: Callable[[Tensor, Tensor], object]
    pullback_: Callable[[Tensor, Tensor, Tensor], object]


ACTIVATIONS: Mapping[str, Activation] = {
    "identity": Activation(lambda h, out: out.copy_(h), lambda g, h, x: g),
    "relu": Activation(
        lambda h, out: torch.clamp_min(h, 0, out=out),
        lambda g, h, x: aten.threshold_backward(g, x, 0, grad_input=g),
    ),
    "leaky-relu": Activation(
        lambda h, out: out.copy_(functional.leaky_relu(h, LEAK)),
        lambda g, h, x: aten.leaky_relu_backward(g, h, LEAK, False, grad_input=g),
    ),
    "abs": Activation(lambda h, out: torch.abs(h, out=out), lambda g, h, x: g.mul_(torch.sign(h))),
    "tanh": Activation(lambda h, out: torch.tanh(h, out=out), lambda g, h, x: aten.tanh_backward(g, x, grad_input=g)),
    "erf": Activation(
        lambda h, out: torch.erf(h, out=out),
        lambda g, h, x: g.mul_(torch.exp(-h.square())).mul_(2 / math.sqrt(math.pi)),
    ),
    "gelu": Activation(
        lambda h, out: out.copy_(functional.gelu(h)), lambda g, h, x: aten.gelu_backward(g, h, grad_input=g)
    ),
    "silu": Activation(
        lambda h, out: out.copy_(functional.silu(h)), lambda g, h, x: aten.silu_backward(g, h, grad_input=g)
    ),
    "sigmoid": Activation(
        lambda h, out: torch.sigmoid(h, out=out), lambda g, h, x: aten.sigmoid_backward(g, x, grad_input=g)
    ),
    "softplus": Activation(lambda h, out: out.copy_(functional.softplus(h)), lambda g, h, x: g.mul_(torch.sigmoid(h))),
    "sin": Activation(lambda h, out: torch.sin(h, out=out), lambda g, h, x: g.mul_(torch.cos(h))),
    "cos": Activation(lambda h, out: torch.cos(h, out=out), lambda g, h, x: g.mul_(torch.sin(h)).neg_()),
    "rbf": Activation(
        lambda h, out: torch.mul(h, math.sqrt(2), out=out).add_(math.pi / 4).sin_().mul_(math.sqrt(2)),
        lambda g, h, x: g.mul_(torch.cos((h * math.sqrt(2)).add_(math.pi / 4))).mul_(2),
    ),
    "square": Activation(lambda h, out: torch.square(h, out=out), lambda g, h, x: g.mul_(h).mul_(2)),
    "cube": Activation(lambda h, out: torch.pow(h, 3, out=out), lambda g, h, x: g.mul_(torch.square(h)).mul_(3)),
    "exp": Activation(lambda h, out: torch.exp(h, out=out), lambda g, h, x: g.mul_(x)),
}


def activation(name: str) -> Activation:
    """Return an activation by name; ``ValueError`` with the nearest name when there is none."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}{did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]
