"""Gradients as factors, and what an optimizer is: the common ground of ``train`` and every optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tpbench.networks.loss import loss
from tpbench.networks.mlp import Ensemble, Trace
from tpbench.parametrization import Role, role_of
from tpbench.weights.interface import GaussianWeights

Step = Callable[[Ensemble, Trace, Sequence[Tensor]], None]
"""One step in place, from a forward pass and the gradients dL/dh^1 … dL/dh^{L+1} of ``backward``."""


class Optimizer(Protocol):
    """How to train: settings without state, as a frozen dataclass.

    ``learning_rate`` is eta; layer l takes eta n^(-c_l). ``batch`` None means the full data, ``loss`` is a name.
    """

    @property
    def learning_rate(self) -> float: ...

    @property
    def batch(self) -> int | None: ...

    @property
    def loss(self) -> str: ...

    def begin(self, ensemble: Ensemble) -> Step:
        """Return the step of one training of this ensemble, which holds whatever the optimizer remembers.

        Raises ``ValueError`` where the optimizer cannot train weights of these kinds.
        """


@dataclass(frozen=True)
class Factors:
    """The gradient ``scale · Σ_b y_b x_bᵀ`` of one weight or bias: y (seed, batch, out), x (seed, batch, in).

    A bias is a weight on the constant 1: its x are ones, (seed, batch, 1). ``rate`` is relative to eta.
    """

    weights: GaussianWeights
    role: Role
    y: Tensor
    x: Tensor
    scale: float
    rate: float


def factors(ensemble: Ensemble, trace: Trace, gradients: Sequence[Tensor]) -> Iterator[Factors]:
    """Yield the gradient of every weight, each followed by that of its layer's bias."""
    for number, (layer, y) in enumerate(zip(ensemble.layers, gradients, strict=True), start=1):
        role = role_of(number, ensemble.mlp.depth)
        yield Factors(layer.weights, role, y, trace.input_of(number), layer.multiplier, layer.rate)
        if layer.bias is not None:
            ones = y.new_ones(()).expand(y.shape[0], y.shape[1], 1)
            of_bias = Role.OUTPUT_BIAS if role is Role.OUTPUT else Role.INPUT
            yield Factors(layer.bias, of_bias, y, ones, layer.bias_multiplier, layer.bias_rate)


def check_settings(name: str, learning_rate: float, weight_decay: float, batch: int | None, loss_name: str) -> None:
    """Raise ``ValueError`` where one of the settings that all optimizers share is impossible."""
    if not 0 < learning_rate < math.inf or not 0 <= weight_decay < math.inf:
        raise ValueError(
            f"{name} needs a learning rate above 0 (and finite), weight decay of at least 0; got {learning_rate} and "
            f"{weight_decay}"
        )
    check_batch(batch)
    loss(loss_name)


def check_batch(batch: int | None) -> None:
    """Raise ``ValueError`` for a batch without examples."""
    if batch is not None and batch < 1:
        raise ValueError(f"a batch has at least 1 example, got {batch}")
