"""What training sees and in which order: positions, windows and negatives, the same for every width and the limit.

An epoch reads the corpus once. Frequent words are dropped at random (T. Mikolov et al., Distributed Representations
of Words and Phrases and their Compositionality, arXiv:1310.4546: a word of frequency f is kept with probability
(sqrt(f/t) + 1) t/f, as in the authors' code), every position gets a radius uniform on 1 … window, and its context are
the words within that radius in its sentence. Negatives follow the counts to the power 3/4.

Positions come in *blocks*, whose gradients are taken together, and blocks in *tiles* of consecutive positions, which
share their negatives and the rows of their contexts: all work is then matrix products. Everything is drawn on the CPU
from (seed, epoch, place), so that every device, width and resumed run sees the same path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.data.corpus.corpus import Corpus
from tpbench.data.dataset import freeze

Numbers = NDArray[np.int64]
BLOCKS_AT_ONCE = 64
"""Blocks whose windows and negatives are drawn together. Part of the path's law: another number is another path."""
NEGATIVE_POWER = 0.75


@dataclass(frozen=True)
class Sampling:
    """Which positions, windows and negatives training sees; the defaults are those of arXiv:2011.14522.

    ``block`` positions take one step together, ``tile`` consecutive positions share ``negatives`` negatives.
    ``subsample`` is the threshold t, and 0 keeps every word. Raises ``ValueError`` for sizes that make no path.
    """

    window: int = 8
    negatives: int = 25
    subsample: float = 1e-4
    block: int = 256
    tile: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("window", "negatives", "block", "tile"):
            if getattr(self, name) < 1:
                raise ValueError(f"word2vec needs a {name} of at least 1, got {getattr(self, name)}")
        if self.block % self.tile:
            raise ValueError(
                f"a block is a whole number of tiles: {self.block} positions are no multiple of {self.tile}"
            )
        if self.subsample < 0 or self.seed < 0:
            raise ValueError(f"subsample and seed are at least 0, got {self.subsample} and {self.seed}")

    @property
    def reach(self) -> int:
        """The number of rows that a tile's contexts lie in: its positions and a window on either side."""
        return self.tile + 2 * self.window


@dataclass(frozen=True)
class Block:
    """The positions of one step, with T tiles of ``tile`` positions, L rows (``Sampling.reach``) and K negatives each.

    ``rows`` (T·L,) are the words around the positions and ``outputs`` (T·tile + T·K,) the words at them, followed by
    the negatives. ``near`` (T, tile, L) is 1 where a row is in a position's context, ``mean`` the same divided by the
    size of the context; ``touches`` (T·L, 1) counts the contexts that hold a row. ``present`` (T, tile, 1) is 1 for
    positions with a context; ``allowed`` (T, tile, K) is 1 where the position is present and the negative is not its
    word.
    """

    rows: Tensor
    outputs: Tensor
    near: Tensor
    mean: Tensor
    touches: Tensor
    present: Tensor
    allowed: Tensor


