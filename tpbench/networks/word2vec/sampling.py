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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.data.corpus.corpus import Corpus

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
    tile: int = 32
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
        tokens, sentences = self._kept(number)
        span = sampling.block * BLOCKS_AT_ONCE
        for first in range(start - start % BLOCKS_AT_ONCE, -(-len(tokens) // sampling.block), BLOCKS_AT_ONCE):
            rng = np.random.default_rng(np.random.SeedSequence([sampling.seed, number, 1, first // BLOCKS_AT_ONCE]))
            at = first * sampling.block
            blocks = _blocks(self, tokens, sentences, at, min(at + span, len(tokens)), rng)
            yield from blocks[max(0, start - first) :]

    def blocks(self, number: int) -> int:
        """Return how many blocks an epoch has."""
        return -(-len(self._kept(number)[0]) // self.sampling.block)

    def _kept(self, number: int) -> tuple[Numbers, Numbers]:
        """Return the words that subsampling leaves of an epoch and the sentence of each."""
        corpus, t = self.corpus, self.sampling.subsample
        sentences = np.zeros(len(corpus.tokens), dtype=np.int64)
        sentences[corpus.starts[1:]] = 1
        sentences = np.cumsum(sentences)
        tokens = corpus.tokens.astype(np.int64)
        if t == 0:
            return tokens, sentences
        frequency = corpus.counts / len(tokens)
        keep = (np.sqrt(frequency / t) + 1) * t / frequency
        rng = np.random.default_rng(np.random.SeedSequence([self.sampling.seed, number, 0]))
        kept = rng.random(len(tokens)) < keep[tokens]
        return tokens[kept], sentences[kept]


def _blocks(
    path: Path, tokens: Numbers, sentences: Numbers, start: int, stop: int, rng: np.random.Generator
) -> list[Block]:
    """Return the blocks of the positions ``start`` to ``stop`` of an epoch; the last is filled up with empty ones."""
    s, device = path.sampling, path.device
    blocks = -(-(stop - start) // s.block)
    positions, tiles = blocks * s.block, blocks * (s.block // s.tile)
    radii = rng.integers(1, s.window + 1, size=positions)
    radii[stop - start :] = 0
    uniform = rng.random((tiles, s.negatives))
    # An absent position has no word: sentence -1 is nobody's, and its word 0 enters no product.
    at = np.arange(start - s.window, start + positions + s.window)
    inside = (at >= 0) & (at < len(tokens))
    there = np.clip(at, 0, len(tokens) - 1)
    words = torch.as_tensor(np.where(inside, tokens[there], 0), device=device)
    places = torch.as_tensor(np.where(inside, sentences[there], -1), device=device)
    targets = words[s.window : -s.window].view(tiles, s.tile)
    negatives = torch.as_tensor(_negatives(path.corpus, uniform), device=device)
    near = _near(s, places, torch.as_tensor(radii, device=device), tiles).to(path.dtype)
    size = near.sum(2, keepdim=True)
    present = (size > 0).to(path.dtype)
    allowed = (targets[:, :, None] != negatives[:, None, :]).to(path.dtype).mul_(present)
    parts = (
        words.unfold(0, s.reach, s.tile).reshape(blocks, -1),
        torch.cat([targets.view(blocks, -1), negatives.view(blocks, -1)], dim=1),
        near.view(blocks, -1, s.tile, s.reach),
        (near / size.clamp(min=1)).view(blocks, -1, s.tile, s.reach),
        near.sum(1).view(blocks, -1, 1),
        present.view(blocks, -1, s.tile, 1),
        allowed.view(blocks, -1, s.tile, s.negatives),
    )
    return [Block(*each) for each in zip(*(part.unbind() for part in parts), strict=True)]


def _near(s: Sampling, places: Tensor, radii: Tensor, tiles: int) -> Tensor:
    """Return, (tiles, tile, reach) bool, which rows are in which position's context."""
    device = places.device
    distance = torch.arange(s.reach, device=device) - s.window - torch.arange(s.tile, device=device)[:, None]
    distance = torch.where(distance == 0, s.window + 1, distance.abs()).to(
        torch.uint8 if s.window < 255 else torch.int64
    )
    near = distance <= radii.to(distance.dtype).view(tiles, s.tile, 1)
    around = places.unfold(0, s.reach, s.tile)
    own = places[s.window : -s.window].view(tiles, s.tile, 1)
    return near & (around[:, None, :] == own)


def _negatives(corpus: Corpus, uniform: NDArray[np.float64]) -> Numbers:
    """Return words drawn by their counts to the power 3/4 (arXiv:1310.4546, section 2.2)."""
    edges = np.cumsum(corpus.counts**NEGATIVE_POWER)
    drawn: Numbers = np.searchsorted(edges, uniform * edges[-1], side="right").clip(max=len(edges) - 1)
    return drawn
