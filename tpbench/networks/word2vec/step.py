"""One step of stochastic gradient descent on a block, its gradients written by hand as matrix products.

A pair of an input vector h and a target t, with negatives j_1 … j_K, has the loss

    softplus(-h·C_t) + Σ_k softplus(h·C_{j_k})          (arXiv:1310.4546, equation 4).

In CBOW every position is one pair, with h the mean of its context; in skip-gram it makes one pair with every word of
its context. Losses are summed over a block; negatives equal to the target are left out. Weight decay λ adds
``λ/2 |row|²`` for every occurrence of a row in a pair (once for all negatives' positions that share it, as often as
they do), so that a row shrinks by 1 - eta λ a touch at every width, as in the code of arXiv:2011.14522.

The architectures are rows of a table: logits from gathered rows, and gradients from the logits' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.sampling import Block, Sampling

Total = Callable[[Tensor], Tensor]
"""Adds up partial logits over the parts of a network that is split along its width, in place or not."""


@dataclass(frozen=True)
class Workspace:
    """Buffers of one block, allocated once: rows of E and C as gathered, the contexts' means, and gradients by them.

    ``context`` is (T·L, W), ``output`` (T·tile + T·K, W) with the targets first, ``hidden`` (T·tile, W), where W is
    seeds · width.
    """

    context: Tensor
    output: Tensor
    hidden: Tensor
    context_gradient: Tensor
    output_gradient: Tensor
    hidden_gradient: Tensor
    shape: tuple[int, int, int, int]  # T, tile, L, K
    seeds: int

    def tiles(self, table: Tensor) -> Tensor:
        """Return a buffer of T·m rows as (T, m, W)."""
        return table.view(self.shape[0], -1, table.shape[1])

    def targets(self, table: Tensor) -> Tensor:
        """Return the targets' part of an output buffer, (T, tile, W)."""
        return self.tiles(table[: self.shape[0] * self.shape[1]])

    def negatives(self, table: Tensor) -> Tensor:
        """Return the negatives' part of an output buffer, (T, K, W)."""
        return self.tiles(table[self.shape[0] * self.shape[1] :])

    def each_seed(self, *tables: Tensor) -> list[tuple[Tensor, ...]]:
        """Return, seed by seed, the columns of tables (…, W) that are that seed's."""
        return list(zip(*(table.chunk(self.seeds, dim=-1) for table in tables), strict=True))


def workspace(vectors: Vectors, sampling: Sampling) -> Workspace:
    """Return buffers for the steps of some networks on blocks of one kind."""
    tiles, columns = sampling.block // sampling.tile, vectors.embedding.shape[1]
    shape = (tiles, sampling.tile, sampling.reach, sampling.negatives)
    rows = (tiles * sampling.reach, sampling.block + tiles * sampling.negatives, sampling.block)
    context, output, hidden = (vectors.embedding.new_empty((count, columns)) for count in rows)
    context_gradient, output_gradient, hidden_gradient = map(torch.empty_like, (context, output, hidden))
    return Workspace(context, output, hidden, context_gradient, output_gradient, hidden_gradient, shape, vectors.seeds)


@dataclass(frozen=True)
class Pairs:
    """Logits of a block: ``target`` and ``negative`` (seed, T, …), and how often each enters the loss, (T, …)."""

    target: Tensor
    negative: Tensor
    target_weight: Tensor
    negative_weight: Tensor

    def terms(self) -> Tensor:
        """Return what each logit adds to the block's loss, (seed, logits), without weight decay."""
        right = (softplus(-self.target) * self.target_weight).flatten(1)
        return torch.cat([right, (softplus(self.negative) * self.negative_weight).flatten(1)], dim=1)

    def loss(self) -> Tensor:
        """Return the block's loss, (seed,), without weight decay."""
        return self.terms().sum(1)

    def summed(self, total: Total | None) -> Pairs:
        """Return the logits of the whole network, where these are those of a part of its width."""
        if total is None:
            return self
        flat = total(torch.cat([self.target.flatten(), self.negative.flatten()]))
        target, negative = flat[: self.target.numel()], flat[self.target.numel() :]
        return Pairs(
            target.view_as(self.target), negative.view_as(self.negative), self.target_weight, self.negative_weight
        )

    def derivatives(self) -> tuple[Tensor, Tensor]:
        """Return the loss's derivatives by the logits. The logits are used up: they hold the result."""
        by_target = self.target.sigmoid_().sub_(1).mul_(self.target_weight)
        return by_target, self.negative.sigmoid_().mul_(self.negative_weight)


def pairs(vectors: Vectors, block: Block, room: Workspace) -> Pairs:
    """Gather the rows of a block into ``room`` and return its logits."""
    torch.index_select(vectors.embedding, 0, block.rows, out=room.context)
    torch.index_select(vectors.output, 0, block.outputs, out=room.output)
    return _row(vectors).logits(block, room)


