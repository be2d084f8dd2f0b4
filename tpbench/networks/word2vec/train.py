"""Training along a path: the schedule of the rate, one moment a block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.sampling import Path
from tpbench.networks.word2vec.step import Total, pairs, step_, workspace


@dataclass(frozen=True)
class Training:
    """Epochs, rate eta falling linearly to ``floor`` of itself, and weight decay; defaults as in arXiv:2011.14522."""

    epochs: int = 15
    rate: float = 0.05
    decay: float = 1e-3
    floor: float = 1e-4

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.rate > 0 or self.decay < 0 or not 0 <= self.floor <= 1:
            raise ValueError(
                "training needs an epoch, a rate above 0, decay of at least 0 and a floor in [0, 1]; got "
                f"{self.epochs}, {self.rate}, {self.decay} and {self.floor}"
            )

    def rate_at(self, epoch: int, share: float) -> float:
        """Return the rate when ``share`` of an epoch is done."""
        return self.rate * max(self.floor, 1 - (epoch + share) / self.epochs)


@dataclass(frozen=True)
class Moment:
    """How far training is: ``block`` blocks of ``blocks`` in an epoch are done; epochs count from 0."""

    epoch: int = 0
    block: int = 0
    blocks: int = 0

    @property
    def ends_epoch(self) -> bool:
        """Whether the epoch is done."""
        return 0 < self.block == self.blocks


def train(
    vectors: Vectors, path: Path, training: Training, *, start: Moment | None = None, total: Total | None = None
) -> Iterator[Moment]:
    """Train in place and yield after every block; the caller may stop, measure or save there.

    ``start`` is the last moment of an earlier training, whose path is taken up where it stopped. ``total`` sums
    logits over the processes that share a network (``shards``).
    """
    done = start or Moment()
    room = workspace(vectors, path.sampling)
    for epoch in range(done.epoch, training.epochs):
        first = done.block if epoch == done.epoch else 0
        blocks = path.blocks(epoch)
        for number, block in enumerate(path.epoch(epoch, first), start=first):
            step_(
                vectors,
                block,
                room,
                rate=training.rate_at(epoch, number / blocks),
                decay=training.decay,
                total=total,
            )
            yield Moment(epoch, number + 1, blocks)


def mean_loss(vectors: Vectors, path: Path, blocks: int, *, epoch: int = 0, total: Total | None = None) -> Tensor:
    """Return the loss a pair over the first ``blocks`` blocks of an epoch of a path, (seed,), float64, on the CPU.

    Weight decay is left out. A path with a seed of its own gives windows and negatives that training does not see.
    Raises ``ValueError`` when those blocks hold no pair.
    """
    room = workspace(vectors, path.sampling)
    summed = torch.zeros(vectors.seeds, dtype=torch.float64, device=torch.device("cpu"))
    number = 0.0
    for block in islice(path.epoch(epoch), blocks):
        seen = pairs(vectors, block, room).summed(total)
        summed += seen.loss().to(summed)
        number += float(seen.target_weight.sum())
    if not number:
        raise ValueError(f"the first {blocks} blocks of corpus {path.corpus.name!r} hold no pair to take the loss of")
    return summed / number
