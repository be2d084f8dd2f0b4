"""What is recorded of PyTorch code at one width: operations on numbered tensors, and the numbers that were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
ALIAS = "alias"
"""An operation of ours: a tensor that shares another's storage and shape, made where no mode can see it."""
DEFAULT_WIDTHS = (8, 12, 20)


class TraceWarning(UserWarning):
    """A program whose limit says little about widths that can be reached; the message has the line and the width."""


class TraceError(ValueError):
    """PyTorch code is no Tensor Program, or not one that ``trace`` can write: the message names the operation."""


@dataclass(frozen=True)
class Ref:
    """A tensor of a recording, by its number."""

    index: int


@dataclass(frozen=True, eq=False)
class Op:
    """An operation that was run: its name without overload, arguments with tensors as ``Ref``, and what it returned.

    ``inplace`` is the tensor that it wrote into; ``view`` says that it returned an alias. ``values`` are the numbers
    it left in its outputs, kept where they may be constants or draws. ``where`` is the line of the user's code.
    ``source`` is, for random draws, the state of the generator before it: equal states give equal numbers.
    """

    name: str
    arguments: Mapping[str, Any]
    outputs: tuple[Ref | None, ...]
    inplace: Ref | None
    view: bool
    values: Mapping[int, Array]
    where: str
    source: bytes | None = None

    def __str__(self) -> str:
        return f"aten.{self.name}{'_' if self.inplace else ''} ({self.where})"


@dataclass
class Recording:
    """The code at one width.

    ``leaves`` are tensors from outside; ``asked`` and ``named`` are outputs and parameters, ``found`` the numbers of
    the outputs. ``built`` is how many operations the model's making took.
    """

    width: int
    ops: list[Op] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    leaves: dict[int, Array] = field(default_factory=dict)
    asked: dict[str, Ref] = field(default_factory=dict)
    named: dict[str, Ref] = field(default_factory=dict)
    found: dict[str, Array] = field(default_factory=dict)
    built: int = 0