def step_(
    vectors: Vectors, block: Block, room: Workspace, *, rate: float, decay: float, total: Total | None = None
) -> None:
    """Take one step on a block, in place, with rate eta = ``rate`` and weight decay ``decay``.

    ``total`` sums the logits where each process holds some columns of the network.
    """
    seen = pairs(vectors, block, room).summed(total)
    _row(vectors).gradients(block, room, *seen.derivatives())
    if decay:
        _add_decay_(room.context_gradient, room.context, block.touches, decay / vectors.embedding_rate)
        touched = [seen.target_weight.sum(2).flatten(), seen.negative_weight.sum(1).flatten()]
        _add_decay_(room.output_gradient, room.output, torch.cat(touched)[:, None], decay / vectors.output_rate)
    vectors.embedding.index_add_(0, block.rows, room.context_gradient, alpha=-rate * vectors.embedding_rate)
    vectors.output.index_add_(0, block.outputs, room.output_gradient, alpha=-rate * vectors.output_rate)


def _add_decay_(gradient: Tensor, rows: Tensor, touches: Tensor, factor: float) -> None:
    gradient.addcmul_(rows, touches, value=factor)


# ---------------------------------------------------------------------------------------------------------------


def _cbow_logits(block: Block, room: Workspace) -> Pairs:
    hidden, targets, negatives = room.tiles(room.hidden), room.targets(room.output), room.negatives(room.output)
    torch.bmm(block.mean, room.tiles(room.context), out=hidden)
    tiles, tile, _, samples = room.shape
    product = torch.mul(hidden, targets, out=room.tiles(room.hidden_gradient))
    target = product.view(tiles, tile, room.seeds, -1).sum(3).permute(2, 0, 1).unsqueeze(3)
    negative = hidden.new_empty((room.seeds, tiles, tile, samples))
    for out, (h, c) in zip(negative, room.each_seed(hidden, negatives), strict=True):
        torch.bmm(h, c.mT, out=out)
    return Pairs(target, negative, block.present, block.allowed)


def _cbow_gradients(block: Block, room: Workspace, by_target: Tensor, by_negative: Tensor) -> None:
    by_hidden = _cbow_by_hidden(room, by_target, by_negative)
    torch.bmm(block.mean.mT, by_hidden, out=room.tiles(room.context_gradient))


def _cbow_whole_gradients(block: Block, room: Workspace, by_target: Tensor, by_negative: Tensor) -> None:
    by_hidden = _cbow_by_hidden(room, by_target, by_negative)
    torch.bmm(block.near.mT, by_hidden, out=room.tiles(room.context_gradient))


def _cbow_by_hidden(room: Workspace, by_target: Tensor, by_negative: Tensor) -> Tensor:
    """Fill the outputs' gradients and return those by the contexts' means, (T, tile, W)."""
    tiles, tile, _, _ = room.shape
    hidden, by_hidden = room.tiles(room.hidden), room.tiles(room.hidden_gradient)
    weight = by_target.squeeze(3).permute(1, 2, 0)[..., None]  # (T, tile, seed, 1)
    for source, out in ((room.targets(room.output), by_hidden), (hidden, room.targets(room.output_gradient))):
        split = (tiles, tile, room.seeds, -1)
        torch.mul(source.view(split), weight, out=out.view(split))
    negatives, out = room.negatives(room.output), room.negatives(room.output_gradient)
    for d, (h, g, c, o) in zip(by_negative, room.each_seed(hidden, by_hidden, negatives, out), strict=True):
        g.baddbmm_(d, c)
        torch.bmm(d.mT, h, out=o)
    return by_hidden


def _skip_gram_logits(block: Block, room: Workspace) -> Pairs:
    context, targets, negatives = room.tiles(room.context), room.targets(room.output), room.negatives(room.output)
    tiles, tile, reach, samples = room.shape
    target = context.new_empty((room.seeds, tiles, tile, reach))
    negative = context.new_empty((room.seeds, tiles, reach, samples))
    for seed, (x, t, c) in enumerate(room.each_seed(context, targets, negatives)):
        torch.bmm(t, x.mT, out=target[seed])
        torch.bmm(x, c.mT, out=negative[seed])
    return Pairs(target, negative, block.near, torch.bmm(block.near.mT, block.allowed))


def _skip_gram_gradients(block: Block, room: Workspace, by_target: Tensor, by_negative: Tensor) -> None:
    context, by_context = room.tiles(room.context), room.tiles(room.context_gradient)
    outputs = (room.targets(room.output), room.negatives(room.output))
    gradients = (room.targets(room.output_gradient), room.negatives(room.output_gradient))
    split = room.each_seed(context, by_context, *outputs, *gradients)
    for dt, dn, (x, g, t, c, by_t, by_c) in zip(by_target, by_negative, split, strict=True):
        torch.bmm(dt, x, out=by_t)
        torch.bmm(dn.mT, x, out=by_c)
        torch.bmm(dn, c, out=g)
        g.baddbmm_(dt.mT, t)


@dataclass(frozen=True)
class Architecture:
    """``logits`` makes a block's pairs from the gathered rows; ``gradients`` fills the gradients by those rows."""

    logits: Callable[[Block, Workspace], Pairs]
    gradients: Callable[[Block, Workspace, Tensor, Tensor], None]


ARCHITECTURES: Mapping[tuple[str, bool], Architecture] = {
    ("cbow", False): Architecture(_cbow_logits, _cbow_gradients),
    ("cbow", True): Architecture(_cbow_logits, _cbow_whole_gradients),
    ("skip-gram", False): Architecture(_skip_gram_logits, _skip_gram_gradients),
}
"""By name, and whether contexts get the whole gradient."""


def _row(vectors: Vectors) -> Architecture:
    return ARCHITECTURES[vectors.network.architecture, vectors.network.whole_gradient]
