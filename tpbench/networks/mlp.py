"""Multilayer perceptrons as ensembles: every tensor has a leading seed axis, gradients are written by hand.

``h^l = σ_w/sqrt(fan-in) · w^l x^{l-1} + σ_b · b^l``, ``x^l = phi(h^l)``, ``f = h^{L+1}``, for hidden layers
l = 1 … L. The factors of width come from the parametrization, relative to a base width n0 at which all of them are
one network: ``W^l = σ_w/sqrt(d_in) (n/n0)^(-a) w`` for l = 1 and ``σ_w/sqrt(n0) (n/n0)^(-a) w`` after, with
``w ~ N(0, (n/n0)^(-2b))``. NTP is the usual ``σ_w/sqrt(n) w`` at every base width.

Shapes: inputs (batch, in) shared by all seeds, hidden vectors (seed, batch, width), outputs (seed, batch, out).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tpbench.networks.activation import activation
from tpbench.parametrization import Parametrization, Role, Scale, role_of, scale
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.gaussian import standard_normal
from tpbench.weights.innovations import Innovations
from tpbench.weights.interface import GaussianWeights
from tpbench.weights.lazy import ROOM, Axes, LazyGaussian


@dataclass(frozen=True)
class Mlp:
    """The architecture: ``depth`` hidden layers of ``width`` neurons. ``zero_output`` starts the read-out at 0.

    Raises ``ValueError`` for sizes below 1, or an unknown activation.
    """

    inputs: int
    outputs: int
    width: int
    depth: int
    activation: str = "relu"
    bias: bool = False
    sigma_w: float = 1.0
    sigma_b: float = 1.0
    zero_output: bool = False

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"an MLP needs {name} of at least 1, got {getattr(self, name)}")
        if not self.sigma_w > 0 or not self.sigma_b >= 0:
            raise ValueError(f"sigma_w is above 0 and sigma_b at least 0, got {self.sigma_w} and {self.sigma_b}")
        activation(self.activation)

    @property
    def layers(self) -> range:
        """1 … depth + 1; the last is the read-out."""
        return range(1, self.depth + 2)

    def fan(self, layer: int) -> tuple[int, int]:
        """Return (fan_in, fan_out) of a layer."""
        fan_in = self.inputs if layer == 1 else self.width
        return fan_in, self.outputs if layer == self.depth + 1 else self.width

    def constant(self, layer: int, base_width: int) -> float:
        """Return the part of a layer's multiplier that does not depend on the width."""
        return self.sigma_w / math.sqrt(self.inputs if layer == 1 else base_width)


@dataclass(frozen=True)
class Layer:
    """One layer of an ensemble: ``h = multiplier · w x + bias_multiplier · b``; rates are relative to eta."""

    weights: GaussianWeights
    multiplier: float
    rate: float
    bias: DenseGaussian | None = None
    bias_multiplier: float = 0.0
    bias_rate: float = 0.0


@dataclass(frozen=True)
class Ensemble:
    """Networks of one architecture with their weights; ``sgd.step_`` changes the weights in place."""

    mlp: Mlp
    layers: tuple[Layer, ...]
    seeds: tuple[int, ...]

    @property
    def reference(self) -> Tensor:
        """A tensor that tells device and dtype."""
        first = self.layers[0].weights
        assert isinstance(first, DenseGaussian), "the first layer is never lazy"
        return first.current


@dataclass(frozen=True)
class Trace:
    """A forward pass: ``inputs`` x^0, ``preactivations`` h^1 … h^L, ``activations`` x^1 … x^L, ``output`` f.

    Its tensors are buffers that the next pass may overwrite.
    """

    inputs: Tensor
    preactivations: tuple[Tensor, ...]
    activations: tuple[Tensor, ...]
    output: Tensor

    def input_of(self, layer: int) -> Tensor:
        """Return x^{layer-1}."""
        return self.inputs if layer == 1 else self.activations[layer - 2]

    def preactivation(self, layer: int) -> Tensor:
        """Return h^layer; the read-out's is the output."""
        return self.output if layer == len(self.preactivations) + 1 else self.preactivations[layer - 1]


def initialise(
    mlp: Mlp,
    parametrization: Parametrization,
    seeds: Sequence[int],
    *,
    base_width: int = 1,
    device: torch.device,
    dtype: torch.dtype,
    keep_initial: bool = False,
) -> Ensemble:
    """Return an ensemble at initialisation; a seed's weights do not depend on the ensemble it is drawn in."""

    def gaussian(layer: int, std: float) -> GaussianWeights:
        fan_in, fan_out = mlp.fan(layer)
        drawn = standard_normal(seeds, f"weight {layer}", (fan_out, fan_in), dtype=dtype, device=device)
        return DenseGaussian(drawn.mul_(std), keep_initial=keep_initial)

    def bias(layer: int, std: float) -> DenseGaussian:
        drawn = standard_normal(seeds, f"bias {layer}", (mlp.fan(layer)[1], 1), dtype=dtype, device=device)
        return DenseGaussian(drawn.mul_(std), keep_initial=keep_initial)

    return Ensemble(mlp, _build(mlp, parametrization, base_width, gaussian, bias), tuple(seeds))


