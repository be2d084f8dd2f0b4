"""Inner products of few very long vectors."""

from __future__ import annotations

import torch
from torch import Tensor

LONG, CHUNK = 2**15, 2**13


def inner(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x yᵀ``: x (seed, a, size) and y (seed, b, size) give (seed, a, b).

    A general matrix product splits a and b among threads and walks the whole length for each part; of few long
    vectors it reads memory well below its speed. Long ones are cut into chunks that stay in cache, all chunks are one
    batched product, and their sum is also less rounded.
    """
    size = x.shape[2]
    if size < LONG or x.device.type != "cpu":
        return torch.bmm(x, y.mT)
    return torch.stack([_long(a, b) for a, b in zip(x, y, strict=True)])


def _long(x: Tensor, y: Tensor) -> Tensor:
    whole = x.shape[1] // CHUNK * CHUNK
    parts = torch.bmm(_chunks(x[:, :whole]), _chunks(y[:, :whole]).mT).sum(0)
    return parts if whole == x.shape[1] else parts.addmm_(x[:, whole:], y[:, whole:].mT)


def _chunks(x: Tensor) -> Tensor:
    """Return x (a, size) as (chunk, a, CHUNK), without a copy."""
    return x.view(len(x), x.shape[1] // CHUNK, CHUNK).transpose(0, 1)
