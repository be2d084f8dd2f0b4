"""Architectures to test on, and a second, plain implementation of each: nn.functional and autograd, one seed at a time.

The twin shares no code with tpbench.networks, only the initial numbers, so that a common mistake cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.architecture import (
    Architecture,
    Attention,
    BatchNormalised,
    Convolution,
    LayerNormalised,
    Perceptron,
    Recurrent,
    Residual,
)
from tpbench.networks.architectures import Network, initial

CPU = torch.device("cpu")
WIDTH = 7  # divides the size of no input
CASES: dict[str, tuple[Architecture, tuple[int, ...]]] = {
    "mlp": (Perceptron(3, "gelu", 1.3, 0.4), (4, 5)),
    "mlp-shallow": (Perceptron(1, "relu", 1.3), (4, 5)),
    "residual": (Residual(3, "tanh", 1.2, 0.3, branch=0.7), (4, 5)),
    "rnn-mean": (Recurrent("tanh", 1.4, 0.3), (3, 4, 2)),
    "rnn-last": (Recurrent("erf", 1.4, 0.0, readout="last"), (3, 4, 2)),
    "rnn-fresh": (Recurrent("tanh", 1.4, 0.3, tied=False), (3, 4, 2)),
    "conv1d-flatten": (Convolution(2, "erf", 1.2, 0.3), (3, 4, 2)),
    "conv1d-mean-zero": (Convolution(3, "tanh", 1.2, 0.3, (5,), "mean", "zero"), (3, 4, 2)),
    "conv2d-mean": (Convolution(2, "tanh", 1.2, 0.0, (3, 3), "mean"), (3, 3, 4, 2)),
    "conv2d-flatten-zero": (Convolution(2, "relu", 1.2, 0.3, (1, 5), "flatten", "zero"), (3, 2, 3, 2)),
    "layernorm": (LayerNormalised(3, "tanh", 1.2, 0.3), (4, 5)),
    "batchnorm": (BatchNormalised(3, "tanh", 1.2, 0.3), (5, 4)),
    "batchnorm-constant": (BatchNormalised(3, "tanh", 1.2, 0.3, statistics="constant"), (5, 4)),
    "attention-tied": (Attention(2, "gelu", 1.6, 0.3), (3, 4, 2)),
    "attention-independent": (Attention(1, "tanh", 1.6, 0.3, tied=False), (3, 4, 2)),
}
"""Every architecture with its options, and a shape of inputs."""

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "gelu": functional.gelu,
}


def inputs_of(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return standard normal inputs of a case's shape."""
    source = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(CASES[name][1], generator=source, dtype=torch.float64, device=CPU).to(dtype)


def network_of(
    name: str, *, seeds: tuple[int, ...] = (3, 4), lazy: bool = False, outputs: int = 1, width: int = WIDTH
) -> Network:
    """Return a case's network in float64 on the CPU."""
    return initial(CASES[name][0], width, seeds, lazy=lazy, outputs=outputs, device=CPU, dtype=torch.float64)


Weights = Mapping[str, Tensor]
Linear = Callable[..., Tensor]


def twin(a: Architecture, weights: Weights, x: Tensor) -> Tensor:
    """Return f, (example, out), in plain PyTorch, of the network with these weights: ``weight NAME``, ``bias NAME``."""

    def lin(name: str, x: Tensor, biased: bool = True) -> Tensor:
        bias = a.sigma_b * weights[f"bias {name}"] if biased and a.sigma_b else None
        weight = weights[f"weight {name}"]
        return functional.linear(x, a.sigma_w * weight / weight.shape[1] ** 0.5, bias)

    return TWINS[type(a)](a, weights, lin, x)


def _perceptron(a: Any, weights: Weights, lin: Linear, x: Tensor) -> Tensor:
    h = lin("1", x)
    for layer in range(2, a.depth + 2):
        if isinstance(a, LayerNormalised):
            h = functional.layer_norm(h, h.shape[1:], eps=0.0)
        if isinstance(a, BatchNormalised):
            measured = h if a.statistics == "differentiated" else h.detach()
            h = (h - measured.mean(0)) / measured.std(0, correction=0)
        if isinstance(a, Residual) and layer <= a.depth:
            h = h + a.branch * lin(str(layer), PHI[a.activation](h))
        else:
            h = lin(str(layer), PHI[a.activation](h))
    return h


def _rnn(a: Any, weights: Weights, lin: Linear, x: Tensor) -> Tensor:
    rows = []
    for sequence in x:
        states: list[Tensor] = []
        for t, s in enumerate(sequence, start=1):
            at = "" if a.tied else f" {t}"
            h = lin(f"input{at}", s)
            if t > 1:
                h = h + lin(f"recurrent{at}", states[-1], False)
            states.append(PHI[a.activation](h))
        rows.append(lin("readout", sum(states) / len(states) if a.readout == "mean" else states[-1]))
    return torch.stack(rows)


def _conv(a: Any, weights: Weights, lin: Linear, x: Tensor) -> Tensor:
    axes = len(a.filter)
    convolve = (functional.conv1d, functional.conv2d)[axes - 1]
    h = x.movedim(-1, 1)
    for layer in range(1, a.depth + 1):
        weight = weights[f"weight {layer}"]
        kernel = weight.view(len(weight), *a.filter, -1).movedim(-1, 1) * a.sigma_w / weight.shape[1] ** 0.5
        margins = [size // 2 for size in reversed(a.filter) for _ in range(2)]
        padded = functional.pad(h, margins, mode="circular" if a.padding == "circular" else "constant")
        bias = a.sigma_b * weights[f"bias {layer}"] if a.sigma_b else None
        h = PHI[a.activation](convolve(padded, kernel, bias))
    read = h.flatten(2).mean(2) if a.readout == "mean" else h.movedim(1, -1).flatten(1)
    return lin(str(a.depth + 1), read)


def _attention(a: Any, weights: Weights, lin: Linear, x: Tensor) -> Tensor:
    h = lin("input", x)
    for block in range(1, a.depth + 1):
        z = PHI[a.activation](h)
        query = lin(f"query {block}", z)
        key = query if a.tied else lin(f"key {block}", z)
        read = functional.scaled_dot_product_attention(query, key, lin(f"value {block}", z), scale=1 / h.shape[-1])
        h = h + lin(f"out {block}", read)
    return lin("readout", PHI[a.activation](h).mean(1))


TWINS: dict[type, Callable[..., Tensor]] = {
    **dict.fromkeys((Perceptron, Residual, LayerNormalised, BatchNormalised), _perceptron),
    Recurrent: _rnn,
    Convolution: _conv,
    Attention: _attention,
}


def twin_jacobians(a: Architecture, weights: Weights, x: Tensor, output: int = 0) -> dict[str, Tensor]:
    """Return the gradient of one output at every example by every weight, (example, entries) each, by autograd."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    f = twin(a, leaves, x)[:, output]
    rows = [torch.autograd.grad(one, list(leaves.values()), retain_graph=True) for one in f]
    return {name: torch.stack([row[i].flatten() for row in rows]) for i, name in enumerate(leaves)}


def gram(jacobians: Mapping[str, Tensor]) -> Tensor:
    """Return the sum over weights of products of gradients, (example, example)."""
    return torch.stack([rows @ rows.mT for rows in jacobians.values()]).sum(0)
