"""word2vec once more, position by position in plain Python, and loss functions for autograd.

It shares no code with tpbench.networks.word2vec: only the corpus, the numbers of ``Sampling``, and the order in which
random numbers are drawn, which is written down here a second time.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tpbench.data.corpus.corpus import Corpus, Material, Text, build
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.parametrization import named

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Position:
    """A word, the words around it, and the negatives that it shares with the other positions of its tile."""

    target: int
    context: tuple[int, ...]
    negatives: tuple[int, ...]

    @property
    def others(self) -> list[int]:
        """The negatives that are not the target."""
        return [word for word in self.negatives if word != self.target]


def corpus_of(*sentences: Sequence[str]) -> Corpus:
    """Return the corpus of some sentences of words."""
    words = tuple(dict.fromkeys(itertools.chain.from_iterable(sentences)))
    tokens = np.array([words.index(word) for sentence in sentences for word in sentence], dtype=np.int32)
    starts = np.cumsum([0, *map(len, sentences[:-1])], dtype=np.int64)
    return build(Material("small", Text(words, tokens, starts), {}, {}, "made up", "none"))


def random_corpus(words: int, tokens: int, seed: int = 0, longest: int = 12) -> Corpus:
    """Return sentences of 1 to ``longest`` words with a falling law, so that words repeat within a window."""
    rng = np.random.default_rng(seed)
    law = 1.0 / np.arange(1, words + 1)
    drawn = rng.choice(words, size=tokens, p=law / law.sum())
    drawn[:words] = np.arange(words)
    cuts = np.cumsum(rng.integers(1, longest + 1, size=tokens))
    parts = np.split(drawn, cuts[cuts < tokens])
    return corpus_of(*([f"w{word}" for word in part] for part in parts))


def network(
    corpus: Corpus, width: int, architecture: str = "cbow", *, table: str = "mup", seeds: Sequence[int] = (0,)
) -> Vectors:
    """Return Gaussian networks whose read-out starts at random, in float64."""
    shape = Word2Vec(len(corpus.vocabulary), width, architecture, zero_output=False)
    return initialise(shape, named(table), seeds, device=CPU, dtype=torch.float64)


def path_of(corpus: Corpus, sampling: Sampling) -> Path:
    return Path(corpus, sampling, CPU, torch.float64)


def kept_words(corpus: Corpus, sampling: Sampling, epoch: int) -> list[tuple[int, int]]:
    """Return the words that subsampling leaves, each with the number of its sentence."""
    uniform = np.random.default_rng(np.random.SeedSequence([sampling.seed, epoch, 0])).random(len(corpus.tokens))
    found, sentence = [], -1
    starts = set(corpus.starts.tolist())
    for place, word in enumerate(corpus.tokens.tolist()):
        sentence += place in starts
        frequency = corpus.counts[word] / len(corpus.tokens)
        t = sampling.subsample
        chance = 1.0 if t == 0 else math.sqrt(t / frequency) + t / frequency
        if t == 0 or uniform[place] < chance:
            found.append((word, sentence))
    return found


def slow_epoch(corpus: Corpus, sampling: Sampling, epoch: int = 0) -> Iterator[list[Position]]:
    """Yield the blocks of an epoch, each a list of positions."""
    words = kept_words(corpus, sampling, epoch)
    edges = list(itertools.accumulate(float(count) ** 0.75 for count in corpus.counts))
    blocks = math.ceil(len(words) / sampling.block)
    for group in range(math.ceil(blocks / 64)):
        numbers = range(64 * group, min(64 * group + 64, blocks))
        rng = np.random.default_rng(np.random.SeedSequence([sampling.seed, epoch, 1, group]))
        radii = rng.integers(1, sampling.window + 1, size=len(numbers) * sampling.block)
        uniform = rng.random(len(numbers) * sampling.block // sampling.tile * sampling.negatives)
        for number in numbers:
            positions = []
            for place in range(number * sampling.block, min((number + 1) * sampling.block, len(words))):
                at = place - 64 * group * sampling.block
                tile = at // sampling.tile * sampling.negatives
                drawn = [bisect.bisect_right(edges, u * edges[-1]) for u in uniform[tile : tile + sampling.negatives]]
                word, sentence = words[place]
                around = range(max(0, place - int(radii[at])), min(len(words), place + int(radii[at]) + 1))
                context = [words[q][0] for q in around if q != place and words[q][1] == sentence]
                positions.append(Position(word, tuple(context), tuple(drawn)))
            yield positions


def inputs_of(embedding: Tensor, position: Position, architecture: str) -> list[Tensor]:
    """Return the input vectors h of a position's pairs: one mean, or every word of the context."""
    rows = [embedding[word] for word in position.context]
    if architecture == "skip-gram" or not rows:
        return rows
    return [sum(rows[1:], start=rows[0]) / len(rows)]


