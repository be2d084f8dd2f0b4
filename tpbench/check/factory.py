"""What a user's factory gives at one width: a model, its optimizer, a batch and a loss; what stands in for the rest.

A factory is a function of the width. It returns ``(model, optimizer)``, ``(model, optimizer, batch)`` or
``(model, optimizer, batch, loss)``. A batch is ``(inputs, targets)``, or inputs alone; inputs are a tensor, a tuple of
positional arguments or a dictionary of keyword arguments. ``loss(output, targets)`` is a scalar tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tpbench.check.batches import Batch, batch_of, make_batch, on_device, shapes_of
from tpbench.check.losses import Loss, default_loss

Factory = Callable[[int], tuple[Any, ...]]
OPTIMIZER_PARTS = ("param_groups", "step", "zero_grad")


@dataclass(frozen=True)
class Network:
    """One network, ready to be trained: ``model(*batch)`` and ``loss(output, batch.targets)``."""

    width: int
    seed: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: Batch
    loss: Loss

    def forward(self) -> Any:
        """Return the model's output on the batch, with the same random numbers (dropout masks) at every call."""
        with seeded(self.seed):
            return self.model(*self.batch.positional, **self.batch.named)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Set torch's global generators to a seed for a while; the caller's come back unchanged.

    ``torch.manual_seed`` would do the same for ten times the time where there is no other device.
    """
    cuda = torch.cuda.is_available()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        yield


def build(factory: Factory, width: int, seed: int, device: str, batch: Batch | None) -> Network:
    """Return the network that the factory builds at a width with a seed of torch's global generator.

    ``batch`` is the one of an earlier network, None for the first: the data are the same for all. Raises ``ValueError``
    where the factory does not return what it should, or a batch of other shapes than before.
    """
    with seeded(seed):
        made = factory(width)
    parts = _checked(made, width)
    model, optimizer = parts[0], parts[1]
    model.to(device)
    given = batch_of(parts[2]) if len(parts) > 2 and parts[2] is not None else None
    if batch is None:
        batch = on_device(given if given is not None else make_batch(model), device)
    elif given is not None and shapes_of(given) != shapes_of(batch):
        raise ValueError(
            f"the factory's batch has shapes {shapes_of(given)} at width {width} and {shapes_of(batch)} at the "
            "narrowest width: the data must be the same at every width"
        )
    loss = parts[3] if len(parts) > 3 and parts[3] is not None else default_loss
    return Network(width, seed, model, optimizer, batch, loss)


def _checked(made: object, width: int) -> tuple[Any, ...]:
    asked = "a factory returns (model, optimizer), (model, optimizer, batch) or (model, optimizer, batch, loss)"
    if not isinstance(made, tuple) or not 2 <= len(made) <= 4:
        what = f"{len(made)} things" if isinstance(made, tuple) else type(made).__name__
        raise ValueError(f"{asked}, and this one returned {what} at width {width}")
    model, optimizer = made[:2]
    if not isinstance(model, nn.Module):
        raise ValueError(f"{asked}; the first of what came at width {width} is no nn.Module: {type(model).__name__}")
    if not all(hasattr(optimizer, part) for part in OPTIMIZER_PARTS):
        raise ValueError(
            f"{asked}; the second of what came at width {width} is no torch optimizer: {type(optimizer).__name__}. "
            "Wrap several optimizers in one class with param_groups, step and zero_grad"
        )
    if len(made) > 3 and made[3] is not None and not callable(made[3]):
        raise ValueError(f"{asked}; the loss is no function but {type(made[3]).__name__}: loss(output, targets)")
    _check_optimizer_has(model, optimizer, width)
    return made


def _check_optimizer_has(model: nn.Module, optimizer: torch.optim.Optimizer, width: int) -> None:
    known = {id(parameter) for parameter in model.parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not any(id(parameter) in known for parameter in held):
        raise ValueError(
            f"the optimizer of width {width} holds {len(held)} parameters, and none of them is the model's: build it "
            "from model.parameters() after the model has its final parameters"
        )


def left_out_of(network: Network) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of trainable parameters that the optimizer does not have, and those of frozen parameters.

    Raises ``ValueError`` where all are frozen.
    """
    held = {id(parameter) for group in network.optimizer.param_groups for parameter in group["params"]}
    parameters = parameters_of(network.model)
    frozen = tuple(name for name, parameter in parameters.items() if not parameter.requires_grad)
    if len(frozen) == len(parameters):
        raise ValueError(
            f"all {len(frozen)} parameters of width {network.width} are frozen (requires_grad is False), so nothing "
            "would be trained: build the model as it is trained"
        )
    forgotten = (
        name for name, parameter in parameters.items() if parameter.requires_grad and id(parameter) not in held
    )
    return tuple(forgotten), frozen


def parameter_names(model: nn.Module) -> dict[int, tuple[str, ...]]:
    """Return the names of every parameter by its ``id``, several for tied ones, without what ``torch.compile`` adds."""
    names: dict[int, tuple[str, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)] = (*names.get(id(parameter), ()), plain(name))
    return names


def plain(name: str) -> str:
    """Return the name of a parameter or module as it would be without ``torch.compile``."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def parameters_of(model: nn.Module) -> Mapping[str, Tensor]:
    """Return every parameter under the first of its names."""
    names = parameter_names(model)
    return {names[id(parameter)][0]: parameter for parameter in model.parameters()}
