"""The empirical kernels of an ensemble from its forward pass and one backward pass: dense or lazy, no Jacobian."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tpbench.networks.architectures import Network, Use
from tpbench.networks.tangent.contraction import Places, contracted


def structured(network: Network, inputs: Tensor, output: int, *, way: str | None = None) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) as ``empirical_kernels`` does; ``way`` forces a contraction (see ``contraction.WAYS``)."""
    f, uses = network.recorded(inputs)
    signals = _signals(f[..., output], uses, mixes=network.mixes_examples)
    named: dict[str, list[int]] = {}
    for index, use in enumerate(uses):
        named.setdefault(use.name, []).append(index)
    kernel = f.new_zeros((f.shape[0], f.shape[1], f.shape[1]), dtype=torch.float64)
    for same in named.values():
        places = _places([uses[i] for i in same], [signals[i] for i in same], mixes=network.mixes_examples)
        kernel += uses[same[0]].multiplier ** 2 * contracted(places, way)
        bias = uses[same[0]].bias_multiplier
        if bias > 0:
            whole = places.g.sum(2)
            kernel += bias**2 * (whole @ whole.mT)
    return conditional_covariance(uses[-1]), kernel


def conditional_covariance(readout: Use) -> Tensor:
    """Return the covariance of f given all but the read-out, ``σ_w²/fan-in z·z' + σ_b²``, (seed, example, example).

    Given them f is exactly Gaussian, since the read-out's weights are. In float64.
    """
    z = readout.x.to(torch.float64)
    return readout.multiplier**2 * (z @ z.mT) + readout.bias_multiplier**2


def _signals(f: Tensor, uses: Sequence[Use], *, mixes: bool) -> list[Tensor]:
    """Return df/dy of every use: (seed, example, …, out), or where examples mix (seed, example of f, example, …, out).

    Where they do not, the gradient of the sum over examples is that of each, all in one pass.
    """
    products = [use.y for use in uses]
    if not mixes:
        return list(torch.autograd.grad(f.sum(), products))
    each = [torch.autograd.grad(one.sum(), products, retain_graph=True) for one in f.unbind(1)]
    return [torch.stack(of_use, dim=1) for of_use in zip(*each, strict=True)]


def _places(uses: Sequence[Use], signals: Sequence[Tensor], *, mixes: bool) -> Places:
    """Return all uses of one map side by side; where examples mix, the batch's examples are places of each output."""
    x = [_flat(use.x[:, None] if mixes else use.x) for use in uses]
    g = [_flat(signal) for signal in signals]
    if len(uses) == 1:
        return Places(x[0], g[0])
    return Places(torch.cat(x, dim=2), torch.cat(g, dim=2))


def _flat(rows: Tensor) -> Tensor:
    """Return (seed, example, …, size) as (seed, example, place, size) in float64; seeds that share rows still do."""
    seeds, examples, size = rows.shape[0], rows.shape[1], rows.shape[-1]
    shared = rows.stride(0) == 0
    own = (rows[:1] if shared else rows).to(torch.float64)
    flat = own.reshape(own.shape[0], examples, -1, size)
    return flat.expand(seeds, -1, -1, -1)
