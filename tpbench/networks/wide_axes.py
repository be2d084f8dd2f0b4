"""Which axes of a model's parameters grow with its width, and what role that gives them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tpbench.parametrization import Role, did_you_mean

Factory = Callable[[int], nn.Module]
META = torch.device("meta")

FUSED: tuple[type[nn.Module], ...] = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
"""Modules that hand their weights to kernels that need all entries."""

WRITTEN_AXIS: Mapping[type[nn.Module], int] = {
    nn.Linear: 0,
    nn.Conv1d: 0,
    nn.Conv2d: 0,
    nn.Conv3d: 0,
    nn.ConvTranspose1d: 1,
    nn.ConvTranspose2d: 1,
    nn.ConvTranspose3d: 1,
    nn.Embedding: 1,
    nn.EmbeddingBag: 1,
}
"""The axis of a module's weight that its output lies on."""

RESIZED: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.LayerNorm: ("normalized_shape",),
    nn.RMSNorm: ("normalized_shape",),
    nn.Embedding: ("embedding_dim",),
}
"""Modules whose sizes a model that is not given by a factory may have, and the attributes that hold them."""


@dataclass(frozen=True)
class Family:
    """One architecture at every width: ``at(width)``. ``fresh``: every call draws new initial weights."""

    at: Factory
    base_width: int
    fresh: bool


@dataclass(frozen=True)
class Growth:
    """Shape of a tensor at the wide width, and its axes that grow with the width."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]


def growths(base: nn.Module, probe: nn.Module, wide: nn.Module, ratio: tuple[int, int]) -> dict[str, Growth]:
    """Return the growth of every parameter and buffer by name, the names of tied ones included.

    ``base``, ``probe`` and ``wide`` are one model at its base width, at twice that, and at the wide width; ``ratio`` is
    (width, base width). Raises ``ValueError`` where an axis is neither constant nor proportional to the width.
    """
    found: dict[str, Growth] = {}
    models = [dict(named_tensors(model)) for model in (base, probe, wide)]
    odd = sorted({name for one in models for name in one if any(name not in other for other in models)})
    if odd:
        raise ValueError(f"the factory gives {', '.join(odd)} at some widths only: it must build one architecture")
    for name in models[0]:
        small, double, large = (tuple(model[name].shape) for model in models)
        found[name] = Growth(large, _axes(name, small, double, large, ratio))
    if not any(growth.axes for growth in found.values()):
        raise ValueError(
            f"no parameter of the model grows with its width (base width {ratio[1]}): give a factory that uses its "
            "width, or the base_width that the model has"
        )
    return found


def _axes(
    name: str, small: tuple[int, ...], double: tuple[int, ...], large: tuple[int, ...], ratio: tuple[int, int]
) -> tuple[int, ...]:
    if not len(small) == len(double) == len(large):
        raise ValueError(f"{name} has shapes {small}, {double}, {large} at growing widths: keep its number of axes")
    width, base_width = ratio
    grown = []
    for axis, (one, two, three) in enumerate(zip(small, double, large, strict=True)):
        if two == 2 * one and three * base_width == one * width:
            grown.append(axis)
        elif not one == two == three:
            raise ValueError(
                f"axis {axis} of {name} has {one}, {two} and {three} entries at widths {base_width}, "
                f"{2 * base_width} and {width}: neither constant nor proportional to the width. Split what it joins "
                "into parts that are, such as one nn.Linear for the inputs and one for the neurons"
            )
    return tuple(grown)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers, tied ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module itself, tied ones under each of their names."""
    return [
        *module.named_parameters(recurse=False, remove_duplicate=False),
        *module.named_buffers(recurse=False, remove_duplicate=False),
    ]


