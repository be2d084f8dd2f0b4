"""Standard normal tensors with one random stream a seed and a name, whatever ensemble the seed is drawn in."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def generator(seed: int, stream: str) -> torch.Generator:
    """Return the generator of one seed's stream: different names and different seeds are independent."""
    if seed < 0:
        raise ValueError(f"a seed is a whole number from 0, got {seed}")
    state = np.random.SeedSequence([seed, zlib.crc32(stream.encode())]).generate_state(1, np.uint64)[0]
    return torch.Generator(device="cpu").manual_seed(int(state) & (2**63 - 1))


def standard_normal(
    seeds: Sequence[int],
    stream: str,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return independent N(0, 1) entries, shape (seed, *shape).

    They are drawn on the CPU whatever the device, so that every device sees the same network.
    """
    drawn = torch.empty((len(seeds), *shape), dtype=dtype, device=torch.device("cpu"))
    for row, seed in zip(drawn, seeds, strict=True):
        row.normal_(generator=generator(seed, stream))
    return drawn.to(device)
