"""The linear maps of a network, apart from its text: who supplies them decides what running the text means.

An architecture's text names its maps, and the same name is the same weights. ``Weights`` draws a map when its name is
first used, dense or lazy; ``Recorder`` writes down every use on the way; ``Given`` reads weights from a dict, for
``torch.func``. Tensors have shape (seed, example, …, channel); ``lin(x) = σ_w/sqrt(fan-in) w x + σ_b b``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tpbench.weights import Axes, DenseGaussian, GaussianWeights, Innovations, LazyGaussian
from tpbench.weights.gaussian import standard_normal


class Maps(Protocol):
    """What an architecture's text may ask of who runs it."""

    @property
    def width(self) -> int:
        """The number n of neurons of every hidden layer."""

    @property
    def outputs(self) -> int:
        """The number of outputs."""

    @property
    def readable(self) -> bool:
        """Whether the values of tensors may be read, to check them."""

    def linear(self, name: str, x: Tensor, out: int, *, sigma_w: float, sigma_b: float) -> Tensor:
        """Return lin(x), (seed, example, …, out), by the weights called ``name``."""


@dataclass(frozen=True)
class Map:
    """The weights of one name: w ~ N(0, 1), (seed, out, in), and the bias b ~ N(0, 1), (seed, 1, out), if there is."""

    weights: GaussianWeights
    bias: Tensor | None


@dataclass(frozen=True)
class Source:
    """How weights are drawn; a seed's do not depend on the ensemble it is in. Without innovations they are dense."""

    seeds: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    innovations: Innovations | None = None


@dataclass(frozen=True)
class Weights:
    """The weights of an ensemble, drawn when a name is first used and kept: the text says what there is.

    With innovations a map between vectors whose sizes are multiples of the width is lazy; all vectors of ``width``
    neurons live on one axis, since residuals and recurrences add vectors of different layers.
    """

    source: Source
    width: int
    outputs: int
    drawn: dict[str, Map] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        """True but on the meta device."""
        return self.source.device.type != "meta"

    def linear(self, name: str, x: Tensor, out: int, *, sigma_w: float, sigma_b: float) -> Tensor:
        """Return lin(x); its gradient in x is ``Wᵀ g``, by the lazy engine where the map is lazy.

        Raises ``ValueError`` where the name is that of weights of another shape.
        """
        fan_in = x.shape[-1]
        owned = self._owned(name, out, fan_in, biased=sigma_b > 0)
        rows = x.reshape(x.shape[0], -1, fan_in)
        y = _Linear.apply(rows, owned, sigma_w / math.sqrt(fan_in), sigma_b)  # type: ignore[no-untyped-call]
        return cast(Tensor, y).view(*x.shape[:-1], out)

    def _owned(self, name: str, out: int, fan_in: int, *, biased: bool) -> Map:
        if name not in self.drawn:
            self.drawn[name] = Map(self._gaussian(name, out, fan_in), None)
        found = self.drawn[name]
        if found.weights.shape[1:] != (out, fan_in):
            had = found.weights.shape[1:]
            raise ValueError(
                f"the map {name!r} is {had[0]} × {had[1]} and was asked to be {out} × {fan_in}: a network's inputs "
                "keep their shape; make a new network for another"
            )
        if biased and found.bias is None:
            found = self.drawn[name] = replace(found, bias=self._bias(name, out))
        return found

    def _gaussian(self, name: str, out: int, fan_in: int) -> GaussianWeights:
        source = self.source
        if source.innovations is None or out % self.width or fan_in % self.width:
            drawn = standard_normal(
                source.seeds, f"weight {name}", (out, fan_in), dtype=source.dtype, device=source.device
            )
            return DenseGaussian(drawn)
        axes = Axes(out=self._axis(f"out of {name}", out), into=self._axis(f"into {name}", fan_in))
        return LazyGaussian(
            (out, fan_in),
            std=1.0,
            innovations=source.innovations,
            axes=axes,
            dtype=source.dtype,
            device=source.device,
        )

    def _axis(self, name: str, size: int) -> str:
        return "neurons" if size == self.width else name

    def _bias(self, name: str, out: int) -> Tensor:
        source = self.source
        return standard_normal(source.seeds, f"bias {name}", (out, 1), dtype=source.dtype, device=source.device).mT


