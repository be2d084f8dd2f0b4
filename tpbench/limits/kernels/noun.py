"""The two kernels of an infinitely wide network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import TypeVar

A = TypeVar("A", bound=Tensor | NDArray[Any], default=Tensor)
"""Tensors, or NumPy arrays where the inputs were such."""


@dataclass(frozen=True)
class Kernels(Generic[A]):
    """``nngp`` (N1, N2): covariance of the output at initialisation. ``ntk`` (N1, N2): Σ ∂f(x) ∂f(x') over parameters.

    (N,) where only the diagonal was asked for. ``error``: standard errors of both, where the limit is sampled.
    """

    nngp: A
    ntk: A
    error: Kernels[A] | None = None