def plain_loss(embedding: Tensor, output: Tensor, block: Sequence[Position], architecture: str) -> Tensor:
    """Return the loss of a block by loops over positions, pairs and negatives."""
    total = embedding.new_zeros(())
    for position in block:
        for h in inputs_of(embedding, position, architecture):
            total = total - torch.log(torch.sigmoid(h @ output[position.target]))
            for word in position.others:
                total = total - torch.log(torch.sigmoid(-(h @ output[word])))
    return total


def touches(block: Sequence[Position], words: int, architecture: str) -> tuple[Tensor, Tensor]:
    """Return how often each row of E and of C enters a pair."""
    of_e, of_c = (torch.zeros(words, dtype=torch.float64, device=CPU) for _ in range(2))
    for position in block:
        pairs = min(1, len(position.context)) if architecture == "cbow" else len(position.context)
        for word in position.context:
            of_e[word] += 1
        for word in (position.target, *position.others):
            of_c[word] += pairs
    return of_e, of_c


def plain_step(
    embedding: Tensor,
    output: Tensor,
    block: Sequence[Position],
    architecture: str,
    *,
    rates: tuple[float, float],
    decay: float,
) -> tuple[Tensor, Tensor]:
    """Return the tables after one step: autograd through the loops, and a touch shrinks a row by ``decay``."""
    e, c = (table.detach().clone().requires_grad_() for table in (embedding, output))
    loss = plain_loss(e, c, block, architecture)
    by_e, by_c = torch.autograd.grad(loss, (e, c)) if loss.requires_grad else (torch.zeros_like(e), torch.zeros_like(c))
    of_e, of_c = touches(block, len(e), architecture)
    new_e = e - rates[0] * by_e - decay * of_e[:, None] * e
    return new_e.detach(), (c - rates[1] * by_c - decay * of_c[:, None] * c).detach()


def loops_step(
    embedding: Tensor,
    output: Tensor,
    block: Sequence[Position],
    architecture: str,
    *,
    rates: tuple[float, float],
    whole: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the tables after one step without decay, its gradients written by hand, one pair after the other.

    With ``whole`` every word of a context gets the gradient by the mean, undivided.
    """
    new_e, new_c = embedding.clone(), output.clone()
    for position in block:
        inputs = inputs_of(embedding, position, architecture)
        for number, h in enumerate(inputs):
            by_h = torch.zeros_like(h)
            for word, label in ((position.target, 1.0), *((word, 0.0) for word in position.others)):
                slope = 1 / (1 + math.exp(-float(h @ output[word]))) - label
                by_h += slope * output[word]
                new_c[word] -= rates[1] * slope * h
            sharing = position.context if architecture == "cbow" else position.context[number : number + 1]
            for word in sharing:
                new_e[word] -= rates[0] * by_h / (1 if whole else len(sharing))
    return new_e, new_c


def tables(vectors: Vectors) -> list[tuple[Tensor, Tensor]]:
    """Return E and C, a pair a seed."""
    return list(zip(vectors.by_seed(vectors.embedding), vectors.by_seed(vectors.output), strict=True))
