"""A user's own model and optimizer at widths that no dense matrix reaches, in the scaling that they have.

``widen`` gives a model the scaling of a table. ``grow`` keeps the factory's own: entries of the width-sized parameters
follow power laws of the width, ``std = s (n/n0)^(-b)``, measured at two moderate widths; learning rates, momentum and
weight decay are read off the optimizer that the factory builds at the wide width itself, on torch's meta device, where
tensors take no memory. Factors of the width in ``forward`` are the model's own and stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tpbench.networks.wide_axes import META, Family, Growth, growths
from tpbench.networks.wide_law import Law, measure, randomness_of
from tpbench.networks.wide_sgd import WideSGD
from tpbench.networks.widen import Kind, fill
from tpbench.weights.innovations import Innovations

MEASURED_AT = (256, 1024)
"""Widths at which the laws of entries are measured: a hidden matrix has 2^16 and 2^20 entries there, and of smaller
parameters 2^14 are drawn, so that a standard deviation at 2^17 is known to 1%, or 3% where entries are few."""

Factory = Callable[[int], tuple[Any, ...]]
"""Width -> (model, optimizer, …)."""


@dataclass(frozen=True)
class Grown:
    """A parameter at the wide width: ``law`` None keeps the values that the model has at a moderate width."""

    name: str
    growth: Growth
    law: Law | None
    factor: float = 1.0

    @property
    def lazy(self) -> bool:
        """Whether the parameter is a lazy matrix."""
        return len(self.growth.axes) == 2


def grow(
    factory: Factory, width: int, source: Innovations, *, dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, WideSGD]:
    """Return the factory's model and optimizer at ``width``, with lazy width × width weights.

    The law of everything is that of the factory's own networks, for Gaussian entries; others are replaced by Gaussian
    ones of the same variance. Raises ``ValueError`` where the optimizer is not SGD, or the model cannot be lazy (see
    ``widen``), and says what to do.
    """
    family = Family(lambda n: _model(factory(n)), MEASURED_AT[0], fresh=True)
    cpu = torch.device("cpu")
    with randomness_of(0, "base model", cpu):
        base = family.at(family.base_width)
    with randomness_of(0, "shapes", META):
        probe = _on_meta(factory, 2 * family.base_width)[0]
        wide, optimizer = _on_meta(factory, width)
    found = growths(base, probe, wide, (width, family.base_width))
    parts = [Grown(name, found[name], law) for name, law in _laws(family, base, found, width).items()]
    settings = _settings(optimizer, wide)
    attributes = {name: dict(vars(parameter)) for name, parameter in wide.named_parameters()}
    fill(wide, base, parts, found, source, Kind(dtype, device))
    for name, parameter in wide.named_parameters():  # what libraries such as mup hang on parameters
        vars(parameter).update({key: value for key, value in attributes[name].items() if key not in vars(parameter)})
    return wide, _optimizer(wide, settings)


def _model(made: tuple[Any, ...]) -> nn.Module:
    model: nn.Module = made[0]
    return model


def _on_meta(factory: Factory, width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    try:
        model, optimizer = factory(width)[:2]
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"the factory fails at width {width} on torch's meta device, where tensors have shapes but no values: make "
            f"batches and anything drawn with a generator of its own outside of the factory ({error})"
        ) from error
    return model, optimizer


def _laws(family: Family, base: nn.Module, found: Mapping[str, Growth], width: int) -> dict[str, Law | None]:
    """Return the law of every parameter at ``width``; None for those that do not grow."""
    names = [name for name, _ in base.named_parameters()]
    growing = [name for name in names if found[name].axes]
    narrow, wider = (measure(Family(family.at, n, fresh=True), growing) for n in MEASURED_AT)
    doublings = math.log2(width / MEASURED_AT[1]) / math.log2(MEASURED_AT[1] / MEASURED_AT[0])
    laws: dict[str, Law | None] = dict.fromkeys(names)
    for name in growing:
        one, two = narrow[name], wider[name]
        laws[name] = Law(_further(one.mean, two.mean, doublings), _further(one.std, two.std, doublings))
    return laws


def _further(one: float, two: float, steps: float) -> float:
    """Return where a power law through two values gets after so many further steps of the same ratio."""
    return two if one == two or not one * two > 0 else two * (two / one) ** steps


def _settings(optimizer: torch.optim.Optimizer, wide: nn.Module) -> dict[str, dict[str, float]]:
    """Return rate, momentum and decay by the name of the parameter; ``ValueError`` for anything but plain SGD."""
    if not isinstance(optimizer, torch.optim.SGD):
        raise ValueError(
            f"wide networks are trained by SGD, and the factory's optimizer is {type(optimizer).__name__}, whose "
            "update of a width × width matrix has full rank: check it at dense widths alone"
        )
    names = {id(parameter): name for name, parameter in wide.named_parameters()}
    found: dict[str, dict[str, float]] = {}
    for group in optimizer.param_groups:
        odd = [key for key in ("nesterov", "maximize", "dampening") if group.get(key)]
        if odd:
            raise ValueError(
                f"wide networks know SGD with momentum and weight decay, not {', '.join(odd)}: leave it out"
            )
        chosen = {key: float(group[key]) for key in ("lr", "momentum", "weight_decay")}
        found |= {names[id(parameter)]: chosen for parameter in group["params"] if id(parameter) in names}
    return found


def _optimizer(wide: nn.Module, settings: Mapping[str, dict[str, float]]) -> WideSGD:
    parameters: dict[str, Tensor] = dict(wide.named_parameters())
    groups = [{"params": [parameters[name]], **chosen} for name, chosen in settings.items()]
    return WideSGD(groups, lr=next(iter(settings.values()))["lr"])
