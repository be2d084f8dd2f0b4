"""PyTorch models at any width: width × width weights lazy, the rest rescaled by a parametrization.

Models whose width × width weights are used through ``nn.Linear``, ``F.linear`` or ``@``; their code stays as it is.
What cannot be widened: convolutions over neurons, fused RNN and attention modules (they need all entries). What a
wide model cannot do: checkpoints and resuming, deepcopy (nor moving averages of weights), pickling, autocast, steps of
other optimizers. A model whose width² entries fit in memory can: ``materialise()``.

An example, whose hidden matrix would take 4 TB::

    import torch, tpbench
    from torch import nn

    def mlp(width):
        return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    wide = tpbench.widen(mlp, width=2**20, parametrization="mup")
    x = torch.randn(4, 8, generator=torch.Generator("cpu").manual_seed(0))
    optimizer = wide.sgd(lr=0.1, momentum=0.9)
    for step in range(10):
        optimizer.zero_grad()
        loss = (wide.model(x) - x[:, :1]).square().mean()
        loss.backward()
        optimizer.step()
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tpbench.networks.wide_axes import (
    META,
    Factory,
    Family,
    Growth,
    check_names,
    family_of,
    growths,
    named_tensors,
    own_tensors,
    roles_of,
)
from tpbench.networks.wide_law import Law, check_dtype, dense, lazy, measure, randomness_of
from tpbench.networks.wide_sgd import WideSGD
from tpbench.parametrization import Parametrization, Role, named, scale
from tpbench.weights.innovations import Innovations, MonteCarlo
from tpbench.weights.matrix import LazyMatrix

BASE_WIDTH = 64


@dataclass(frozen=True)
class Kind:
    """The dtype of floating point tensors and the device that were asked for; None leaves them as they are."""

    dtype: torch.dtype | None
    device: torch.device | None

    def __post_init__(self) -> None:
        if self.dtype is not None:
            check_dtype(self.dtype, "dtype=")

    def like(self, base: Tensor) -> tuple[torch.dtype, torch.device]:
        """Return the dtype and device of what takes the place of ``base``."""
        dtype = base.dtype if self.dtype is None or not base.is_floating_point() else self.dtype
        return dtype, base.device if self.device is None else self.device


class Entries(Protocol):
    """A parameter of a wide model: its law, or the factor on its own values where it has none."""

    @property
    def name(self) -> str: ...
    @property
    def growth(self) -> Growth: ...
    @property
    def law(self) -> Law | None: ...
    @property
    def factor(self) -> float: ...
    @property
    def lazy(self) -> bool: ...


@dataclass(frozen=True)
class Part:
    """What was made of one parameter: ``law`` is that of its entries, ``rate`` its learning rate relative to the
    optimizer's, ``factor`` the parametrization's (n/n0)^-(a+b), contained in the law.

    Without a law, it does not grow with the width, and keeps the values that the model gave it, times the factor.
    """

    name: str
    growth: Growth
    role: Role
    law: Law | None
    factor: float
    rate: float

    @property
    def lazy(self) -> bool:
        """Whether the parameter is a lazy matrix."""
        return len(self.growth.axes) == 2


@dataclass(frozen=True)
class Wide:
    """A widened model: ``model`` trains like any other, with the optimizer of ``sgd``; ``parts`` tell what was done."""

    model: nn.Module
    width: int
    base_width: int
    parts: tuple[Part, ...]

    def sgd(self, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> WideSGD:
        """Return the optimizer of the model, with the parametrization's learning rate for every parameter.

        ``lr`` is that of the base width. Weight decay is divided by a parameter's factor of the rate, so that a step
        shrinks every weight by 1 - lr · weight_decay at every width.
        """
        rates = {part.name: part.rate for part in self.parts}
        groups: dict[float, list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if name not in rates:
                raise ValueError(f"{name} was added to the model after widening: give it to an optimizer of its own")
            groups.setdefault(rates[name], []).append(parameter)
        settings = [
            {"params": parameters, "lr": lr * rate, "weight_decay": weight_decay / rate}
            for rate, parameters in groups.items()
        ]
        return WideSGD(settings, lr=lr, momentum=momentum)

    def materialise(self) -> nn.Module:
        """Return a plain copy of the model as it is now, with dense matrices: O(width²) memory.

        It asks the wide model for everything, which holds bases of full rank from then on: O(width²) memory and time
        a product there, too. Take the copy last.
        """
        whole: dict[int, Any] = {
            id(matrix): nn.Parameter(matrix.materialise(), matrix.requires_grad)
            for matrix in self.model.parameters()
            if isinstance(matrix, LazyMatrix)
        }
        return copy.deepcopy(self.model, whole)


def widen(
    model: nn.Module | Factory,
    *,
    width: int,
    base_width: int | None = None,
    parametrization: str | Parametrization = "mup",
    seed: int = 0,
    innovations: Innovations | None = None,
    stds: Mapping[str, float] | None = None,
    roles: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Wide:
    """Return a model at ``width``, with lazy width × width weights, equal in law to a dense one.

    ``model`` is a factory, a function of the width that returns a module, or a module of width ``base_width``
    (default 64; needed for a module) whose width-sized parts are nn.Linear, nn.LayerNorm, nn.Embedding or parameters
    of its own modules. Its code stays as it is, but uses its width × width weights in ``F.linear`` and ``@`` only, and
    holds no factor of the width of its own: ``/ width**0.5`` in ``forward`` would come on top of the parametrization's,
    so write ``/ BASE**0.5`` with a constant. Only width × width weights may be used both ways, W and W.T: a read-in
    that is used as the read-out, too, has two roles, and no one scaling is right for both.

    Parameters that grow along both axes are *hidden* weights and become lazy; those that grow along the axis of a
    layer's output, and vectors, are *input* weights, those that grow along its input's axis *output* weights. The
    parametrization's factors of width, relative to the base width, all go into the initial standard deviation,
    (n/n0)^-(a+b), and the learning rate, (n/n0)^-(c+2a): the abc symmetry with multiplier 1. What does not grow
    keeps its values, with the exponents of an output's bias.

    Initial entries that grow are independent Gaussians with the second moment of the model's own at the base width
    (pooled over fresh models where there is a factory), uniform and orthogonal ones, too. Constants stay constants.
    ``stds`` gives a parameter a standard deviation at the base width by name, ``roles`` a role where it cannot be
    seen. ``dtype`` (float32 or float64) and ``device`` are the model's own unless given.

    ``innovations`` (default ``MonteCarlo([seed])``) make the draws, and torch's global generator stays as it was. As
    entries are drawn when they are asked for, the network is decided by ``seed`` and the order of all questions,
    evaluations included: one evaluation more gives another network of the same law. Every input that is new to a lazy
    matrix stays in memory, under ``no_grad`` as well.

    Raises ``ValueError`` where a model does not fit this, and says what to change; ``TypeError`` for a broken width.
    """
    kind = Kind(dtype, None if device is None else torch.device(device))
    width, base_width = _whole("width", width), None if base_width is None else _whole("base_width", base_width)
    table = named(parametrization) if isinstance(parametrization, str) else parametrization
    source = MonteCarlo([seed]) if innovations is None else innovations
    if len(source.seeds) != 1:
        raise ValueError(f"a module is one network, and these innovations are for {len(source.seeds)}: give one seed")
    family = _family(model, base_width, width)
    with randomness_of(seed, "base model", torch.device("cpu")):
        base = _built(family, family.base_width)
    probe, wide = (_shapes(family, size, seed) for size in (2 * family.base_width, width))
    found = growths(base, probe, wide, (width, family.base_width))
    parts = _parts(base, found, family, table, width, stds or {}, roles or {})
    fill(wide, base, parts, found, source, kind)
    return Wide(wide, width, family.base_width, tuple(parts))


def _whole(name: str, number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError as error:
        raise TypeError(f"{name} is a whole number of neurons, got {number!r}: say {name}=int(…)") from error


def _family(model: nn.Module | Factory, base_width: int | None, width: int) -> Family:
    if width < 1 or (base_width is not None and base_width < 1):
        raise ValueError(f"a width is at least 1: got width {width} and base width {base_width}")
    if isinstance(model, nn.Module):
        if base_width is None:
            raise ValueError("a module was given without its width: say base_width=…, or give a factory of the width")
        return family_of(model, base_width)
    if not callable(model):
        raise TypeError(f"widen takes a torch module or a function of the width that returns one, got {model!r}")
    return Family(model, BASE_WIDTH if base_width is None else base_width, fresh=True)


def _built(family: Family, width: int) -> nn.Module:
    model = family.at(width)
    if not isinstance(model, nn.Module):
        raise TypeError(f"the factory returned {model!r} for width {width}, not a torch module")
    return model


def _shapes(family: Family, width: int, seed: int) -> nn.Module:
    """Return the model with tensors that have shapes but no values, and so take no memory at any width."""
    try:
        with randomness_of(seed, "base model", META):
            return _built(family, width)
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"the factory fails at width {width} on torch's meta device, where tensors have shapes but no values and "
            "take no memory: leave moving to a device to widen's device=, and anything that reads values, or draws "
            f"with a generator, out of it ({error})"
        ) from error


def _parts(
    base: nn.Module,
    found: Mapping[str, Growth],
    family: Family,
    table: Parametrization,
    width: int,
    stds: Mapping[str, float],
    told: Mapping[str, str],
) -> list[Part]:
    roles = roles_of(base, found, told)
    names = [name for name, _ in base.named_parameters()]
    growing = {name: found[name] for name in names if found[name].axes}
    check_names(stds, growing, "stds", "parameter that grows")
    if any(std < 0 for std in stds.values()):
        raise ValueError(f"a standard deviation is at least 0, got stds={dict(stds)}")
    laws = measure(family, [name for name in growing if name not in stds])
    laws |= {name: Law(0.0, std) for name, std in stds.items()}
    parts = []
    for name in names:
        factors = scale(table, roles[name], width, family.base_width)
        factor, rate = factors.multiplier * factors.std, factors.rate * factors.multiplier**2
        law = laws[name].times(factor) if name in laws else None
        parts.append(Part(name, found[name], roles[name], law, factor, rate))
    return parts


def fill(
    wide: nn.Module,
    base: nn.Module,
    parts: Sequence[Entries],
    found: Mapping[str, Growth],
    source: Innovations,
    kind: Kind,
) -> None:
    """Put tensors with values in the place of those of ``wide``, which have shapes only.

    What does not grow keeps the values of ``base``. Raises ``ValueError`` for a buffer that grows and is not constant.
    """
    made = {part.name: _parameter(part, base.get_parameter(part.name), source, kind) for part in parts}
    made |= {name: _buffer(name, found[name], buffer, kind) for name, buffer in base.named_buffers()}
    names: dict[int, str] = {}
    for name, tensor in named_tensors(wide):
        names.setdefault(id(tensor), name)
    for module in wide.modules():
        for attribute, tensor in own_tensors(module):
            setattr(module, attribute, made[names[id(tensor)]])
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and value.is_meta:
                raise ValueError(
                    f"{attribute} of {type(module).__name__} is a tensor that torch does not know as part of the "
                    "model: make it a parameter, or a buffer with register_buffer"
                )


def _parameter(part: Entries, base: Tensor, source: Innovations, kind: Kind) -> Tensor:
    dtype, device = kind.like(base)
    if part.law is None:
        return nn.Parameter(base.detach().to(device, dtype, copy=True).mul_(part.factor), base.requires_grad)
    if part.lazy:
        rows, columns = part.growth.shape
        made = lazy(part.name, part.law, (rows, columns), source, dtype=dtype, device=device)
        return made.requires_grad_(base.requires_grad)
    return nn.Parameter(dense(part.law, part.growth, source, dtype=dtype, device=device), base.requires_grad)


def _buffer(name: str, growth: Growth, base: Tensor, kind: Kind) -> Tensor:
    dtype, device = kind.like(base)
    if not growth.axes:
        return base.detach().to(device, dtype, copy=True)
    first = base.flatten()[0]
    if not bool((base == first).all()):
        raise ValueError(
            f"the buffer {name} grows with the width and is not constant, so what it would be at a larger one is not "
            "known: compute it in forward(), or make it a parameter"
        )
    return torch.full(growth.shape, first.item(), dtype=dtype, device=device)
