"""Losses: value a network, and gradient with respect to the output, both averaged over the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """``value(f, y)``: (seed,) from outputs (seed, batch, out); ``gradient(f, y)``: dL/df, (seed, batch, out).

    Targets y have shape (batch, out): real values for ``mse``, probabilities for ``cross-entropy``.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


def _half_squares(f: Tensor, y: Tensor) -> Tensor:
    return (f - y).square().sum(-1).mean(-1).mul(0.5)


def _residual(f: Tensor, y: Tensor) -> Tensor:
    return (f - y).div_(f.shape[-2])


def _cross_entropy(f: Tensor, y: Tensor) -> Tensor:
    return -(y * torch.log_softmax(f, -1)).sum(-1).mean(-1)


def _softmax_residual(f: Tensor, y: Tensor) -> Tensor:
    return (torch.softmax(f, -1) * y.sum(-1, keepdim=True) - y).div_(f.shape[-2])


LOSSES: Mapping[str, Loss] = {
    "mse": Loss(_half_squares, _residual),
    "cross-entropy": Loss(_cross_entropy, _softmax_residual),
    # dL/df = -y whatever the network does: isolates the exponents from the noise of the residual
    "linear": Loss(lambda f, y: -(f * y).sum(-1).mean(-1), lambda f, y: (-y / f.shape[-2]).expand_as(f)),
}


def loss(name: str) -> Loss:
    """Return a loss by name; ``ValueError`` listing the known ones."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r} (known: {', '.join(LOSSES)})")
    return LOSSES[name]
