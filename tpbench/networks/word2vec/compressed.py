"""The feature-learning limit of word2vec in a small subspace, for vocabularies whose limit does not fit.

The limit is a network of width V started at E = √n I, C = 0 (``infinite``). Write Ê = E/√n and Ĉ = √n C. Training moves
Ê by combinations of Ĉ's rows and Ĉ by those of contexts' means, and is equivariant under rotations of the width axis.
Choose r columns Φ (V, r), orthonormal, and split the width axis into their span S and the rest. *Compression* leaves
out what the rest adds to logits, and nothing else: then the rest of Ĉ is never seen, the rest of Ê is D (I - Φ Φᵀ)
with D the factors of weight decay, and the part in S is a network of width r started at E = √r Φ, C = 0, trained by the
same code with the same rates. Its Gram matrix has the rest added back exactly:

    Gram = E Eᵀ/r + D (I - Φ Φᵀ) D,            memory 3 V r instead of 2 V².

**Which subspace.** What is left out is h_⊥·Ĉ_⊥, so S should hold the rows of Ĉ of the *trained* network. It starts as
the main right-singular vectors of M = Σ (label - 1/2) × context mean, what Ĉ becomes to first order, by a randomised
SVD that passes over an epoch and never forms M. Then come *rounds* of subspace iteration on the trained Ĉ: a pilot
trains in S for an epoch, and a second table collects the response Ĉᵀ Y = -Σ η h (gᵀ Y), Y being the left singular
vectors that the pilot before found; its columns span the next S.

On the 2,000 most frequent words of the packaged corpus, 3 epochs, relative errors of the Gram matrix and of logits,
root mean square errors of cosines, and analogies right (the limit: 39.3%; benchmarks/word2vec_limit.py):

                                  Gram     logits    cosines   right
    random, width 384             0.070    0.047     0.022     33.8%      (as much memory as 256 columns)
    256, no round                 0.027    0.019     0.026     30.8%
    256, 2 rounds                 0.009    0.007     0.011     36.2%
    random, width 192             0.098    0.065     0.031     32.8%      (as much memory as 128 columns)
    128, 2 rounds                 0.020    0.015     0.021     30.0%
    64, 2 rounds, and 64 random   0.066    0.046     0.022     37.8%

What is left out biases the cosines of rare words, and with few columns that costs more analogies than noise would.
Random columns of the complement (``compressed_error.twin``) trade the bias for noise, and their spread measures what
is left out. Two things that were tried and lost: longer pilots gain nothing, and a truncation to the best columns in
the course of training forgets what small directions had gathered (a Gram error of 0.10 at r = 64, 2 epochs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tpbench.networks.word2vec.model import Vectors, Word2Vec, rates_of
from tpbench.networks.word2vec.sampling import Block, Path
from tpbench.networks.word2vec.step import step_, workspace
from tpbench.networks.word2vec.train import Moment, Training
from tpbench.parametrization import Parametrization
from tpbench.parametrization.word2vec import check_feature_learning
from tpbench.weights.gaussian import standard_normal

POWERS = 2
"""Power iterations of the randomised SVD that finds the first columns."""


@dataclass(frozen=True)
class Compressed:
    """A limit in r columns: ``vectors`` of width r, the ``basis`` Φ (V, r) where they began, and ``kept`` (V,).

    ``kept`` is D, what weight decay leaves of each word's start. Training changes tensors in place. It has a Gram
    matrix as networks have.
    """

    vectors: Vectors
    basis: Tensor
    kept: Tensor

    def gram(self, words: Tensor, others: Tensor | None = None) -> Tensor:
        """Return the Gram matrix of the embeddings between some words and others (all by default), (1, words, others).

        The start's own part is the exact one: the identity, decayed.
        """
        second = torch.arange(len(self.kept), device=words.device) if others is None else others
        left, right = self.kept[words], self.kept[second]
        start = (words[:, None] == second).to(self.kept.dtype) - self.basis[words] @ self.basis[second].mT
        return self.vectors.gram(words, second) + left[:, None] * start * right

    def squared_norms(self) -> Tensor:
        """Return the diagonal of the Gram matrix, (1, words)."""
        return self.vectors.squared_norms() + self.kept.square() * (1 - self.basis.square().sum(1))

    @property
    def bytes(self) -> int:
        """The memory of all tables."""
        tables = (self.vectors.embedding, self.vectors.output, self.basis, self.kept)
        return sum(table.numel() * table.element_size() for table in tables)


def started(basis: Tensor, network: Word2Vec, parametrization: Parametrization) -> Compressed:
    """Return the limit in the columns ``basis`` (V, r) at the start of training; ``network.width`` is not looked at.

    With all of an orthonormal basis it is the limit. Raises ``ValueError`` for a table that has no such limit, and for
    an output that does not start at zero: its random start would need a subspace of its own.
    """
    if not network.zero_output:
        raise ValueError(
            "the compressed limit is that of a network whose output starts at zero, this one's is random: set "
            "zero_output=True, or take networks.word2vec.infinite, split by networks.word2vec.shards"
        )
    check_feature_learning(parametrization, zero_output=True)
    words, rank = basis.shape
    if words != network.words:
        raise ValueError(f"the basis has {words} rows and the network {network.words} words: they must be the same")
    narrow = Word2Vec(words, rank, network.architecture, zero_output=True)
    embedding = basis * math.sqrt(rank)
    vectors = Vectors(narrow, embedding, torch.zeros_like(embedding), *rates_of(narrow, parametrization), seeds=1)
    return Compressed(vectors, basis, torch.ones_like(basis[:, 0]))


def compress(
    path: Path,
    network: Word2Vec,
    parametrization: Parametrization,
    training: Training,
    *,
    rank: int,
    rounds: int = 2,
    seed: int = 0,
) -> Compressed:
    """Return the limit of a network on a path in its ``rank`` best columns found, at the start of training.

    ``rounds`` of subspace iteration train pilots of an epoch; none takes the first order's columns. ``seed`` is that
    of the randomised SVD. Costs five passes over an epoch, and two epochs of width ``rank`` a round, with 9 V r numbers
    at most. Raises ``ValueError`` for a rank that cannot be, and what ``started`` raises.
    """
    if not 1 <= rank <= network.words or rounds < 0:
        raise ValueError(
            f"a limit of {network.words} words is compressed to 1 … {network.words} columns in 0 rounds or more; got "
            f"{rank} and {rounds}"
        )
    basis, left = _first_order(path, network, rank, seed)
    short = replace(training, epochs=1)
    for _ in range(rounds):
        pilot = started(basis, network, parametrization)
        response = _frozen_output(left, network)
        for _moment in _trained(pilot, path, short, response=response):
            pass
        basis, left = _next_subspace(pilot, response)
    return started(basis, network, parametrization)


def train_compressed(
    compressed: Compressed, path: Path, training: Training, *, start: Moment | None = None
) -> Iterator[Moment]:
    """Train in place and yield after every block, as ``train.train`` does for networks."""
    yield from _trained(compressed, path, training, start=start)


def _trained(
    compressed: Compressed,
    path: Path,
    training: Training,
    *,
    start: Moment | None = None,
    response: Vectors | None = None,
) -> Iterator[Moment]:
    done = start or Moment()
    room = workspace(compressed.vectors, path.sampling)
    its_room = None if response is None else workspace(response, path.sampling)
    logits: list[Tensor] = []

    def keep(seen: Tensor) -> Tensor:
        logits[:] = [seen.clone()]
        return seen

    for epoch in range(done.epoch, training.epochs):
        first, blocks = (done.block if epoch == done.epoch else 0), path.blocks(epoch)
        for number, block in enumerate(path.epoch(epoch, first), start=first):
            rate = training.rate_at(epoch, number / blocks)
            step_(compressed.vectors, block, room, rate=rate, decay=training.decay, total=keep if response else None)
            if response is not None and its_room is not None:
                step_(response, block, its_room, rate=rate, decay=0.0, total=lambda _: logits[0])
            _shrink_(compressed.kept, block, rate * training.decay)
            yield Moment(epoch, number + 1, blocks)


def _shrink_(kept: Tensor, block: Block, factor: float) -> None:
    touches = torch.zeros_like(kept).index_add_(0, block.rows, block.touches[:, 0])
    kept.mul_(1 - factor * touches)


# The subspace --------------------------------------------------------------------------------------------------


def _frozen_output(left: Tensor, network: Word2Vec) -> Vectors:
    """Return a network that collects Σ -η h (gᵀ Y): its output Y stands still, its embeddings start at 0."""
    narrow = Word2Vec(network.words, left.shape[1], network.architecture)
    return Vectors(narrow, torch.zeros_like(left), left, embedding_rate=1.0, output_rate=0.0, seeds=1)


def _frozen_embedding(right: Tensor, network: Word2Vec) -> Vectors:
    """Return a network that collects Σ -η g (h Q): its embeddings Q stand still, its output starts at 0."""
    narrow = Word2Vec(network.words, right.shape[1], network.architecture)
    return Vectors(narrow, right, torch.zeros_like(right), embedding_rate=0.0, output_rate=1.0, seeds=1)


def _first_order(path: Path, network: Word2Vec, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return about the main right singular vectors of M, and an orthonormal basis of M's image of them.

    A randomised SVD with power iterations (N. Halko, P. G. Martinsson and J. A. Tropp, arXiv:0909.4061, algorithm
    4.4), each two passes over the first epoch. A row of M is divided by the root of its norm, as frequent words would
    have all singular vectors to themselves.
    """
    drawn = standard_normal([seed], "compress", (network.words, rank), dtype=path.dtype, device=path.device)[0]
    basis = _passed(_frozen_output(drawn, network), path).embedding
    image = torch.empty_like(basis)
    for _ in range(POWERS):
        image = _passed(_frozen_embedding(_orthonormal(basis), network), path).output
        norms = image.norm(dim=1, keepdim=True)
        weights = torch.where(norms > 0, norms.rsqrt(), 0.0)
        basis = _passed(_frozen_output(weights * _orthonormal(weights * image), network), path).embedding
    return _orthonormal(basis), _orthonormal(image)


def _passed(vectors: Vectors, path: Path) -> Vectors:
    """Return a frozen network after it collected over the first epoch what logits of 0 give."""
    room = workspace(vectors, path.sampling)
    for block in path.epoch(0):
        step_(vectors, block, room, rate=1.0, decay=0.0, total=torch.zeros_like)
    return vectors


def _next_subspace(pilot: Compressed, response: Vectors) -> tuple[Tensor, Tensor]:
    """Return an orthonormal basis of Ĉᵀ Y's columns, and the left singular vectors of the pilot's Ĉ."""
    output = pilot.vectors.output
    collected = response.embedding * pilot.kept[:, None]
    collected = collected - pilot.basis @ (pilot.basis.mT @ collected)
    scale = math.sqrt(pilot.basis.shape[1])
    return _orthonormal(collected + pilot.basis @ (scale * output.mT @ response.output)), _orthonormal(output)


def _orthonormal(table: Tensor) -> Tensor:
    columns: Tensor = torch.linalg.qr(table)[0]
    return columns
