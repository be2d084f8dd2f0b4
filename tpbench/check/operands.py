"""Parameters as a forward pass uses them: the tensor itself, or a view, scaling or combination of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tpbench.weights.matrix import LazyMatrix

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Operand:
    """A tensor made of parameters alone. ``at(parameters)`` is what it would be with other parameters."""

    value: Tensor
    parameters: tuple[str, ...]
    at: Callable[[Parameters], Tensor]

    @staticmethod
    def of_parameter(name: str, parameter: Tensor) -> Operand:
        """Return a parameter itself."""
        return Operand(parameter, (name,), lambda parameters: parameters[name])


class Operands:
    """All operands seen so far in one forward pass, by the ``id`` of their tensors, which it keeps alive."""

    def __init__(self, parameters: Parameters, constants: Sequence[Tensor]) -> None:
        """Begin with the parameters by name; ``constants`` are buffers of the model, which no parameter reaches."""
        self._parameters = parameters
        self._sizes = {name: parameter.numel() for name, parameter in parameters.items()}
        self._known = {id(tensor): Operand.of_parameter(name, tensor) for name, tensor in parameters.items()}
        self._constants = {id(tensor): tensor for tensor in constants}

    def get(self, value: object) -> Operand | None:
        """Return the operand whose tensor this is."""
        return self._known.get(id(value))

    def multiplier(self, operand: Operand) -> float:
        """Return the number by which an operand is its parameter, or a part or view of it; NaN where it is not that.

        It is told by parameters that are all 1 and all 2. Lazy matrices, which have no entries to set, give NaN.
        """
        if len(operand.parameters) != 1:
            return math.nan
        parameter = self._parameters[operand.parameters[0]]
        if operand.value is parameter:
            return 1.0
        if isinstance(parameter, LazyMatrix):
            return math.nan
        ones = torch.ones_like(parameter)
        one, two = (operand.at({operand.parameters[0]: times * ones}).abs() for times in (1.0, 2.0))
        least, most = (float(found) for found in one.aminmax())
        return most if 0 < least == most and torch.equal(two, 2 * one) else math.nan

    def among(self, tensors: Sequence[Tensor]) -> list[Operand]:
        """Return the operands among some tensors, in order."""
        return [self._known[id(tensor)] for tensor in tensors if id(tensor) in self._known]

    def closed(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether tensors are all operands or constants: buffers of the model and numbers."""
        return all(id(one) in self._known or id(one) in self._constants or one.dim() == 0 for one in tensors)

    def derive(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Remember the tensors of ``out = func(*args, **kwargs)``, whose tensors are all operands or constants."""
        found = self.among(tensors_of((args, kwargs)))
        names = {name: None for operand in found for name in operand.parameters}
        largest_first = tuple(sorted(names, key=lambda name: -self._sizes[name]))
        recall = dict(self._known)
        for path, tensor in _paths(out):
            if id(tensor) not in self._known:
                self._known[id(tensor)] = Operand(tensor, largest_first, _replayed(func, args, kwargs, path, recall))


def _replayed(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    path: tuple[int, ...],
    recall: Mapping[int, Operand],
) -> Callable[[Parameters], Tensor]:
    def at(parameters: Parameters) -> Tensor:
        def swap(value: Any) -> Any:
            if isinstance(value, (tuple, list)):
                return type(value)(swap(part) for part in value) if type(value) in (tuple, list) else value
            known = recall.get(id(value)) if isinstance(value, Tensor) else None
            return value if known is None else known.at(parameters)

        out = func(*[swap(value) for value in args], **{name: swap(value) for name, value in kwargs.items()})
        for step in path:
            out = out[step]
        return out  # type: ignore[no-any-return]

    return at


def _paths(out: Any) -> list[tuple[tuple[int, ...], Tensor]]:
    if isinstance(out, Tensor):
        return [((), out)]
    if isinstance(out, (tuple, list)):
        return [((number, *rest), tensor) for number, part in enumerate(out) for rest, tensor in _paths(part)]
    return []


def tensors_of(value: Any) -> list[Tensor]:
    """Return all tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in tensors_of(part)]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in tensors_of(part)]
    return []
