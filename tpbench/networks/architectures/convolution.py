"""Convolutional networks over one or two axes of positions, stride 1."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.architecture import Convolution
from tpbench.networks.architectures.elementwise import elementwise
from tpbench.networks.architectures.maps import Maps

FIRST = 2
"""The first axis of positions, after seeds and examples."""


def convolution(a: Convolution, maps: Maps, x: Tensor) -> Tensor:
    """``h^1 = conv(x)``, ``h^{l+1} = conv(phi(h^l))``, ``f = lin`` of all positions' channels or of their mean.

    x is (seed, example, position, channel), or (seed, example, height, width, channel).
    """
    phi, lin = elementwise(a.activation), partial(maps.linear, sigma_w=a.sigma_w, sigma_b=a.sigma_b)
    h = lin("1", windows(x, a), maps.width)
    for layer in range(2, a.depth + 1):
        h = lin(str(layer), windows(phi(h), a), maps.width)
    last = phi(h).flatten(FIRST, -2)
    read = last.mean(FIRST) if a.readout == "mean" else last.flatten(FIRST)
    return lin(str(a.depth + 1), read, maps.outputs)


def windows(x: Tensor, a: Convolution) -> Tensor:
    """Return what the filter sees around every position, in the place of the channels: (offset, channel), flattened.

    Offsets are in the order of a filter's entries, as PyTorch's convolutions have them.
    """
    offsets = list(product(*(range(-(size // 2), size // 2 + 1) for size in a.filter)))
    axes = tuple(range(FIRST, FIRST + len(a.filter)))
    if a.padding == "circular":
        return torch.cat([x.roll([-step for step in offset], axes) for offset in offsets], dim=-1)
    margins = [size // 2 for size in a.filter]
    padded = functional.pad(x, (0, 0, *(margin for size in reversed(margins) for margin in (size, size))))
    seen = []
    for offset in offsets:
        part = padded
        for axis, margin, step in zip(axes, margins, offset, strict=True):
            part = part.narrow(axis, margin + step, x.shape[axis])
        seen.append(part)
    return torch.cat(seen, dim=-1)
