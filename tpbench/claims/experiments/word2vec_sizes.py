"""Train word2vec for some blocks and measure sizes and movements, layer by layer.

Layer 1 is the embedding, whose output is the context's mean h; layer 2 the read-out, whose output is the logit of the
word that stands in the context. They are measured on the positions of the first block: a logit that training never
asks for moves by noise of size n^(-1/2) only, and among all words of a vocabulary those are most. Every size is a root
mean square over positions and coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.word2vec_setup import rows_per_seed, setup
from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.train import train


@dataclass(frozen=True)
class Probes:
    """Positions that are measured: ``contexts`` (positions, words) weights, ``targets`` (positions,) words."""

    contexts: Tensor
    targets: Tensor

    def hidden(self, vectors: Vectors, embedding: Tensor) -> Tensor:
        """Return the means of the contexts, (seed, positions, width)."""
        return vectors.by_seed(self.contexts @ embedding)

    def logits(self, vectors: Vectors, output: Tensor, hidden: Tensor) -> Tensor:
        """Return the logit of the word at each position, (seed, positions, 1)."""
        return (hidden * vectors.by_seed(output[self.targets])).sum(2, keepdim=True)


def run(point: Point) -> Iterator[Row]:
    """Yield one number a seed, layer, recorded block and quantity."""
    run = setup(point)
    vectors = run.initialise(point.seeds)
    start, probes = vectors.copy(), Probes(*run.positions(run.path))
    if 0 in run.record:
        yield from _rows(point, 0, _sizes(vectors, probes))
    last = max(run.record)
    for step, _ in enumerate(train(vectors, run.path, run.training), start=1):
        if step in run.record:
            yield from _rows(point, step, {**_sizes(vectors, probes), **_movements(vectors, start, probes)})
        if step == last:
            return
    raise ValueError(f"the training has fewer than the {last} blocks to be recorded: ask for more epochs or tokens")


def _rows(point: Point, step: int, sizes: dict[tuple[str, int], Tensor]) -> Iterator[Row]:
    for (quantity, layer), values in sizes.items():
        for seed, value in rows_per_seed(point.seeds, values):
            yield Row(quantity, value, seed=seed, step=step, layer=layer)


def _sizes(vectors: Vectors, probes: Probes) -> dict[tuple[str, int], Tensor]:
    hidden = probes.hidden(vectors, vectors.embedding)
    return {
        ("embedding", 1): _rms(vectors.by_seed(vectors.embedding)),
        ("preactivation", 1): _rms(hidden),
        ("output", 2): _rms(probes.logits(vectors, vectors.output, hidden)),
    }


def _movements(now: Vectors, start: Vectors, probes: Probes) -> dict[tuple[str, int], Tensor]:
    moved = now.embedding - start.embedding
    hidden, change = probes.hidden(now, now.embedding), probes.hidden(now, moved)
    update = probes.logits(now, now.output - start.output, hidden)
    propagated = probes.logits(start, start.output, change)
    return {
        ("weight-update", 1): _rms(now.by_seed(moved)),
        ("preactivation-change", 1): _rms(change),
        ("weight-update", 2): _rms(update),
        ("initial-weight-on-change", 2): _rms(propagated),
        ("output-change", 2): _rms(update + propagated),
    }


def _rms(values: Tensor) -> Tensor:
    return values.to(torch.float64).square().mean(dim=(1, 2)).sqrt()
