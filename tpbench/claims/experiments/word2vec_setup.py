"""From the configuration of a point to the word2vec that runs it: corpus, paths, network, limits, device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpbench.bench.claim import Config, Point, canonical_json
from tpbench.claims.experiments.setup import DTYPES
from tpbench.claims.experiments.word2vec_corpus import load
from tpbench.data.corpus.corpus import Corpus
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.kernel_limit import KernelLimit, kernel_limit
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.train import Training
from tpbench.parametrization import Parametrization, from_config

TEST_SEED = 2**20
"""Added to the path's seed for the windows and negatives on which the loss is measured."""


@dataclass(frozen=True)
class Setup:
    """What one run trains: ``path`` is trained on, ``test`` only measured."""

    corpus: Corpus
    path: Path
    test: Path
    network: Word2Vec
    table: Parametrization
    training: Training
    base_width: int
    record: frozenset[int]
    test_blocks: int
    groups: tuple[str, ...]

    @property
    def group_sizes(self) -> tuple[int, int] | None:
        """The numbers of words of the two groups that are to be told apart, None where there are none."""
        if not self.groups:
            return None
        first, second = (len(self.corpus.groups[group]) for group in self.groups)
        return first, second

    @property
    def group_words(self) -> Tensor:
        """The words of the groups, one group after the other."""
        numbers = np.concatenate([self.corpus.groups[group] for group in self.groups]).astype(np.int64)
        return torch.as_tensor(numbers, device=self.device)

    @property
    def device(self) -> torch.device:
        return self.path.device

    def initialise(self, seeds: Sequence[int]) -> Vectors:
        """Return networks at initialisation."""
        return initialise(
            self.network, self.table, seeds, base_width=self.base_width, device=self.device, dtype=self.path.dtype
        )

    def identity(self) -> Vectors:
        """Return the feature-learning limit at the start."""
        return identity(self.network, self.table, device=self.device, dtype=self.path.dtype)

    def kernel_limit(self, word_logits: Tensor | None = None) -> KernelLimit:
        """Return the kernel limit at the start, with these first logits of word pairs or none."""
        where: dict[str, Any] = {"device": self.device, "dtype": self.path.dtype}
        return kernel_limit(self.network, self.table, word_logits=word_logits, **where)

    @property
    def words(self) -> Tensor:
        """All word numbers."""
        return torch.arange(len(self.corpus.vocabulary), device=self.device)

    def positions(self, path: Path) -> tuple[Tensor, Tensor]:
        """Return the positions of a path's first block: contexts as weights (positions, words), and the words there."""
        size, block = path.sampling, next(path.epoch(0))
        rows = block.rows.view(-1, 1, size.reach).expand(-1, size.tile, -1)
        weights = torch.zeros((size.block, len(self.corpus.vocabulary)), dtype=path.dtype, device=self.device)
        weights.scatter_add_(1, rows.reshape(size.block, -1), block.mean.reshape(size.block, -1))
        present = block.present.flatten() > 0
        return weights[present], block.outputs[: size.block][present]


def setup(point: Point) -> Setup:
    """Build what a point asks for; ``ValueError`` names a wrong key or value."""
    return build(point.config, point.width)


def build(c: Config, width: int) -> Setup:
    """Build what a configuration asks for at a width; ``ValueError`` names a wrong key or value."""
    text = load(c)
    sampling = Sampling(c["window"], c["negatives"], c["subsample"], c["block"], c["tile"], c["path_seed"])
    device, dtype = torch.device(c["device"]), DTYPES[c["dtype"]]
    return Setup(
        corpus=text,
        path=Path(text, sampling, device, dtype),
        test=Path(text, replace(sampling, seed=sampling.seed + TEST_SEED), device, dtype),
        network=Word2Vec(len(text.vocabulary), width, c["architecture"], c["zero_output"]),
        table=from_config(c["parametrization"]),
        training=Training(c["epochs"], c["rate"], c["decay"]),
        base_width=c["base_width"],
        record=frozenset(c["record"]),
        test_blocks=c["test_blocks"],
        groups=_groups(text, c["groups"]),
    )


def alone(c: Config, table: Config) -> str:
    """Return, as text, the configuration of a table's limit: all that it depends on, and nothing of the networks."""
    return canonical_json({**c, "parametrization": dict(table), "limit_parametrization": None, "limit": "own"})


def _groups(text: Corpus, groups: Sequence[str]) -> tuple[str, ...]:
    unknown = [group for group in groups if group not in text.groups]
    if unknown or len(groups) not in (0, 2):
        raise ValueError(
            f"two groups of words, or none, are told apart; got {', '.join(groups)} of the corpus {text.name!r}, which "
            f"has {', '.join(text.groups)}"
        )
    return tuple(groups)


def rows_per_seed(seeds: Sequence[int], values: Tensor) -> Iterator[tuple[int, float]]:
    """Yield (seed, value) of values (seed,)."""
    yield from zip(seeds, values.to(torch.float64).cpu().tolist(), strict=True)
