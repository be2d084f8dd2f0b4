"""Training the kernel limit along a path: the twin of ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from tpbench.networks.word2vec.kernel_limit import KernelLimit, kernel_pairs, kernel_step_
from tpbench.networks.word2vec.sampling import Path
from tpbench.networks.word2vec.train import Moment, Training


def kernel_train(
    limit: KernelLimit, path: Path, training: Training, *, start: Moment | None = None
) -> Iterator[Moment]:
    """Train the limit in place and yield after every block, as ``train.train`` does for networks."""
    done = start or Moment()
    for epoch in range(done.epoch, training.epochs):
        first = done.block if epoch == done.epoch else 0
        blocks = path.blocks(epoch)
        for number, block in enumerate(path.epoch(epoch, first), start=first):
            kernel_step_(limit, block, rate=training.rate_at(epoch, number / blocks), decay=training.decay)
            yield Moment(epoch, number + 1, blocks)


def kernel_mean_loss(limit: KernelLimit, path: Path, blocks: int, *, epoch: int = 0) -> Tensor:
    """Return the loss a pair over the first ``blocks`` blocks of an epoch, (1,), as ``train.mean_loss`` does."""
    summed, number = torch.zeros(1, dtype=torch.float64, device=torch.device("cpu")), 0.0
    for block in islice(path.epoch(epoch), blocks):
        seen = kernel_pairs(limit, block)
        summed += seen.loss().to(summed)
        number += float(seen.target_weight.sum())
    if not number:
        raise ValueError(f"the first {blocks} blocks of corpus {path.corpus.name!r} hold no pair to take the loss of")
    return summed / number
