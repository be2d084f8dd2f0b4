"""Windows of a convolution, on kernels over positions in 1 or 2 axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.limits.kernels.layers import Mixing

Wrap = Callable[[Tensor, int, int], Tensor]
"""(kernel, axis counted from the end, reach) -> the kernel with so many more positions on either side of the axis."""


def windows(grid: Sequence[int], filter: Sequence[int], padding: str) -> Mixing:
    """Return the mixing of a convolution with stride 1 over positions that lie in a ``grid`` of 1 or 2 axes.

    With weights w_o for every offset o, independent of each other, the covariance of ``Σ_o w_o y(t + o)`` with
    ``Σ_o w_o y'(s + o)`` is Σ_o K(t + o, s + o): both windows move together. Divided by the filter's size, that is a
    mean, taken axis by axis since a filter is a box. Beyond the edge lies the other side or 0 (``padding``).
    """
    wrap = PADDINGS[padding]
    axes = len(grid)

    def mixing(kernel: Tensor) -> Tensor:
        mixed = kernel.reshape(*kernel.shape[:-2], *grid, *grid)
        for axis, size in enumerate(filter):
            mixed = _along(mixed, axis - 2 * axes, axis - axes, size, wrap)
        return mixed.reshape(kernel.shape)

    return mixing


def _along(kernel: Tensor, first: int, second: int, size: int, wrap: Wrap) -> Tensor:
    """Return the mean over ``size`` offsets of the kernel with both axes, counted from the end, moved alike."""
    reach = size // 2
    length = kernel.shape[first]
    wide = wrap(wrap(kernel, first, reach), second, reach)
    moved = (wide.narrow(first, start, length).narrow(second, start, length) for start in range(size))
    return torch.stack(tuple(moved)).mean(dim=0) if size > 1 else kernel


def _circular(kernel: Tensor, axis: int, reach: int) -> Tensor:
    length = kernel.shape[axis]
    places = torch.arange(-reach, length + reach, device=kernel.device) % length
    return kernel.index_select(axis % kernel.ndim, places)


def _zero(kernel: Tensor, axis: int, reach: int) -> Tensor:
    return functional.pad(kernel, (0, 0) * (-1 - axis) + (reach, reach))


PADDINGS: Mapping[str, Wrap] = {"circular": _circular, "zero": _zero}
