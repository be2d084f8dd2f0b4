"""The empirical kernels of an ensemble from its forward pass and one backward pass: dense or lazy, no Jacobian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tpbench.networks.architectures import Network, Use
from tpbench.networks.tangent.contraction import Places, contracted, least_operations


def structured(network: Network, inputs: Tensor, output: int, *, way: str | None = None) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) as ``empirical_kernels`` does; ``way`` forces a contraction (see ``contraction.WAYS``)."""
    f, uses = network.recorded(inputs)
    signals = _signals(f[..., output], uses, mixes=network.mixes_examples)
    kernel = f.new_zeros((f.shape[0], f.shape[1], f.shape[1]), dtype=torch.float64)
    for use, places in _maps(uses, signals, mixes=network.mixes_examples):
        kernel += use.multiplier**2 * contracted(places, way)
        if use.bias_multiplier > 0:
            whole = places.g.sum(2)
            kernel += use.bias_multiplier**2 * (whole @ whole.mT)
    return conditional_covariance(uses[-1]), kernel


def structured_operations(uses: Sequence[Use], forward: int, *, mixes: bool) -> int:
    """Return what ``structured`` costs, from the shapes of all uses and the operations of the forward pass.

    A backward pass in inputs costs as much as a forward pass. Uses on the meta device hold no memory.
    """
    examples = uses[0].y.shape[1]
    products = [use.y.detach() for use in uses]
    signals = [y[:, None].expand(-1, examples, *y.shape[1:]) if mixes else y for y in products]
    found = forward * (1 + (examples if mixes else 1))
    for use, places in _maps(uses, signals, mixes=mixes):
        found += least_operations(places)
        if use.bias_multiplier > 0:
            found += 2 * places.g.shape[0] * examples**2 * places.g.shape[3]
    return found + 2 * uses[-1].x.shape[0] * examples**2 * uses[-1].x.shape[-1]


def _maps(uses: Sequence[Use], signals: Sequence[Tensor], *, mixes: bool) -> Iterator[tuple[Use, Places]]:
    """Yield the first use of every map, and the places of all its uses."""
    named: dict[str, list[int]] = {}
    for index, use in enumerate(uses):
        named.setdefault(use.name, []).append(index)
    for same in named.values():
        yield uses[same[0]], _places([uses[i] for i in same], [signals[i] for i in same], mixes=mixes)


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