@dataclass(frozen=True)
class Path:
    """One fixed order of blocks and negatives over a corpus, on a device."""

    corpus: Corpus
    sampling: Sampling
    device: torch.device
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if len(self.corpus.vocabulary) < 2:
            raise ValueError(f"negative sampling needs 2 words at least, corpus {self.corpus.name!r} has one")

    def epoch(self, number: int, start: int = 0) -> Iterator[Block]:
        """Yield the blocks of an epoch from number ``start`` on; epochs count from 0."""
        sampling = self.sampling
        kept = _kept(self.corpus, sampling, number)
        span, count = sampling.block * BLOCKS_AT_ONCE, self.blocks(number)
        for first in range(start - start % BLOCKS_AT_ONCE, count, BLOCKS_AT_ONCE):
            rng = np.random.default_rng(np.random.SeedSequence([sampling.seed, number, 1, first // BLOCKS_AT_ONCE]))
            at = first * sampling.block
            blocks = _blocks(self, kept, at, min(at + span, len(kept.tokens)), rng)
            yield from blocks[max(0, start - first) :]

    def blocks(self, number: int) -> int:
        """Return how many blocks an epoch has."""
        return -(-len(_kept(self.corpus, self.sampling, number).tokens) // self.sampling.block)


@dataclass(frozen=True)
class _Kept:
    """The words that subsampling leaves of an epoch, and where the sentence of each begins and ends."""

    tokens: NDArray[np.int32]
    first: Numbers
    last: Numbers


# An epoch is counted, then read, often by several networks; of text8 it holds some 100 MB.
@lru_cache(maxsize=1)
def _kept(corpus: Corpus, sampling: Sampling, epoch: int) -> _Kept:
    t = sampling.subsample
    tokens, begins = corpus.tokens, corpus.starts
    if t > 0:
        frequency = corpus.counts / len(tokens)
        keep = (np.sqrt(frequency / t) + 1) * t / frequency
        rng = np.random.default_rng(np.random.SeedSequence([sampling.seed, epoch, 0]))
        kept = rng.random(len(tokens)) < keep[tokens]
        if not kept.any():
            raise ValueError(
                f"subsampling with threshold {t:g} keeps none of the {len(tokens)} words of corpus {corpus.name!r}: "
                "raise subsample, or set it to 0"
            )
        tokens = tokens[kept]
        before = np.concatenate([[0], np.cumsum(kept)])
        begins = np.unique(before[begins])
    begins = begins[begins < len(tokens)]
    sizes = np.diff(begins, append=len(tokens))
    first = np.repeat(begins, sizes)
    return _Kept(freeze(tokens.copy()), freeze(first), freeze(np.repeat(begins + sizes - 1, sizes)))


def _blocks(path: Path, kept: _Kept, start: int, stop: int, rng: np.random.Generator) -> list[Block]:
    """Return the blocks of the positions ``start`` to ``stop`` of an epoch; the last is filled up with empty ones."""
    s, device = path.sampling, path.device
    blocks = -(-(stop - start) // s.block)
    positions, tiles = blocks * s.block, blocks * (s.block // s.tile)
    radii = rng.integers(1, s.window + 1, size=positions)
    uniform = rng.random((tiles, s.negatives))
    # An absent position has no context: its word, the text's first or last, enters no product.
    at = np.arange(start - s.window, start + positions + s.window)
    words = torch.as_tensor(kept.tokens[np.clip(at, 0, len(kept.tokens) - 1)].astype(np.int64), device=device)
    targets = words[s.window : -s.window].view(tiles, s.tile)
    negatives = torch.as_tensor(_negatives(path.corpus, uniform), device=device)
    left, size = (torch.as_tensor(each, device=device) for each in _contexts(kept, start, stop, radii))
    near = _near(s, left.view(tiles, s.tile, 1), size.view(tiles, s.tile, 1)).to(path.dtype)
    sizes = size.view(tiles, s.tile, 1).to(path.dtype)
    present = (sizes > 0).to(path.dtype)
    allowed = (targets[:, :, None] != negatives[:, None, :]).to(path.dtype).mul_(present)
    parts = (
        words.unfold(0, s.reach, s.tile).reshape(blocks, -1),
        torch.cat([targets.view(blocks, -1), negatives.view(blocks, -1)], dim=1),
        near.view(blocks, -1, s.tile, s.reach),
        (near / sizes.clamp(min=1)).view(blocks, -1, s.tile, s.reach),
        near.sum(1).view(blocks, -1, 1),
        present.view(blocks, -1, s.tile, 1),
        allowed.view(blocks, -1, s.tile, s.negatives),
    )
    return [Block(*each) for each in zip(*(part.unbind() for part in parts), strict=True)]


def _contexts(kept: _Kept, start: int, stop: int, radii: Numbers) -> tuple[Numbers, Numbers]:
    """Return how far left of a position its context begins, and how many words it has, both 0 where absent."""
    at = np.arange(start, stop)
    left = np.minimum(radii[: stop - start], at - kept.first[start:stop])
    right = np.minimum(radii[: stop - start], kept.last[start:stop] - at)
    absent = len(radii) - (stop - start)
    return np.pad(left, (0, absent)), np.pad(left + right, (0, absent))


def _near(s: Sampling, left: Tensor, size: Tensor) -> Tensor:
    """Return, (tiles, tile, reach) bool, which rows are in which position's context, from (tiles, tile, 1)."""
    # Rows and places in a tile in the smallest numbers that hold them: this is the largest array of a path.
    kind = torch.uint8 if s.reach <= torch.iinfo(torch.uint8).max else torch.int32
    own = torch.arange(s.window, s.window + s.tile, device=left.device)
    begin = own[:, None] - left
    rows = torch.arange(s.reach, device=left.device).to(kind)
    near = (rows >= begin.to(kind)) & (rows <= (begin + size).to(kind))
    near.diagonal(offset=s.window, dim1=1, dim2=2).fill_(False)
    return near


def _negatives(corpus: Corpus, uniform: NDArray[np.float64]) -> Numbers:
    """Return words drawn by their counts to the power 3/4 (arXiv:1310.4546, section 2.2)."""
    edges = _edges(corpus)
    drawn: Numbers = np.searchsorted(edges, uniform * edges[-1], side="right").clip(max=len(edges) - 1)
    return drawn


@lru_cache(maxsize=1)
def _edges(corpus: Corpus) -> NDArray[np.float64]:
    return freeze(np.cumsum(corpus.counts**NEGATIVE_POWER))
