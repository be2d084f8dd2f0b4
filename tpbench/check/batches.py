"""The data that every network of a check sees: one batch, the same at every width and for every seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

EXAMPLES, TOKENS, TEXTS, IMAGES, SIDE = 16, 16, 4, 8, 16
"""Sizes of batches that are made here: vectors; tokens a text and texts; images and their side."""

SEED = 0x7B


@dataclass(frozen=True)
class Batch:
    """Arguments of the model and the targets of the loss, None where there are none."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    targets: Any = None


def batch_of(given: object) -> Batch:
    """Return what a factory means by its batch.

    A tuple or list of two is ``(inputs, targets)``; a longer tuple holds positional arguments.
    Raises ``ValueError`` for anything without a tensor.
    """
    if isinstance(given, (tuple, list)) and len(given) == 2:
        batch = _arguments(given[0], given[1])
    else:
        batch = _arguments(given, None)
    if not any(isinstance(part, Tensor) for part in (*batch.positional, *batch.named.values())):
        raise ValueError(
            f"the factory's batch is {type(given).__name__} without a tensor among the inputs: return (inputs, "
            "targets), or inputs alone: a tensor, a tuple of arguments or a dictionary of keyword arguments"
        )
    return batch


def _arguments(inputs: Any, targets: Any) -> Batch:
    if isinstance(inputs, Mapping):
        return Batch((), dict(inputs), targets)
    return Batch(tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}, targets)


def on_device(batch: Batch, device: str) -> Batch:
    """Return the batch with its tensors on the device, detached."""
    positional = tuple(_moved(part, device) for part in batch.positional)
    named = {name: _moved(part, device) for name, part in batch.named.items()}
    return Batch(positional, named, _moved(batch.targets, device))


def _moved(part: Any, device: str) -> Any:
    return part.detach().to(device) if isinstance(part, Tensor) else part


def shapes_of(batch: Batch) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of all tensors of the batch, targets last."""
    parts = (*batch.positional, *batch.named.values(), batch.targets)
    return tuple(tuple(part.shape) for part in parts if isinstance(part, Tensor))


def _vectors(first: Any, generator: torch.Generator) -> Tensor:
    return torch.randn(EXAMPLES, first.in_features, generator=generator, device="cpu")


def _tokens(first: Any, generator: torch.Generator) -> Tensor:
    return torch.randint(first.num_embeddings, (TEXTS, TOKENS), generator=generator, device="cpu")


def _images(axes: int) -> Callable[[Any, torch.Generator], Tensor]:
    def made(first: Any, generator: torch.Generator) -> Tensor:
        return torch.randn(IMAGES, first.in_channels, *[SIDE] * axes, generator=generator, device="cpu")

    return made


WANTED: Mapping[type[nn.Module], Callable[[Any, torch.Generator], Tensor]] = {
    nn.Linear: _vectors,
    nn.Embedding: _tokens,
    nn.Conv1d: _images(1),
    nn.Conv2d: _images(2),
    nn.Conv3d: _images(3),
}
"""What the first module with parameters wants to see."""


def make_batch(model: nn.Module) -> Batch:
    """Return Gaussian vectors or images, or token numbers, as the model's first parameter wants them.

    Raises ``ValueError`` where that cannot be told from the first module that has parameters of its own.
    """
    first = next((one for one in model.modules() if next(one.parameters(recurse=False), None) is not None), None)
    for kind, made in WANTED.items():
        if isinstance(first, kind):
            return Batch((made(first, torch.Generator("cpu").manual_seed(SEED)),))
    raise ValueError(
        "the factory returns no batch, and what the model wants to see cannot be told from its first parameters, "
        f"which belong to {type(first).__name__}: return (model, optimizer, batch) with batch = (inputs, targets), or "
        "the inputs alone"
    )
