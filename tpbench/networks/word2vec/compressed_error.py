"""How far a compressed limit is from the limit: a bound on the first step, and an estimate after any number.

Compression leaves h_⊥·Ĉ_⊥ out of logits (``compressed``). After the first block all is known, and the bound holds for
every entry. Later the losses feed errors back, and Gronwall's bound grows exponentially with the steps. *Twins* measure
the error instead: limits in the same columns and k more, (I - Φ Φᵀ) G/√k with Gaussian G, whose products have what is
left out as their expectation. To first order in what they leave out of the k columns' noise, so up to O(1/k), their
Gram matrices have the limit's as their mean, and are independent given the compressed one. So

    E |twin - compressed|² = |limit - compressed|² + variance >= |limit - compressed|²,
    E <twin - compressed, other twin - compressed> = |limit - compressed|².

The first bounds the error from above in the mean, and its interval comes from the spread over twins; the second
estimates it without bias. A twin costs as much as a limit compressed to r + k columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from tpbench.networks.word2vec.compressed import Compressed, started
from tpbench.networks.word2vec.model import Vectors, Word2Vec
from tpbench.networks.word2vec.sampling import Path
from tpbench.networks.word2vec.step import step_, workspace
from tpbench.networks.word2vec.train import Training
from tpbench.parametrization import Parametrization
from tpbench.weights.gaussian import standard_normal

CONFIDENCE = 0.95


@dataclass(frozen=True)
class ErrorBound:
    """The Frobenius norm of the error of some rows of the Gram matrix, and of what it is to be compared with.

    ``bound`` holds with 95% confidence as far as the twins' mean is the limit, which it is up to O(1/k) for k random
    columns, and their squares are normal; ``estimate`` is the root of an unbiased one of the square (0 where that is
    negative: the error is lost in the twins' noise), and ``movement`` is the norm of what training moved.
    """

    bound: float
    estimate: float
    movement: float


def twin(
    compressed: Compressed, network: Word2Vec, parametrization: Parametrization, *, columns: int, seed: int
) -> Compressed:
    """Return a twin at the start of training, with ``columns`` random columns of the complement.

    Of ``compressed`` only the basis is looked at. Raises ``ValueError`` for less than one column.
    """
    if columns < 1:
        raise ValueError(f"a twin has at least one column of the complement, got {columns}")
    basis = compressed.basis
    drawn = standard_normal([seed], "twin", (len(basis), columns), dtype=basis.dtype, device=basis.device)[0]
    drawn -= basis @ (basis.mT @ drawn)
    return started(torch.cat([basis, drawn / math.sqrt(columns)], dim=1), network, parametrization)


def error_bound(compressed: Compressed, twins: Sequence[Compressed], words: Tensor) -> ErrorBound:
    """Return the error of the rows ``words`` of the Gram matrix, from twins trained on the same path.

    Raises ``ValueError`` for fewer than two twins, or where the twins' decay shows another path or training.
    """
    if len(twins) < 2:
        raise ValueError(f"the spread over twins takes two of them at least, got {len(twins)}")
    if not all(torch.equal(each.kept, compressed.kept) for each in twins):
        raise ValueError(
            "a twin's weight decay is not that of the compressed limit: train both on the same path, as far, with the "
            "same Training"
        )
    gram = compressed.gram(words).to(torch.float64)
    away = [each.gram(words).to(torch.float64) - gram for each in twins]
    squares = np.array([float(each.square().sum()) for each in away])
    products = [float((one * other).sum()) for one, other in itertools.combinations(away, 2)]
    quantile = stats.t.ppf(CONFIDENCE, len(twins) - 1)
    upper = squares.mean() + quantile * squares.std(ddof=1) / math.sqrt(len(twins))
    unmoved = torch.zeros_like(gram)
    unmoved[0, torch.arange(len(words), device=words.device), words] = compressed.kept[words].square().to(torch.float64)
    estimate = math.sqrt(max(0.0, float(np.mean(products))))
    return ErrorBound(math.sqrt(upper), estimate, float((gram - unmoved).norm()))


def first_step_bound(compressed: Compressed, path: Path, training: Training) -> Tensor:
    """Return bounds on the error of every word's logits given one word after the first block, (given, predicted).

    With logits of 0 the limit's Ĉ_j becomes η m_j, m_j = Σ (label - 1/2) h, and what is left out is
    e_w·(I - ΦΦᵀ) η m_j: at most η |(I - ΦΦᵀ) e_w| |(I - ΦΦᵀ) m_j|, by Cauchy and Schwarz; decay shrinks it. The sum
    over j of the squares of the last factor is least where Φ holds M's main singular vectors (Eckart and Young).
    Of ``compressed`` only the basis is looked at. Takes (V, V) numbers, for small vocabularies.
    """
    network, basis = compressed.vectors.network, compressed.basis
    identity = torch.eye(network.words, dtype=basis.dtype, device=basis.device)
    wide = Word2Vec(network.words, network.words, network.architecture)
    collected = Vectors(wide, identity, torch.zeros_like(identity), embedding_rate=0.0, output_rate=1.0, seeds=1)
    rate = training.rate_at(0, 0.0)
    room = workspace(collected, path.sampling)
    step_(collected, next(path.epoch(0)), room, rate=rate, decay=0.0, total=torch.zeros_like)
    rest = identity - basis @ basis.mT
    return torch.outer(rest.norm(dim=0), (collected.output @ rest).norm(dim=1))
