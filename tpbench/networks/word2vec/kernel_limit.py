"""The kernel limit of word2vec: embeddings stand still, and logits move by a fixed kernel.

Let ``B_wj = E_w·C_j`` be the logit of word j given the single word w; a context's logit is the mean of its words'.
In the kernel regime rows of E stay orthogonal, of square n, up to decay, and so do rows of C_0. One step with loss
derivative g_pj at position p, which gives word w the weight m_pw in its context, moves

    B_wj  by  -eta (κ_C |E_w|² + κ_E |C_j|²) Σ_p m_pw g_pj,

where κ_C and κ_E are what the abc table leaves of the two layers' terms at infinite width (both 1 under NTP; with
zero output there is no C_j and κ_E = 0). Derived here; for CBOW it is logistic regression on bags of words. Weight
decay shrinks |E_w| and |C_j| a touch; B is kept divided by both factors, so that a touch changes one number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.networks.word2vec.model import Word2Vec
from tpbench.networks.word2vec.sampling import Block
from tpbench.networks.word2vec.step import Pairs
from tpbench.parametrization import Parametrization
from tpbench.parametrization.word2vec import kernel_terms


@dataclass(frozen=True)
class KernelLimit:
    """The limit's state: ``logits`` (V, V) is B/(d_w d_j), with ``embedding_size`` d_w and ``output_size`` d_j (V,).

    ``terms`` are (κ_C, κ_E). Training changes the tensors in place. It has a Gram matrix as networks have.
    """

    network: Word2Vec
    logits: Tensor
    embedding_size: Tensor
    output_size: Tensor
    terms: tuple[float, float]
    seeds: int = 1

    def gram(self, words: Tensor, others: Tensor | None = None) -> Tensor:
        """Return the Gram matrix of the embeddings between some words and others, (1, words, others): diagonal."""
        second = torch.arange(self.network.words, device=words.device) if others is None else others
        same = (words[:, None] == second).to(self.logits.dtype)
        return (same * self.embedding_size[words, None].square()).unsqueeze(0)

    def squared_norms(self) -> Tensor:
        """Return the diagonal of the Gram matrix, (1, words)."""
        return self.embedding_size.square().unsqueeze(0)

    def word_logits(self) -> Tensor:
        """Return B: the logit of every word given every single word, (given, predicted)."""
        return self.logits * self.embedding_size[:, None] * self.output_size


def kernel_limit(
    network: Word2Vec,
    parametrization: Parametrization,
    *,
    device: torch.device,
    dtype: torch.dtype,
    word_logits: Tensor | None = None,
) -> KernelLimit:
    """Return the kernel limit at the start of training, given the first logits B_0 (V, V), 0 by default.

    ``network.width`` is not looked at. Raises ``ValueError`` for tables outside the kernel regime, and for networks
    that do not follow the chain rule.
    """
    if network.whole_gradient:
        raise ValueError(
            "the kernel limit is that of the gradient by the chain rule: leave whole_gradient False for it"
        )
    terms = kernel_terms(parametrization, zero_output=network.zero_output)
    sizes = torch.ones((2, network.words), dtype=dtype, device=device)
    first = torch.zeros((network.words, network.words), dtype=dtype, device=device)
    if word_logits is not None:
        first += word_logits
    return KernelLimit(network, first, sizes[0], sizes[1], terms)


def kernel_pairs(limit: KernelLimit, block: Block) -> Pairs:
    """Return the logits of a block in the limit."""
    tiles, tile, reach = block.near.shape
    rows, outputs = block.rows.view(tiles, reach), _outputs(block)
    sizes = limit.embedding_size[rows][:, :, None] * limit.output_size[outputs][:, None, :]
    single = limit.logits[rows[:, :, None], outputs[:, None, :]] * sizes  # (T, L, tile + K)
    if limit.network.architecture == "cbow":
        mixed = torch.bmm(block.mean, single)
        target = mixed[:, :, :tile].diagonal(dim1=1, dim2=2)[..., None]
        return Pairs(target[None].clone(), mixed[None, :, :, tile:].clone(), block.present, block.allowed)
    counts = torch.bmm(block.near.mT, block.allowed)
    return Pairs(single[None, :, :, :tile].mT.clone(), single[None, :, :, tile:].clone(), block.near, counts)


def kernel_step_(limit: KernelLimit, block: Block, *, rate: float, decay: float) -> None:
    """Take one step of the limit on a block, in place: the twin of ``step.step_``."""
    seen = kernel_pairs(limit, block)
    by_target, by_negative = (each[0] for each in seen.derivatives())
    if limit.network.architecture == "cbow":
        by_output = torch.cat([torch.diag_embed(by_target[..., 0]), by_negative], dim=2)  # (T, tile, tile + K)
        by_single = torch.bmm(block.mean.mT, by_output)
    else:
        by_single = torch.cat([by_target.mT, by_negative], dim=2)  # (T, L, tile + K)
    touched = torch.cat([seen.target_weight.sum(2), seen.negative_weight.sum(1)], dim=1).flatten()
    old = limit.embedding_size.clone(), limit.output_size.clone()
    _shrink_(limit.embedding_size, block.rows, block.touches[:, 0], rate * decay)
    _shrink_(limit.output_size, _outputs(block).flatten(), touched, rate * decay)
    tiles, _, reach = block.near.shape
    rows, outputs = block.rows.view(tiles, reach)[:, :, None], _outputs(block)[:, None, :]
    d, d_new, c, c_new = (
        table[places]
        for table, places in (
            (old[0], rows),
            (limit.embedding_size, rows),
            (old[1], outputs),
            (limit.output_size, outputs),
        )
    )
    moved = limit.terms[0] * d * d_new + limit.terms[1] * c * c_new
    limit.logits.index_put_((rows, outputs), -rate * by_single * moved / (d_new * c_new), accumulate=True)


def _outputs(block: Block) -> Tensor:
    """Return the words at a tile's positions and its negatives, (T, tile + K)."""
    tiles, tile, _ = block.near.shape
    targets, negatives = block.outputs[: tiles * tile], block.outputs[tiles * tile :]
    return torch.cat([targets.view(tiles, tile), negatives.view(tiles, -1)], dim=1)


def _shrink_(sizes: Tensor, words: Tensor, touches: Tensor, factor: float) -> None:
    """Shrink each word's size by ``factor`` a touch, all touches of a block at once."""
    counts = torch.zeros_like(sizes).index_add_(0, words, touches)
    sizes.mul_(1 - factor * counts)