class _Linear(torch.autograd.Function):
    """``y = scale · w x + σ_b b`` for rows x (seed, row, in), with the gradient ``scale · wᵀ g``; weights have none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, owned: Map, scale: float, sigma_b: float) -> Tensor:
        ctx.weights, ctx.scale = owned.weights, scale
        y = owned.weights.matmul(x.detach(), scale=scale)  # drawing lazy answers leaves the mode without gradients
        return y if owned.bias is None or sigma_b == 0.0 else y.add_(owned.bias, alpha=sigma_b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.weights.transposed_matmul(gradient.detach().contiguous(), scale=ctx.scale), None, None, None


@dataclass(frozen=True)
class Use:
    """One product on the way: ``y = multiplier · w x + bias_multiplier · b`` by the weights called ``name``.

    x is (seed, example, …, in) and y (seed, example, …, out), which autograd can be asked for gradients of.
    """

    name: str
    x: Tensor
    y: Tensor
    multiplier: float
    bias_multiplier: float


@dataclass(frozen=True)
class Recorder:
    """Maps that run ``weights`` and keep every use in ``uses``, in order; the read-out's is the last."""

    weights: Weights
    uses: list[Use] = field(default_factory=list)

    @property
    def width(self) -> int:
        """That of the weights."""
        return self.weights.width

    @property
    def outputs(self) -> int:
        """That of the weights."""
        return self.weights.outputs

    @property
    def readable(self) -> bool:
        """That of the weights."""
        return self.weights.readable

    def linear(self, name: str, x: Tensor, out: int, *, sigma_w: float, sigma_b: float) -> Tensor:
        """Return lin(x) and record the use; y is part of autograd's graph even where x is not, as in first layers."""
        y = self.weights.linear(name, x, out, sigma_w=sigma_w, sigma_b=sigma_b)
        if not y.requires_grad:
            y.requires_grad_()
        self.uses.append(Use(name, x.detach(), y, sigma_w / math.sqrt(x.shape[-1]), sigma_b))
        return y


@dataclass(frozen=True)
class Given:
    """Maps of one network whose weights are given: ``weight NAME`` (out, in), ``bias NAME`` (out,).

    Plain PyTorch, so that ``torch.func`` can differentiate and vectorise it; the seed axis has size 1. Values are not
    read: under ``torch.func`` they cannot be.
    """

    parameters: Mapping[str, Tensor]
    width: int
    outputs: int
    readable: bool = False

    def linear(self, name: str, x: Tensor, out: int, *, sigma_w: float, sigma_b: float) -> Tensor:
        """Return lin(x); ``KeyError`` for weights that were not given."""
        y = x @ self.parameters[f"weight {name}"].mT * (sigma_w / math.sqrt(x.shape[-1]))
        return y + sigma_b * self.parameters[f"bias {name}"] if sigma_b > 0 else y


def materialised(weights: Weights) -> Weights:
    """Return the same weights, all of them dense; lazy ones are asked for all of themselves."""
    dense = {
        name: replace(owned, weights=DenseGaussian(owned.weights.materialise()))
        if isinstance(owned.weights, LazyGaussian)
        else owned
        for name, owned in weights.drawn.items()
    }
    return replace(weights, source=replace(weights.source, innovations=None), drawn=dense)


def parameters(weights: Weights, row: int) -> dict[str, Tensor]:
    """Return the weights and biases of the network in a row of the ensemble, as ``Given`` reads them.

    Raises ``TypeError`` where some are lazy: their entries are never formed.
    """
    found: dict[str, Tensor] = {}
    for name, owned in weights.drawn.items():
        if not isinstance(owned.weights, DenseGaussian):
            raise TypeError(f"the map {name!r} is lazy and has no entries to give: use `materialised` weights")
        found[f"weight {name}"] = owned.weights.current[row]
        if owned.bias is not None:
            found[f"bias {name}"] = owned.bias[row, 0]
    return found


def source(
    seeds: Sequence[int], *, device: torch.device, dtype: torch.dtype, innovations: Innovations | None = None
) -> Source:
    """Return how the weights of these seeds are drawn; ``ValueError`` without a seed."""
    if not seeds:
        raise ValueError("an ensemble has at least one seed, got none")
    return Source(tuple(seeds), device, dtype, innovations)