def roles_of(model: nn.Module, found: Mapping[str, Growth], told: Mapping[str, str]) -> dict[str, Role]:
    """Return the role of every parameter by name; ``told`` overrides what shapes and modules say.

    Raises ``ValueError`` for a parameter whose role cannot be seen, that cannot be lazy though it grows along two
    axes, or that is tied to one of another role.
    """
    check_names(told, dict(model.named_parameters(remove_duplicate=False)), "roles", "parameter")
    roles: dict[str, Role] = {}
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = model.get_submodule(name.rpartition(".")[0])
        if found[name].axes and isinstance(owner, FUSED):
            raise ValueError(
                f"{name} belongs to {type(owner).__name__}, whose kernel needs all entries of its weights: write the "
                "layer with nn.Linear, a step at a time"
            )
        if len(found[name].axes) > 1 and len(found[name].shape) != 2:
            raise ValueError(
                f"{name} of shape {found[name].shape} grows along axes {found[name].axes}, and only matrices can be "
                "lazy: use nn.Linear layers, or keep all but one of its axes constant"
            )
        roles[name] = _told(name, told[name]) if name in told else _role(name, owner, found[name])
        other = first.setdefault(id(parameter), name)
        if roles[other] is not roles[name]:
            raise ValueError(
                f"{name} ({roles[name]}) and {other} ({roles[other]}) are one tensor with two roles, which wants two "
                "scalings: untie them"
            )
    return roles


def _role(name: str, owner: nn.Module, growth: Growth) -> Role:
    axes, shape = growth.axes, growth.shape
    if not axes:
        return Role.OUTPUT_BIAS
    if len(axes) > 1:
        return Role.HIDDEN
    if len(shape) == 1:
        return Role.INPUT
    written = next((axis for kind, axis in WRITTEN_AXIS.items() if isinstance(owner, kind)), None)
    if written is None:
        raise ValueError(
            f"the shape {shape} of {name} does not tell whether it writes to the neurons or reads from them: say "
            f'roles={{"{name}": "input"}} or roles={{"{name}": "output"}}, or make it an nn.Linear'
        )
    return Role.INPUT if axes[0] == written else Role.OUTPUT


def _told(name: str, word: str) -> Role:
    if word not in list(Role):
        raise ValueError(
            f"roles gives {name} the role {word!r}{did_you_mean(word, {role.value: role for role in Role})}"
        )
    return Role(word)


def check_names(given: Mapping[str, object], known: Mapping[str, object], where: str, what: str) -> None:
    """Raise ``ValueError`` for a name that is not known."""
    for name in given:
        if name not in known:
            raise ValueError(f"{where} names {name!r}, and there is no such {what}{did_you_mean(name, known)}")


def family_of(model: nn.Module, base_width: int) -> Family:
    """Return the architecture of a model that was built at ``base_width``: every axis of that size grows.

    Raises ``ValueError`` where that cannot be seen from the model.
    """
    for name, module in model.named_modules():
        _check_sizes(name or "the model", module, base_width)

    def at(width: int) -> nn.Module:
        wide = copy.deepcopy(model)
        new: dict[int, Tensor] = {}
        for module in wide.modules():
            for attribute in RESIZED.get(type(module), ()):
                setattr(module, attribute, _resized(getattr(module, attribute), base_width, width))
            for name, tensor in own_tensors(module):
                if width != base_width and base_width in tensor.shape:
                    setattr(module, name, new.setdefault(id(tensor), _blank(tensor, base_width, width)))
        return wide

    return Family(at, base_width, fresh=False)


def _resized(size: int | tuple[int, ...], base_width: int, width: int) -> int | tuple[int, ...]:
    if isinstance(size, int):
        return width if size == base_width else size
    return tuple(width if part == base_width else part for part in size)


def _blank(tensor: Tensor, base_width: int, width: int) -> Tensor:
    shape = _resized(tuple(tensor.shape), base_width, width)
    blank = torch.empty(shape, dtype=tensor.dtype, device=META)
    return nn.Parameter(blank, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else blank


_EVERY_MODULE = frozenset(vars(nn.Module()))


def _check_sizes(name: str, module: nn.Module, base_width: int) -> None:
    advice = "give a factory instead of the model: tpbench.widen(lambda width: Model(width), …)"
    for attribute, value in vars(module).items():
        sizes = value if isinstance(value, (tuple, list)) else value.shape if isinstance(value, Tensor) else [value]
        known = attribute in _EVERY_MODULE or attribute in RESIZED.get(type(module), ())
        if not known and any(type(size) is int and size == base_width for size in sizes):
            raise ValueError(
                f"{attribute} of {name} ({type(module).__name__}) is the base width {base_width}, and what it is for "
                f"cannot be seen: {advice}"
            )
    for attribute, tensor in own_tensors(module):
        if any(size > base_width and size % base_width == 0 for size in tensor.shape):
            raise ValueError(
                f"{attribute} of {name} has shape {tuple(tensor.shape)}, and whether a multiple of the base width "
                f"{base_width} grows with the width cannot be seen: {advice}"
            )
