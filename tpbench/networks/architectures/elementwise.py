"""Activations as plain functions of PyTorch, differentiable in every direction and any number of times.

``networks/activation.py`` has the same ones with hand-written derivatives, in place; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.networks.activation import LEAK
from tpbench.parametrization import did_you_mean

Function = Callable[[Tensor], Tensor]

FUNCTIONS: Mapping[str, Function] = {
    "identity": lambda h: h,
    "relu": torch.relu,
    "leaky-relu": lambda h: functional.leaky_relu(h, LEAK),
    "abs": torch.abs,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "sin": torch.sin,
    "cos": torch.cos,
    "rbf": lambda h: math.sqrt(2) * torch.sin(math.sqrt(2) * h + math.pi / 4),
    "square": torch.square,
    "cube": lambda h: h**3,
    "exp": torch.exp,
}


def elementwise(name: str) -> Function:
    """Return an activation by name; ``ValueError`` with the nearest name when there is none."""
    if name not in FUNCTIONS:
        raise ValueError(f"unknown activation {name!r}{did_you_mean(name, FUNCTIONS)}")
    return FUNCTIONS[name]