def initialise_lazy(
    mlp: Mlp,
    parametrization: Parametrization,
    innovations: Innovations,
    *,
    base_width: int = 1,
    device: torch.device,
    dtype: torch.dtype,
    keep_initial: bool = False,
    room: int = ROOM,
    transpose_correction: bool = True,
) -> Ensemble:
    """Return an ensemble whose width × width weights are lazy: the same law as ``initialise``, at any width.

    A network a seed of ``innovations``. The first layer and the read-out are dense, drawn on the axes of the layers
    that they write to and read from. ``room`` is how many queries a side of a lazy matrix has room for at first
    (it grows), ``transpose_correction`` is that of ``LazyGaussian``.
    """
    seeds = innovations.seeds
    draw = partial(innovations.draw, size=mlp.width, dtype=dtype, device=device)

    def gaussian(layer: int, std: float) -> GaussianWeights:
        role = role_of(layer, mlp.depth)
        if role is Role.HIDDEN:
            return LazyGaussian(
                (mlp.width, mlp.width),
                std=std,
                innovations=innovations,
                axes=Axes(out=f"layer {layer}", into=f"layer {layer - 1}"),
                dtype=dtype,
                device=device,
                room=room,
                transpose_correction=transpose_correction,
            )
        reads = role is Role.OUTPUT
        vectors = draw(f"layer {mlp.depth if reads else layer}", mlp.outputs if reads else mlp.inputs).mul_(std)
        return DenseGaussian(vectors if reads else vectors.mT, keep_initial=keep_initial)

    def bias(layer: int, std: float) -> DenseGaussian:
        if layer <= mlp.depth:
            vector = draw(f"layer {layer}", 1).mT
        else:
            vector = standard_normal(seeds, f"bias {layer}", (mlp.outputs, 1), dtype=dtype, device=device)
        return DenseGaussian(vector.mul_(std), keep_initial=keep_initial)

    return Ensemble(mlp, _build(mlp, parametrization, base_width, gaussian, bias), tuple(seeds))


def _build(
    mlp: Mlp,
    parametrization: Parametrization,
    base_width: int,
    weights: Callable[[int, float], GaussianWeights],
    bias: Callable[[int, float], DenseGaussian],
) -> tuple[Layer, ...]:
    """Return the layers, with weights and biases made from a layer's number and standard deviation."""

    def build(layer: int) -> Layer:
        role = role_of(layer, mlp.depth)
        factors = scale(parametrization, role, mlp.width, base_width)
        drawn = weights(layer, 0.0 if mlp.zero_output and role is Role.OUTPUT else factors.std)
        multiplier = mlp.constant(layer, base_width) * factors.multiplier
        if not mlp.bias:
            return Layer(drawn, multiplier, factors.rate)
        bias_role = Role.OUTPUT_BIAS if role is Role.OUTPUT else Role.INPUT
        of_bias: Scale = scale(parametrization, bias_role, mlp.width, base_width)
        added = bias(layer, of_bias.std)
        return Layer(drawn, multiplier, factors.rate, added, mlp.sigma_b * of_bias.multiplier, of_bias.rate)

    return tuple(build(layer) for layer in mlp.layers)


def buffers(ensemble: Ensemble, inputs: Tensor) -> Trace:
    """Return an empty trace for a batch of inputs (batch, in), to be filled by ``forward``."""
    mlp, like = ensemble.mlp, ensemble.reference
    batch = inputs.shape[0]

    def empty(size: int) -> Tensor:
        return like.new_empty((len(ensemble.seeds), batch, size))

    hidden = tuple(empty(mlp.width) for _ in range(mlp.depth))
    return Trace(_shared(inputs, ensemble), hidden, tuple(empty(mlp.width) for _ in hidden), empty(mlp.outputs))


def forward(ensemble: Ensemble, inputs: Tensor, into: Trace | None = None) -> Trace:
    """Run inputs (batch, in) through every network; with ``into``, reuse the buffers of an earlier trace."""
    space = buffers(ensemble, inputs) if into is None else into
    trace = Trace(_shared(inputs, ensemble), space.preactivations, space.activations, space.output)
    phi = activation(ensemble.mlp.activation)
    ones = ensemble.reference.new_ones(()).expand(len(ensemble.seeds), inputs.shape[0], 1)
    for number, layer in enumerate(ensemble.layers, start=1):
        h = layer.weights.matmul(trace.input_of(number), scale=layer.multiplier, out=trace.preactivation(number))
        if layer.bias is not None:
            h.baddbmm_(ones, layer.bias.current.mT, alpha=layer.bias_multiplier)
        if number <= ensemble.mlp.depth:
            phi.apply(h, trace.activations[number - 1])
    return trace


def backward(
    ensemble: Ensemble, trace: Trace, output_gradient: Tensor, into: Sequence[Tensor] | None = None
) -> tuple[Tensor, ...]:
    """Return dL/dh^1 … dL/dh^{L+1} from dL/df, shape (seed, batch, out); the last is ``output_gradient`` itself.

    ``into`` are L buffers like ``trace.preactivations`` that receive the hidden gradients.
    """
    phi = activation(ensemble.mlp.activation)
    space = [torch.empty_like(h) for h in trace.preactivations] if into is None else into
    gradient = output_gradient
    for index in reversed(range(ensemble.mlp.depth)):
        above = ensemble.layers[index + 1]
        gradient = above.weights.transposed_matmul(gradient, scale=above.multiplier, out=space[index])
        phi.pullback_(gradient, trace.preactivations[index], trace.activations[index])
    return (*space, output_gradient)


def parameters(ensemble: Ensemble) -> list[tuple[GaussianWeights, float]]:
    """Return every weight and bias with its learning rate relative to eta, in a fixed order."""
    found: list[tuple[GaussianWeights, float]] = [(layer.weights, layer.rate) for layer in ensemble.layers]
    return found + [(layer.bias, layer.bias_rate) for layer in ensemble.layers if layer.bias is not None]


def _shared(inputs: Tensor, ensemble: Ensemble) -> Tensor:
    if inputs.dim() != 2 or inputs.shape[1] != ensemble.mlp.inputs:
        raise ValueError(
            f"inputs have shape (batch, {ensemble.mlp.inputs}) for this network, got {tuple(inputs.shape)}"
        )
    return inputs.expand(len(ensemble.seeds), *inputs.shape)
