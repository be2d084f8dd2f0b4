"""The loss of a network whose factory gives none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Any, Any], Tensor]
SEED = 0x51


def default_loss(output: Any, targets: Any) -> Tensor:
    """Return the loss that the targets ask for.

    Integers: cross-entropy over the last axis. Floats of the output's shape: half the mean squared error. None: the
    output's own ``loss`` where it has one, else a linear loss, -mean(output * fixed signs), whose derivative does not
    depend on the network. Raises ``ValueError`` where targets and output do not fit.
    """
    if targets is None:
        own = getattr(output, "loss", None)
        return own if isinstance(own, Tensor) else _linear_loss(prediction_of(output))
    predicted = prediction_of(output)
    if not isinstance(targets, Tensor):
        raise ValueError(f"the targets are {type(targets).__name__}, no tensor: let the factory return a loss, too")
    if targets.dtype == torch.bool or targets.is_complex():
        raise ValueError(f"no loss is known for targets of {targets.dtype}: let the factory return a loss as fourth")
    if targets.is_floating_point():
        return _squared_loss(predicted, targets)
    if predicted.dim() == 0 or targets.numel() * predicted.shape[-1] != predicted.numel():
        raise ValueError(
            f"integer targets of shape {tuple(targets.shape)} do not fit an output of shape {tuple(predicted.shape)}: "
            "cross-entropy takes the last axis for the classes. Let the factory return a loss as fourth"
        )
    return functional.cross_entropy(predicted.reshape(-1, predicted.shape[-1]), targets.reshape(-1))


def _squared_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    if predicted.shape != targets.shape:
        raise ValueError(
            f"targets of shape {tuple(targets.shape)} do not fit an output of shape {tuple(predicted.shape)}: give "
            "them the output's shape, or let the factory return a loss as fourth"
        )
    return (predicted - targets).square().mean() / 2


def _linear_loss(predicted: Tensor) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(SEED)
    signs = torch.randint(2, predicted.shape, generator=generator, device="cpu").to(predicted.device) * 2 - 1
    return -(predicted * signs).mean()


def prediction_of(output: Any) -> Tensor:
    """Return the tensor of a model's output: itself, its ``logits``, or the first tensor of a dictionary or tuple.

    Raises ``ValueError`` where there is none.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits  # type: ignore[no-any-return]
    if isinstance(output, Mapping):
        parts = [output[name] for name in ("logits", *output) if name in output]
    else:
        parts = list(output) if isinstance(output, (tuple, list)) else []
    found = next((part for part in parts if isinstance(part, Tensor)), None)
    if found is None:
        raise ValueError(
            f"the model's output is {type(output).__name__}, in which no prediction can be found: return a tensor, an "
            "object with .logits, or let the factory return a loss(output, targets) as fourth"
        )
    return found
