"""Scrambled Sobol' points, one dimension after the other and all points of a dimension at once.

Point i of a dimension with direction numbers ``V[k]`` is the exclusive or of ``V[k]`` over the bits k set in i: the
natural order, in which ``x[2^k : 2^(k+1)] = x[: 2^k] ^ V[k]``. A dimension so costs one operation a point and needs no
other dimension. The random linear scramble (Matoušek 1998) multiplies the bits of every point by a lower triangular
matrix over GF(2) with a unit diagonal, and the digital shift adds a random word. Both are linear in the bits, thus only
the ``V[k]`` are scrambled. Every point becomes uniform, every dimension stays a permutation of the intervals
``[i / size, (i+1) / size)`` when size is a power of two, and every set of dimensions keeps its equidistribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.quasirandom import SobolEngine

MAXDIM: int = SobolEngine.MAXDIM
"""Dimensions that have direction numbers of their own (Joe & Kuo 2008)."""

BITS = 52
"""Bits of a point: the mantissa of a float64 number. The table has ``TABLE_BITS``, the scramble adds the rest."""

TABLE_BITS: int = SobolEngine.MAXBIT
WORDS = TABLE_BITS + 1
"""Random words that the scramble of a dimension takes: one for every column of its matrix, one for the shift."""

_ONE = 0x3FF << BITS
_GROUP = 1 << 20

Words = NDArray[np.int64]


def direction_numbers(dimensions: Sequence[int]) -> Words:
    """Return the direction numbers of dimensions below MAXDIM, shape (dimension, TABLE_BITS).

    They are integers below 2^TABLE_BITS; the k-th has nothing below bit k, counted from the top. They are read from
    torch's table, once, and no further than the next power of two.
    """
    return _table(min(MAXDIM, 1 << max(6, max(dimensions).bit_length())))[list(dimensions)]


@lru_cache(maxsize=1)
def _table(dimensions: int) -> Words:
    engine = SobolEngine(dimensions, scramble=False)  # type: ignore[no-untyped-call]
    table: Words = engine.sobolstate.numpy()
    table.setflags(write=False)
    return table


def scrambled(directions: Words, words: Words) -> tuple[Words, Words]:
    """Return scrambled direction numbers of BITS bits, shape (seed, dimension, level), and shifts (seed, dimension).

    ``directions`` are the first levels of ``direction_numbers``, shape (dimension, level), ``words`` uniform BITS-bit
    numbers, shape (seed, dimension, WORDS). Words that are all zero make the identity, and no shift.
    """
    vectors = np.zeros((len(words), *directions.shape), dtype=np.int64)
    # The first so many levels of a Sobol' direction number have only so many leading bits.
    for bit in range(directions.shape[1]):
        diagonal = 1 << (BITS - 1 - bit)
        column = (words[:, :, bit] & (diagonal - 1)) | diagonal
        present = directions >> (TABLE_BITS - 1 - bit) & 1
        vectors ^= column[:, :, None] * present
    return vectors, words[:, :, -1]


def points_(vectors: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """Write the points, integers below 2^BITS plus whatever higher bits the shift has, into ``out`` (..., size)."""
    size = out.shape[-1]
    out[..., 0] = shift
    for level in range((size - 1).bit_length()):
        half = 1 << level
        new = out[..., half : 2 * half]
        torch.bitwise_xor(out[..., : new.shape[-1]], vectors[..., level : level + 1], out=new)
    return out


class SobolAxis:
    """The points of one axis for every seed, each dimension with a scramble of its own.

    Dimension j has the direction numbers ``j mod period``: after the first ``period`` dimensions come blocks that have
    them again with fresh scrambles. So that equal direction numbers do not line up, the points of every later block are
    permuted at random, once for all of its dimensions (Latin supercube sampling, Owen 1998).
    """

    def __init__(self, seeds: Sequence[int], axis: str, *, period: int = MAXDIM) -> None:
        if not 1 <= period <= MAXDIM:
            raise ValueError(f"a block has 1 to {MAXDIM} dimensions, the length of the table, got {period}")
        self._seeds = tuple(seeds)
        self._axis = axis
        self._period = period
        self._streams = [bit_stream(seed, axis, "scramble") for seed in seeds]
        self._order: tuple[int, Tensor] | None = None

    def normals_(self, first: int, out: Tensor) -> None:
        """Write the normals of dimensions ``first``, ``first + 1``, … into ``out`` (seed, count, size), in that order.

        Dimensions are to be asked for in order, since scrambles come from one stream a seed.
        """
        seeds, count, size = out.shape
        if size > 1 << TABLE_BITS:
            raise ValueError(f"an axis has at most 2^{TABLE_BITS} Sobol' points, got {size}: draw Monte Carlo instead")
        start = 0
        while start < count:
            block, place = divmod(first + start, self._period)
            # So many numbers at a time stay in the cache, and little memory is needed besides `out`.
            stop = min(count, start + self._period - place, start + max(1, _GROUP // (seeds * size)))
            self._rows_(block, range(place, place + stop - start), out[:, start:stop])
            start = stop

    def _rows_(self, block: int, dimensions: range, out: Tensor) -> None:
        levels = (out.shape[-1] - 1).bit_length()
        raw = np.stack([stream.random_raw(len(dimensions) * WORDS) for stream in self._streams])
        words = (raw >> (64 - BITS)).view(np.int64).reshape(len(self._seeds), len(dimensions), WORDS)
        vectors, shift = scrambled(direction_numbers(dimensions)[:, :levels], words)
        # With the exponent of 1 in the bits above the point k, the same memory read as float64 is 1 + k 2^-BITS.
        work = out if out.dtype == torch.float64 else torch.empty(out.shape, dtype=torch.float64, device=out.device)
        points = work.view(torch.int64)
        points_(_on(vectors, out), _on(shift | _ONE, out), points)
        if block > 0:
            points.copy_(points.gather(2, self._permutation(block, out).expand_as(points)))
        # 2 (k + 1/2) 2^-BITS - 1: every step is exact, and neither end is reached.
        work.sub_(1.5).mul_(2.0).add_(2.0**-BITS).erfinv_().mul_(2.0**0.5)
        if work is not out:
            out.copy_(work)

    def _permutation(self, block: int, out: Tensor) -> Tensor:
        if self._order is None or self._order[0] != block:
            streams = (bit_stream(seed, self._axis, "order", block) for seed in self._seeds)
            orders = np.stack([np.random.Generator(stream).permutation(out.shape[-1]) for stream in streams])
            self._order = block, _on(orders, out)[:, None]
        return self._order[1]


def bit_stream(seed: int, axis: str, purpose: str, part: int = 0) -> np.random.SFC64:
    """Return the random bits of one seed, axis, purpose (a word) and part; no two of them share a stream."""
    # The whole name as one number, not a checksum; as a spawn key it keeps apart from the seed's own digits.
    name = int.from_bytes(f"{purpose} {axis}".encode(), "big")
    return np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(part, name)))


def _on(words: Words, like: Tensor) -> Tensor:
    return torch.from_numpy(words).to(like.device)
