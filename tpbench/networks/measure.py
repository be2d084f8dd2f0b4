"""Measurements of an ensemble at one moment of training: sizes, movements, kernels. One number a seed and layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.networks.mlp import Ensemble, Trace, backward, forward


@dataclass(frozen=True)
class Measured:
    """A quantity of one layer for every seed: values (seed,), float64, on the CPU."""

    quantity: str
    layer: int
    values: Tensor


def rms(x: Tensor) -> Tensor:
    """Return the root mean square over batch and coordinates, (seed,), accumulated in float64."""
    return x.to(torch.float64).square().mean(dim=(1, 2)).sqrt().cpu()


def sizes(ensemble: Ensemble, trace: Trace) -> Iterator[Measured]:
    """Yield the RMS of every pre-activation and activation; the read-out's pre-activation is ``output``."""
    for layer in range(1, ensemble.mlp.depth + 1):
        yield Measured("preactivation", layer, rms(trace.preactivation(layer)))
        yield Measured("activation", layer, rms(trace.activations[layer - 1]))
    yield Measured("output", ensemble.mlp.depth + 1, rms(trace.output))


def movements(ensemble: Ensemble, start: Trace, now: Trace) -> Iterator[Measured]:
    """Yield Δh, Δx, ΔW x and W_0 Δx of every layer since ``start``, on the same inputs.

    ``ΔW^l x^{l-1}`` takes x at the current step and ``W_0^l Δx^{l-1}`` the initial weight, so that
    ``Δh = ΔW x + W_0 Δx`` exactly, but for biases. Needs an ensemble that keeps its initial weights.
    """
    for number, layer in enumerate(ensemble.layers, start=1):
        last = number == ensemble.mlp.depth + 1
        change = now.preactivation(number) - start.preactivation(number)
        yield Measured("output-change" if last else "preactivation-change", number, rms(change))
        if not last:
            moved = now.activations[number - 1] - start.activations[number - 1]
            yield Measured("activation-change", number, rms(moved))
        update = layer.weights.update_matmul(now.input_of(number), scale=layer.multiplier)
        yield Measured("weight-update", number, rms(update))
        if number > 1:
            propagated = layer.weights.initial_matmul_of_change(
                now.input_of(number), start.input_of(number), scale=layer.multiplier
            )
            yield Measured("initial-weight-on-change", number, rms(propagated))


def tangent_kernel(ensemble: Ensemble, inputs: Tensor, output: int = 0) -> Tensor:
    """Return the empirical tangent kernel of one output, a layer apart: (seed, layer, batch, batch), float64.

    ``K_l(x, x') = rate_l · Σ_{parameters of l} ∂f(x)/∂w ∂f(x')/∂w``: the kernel by which one step of gradient
    descent moves the output, relative to eta; the sum over layers is the NTK under NTP (Jacot et al. 2018,
    arXiv:1806.07572). Each term is a Hadamard product of two Gram matrices, so no Jacobian is ever formed.
    """
    trace = forward(ensemble, inputs)
    pick = torch.zeros_like(trace.output)
    pick[:, :, output] = 1.0
    signals = backward(ensemble, trace, pick)
    terms = []
    for number, (layer, signal) in enumerate(zip(ensemble.layers, signals, strict=True), start=1):
        x, g = (tensor.to(torch.float64) for tensor in (trace.input_of(number), signal))
        backward_gram = g @ g.mT
        term = layer.rate * layer.multiplier**2 * (x @ x.mT) * backward_gram
        if layer.bias is not None:
            term += layer.bias_rate * layer.bias_multiplier**2 * backward_gram
        terms.append(term)
    return torch.stack(terms, dim=1)
